/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Definitions of several loaders in one object, beside a BTF map: of 20 bytes,
 * of 36 as iproute2 has them, and of 280 in a section of their own.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct five {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct nine {
	unsigned int type, key_size, value_size, max_entries, map_flags;
	unsigned int id, pinning, inner_id, inner_idx;
};

struct seventy {
	unsigned int type, key_size, value_size, max_entries, map_flags;
	unsigned int pinning;
	char namespace[256];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} modern SEC(".maps");

struct nine of_tc SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 8, 5, 0, .id = 9 };

static struct five hidden SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 8, 6, 0 };

struct five largest SEC("maps") = { BPF_MAP_TYPE_LPM_TRIE, 8, 8, 0x40000000, BPF_F_NO_PREALLOC };

struct seventy own_section SEC("maps/own_section") = { BPF_MAP_TYPE_ARRAY, 4, 8, 7, 0 };

/* Old loaders find the types of a map by such a name; one with a lock needs them. */
struct guarded {
	struct bpf_spin_lock lock;
	__u32 count;
};

struct five locked SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, sizeof(struct guarded), 8, 0 };

struct ____btf_map_locked {
	__u32 key;
	struct guarded value;
};
struct ____btf_map_locked __attribute__((section(".maps.locked"), used)) ____btf_map_locked = {};

static __attribute__((always_inline)) void count(void *map, __u64 by)
{
	__u32 key = 1;
	__u64 *found = bpf_map_lookup_elem(map, &key);

	if (found)
		*found += by;
}

SEC("xdp")
int mixed(struct xdp_md *ctx)
{
	struct { __u32 bits, data; } prefix = { 32, 1 };
	__u32 key = 1;
	struct guarded *guarded;

	count(&modern, 1);
	count(&of_tc, 2);
	count(&hidden, 3);
	count(&own_section, 4);
	bpf_map_lookup_elem(&largest, &prefix);
	guarded = bpf_map_lookup_elem(&locked, &key);
	if (guarded) {
		bpf_spin_lock(&guarded->lock);
		guarded->count += 5;
		bpf_spin_unlock(&guarded->lock);
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
