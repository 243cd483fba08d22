/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Drops UDP packets to the ports in `closed`, and lets all others pass. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u16);
	__type(value, __u64);
} closed SEC(".maps");

#ifndef PROTOCOLS
#define PROTOCOLS(protocol) ((protocol) == IPPROTO_UDP)
#endif

SEC("xdp")
int xdp_guard(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	/* The ports stand at the same place in TCP. */
	struct udphdr *udp = (void *)(ip + 1);
	__u64 *dropped;
	__u16 port;

	if ((void *)(udp + 1) > (void *)(long)ctx->data_end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->ihl != 5 || !PROTOCOLS(ip->protocol))
		return XDP_PASS;
	port = bpf_ntohs(udp->dest);
	dropped = bpf_map_lookup_elem(&closed, &port);
	if (!dropped)
		return XDP_PASS;
	__sync_fetch_and_add(dropped, 1);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
