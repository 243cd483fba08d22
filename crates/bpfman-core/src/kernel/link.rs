//! What the kernel reports about links and about what is attached where.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::types::IfIndex;
use crate::types::KernelLinkId;
use crate::types::MapId;
use crate::types::NetnsId;
use crate::types::ProgramId;

/// A link type as the kernel numbers it: `enum bpf_link_type` of `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelLinkType(pub u32);

/// Indexed by `enum bpf_link_type`.
const LINK_TYPE_NAMES: [&str; 15] = [
    "unspecified",
    "raw_tracepoint",
    "tracing",
    "cgroup",
    "iter",
    "netns",
    "xdp",
    "perf_event",
    "kprobe_multi",
    "struct_ops",
    "netfilter",
    "tcx",
    "uprobe_multi",
    "netkit",
    "sockmap",
];

impl KernelLinkType {
    /// Whether a link of this type can be detached while others hold it (`detach` of `bpf_link_ops`). The others
    /// stay attached until the last one lets go.
    #[must_use]
    pub fn can_be_detached(self) -> bool {
        matches!(self.0, 3 | 5 | 6 | 9 | 10 | 11 | 13 | 14)
    }

    /// Whether links of this type attach XDP programs.
    #[must_use]
    pub fn is_xdp(self) -> bool {
        self.0 == 6
    }

    /// Whether the last holder of a link of this type waits for an RCU grace period: perf events.
    #[must_use]
    pub fn ends_slowly(self) -> bool {
        self.0 == 7
    }
}

impl fmt::Display for KernelLinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match LINK_TYPE_NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown({})", self.0),
        }
    }
}

/// One link as `bpf_link_info` (`linux/bpf.h`) describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id while it lives.
    pub id: KernelLinkId,
    /// The program it holds; a link may be given another. 0 for a struct_ops link, whose map holds several.
    pub program: ProgramId,
    /// Its type.
    pub link_type: KernelLinkType,
    /// Where it is attached, as far as the kernel says.
    pub place: LinkPlace,
    /// What else the kernel says of links of its type.
    #[serde(default)]
    pub facts: LinkFacts,
}

/// What `bpf_link_info` (`linux/bpf.h`) says of some types of links, in its own words; 0 where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkFacts {
    /// `enum bpf_attach_type`, for the types of links that have one.
    pub attach_type: Option<u32>,
    /// Of tracing: the program or the module's types that it is attached to.
    pub target_obj_id: u32,
    /// Of tracing: the function there.
    pub target_btf_id: u32,
    /// Of netfilter: `NFPROTO_*`.
    pub netfilter_pf: u32,
    /// Of netfilter: `NF_INET_*`.
    pub netfilter_hooknum: u32,
    /// Of netfilter: the place among other hooks.
    pub netfilter_priority: i32,
    /// Of netfilter: `BPF_F_NETFILTER_*`.
    pub netfilter_flags: u32,
    /// Of kprobe.multi: how many functions.
    pub kprobe_multi_count: u32,
    /// Of kprobe.multi: `BPF_F_KPROBE_MULTI_*`.
    pub kprobe_multi_flags: u32,
    /// Of kprobe.multi: how often it was not run.
    pub kprobe_multi_missed: u64,
    /// Of a kprobe: where.
    pub kprobe_address: u64,
    /// Of a kprobe: how often it was not run.
    pub kprobe_missed: u64,
}

impl Link {
    /// Whether it is attached to something, as far as the kernel says: it tells of most links whose interface, cgroup,
    /// namespace or map is gone, or that were detached by force. Of netfilter it does not.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        match &self.place {
            LinkPlace::Interface { ifindex } => ifindex.is_some(),
            LinkPlace::Cgroup { cgroup } => *cgroup != 0,
            LinkPlace::Namespace { netns } => *netns != NetnsId(0),
            LinkPlace::Map { map } => map.is_some(),
            LinkPlace::Named { .. } | LinkPlace::Unsaid => true,
        }
    }
}

/// A program that is attached to another program: an extension of one of its functions, or an observer (fentry, fexit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramHook {
    /// The program it is attached to.
    pub target: ProgramId,
    /// The link that attaches it.
    pub link: KernelLinkId,
    /// What is attached.
    pub program: ProgramId,
    /// The name of that.
    pub name: String,
    /// Whether it runs in place of a function, rather than beside it.
    pub replaces: bool,
}

/// Where a link is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum LinkPlace {
    /// To an interface.
    Interface {
        /// Its index; `None` once the interface is gone and the link does nothing.
        ifindex: Option<IfIndex>,
    },
    /// To a cgroup.
    Cgroup {
        /// The cgroup's id; 0 once it is gone.
        cgroup: u64,
    },
    /// To a network namespace.
    Namespace {
        /// Its inode; 0 once it is gone.
        netns: NetnsId,
    },
    /// It registers the struct_ops map, or is attached to the map of sockets.
    Map {
        /// The map; `None` once it is detached and the link does nothing.
        map: Option<MapId>,
    },
    /// To something with a name: a raw tracepoint.
    Named {
        /// The name.
        name: String,
    },
    /// The kernel does not say.
    Unsaid,
}

/// The programs at an attach point that the kernel keeps in order (tcx, netkit).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachOrder {
    /// Changes with every change of the order; an attach that names an older one is refused.
    pub revision: u64,
    /// First to last.
    pub members: Vec<AttachedProgram>,
}

/// One program at an attach point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedProgram {
    /// The program.
    pub program: ProgramId,
    /// Its link; `None` when it was attached without one.
    pub link: Option<KernelLinkId>,
}
