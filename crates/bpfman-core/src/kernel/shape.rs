//! What makes a map usable in place of another: the decision of libbpf (`map_is_reuse_compat` of libbpf 1.7), and of
//! the kernel's own changes to what a map was asked to be.

use core::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::MapType;

/// `BPF_F_NO_COMMON_LRU`, `BPF_F_RDONLY`, `BPF_F_WRONLY` and `BPF_F_RDONLY_PROG` of `linux/bpf.h`.
const NO_COMMON_LRU: u32 = 1 << 1;
const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;
const RDONLY_PROG: u32 = 1 << 7;

/// What a map is declared to be, or is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapShape {
    /// `enum bpf_map_type`.
    pub map_type: MapType,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value.
    pub value_size: u32,
    /// How many entries it can hold; 0 where the declaration leaves it to the loader.
    pub max_entries: u32,
    /// `BPF_F_*` of its creation.
    pub flags: u32,
    /// The extra word of its type (a bloom filter's hashes, an arena's address).
    pub map_extra: u64,
}

/// What of the machine decides how large a map becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapMachine {
    /// The processors that the kernel has room for.
    pub possible_cpus: u32,
    /// Bytes in a page.
    pub page_size: u32,
}

impl MapShape {
    /// Whether a program that declares this map can use `existing` instead: whether `existing` is what the kernel
    /// makes of the declaration.
    #[must_use]
    pub fn accepts(&self, existing: &Self, machine: MapMachine) -> bool {
        let declared = self.as_made(machine);
        let same_entries =
            declared.max_entries == 0 || declared.max_entries == existing.max_entries;
        let flags = |shape: &Self| shape.flags & !added_by_the_kernel(shape.map_type);
        same_entries
            && declared.map_type == existing.map_type
            && declared.key_size == existing.key_size
            && declared.value_size == existing.value_size
            && flags(&declared) == flags(existing)
            && declared.map_extra == existing.map_extra
    }

    /// What the kernel reports of a map that was made as this one is declared, but for flags that it adds.
    #[must_use]
    pub fn as_made(&self, machine: MapMachine) -> Self {
        Self {
            max_entries: match self.map_type {
                MapType::RINGBUF | MapType::USER_RINGBUF => {
                    ring_size(self.max_entries, machine.page_size)
                }
                MapType::LRU_HASH | MapType::LRU_PERCPU_HASH if self.flags & NO_COMMON_LRU != 0 => {
                    whole_lists(self.max_entries, machine.possible_cpus)
                }
                _ => self.max_entries,
            },
            // They belong to the descriptor that the creation answers (`bpf_map_flags_retain_permanent`).
            flags: self.flags & !(RDONLY | WRONLY),
            ..*self
        }
    }
}

/// What the kernel reports, though nobody asked for it: `dev_map_init_map` and `insn_array_alloc`. A creation that asks
/// for it is refused.
fn added_by_the_kernel(map_type: MapType) -> u32 {
    match map_type {
        MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::INSN_ARRAY => RDONLY_PROG,
        _ => 0,
    }
}

/// libbpf makes a ring a power of two of pages (`adjust_ringbuf_sz`).
fn ring_size(bytes: u32, page_size: u32) -> u32 {
    let page_size = page_size.max(1);
    let pages = bytes.div_ceil(page_size).checked_next_power_of_two();
    let rounded = pages.and_then(|pages| pages.checked_mul(page_size));
    match bytes {
        0 => 0,
        _ => rounded.unwrap_or(bytes),
    }
}

/// The kernel gives each processor's list as many elements (`htab_map_alloc`).
fn whole_lists(entries: u32, processors: u32) -> u32 {
    let processors = processors.max(1);
    let rounded = entries.checked_next_multiple_of(processors);
    rounded.unwrap_or(entries - entries % processors)
}

