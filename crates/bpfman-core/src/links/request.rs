//! What a user asks an attach for. Parsed once, at the edge.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::AttachRequest;
use super::SharedHook;
use crate::types::AbsolutePath;
use crate::types::InterfaceWord;
use crate::types::ProgramId;

/// One attach call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachSpec {
    /// The managed program.
    pub program: ProgramId,
    /// To what.
    pub request: AttachRequest,
    /// The link's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// An interface by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceRequest {
    /// Its name, or one of its alternative names.
    pub name: InterfaceWord,
    /// The file of its network namespace; `None` for the process's own.
    pub netns: Option<AbsolutePath>,
}

/// A file whose instructions are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedFile {
    /// An absolute path, or the name of a library.
    pub target: String,
    /// Only in this process.
    pub pid: Option<u32>,
    /// Found in the mount namespace of this process.
    pub container_pid: Option<u32>,
}

impl AttachRequest {
    /// The interface and the hook, for the kinds whose programs share one attachment.
    #[must_use]
    pub fn shared(&self) -> Option<(&InterfaceRequest, SharedHook)> {
        match self {
            Self::Xdp(asked) => Some((&asked.interface, SharedHook::Xdp { mode: asked.mode })),
            Self::Tc(asked) => {
                let direction = asked.direction;
                Some((&asked.interface, SharedHook::Tc { direction }))
            }
            _ => None,
        }
    }
}
