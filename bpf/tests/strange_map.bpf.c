/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A map with an attribute that libbpf does not know, and refuses when it opens the object. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(strangeness, 3);
} strange_map SEC(".maps");

SEC("xdp")
int strange(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&strange_map, &key) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
