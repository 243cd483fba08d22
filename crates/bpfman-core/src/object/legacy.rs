//! Maps as they were declared before BTF: structures in a section `maps`, or `maps/NAME`. libbpf stopped reading them
//! in 1.0, so the object is written anew with the same maps in `.maps`.
//!
//! Nothing is changed in place but the ELF header: what becomes different (symbols, names of sections, `.maps`,
//! `.BTF`) is written behind the old object, and the section headers point there. The old section keeps its bytes
//! under another name, so that libbpf takes no notice of it.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use object::NativeEndian;
use object::elf;

use super::MAX_LEGACY_MAP_BYTES;
use super::MAX_LEGACY_MAPS;
use super::ObjectError;
use super::error::LegacyProblem;
use super::image::Image;
use super::image::RawRelocation;
use super::image::Section;
use super::image::Symbol;
use super::image::damaged;
use super::image::entry_mut;
use super::legacy_btf;
use super::legacy_btf::DECLARATION_BYTES;
use super::legacy_btf::LegacyMap;
use super::parts::Role;
use super::parts::roles;
use super::rewrite::Rewrite;
use crate::kernel::MapType;

/// Type, key size, value size, entries: what every loader's `struct bpf_map_def` begins with. The flags follow.
const LEAST_WORDS: usize = 4;
const KNOWN_WORDS: usize = 5;
const WORD_BYTES: usize = 4;
/// Words of `struct bpf_elf_map` of iproute2 (`bpf_elf.h`): nine in all, of which these follow the flags.
mod iproute2 {
    pub(super) const WORDS: usize = 9;
    pub(super) const ID: usize = 5;
    pub(super) const PINNING: usize = 6;
    pub(super) const INNER_ID: usize = 7;
    pub(super) const INNER_INDEX: usize = 8;
}

/// Writes legacy maps as BTF maps; `None` for an object that has none.
///
/// What is answered is at most six times as long, and some hundred bytes for each of at most [`MAX_LEGACY_MAPS`] maps.
///
/// # Errors
/// [`ObjectError`] for what is no object; [`ObjectError::LegacyMap`] for a map that means more than a BTF map can say.
pub fn with_btf_maps(bytes: &[u8]) -> Result<Option<Vec<u8>>, ObjectError> {
    let image = Image::parse(bytes)?;
    let roles = roles(&image);
    let sections = legacy_sections(&image, &roles);
    if sections.is_empty() {
        return Ok(None);
    }
    if sections.len() > MAX_LEGACY_MAPS {
        return Err(too_many_maps());
    }
    check_relocations(&image, bytes.len())?;
    let mut maps = Vec::new();
    for index in &sections {
        collect(&image, *index, &mut maps)?;
    }
    let relocations = relocations_by_place(&image, &roles, &sections, &maps)?;

    let mut rewrite = Rewrite::of(bytes, &image);
    for index in sections {
        let name = image.sections[index].name;
        rewrite.rename(index, &format!(".legacy_{name}"));
    }
    for (index, bytes) in relocations {
        rewrite.set_data(index, bytes);
    }
    if !maps.is_empty() {
        declare(&mut rewrite, &image, &roles, &maps)?;
    }
    rewrite.finish().map(Some)
}

/// The sections with legacy maps: `maps` whatever is in it, for libbpf refuses its name; others with variables.
fn legacy_sections(image: &Image<'_>, roles: &[Role]) -> Vec<usize> {
    let with_variables: Vec<usize> = image
        .symbols()
        .filter(is_variable)
        .map(|symbol| symbol.section)
        .collect();
    let is_legacy = |(index, role): (usize, &Role)| match role {
        Role::LegacyMaps => Some(index),
        Role::PerhapsLegacyMaps if with_variables.contains(&index) => Some(index),
        _ => None,
    };
    roles.iter().enumerate().filter_map(is_legacy).collect()
}

/// Old compilers gave variables neither a type nor a size.
fn is_variable(symbol: &Symbol) -> bool {
    symbol.kind == elf::STT_OBJECT || symbol.kind == elf::STT_NOTYPE
}

