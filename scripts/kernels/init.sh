#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a guest: makes a root of the host's file system that remembers writes only in memory.
/bin/busybox --install -s /bin
while read -r module; do insmod "/modules/$module"; done </modules/order
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro root /lower
mount -t tmpfs -o size=75% memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /root
mount -t tmpfs run /root/run
mkdir /root/run/host
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 host /root/run/host
exec switch_root /root /bin/bash /run/host/guest.sh
