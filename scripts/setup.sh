#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the build and the tests need on Debian; only what is missing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The build uses no llvm tool: clang alone compiles the BPF objects.
scripts/packages.sh clang lld bpftool libelf-dev zlib1g-dev libbpf-dev linux-libc-dev \
    gcc libc6-dev make pkg-config iproute2 util-linux xdp-tools strace

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is missing; install Rust 1.90 or later (https://rustup.rs)" >&2
    exit 1
fi
if ! command -v cargo-nextest >/dev/null && ! cargo nextest --version >/dev/null 2>&1; then
    cargo install --locked cargo-nextest
fi
