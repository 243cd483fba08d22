//! What the kernel reports about BPF objects. Observed, never made by us.

mod cause;
mod error;
mod error_kind;
mod feature;
mod interface;
mod link;
mod mount;
mod rtnetlink;
mod shape;
mod traffic;

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

pub use cause::Cause;
pub use cause::CgroupPrograms;
pub use error::KernelError;
pub use error::PermissionFacts;
pub use error_kind::KernelErrorKind;
pub use feature::FeatureState;
pub use interface::Interface;
pub use interface::NetworkNamespace;
pub use link::AttachOrder;
pub use link::AttachedProgram;
pub use link::KernelLinkType;
pub use link::Link;
pub use link::LinkFacts;
pub use link::LinkPlace;
pub use link::ProgramHook;
pub use mount::BpffsMount;
pub use mount::PrivateMount;
pub use rtnetlink::Dump;
pub use rtnetlink::DumpError;
pub use rtnetlink::Entry;
pub use rtnetlink::MAX_ENTRIES;
pub use rtnetlink::interface_request;
pub use shape::MapMachine;
pub use shape::MapShape;
pub use traffic::FilterQdisc;
pub use traffic::ProgramFilter;
pub use traffic::filter_request;
pub use traffic::qdisc_request;

use crate::types::AbsolutePath;
use crate::types::KernelProgramType;
use crate::types::KernelTime;
use crate::types::MapId;
use crate::types::ProgramId;
use crate::types::Tag;

/// What makes a loaded program itself: the kernel recycles ids, so an id alone proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramIdentity {
    /// Its id while it lives.
    pub id: ProgramId,
    /// The digest of its instructions.
    pub tag: Tag,
    /// When it was loaded.
    pub load_time: KernelTime,
}

/// One program as `bpf_prog_info` (`linux/bpf.h`) describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Id, tag and load time.
    #[serde(flatten)]
    pub identity: ProgramIdentity,
    /// Its name, cut to 15 bytes by the kernel.
    pub name: String,
    /// Its type.
    pub program_type: KernelProgramType,
    /// The user who loaded it.
    pub uid: u32,
    /// The id of its BTF; 0 when it has none.
    pub btf_id: u32,
    /// The maps it uses.
    pub map_ids: Vec<MapId>,
    /// The size of its machine code in bytes; 0 when not compiled or hidden.
    pub jited_size: u32,
    /// The size of its translated instructions in bytes; 0 when hidden.
    pub xlated_size: u32,
    /// The instructions the verifier walked through.
    pub verified_insns: u32,
    /// Whether its license is GPL compatible.
    pub gpl_compatible: bool,
    /// Nanoseconds it ran, when the kernel counts (`kernel.bpf_stats_enabled`).
    pub run_time_ns: u64,
    /// How often it ran, when the kernel counts.
    pub run_count: u64,
    /// How often it was not run because it was running already.
    pub recursion_misses: u64,
    /// The locked memory in bytes, from `/proc/self/fdinfo`; `None` when not asked for.
    pub memlock: Option<u64>,
}

/// One map as `bpf_map_info` (`linux/bpf.h`) describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// Its id while it lives.
    pub id: MapId,
    /// Its name, cut to 15 bytes by the kernel.
    pub name: String,
    /// `enum bpf_map_type`.
    pub map_type: MapType,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value.
    pub value_size: u32,
    /// How many entries it can hold.
    pub max_entries: u32,
    /// `BPF_F_*` of its creation.
    pub flags: u32,
    /// The id of its BTF; 0 when it has none.
    pub btf_id: u32,
    /// The extra word of its type (a bloom filter's hashes, an arena's address).
    pub map_extra: u64,
    /// The locked memory in bytes, from `/proc/self/fdinfo`; `None` where that cannot be read.
    pub memlock: Option<u64>,
    /// Whether user space can no longer write it, from `/proc/self/fdinfo`; `None` where that cannot be read.
    pub frozen: Option<bool>,
}

impl Map {
    /// What it is, for a program that wants to use it.
    #[must_use]
    pub fn shape(&self) -> MapShape {
        MapShape {
            map_type: self.map_type,
            key_size: self.key_size,
            value_size: self.value_size,
            max_entries: self.max_entries,
            flags: self.flags,
            map_extra: self.map_extra,
        }
    }
}

/// What a program was counted to do: the value of a counting map, on each processor, as it lies there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// How often it ran.
    pub runs: u64,
    /// For how long in all.
    pub nanoseconds: u64,
}

