#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the virtual machines need on Debian; only what is missing. Then fetches the kernels named as arguments.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH=$PATH:/usr/sbin:/sbin

scripts/packages.sh qemu-system-x86 busybox-static cpio kmod xz-utils dpkg

for kernel; do
    scripts/kernels/fetch.sh "$kernel"
done
