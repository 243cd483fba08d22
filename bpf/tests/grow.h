/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Two versions of the same programs: what they count is in one map that stays
 * as it is, and in one that has ENTRIES entries. grow_all uses maps that differ
 * in one respect each.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} kept SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} grown SEC(".maps");

static void add(void *map)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(map, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}

/* What an interface sends by itself is of IPv6. */
static int is_counted(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return 0;
	return eth->h_proto == bpf_htons(ETH_P_IP);
}

SEC("xdp")
int grow_one(struct xdp_md *ctx)
{
	if (is_counted(ctx)) {
		add(&kept);
		add(&grown);
	}
	return XDP_PASS;
}

SEC("xdp")
int grow_two(struct xdp_md *ctx)
{
	if (is_counted(ctx))
		add(&grown);
	return XDP_PASS;
}

/* The process that signals to be counted are sent to. */
volatile const __s64 wanted;

struct kill_args {
	__u64 common;
	long id;
	long pid;
	long signal;
};

SEC("tracepoint/syscalls/sys_enter_kill")
int grow_kill(struct kill_args *args)
{
	if ((__s32)args->pid == (__s32)wanted) {
		add(&kept);
		add(&grown);
	}
	return 0;
}

struct {
	__uint(type, RETYPED);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} retyped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(key_size, 4 * SIZE);
	__uint(value_size, 4);
} rekeyed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4 * SIZE);
} revalued SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(map_flags, FLAGS);
	__type(key, __u32);
	__type(value, __u32);
} reflagged SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 4);
	__uint(map_extra, SIZE);
	__type(value, __u32);
} hashes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENTRIES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u32);
} by_name SEC(".maps");

SEC("xdp")
int grow_all(struct xdp_md *ctx)
{
	__u32 key[2] = {};

	bpf_map_lookup_elem(&retyped, key);
	bpf_map_lookup_elem(&rekeyed, key);
	bpf_map_lookup_elem(&revalued, key);
	bpf_map_lookup_elem(&reflagged, key);
	bpf_map_peek_elem(&hashes, key);
	bpf_map_lookup_elem(&by_name, key);
	bpf_map_lookup_elem(&kept, key);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