/// What is at a path where a pin may be, or may come to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum PinState {
    /// Nothing; the nearest directory that exists is `ancestor`.
    Free {
        /// The nearest existing directory above the path.
        ancestor: AbsolutePath,
        /// Whether that directory is on a bpffs.
        on_bpffs: bool,
    },
    /// A program's pin.
    Program(Program),
    /// A map's pin.
    Map(Map),
    /// A link's pin.
    Link(Link),
    /// Something else: a directory, a link, a file.
    Other,
}

/// A map type as the kernel numbers it: `enum bpf_map_type` of `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MapType(pub u32);

impl MapType {
    /// `BPF_MAP_TYPE_HASH`.
    pub const HASH: Self = Self(1);
    /// `BPF_MAP_TYPE_ARRAY`.
    pub const ARRAY: Self = Self(2);
    /// `BPF_MAP_TYPE_PROG_ARRAY`.
    pub const PROG_ARRAY: Self = Self(3);
    /// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`.
    pub const PERF_EVENT_ARRAY: Self = Self(4);
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    pub const PERCPU_ARRAY: Self = Self(6);
    /// `BPF_MAP_TYPE_STACK_TRACE`.
    pub const STACK_TRACE: Self = Self(7);
    /// `BPF_MAP_TYPE_CGROUP_ARRAY`.
    pub const CGROUP_ARRAY: Self = Self(8);
    /// `BPF_MAP_TYPE_LRU_HASH`.
    pub const LRU_HASH: Self = Self(9);
    /// `BPF_MAP_TYPE_LRU_PERCPU_HASH`.
    pub const LRU_PERCPU_HASH: Self = Self(10);
    /// `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
    pub const ARRAY_OF_MAPS: Self = Self(12);
    /// `BPF_MAP_TYPE_HASH_OF_MAPS`.
    pub const HASH_OF_MAPS: Self = Self(13);
    /// `BPF_MAP_TYPE_DEVMAP`.
    pub const DEVMAP: Self = Self(14);
    /// `BPF_MAP_TYPE_CPUMAP`.
    pub const CPUMAP: Self = Self(16);
    /// `BPF_MAP_TYPE_CGROUP_STORAGE`.
    pub const CGROUP_STORAGE: Self = Self(19);
    /// `BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE`.
    pub const PERCPU_CGROUP_STORAGE: Self = Self(21);
    /// `BPF_MAP_TYPE_SK_STORAGE`.
    pub const SK_STORAGE: Self = Self(24);
    /// `BPF_MAP_TYPE_DEVMAP_HASH`.
    pub const DEVMAP_HASH: Self = Self(25);
    /// `BPF_MAP_TYPE_STRUCT_OPS`.
    pub const STRUCT_OPS: Self = Self(26);
    /// `BPF_MAP_TYPE_RINGBUF`.
    pub const RINGBUF: Self = Self(27);
    /// `BPF_MAP_TYPE_INODE_STORAGE`.
    pub const INODE_STORAGE: Self = Self(28);
    /// `BPF_MAP_TYPE_TASK_STORAGE`.
    pub const TASK_STORAGE: Self = Self(29);
    /// `BPF_MAP_TYPE_BLOOM_FILTER`.
    pub const BLOOM_FILTER: Self = Self(30);
    /// `BPF_MAP_TYPE_USER_RINGBUF`.
    pub const USER_RINGBUF: Self = Self(31);
    /// `BPF_MAP_TYPE_CGRP_STORAGE`.
    pub const CGRP_STORAGE: Self = Self(32);
    /// `BPF_MAP_TYPE_ARENA`.
    pub const ARENA: Self = Self(33);
    /// `BPF_MAP_TYPE_INSN_ARRAY`.
    pub const INSN_ARRAY: Self = Self(34);
}

/// Indexed by `enum bpf_map_type`.
#[rustfmt::skip]
const MAP_TYPE_NAMES: [&str; 35] = [
    "unspecified", "hash", "array", "programarray", "perfeventarray", "percpuhash", "percpuarray", "stacktrace",
    "cgrouparray", "lruhash", "lrucpuhash", "lpmtrie", "arrayofmaps", "hashofmaps", "devmap", "sockmap",
    "cpumap", "xskmap", "sockhash", "cgroupstorage", "reuseportsockarray", "percpucgroupstorage", "queue", "stack",
    "skstorage", "devmaphash", "structopsmap", "ringbuf", "inodestorage", "taskstorage", "bloomfilter",
    "userringbuf", "cgrpstorage", "arena", "insnarray",
];

impl core::fmt::Display for MapType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match MAP_TYPE_NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown({})", self.0),
        }
    }
}
