//! What a user asks an attach for. Parsed once, at the edge.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::NetfilterFamily;
use super::NetfilterHook;
use super::SharedHook;
use crate::links::LinkKind;
use crate::links::PerfEvent;
use crate::links::Sampling;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::InterfaceWord;
use crate::types::Priority;
use crate::types::ProgramId;
use crate::types::XdpMode;

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

/// To what to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachRequest {
    /// An interface's XDP hook.
    Xdp {
        /// The interface.
        interface: InterfaceRequest,
        /// The program's place.
        priority: Priority,
        /// The verdicts after which the chain goes on; `None` for the default.
        proceed_on: Option<Vec<i32>>,
        /// How it meets its packets.
        mode: XdpMode,
        /// Whether its runs are counted.
        count: bool,
    },
    /// An interface's TC hook.
    Tc {
        /// The interface.
        interface: InterfaceRequest,
        /// Which way packets go.
        direction: Direction,
        /// The program's place.
        priority: Priority,
        /// The verdicts after which the chain goes on; `None` for the default.
        proceed_on: Option<Vec<i32>>,
        /// Whether its runs are counted.
        count: bool,
    },
    /// An interface's TCX hook.
    Tcx {
        /// The interface.
        interface: InterfaceRequest,
        /// Which way packets go.
        direction: Direction,
        /// The program's place.
        priority: Priority,
    },
    /// A netkit device; the program's type says which of its ends is meant.
    Netkit {
        /// The device's primary interface.
        interface: InterfaceRequest,
        /// The program's place.
        priority: Priority,
    },
    /// A tracepoint.
    Tracepoint {
        /// Its group.
        group: String,
        /// Its name.
        name: String,
    },
    /// A raw tracepoint.
    RawTracepoint {
        /// Its name.
        name: String,
    },
    /// A function of the kernel; the program's type says whether on return.
    Kprobe {
        /// Its name.
        function: String,
        /// The offset in it, in bytes.
        offset: u64,
    },
    /// Several functions of the kernel.
    KprobeMulti {
        /// Their names, or patterns with `*`.
        functions: Vec<String>,
    },
    /// A function or an offset of a file; the program's type says whether on return.
    Uprobe {
        /// The file.
        file: ProbedFile,
        /// The function.
        function: Option<String>,
        /// The offset in it, or in the file, in bytes.
        offset: u64,
    },
    /// Several functions of a file.
    UprobeMulti {
        /// The file.
        file: ProbedFile,
        /// Their names.
        functions: Vec<String>,
    },
    /// A probe that the file's author placed.
    Usdt {
        /// The file.
        file: ProbedFile,
        /// The probe's provider.
        provider: String,
        /// The probe.
        name: String,
    },
    /// What the program was bound to when it was loaded; the kinds that say nothing more.
    Bound {
        /// The kind.
        kind: LinkKind,
    },
    /// A perf event.
    PerfEvent {
        /// Its name.
        event: PerfEvent,
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
        /// Which way packets go, for programs whose type leaves it open.
        direction: Option<Direction>,
    },
    /// A network namespace (sk_lookup, flow_dissector).
    Namespace {
        /// Which of the two.
        kind: LinkKind,
        /// Its file; `None` for the process's own.
        netns: Option<AbsolutePath>,
    },
    /// A netfilter hook.
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
    },
    /// An iterator.
    Iter {
        /// The map it walks through, by its pin.
        map: Option<AbsolutePath>,
    },
    /// What a struct_ops map of the program's object implements.
    StructOps {
        /// The map's name in the object; `None` for the only one that uses the program.
        map: Option<String>,
    },
    /// A map of sockets, by its pin.
    Sockmap {
        /// The pin.
        map: AbsolutePath,
    },
}

impl AttachRequest {
    /// The interface and the hook, for the kinds whose programs share one attachment.
    #[must_use]
    pub fn shared(&self) -> Option<(&InterfaceRequest, SharedHook)> {
        match self {
            Self::Xdp {
                interface, mode, ..
            } => Some((interface, SharedHook::Xdp { mode: *mode })),
            Self::Tc {
                interface,
                direction,
                ..
            } => {
                let direction = *direction;
                Some((interface, SharedHook::Tc { direction }))
            }
            _ => None,
        }
    }
}
