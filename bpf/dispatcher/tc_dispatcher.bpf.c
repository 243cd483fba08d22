/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Runs up to ten TC programs in one filter, one after the other: the
 * counterpart of the XDP dispatcher, with a configuration of its own.
 */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "slots.h"

/* What an empty slot answers: no code of TC, and the last bit of a mask. */
#define EMPTY_SLOT 30

struct tc_dispatcher_config {
	__u8 num_progs_enabled;
	__u8 pad[3];
	/* By slot: after which answers, as 1 << (code + 1), the next one runs. */
	__u32 chain_call_actions[MAX_SLOTS];
	__u32 run_prios[MAX_SLOTS];
};

static volatile const struct tc_dispatcher_config conf = {};

/* The call never runs: see the XDP dispatcher. */
#define DEFINE(n) \
	SLOT prog##n(struct __sk_buff *skb) \
	{ \
		volatile int answer = EMPTY_SLOT; \
\
		if (answer != EMPTY_SLOT) \
			return bpf_skb_pull_data(skb, 0); \
		return answer; \
	}
EACH_SLOT(DEFINE)

/* For tools that try whether the kernel can replace functions at all. */
SLOT compat_test(struct __sk_buff *skb)
{
	volatile int answer = EMPTY_SLOT;

	if (answer != EMPTY_SLOT)
		return bpf_skb_pull_data(skb, 0);
	return answer;
}

/* TC_ACT_UNSPEC is -1: one is added, so that every code has a bit. */
#define RUN(n) \
	if (count <= n) \
		return TC_ACT_OK; \
	answer = prog##n(skb); \
	bit = answer + 1; \
	if (bit > 31 || !(conf.chain_call_actions[n] & 1U << bit)) \
		return answer;

SEC("tc")
int tc_dispatcher(struct __sk_buff *skb)
{
	__u8 count = conf.num_progs_enabled;
	__u32 bit;
	int answer;

	EACH_SLOT(RUN)
	/* Never with so many; but what nothing calls is not loaded. */
	if (count > MAX_SLOTS)
		compat_test(skb);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
