//! What a user asks an attach for. Parsed once, at the edge.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::AttachRequest;
use super::InterfaceRequest;
use super::SharedHook;
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
