/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One program for every program type, in the section that names it: type
 * cgroup_bind4 is program t_cgroup_bind4. None has a map, so each loads on
 * its own. struct_ops cannot be without a map: see struct_ops.bpf.c.
 */

#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

/* The verdict that lets a cgroup hook's operation happen. */
#define ALLOW 1

/* The types whose context no program here looks into. */
typedef void ctx_t;
typedef struct __sk_buff skb_t;

#define PROGRAM(type, section, ctx_type, verdict)	\
	SEC(section)					\
	int t_##type(ctx_type *ctx)			\
	{						\
		return verdict;				\
	}

PROGRAM(xdp, "xdp", struct xdp_md, XDP_PASS)
PROGRAM(xdp_devmap, "xdp/devmap", struct xdp_md, XDP_PASS)
PROGRAM(xdp_cpumap, "xdp/cpumap", struct xdp_md, XDP_PASS)

PROGRAM(tc, "tc", skb_t, TC_ACT_OK)
PROGRAM(tc_action, "action", skb_t, TC_ACT_OK)
PROGRAM(tcx, "tcx/ingress", skb_t, TC_ACT_UNSPEC)
PROGRAM(netkit_primary, "netkit/primary", skb_t, TC_ACT_UNSPEC)
PROGRAM(netkit_peer, "netkit/peer", skb_t, TC_ACT_UNSPEC)

PROGRAM(tracepoint, "tracepoint/sched/sched_switch", ctx_t, 0)
PROGRAM(raw_tracepoint, "raw_tracepoint/sched_switch", ctx_t, 0)
/* Of the few writable tracepoints, this one needs no driver. */
PROGRAM(raw_tracepoint_writable, "raw_tracepoint.w/bpf_test_finish", ctx_t, 0)
PROGRAM(perf_event, "perf_event", ctx_t, 0)

PROGRAM(kprobe, "kprobe/vfs_open", ctx_t, 0)
PROGRAM(kretprobe, "kretprobe/vfs_open", ctx_t, 0)
PROGRAM(kprobe_multi, "kprobe.multi/vfs_open", ctx_t, 0)
PROGRAM(kretprobe_multi, "kretprobe.multi/vfs_open", ctx_t, 0)
PROGRAM(kprobe_session, "kprobe.session/vfs_open", ctx_t, 0)
PROGRAM(ksyscall, "ksyscall/execve", ctx_t, 0)
PROGRAM(kretsyscall, "kretsyscall/execve", ctx_t, 0)

PROGRAM(uprobe, "uprobe", ctx_t, 0)
PROGRAM(uretprobe, "uretprobe", ctx_t, 0)
PROGRAM(uprobe_multi, "uprobe.multi", ctx_t, 0)
PROGRAM(uretprobe_multi, "uretprobe.multi", ctx_t, 0)
PROGRAM(uprobe_session, "uprobe.session", ctx_t, 0)
/* Loads; what attaches needs the maps of usdt.bpf.c. */
PROGRAM(usdt, "usdt", ctx_t, 0)

PROGRAM(fentry, "fentry/vfs_open", ctx_t, 0)
PROGRAM(fexit, "fexit/vfs_open", ctx_t, 0)
/* The kernel lets a program change only what the security hooks return. */
PROGRAM(fmod_ret, "fmod_ret/security_file_open", ctx_t, 0)
PROGRAM(fsession, "fsession/vfs_open", ctx_t, 0)
PROGRAM(tp_btf, "tp_btf/sched_switch", ctx_t, 0)
PROGRAM(iter, "iter/task", ctx_t, 0)
PROGRAM(lsm, "lsm/file_open", ctx_t, 0)
PROGRAM(lsm_cgroup, "lsm_cgroup/socket_bind", ctx_t, ALLOW)
/* Replaces the function of freplace_target.bpf.c. */
PROGRAM(freplace, "freplace/target_func", struct xdp_md, XDP_DROP)

