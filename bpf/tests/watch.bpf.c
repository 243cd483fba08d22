/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Observes freplace_target.bpf.c itself: whoever loads it says which program that is. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("fexit/freplace_target")
int watches(__u64 *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
