/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs that note that they saw a packet. Only UDP over IPv4 to PORT
 * counts, so that a network's own chatter does not. Each has a number; the
 * sequence is the numbers of all that ran, in order, as decimal digits.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/netfilter.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PORT 7777

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, __u64);
} runs SEC(".maps");

__u64 sequence;

static void note(__u32 number)
{
	__u64 *count = bpf_map_lookup_elem(&runs, &number);

	if (count)
		__sync_fetch_and_add(count, 1);
	sequence = sequence * 10 + number;
}

static int is_ours(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	return (void *)(udp + 1) <= end && eth->h_proto == bpf_htons(ETH_P_IP) &&
	       ip->protocol == IPPROTO_UDP && udp->dest == bpf_htons(PORT);
}

#define XDP(number, verdict)							\
	SEC("xdp")								\
	int xdp_##number(struct xdp_md *ctx)					\
	{									\
		if (!is_ours((void *)(long)ctx->data, (void *)(long)ctx->data_end)) \
			return XDP_PASS;					\
		note(number);							\
		return verdict;							\
	}

#define TC(name, number, section, verdict)					\
	SEC(section)								\
	int name##_##number(struct __sk_buff *skb)				\
	{									\
		bpf_skb_pull_data(skb, 64);					\
		if (!is_ours((void *)(long)skb->data, (void *)(long)skb->data_end)) \
			return TC_ACT_UNSPEC;					\
		note(number);							\
		return verdict;							\
	}

XDP(1, XDP_PASS)
XDP(2, XDP_DROP)
TC(tc, 3, "tc", TC_ACT_OK)
TC(tcx, 4, "tcx/ingress", TC_ACT_UNSPEC)
TC(tcx, 5, "tcx/ingress", TC_ACT_UNSPEC)
TC(tcx, 6, "tcx/ingress", TC_ACT_UNSPEC)
TC(tcx, 7, "tcx/ingress", TC_ACT_SHOT)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
