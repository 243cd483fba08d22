//! An object without what no program of a load reaches, so that libbpf, which resolves all of it or nothing, takes the
//! rest: bytes in, bytes of the same length out.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use object::NativeEndian;
use object::elf;

use super::ConfigurationKind;
use super::ExternKind;
use super::ObjectError;
use super::btf;
use super::image::RawRelocation;
use super::image::RawSymbol;
use super::image::SectionHeader;
use super::image::entry_mut;
use super::parts::Parts;
use super::parts::Place;
use super::parts::Role;
use super::parts::at_or_before;
use super::parts::last;
use super::parts::parts;
use super::parts::variables;
use super::references::externs;

/// An object for libbpf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedObject {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Values for what it asks of the kernel's configuration and nobody reads, a line each, as in a `.config`.
    pub configuration: String,
}

/// Makes symbols that nobody uses unneeded, and leaves maps empty that nobody uses.
///
/// A symbol of the kernel becomes weak, which libbpf sets to 0 when it is missing. One that nobody defines becomes local
/// and its relocations go, for libbpf refuses the object that has it. The values of a map in its declaration are
/// relocations, too.
///
/// # Errors
/// As [`super::inspect`].
pub fn prune(
    bytes: &[u8],
    symbols: &[String],
    maps: &[String],
) -> Result<PrunedObject, ObjectError> {
    let parts = parts(bytes)?;
    let mut pruned = PrunedObject {
        bytes: bytes.to_vec(),
        configuration: String::new(),
    };
    let table = parts.image.sections[parts.image.symbols_index].at;
    let unneeded: BTreeSet<&str> = symbols.iter().map(String::as_str).collect();
    let mut undefined = BTreeSet::new();
    let mut functions = BTreeSet::new();
    for (index, symbol) in externs(&parts)? {
        if !unneeded.contains(symbol.name.as_str()) {
            continue;
        }
        let bind = match symbol.kind {
            ExternKind::Undefined => {
                undefined.insert(index);
                functions.insert(symbol.name.clone());
                elf::STB_LOCAL
            }
            ExternKind::Configuration(kind) => {
                let value = nothing(kind);
                pruned.configuration += &format!("{}={value}\n", symbol.name);
                elf::STB_WEAK
            }
            _ => elf::STB_WEAK,
        };
        if let Some(symbol) = entry_mut::<RawSymbol>(&mut pruned.bytes, table, index as usize) {
            symbol.set_st_info(bind, symbol.st_type());
        }
    }
    drop_relocations(&parts, &undefined, maps, &mut pruned.bytes)?;
    forget_functions(&parts, &functions, &mut pruned.bytes);
    Ok(pruned)
}

/// Makes names of types of functions that nobody defines: the kernel refuses all types of an object that has such one.
fn forget_functions(parts: &Parts<'_>, functions: &BTreeSet<String>, bytes: &mut [u8]) {
    /// `BTF_KIND_TYPEDEF`, in the place of the kind.
    const NAME_OF_TYPE: u32 = 8 << 24;
    let names = functions.iter().map(String::as_str).collect();
    let Some(types) = last(&parts.image, &parts.roles, Role::Types) else {
        return;
    };
    for offset in btf::function_infos(types.data, &names).unwrap_or_default() {
        let at = bytes
            .get_mut(types.at + offset..)
            .and_then(<[u8]>::first_chunk_mut);
        if let Some(info) = at {
            *info = NAME_OF_TYPE.to_ne_bytes();
        }
    }
}

/// The value that libbpf gives to what the configuration does not name.
fn nothing(kind: ConfigurationKind) -> &'static str {
    match kind {
        ConfigurationKind::Choice => "n",
        ConfigurationKind::Number => "0",
        ConfigurationKind::Text => "\"\"",
    }
}

/// Takes out the relocations that refer to symbols which are gone, or fill maps that are not made.
fn drop_relocations(
    parts: &Parts<'_>,
    undefined: &BTreeSet<u32>,
    maps: &[String],
    bytes: &mut [u8],
) -> Result<(), ObjectError> {
    const RELOCATION_BYTES: usize = size_of::<RawRelocation>();
    let mut map_at: BTreeMap<Place, (u64, bool)> = BTreeMap::new();
    for symbol in variables(&parts.image, &parts.roles, Role::Maps) {
        let name = parts.image.symbol_name(&symbol)?;
        let empty = maps.iter().any(|map| map == name);
        let place = (symbol.section, symbol.value);
        map_at.entry(place).or_insert((symbol.size, empty));
    }
    let fills = |place: Place| {
        let found = at_or_before(&map_at, place);
        found.is_some_and(|(start, (size, empty))| *empty && place.1 - start.1 < *size)
    };
    let sections = parts.image.sections.iter().enumerate();
    for (index, section) in sections.filter(|(_, section)| section.kind == elf::SHT_REL) {
        let Ok(relocations) = section.relocations() else {
            continue;
        };
        let mut kept: usize = 0;
        let mut dropped = false;
        for (number, relocation) in relocations.enumerate() {
            let place = (section.target, relocation.offset);
            let of_map = parts.roles.get(section.target) == Some(&Role::Maps);
            if undefined.contains(&relocation.symbol) || of_map && fills(place) {
                dropped = true;
                continue;
            }
            let from = section.at + number * RELOCATION_BYTES;
            let to = section.at + kept * RELOCATION_BYTES;
            bytes.copy_within(from..from + RELOCATION_BYTES, to);
            kept += 1;
        }
        let size = (kept * RELOCATION_BYTES) as u64;
        let header = entry_mut::<SectionHeader>(bytes, parts.image.headers_at, index);
        if let Some(header) = header.filter(|_| dropped) {
            header.sh_size.set(NativeEndian, size);
        }
    }
    Ok(())
}
