//! The versions of dynamic symbols: `.gnu.version` and `.gnu.version_d` of `elf.h`.

use alloc::collections::BTreeMap;

use object::Endianness;
use object::elf;
use object::pod;
use object::read::ReadRef;

use super::executable::Executable;
use super::executable::ExecutableError;
use super::executable::entries;
use super::executable::text_at;

/// How many versions a library may define; glibc has some fifty.
const MAX_VERSIONS: usize = 1 << 12;

/// The version of one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version<'data> {
    pub(super) name: Option<&'data [u8]>,
    /// Whether who asks for the bare name does not get this one.
    pub(super) hidden: bool,
}

/// The versions of all dynamic symbols.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions<'data> {
    endian: Endianness,
    /// One index for each symbol.
    indexes: &'data [elf::Versym<Endianness>],
    names: BTreeMap<u16, &'data [u8]>,
}

impl<'data> Versions<'data> {
    pub(super) fn read<R: ReadRef<'data>>(
        executable: &Executable<'data, R>,
    ) -> Result<Self, ExecutableError> {
        let of_kind = |kind| executable.sections.iter().find(|s| s.kind == kind);
        let Some(indexes) = of_kind(elf::SHT_GNU_VERSYM) else {
            return Ok(Self::default());
        };
        let mut versions = Self {
            endian: executable.endian,
            indexes: entries(executable.bytes(indexes, "symbol versions")?),
            names: BTreeMap::new(),
        };
        if let Some(section) = of_kind(elf::SHT_GNU_VERDEF) {
            let definitions = executable.bytes(section, "version definitions")?;
            let strings = usize::try_from(section.link).ok();
            let strings = strings.and_then(|index| executable.sections.get(index));
            let strings = strings.ok_or(ExecutableError::Damaged("versions without names"))?;
            let strings = executable.bytes(strings, "version names")?;
            versions.names = names(definitions, strings, executable.endian);
        }
        Ok(versions)
    }

    /// The version of the symbol with this index.
    pub(super) fn of(&self, symbol: usize) -> Version<'data> {
        let Some(index) = self.indexes.get(symbol) else {
            return Version::default();
        };
        let raw = index.0.get(self.endian);
        Version {
            name: self.names.get(&raw.index().0).copied(),
            hidden: raw.is_hidden(),
        }
    }
}

/// The name of each version. What is damaged ends the list: a symbol then has no version, and keeps its name.
fn names<'data>(
    definitions: &'data [u8],
    strings: &'data [u8],
    endian: Endianness,
) -> BTreeMap<u16, &'data [u8]> {
    let mut names = BTreeMap::new();
    let mut rest = definitions;
    for _ in 0..MAX_VERSIONS {
        let Ok((definition, _)) = pod::from_bytes::<elf::Verdef<Endianness>>(rest) else {
            break;
        };
        let base = definition.vd_flags.get(endian).contains(elf::VER_FLG_BASE);
        let name = skip(rest, definition.vd_aux.get(endian)).and_then(|auxiliary| {
            let (first, _) = pod::from_bytes::<elf::Verdaux<Endianness>>(auxiliary).ok()?;
            text_at(strings, first.vda_name.get(endian))
        });
        // The base version is the library's own name, which no symbol is asked for by.
        if let Some(name) = name.filter(|_| !base) {
            names.insert(definition.vd_ndx.get(endian).0, name);
        }
        match definition.vd_next.get(endian) {
            0 => break,
            next => rest = skip(rest, next).unwrap_or_default(),
        }
    }
    names
}

fn skip(bytes: &[u8], count: u32) -> Option<&[u8]> {
    bytes.get(usize::try_from(count).ok()?..)
}
