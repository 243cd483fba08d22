//! The operations: fetch a snapshot, compute a plan, execute it. No SQL, no system calls, no terminal here.

mod error;
mod inspect;
mod load;
mod unload;

pub use error::ManagerError;
pub use inspect::Listing;
pub use inspect::ProgramStatus;

use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::interfaces::Files;
use bpfman_interpreter::interfaces::Kernel;
use bpfman_interpreter::runtime::Runtime;

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
}
