/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Runs up to ten XDP programs on one interface, one after the other. Follows
 * version 2 of the protocol of libxdp (lib/libxdp/protocol.org of xdp-tools):
 * the names, the configuration and the version are what its tools look for.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "slots.h"

/* What an empty slot answers: no code of XDP, and the last bit of a mask. */
#define EMPTY_SLOT 31

struct xdp_dispatcher_config {
	__u8 magic;
	__u8 dispatcher_version;
	__u8 num_progs_enabled;
	__u8 is_xdp_frags;
	/* By slot: after which answers, as 1 << code, the next one runs. */
	__u32 chain_call_actions[MAX_SLOTS];
	__u32 run_prios[MAX_SLOTS];
	__u32 program_flags[MAX_SLOTS];
};

/* Nothing else may be in .rodata: tools compare the size of its map. */
static volatile const struct xdp_dispatcher_config conf = {};

/*
 * The adjustment never runs. It is there for the verifier: since Linux 6.13,
 * and in stable kernels before, a program that moves packet data replaces only
 * a function that might. It also keeps the compiler from dropping the argument.
 */
#define DEFINE(n) \
	SLOT prog##n(struct xdp_md *ctx) \
	{ \
		volatile int answer = EMPTY_SLOT; \
\
		if (answer != EMPTY_SLOT) \
			return bpf_xdp_adjust_head(ctx, 0); \
		return answer; \
	}
EACH_SLOT(DEFINE)

/* For tools that try whether the kernel can replace functions at all. */
SLOT compat_test(struct xdp_md *ctx)
{
	volatile int answer = EMPTY_SLOT;

	if (answer != EMPTY_SLOT)
		return bpf_xdp_adjust_head(ctx, 0);
	return answer;
}

/* Without the first comparison, code 33 would pass for code 1. */
#define RUN(n) \
	if (count <= n) \
		return XDP_PASS; \
	answer = prog##n(ctx); \
	if (answer > 31 || !(conf.chain_call_actions[n] & 1U << answer)) \
		return answer;

SEC("xdp")
int xdp_dispatcher(struct xdp_md *ctx)
{
	__u8 count = conf.num_progs_enabled;
	__u32 answer;

	EACH_SLOT(RUN)
	/* Never with so many; but what nothing calls is not loaded. */
	if (count > MAX_SLOTS)
		compat_test(ctx);
	return XDP_PASS;
}

/* Read from the BTF: the number of elements is the version. */
__uint(dispatcher_version, 2) SEC("xdp_metadata");

char LICENSE[] SEC("license") = "Dual BSD/GPL";
