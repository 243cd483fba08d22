/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs that the verifier refuses: one in a few lines, one in very many. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define TURNS 400

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_kill")
int refused(void *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&values, &key);

	return *value;
}

SEC("tracepoint/syscalls/sys_enter_kill")
int loops(void *ctx)
{
	__u64 sum = 0;
	__u64 *value;
	__u32 key;

	/* The verifier walks every turn, and its log keeps the path to the fault. */
#pragma clang loop unroll(disable)
	for (key = 0; key < TURNS; key++) {
		__u32 turn = key;

		value = bpf_map_lookup_elem(&values, &turn);
		if (value)
			sum += *value;
		if (bpf_get_prandom_u32() & 1)
			sum += key;
	}
	value = bpf_map_lookup_elem(&values, &key);
	return sum + *value;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
