//! The kinds of refusals.

use serde::Deserialize;
use serde::Serialize;

/// What kind of refusal it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelErrorKind {
    /// A request that makes no sense: bad JSON, an unknown op, a missing field, an id that is not held.
    BadRequest,
    /// The object cannot be read as one.
    InvalidObject,
    /// A program, map, pin or file that is not there.
    NotFound,
    /// A pin or directory that is there already.
    Exists,
    /// What is at a pin is not what was expected.
    NotOurs,
    /// The verifier refused the program.
    Verifier,
    /// A capability is missing, or the kernel is locked down.
    Permission,
    /// A path outside any bpffs.
    NotBpffs,
    /// A map that is to be taken differs from the one declared.
    MapMismatch,
    /// The kernel has no such program type, hook or function.
    Unsupported,
    /// Another program is attached where only one can be, or this one is there already.
    Taken,
    /// An interface has a queueing discipline in the place of the one that filters need.
    OtherQdisc,
    /// What the attach was decided on has changed meanwhile: decide again.
    Stale,
    /// No memory or space is left.
    NoSpace,
    /// The helper process failed.
    Helper,
    /// Anything else.
    Other,
}
