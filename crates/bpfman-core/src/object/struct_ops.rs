//! The maps of `.struct_ops*` sections: tables of functions for the kernel, filled in by relocations.
//!
//! As `bpf_object__collect_st_ops_relos` of libbpf 1.7 resolves them. libbpf takes the maps from the
//! types of the object; we take them from the symbols, which are the same variables.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use super::MAX_OBJECT_ITEMS;
use super::ObjectError;
use super::ObjectMap;
use super::ObjectMapKind;
use super::image::Image;
use super::image::Relocation;
use super::image::damaged;
use super::image::too_many;
use super::parts::Function;
use super::parts::INSTRUCTION_BYTES;
use super::parts::Place;
use super::parts::Role;
use super::parts::at_or_before;
use super::parts::variables;

/// One map, and the functions that its members point to.
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    /// Where it starts.
    pub(super) place: Place,
    size: u64,
    programs: Vec<&'a str>,
    /// The programs by the offset of what points to them.
    pub(super) pointers: BTreeMap<u64, &'a str>,
}

/// The maps; each program is named once, in the order of the relocations.
///
/// # Errors
/// As [`tables`].
pub(super) fn maps<'a>(
    image: &Image<'a>,
    roles: &[Role],
    functions: &[Function<'a>],
) -> Result<Vec<ObjectMap>, ObjectError> {
    let tables = tables(image, roles, functions)?;
    Ok(tables.into_iter().map(map).collect())
}

/// One map per variable in a `.struct_ops*` section, in the order of the symbol table.
///
/// # Errors
/// [`ObjectError::Damaged`] when a relocation is outside of the maps or leads to no program;
/// [`ObjectError::TooMany`] for too many relocations.
pub(super) fn tables<'a>(
    image: &Image<'a>,
    roles: &[Role],
    functions: &[Function<'a>],
) -> Result<Vec<Table<'a>>, ObjectError> {
    let mut tables = Vec::new();
    let mut table_at = BTreeMap::new();
    for symbol in variables(image, roles, Role::StructOps) {
        image.check_bounds(&symbol)?;
        table_at
            .entry((symbol.section, symbol.value))
            .or_insert(tables.len());
        tables.push(Table {
            name: image.symbol_name(&symbol)?,
            place: (symbol.section, symbol.value),
            size: symbol.size,
            programs: Vec::new(),
            pointers: BTreeMap::new(),
        });
    }
    let mut function_at = BTreeMap::new();
    for function in functions {
        function_at.entry(function.place).or_insert(function);
    }
    let mut known = BTreeSet::new();
    for (section, relocation) in relocations(image, roles)? {
        let place = (section, relocation.offset);
        let (start, index) = at_or_before(&table_at, place).ok_or_else(outside)?;
        let table = tables
            .get_mut(*index)
            .filter(|table| place.1 - start.1 < table.size);
        let table = table.ok_or_else(outside)?;
        let function = target(image, &function_at, &relocation).ok_or_else(|| {
            damaged(format!(
                "a member of struct_ops map `{}` points to no program",
                table.name
            ))
        })?;
        table.pointers.insert(place.1 - start.1, function.name);
        if known.insert((*index, function.place)) {
            table.programs.push(function.name);
        }
    }
    Ok(tables)
}

fn map(table: Table<'_>) -> ObjectMap {
    let programs = table.programs.into_iter().map(ToOwned::to_owned);
    ObjectMap {
        name: table.name.to_owned(),
        kind: ObjectMapKind::StructOps {
            programs: programs.collect(),
        },
        shape: None,
        inner: None,
    }
}

/// The relocations of `.struct_ops*` sections, each with the index of that section.
fn relocations(image: &Image<'_>, roles: &[Role]) -> Result<Vec<(usize, Relocation)>, ObjectError> {
    let mut relocations = Vec::new();
    let sections = image.sections.iter().zip(roles);
    for (section, _) in sections.filter(|(_, role)| **role == Role::StructOpsRelocations) {
        if roles.get(section.target) != Some(&Role::StructOps) {
            continue;
        }
        // Sections may overlap in a hostile file, so the sum counts, not the size of the file.
        for relocation in section.relocations()? {
            if relocations.len() == MAX_OBJECT_ITEMS {
                return Err(too_many("relocations"));
            }
            relocations.push((section.target, relocation));
        }
    }
    Ok(relocations)
}

/// The program that holds the instruction which a relocation refers to.
fn target<'f, 'a>(
    image: &Image<'a>,
    function_at: &BTreeMap<Place, &'f Function<'a>>,
    relocation: &Relocation,
) -> Option<&'f Function<'a>> {
    let symbol = image.symbol(relocation.symbol)?;
    let (start, function) = at_or_before(function_at, (symbol.section, symbol.value))?;
    let offset = symbol.value - start.1;
    let inside = offset < function.size && offset.is_multiple_of(INSTRUCTION_BYTES);
    (inside && function.entry).then_some(function)
}

