/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts the hits of a user-space static probe by its first argument. Unlike
 * t_usdt of types.bpf.c, it has the maps that attaching fills.
 */

#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, long);
	__type(value, __u64);
} probe_hits SEC(".maps");

SEC("usdt")
int usdt_args(struct pt_regs *ctx)
{
	__u64 one = 1;
	__u64 *hits;
	long arg = 0;

	bpf_usdt_arg(ctx, 0, &arg);
	hits = bpf_map_lookup_elem(&probe_hits, &arg);
	if (hits)
		__sync_fetch_and_add(hits, 1);
	else
		bpf_map_update_elem(&probe_hits, &arg, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
