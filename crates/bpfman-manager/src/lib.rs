//! The operations: fetch a snapshot, compute a plan, execute it. No SQL, no system calls, no terminal here.

/// Begins an operation: all that is logged until the value is dropped is of it. Its span is of the level of errors, so
/// that whatever is logged has its id.
macro_rules! begin {
    ($manager:ident, $name:literal) => {
        bpfman_interpreter::operation::Operation::enter(tracing::error_span!(
            target: "operation",
            $name,
            id = %bpfman_interpreter::operation::OperationId::next($manager.now),
        ))
    };
}

mod attach;
mod attachments;
mod detach;
mod dispatchers;
mod error;
mod full_disk;
mod hooked;
mod inspect;
mod link_status;
mod links;
mod load;
mod points;
mod reconcile;
mod recover;
mod removal;
mod replace;
mod settle;
mod unload;
mod whereabouts;

pub use attachments::Attachment;
pub use detach::Detached;
pub use dispatchers::DispatcherStatus;
pub use dispatchers::LinkUpdate;
pub use error::ManagerError;
pub use inspect::Listing;
pub use inspect::Place;
pub use inspect::ProgramMap;
pub use inspect::ProgramStatus;
pub use link_status::LinkStatus;
pub use links::LinkListing;
pub use links::ListedLink;
pub use reconcile::Diagnosis;
pub use reconcile::Reconciled;
pub use replace::ReplaceSpec;
pub use replace::Replacement;

use bpfman_core::types::RuntimeLayout;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::interfaces::Files;
use bpfman_interpreter::interfaces::Kernel;
use bpfman_interpreter::runtime::Runtime;
use bpfman_interpreter::targets::Targets;

/// One world and its layout.
pub struct Manager<'a> {
    /// Where things are.
    pub layout: RuntimeLayout,
    /// Gives out stores.
    pub runtime: &'a mut dyn Runtime,
    /// The kernel, in process, through the helper, or simulated.
    pub kernel: &'a mut dyn Kernel,
    /// Ordinary files.
    pub files: &'a mut dyn Files,
    /// Looks up what users name.
    pub targets: &'a dyn Targets,
    /// The time of the operation.
    pub now: UnixTime,
}
