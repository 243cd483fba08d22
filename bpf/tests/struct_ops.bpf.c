/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs of type struct_ops: the callbacks of two maps that have no program
 * in common. The first, a TCP congestion control, is registered through a
 * link. The second is the kernel's own dummy, which loads and never registers.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;
struct bpf_dummy_ops_state;

/* The kernel's struct is found by name, and so is each member. */
struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
} __attribute__((preserve_access_index));

struct bpf_dummy_ops {
	int (*test_1)(struct bpf_dummy_ops_state *cb);
} __attribute__((preserve_access_index));

SEC("struct_ops/ssthresh")
__u32 BPF_PROG(t_struct_ops_ssthresh, struct sock *sk)
{
	return 2;
}

SEC("struct_ops/cong_avoid")
void BPF_PROG(t_struct_ops_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
}

SEC("struct_ops/undo_cwnd")
__u32 BPF_PROG(t_struct_ops_undo_cwnd, struct sock *sk)
{
	return 2;
}

SEC("struct_ops/test_1")
int BPF_PROG(t_struct_ops_dummy, struct bpf_dummy_ops_state *cb)
{
	return 0;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops congestion = {
	.ssthresh = (void *)t_struct_ops_ssthresh,
	.cong_avoid = (void *)t_struct_ops_cong_avoid,
	.undo_cwnd = (void *)t_struct_ops_undo_cwnd,
	.name = "bpf_test",
};

SEC(".struct_ops")
struct bpf_dummy_ops dummy = {
	.test_1 = (void *)t_struct_ops_dummy,
};

char LICENSE[] SEC("license") = "GPL";
