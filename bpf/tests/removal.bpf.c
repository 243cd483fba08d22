/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Members that are too much for the verifier together, each of which it takes
 * alone: it walks half a million instructions of each.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int passes(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int drops(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* Every turn is walked, for each knows another sum. */
#define LONG(name)							\
	SEC("xdp")							\
	int name(struct xdp_md *ctx)					\
	{								\
		volatile __u32 sum = 0;					\
									\
		for (__u32 turn = 0; turn < 100000; turn++)		\
			sum = turn;					\
		return sum == 7 ? XDP_DROP : XDP_PASS;			\
	}

LONG(long_one)
LONG(long_two)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
