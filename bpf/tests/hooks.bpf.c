/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs that count, refuse, redirect and drop what they meet. Of packets,
 * only UDP over IPv4 to PORT counts. Each program has a number; the sequence
 * is the numbers of all that ran, in order, as decimal digits.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/netfilter.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PORT 7777

/* As the kernel's types name it; only what is used here. */
struct sk_buff {
	unsigned char *data;
} __attribute__((preserve_access_index));
struct bpf_nf_ctx {
	void *state;
	struct sk_buff *skb;
} __attribute__((preserve_access_index));

/* IPv4 without options, as it is made here. */
struct headers {
	struct iphdr ip;
	struct udphdr udp;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, __u64);
} runs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} hashed_sockets SEC(".maps");

__u64 sequence;

static void note(__u32 number)
{
	__u64 *count = bpf_map_lookup_elem(&runs, &number);

	if (count)
		__sync_fetch_and_add(count, 1);
	sequence = sequence * 10 + number;
}

static int is_ours(const struct headers *headers)
{
	return headers->ip.version == 4 && headers->ip.protocol == IPPROTO_UDP &&
	       headers->udp.dest == bpf_htons(PORT);
}

/* From the network header: not every device has an Ethernet one. */
static int skb_is_ours(struct __sk_buff *skb)
{
	struct headers headers;

	return !bpf_skb_load_bytes_relative(skb, 0, &headers, sizeof(headers), BPF_HDR_START_NET) &&
	       is_ours(&headers);
}

SEC("cgroup_skb/egress")
int allow_egress(struct __sk_buff *skb)
{
	return 1;
}

SEC("cgroup/skb")
int count_cgroup(struct __sk_buff *skb)
{
	if (skb_is_ours(skb))
		note(1);
	return 1;
}

SEC("cgroup/connect4")
int refuse_connect(struct bpf_sock_addr *ctx)
{
	if (ctx->user_port != bpf_htons(PORT))
		return 1;
	note(1);
	return 0;
}

SEC("sk_lookup")
int redirect(struct bpf_sk_lookup *ctx)
{
	struct bpf_sock *socket;
	__u32 first = 0;

	if (ctx->local_port != PORT)
		return SK_PASS;
	socket = bpf_map_lookup_elem(&sockets, &first);
	if (!socket)
		return SK_PASS;
	if (!bpf_sk_assign(ctx, socket, 0))
		note(1);
	bpf_sk_release(socket);
	return SK_PASS;
}

#define NETFILTER(number, verdict)							\
	SEC("netfilter")								\
	int netfilter_##number(struct bpf_nf_ctx *ctx)					\
	{										\
		struct headers headers;							\
											\
		if (bpf_probe_read_kernel(&headers, sizeof(headers), ctx->skb->data) ||	\
		    !is_ours(&headers))							\
			return NF_ACCEPT;						\
		note(number);								\
		return verdict;								\
	}

NETFILTER(1, NF_ACCEPT)
NETFILTER(2, NF_DROP)

SEC("sk_msg")
int refuse_msg(struct sk_msg_md *msg)
{
	note(1);
	return SK_DROP;
}

SEC("sk_skb/stream_verdict")
int count_stream(struct __sk_buff *skb)
{
	note(1);
	return SK_PASS;
}

SEC("sk_skb/verdict")
int count_verdict(struct __sk_buff *skb)
{
	note(1);
	return SK_PASS;
}

SEC("flow_dissector")
int count_flow(struct __sk_buff *skb)
{
	if (skb->flow_keys->n_proto == bpf_htons(ETH_P_IP))
		note(1);
	return BPF_OK;
}

#define NETKIT(name, number, section)			\
	SEC(section)					\
	int name(struct __sk_buff *skb)			\
	{						\
		if (skb_is_ours(skb))			\
			note(number);			\
		return TC_ACT_UNSPEC;			\
	}

NETKIT(netkit_primary, 1, "netkit/primary")
NETKIT(netkit_peer, 2, "netkit/peer")

char LICENSE[] SEC("license") = "Dual BSD/GPL";
