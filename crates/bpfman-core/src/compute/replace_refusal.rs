//! Why a program is not replaced.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::AttachRefusal;
use super::UnloadRefusal;
use super::shared::PointRefusal;
use crate::links::LinkKind;
use crate::types::LinkId;

/// Why a program is not replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceRefusal {
    /// The kernel cannot give a link of this kind another program.
    #[error("{}: the kernel cannot give such links another program", kinds(.0))]
    NotSwappable(Vec<(LinkId, LinkKind)>),
    /// A link that cannot be attached anew.
    #[error("link {0} is of kind {1}, which cannot be replaced: {2}")]
    NotReplaceable(LinkId, LinkKind, &'static str),
    /// A link is not at its pin any more.
    #[error("link {0} is no longer at its pin; detach it first")]
    LinkGone(LinkId),
    /// The old version cannot be unloaded.
    #[error(transparent)]
    Unload(#[from] UnloadRefusal),
    /// What runs at one of its attach points cannot be made anew.
    #[error(transparent)]
    Point(#[from] PointRefusal),
    /// A link cannot be attached anew.
    #[error(transparent)]
    Attach(#[from] AttachRefusal),
}

fn kinds(links: &[(LinkId, LinkKind)]) -> String {
    let words: Vec<String> = links
        .iter()
        .map(|(id, kind)| format!("link {id} is of kind {kind}"))
        .collect();
    words.join(", ")
}
