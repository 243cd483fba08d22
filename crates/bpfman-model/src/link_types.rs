//! The types of links, by name: `enum bpf_link_type` of `linux/bpf.h`.

use bpfman_core::kernel::KernelLinkType;

/// Raw tracepoints.
pub const RAW_TRACEPOINT: KernelLinkType = KernelLinkType(1);
/// What a program was bound to when it was loaded.
pub const TRACING: KernelLinkType = KernelLinkType(2);
/// Cgroups.
pub const CGROUP: KernelLinkType = KernelLinkType(3);
/// Iterators.
pub const ITER: KernelLinkType = KernelLinkType(4);
/// Network namespaces.
pub const NETNS: KernelLinkType = KernelLinkType(5);
/// XDP.
pub const XDP: KernelLinkType = KernelLinkType(6);
/// Tracepoints, kprobes, uprobes and perf events.
pub const PERF_EVENT: KernelLinkType = KernelLinkType(7);
/// Several functions of the kernel.
pub const KPROBE_MULTI: KernelLinkType = KernelLinkType(8);
/// What struct_ops maps implement.
pub const STRUCT_OPS: KernelLinkType = KernelLinkType(9);
/// Netfilter hooks.
pub const NETFILTER: KernelLinkType = KernelLinkType(10);
/// TCX.
pub const TCX: KernelLinkType = KernelLinkType(11);
/// Several places of a file.
pub const UPROBE_MULTI: KernelLinkType = KernelLinkType(12);
/// Netkit devices.
pub const NETKIT: KernelLinkType = KernelLinkType(13);
/// Maps of sockets.
pub const SOCKMAP: KernelLinkType = KernelLinkType(14);
