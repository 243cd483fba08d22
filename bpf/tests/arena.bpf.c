/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Has an arena, of which a program has one. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* BPF_MAP_TYPE_ARENA and BPF_F_MMAPABLE; headers may be older. */
struct {
	__uint(type, 33);
	__uint(map_flags, 1 << 10);
	__uint(max_entries, 2);
} pages SEC(".maps");

SEC("xdp")
int xdp_arena(struct xdp_md *ctx)
{
	void *arena = &pages;

	asm volatile ("" : "+r"(arena));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
