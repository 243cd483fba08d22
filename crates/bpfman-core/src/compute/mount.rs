//! Whether a plan may mount our bpffs: never where the mount would end with the process.

use alloc::string::String;

use crate::action::Action;
use crate::action::KernelAction;
use crate::action::Plan;
use crate::kernel::BpffsMount;
use crate::kernel::PrivateMount;
use crate::types::AbsolutePath;

/// Why our bpffs is not mounted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountRefusal {
    /// The mount would not last.
    #[error(
        "no bpffs is mounted at {path}, and one mounted now would end with this mount namespace, and all pins with it: {why}"
    )]
    WouldEnd {
        /// Where it would be mounted.
        path: AbsolutePath,
        /// Why it would end.
        why: PrivateMount,
    },
    /// It is mounted where this process cannot get at it.
    #[error(
        "process 1 has a bpffs mounted at {path}, which this mount namespace does not have and cannot be given ({why})"
    )]
    OutOfReach {
        /// Where it is mounted.
        path: AbsolutePath,
        /// What the system said.
        why: String,
    },
}

impl MountRefusal {
    /// The directory in question.
    #[must_use]
    pub fn path(&self) -> &AbsolutePath {
        match self {
            Self::WouldEnd { path, .. } | Self::OutOfReach { path, .. } => path,
        }
    }
}

/// Where a plan mounts a bpffs.
#[must_use]
pub fn mounts(plan: &Plan) -> Option<&AbsolutePath> {
    plan.steps.iter().find_map(|step| match &step.action {
        Action::Kernel(KernelAction::MountBpffs { path }) => Some(path),
        _ => None,
    })
}

/// Refuses a mount that would not last.
///
/// # Errors
/// [`MountRefusal`].
pub fn check_mount(path: &AbsolutePath, found: &BpffsMount) -> Result<(), MountRefusal> {
    match found {
        BpffsMount::Private(why) => Err(MountRefusal::WouldEnd {
            path: path.clone(),
            why: why.clone(),
        }),
        BpffsMount::Elsewhere {
            unreachable: Some(why),
        } => Err(MountRefusal::OutOfReach {
            path: path.clone(),
            why: why.clone(),
        }),
        BpffsMount::Mounted { .. } | BpffsMount::Absent | BpffsMount::Elsewhere { .. } => Ok(()),
    }
}
