/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps whose declarations leave something to their loader, or say too much. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u32 pid;
};

/* The kernel wants neither keys nor values. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct event);
} events SEC(".maps");

/* The loader counts the processors. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
} perf_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
} per_cpu SEC(".maps");

/* The loader says how deep a stack is. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(key_size, sizeof(__u32));
	__uint(max_entries, 16);
} stacks SEC(".maps");

/* The loader says how many there are. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
} sized_by_the_loader SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_RINGBUF);
		__type(value, __u32);
	});
} rings SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_kill")
int sized(void *ctx)
{
	__u32 key = 0;
	__u64 one = 1;
	__u64 *count = bpf_map_lookup_elem(&per_cpu, &key);
	struct event *event;
	void *ring;

	if (count)
		*count += 1;
	bpf_get_stackid(ctx, &stacks, 0);
	bpf_map_update_elem(&sized_by_the_loader, &key, &one, BPF_ANY);
	bpf_perf_event_output(ctx, &perf_events, BPF_F_CURRENT_CPU, &key, sizeof(key));
	ring = bpf_map_lookup_elem(&rings, &key);
	if (ring)
		bpf_ringbuf_output(ring, &key, sizeof(key), 0);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
