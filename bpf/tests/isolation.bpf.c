/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Members of chains that do what could reach the next one: throw, use up
 * may_goto and tail calls, leave objects in the stack, read packets the
 * legacy way. What not every compiler knows is written as bytes.
 */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

/* BPF_JCOND over one instruction: as far as the budget lasts, it goes on. */
#define MAY_GOTO_OVER_ONE ".byte 0xe5, 0, 1, 0, 0, 0, 0, 0;"

extern void bpf_throw(__u64 cookie) __ksym __weak;
extern int bpf_dynptr_from_xdp(struct xdp_md *xdp, __u64 flags,
			       struct bpf_dynptr *made) __ksym __weak;

SEC("xdp")
int xdp_throws(struct xdp_md *ctx)
{
	bpf_throw(XDP_PASS);
	return XDP_DROP;
}

SEC("xdp")
int xdp_drops(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* Goes round until the kernel ends it. */
SEC("xdp")
__attribute__((naked)) int xdp_spends(void)
{
	asm volatile ("r2 = 0;"
		      "l0_%=: r2 += 1;"
		      MAY_GOTO_OVER_ONE
		      "goto l0_%=;"
		      "r0 = 2;"
		      "exit;" ::: "r0", "r2");
}

/* Drops after ten rounds, and aborts when it may not do so many. */
SEC("xdp")
__attribute__((naked)) int xdp_counts_to_ten(void)
{
	asm volatile ("r2 = 0;"
		      "r0 = 0;"
		      "l0_%=: if r2 == 10 goto l1_%=;"
		      "r2 += 1;"
		      MAY_GOTO_OVER_ONE
		      "goto l0_%=;"
		      "exit;"
		      "l1_%=: r0 = 1;"
		      "exit;" ::: "r0", "r2");
}

/* Leaves a dynptr in the first slots of its stack. */
SEC("xdp")
int xdp_leaves_dynptr(struct xdp_md *ctx)
{
	struct bpf_dynptr packet;
	__u32 word = 0;

	if (bpf_dynptr_from_xdp(ctx, 0, &packet))
		return XDP_DROP;
	bpf_dynptr_read(&word, sizeof(word), &packet, 0, 0);
	return word == 5 ? XDP_DROP : XDP_PASS;
}

/* Has something else in these slots. */
SEC("xdp")
int xdp_reads_bytes(struct xdp_md *ctx)
{
	char bytes[32];

	if (bpf_xdp_load_bytes(ctx, 0, bytes, sizeof(bytes)))
		return XDP_DROP;
	return bytes[3] == 9 ? XDP_DROP : XDP_TX;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tails SEC(".maps");

/* Passes when nothing is in the array. */
#define CALLS_TAIL(number)				\
	SEC("xdp")					\
	int xdp_calls_tail_##number(struct xdp_md *ctx)	\
	{						\
		bpf_tail_call(ctx, &tails, 0);		\
		return XDP_PASS;			\
	}

CALLS_TAIL(1) CALLS_TAIL(2)

static __noinline int calls_tail(struct xdp_md *ctx)
{
	int verdict = XDP_PASS;

	bpf_tail_call(ctx, &tails, 0);
	/* So that the compiler does not know it either. */
	asm volatile ("" : "+r"(verdict));
	return verdict;
}

/* Answers what its function answers, which may be another one's answer. */
SEC("xdp")
int xdp_calls_tail_deep(struct xdp_md *ctx)
{
	return calls_tail(ctx);
}

unsigned long long load_byte(void *skb, unsigned long long offset) asm("llvm.bpf.load.byte");

/* Goes on after 0, with which it would end for packets that are too short. */
SEC("tc")
int tc_loads_packet(struct __sk_buff *skb)
{
	return load_byte(skb, 1000) == 7 ? TC_ACT_SHOT : TC_ACT_PIPE;
}

static __noinline int loads_packet(struct __sk_buff *skb)
{
	return load_byte(skb, 12) == 7 ? 1 : 0;
}

SEC("tc")
int tc_loads_packet_deep(struct __sk_buff *skb)
{
	return loads_packet(skb) ? TC_ACT_SHOT : TC_ACT_PIPE;
}

SEC("tc")
int tc_shoots(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

/* Judged once, it is a thousand instructions; for each call, too many. */
__noinline int looks_at(struct xdp_md *ctx, __u32 from)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	int found = 0;

	if (from > 1000)
		return 1;
	data += from;
	for (int i = 0; i < 64; i++) {
		if (data + i + 1 > end)
			return i;
		__u8 byte = *(__u8 *)(data + i);
		if (byte & 1)
			found += 3;
		else if (byte & 2)
			found ^= 5;
	}
	return found & 7;
}

SEC("xdp")
int xdp_calls_global(struct xdp_md *ctx)
{
	return looks_at(ctx, 0) == 12345 ? XDP_DROP : XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} frag_tails SEC(".maps");

SEC("xdp.frags")
int xdp_frags_calls_tail(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &frag_tails, 0);
	return XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tc_tails SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tcx_tails SEC(".maps");

SEC("tc")
int tc_calls_tail(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &tc_tails, 0);
	return TC_ACT_PIPE;
}

/* Loaded for another attach type. */
SEC("tcx/ingress")
int tcx_calls_tail(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &tcx_tails, 0);
	return TC_ACT_PIPE;
}

/* The kernel lets only programs for the GPL do so. */
SEC("xdp")
int xdp_prints(struct xdp_md *ctx)
{
	bpf_printk("a packet");
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
