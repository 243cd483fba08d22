/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program that cannot take the maps of map_owner.bpf.c: its flows are smaller. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} flows SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_kill")
int mismatch(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u32 three = 3;

	bpf_map_update_elem(&flows, &pid, &three, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