impl fmt::Display for MapShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (key {} bytes, value {} bytes, {} entries, flags {:#x}",
            self.map_type, self.key_size, self.value_size, self.max_entries, self.flags
        )?;
        match self.map_extra {
            0 => f.write_str(")"),
            extra => write!(f, ", map_extra {extra:#x})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: MapMachine = MapMachine {
        possible_cpus: 6,
        page_size: 4096,
    };

    fn shape(map_type: MapType, max_entries: u32, flags: u32) -> MapShape {
        MapShape {
            map_type,
            key_size: 4,
            value_size: 8,
            max_entries,
            flags,
            map_extra: 0,
        }
    }

    /// Type, entries and flags as declared, entries and flags as they are, and whether that fits.
    type Row = (MapType, [u32; 2], [u32; 2], bool);

    #[rustfmt::skip]
    const TABLE: &[Row] = &[
        (MapType::HASH, [4, 0], [4, 0], true),
        (MapType::HASH, [4, 0], [5, 0], false),
        (MapType::HASH, [4, 0], [4, 1], false),
        (MapType::HASH, [4, 1], [4, 0], false),
        // Left to the loader, who made it.
        (MapType::HASH, [0, 0], [77, 0], true),
        (MapType::PERF_EVENT_ARRAY, [0, 0], [6, 0], true),
        // The kernel adds a flag.
        (MapType::DEVMAP, [4, 0], [4, RDONLY_PROG], true),
        (MapType::DEVMAP_HASH, [4, 0], [4, RDONLY_PROG], true),
        (MapType::INSN_ARRAY, [4, 0], [4, RDONLY_PROG], true),
        (MapType::DEVMAP, [4, 0], [4, 1], false),
        (MapType::ARRAY, [4, 0], [4, RDONLY_PROG], false),
        (MapType::ARRAY, [4, RDONLY_PROG], [4, RDONLY_PROG], true),
        // It forgets flags that belong to a descriptor.
        (MapType::HASH, [4, RDONLY], [4, 0], true),
        (MapType::HASH, [4, WRONLY], [4, 0], true),
        // Entries are rounded.
        (MapType::RINGBUF, [1, 0], [4096, 0], true),
        (MapType::USER_RINGBUF, [12_288, 0], [16_384, 0], true),
        (MapType::RINGBUF, [4096, 0], [8192, 0], false),
        (MapType::LRU_HASH, [100, NO_COMMON_LRU], [102, NO_COMMON_LRU], true),
        (MapType::LRU_PERCPU_HASH, [102, NO_COMMON_LRU], [102, NO_COMMON_LRU], true),
        (MapType::LRU_HASH, [100, NO_COMMON_LRU], [100, NO_COMMON_LRU], false),
        (MapType::LRU_HASH, [100, 0], [102, 0], false),
    ];

    #[test]
    fn a_map_is_taken_when_the_kernel_would_make_it_so() {
        for (map_type, declared, existing, fits) in TABLE {
            let [declared, existing] =
                [declared, existing].map(|[entries, flags]| shape(*map_type, *entries, *flags));
            let accepts = declared.accepts(&existing, MACHINE);
            assert_eq!(accepts, *fits, "{declared} <- {existing}");
        }
        let hash = shape(MapType::HASH, 4, 0);
        assert!(!hash.accepts(&shape(MapType::LRU_HASH, 4, 0), MACHINE));
    }

    #[test]
    fn sizes_and_the_extra_word_must_agree() {
        let declared = shape(MapType::BLOOM_FILTER, 4, 0);
        let others = [
            MapShape {
                key_size: 0,
                ..declared
            },
            MapShape {
                value_size: 4,
                ..declared
            },
            MapShape {
                map_extra: 3,
                ..declared
            },
        ];
        for other in others {
            assert!(other.accepts(&other, MACHINE));
            assert!(!declared.accepts(&other, MACHINE), "{other}");
            assert!(!other.accepts(&declared, MACHINE), "{other}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_rounded_stay() {
        let largest = u32::MAX;
        assert_eq!(ring_size(0, 4096), 0);
        assert_eq!(ring_size(largest, 4096), largest);
        assert_eq!(ring_size(1, 0), 1);
        assert_eq!(whole_lists(largest, 6), largest - largest % 6);
        assert_eq!(whole_lists(7, 0), 7);
    }
}
