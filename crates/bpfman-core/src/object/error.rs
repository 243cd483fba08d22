//! Why an object file cannot be used.

use alloc::string::String;

/// Why bytes are not an object file that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The first bytes are not those of an ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// It ends before what its headers announce.
    #[error("truncated or damaged ELF file: {0}")]
    Damaged(String),
    /// It was built for a machine of the other byte order.
    #[error("wrong byte order: found {found}, expected {expected}")]
    WrongByteOrder {
        /// `ELFDATA2LSB` or `ELFDATA2MSB`, as in `elf.h`.
        found: &'static str,
        /// That of this machine.
        expected: &'static str,
    },
    /// It is an ELF file of another machine, or not a relocatable one.
    #[error("not a BPF object: {0}")]
    NotBpf(String),
    /// It declares maps the way libbpf stopped reading in 1.0.
    #[error(
        "section `{section}` declares maps in the legacy format, which libbpf 1.0 and later refuse"
    )]
    LegacyMaps {
        /// The name of the section.
        section: String,
    },
    /// A map is pinned in a way that libbpf does not know either.
    #[error(
        "map `{map}` has the pinning {value}: there are LIBBPF_PIN_NONE (0) and LIBBPF_PIN_BY_NAME (1)"
    )]
    UnknownPinning {
        /// The map.
        map: String,
        /// The value.
        value: u32,
    },
    /// It declares a map in a way that BTF maps have no form for.
    #[error("map `{map}` in section `{section}` {problem}")]
    LegacyMap {
        /// The name of the section.
        section: String,
        /// The map.
        map: String,
        /// What is in the way.
        problem: LegacyProblem,
    },
    /// More symbols, sections, programs or maps than [`super::MAX_OBJECT_ITEMS`].
    #[error("more {what} than the {limit} we look at")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Its type information cannot be read.
    #[error("damaged BTF: {0}")]
    DamagedBtf(&'static str),
}

/// Why a map in the legacy format is not written as a BTF map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegacyProblem {
    /// Its definition has no room for a type and sizes.
    #[error("is defined in {0} bytes; its type, sizes and entries take 16")]
    TooShort(usize),
    /// Its definition is longer than [`super::MAX_LEGACY_MAP_BYTES`].
    #[error("is defined in {0} bytes; the limit is {limit}", limit = super::MAX_LEGACY_MAP_BYTES)]
    TooLong(usize),
    /// Its type is 0.
    #[error("has no type")]
    NoType,
    /// A map of maps, of which the legacy format does not say what it holds.
    #[error("is a map of maps: the legacy format does not say which maps it holds")]
    MapOfMaps,
    /// `pinning` of `struct bpf_elf_map`.
    #[error("asks for pinning {0} of iproute2 (`struct bpf_elf_map`), which only iproute2 does")]
    Iproute2Pinning(u32),
    /// `inner_id` or `inner_idx` of `struct bpf_elf_map`.
    #[error(
        "is part of a map-in-map of iproute2 (`struct bpf_elf_map`), which only iproute2 makes"
    )]
    Iproute2Inner,
    /// Programs in sections `ID/KEY`.
    #[error("holds the programs of the sections `{0}/KEY`, which only iproute2 puts there")]
    Iproute2Programs(u32),
    /// Something is set beyond type, sizes, entries and flags.
    #[error(
        "sets byte {0} of its definition, beyond type, sizes, entries and flags (bytes 0 to 19)"
    )]
    Unknown(usize),
    /// A number of it is the address of something.
    #[error("has an address in its definition")]
    Relocated,
}
