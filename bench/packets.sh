#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures what a chain costs each packet, as root; prints Markdown tables.
#   packets.sh chain       compiled chains against the sum of their members' own work, inlined and called
#   packets.sh dispatcher  extension dispatchers against the bare program and the compiled chain, and an attach to one
# It needs the release binaries, and in OUT what `packets.sh build` makes.
# REPEAT, ROUNDS: packets a measurement, measurements of each program.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
OUT=${OUT:-$PWD/target/bench}
PATH=$PWD/target/release:$PATH:/usr/sbin

if [[ ${1-} == build ]]; then
    mkdir -p "$OUT"
    cc -O2 -Wall -o "$OUT/packet" bench/packet.c -lbpf
    cc -O2 -Wall -o "$OUT/minimal" bench/minimal.c -lbpf
    cc -O2 -Wall -o "$OUT/measure" bench/measure.c
    for source in bench/members.bpf.c bench/called.bpf.c bpf/dispatcher/xdp_dispatcher.bpf.c; do
        object=${source##*/}
        clang -O2 -g -Wall -I"/usr/include/$(cc -print-multiarch)" -target bpf -c "$source" -o "$OUT/${object%.c}.o"
    done
    exit
fi
REPEAT=${REPEAT:-300000}
ROUNDS=${ROUNDS:-25}
# Where the kernel takes each return for an attack (Safe RET), no return is predicted.
RETURNS=/sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow
what=${1:?chain or dispatcher}

BPFMAN_RUNTIME_DIR=$(mktemp -d /run/bpfman-bench.XXXXXX)
export BPFMAN_RUNTIME_DIR
netns=${BPFMAN_RUNTIME_DIR##*/}

cleanup() {
    bpfman program delete --all >/dev/null || true
    if [[ -e /run/netns/$netns ]]; then ip netns del "$netns"; fi
    if mountpoint -q "$BPFMAN_RUNTIME_DIR/fs"; then umount "$BPFMAN_RUNTIME_DIR/fs"; fi
    rm -rf "$BPFMAN_RUNTIME_DIR"
}
trap cleanup EXIT
ip netns add "$netns"

# Loading is slow where everything is emulated: no more than are needed.
most=39
if [[ $what == dispatcher ]]; then most=19; fi
names=(empty)
for ((number = 10; number <= most; number++)); do names+=("member_$number"); done

# load ENGINE [OBJECT]: all members; their ids in `loaded`, that of `empty` first.
load() {
    local programs
    programs=$(printf ',xdp:%s' "${names[@]}")
    mapfile -t loaded < <(bpfman program load "$OUT/${2-members}.bpf.o" --engine "$1" --programs "${programs:1}" -o json |
        sed -n 's/^ *"program_id": \([0-9]*\),$/\1/p' | awk '!seen[$0]++')
}

# The kernel keeps a list of the XDP programs it calls directly (bpf_dispatcher). A program that is not attached is
# put there for the time of a measurement, which takes longer than many packets: so all are attached.
interfaces=0
interface() {
    interface=veth$((interfaces++))
    ip -n "$netns" link add "$interface" type veth peer name "peer$interfaces"
}

# attach_alone ID: to an interface of its own, without anything between.
attach_alone() {
    interface
    bpfman attach xdp "$1" "$interface" -n "$netns" -p 50 >/dev/null
}

# attach COUNT: to an interface of their own; what runs there in `running`.
attach() {
    local number
    interface
    for ((number = 1; number <= $1; number++)); do
        # With one more verdict than its own a program alone is a chain, too.
        bpfman attach xdp "${loaded[number]}" "$interface" -n "$netns" -p "$number" --proceed-on pass,tx >/dev/null
    done
    running=$(ip -j -n "$netns" link show "$interface" | sed 's/.*"prog":{"id":\([0-9]*\).*/\1/')
}

declare -A cost
measure() {
    local id time
    while read -r id time; do cost[$id]=$time; done < <("$OUT/packet" "$REPEAT" "$ROUNDS" "$@")
}

chains() {
    local -A chain
    local count id
    load auto
    for id in "${loaded[@]}"; do attach_alone "$id"; done
    for count in 1 2 5 10 30; do
        attach "$count"
        chain[$count]=$running
    done
    measure "${loaded[@]}" "${chain[@]}"
    echo "One packet through a compiled chain, on Linux $(uname -r): least of $ROUNDS measurements of $REPEAT packets."
    echo
    echo "| Members | Chain | Their own work | Difference | Limit | Within |"
    echo "|---|---|---|---|---|---|"
    for count in 1 2 5 10 30; do
        for number in $(seq 1 "$count"); do echo "${cost[${loaded[number]}]}"; done |
            awk -v count="$count" -v chain="${cost[${chain[$count]}]}" -v empty="${cost[${loaded[0]}]}" '
                { own += $1 - empty }
                END {
                    sum = empty + own
                    printf "| %d | %.1f ns | %.1f ns | %+.1f ns | 3 ns | %s |\n",
                        count, chain, sum, chain - sum, chain - sum <= 3 ? "yes" : "NO" }'
    done
}

# Members that are called instead of inlined.
called() {
    local -A chain
    local count id number
    names=(empty)
    for ((number = 10; number <= 19; number++)); do names+=("called_$number"); done
    names+=(ten_calls)
    load auto called
    for id in "${loaded[@]}"; do attach_alone "$id"; done
    for count in 1 2 5 10; do
        attach "$count"
        chain[$count]=$running
    done
    measure "${loaded[@]}" "${chain[@]}"
    echo
    echo "One packet through a chain of members that are called. A call and its return alone: the mean of ten calls of"
    echo "functions that do nothing (spec_rstack_overflow: $(cat "$RETURNS" 2>/dev/null || echo unknown))."
    echo
    echo "| Members | Chain | Their own work | Difference a member | A call alone | Beyond it | Limit | Within |"
    echo "|---|---|---|---|---|---|---|---|"
    for count in 1 2 5 10; do
        for number in $(seq 1 "$count"); do echo "${cost[${loaded[number]}]}"; done |
            awk -v count="$count" -v chain="${cost[${chain[$count]}]}" -v empty="${cost[${loaded[0]}]}" \
                -v calls="${cost[${loaded[11]}]}" '
                { own += $1 - empty }
                END {
                    sum = empty + own
                    each = (chain - sum) / count
                    call = (calls - empty) / 10
                    printf "| %d | %.1f ns | %.1f ns | %+.1f ns | %.1f ns | %+.1f ns | 5 ns | %s |\n",
                        count, chain, sum, each, call, each - call, each - call <= 5 ? "yes" : "NO" }'
    done
}

dispatchers() {
    local -A chain extension
    local count bare
    load auto
    bare=${loaded[1]}
    attach_alone "$bare"
    for count in 1 2 5 10; do
        attach "$count"
        chain[$count]=$running
    done
    load extension
    for count in 1 2 5 10; do
        attach "$count"
        extension[$count]=$running
    done
    measure "$bare" "${chain[@]}" "${extension[@]}"
    echo "One packet through an extension dispatcher, on Linux $(uname -r), emulated: ratios only."
    echo
    echo "| Members | Dispatcher against the bare program | Dispatcher against the compiled chain |"
    echo "|---|---|---|"
    for count in 1 2 5 10; do
        awk -v count="$count" -v bare="${cost[$bare]}" -v chain="${cost[${chain[$count]}]}" \
            -v dispatcher="${cost[${extension[$count]}]}" 'BEGIN {
                printf "| %d | %.2fx | %.2fx |\n", count, dispatcher / bare, dispatcher / chain }'
    done
}

# A sixth member is attached to a dispatcher of five, and detached again; `loaded` are extensions.
sixth() {
    local pin=$BPFMAN_RUNTIME_DIR/fs/bare round
    attach 5
    for ((round = 0; round < ROUNDS; round++)); do
        "$OUT/measure" "$OUT/minimal" "$OUT/xdp_dispatcher.bpf.o" xdp_dispatcher "$pin" >>"$BPFMAN_RUNTIME_DIR/bare"
        rm "$pin"
        "$OUT/measure" bpfman attach xdp "${loaded[6]}" "$interface" -n "$netns" -p 6 >>"$BPFMAN_RUNTIME_DIR/sixth"
        bpfman detach "$(bpfman link list -q | tail -n 1)"
    done
    echo
    echo "A sixth member of a dispatcher, whole processes, medians of $ROUNDS: $(ratio sixth bare)x of loading and pinning a" \
        "dispatcher with minimal libbpf (limit 10x)."
}

# ratio ONE OTHER: of the medians of what was measured.
ratio() {
    paste <(cut -d ' ' -f 1 "$BPFMAN_RUNTIME_DIR/$1" | sort -n) <(cut -d ' ' -f 1 "$BPFMAN_RUNTIME_DIR/$2" | sort -n) |
        awk '{ one[NR] = $1; other[NR] = $2 } END { middle = int((NR + 1) / 2); printf "%.2f", one[middle] / other[middle] }'
}

case $what in
    chain)
        chains
        called
        ;;
    dispatcher)
        dispatchers
        sixth
        ;;
    *)
        echo "packets: chain or dispatcher, not $what" >&2
        exit 2
        ;;
esac
