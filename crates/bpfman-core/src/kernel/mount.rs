//! Where our bpffs is mounted. A mount lives as long as its mount namespace, and so do the pins on it.

use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

/// What a process sees of a bpffs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BpffsMount {
    /// It is mounted.
    Mounted {
        /// Whether process 1 has it mounted nowhere: it ends with the mount namespace of this process.
        private: bool,
    },
    /// It is not mounted, and can be so that it stays.
    Absent,
    /// It is mounted in the mount namespace of process 1, and not in this one.
    Elsewhere {
        /// Why this process cannot get at it, when it cannot.
        unreachable: Option<String>,
    },
    /// It is not mounted, and a mount would end with the mount namespace of this process.
    Private(PrivateMount),
}

/// Why a mount would end with a mount namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum PrivateMount {
    /// The mount namespace is that of a container with one process, this one.
    #[error("bpfman is process 1 of this container, and the mount does not propagate to the host")]
    FirstProcess,
    /// Process 1 has another directory where ours is.
    #[error(
        "process 1 is in another mount namespace, where this directory is another one or missing"
    )]
    OtherDirectory,
    /// The mount namespace of process 1 cannot be entered.
    #[error("process 1 is in another mount namespace, which cannot be entered ({why})")]
    CannotEnter {
        /// What the system said.
        why: String,
    },
}

impl BpffsMount {
    /// Whether there is a bpffs to see.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        matches!(self, Self::Mounted { .. })
    }
}
