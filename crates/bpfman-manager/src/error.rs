//! Why an operation failed.

use bpfman_core::compute::LoadRefusal;
use bpfman_core::compute::UnloadRefusal;
use bpfman_core::kernel::KernelError;
use bpfman_core::object::ObjectError;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::files::ReadObjectError;
use bpfman_interpreter::runtime::RuntimeError;
use bpfman_interpreter::store::StoreError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The object file was not read.
    #[error("open bytecode ELF: {0}")]
    ReadObject(#[from] ReadObjectError),
    /// The object file makes no sense.
    #[error("open bytecode ELF {path}: {cause}")]
    Object {
        /// The file.
        path: String,
        /// What is wrong.
        cause: ObjectError,
    },
    /// The load was refused before its first effect.
    #[error(transparent)]
    LoadRefused(#[from] LoadRefusal),
    /// The unload was refused before its first effect.
    #[error(transparent)]
    UnloadRefused(#[from] UnloadRefusal),
    /// There is no such managed program.
    #[error("program {0} does not exist")]
    NoSuchProgram(ProgramId),
    /// The store cannot be read.
    #[error(transparent)]
    Store(StoreError),
    /// The writer cannot begin.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The kernel did not let us look.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The plan failed and was undone.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
}

impl From<StoreError> for ManagerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(id) => Self::NoSuchProgram(id),
            other => Self::Store(other),
        }
    }
}
