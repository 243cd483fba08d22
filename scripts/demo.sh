#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Loads, shows and unloads one program in a private runtime directory, as root.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PWD/target/release:$PATH:/usr/sbin
pin=/sys/fs/bpf/demo/trace_exec

if [[ -e $pin ]]; then
    echo "demo: $pin is already there" >&2
    exit 1
fi
BPFMAN_RUNTIME_DIR=$(mktemp -d /run/bpfman-demo.XXXXXX)
export BPFMAN_RUNTIME_DIR

cleanup() {
    local id
    for id in $(bpfman program list -q 2>/dev/null); do
        bpfman program unload "$id" || true
    done
    rm -f "$pin"
    if [[ -d ${pin%/*} ]]; then rmdir --ignore-fail-on-non-empty "${pin%/*}"; fi
    if mountpoint -q "$BPFMAN_RUNTIME_DIR/fs"; then umount "$BPFMAN_RUNTIME_DIR/fs"; fi
    rm -rf --one-file-system "$BPFMAN_RUNTIME_DIR"
}
trap cleanup EXIT

show() {
    printf '$ %s\n' "$*"
    "$@"
    echo
}

mkdir -p "${pin%/*}"
show bpfman load target/bpf/trace_exec.bpf.o --program trace_exec --pin-path "$pin"
show bpfman list
id=$(bpfman program list -q)
show bpfman program get "$id"
show bpftool prog show pinned "$pin"
show bpfman program unload "$id"
show bpfman list
