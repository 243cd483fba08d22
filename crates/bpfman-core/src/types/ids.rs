//! Ids. The kernel hands its own out, recycles them, and never uses 0; a [`LinkId`] is ours and is never used twice.

use core::fmt;

use serde::Deserialize;
use serde::Serialize;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident: $number:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// The id of a BPF program in this kernel, as `bpf_prog_info.id`.
    ProgramId: u32
}
id! {
    /// The id of a BPF map in this kernel, as `bpf_map_info.id`.
    MapId: u32
}
id! {
    /// The id of a BPF link in this kernel, as `bpf_link_info.id`.
    KernelLinkId: u32
}
id! {
    /// The id of a managed link: it stays the same when the kernel's changes.
    LinkId: u32
}
id! {
    /// The index of a network interface in its namespace.
    IfIndex: u32
}
id! {
    /// A network namespace: the inode of its file on nsfs.
    NetnsId: u64
}