/// Reads the maps of a section. Where one ends says the next symbol.
fn collect(image: &Image<'_>, index: usize, maps: &mut Vec<LegacyMap>) -> Result<(), ObjectError> {
    let section = &image.sections[index];
    let mut symbols: BTreeMap<u64, Vec<(usize, &str)>> = BTreeMap::new();
    for (number, symbol) in image.symbols().enumerate() {
        if symbol.section == index && is_variable(&symbol) {
            let name = image.symbol_name(&symbol)?;
            symbols
                .entry(symbol.value)
                .or_default()
                .push((number, name));
        }
    }
    let filled_in = filled_in(image, index)?;
    let end = section.data.len() as u64;
    let ends = symbols.keys().copied().skip(1).chain([end]);
    for ((start, aliases), end) in symbols.iter().zip(ends.collect::<Vec<_>>()) {
        let name = aliases.first().map(|(_, name)| *name).unwrap_or_default();
        let refused = |problem| ObjectError::LegacyMap {
            section: section.name.to_owned(),
            map: name.to_owned(),
            problem,
        };
        let bytes = slice(section.data, *start, end)
            .ok_or_else(|| damaged(format!("map `{name}` crosses the end of its section")))?;
        if bytes.len() > MAX_LEGACY_MAP_BYTES {
            return Err(refused(LegacyProblem::TooLong(bytes.len())));
        }
        let words = words(bytes);
        check(image, &words, bytes).map_err(refused)?;
        if filled_in.iter().any(|at| (*start..end).contains(at)) {
            return Err(refused(LegacyProblem::Relocated));
        }
        if maps.len() == MAX_LEGACY_MAPS {
            return Err(too_many_maps());
        }
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        maps.push(LegacyMap {
            name: name.to_owned(),
            map_type: word(0),
            key_size: word(1),
            value_size: word(2),
            max_entries: word(3),
            flags: word(4),
            symbols: aliases.iter().map(|(number, _)| *number).collect(),
            place: (index, *start),
        });
    }
    Ok(())
}

fn slice(data: &[u8], start: u64, end: u64) -> Option<&[u8]> {
    data.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<WORD_BYTES>();
    words.iter().map(|word| u32::from_ne_bytes(*word)).collect()
}

/// Refuses a definition that says more than a BTF map can, by the name of what it says where the layout tells.
fn check(image: &Image<'_>, words: &[u32], bytes: &[u8]) -> Result<(), LegacyProblem> {
    if words.len() < LEAST_WORDS {
        return Err(LegacyProblem::TooShort(bytes.len()));
    }
    let map_type = MapType(words[0]);
    if map_type.0 == 0 {
        return Err(LegacyProblem::NoType);
    }
    if matches!(map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS) {
        return Err(LegacyProblem::MapOfMaps);
    }
    let mut known = KNOWN_WORDS;
    if bytes.len() == iproute2::WORDS * WORD_BYTES {
        if words[iproute2::PINNING] != 0 {
            return Err(LegacyProblem::Iproute2Pinning(words[iproute2::PINNING]));
        }
        if words[iproute2::INNER_ID] != 0 || words[iproute2::INNER_INDEX] != 0 {
            return Err(LegacyProblem::Iproute2Inner);
        }
        let id = words[iproute2::ID];
        if map_type == MapType::PROG_ARRAY && has_programs_for(image, id) {
            return Err(LegacyProblem::Iproute2Programs(id));
        }
        // Otherwise a number by which nothing refers to the map.
        known = iproute2::PINNING;
    }
    let rest = bytes.get(known * WORD_BYTES..).unwrap_or_default();
    match rest.iter().position(|byte| *byte != 0) {
        Some(at) => Err(LegacyProblem::Unknown(known * WORD_BYTES + at)),
        None => Ok(()),
    }
}

/// Whether there are sections `ID/KEY`, whose programs iproute2 puts into the map with this id.
fn has_programs_for(image: &Image<'_>, id: u32) -> bool {
    let of_map = |section: &Section<'_>| {
        let (map, key) = section.name.split_once('/')?;
        Some(map.parse() == Ok(id) && key.parse::<u32>().is_ok())
    };
    image
        .sections
        .iter()
        .any(|section| section.executable && of_map(section) == Some(true))
}

/// The sections of relocations that are looked at.
fn relocation_sections<'i, 'a>(
    image: &'i Image<'a>,
) -> impl Iterator<Item = (usize, &'i Section<'a>)> {
    let sections = image.sections.iter().enumerate();
    sections.filter(|(_, section)| section.kind == elf::SHT_REL && !section.ignored())
}

