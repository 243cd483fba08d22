/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Arms a timer that fires in an hour: until then the kernel keeps its code. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define AN_HOUR (3600ULL * 1000 * 1000 * 1000)
#define MONOTONIC 1

struct timed {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct timed);
} timers SEC(".maps");

static int fired(void *map, __u32 *key, struct timed *timed)
{
	return 0;
}

SEC("xdp")
int arms(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct timed *timed = bpf_map_lookup_elem(&timers, &key);

	if (timed) {
		bpf_timer_init(&timed->timer, &timers, MONOTONIC);
		bpf_timer_set_callback(&timed->timer, fired);
		bpf_timer_start(&timed->timer, AN_HOUR, 0);
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
