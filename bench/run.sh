#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures bpfman side by side with plain libbpf and bpftool, as root; prints a
# Markdown table. N: runs of each command. PROGRAMS: managed programs to list.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
N=${N:-200}
PROGRAMS=${PROGRAMS:-1000}
PATH=$PWD/target/release:$PATH:/usr/sbin
object=target/bpf/trace_exec.bpf.o
binary=$(command -v bpfman)

work=$(mktemp -d)
BPFMAN_RUNTIME_DIR=$(mktemp -d /run/bpfman-bench.XXXXXX)
export BPFMAN_RUNTIME_DIR
pin=/sys/fs/bpf/${BPFMAN_RUNTIME_DIR##*/}
pin=${pin//./-} # bpffs takes no dots in names
netns=${pin##*/}

unload_all() {
    local id
    for id in $(bpfman program list -q 2>/dev/null); do
        bpfman program unload "$id" >/dev/null
    done
}

writer=
cleanup() {
    if [[ -n $writer ]]; then kill "$writer" || true; fi
    unload_all || true
    rm -f "$pin"
    if [[ -e /run/netns/$netns ]]; then ip netns del "$netns"; fi
    if mountpoint -q "$BPFMAN_RUNTIME_DIR/fs"; then umount "$BPFMAN_RUNTIME_DIR/fs"; fi
    if mountpoint -q "$BPFMAN_RUNTIME_DIR"; then umount "$BPFMAN_RUNTIME_DIR"; fi
    rmdir "$BPFMAN_RUNTIME_DIR"
    rm -rf "$work"
}
trap cleanup EXIT
mount -t tmpfs -o mode=0700 bpfman-bench "$BPFMAN_RUNTIME_DIR"

cc -O2 -Wall -o "$work/minimal" bench/minimal.c -lbpf
cc -O2 -Wall -o "$work/attach" bench/attach.c -lbpf
cc -O2 -Wall -o "$work/measure" bench/measure.c

# measure NAME COMMAND...: adds one line, nanoseconds and KiB, to NAME's record.
measure() {
    "$work/measure" "${@:2}" >>"$work/$1.times"
}

# measure_inside NAME COMMAND...: the same in the network namespace.
measure_inside() {
    ip netns exec "$netns" "$work/measure" "${@:2}" >>"$work/$1.times"
}

# The kernel takes a tracepoint's event apart after its link is gone, and whoever attaches meanwhile waits for it.
settle() {
    sleep 0.15
}

# median NAME: the median wall time in milliseconds.
median() {
    cut -d ' ' -f 1 "$work/$1.times" | sort -n |
        awk '{ t[NR] = $1 } END { printf "%.3f", (t[int((NR + 1) / 2)] + t[int(NR / 2) + 1]) / 2e6 }'
}

# row WHAT FIGURE BASELINE UNIT LIMIT: a ratio against the baseline.
row() {
    awk -v what="$1" -v a="$2" -v b="$3" -v unit="$4" -v limit="$5" 'BEGIN {
        printf "| %s | %s %s | %s %s | %.2fx | %sx | %s |\n",
            what, a, unit, b, unit, a / b, limit, a / b <= limit ? "yes" : "NO" }'
}

# size WHAT BYTES LIMIT: an absolute figure in MiB.
size() {
    awk -v what="$1" -v bytes="$2" -v limit="$3" 'BEGIN {
        printf "| %s | %.2f MiB | - | - | %s MiB | %s |\n",
            what, bytes / 1048576, limit, bytes <= limit * 1048576 ? "yes" : "NO" }'
}

bpfman load "$object" --program trace_exec >/dev/null # creates the store, untimed
unload_all
for ((i = 0; i < N; i++)); do
    measure minimal "$work/minimal" "$object" trace_exec "$pin"
    rm "$pin"
    measure load bpfman load "$object" --program trace_exec
    unload_all
done

ip netns add "$netns"
ip -n "$netns" link add veth0 type veth peer name veth1
ifindex=$(ip -n "$netns" -o link show veth0 | cut -d : -f 1)
tracepoint=syscalls/sys_enter_kill
id_file=/sys/kernel/tracing/events/$tracepoint/id
bpfman load "$object" --program trace_exec >/dev/null
traced=$(bpfman list -q)
bpfman load target/bpf/types.bpf.o --program t_tcx >/dev/null
controlled=$(bpfman list -q --type tcx)
pins=$BPFMAN_RUNTIME_DIR/fs
for ((i = 0; i < N; i++)); do
    settle
    measure c_tracepoint "$work/attach" "$pins/prog_$traced" "$pin" tracepoint "$id_file"
    rm "$pin"
    settle
    measure tracepoint bpfman attach tracepoint "$traced" "$tracepoint"
    measure detach_one bpfman detach "$(bpfman link list -q)"
    measure_inside c_tcx "$work/attach" "$pins/prog_$controlled" "$pins/bench" tcx "$ifindex"
    rm "$pins/bench"
    measure_inside tcx bpfman attach tcx "$controlled" veth0 ingress -p 1
    bpfman detach "$(bpfman link list -q)"
done
mapfile -t events < <(cd /sys/kernel/tracing/events && ls -d syscalls/sys_enter_k* syscalls/sys_enter_s* | head -n 8)
for ((i = 0; i < N / 4; i++)); do
    for event in "${events[@]}"; do
        bpfman attach tracepoint "$traced" "$event" >/dev/null
    done
    mapfile -t links < <(bpfman link list -q)
    measure detach_eight bpfman detach "${links[@]}"
done
unload_all

for ((i = 0; i < PROGRAMS; i++)); do
    bpfman load "$object" --program trace_exec >/dev/null
done
listed=$(bpfman program list -q | wc -l)
if ((listed != PROGRAMS)); then
    echo "bench: $listed programs listed, $PROGRAMS loaded" >&2
    exit 1
fi
for ((i = 0; i < N; i++)); do
    measure bpftool bpftool prog list
    measure list bpfman list
done
any=$(bpfman list -q | head -n 1)
# A writer that never rests. What the readers wait longer is what the machine does for it: the records are never locked.
while :; do
    bpfman attach tracepoint "$any" "$tracepoint" >/dev/null
    bpfman detach "$(bpfman link list -q)"
done &
writer=$!
for ((i = 0; i < N; i++)); do
    measure list_busy bpfman list
done
kill "$writer"
wait "$writer" || true
writer=

rss=$(cut -d ' ' -f 2 "$work/load.times" | sort -n | tail -n 1)
echo "Medians of $N interleaved runs, whole process, on Linux $(uname -r), $(nproc) CPUs."
echo
echo "| What | bpfman | Baseline | Ratio | Limit | Within |"
echo "|---|---|---|---|---|---|"
row "\`bpfman load\` against minimal libbpf load and pin" "$(median load)" "$(median minimal)" ms 2.5
row "\`bpfman list\` against \`bpftool prog list\`, $PROGRAMS programs" "$(median list)" "$(median bpftool)" ms 1.0
row "\`bpfman list\` beside a busy writer against alone" "$(median list_busy)" "$(median list)" ms 2.0
row "\`bpfman attach tracepoint\` against the same calls in C" "$(median tracepoint)" "$(median c_tracepoint)" ms 3.0
row "\`bpfman attach tcx\` against the same call in C" "$(median tcx)" "$(median c_tcx)" ms 3.0
row "\`bpfman detach\` of eight tracepoints against one" "$(median detach_eight)" "$(median detach_one)" ms 2.0
size "Peak RSS of \`bpfman load\`, highest of $N" $((rss * 1024)) 12
size "Release binary" "$(stat -c %s "$binary")" 8