PROGRAM(socket_filter, "socket", skb_t, 0)
PROGRAM(sk_lookup, "sk_lookup", struct bpf_sk_lookup, SK_PASS)
PROGRAM(sk_reuseport, "sk_reuseport", struct sk_reuseport_md, SK_PASS)
PROGRAM(sk_reuseport_migrate, "sk_reuseport/migrate", struct sk_reuseport_md, SK_PASS)
PROGRAM(sockops, "sockops", struct bpf_sock_ops, ALLOW)
PROGRAM(sk_msg, "sk_msg", struct sk_msg_md, SK_PASS)
PROGRAM(sk_skb, "sk_skb", skb_t, SK_PASS)
PROGRAM(sk_skb_stream_parser, "sk_skb/stream_parser", skb_t, ctx->len)
PROGRAM(sk_skb_stream_verdict, "sk_skb/stream_verdict", skb_t, SK_PASS)
PROGRAM(sk_skb_verdict, "sk_skb/verdict", skb_t, SK_PASS)
PROGRAM(flow_dissector, "flow_dissector", skb_t, BPF_OK)
PROGRAM(netfilter, "netfilter", ctx_t, NF_ACCEPT)

PROGRAM(syscall, "syscall", ctx_t, 0)
PROGRAM(lirc_mode2, "lirc_mode2", unsigned int, 0)

PROGRAM(lwt_in, "lwt_in", skb_t, BPF_OK)
PROGRAM(lwt_out, "lwt_out", skb_t, BPF_OK)
PROGRAM(lwt_xmit, "lwt_xmit", skb_t, BPF_OK)
PROGRAM(lwt_seg6local, "lwt_seg6local", skb_t, BPF_OK)

PROGRAM(cgroup_skb, "cgroup/skb", skb_t, ALLOW)
PROGRAM(cgroup_skb_ingress, "cgroup_skb/ingress", skb_t, ALLOW)
PROGRAM(cgroup_skb_egress, "cgroup_skb/egress", skb_t, ALLOW)
PROGRAM(cgroup_sock_create, "cgroup/sock_create", struct bpf_sock, ALLOW)
PROGRAM(cgroup_sock_release, "cgroup/sock_release", struct bpf_sock, ALLOW)
PROGRAM(cgroup_post_bind4, "cgroup/post_bind4", struct bpf_sock, ALLOW)
PROGRAM(cgroup_post_bind6, "cgroup/post_bind6", struct bpf_sock, ALLOW)
PROGRAM(cgroup_bind4, "cgroup/bind4", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_bind6, "cgroup/bind6", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_connect4, "cgroup/connect4", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_connect6, "cgroup/connect6", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_connect_unix, "cgroup/connect_unix", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_sendmsg4, "cgroup/sendmsg4", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_sendmsg6, "cgroup/sendmsg6", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_sendmsg_unix, "cgroup/sendmsg_unix", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_recvmsg4, "cgroup/recvmsg4", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_recvmsg6, "cgroup/recvmsg6", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_recvmsg_unix, "cgroup/recvmsg_unix", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_getpeername4, "cgroup/getpeername4", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_getpeername6, "cgroup/getpeername6", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_getpeername_unix, "cgroup/getpeername_unix", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_getsockname4, "cgroup/getsockname4", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_getsockname6, "cgroup/getsockname6", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_getsockname_unix, "cgroup/getsockname_unix", struct bpf_sock_addr, ALLOW)
PROGRAM(cgroup_sysctl, "cgroup/sysctl", struct bpf_sysctl, ALLOW)
PROGRAM(cgroup_getsockopt, "cgroup/getsockopt", struct bpf_sockopt, ALLOW)
PROGRAM(cgroup_setsockopt, "cgroup/setsockopt", struct bpf_sockopt, ALLOW)
PROGRAM(cgroup_device, "cgroup/dev", struct bpf_cgroup_dev_ctx, ALLOW)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
