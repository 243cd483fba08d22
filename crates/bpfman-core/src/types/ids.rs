//! Kernel ids. The kernel hands them out, recycles them, and never uses 0.

use core::fmt;

use serde::Deserialize;
use serde::Serialize;

macro_rules! kernel_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

kernel_id! {
    /// The id of a BPF program in this kernel, as `bpf_prog_info.id`.
    ProgramId
}
kernel_id! {
    /// The id of a BPF map in this kernel, as `bpf_map_info.id`.
    MapId
}
