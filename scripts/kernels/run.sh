#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command in a virtual machine with one of the fetched kernels, and exits as it did; with 124 when it took too
# long, with 125 when the guest died.
#   run.sh [-t SECONDS] KERNEL COMMAND...
# The guest sees this machine's files, but what it writes is gone with it, except in target/kernels/KERNEL/out
# (/run/host inside). There are console (the kernel's messages), output (the command's) and status.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

limit=2700
if [[ ${1-} == -t ]]; then
    limit=$2
    shift 2
fi
kernel=$1
shift
home=$PWD/target/kernels/$kernel
out=$home/out
rm -rf "$out"
mkdir -p "$out"
cp scripts/kernels/guest.sh "$out/guest.sh"
printf '%s\n' "${*@Q}" >"$out/command"
{
    printf 'export %s=%q\n' PROJECT "$PWD" KERNEL "$kernel"
    for variable in HOME PATH RUSTUP_HOME CARGO_HOME RUSTUP_TOOLCHAIN BPFMAN_TEST_OBJECTS NO_COLOR CARGO_TERM_COLOR; do
        if [[ -v $variable ]]; then printf 'export %s=%q\n' "$variable" "${!variable}"; fi
    done
} >"$out/environment"

# One processor: it never waits for another, which is what emulation is worst at, and never meets a breakpoint that
# another has just taken away (the kernel patches its own code when hooks come and go). The expedited kind of RCU halves
# the time of a mount.
# Emulation always: where a machine has KVM it need not work, and the results shall not depend on it.
timeout --foreground --kill-after=10 "$limit" \
    qemu-system-x86_64 -machine pc -accel tcg -cpu max -smp 1 -m 2G \
    -nodefaults -no-user-config -display none -no-reboot -serial "file:$out/console" \
    -kernel "$home/vmlinuz" -initrd "$home/initrd" \
    -append "console=ttyS0 quiet loglevel=5 panic=-1 mitigations=off random.trust_cpu=on audit=0 rcupdate.rcu_expedited=1" \
    -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=root,mount_tag=root \
    -fsdev local,id=host,path="$out",security_model=none,multidevs=remap \
    -device virtio-9p-pci,fsdev=host,mount_tag=host \
    </dev/null >"$out/qemu" 2>&1 && ended=0 || ended=$?

if [[ -e $out/status ]]; then exit "$(<"$out/status")"; fi
code=125
case $ended in
    124 | 137)
        echo "run: $kernel did not finish in $limit s and was stopped" >&2
        code=124
        ;;
    *) echo "run: $kernel ended by itself before its command did (qemu: $ended)" >&2 ;;
esac
tail -n 30 "$out/qemu" "$out/console" >&2 || true
exit "$code"
