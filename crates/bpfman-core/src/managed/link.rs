//! The record of one managed link.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;

use super::SharedHook;
use crate::action::InterfaceTarget;
use crate::action::LinkReference;
use crate::action::Namespace;
use crate::action::ProbeWhen;
use crate::action::Results;
use crate::action::Sampling;
use crate::action::TcFilter;
use crate::action::UnresolvedReference;
use crate::kernel::Interface;
use crate::kernel::NetworkNamespace;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::IfIndex;
use crate::types::InterfaceName;
use crate::types::KernelLinkId;
use crate::types::LinkId;
use crate::types::LinkKind;
use crate::types::MapId;
use crate::types::NetnsId;
use crate::types::Priority;
use crate::types::ProgramId;
use crate::types::UnixTime;
use crate::types::XdpMode;

/// One link that we made and keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id, ours: never used twice.
    pub id: LinkId,
    /// Its program.
    pub program: ProgramId,
    /// The kernel's link; `None` where the kernel has none for it (a TC filter).
    pub kernel: Option<KernelLinkId>,
    /// The pin that keeps it; `None` where there is no kernel link.
    pub pin_path: Option<AbsolutePath>,
    /// What it is attached to.
    pub details: LinkDetails,
    /// The user's metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it was recorded.
    pub created_at: UnixTime,
}

impl Link {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> LinkKind {
        self.details.kind()
    }
}

/// A link's record before the kernel has spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDraft {
    /// The record but for the kernel's id.
    pub link: Link,
    /// The kernel's link, when there is one.
    pub kernel: Option<LinkReference>,
}