fn outside() -> ObjectError {
    damaged("a relocation of a struct_ops section is outside of its maps")
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use object::elf;

    use super::super::inspect;
    use super::super::testing::STRUCT_OPS;
    use super::super::testing::build;
    use super::super::testing::code;
    use super::super::testing::relocation;
    use super::super::testing::relocations;
    use super::super::testing::section;
    use super::super::testing::symbol;
    use super::*;

    fn found(bytes: &[u8]) -> Vec<(String, Vec<String>)> {
        let maps = inspect(bytes).unwrap().maps.into_iter();
        let programs = maps.map(|map| match map.kind {
            ObjectMapKind::StructOps { programs } => (map.name, programs),
            kind => panic!("{kind:?}"),
        });
        programs.collect()
    }

    fn expected(maps: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let programs = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        maps.iter()
            .map(|(map, names)| (map.to_string(), programs(names)))
            .collect()
    }

    /// An object with two programs in section 1, a subprogram in section 2, and one map of 16 bytes in
    /// section 3 at offset 8.
    fn with_relocations(entries: &[[u8; 16]]) -> Vec<u8> {
        let sections = [
            code("struct_ops", &[0; 24]),
            code(".text", &[0; 8]),
            section(".struct_ops", &[0; 32]),
            relocations(".rel.struct_ops", 3, entries.as_flattened()),
        ];
        let symbols = [
            symbol("start", elf::STT_FUNC, 1, 0, 8),
            symbol("stop", elf::STT_FUNC, 1, 8, 16),
            symbol("part", elf::STT_FUNC, 2, 0, 8),
            symbol("table", elf::STT_OBJECT, 3, 8, 16),
            symbol("", elf::STT_SECTION, 1, 0, 0),
            symbol("inside", elf::STT_NOTYPE, 1, 16, 0),
            symbol("between", elf::STT_NOTYPE, 1, 12, 0),
        ];
        build(&sections, &symbols)
    }

    #[test]
    fn maps_name_the_programs_that_their_members_point_to() {
        let maps: [(&str, &[&str]); 3] = [
            ("first", &["start", "threshold", "avoid"]),
            ("second", &["start", "avoid_more"]),
            ("linked", &["threshold"]),
        ];
        assert_eq!(found(STRUCT_OPS), expected(&maps));
    }

    #[test]
    fn a_relocation_leads_to_the_program_that_holds_the_place_of_its_symbol() {
        let table = [(1, "start"), (2, "stop"), (5, "start"), (6, "stop")];
        for (index, program) in table {
            let object = with_relocations(&[relocation(8, index)]);
            assert_eq!(
                found(&object),
                expected(&[("table", &[program])]),
                "{index}"
            );
        }
    }

    #[test]
    fn a_program_that_two_members_share_is_named_once() {
        let object = with_relocations(&[relocation(8, 2), relocation(16, 2)]);
        assert_eq!(found(&object), expected(&[("table", &["stop"])]));
    }

    #[test]
    fn a_relocation_that_leads_to_no_program_or_from_no_map_is_refused() {
        let no_program = "truncated or damaged ELF file: a member of struct_ops map `table` points to no program";
        let no_map = "truncated or damaged ELF file: a relocation of a struct_ops section is outside of its maps";
        let table = [
            (relocation(8, 0), no_program),
            (relocation(8, 3), no_program),
            (relocation(8, 4), no_program),
            (relocation(8, 7), no_program),
            (relocation(8, 99), no_program),
            (relocation(0, 1), no_map),
            (relocation(24, 1), no_map),
            (relocation(u64::MAX, 1), no_map),
        ];
        for (entry, expected) in table {
            let error = inspect(&with_relocations(&[entry])).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn entries_of_another_size_are_refused() {
        let mut relocations = relocations(".rel.struct_ops", 1, &[]);
        relocations.entry_size = 24;
        let object = build(&[section(".struct_ops", &[0; 8]), relocations], &[]);
        let error = inspect(&object).unwrap_err();
        assert_eq!(
            error.to_string(),
            "truncated or damaged ELF file: `.rel.struct_ops` has entries of another size"
        );
    }

    #[test]
    fn the_relocations_of_all_sections_together_are_bounded() {
        let entries = [relocation(8, 1)].repeat(MAX_OBJECT_ITEMS / 2 + 1);
        let twice = || relocations(".rel.struct_ops", 2, entries.as_flattened());
        let sections = [
            code("struct_ops", &[0; 8]),
            section(".struct_ops", &[0; 16]),
            twice(),
            twice(),
        ];
        let symbols = [
            symbol("start", elf::STT_FUNC, 1, 0, 8),
            symbol("table", elf::STT_OBJECT, 2, 0, 16),
        ];
        let limit = MAX_OBJECT_ITEMS;
        let error = ObjectError::TooMany {
            what: "relocations",
            limit,
        };
        assert_eq!(inspect(&build(&sections, &symbols)), Err(error));
        assert!(inspect(&build(&sections[..3], &symbols)).is_ok());
    }
}
