/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The section names that types.bpf.c leaves out, because they say a type that
 * it has under another name, or say it with flags.
 */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define PROGRAM(name, section, ctx_type, verdict)	\
	SEC(section)					\
	int s_##name(ctx_type *ctx)			\
	{						\
		return verdict;				\
	}

PROGRAM(xdp_frags, "xdp.frags", struct xdp_md, XDP_PASS)
PROGRAM(xdp_frags_devmap, "xdp.frags/devmap", struct xdp_md, XDP_PASS)
PROGRAM(xdp_frags_cpumap, "xdp.frags/cpumap", struct xdp_md, XDP_PASS)

PROGRAM(classifier, "classifier", struct __sk_buff, TC_ACT_OK)
PROGRAM(tcx_egress, "tcx/egress", struct __sk_buff, TC_ACT_UNSPEC)
PROGRAM(tc_ingress, "tc/ingress", struct __sk_buff, TC_ACT_UNSPEC)
PROGRAM(tc_egress, "tc/egress", struct __sk_buff, TC_ACT_UNSPEC)

PROGRAM(tp, "tp/sched/sched_switch", void, 0)
PROGRAM(raw_tp, "raw_tp/sched_switch", void, 0)
PROGRAM(raw_tp_w, "raw_tp.w/bpf_test_finish", void, 0)

PROGRAM(uprobe_s, "uprobe.s", void, 0)
PROGRAM(uretprobe_s, "uretprobe.s", void, 0)
PROGRAM(uprobe_multi_s, "uprobe.multi.s", void, 0)
PROGRAM(uretprobe_multi_s, "uretprobe.multi.s", void, 0)
PROGRAM(uprobe_session_s, "uprobe.session.s", void, 0)
PROGRAM(usdt_s, "usdt.s", void, 0)

/* Of the few functions whose programs may sleep, this one needs no option of the kernel. */
PROGRAM(fentry_s, "fentry.s/bpf_fentry_test1", void, 0)
PROGRAM(fexit_s, "fexit.s/bpf_fentry_test1", void, 0)
PROGRAM(fmod_ret_s, "fmod_ret.s/bpf_fentry_test1", void, 0)
PROGRAM(fsession_s, "fsession.s/bpf_fentry_test1", void, 0)
PROGRAM(lsm_s, "lsm.s/file_open", void, 0)
PROGRAM(iter_s, "iter.s/task", void, 0)

PROGRAM(cgroup_sock, "cgroup/sock", struct bpf_sock, 1)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
