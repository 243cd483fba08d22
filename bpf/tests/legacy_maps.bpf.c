/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps defined the way libbpf took them before 1.0, in the section "maps". */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct five {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

struct five legacy_counts SEC("maps") = {
	.type = BPF_MAP_TYPE_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 2,
};

struct five legacy_flows SEC("maps") = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 8,
	.value_size = 16,
	.max_entries = 64,
	.map_flags = BPF_F_NO_PREALLOC,
};

SEC("xdp")
int legacy(struct xdp_md *ctx)
{
	__u32 key = 1;
	__u64 flow = 7, found[2] = { 3, 4 };
	__u64 *count = bpf_map_lookup_elem(&legacy_counts, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_map_update_elem(&legacy_flows, &flow, found, BPF_ANY);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