impl LinkDraft {
    /// The whole record, once the link is made.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when it is not.
    pub fn complete(&self, results: &Results) -> Result<Link, UnresolvedReference> {
        let kernel = self.kernel.map(|link| results.link(link)).transpose()?;
        Ok(Link {
            kernel,
            ..self.link.clone()
        })
    }
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

/// What a link is attached to, as its record keeps it and JSON shows it (contract: section 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LinkDetails {
    /// See [`LinkKind::Xdp`].
    Xdp {
        /// The interface.
        #[serde(flatten)]
        at: LinkInterface,
        /// The program's place.
        priority: Priority,
        /// The verdicts after which the chain goes on.
        proceed_on: Vec<i32>,
        /// How it meets its packets.
        mode: XdpMode,
        /// The pin of the map that counts its runs, where that was asked for.
        #[serde(default)]
        counter: Option<AbsolutePath>,
    },
    /// See [`LinkKind::Tc`].
    Tc {
        /// The interface.
        #[serde(flatten)]
        at: LinkInterface,
        /// Which way packets go.
        direction: Direction,
        /// The program's place.
        priority: Priority,
        /// The verdicts after which the chain goes on.
        proceed_on: Vec<i32>,
        /// The pin of the map that counts its runs, where that was asked for.
        #[serde(default)]
        counter: Option<AbsolutePath>,
    },
    /// See [`LinkKind::Tcx`].
    Tcx {
        /// The interface.
        #[serde(flatten)]
        at: LinkInterface,
        /// Which way packets go.
        direction: Direction,
        /// The program's place.
        priority: Priority,
    },
    /// See [`LinkKind::Netkit`].
    Netkit {
        /// The interface.
        #[serde(flatten)]
        at: LinkInterface,
        /// Whether packets of its peer are meant.
        peer: bool,
        /// The program's place.
        priority: Priority,
    },
    /// See [`LinkKind::Tracepoint`].
    Tracepoint {
        /// Its group.
        group: String,
        /// Its name.
        name: String,
    },
    /// See [`LinkKind::RawTracepoint`].
    RawTracepoint {
        /// Its name.
        name: String,
    },
    /// See [`LinkKind::TpBtf`].
    TpBtf {
        /// The tracepoint.
        name: String,
    },
    /// See [`LinkKind::Kprobe`].
    Kprobe {
        /// The function.
        fn_name: String,
        /// The offset in it, in bytes.
        offset: u64,
        /// On return instead of on entry.
        retprobe: bool,
    },
    /// See [`LinkKind::Kretprobe`].
    Kretprobe {
        /// The function.
        fn_name: String,
        /// The offset in it, in bytes.
        offset: u64,
        /// On return instead of on entry.
        retprobe: bool,
    },
    /// See [`LinkKind::KprobeMulti`].
    KprobeMulti {
        /// The functions.
        functions: Vec<String>,
        /// When.
        when: ProbeWhen,
    },
    /// See [`LinkKind::Uprobe`].
    Uprobe(UprobeDetails),
    /// See [`LinkKind::Uretprobe`].
    Uretprobe(UprobeDetails),
    /// See [`LinkKind::UprobeMulti`].
    UprobeMulti {
        /// The file as the user named it.
        target: String,
        /// The functions.
        functions: Vec<String>,
        /// Only in this process.
        pid: Option<u32>,
        /// In the mount namespace of this process.
        container_pid: Option<u32>,
        /// When.
        when: ProbeWhen,
    },
    /// See [`LinkKind::Usdt`].
    Usdt {
        /// The file as the user named it.
        target: String,
        /// The probe's provider.
        provider: String,
        /// The probe.
        name: String,
        /// Only in this process.
        pid: Option<u32>,
        /// In the mount namespace of this process.
        container_pid: Option<u32>,
        /// Which elements of `__bpf_usdt_specs` describe its arguments: the first.
        first_spec: u32,
        /// How many do.
        specs: u32,
    },
    /// See [`LinkKind::Fentry`].
    Fentry {
        /// The function.
        fn_name: String,
    },
    /// See [`LinkKind::Fexit`].
    Fexit {
        /// The function.
        fn_name: String,
    },
    /// See [`LinkKind::FmodRet`].
    FmodRet {
        /// The function.
        fn_name: String,
    },
    /// See [`LinkKind::Fsession`].
    Fsession {
        /// The function.
        fn_name: String,
    },
    /// See [`LinkKind::Lsm`].
    Lsm {
        /// The hook.
        hook_name: String,
    },
    /// See [`LinkKind::Freplace`].
    Freplace {
        /// `PROGRAM_ID/FUNCTION`.
        fn_name: String,
    },
    /// See [`LinkKind::PerfEvent`].
    PerfEvent {
        /// The event as the user named it.
        event: String,
        /// How often it samples.
        sampling: Sampling,
        /// Only on this processor.
        cpu: Option<u32>,
        /// Only in this process.
        pid: Option<u32>,
    },
    /// See [`LinkKind::Cgroup`].
    Cgroup {
        /// Its directory.
        path: AbsolutePath,
        /// Its id: the inode of the directory.
        cgroup_id: u64,
        /// `enum bpf_attach_type` of `linux/bpf.h`.
        attach_type: u32,
    },
    /// See [`LinkKind::SkLookup`].
    SkLookup {
        /// The file of the namespace; `None` for the process's own.
        netns: Option<AbsolutePath>,
        /// The namespace.
        nsid: NetnsId,
    },
    /// See [`LinkKind::FlowDissector`].
    FlowDissector {
        /// The file of the namespace; `None` for the process's own.
        netns: Option<AbsolutePath>,
        /// The namespace.
        nsid: NetnsId,
    },
    /// See [`LinkKind::Netfilter`].
    Netfilter {
        /// The protocol family.
        family: NetfilterFamily,
        /// The hook.
        hook: NetfilterHook,
        /// The place among other hooks.
        priority: i32,
        /// Whether fragments are put together first.
        defragment: bool,
        /// The file of the namespace; `None` for the process's own.
        netns: Option<AbsolutePath>,
        /// The namespace.
        nsid: NetnsId,
    },
    /// See [`LinkKind::Iter`].
    Iter {
        /// What it walks through.
        target: String,
        /// The map it walks through.
        map: Option<AbsolutePath>,
    },
    /// See [`LinkKind::StructOps`].
    StructOps {
        /// The map, by its name in the object.
        map: String,
        /// Its id in this kernel.
        map_id: MapId,
        /// The kernel's struct that it implements.
        struct_name: String,
    },
    /// See [`LinkKind::Sockmap`].
    Sockmap {
        /// The map's pin.
        map: AbsolutePath,
        /// `enum bpf_attach_type` of `linux/bpf.h`.
        attach_type: u32,
    },
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

/// What a uprobe is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UprobeDetails {
    /// The file as the user named it.
    pub target: String,
    /// The function.
    pub fn_name: Option<String>,
    /// The offset in it, or in the file, in bytes.
    pub offset: u64,
    /// Only in this process.
    pub pid: Option<u32>,
    /// On return instead of on entry.
    pub retprobe: bool,
    /// In the mount namespace of this process.
    pub container_pid: Option<u32>,
}

/// A protocol family with netfilter hooks: `NFPROTO_*` of `linux/netfilter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetfilterFamily {
    /// `NFPROTO_IPV4`.
    Ipv4 = 2,
    /// `NFPROTO_IPV6`.
    Ipv6 = 10,
}

/// A netfilter hook: `NF_INET_*` of `linux/netfilter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetfilterHook {
    /// `NF_INET_PRE_ROUTING`.
    PreRouting = 0,
    /// `NF_INET_LOCAL_IN`.
    LocalIn = 1,
    /// `NF_INET_FORWARD`.
    Forward = 2,
    /// `NF_INET_LOCAL_OUT`.
    LocalOut = 3,
    /// `NF_INET_POST_ROUTING`.
    PostRouting = 4,
}

impl fmt::Display for NetfilterFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

impl fmt::Display for NetfilterHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreRouting => "pre_routing",
            Self::LocalIn => "local_in",
            Self::Forward => "forward",
            Self::LocalOut => "local_out",
            Self::PostRouting => "post_routing",
        })
    }
}

