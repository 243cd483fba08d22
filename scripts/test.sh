#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests on several kernels and reports what ran where.
#   test.sh [--long] [--elsewhere FILE] KERNEL...
# A KERNEL is `running` (all tests) or one that scripts/kernels/fetch.sh fetched (the tests that depend on the kernel).
# With --long, guests also run the tests that take them minutes.
# Each leaves junit.xml, skipped.tsv and release in target/kernels/KERNEL/out; see also scripts/kernels/run.sh.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=vm
# Seconds for a guest: with the builds, a clean clone has 90 minutes.
limit=3600
if [[ ${1-} == --long ]]; then
    profile=vm-long
    limit=7200
    shift
fi
report=()
if [[ ${1-} == --elsewhere ]]; then
    report=("$1" "$2")
    shift 2
fi
kernels=target/kernels
mkdir -p "$kernels"
failed=0

# The guests find the tests built.
cargo metadata --locked --format-version 1 >"$kernels/metadata.json"
cargo nextest list --workspace --locked --list-type binaries-only --message-format json >"$kernels/binaries.json"

run_here() {
    local out=$PWD/$kernels/running/out
    rm -rf "$out" target/nextest/default/junit.xml
    mkdir -p "$out"
    uname -r >"$out/release"
    BPFMAN_TEST_SKIPPED=$out/skipped.tsv cargo nextest run --workspace --locked --no-fail-fast || failed=1
    if [[ -e target/nextest/default/junit.xml ]]; then cp target/nextest/default/junit.xml "$out"; fi
}

run_in_vm() {
    local kernel=$1 out=$kernels/$1/out start=$SECONDS
    if scripts/kernels/run.sh -t "$limit" "$kernel" bash scripts/kernels/test-guest.sh "$profile"; then
        echo "kernel $kernel: done in $((SECONDS - start)) s"
    else
        echo "kernel $kernel: failed after $((SECONDS - start)) s; the end of $out/output:"
        tail -n 100 "$out/output" || true
        return 1
    fi
}

vms=()
for kernel; do
    report+=("$kernels/$kernel/out")
    if [[ $kernel == running ]]; then run_here; else vms+=("$kernel"); fi
done
# Side by side: a guest keeps one processor busy.
for kernel in "${vms[@]}"; do
    while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || failed=1; done
    run_in_vm "$kernel" &
done
while [[ -n $(jobs -p) ]]; do wait -n || failed=1; done
cargo run -q --locked -p bpfman-testing --bin kernel-report -- "${report[@]}" || failed=1
exit "$failed"
