/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What says that it is not for the GPL. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_closed(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Proprietary";
