#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Mounts the kernel file systems that loading and attaching need, when missing.
set -euo pipefail

ensure() {
    local type=$1 dir=$2
    if [[ $(findmnt -no FSTYPE -M "$dir" 2>/dev/null | tail -n 1 || true) == "$type" ]]; then
        return
    fi
    mount -t "$type" "$type" "$dir" || echo "mounts: could not mount $type at $dir; going on without" >&2
}

ensure bpf /sys/fs/bpf
ensure tracefs /sys/kernel/tracing
ensure securityfs /sys/kernel/security
ensure debugfs /sys/kernel/debug
# With the first version of cgroups in its place, the second is mounted beside them.
if ! findmnt -nt cgroup2 >/dev/null; then
    dir=/sys/fs/cgroup
    if findmnt -nM "$dir" >/dev/null; then
        dir+=/unified
        mkdir -p "$dir"
    fi
    ensure cgroup2 "$dir"
fi
