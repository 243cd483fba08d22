/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Members that are beyond the kernel's limits together, and each within them
 * alone.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/*
 * As many branches that the verifier comes back to, when it has walked to the
 * end: it remembers 8,192 (BPF_COMPLEXITY_LIMIT_JMP_SEQ).
 */
#define BRANCHES(name, verdict)						\
	SEC("xdp")							\
	int name(struct xdp_md *ctx)					\
	{								\
		__u32 queue = ctx->rx_queue_index;			\
									\
		asm volatile (".rept 5000;"				\
			      "if %[queue] == 7 goto +0;"		\
			      ".endr"					\
			      :: [queue] "r"(queue));			\
		return verdict;						\
	}

BRANCHES(branches_pass, XDP_PASS)
BRANCHES(branches_drop, XDP_DROP)

#define MAP(name)							\
	struct {							\
		__uint(type, BPF_MAP_TYPE_ARRAY);			\
		__uint(max_entries, 1);					\
		__type(key, __u32);					\
		__type(value, __u64);					\
	} name SEC(".maps");

#define EACH(of, name)							\
	of(name##0) of(name##1) of(name##2) of(name##3)			\
	of(name##4) of(name##5) of(name##6) of(name##7)

/* Without a branch: older verifiers walk through each way of 33. */
#define WRITE(name) failed |= bpf_map_update_elem(&name, &key, &value, BPF_ANY);

#define MAPS(name)							\
	EACH(MAP, name##_a) EACH(MAP, name##_b)				\
	EACH(MAP, name##_c) EACH(MAP, name##_d)				\
	MAP(name##_one)							\
									\
	SEC("xdp")							\
	int name(struct xdp_md *ctx)					\
	{								\
		__u64 value = 0;					\
		__u32 key = 0;						\
		long failed = 0;					\
									\
		EACH(WRITE, name##_a) EACH(WRITE, name##_b)		\
		EACH(WRITE, name##_c) EACH(WRITE, name##_d)		\
		WRITE(name##_one)					\
		return failed ? XDP_DROP : XDP_PASS;			\
	}

MAPS(maps_one)
MAPS(maps_two)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
