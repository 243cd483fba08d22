//! Whether the pins outlive the processes that make them.

use alloc::format;
use alloc::string::ToString;

use super::Finding;
use super::Repair;
use super::Rule;
use crate::compute::check_mount;
use crate::compute::mounts;
use crate::kernel::BpffsMount;
use crate::types::RuntimeLayout;

/// Looks at the mount namespace that our bpffs is in, or would be.
pub(super) fn examine(found: &BpffsMount, layout: &RuntimeLayout) -> Option<Finding> {
    let path = layout.bpffs();
    let refusal = check_mount(&path, found).err();
    let why = |or: &str| {
        refusal
            .as_ref()
            .map_or_else(|| or.to_string(), ToString::to_string)
    };
    let (rule, why) = match found {
        BpffsMount::Mounted { private: false } | BpffsMount::Absent => return None,
        BpffsMount::Mounted { private: true } | BpffsMount::Private(_) => (
            Rule::BpffsPrivate,
            why("bind it into the mount namespace of process 1"),
        ),
        BpffsMount::Elsewhere { .. } => (
            Rule::BpffsElsewhere,
            why("every command that changes something mounts it here, too"),
        ),
    };
    Some(Finding::new(rule, format!("{path}"), Repair::Nothing(why)))
}

/// What would be repaired by a mount that does not last is left.
pub(super) fn lasting(finding: Finding, found: &BpffsMount) -> Finding {
    let Repair::Plan(plan) = &finding.repair else {
        return finding;
    };
    let refusal = mounts(plan).map(|path| check_mount(path, found));
    match refusal {
        Some(Err(refusal)) => Finding {
            repair: Repair::Nothing(refusal.to_string()),
            ..finding
        },
        Some(Ok(())) | None => finding,
    }
}
