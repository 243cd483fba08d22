/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ten members that do what those of members.bpf.c do, and must be called: what they also do could be a tail call. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tails SEC(".maps");

#define MEMBER(number)								\
	SEC("xdp")								\
	int called_##number(struct xdp_md *ctx)					\
	{									\
		__u32 key = number;						\
		__u64 *count = bpf_map_lookup_elem(&counts, &key);		\
										\
		if (count)							\
			*count += ctx->data_end - ctx->data;			\
		/* No packet of the measurement is as long. */			\
		if (ctx->data_end - ctx->data > 5000)				\
			bpf_tail_call(ctx, &tails, 0);				\
		return XDP_PASS;						\
	}

MEMBER(10) MEMBER(11) MEMBER(12) MEMBER(13) MEMBER(14)
MEMBER(15) MEMBER(16) MEMBER(17) MEMBER(18) MEMBER(19)

/* Ten calls and nothing else: what this processor takes for a call and its return. */
#define CALLED(number)								\
	__attribute__((noinline)) int nothing_##number(struct xdp_md *ctx)	\
	{									\
		return ctx->data_end == ctx->data ? XDP_DROP : XDP_PASS;	\
	}

CALLED(0) CALLED(1) CALLED(2) CALLED(3) CALLED(4)
CALLED(5) CALLED(6) CALLED(7) CALLED(8) CALLED(9)

#define CALL(number)								\
	if (nothing_##number(ctx) != XDP_PASS)					\
		return XDP_DROP;

SEC("xdp")
int ten_calls(struct xdp_md *ctx)
{
	CALL(0) CALL(1) CALL(2) CALL(3) CALL(4)
	CALL(5) CALL(6) CALL(7) CALL(8) CALL(9)
	return XDP_PASS;
}

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
