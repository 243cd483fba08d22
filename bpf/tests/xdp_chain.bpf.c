/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs whose instructions are kept for chaining, with all that needs
 * relocation in them: maps, global variables and a call of a subprogram.
 */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} chain_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} chain_interfaces SEC(".maps");

volatile const __u32 step = 1;
__u64 total;
__u32 drop_above = 0xffffffff;

static __attribute__((noinline)) __u64 hit(__u32 key, __u32 ifindex)
{
	__u64 *hits = bpf_map_lookup_elem(&chain_hits, &key);

	if (!hits)
		return 0;
	__sync_fetch_and_add(hits, step);
	bpf_map_update_elem(&chain_interfaces, &ifindex, hits, BPF_ANY);
	return *hits;
}

SEC("xdp")
int xdp_refs(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&total, 1);
	return hit(0, ctx->ingress_ifindex) > drop_above ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int tc_refs(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&total, 1);
	return hit(1, skb->ifindex) > drop_above ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
