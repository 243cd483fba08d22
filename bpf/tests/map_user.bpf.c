/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program that takes the maps of map_owner.bpf.c: the definitions agree. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_kill")
int user(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 two = 2;
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&events, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_map_update_elem(&flows, &pid, &two, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
