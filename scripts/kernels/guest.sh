#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The guest's second stage, on the host's root file system: mounts, then the command, then off. Never returns.
export PATH=$PATH:/usr/sbin:/sbin

finish() {
    echo "$1" >/run/host/status
    sync
    echo o >/proc/sysrq-trigger
    sleep 60
}

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/pts /dev/shm /lib/modules
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
. /run/host/environment
cd "$PROJECT" || finish 125
mount --bind "$PROJECT/target/kernels/$KERNEL/root/lib/modules" /lib/modules
# The configuration is where the kernel's package puts it.
mount -t tmpfs boot /boot
cp "$PROJECT/target/kernels/$KERNEL"/root/boot/config-* /boot
ip link set lo up
scripts/mounts.sh || finish 125
echo "guest: $(uname -r), up for $(cut -d ' ' -f 1 /proc/uptime) s"
bash /run/host/command </dev/null >/run/host/output 2>&1
status=$?
echo "guest: done with $status after $(cut -d ' ' -f 1 /proc/uptime) s"
finish "$status"
