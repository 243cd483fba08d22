/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program with a function that t_freplace of types.bpf.c replaces. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Not static: only a global function can be replaced. */
__attribute__((noinline)) int target_func(struct xdp_md *ctx)
{
	volatile int verdict = XDP_PASS;

	return verdict;
}

SEC("xdp")
int freplace_target(struct xdp_md *ctx)
{
	return target_func(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
