//! What there is to know of the machine before a program is loaded.

use std::fs;

use bpfman_core::kernel::PermissionFacts;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelProgramType;
use serde::Serialize;

use crate::interfaces::KernelReader;
use crate::kernel::Feature;
use crate::kernel::LibbpfKernel;
use crate::kernel::features;
use crate::kernel::permission_facts;
use crate::vmlinux;

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
    /// What the kernel can do.
    pub features: Vec<Feature>,
}

/// Whether the kernel counts the runs of programs (`kernel.bpf_stats_enabled`); `None` when that cannot be read.
#[must_use]
pub fn statistics() -> Option<bool> {
    let text = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").ok()?;
    Some(text.trim() != "0")
}

/// Looks around. What cannot be read is not there.
#[must_use]
pub fn environment(bpffs: &AbsolutePath) -> Environment {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Without them there is still much to tell.
    let types = vmlinux::read().unwrap_or_default();
    Environment {
        kernel: release.trim().to_owned(),
        btf: !types.is_empty(),
        permission: permission_facts(&[KernelProgramType::XDP, KernelProgramType::KPROBE]),
        bpffs: LibbpfKernel::new().is_bpffs_root(bpffs).unwrap_or(false),
        statistics: statistics(),
        features: features(&types),
    }
}
