/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A map that asks for the pinning of iproute2. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	unsigned int type, size_key, size_value, max_elem, flags;
	unsigned int id, pinning, inner_id, inner_idx;
} pinned_by_tc SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, .pinning = 2 };

SEC("xdp")
int pinned(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&pinned_by_tc, &key) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
