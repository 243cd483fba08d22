/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sections as other loaders name them. The last means nothing to any. */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("classifier/x")
int classifier_x(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("action")
int action_plain(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("kprobe")
int kprobe_bare(void *ctx)
{
	return 0;
}

SEC("tracepoint")
int tracepoint_bare(void *ctx)
{
	return 0;
}

SEC("uprobe/some_function")
int uprobe_foreign(void *ctx)
{
	return 0;
}

SEC("xdp/eth0")
int xdp_foreign(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("socket/http")
int socket_foreign(struct __sk_buff *skb)
{
	return 0;
}

SEC("my_prog")
int unknown_section(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
