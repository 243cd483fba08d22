//! What a link is attached to, in the kernel's terms: nothing is left to look up.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::ProgramReference;
use super::Results;
use super::UnresolvedReference;
use super::kernel::fill_in_program;
use crate::links::InterfaceTarget;
use crate::links::Namespace;
use crate::links::PerfEvent;
use crate::links::ProbeSite;
use crate::links::ProbeWhen;
use crate::links::Sampling;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::KernelLinkId;
use crate::types::MapId;
use crate::types::XdpMode;

/// A place in an order that the kernel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedPlace {
    /// The link to stand before; `None` for the end.
    pub before: Option<KernelLinkId>,
    /// The revision of the order that this was decided on.
    pub revision: u64,
}

/// What a link is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttachTarget {
    /// An interface's XDP hook.
    Xdp {
        /// The interface.
        interface: InterfaceTarget,
        /// How the program meets its packets.
        mode: XdpMode,
    },
    /// An interface's TCX hook.
    Tcx {
        /// The interface.
        interface: InterfaceTarget,
        /// Which way packets go.
        direction: Direction,
        /// Where among its other programs.
        place: OrderedPlace,
    },
    /// A netkit device.
    Netkit {
        /// The device's primary interface.
        interface: InterfaceTarget,
        /// Whether packets of its peer are meant.
        peer: bool,
        /// Where among its other programs.
        place: OrderedPlace,
    },
    /// What the program was bound to when it was loaded (fentry, lsm, tp_btf, ...).
    Bound,
    /// A raw tracepoint.
    RawTracepoint {
        /// Its name.
        name: String,
    },
    /// A tracepoint.
    Tracepoint {
        /// Its id, from tracefs.
        id: u64,
    },
    /// A function of the kernel.
    Kprobe {
        /// Its name.
        function: String,
        /// The offset in it, in bytes.
        offset: u64,
        /// On return instead of on entry.
        on_return: bool,
    },
    /// Several functions of the kernel.
    KprobeMulti {
        /// Their names.
        functions: Vec<String>,
        /// When.
        when: ProbeWhen,
    },
    /// An instruction of a file.
    Uprobe {
        /// The file.
        path: AbsolutePath,
        /// The instruction.
        site: ProbeSite,
        /// Only in this process.
        pid: Option<u32>,
        /// On return instead of on entry.
        on_return: bool,
    },
    /// Several instructions of a file.
    UprobeMulti {
        /// The file.
        path: AbsolutePath,
        /// The instructions.
        sites: Vec<ProbeSite>,
        /// Only in this process.
        pid: Option<u32>,
        /// When.
        when: ProbeWhen,
    },
    /// A perf event.
    PerfEvent {
        /// `perf_event_attr.type` (`linux/perf_event.h`).
        event_type: u32,
        /// `perf_event_attr.config`.
        config: u64,
        /// How often it samples.
        sampling: Sampling,
        /// Only on this processor.
        cpu: Option<u32>,
        /// Only in this process.
        pid: Option<u32>,
    },
    /// A cgroup.
    Cgroup {
        /// Its directory.
        path: AbsolutePath,
        /// `enum bpf_attach_type` of `linux/bpf.h`.
        attach_type: u32,
    },
    /// A network namespace.
    Namespace {
        /// The namespace.
        netns: Namespace,
        /// `enum bpf_attach_type` of `linux/bpf.h`.
        attach_type: u32,
    },
    /// A netfilter hook.
    Netfilter {
        /// The namespace.
        netns: Namespace,
        /// `NFPROTO_*` of `linux/netfilter.h`.
        family: u32,
        /// `NF_INET_*` of `linux/netfilter.h`.
        hook: u32,
        /// The place among other hooks: the smaller, the earlier.
        priority: i32,
        /// Whether fragments are put together first.
        defragment: bool,
    },
    /// An iterator; reading the pin of its link runs the program.
    Iter {
        /// The map whose elements it walks through, when it walks through one.
        map: Option<AbsolutePath>,
    },
    /// What a filled struct_ops map implements.
    StructOps {
        /// The map that must be found at the pin.
        map: MapId,
        /// The map's pin.
        path: AbsolutePath,
    },
    /// A map of sockets.
    Sockmap {
        /// The map's pin.
        map: AbsolutePath,
        /// `enum bpf_attach_type` of `linux/bpf.h`.
        attach_type: u32,
    },
    /// A slot of a dispatcher that this plan holds: the program is an extension.
    Slot {
        /// The dispatcher.
        dispatcher: ProgramReference,
        /// The function that is replaced.
        function: String,
    },
}

impl AttachTarget {
    /// Replaces its reference by what earlier steps answered.
    pub(super) fn fill_in(&mut self, results: &Results) -> Result<(), UnresolvedReference> {
        match self {
            Self::Slot { dispatcher, .. } => fill_in_program(dispatcher, results),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for OrderedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.before {
            Some(link) => write!(f, ", before link {link}"),
            None => f.write_str(", last"),
        }
    }
}

impl fmt::Display for AttachTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = |on_return: bool| if on_return { "the return of " } else { "" };
        match self {
            Self::Xdp { interface, .. } => write!(f, "xdp of {interface}"),
            Self::Tcx {
                interface,
                direction,
                place,
            } => write!(f, "tcx {direction} of {interface}{place}"),
            Self::Netkit {
                interface, place, ..
            } => write!(f, "netkit of {interface}{place}"),
            Self::Bound => f.write_str("what it was loaded for"),
            Self::RawTracepoint { name } => write!(f, "raw tracepoint {name}"),
            Self::Tracepoint { id } => write!(f, "tracepoint {id}"),
            Self::Kprobe {
                function,
                offset,
                on_return,
            } => write!(f, "{}{function}+{offset}", back(*on_return)),
            Self::KprobeMulti { functions, .. } => write!(f, "{} functions", functions.len()),
            Self::Uprobe {
                path,
                site,
                on_return,
                ..
            } => write!(f, "{}{path}+{:#x}", back(*on_return), site.offset),
            Self::UprobeMulti { path, sites, .. } => {
                write!(f, "{} places of {path}", sites.len())
            }
            Self::PerfEvent {
                event_type, config, ..
            } => match PerfEvent::of(*event_type, *config) {
                Some(event) => write!(f, "perf event {}", event.name),
                None => write!(f, "perf event {event_type}:{config}"),
            },
            Self::Cgroup { path, .. } => write!(f, "cgroup {path}"),
            Self::Namespace { netns, .. } => write!(f, "network namespace {}", netns.id),
            Self::Netfilter { hook, netns, .. } => write!(f, "netfilter hook {hook}{netns}"),
            Self::Iter { .. } => f.write_str("its iterator"),
            Self::StructOps { map, path } => write!(f, "struct_ops map {map} ({path})"),
            Self::Sockmap { map, .. } => write!(f, "map {map}"),
            Self::Slot {
                dispatcher,
                function,
            } => write!(f, "{function} of dispatcher {dispatcher}"),
        }
    }
}
