//! Why an operation failed.

use bpfman_core::compute::AttachRefusal;
use bpfman_core::compute::DetachRefusal;
use bpfman_core::compute::LoadRefusal;
use bpfman_core::compute::MemberName;
use bpfman_core::compute::MountRefusal;
use bpfman_core::compute::PointRefusal;
use bpfman_core::compute::ReplaceRefusal;
use bpfman_core::compute::UnloadRefusal;
use bpfman_core::kernel::KernelError;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::LinkKind;
use bpfman_core::object::ObjectError;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::files::ReadObjectError;
use bpfman_interpreter::interfaces::FileError;
use bpfman_interpreter::runtime::RuntimeError;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::targets::FunctionVerdict;
use bpfman_interpreter::targets::TargetError;

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
    /// Our bpffs is not mounted, and a mount would not last.
    #[error(transparent)]
    MountRefused(#[from] MountRefusal),
    /// There is no such managed program.
    #[error("program {0} does not exist")]
    NoSuchProgram(ProgramId),
    /// The kernel has such a program, and bpfman has no record of it.
    #[error("program {id} ({what}) is in the kernel, but bpfman does not manage it")]
    NotManaged {
        /// Its id.
        id: ProgramId,
        /// Its type, and its name where it has one.
        what: String,
    },
    /// There is no such link.
    #[error("link {0} does not exist")]
    NoSuchLink(LinkId),
    /// Nothing of ours is at an attach point.
    #[error("nothing of bpfman is attached at {0}")]
    NothingThere(AttachPoint),
    /// The kernel keeps the place of links of this kind.
    #[error("link {0} is a {1} link, which cannot be given another place; attach it anew")]
    NoPlaceToChange(LinkId, LinkKind),
    /// The attach was refused before its first effect.
    #[error(transparent)]
    AttachRefused(#[from] AttachRefusal),
    /// The detach was refused before its first effect.
    #[error(transparent)]
    DetachRefused(#[from] DetachRefusal),
    /// The change of an attach point was refused before its first effect.
    #[error(transparent)]
    PointRefused(#[from] PointRefusal),
    /// The kernel refused a chain.
    #[error("{0} cannot be joined with the others: {1}")]
    ChainRefused(MemberName, ExecutionError),
    /// Programs can neither be joined into a chain nor run as extensions.
    #[error("{chain}; as extensions of a dispatcher: {extension}")]
    NotJoined {
        /// Why not into a chain.
        chain: Box<ManagerError>,
        /// Why not as extensions.
        extension: ActionError,
    },
    /// The replacement was refused.
    #[error(transparent)]
    ReplaceRefused(#[from] ReplaceRefusal),
    /// An interface needs programs that take fragments, and one does not.
    #[error("program {0} does not take packets in fragments, and then none of its chain can; {1}")]
    Fragments(ProgramId, ExecutionError),
    /// The replacement failed, and the new version could not be unloaded.
    #[error("{why}; undoing failed: unload program {new}: {undo}")]
    ReplaceNotUndone {
        /// Why it failed.
        why: Box<ManagerError>,
        /// The new version, which stays loaded.
        new: ProgramId,
        /// Why it was not unloaded.
        undo: ActionError,
    },
    /// An operation was killed, and could not be brought to its end.
    #[error("bpfman was killed during {operation}, which cannot be brought to its end: {cause}")]
    Recovery {
        /// What it was.
        operation: String,
        /// Why.
        cause: ActionError,
    },
    /// Somebody undoes what a reconciliation does.
    #[error("what is repaired does not stay so: something else changes it at the same time")]
    Restless,
    /// What the user named was not found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The kernel does not let this function of its own be probed.
    #[error("cannot probe `{}`: {}", function.escape_debug(), verdict_text(verdict))]
    Function {
        /// The function.
        function: String,
        /// What the kernel's lists say of it.
        verdict: FunctionVerdict,
    },
    /// We let go of the link, and somebody else did not.
    #[error("somebody else holds kernel link {0}, which stays attached until they let go")]
    StillAttached(KernelLinkId),
    /// The store cannot be read.
    #[error(transparent)]
    Store(StoreError),
    /// The writer cannot begin.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Files cannot be looked at.
    #[error(transparent)]
    Files(#[from] FileError),
    /// The kernel did not let us look.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The plan failed and was undone.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
}

impl ManagerError {
    /// Whether it is the failure of a plan that left everything as it was.
    pub(crate) fn is_undone(&self) -> bool {
        matches!(self, Self::Execution(error) if error.is_undone())
    }
}

impl From<StoreError> for ManagerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(id) => Self::NoSuchProgram(id),
            StoreError::LinkNotFound(id) => Self::NoSuchLink(id),
            other => Self::Store(other),
        }
    }
}

fn verdict_text(verdict: &FunctionVerdict) -> &'static str {
    match verdict {
        FunctionVerdict::Unknown { .. } => "this kernel has no such function",
        FunctionVerdict::Forbidden => "probing it is forbidden (NOKPROBE_SYMBOL)",
        FunctionVerdict::NotTraceable => {
            "it exists, but this kernel cannot trace it (notrace or inlined)"
        }
        FunctionVerdict::Traceable | FunctionVerdict::Exists => "the kernel refuses",
    }
}
