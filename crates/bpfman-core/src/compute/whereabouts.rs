//! Where what a link was attached to is now: interfaces are renamed and move between network namespaces, and the links of
//! their programs go with them.

use crate::links::LinkInterface;
use crate::types::IfIndex;

/// Where the interface of a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Where its record says, by the name that it has now.
    Here(LinkInterface),
    /// Somewhere else: in another namespace, or under another index.
    Moved(LinkInterface),
    /// It lives, in a namespace that no file and no process shows.
    Hidden(IfIndex),
}

impl Whereabouts {
    /// The interface as it can be found; `None` when it cannot.
    #[must_use]
    pub fn now(&self) -> Option<&LinkInterface> {
        match self {
            Self::Here(now) | Self::Moved(now) => Some(now),
            Self::Hidden(_) => None,
        }
    }
}

/// What became of what a link was attached to, when the link says that it is attached to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is there: somebody detached the link. An interface is given as it is called now.
    Present(Option<LinkInterface>),
    /// The interface is gone; another may have its name.
    InterfaceGone {
        /// The one that has its name.
        namesake: Option<IfIndex>,
    },
    /// No file and no process shows the network namespace.
    NamespaceGone,
    /// The cgroup is gone, or another is at its path.
    CgroupGone,
    /// The map has lost its pin.
    MapGone,
}
