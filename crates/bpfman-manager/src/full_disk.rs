//! Removals on a full disk: they write a little before they free what they can.

use std::io::ErrorKind;

use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::runtime::RuntimeError;
use bpfman_interpreter::store::StoreError;

use crate::Manager;
use crate::ManagerError;

impl Manager<'_> {
    /// Runs a removal; when it finds no disk space left, again with the space that was set aside for it.
    pub(crate) fn with_reserve<T>(
        &mut self,
        removal: impl Fn(&mut Self) -> Result<T, ManagerError>,
    ) -> Result<T, ManagerError> {
        match removal(self) {
            Err(error) if lacks_space(&error) && self.runtime.release_reserve() => removal(self),
            done => done,
        }
    }
}

/// Whether an operation that changed nothing failed for want of disk space.
pub(crate) fn lacks_space(error: &ManagerError) -> bool {
    match error {
        ManagerError::Store(error) | ManagerError::Runtime(RuntimeError::Store(error)) => {
            is_full(error)
        }
        ManagerError::Files(error) | ManagerError::Runtime(RuntimeError::Directory(error)) => {
            error.source.kind() == ErrorKind::StorageFull
        }
        ManagerError::Recovery { cause, .. } => action_lacks_space(cause),
        ManagerError::Execution(error) => error.is_undone() && action_lacks_space(&error.cause),
        _ => false,
    }
}

fn action_lacks_space(error: &ActionError) -> bool {
    match error {
        ActionError::Store(error) => is_full(error),
        ActionError::Files(error) => error.source.kind() == ErrorKind::StorageFull,
        _ => false,
    }
}

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Full { .. })
}
