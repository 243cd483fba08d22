/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs that count how often a function is called, or getpgid(2): a system
 * call that nothing on an idle machine makes.
 */

#include <asm/unistd.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* As the kernel's types name it; only what is used here. */
struct seq_file;
struct task_struct {
	int tgid;
	char comm[16];
} __attribute__((preserve_access_index));
struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	void *map;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

/* The command whose calls count; empty for all. */
const volatile char only[16];

enum { CALLS, RETURNED };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

/* What an iterator walks through. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} walked SEC(".maps");

static void add(__u32 what, __u64 number)
{
	__u64 *sum = bpf_map_lookup_elem(&seen, &what);

	if (sum)
		__sync_fetch_and_add(sum, number);
}

static int is_meant(void)
{
	char comm[16] = {};

	if (!only[0])
		return 1;
	bpf_get_current_comm(comm, sizeof(comm));
	for (int i = 0; i < 16; i++)
		if (comm[i] != only[i])
			return 0;
	return 1;
}

static int count(void)
{
	if (is_meant())
		add(CALLS, 1);
	return 0;
}

static int count_return(long value)
{
	if (is_meant()) {
		add(CALLS, 1);
		add(RETURNED, value);
	}
	return 0;
}

#define COUNT(name, section)				\
	SEC(section)					\
	int name(void *ctx)				\
	{						\
		return count();				\
	}

#define COUNT_RETURN(name, section)			\
	SEC(section)					\
	int name(struct pt_regs *ctx)			\
	{						\
		return count_return(PT_REGS_RC(ctx));	\
	}

/* The second argument of the tracepoint sys_enter is the system call. */
#define COUNT_GETPGID(name, section)				\
	SEC(section)						\
	int name(__u64 *ctx)					\
	{							\
		return ctx[1] == __NR_getpgid ? count() : 0;	\
	}

COUNT(count_uprobe, "uprobe")
COUNT_RETURN(count_uretprobe, "uretprobe")
COUNT(count_uprobe_multi, "uprobe.multi")
COUNT_RETURN(count_uretprobe_multi, "uretprobe.multi")

/* Common fields of 8 bytes, then the number of the system call. */
COUNT_GETPGID(count_tracepoint, "tracepoint")
COUNT_GETPGID(count_raw_tracepoint, "raw_tracepoint")
COUNT_GETPGID(count_tp_btf, "tp_btf/sys_enter")
COUNT(count_perf_event, "perf_event")

COUNT(count_kprobe, "kprobe")
COUNT_RETURN(count_kretprobe, "kretprobe")
COUNT(count_ksyscall, "ksyscall/getpgid")
COUNT(count_kprobe_multi, "kprobe.multi")

COUNT(count_fentry, "fentry")
COUNT(count_lsm, "lsm/task_getpgid")

/* The function has one argument, so what it returns is the second. */
SEC("fexit")
int count_fexit(__u64 *ctx)
{
	return count_return(ctx[1]);
}

SEC("fmod_ret/security_task_getpgid")
int refuse_fmod_ret(void *ctx)
{
	if (!is_meant())
		return 0;
	count();
	return -EPERM;
}

SEC("iter/task")
int print_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "walked past %s\n", task->comm);
	return 0;
}

SEC("iter/bpf_map_elem")
int print_elements(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;

	if (key && value)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u is %llu\n", *key, *value);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
