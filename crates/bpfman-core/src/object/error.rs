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
