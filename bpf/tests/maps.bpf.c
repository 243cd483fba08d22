/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Two programs that share maps and global variables, beside one that the
 * verifier refuses: the first two must load without it.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} shared_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} by_name SEC(".maps");

/* Every how many hits one is counted; none when zero. */
volatile const __u32 sampling = 1;
__u64 hits;
/* Hits up to this one are not counted. */
__u32 threshold = 7;
__u64 custom SEC(".data.custom") = 42;

static void count(void)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1;
	__u64 *counted;

	__sync_fetch_and_add(&hits, 1);
	if (!sampling || hits <= threshold || hits % sampling)
		return;
	counted = bpf_map_lookup_elem(&shared_counts, &pid);
	if (counted)
		__sync_fetch_and_add(counted, 1);
	else
		bpf_map_update_elem(&shared_counts, &pid, &one, BPF_ANY);
}

SEC("tracepoint/syscalls/sys_enter_kill")
int first(void *ctx)
{
	count();
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_execve")
int second(void *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&by_name, &key);

	count();
	if (value)
		*value = custom;
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_kill")
int broken(void *ctx)
{
	__u32 key = 0;
	__u64 *counted = bpf_map_lookup_elem(&shared_counts, &key);

	/* Refused: the entry may be absent. */
	return *counted;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