impl LinkDetails {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> LinkKind {
        match self {
            Self::Xdp { .. } => LinkKind::Xdp,
            Self::Tc { .. } => LinkKind::Tc,
            Self::Tcx { .. } => LinkKind::Tcx,
            Self::Netkit { .. } => LinkKind::Netkit,
            Self::Tracepoint { .. } => LinkKind::Tracepoint,
            Self::RawTracepoint { .. } => LinkKind::RawTracepoint,
            Self::TpBtf { .. } => LinkKind::TpBtf,
            Self::Kprobe { .. } => LinkKind::Kprobe,
            Self::Kretprobe { .. } => LinkKind::Kretprobe,
            Self::KprobeMulti { .. } => LinkKind::KprobeMulti,
            Self::Uprobe(_) => LinkKind::Uprobe,
            Self::Uretprobe(_) => LinkKind::Uretprobe,
            Self::UprobeMulti { .. } => LinkKind::UprobeMulti,
            Self::Usdt { .. } => LinkKind::Usdt,
            Self::Fentry { .. } => LinkKind::Fentry,
            Self::Fexit { .. } => LinkKind::Fexit,
            Self::FmodRet { .. } => LinkKind::FmodRet,
            Self::Fsession { .. } => LinkKind::Fsession,
            Self::Lsm { .. } => LinkKind::Lsm,
            Self::Freplace { .. } => LinkKind::Freplace,
            Self::PerfEvent { .. } => LinkKind::PerfEvent,
            Self::Cgroup { .. } => LinkKind::Cgroup,
            Self::SkLookup { .. } => LinkKind::SkLookup,
            Self::FlowDissector { .. } => LinkKind::FlowDissector,
            Self::Netfilter { .. } => LinkKind::Netfilter,
            Self::Iter { .. } => LinkKind::Iter,
            Self::StructOps { .. } => LinkKind::StructOps,
            Self::Sockmap { .. } => LinkKind::Sockmap,
        }
    }

    /// The attach point that it shares with others; `None` where every link stands alone.
    #[must_use]
    pub fn attach_point(&self) -> Option<AttachPoint> {
        let (hook, at) = match self {
            Self::Xdp { at, .. } => (Hook::Xdp, at),
            Self::Tc { at, direction, .. } => (Hook::Tc(*direction), at),
            Self::Tcx { at, direction, .. } => (Hook::Tcx(*direction), at),
            Self::Netkit { at, peer, .. } => (Hook::Netkit { peer: *peer }, at),
            _ => return None,
        };
        Some(AttachPoint {
            hook,
            nsid: at.nsid,
            ifindex: at.ifindex,
        })
    }

    /// How it shares its attach point, for the kinds whose programs share one attachment.
    #[must_use]
    pub fn membership(&self) -> Option<Membership<'_>> {
        match self {
            Self::Xdp {
                at,
                priority,
                proceed_on,
                mode,
                counter,
            } => Some(Membership {
                hook: SharedHook::Xdp { mode: *mode },
                at,
                priority: *priority,
                proceed_on,
                counter: counter.as_ref(),
            }),
            Self::Tc {
                at,
                direction,
                priority,
                proceed_on,
                counter,
            } => Some(Membership {
                hook: SharedHook::Tc {
                    direction: *direction,
                },
                at,
                priority: *priority,
                proceed_on,
                counter: counter.as_ref(),
            }),
            _ => None,
        }
    }

    /// The interface it is attached to; `None` for what is no interface.
    #[must_use]
    pub fn interface(&self) -> Option<&LinkInterface> {
        match self {
            Self::Xdp { at, .. }
            | Self::Tc { at, .. }
            | Self::Tcx { at, .. }
            | Self::Netkit { at, .. } => Some(at),
            _ => None,
        }
    }

    /// The network namespace that it is attached to itself.
    #[must_use]
    pub fn namespace(&self) -> Option<NetnsId> {
        match self {
            Self::SkLookup { nsid, .. }
            | Self::FlowDissector { nsid, .. }
            | Self::Netfilter { nsid, .. } => Some(*nsid),
            _ => None,
        }
    }

    /// The same at another place, under the name that is recorded; for what is no interface, the same.
    #[must_use]
    pub fn moved_to(mut self, now: &LinkInterface) -> Self {
        if let Self::Xdp { at, .. }
        | Self::Tc { at, .. }
        | Self::Tcx { at, .. }
        | Self::Netkit { at, .. } = &mut self
        {
            *at = now.recorded_as(&at.interface);
        }
        self
    }

    /// The place among the programs of its attach point; `None` where there is none.
    #[must_use]
    pub fn priority(&self) -> Option<Priority> {
        match self {
            Self::Xdp { priority, .. }
            | Self::Tc { priority, .. }
            | Self::Tcx { priority, .. }
            | Self::Netkit { priority, .. } => Some(*priority),
            _ => None,
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
