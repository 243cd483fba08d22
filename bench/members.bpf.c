/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Thirty members that each do a little: count in an element of their own. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

#define MEMBER(number)								\
	SEC("xdp")								\
	int member_##number(struct xdp_md *ctx)					\
	{									\
		__u32 key = number;						\
		__u64 *count = bpf_map_lookup_elem(&counts, &key);		\
										\
		if (count)							\
			*count += ctx->data_end - ctx->data;			\
		return XDP_PASS;						\
	}

#define TEN(tens)								\
	MEMBER(tens##0) MEMBER(tens##1) MEMBER(tens##2) MEMBER(tens##3) MEMBER(tens##4) \
	MEMBER(tens##5) MEMBER(tens##6) MEMBER(tens##7) MEMBER(tens##8) MEMBER(tens##9)

TEN(1) TEN(2) TEN(3)

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
