/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Members of chains: each notes its number and answers what the test told it
 * to. They share all maps, for one program uses at most 64.
 */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define MOST 128

struct seen {
	__u32 count;
	__u32 numbers[MOST];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

/* The verdict and two more; zero leaves it to the program. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MOST);
	__type(key, __u32);
	__type(value, __s32);
} verdicts SEC(".maps");

static __always_inline int note(__u32 number, int otherwise)
{
	__u32 zero = 0;
	struct seen *all = bpf_map_lookup_elem(&seen, &zero);
	__s32 *told;

	if (all) {
		all->numbers[all->count & (MOST - 1)] = number;
		all->count++;
	}
	told = bpf_map_lookup_elem(&verdicts, &number);
	return told && *told ? *told - 2 : otherwise;
}

#define XDP(number)						\
	SEC("xdp")						\
	int xdp_##number(struct xdp_md *ctx)			\
	{							\
		return note(number, XDP_PASS);			\
	}

#define TC(number)						\
	SEC("tc")						\
	int tc_##number(struct __sk_buff *skb)			\
	{							\
		return note(number, TC_ACT_PIPE);		\
	}

#define EIGHT(program, tens)					\
	program(tens##0) program(tens##1) program(tens##2) program(tens##3) \
	program(tens##4) program(tens##5) program(tens##6) program(tens##7)

/* Sixty-four of them: 10 to 17, 20 to 27, ... */
EIGHT(XDP, 1) EIGHT(XDP, 2) EIGHT(XDP, 3) EIGHT(XDP, 4)
EIGHT(XDP, 5) EIGHT(XDP, 6) EIGHT(XDP, 7) EIGHT(XDP, 8)
EIGHT(TC, 1) EIGHT(TC, 2)

/* Takes packets in fragments. */
SEC("xdp.frags")
int xdp_frags_90(struct xdp_md *ctx)
{
	return note(90, XDP_PASS);
}

/* Uses nearly all of the stack, so that no frame is left to share. */
SEC("xdp")
int xdp_deep_91(struct xdp_md *ctx)
{
	char room[496];

	for (int at = 0; at < sizeof(room); at++)
		((volatile char *)room)[at] = at;
	return note(91 + ((volatile char *)room)[0], XDP_PASS);
}

static __noinline int called(__u32 number)
{
	char room[64];

	for (int at = 0; at < sizeof(room); at++)
		((volatile char *)room)[at] = at;
	return note(number + ((volatile char *)room)[0], XDP_PASS);
}

/* Calls a function of its own. */
SEC("xdp")
int xdp_calls_92(struct xdp_md *ctx)
{
	return called(92);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
