/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A chain under a flood: the first member marks each packet, those in the
 * middle may come and go, the last one looks whether it met a whole chain.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PORT 7777

enum count { FIRST, MIDDLE, LAST, WITHOUT_FIRST, MIDDLE_TWICE, COUNTS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct packet {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	__u8 first;
	__u8 middle;
} __attribute__((packed));

static __always_inline void count(__u32 what)
{
	__u64 *number = bpf_map_lookup_elem(&counts, &what);

	if (number)
		__sync_fetch_and_add(number, 1);
}

static __always_inline struct packet *ours(void *data, void *end)
{
	struct packet *packet = data;

	if ((void *)(packet + 1) > end || packet->eth.h_proto != bpf_htons(ETH_P_IP) ||
	    packet->ip.protocol != IPPROTO_UDP || packet->udp.dest != bpf_htons(PORT))
		return 0;
	return packet;
}

static __always_inline void look(struct packet *packet)
{
	if (packet->first != 1)
		count(WITHOUT_FIRST);
	if (packet->middle > 1)
		count(MIDDLE_TWICE);
	count(LAST);
}

#define PROGRAMS(kind, section, context, on, off, begin)			\
	SEC(section)								\
	int kind##_first(struct context *ctx)					\
	{									\
		begin;								\
		struct packet *packet = ours((void *)(long)ctx->data, (void *)(long)ctx->data_end); \
		if (packet) {							\
			packet->first = 1;					\
			count(FIRST);						\
		}								\
		return on;							\
	}									\
	SEC(section)								\
	int kind##_middle(struct context *ctx)					\
	{									\
		begin;								\
		struct packet *packet = ours((void *)(long)ctx->data, (void *)(long)ctx->data_end); \
		if (packet) {							\
			packet->middle++;					\
			count(MIDDLE);						\
		}								\
		return on;							\
	}									\
	SEC(section)								\
	int kind##_last(struct context *ctx)					\
	{									\
		begin;								\
		struct packet *packet = ours((void *)(long)ctx->data, (void *)(long)ctx->data_end); \
		if (packet) {							\
			look(packet);						\
			return off;						\
		}								\
		return on;							\
	}

PROGRAMS(xdp, "xdp", xdp_md, XDP_PASS, XDP_DROP, (void)0)
PROGRAMS(tc, "tc", __sk_buff, TC_ACT_PIPE, TC_ACT_SHOT, bpf_skb_pull_data(ctx, sizeof(struct packet)))

char LICENSE[] SEC("license") = "Dual BSD/GPL";
