#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the build and the tests need on Debian; only what is missing.
set -euo pipefail

# The build uses no llvm tool: clang alone compiles the BPF objects.
packages=(clang lld bpftool libelf-dev zlib1g-dev libbpf-dev linux-libc-dev
    gcc libc6-dev make pkg-config iproute2 util-linux)

if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian system; install the like of: ${packages[*]}" >&2
    exit 1
fi

# dpkg-query fails when it does not know one of the packages; its output counts.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
missing=()
for package in "${packages[@]}"; do
    grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done

if ((${#missing[@]})); then
    if ((EUID != 0)); then
        echo "setup: missing; install as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -qy --no-install-recommends "${missing[@]}"
fi

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is missing; install Rust 1.90 or later (https://rustup.rs)" >&2
    exit 1
fi
if ! command -v cargo-nextest >/dev/null && ! cargo nextest --version >/dev/null 2>&1; then
    cargo install --locked cargo-nextest
fi
