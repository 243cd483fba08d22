// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The fixture object/references.o of bpfman-core is compiled from it: clang -O2 -g -target bpf -c, then llvm-strip -g.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct array {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};

struct array direct SEC(".maps");
struct array by_subprogram SEC(".maps");
struct array by_leaf SEC(".maps");
struct array by_callback SEC(".maps");
struct array inner SEC(".maps");
struct array unused SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct array);
} outer SEC(".maps") = { .values = { [1] = &inner } };

int leaf(struct xdp_md *ctx);
int twig(struct xdp_md *ctx);
int root(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} jumps SEC(".maps") = { .values = { [0] = (void *)&leaf, [2] = (void *)&root } };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} further SEC(".maps") = { .values = { [0] = (void *)&twig } };

extern int no_kernel_function(void) __ksym;
extern int maybe_function(void) __ksym __weak;
extern const int no_kernel_variable __ksym;
extern const void no_kernel_address __ksym;
extern int CONFIG_NO_NUMBER __kconfig;
extern _Bool CONFIG_NO_CHOICE __kconfig;
extern char CONFIG_NO_TEXT[8] __kconfig;
extern int nobodys_function(int value);

static __u64 look(void *map)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(map, &key);

	return value ? *value : 0;
}

static __noinline __u64 hidden(void)
{
	return look(&by_subprogram);
}

__noinline int shown(int value)
{
	return value + hidden();
}

static long each(__u32 index, void *ctx)
{
	look(&by_callback);
	return 0;
}

SEC("xdp")
int plain(struct xdp_md *ctx)
{
	return look(&direct) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int through(struct xdp_md *ctx)
{
	bpf_loop(1, each, 0, 0);
	return shown(1);
}

SEC("xdp")
int nested(struct xdp_md *ctx)
{
	__u32 key = 1;
	void *map = bpf_map_lookup_elem(&outer, &key);

	return map ? look(map) : 0;
}

SEC("xdp")
int root(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jumps, 0);
	return XDP_PASS;
}

SEC("xdp")
int leaf(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &further, 0);
	return look(&by_leaf);
}

SEC("tail/twig")
int twig(struct xdp_md *ctx)
{
	return XDP_TX;
}

SEC("xdp")
int function(struct xdp_md *ctx)
{
	return no_kernel_function() + (maybe_function ? maybe_function() : 0);
}

SEC("xdp")
int variable(struct xdp_md *ctx)
{
	int *value = bpf_this_cpu_ptr(&no_kernel_variable);

	return *value + (long)&no_kernel_address;
}

SEC("xdp")
int number(struct xdp_md *ctx)
{
	return CONFIG_NO_NUMBER;
}

SEC("xdp")
int choice(struct xdp_md *ctx)
{
	return CONFIG_NO_CHOICE ? XDP_PASS : CONFIG_NO_TEXT[0];
}

SEC("xdp")
int undefined(struct xdp_md *ctx)
{
	return nobodys_function(2);
}

char _license[] SEC("license") = "GPL";