/// Relocations that overlap would be read many times over.
fn check_relocations(image: &Image<'_>, bytes: usize) -> Result<(), ObjectError> {
    let mut sizes = relocation_sections(image).map(|(_, section)| section.data.len());
    let all = sizes.try_fold(0_usize, |all, size| all.checked_add(size));
    match all.is_some_and(|all| all <= bytes) {
        true => Ok(()),
        false => Err(damaged("its sections of relocations overlap")),
    }
}

/// The places in a section that a linker fills in: what is there is no number.
fn filled_in(image: &Image<'_>, index: usize) -> Result<Vec<u64>, ObjectError> {
    let mut places = Vec::new();
    for (_, section) in relocation_sections(image) {
        if section.target == index {
            places.extend(section.relocations()?.map(|found| found.offset));
        }
    }
    Ok(places)
}

fn too_many_maps() -> ObjectError {
    ObjectError::TooMany {
        what: "legacy maps",
        limit: MAX_LEGACY_MAPS,
    }
}

/// The relocations of programs that name a map by the place in its section, as those of static maps do; each section
/// with the symbols of the maps instead.
fn relocations_by_place(
    image: &Image<'_>,
    roles: &[Role],
    legacy: &[usize],
    maps: &[LegacyMap],
) -> Result<Vec<(usize, Vec<u8>)>, ObjectError> {
    /// The place in the section lies in the constant of the instruction.
    const CONSTANT: u64 = 4;
    let by_place: BTreeMap<(usize, u64), &LegacyMap> =
        maps.iter().map(|map| (map.place, map)).collect();
    let mut changed = Vec::new();
    for (index, section) in relocation_sections(image) {
        let of_code = matches!(
            roles.get(section.target),
            Some(Role::Programs | Role::Subprograms)
        );
        if !of_code {
            continue;
        }
        let mut data = None;
        for (number, found) in section.relocations()?.enumerate() {
            let Some(symbol) = image.symbol(found.symbol) else {
                continue;
            };
            if symbol.kind != elf::STT_SECTION || !legacy.contains(&symbol.section) {
                continue;
            }
            let code = image.sections[section.target].data;
            let constant = found.offset.checked_add(CONSTANT);
            let constant = constant.and_then(|at| slice(code, at, at.checked_add(4)?));
            let constant = constant.map(|bytes| u64::from(words(bytes)[0]));
            let map = constant
                .and_then(|constant| by_place.get(&(symbol.section, constant)))
                .ok_or_else(|| damaged("a relocation names a place where no map is"))?;
            let data = data.get_or_insert_with(|| section.data.to_vec());
            if let Some(relocation) = entry_mut::<RawRelocation>(data, 0, number) {
                relocation.set_r_info(NativeEndian, map.symbols[0] as u32, elf::R_BPF_64_64);
            }
        }
        changed.extend(data.map(|data| (index, data)));
    }
    Ok(changed)
}

/// Adds the maps to `.maps`, which may be there already, and their types to the BTF, which may not.
fn declare(
    rewrite: &mut Rewrite<'_>,
    image: &Image<'_>,
    roles: &[Role],
    maps: &[LegacyMap],
) -> Result<(), ObjectError> {
    let there = |role| roles.iter().rposition(|known| *known == role);
    let maps_index = there(Role::Maps);
    let mut declarations =
        maps_index.map_or(Vec::new(), |index| image.sections[index].data.to_vec());
    let start = declarations.len().next_multiple_of(8);
    declarations.resize(start + maps.len() * DECLARATION_BYTES as usize, 0);
    let types_index = there(Role::Types);
    let types = types_index.map(|index| image.sections[index].data);
    let types = legacy_btf::with_maps(types, maps, start)?;
    let maps_index = match maps_index {
        Some(index) => index,
        None => rewrite.add_section(".maps", elf::SHF_ALLOC | elf::SHF_WRITE),
    };
    rewrite.set_data(maps_index, declarations);
    let types_index = match types_index {
        Some(index) => index,
        None => rewrite.add_section(".BTF", elf::SectionFlags(0)),
    };
    rewrite.set_data(types_index, types);
    for (number, map) in maps.iter().enumerate() {
        let offset = start as u64 + number as u64 * DECLARATION_BYTES;
        for symbol in &map.symbols {
            rewrite.move_symbol(*symbol, maps_index, offset, DECLARATION_BYTES)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
