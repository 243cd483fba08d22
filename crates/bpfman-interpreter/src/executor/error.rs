//! Why a plan failed, and what is left of it then.

use std::fmt;

use bpfman_core::action::UnresolvedReference;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;

use crate::interfaces::FileError;
use crate::store::StoreError;

/// Why one action failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The kernel, a bpffs or the loader refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file could not be changed.
    #[error(transparent)]
    Files(#[from] FileError),
    /// The store could not be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan names what none of its steps makes.
    #[error("the plan is wrong: {0}")]
    Plan(#[from] UnresolvedReference),
}

impl ActionError {
    /// Whether nobody knows if the action happened: the helper died.
    pub(super) fn is_unheard(&self) -> bool {
        matches!(self, Self::Kernel(error) if error.kind == KernelErrorKind::Helper)
    }

    /// Whether it says that there is nothing left to do: what the action speaks of is gone, or is somebody else's.
    pub(super) fn is_settled(&self) -> bool {
        use KernelErrorKind as Kind;
        match self {
            Self::Kernel(error) => matches!(
                error.kind,
                // A bad request is about what nobody holds any more.
                Kind::NotFound
                    | Kind::NotOurs
                    | Kind::NotBpffs
                    | Kind::Stale
                    | Kind::Exists
                    | Kind::BadRequest
            ),
            Self::Files(error) => error.source.kind() == std::io::ErrorKind::NotFound,
            Self::Store(error) => matches!(
                error,
                StoreError::NotFound(_)
                    | StoreError::LinkNotFound(_)
                    | StoreError::DispatcherNotFound(_)
            ),
            Self::Plan(_) => false,
        }
    }
}

/// An undo that failed: what is left behind.
#[derive(Debug)]
pub struct FailedUndo {
    /// The undo, printed.
    pub action: String,
    /// Why it failed.
    pub cause: ActionError,
}

/// A plan that failed and was undone.
#[derive(Debug)]
pub struct ExecutionError {
    /// The action that failed, printed.
    pub action: String,
    /// Why.
    pub cause: ActionError,
    /// Whether it was to load a chain.
    pub loads_chain: bool,
    /// The undos that failed too; empty when the world is as it was.
    pub failed_undos: Vec<FailedUndo>,
    /// Whether the operation stands all the same, for what was done of it cannot be undone: the next one finishes it.
    pub unfinished: bool,
}

impl fmt::Display for ExecutionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        for failed in &self.failed_undos {
            write!(f, "; undoing failed: {}: {}", failed.action, failed.cause)?;
        }
        if self.unfinished {
            f.write_str("; what is left of it is done by the next command that changes anything")?;
        }
        Ok(())
    }
}

impl std::error::Error for ExecutionError {}

impl ExecutionError {
    /// Whether everything is as it was.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        self.failed_undos.is_empty() && !self.unfinished
    }
}
