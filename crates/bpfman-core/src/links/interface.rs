//! Hooks of network interfaces.

use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;

use super::Namespace;
use crate::kernel::Interface;
use crate::kernel::NetworkNamespace;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::Family;
use crate::types::IfIndex;
use crate::types::InterfaceName;
use crate::types::InterfaceWord;
use crate::types::NetnsId;
use crate::types::Priority;
use crate::types::XdpMode;

/// An interface by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceRequest {
    /// Its name, or one of its alternative names.
    pub name: InterfaceWord,
    /// The file of its network namespace; `None` for the process's own.
    pub netns: Option<AbsolutePath>,
}

/// An interface as the user named it and as the kernel knew it then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkInterface {
    /// Its name.
    pub interface: InterfaceName,
    /// Its index.
    pub ifindex: IfIndex,
    /// The file of its network namespace; `None` for the process's own.
    pub netns: Option<AbsolutePath>,
    /// The namespace.
    pub nsid: NetnsId,
}

impl LinkInterface {
    /// An interface that was found in a namespace, by the name that it has now.
    #[must_use]
    pub fn found(namespace: &NetworkNamespace, interface: &Interface) -> Self {
        Self {
            interface: interface.name.clone(),
            ifindex: interface.ifindex,
            netns: namespace.path.clone(),
            nsid: namespace.id,
        }
    }

    /// One of its hooks.
    #[must_use]
    pub fn point(&self, hook: Hook) -> AttachPoint {
        AttachPoint {
            hook,
            nsid: self.nsid,
            ifindex: self.ifindex,
        }
    }

    /// What asks for it.
    #[must_use]
    pub(super) fn asked(&self) -> InterfaceRequest {
        InterfaceRequest {
            name: self.interface.clone().into(),
            netns: self.netns.clone(),
        }
    }

    /// Whether this is the same interface of the same namespace, whatever it is called.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.nsid, self.ifindex) == (other.nsid, other.ifindex)
    }

    /// The same place, under the name that a record keeps.
    #[must_use]
    pub fn recorded_as(&self, name: &InterfaceName) -> Self {
        Self {
            interface: name.clone(),
            ..self.clone()
        }
    }

    /// The interface in the kernel's terms.
    #[must_use]
    pub fn target(&self) -> InterfaceTarget {
        InterfaceTarget {
            netns: Namespace {
                path: self.netns.clone(),
                id: self.nsid,
            },
            ifindex: self.ifindex,
        }
    }
}

/// How a link shares its attach point with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The hook.
    pub hook: SharedHook,
    /// The interface.
    pub at: &'a LinkInterface,
    /// The program's place.
    pub priority: Priority,
    /// The verdicts after which the next program runs.
    pub proceed_on: &'a [i32],
    /// The pin of the map that counts its runs.
    pub counter: Option<&'a AbsolutePath>,
}

/// A hook of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// XDP.
    Xdp,
    /// TC, by a filter or by the last TCX link.
    Tc(Direction),
    /// TCX.
    Tcx(Direction),
    /// A netkit device's.
    Netkit {
        /// Whether packets of its peer are meant.
        peer: bool,
    },
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 7] = [
        Self::Xdp,
        Self::Tc(Direction::Ingress),
        Self::Tc(Direction::Egress),
        Self::Tcx(Direction::Ingress),
        Self::Tcx(Direction::Egress),
        Self::Netkit { peer: false },
        Self::Netkit { peer: true },
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc(Direction::Ingress) => "tc-ingress",
            Self::Tc(Direction::Egress) => "tc-egress",
            Self::Tcx(Direction::Ingress) => "tcx-ingress",
            Self::Tcx(Direction::Egress) => "tcx-egress",
            Self::Netkit { peer: false } => "netkit-primary",
            Self::Netkit { peer: true } => "netkit-peer",
        }
    }
}

impl Serialize for Hook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = Self::ALL.into_iter().find(|hook| hook.name() == text);
        found.ok_or_else(|| D::Error::custom(format_args!("no hook is called `{text}`")))
    }
}

/// Where several programs can meet: a hook of an interface of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachPoint {
    /// The hook.
    pub hook: Hook,
    /// The namespace.
    pub nsid: NetnsId,
    /// The interface in it.
    pub ifindex: IfIndex,
}

impl fmt::Display for AttachPoint {
    /// The key under which the store finds the links of a point: `tcx-ingress/4026531840/2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = self.hook.name();
        write!(f, "{hook}/{}/{}", self.nsid, self.ifindex)
    }
}

/// Where a filter stands among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterPlace {
    /// Its preference.
    pub preference: u32,
    /// Its handle under that preference.
    pub handle: u32,
}

impl FilterPlace {
    /// The filter of this place on an interface.
    #[must_use]
    pub fn at(self, interface: InterfaceTarget, direction: Direction) -> TcFilter {
        TcFilter {
            interface,
            direction,
            preference: self.preference,
            handle: self.handle,
        }
    }
}

/// An interface in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceTarget {
    /// The namespace.
    pub netns: Namespace,
    /// Its index there.
    pub ifindex: IfIndex,
}

impl fmt::Display for InterfaceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {}{}", self.ifindex, self.netns)
    }
}

/// A filter of the traffic control, for kernels that have no TCX: it stays without anybody holding it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcFilter {
    /// The interface.
    pub interface: InterfaceTarget,
    /// Which way packets go.
    pub direction: Direction,
    /// Its preference among other filters (`tc filter ... pref`).
    pub preference: u32,
    /// Its handle under that preference.
    pub handle: u32,
}

impl fmt::Display for TcFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (preference, handle) = (self.preference, self.handle);
        let (direction, interface) = (self.direction, &self.interface);
        write!(
            f,
            "filter {preference}/{handle:#x} {direction} of {interface}"
        )
    }
}

/// A hook whose programs share one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedHook {
    /// XDP.
    Xdp {
        /// How packets are met.
        mode: XdpMode,
    },
    /// TC.
    Tc {
        /// Which way packets go.
        direction: Direction,
    },
}

impl SharedHook {
    /// The programs that run there.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Xdp { .. } => Family::Xdp,
            Self::Tc { .. } => Family::Tc,
        }
    }

    /// The hook without its mode.
    #[must_use]
    pub fn hook(self) -> Hook {
        match self {
            Self::Xdp { .. } => Hook::Xdp,
            Self::Tc { direction } => Hook::Tc(direction),
        }
    }
}
