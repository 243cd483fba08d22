//! What there is to know of the machine before a program is loaded.

use std::fs;

use bpfman_core::kernel::PermissionFacts;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelProgramType;
use serde::Serialize;

use crate::interfaces::KernelReader;
use crate::kernel::LibbpfKernel;
use crate::kernel::permission_facts;

/// Where the kernel publishes its types.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// What a kernel can do, by the name in `linux/bpf.h` that came with it.
const FEATURES: [(&str, &str); 12] = [
    ("links of xdp", "BPF_LINK_TYPE_XDP"),
    (
        "links of tracepoints and probes",
        "BPF_LINK_TYPE_PERF_EVENT",
    ),
    ("extension programs", "BPF_PROG_TYPE_EXT"),
    ("kprobe.multi", "BPF_LINK_TYPE_KPROBE_MULTI"),
    ("uprobe.multi", "BPF_LINK_TYPE_UPROBE_MULTI"),
    ("tcx", "BPF_LINK_TYPE_TCX"),
    ("netkit", "BPF_LINK_TYPE_NETKIT"),
    ("netfilter", "BPF_LINK_TYPE_NETFILTER"),
    ("links of struct_ops", "BPF_LINK_TYPE_STRUCT_OPS"),
    ("links of socket maps", "BPF_LINK_TYPE_SOCKMAP"),
    ("tokens", "BPF_TOKEN_CREATE"),
    ("fsession", "BPF_TRACE_FSESSION"),
];

/// The machine, as far as it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// Whether the kernel publishes its types (BTF).
    pub btf: bool,
    /// What this process lacks, and the kernel's lockdown.
    #[serde(flatten)]
    pub permission: PermissionFacts,
    /// Whether our bpffs is mounted.
    pub bpffs: bool,
    /// Whether the kernel counts the runs of programs (`kernel.bpf_stats_enabled`).
    pub statistics: Option<bool>,
    /// What the kernel can do; empty when it does not publish its types.
    pub features: Vec<Feature>,
}

/// Something that not every kernel can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// What.
    pub name: &'static str,
    /// Whether this one can.
    pub there: bool,
}

/// Looks around. What cannot be read is not there.
#[must_use]
pub fn environment(bpffs: &AbsolutePath) -> Environment {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let types = fs::read(KERNEL_TYPES).unwrap_or_default();
    let statistics = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled");
    Environment {
        kernel: release.trim().to_owned(),
        btf: !types.is_empty(),
        permission: permission_facts(&[KernelProgramType::XDP, KernelProgramType::KPROBE]),
        bpffs: LibbpfKernel::new().is_bpffs_root(bpffs).unwrap_or(false),
        statistics: statistics.ok().map(|text| text.trim() != "0"),
        features: features(&types),
    }
}

/// The strings of the types end with a zero each: a name between two of them is one of the kernel's.
fn features(types: &[u8]) -> Vec<Feature> {
    if types.is_empty() {
        return Vec::new();
    }
    let there = |name: &str| {
        let whole = [&[0], name.as_bytes(), &[0]].concat();
        memchr::memmem::find(types, &whole).is_some()
    };
    FEATURES
        .iter()
        .map(|(name, enumerator)| Feature {
            name,
            there: there(enumerator),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_there_when_its_name_is_whole() {
        let types = b"\0BPF_LINK_TYPE_XDP\0BPF_LINK_TYPE_TCX_OTHER\0";
        let there: Vec<&str> = features(types)
            .into_iter()
            .filter(|feature| feature.there)
            .map(|feature| feature.name)
            .collect();
        assert_eq!(there, ["links of xdp"]);
        assert_eq!(features(b""), []);
    }
}
