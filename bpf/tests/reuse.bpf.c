/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maps that the kernel or libbpf makes into something else than their
 * declarations say: a second load must take them all the same.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef HASHES
#define HASHES 3
#endif

#define MAP(kind, entries, more) \
	__uint(type, kind); \
	__uint(max_entries, entries); \
	__uint(pinning, LIBBPF_PIN_BY_NAME); \
	more

#define SIZED(key_type, value_type) \
	__type(key, key_type); \
	__type(value, value_type)

/* The kernel adds BPF_F_RDONLY_PROG. */
struct {
	MAP(BPF_MAP_TYPE_DEVMAP, 4, SIZED(__u32, __u32));
} ports SEC(".maps");

struct {
	MAP(BPF_MAP_TYPE_DEVMAP_HASH, 4, SIZED(__u32, struct bpf_devmap_val));
} ports_by_number SEC(".maps");

/* The kernel forgets the flag. */
struct {
	MAP(BPF_MAP_TYPE_HASH, 4, SIZED(__u32, __u32));
	__uint(map_flags, BPF_F_RDONLY);
} read_only SEC(".maps");

/* The kernel rounds the entries up to a multiple of the processors. */
struct {
	MAP(BPF_MAP_TYPE_LRU_HASH, 1021, SIZED(__u32, __u32));
	__uint(map_flags, BPF_F_NO_COMMON_LRU);
} recent SEC(".maps");

/* libbpf rounds the bytes up to a power of two of pages. */
struct {
	MAP(BPF_MAP_TYPE_RINGBUF, 3 * 4096, );
} events SEC(".maps");

/* libbpf fills in the processors. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	SIZED(__u32, __u32);
} perf_events SEC(".maps");

struct {
	MAP(BPF_MAP_TYPE_BLOOM_FILTER, 64, __type(value, __u32));
	__uint(map_extra, HASHES);
} seen SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	__u32 key = 0;

	bpf_map_peek_elem(&seen, &key);
	bpf_map_lookup_elem(&read_only, &key);
	bpf_map_lookup_elem(&recent, &key);
	bpf_perf_event_output(ctx, &perf_events, BPF_F_CURRENT_CPU, &key, sizeof(key));
	bpf_ringbuf_output(&events, &key, sizeof(key), 0);
	bpf_redirect_map(&ports_by_number, 1, XDP_PASS);
	return bpf_redirect_map(&ports, 1, XDP_PASS);
}

char LICENSE[] SEC("license") = "GPL";
