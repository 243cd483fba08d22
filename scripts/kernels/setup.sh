#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the virtual machines need on Debian; only what is missing. Then fetches the kernels named as arguments.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ $(uname -m) != x86_64 ]]; then
    echo "setup: the guests run this machine's programs, so it must be an amd64 one" >&2
    exit 1
fi
scripts/packages.sh qemu-system-x86 busybox-static cpio kmod xz-utils

for kernel; do
    scripts/kernels/fetch.sh "$kernel"
done
