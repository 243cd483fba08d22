//! Deciding anew when others change meanwhile what an operation was decided on: programs at the same hook, or an
//! interface that goes away.

use bpfman_core::kernel::KernelErrorKind;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::runtime::WriterStore;

use crate::Manager;
use crate::ManagerError;

/// How often an operation is decided anew.
const MAX_TRIES: usize = 16;

impl Manager<'_> {
    /// Fetches, decides and carries out, until nothing has changed between the first and the last.
    pub(crate) fn until_settled<T>(
        &mut self,
        store: &mut dyn WriterStore,
        mut attempt: impl FnMut(&mut Self, &mut dyn WriterStore) -> Result<T, ManagerError>,
    ) -> Result<T, ManagerError> {
        for _ in 1..MAX_TRIES {
            match attempt(self, store) {
                Err(error) if is_stale(&error) => {}
                done => return done,
            }
        }
        attempt(self, store)
    }
}

fn is_stale(error: &ManagerError) -> bool {
    let ManagerError::Execution(error) = error else {
        return false;
    };
    let stale =
        matches!(&error.cause, ActionError::Kernel(cause) if cause.kind == KernelErrorKind::Stale);
    stale && error.is_undone()
}
