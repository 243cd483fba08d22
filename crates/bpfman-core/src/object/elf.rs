//! What the sections and symbols of a BPF object mean: programs, maps and globals.
//!
//! As libbpf 1.7 reads them (`libbpf.c`: `bpf_object__elf_collect` and what it calls), so that what is
//! found here is what will be loaded. What only the load can tell is left to libbpf.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use super::GlobalVariable;
use super::MAX_OBJECT_ITEMS;
use super::ObjectError;
use super::ObjectFacts;
use super::ObjectMap;
use super::ObjectMapKind;
use super::ObjectProgram;
use super::btf;
use super::image::Image;
use super::image::Symbol;
use super::image::damaged;
use super::image::too_many;
use super::parts::Function;
use super::parts::Parts;
use super::parts::Role;
use super::parts::last;
use super::parts::parts;
use super::parts::variables;
use super::references::references;
use super::struct_ops;

/// Reads an object file.
///
/// # Errors
/// [`ObjectError`] when libbpf would not open it on this machine, or when it is too large to be looked at.
pub fn inspect(bytes: &[u8]) -> Result<ObjectFacts, ObjectError> {
    let parts = parts(bytes)?;
    let references = references(&parts)?;
    let Parts {
        image,
        roles,
        functions,
    } = parts;
    Ok(ObjectFacts {
        license: license(&image, &roles)?,
        programs: programs(&image, &functions),
        maps: maps(&image, &roles, &functions)?,
        globals: globals(&image, &roles)?,
        data_sections: data_sections(&image, &roles),
        references,
    })
}

fn license(image: &Image<'_>, roles: &[Role]) -> Result<Option<String>, ObjectError> {
    let Some(section) = last(image, roles, Role::License) else {
        return Ok(None);
    };
    let text = CStr::from_bytes_until_nul(section.data).map_or(section.data, CStr::to_bytes);
    match core::str::from_utf8(text) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(damaged("the license is not UTF-8")),
    }
}

fn programs(image: &Image<'_>, functions: &[Function<'_>]) -> Vec<ObjectProgram> {
    let entries = functions.iter().filter(|function| function.entry);
    let program = |function: &Function<'_>| ObjectProgram {
        name: function.name.to_owned(),
        section: section_name(image, function.place.0),
    };
    entries.map(program).collect()
}

fn globals(image: &Image<'_>, roles: &[Role]) -> Result<Vec<GlobalVariable>, ObjectError> {
    let global = |symbol: Symbol| {
        image.check_bounds(&symbol)?;
        Ok(GlobalVariable {
            name: image.symbol_name(&symbol)?.to_owned(),
            section: section_name(image, symbol.section),
            offset: symbol.value,
            size: symbol.size,
        })
    };
    variables(image, roles, Role::Data).map(global).collect()
}

fn data_sections(image: &Image<'_>, roles: &[Role]) -> Vec<String> {
    let sections = image
        .sections
        .iter()
        .zip(roles)
        .filter(|(_, role)| **role == Role::Data);
    sections
        .map(|(section, _)| section.name.to_owned())
        .collect()
}

fn section_name(image: &Image<'_>, index: usize) -> String {
    let section = image.sections.get(index);
    section
        .map(|section| section.name.to_owned())
        .unwrap_or_default()
}

/// First those of `.maps`, then those of `.struct_ops*`.
fn maps(
    image: &Image<'_>,
    roles: &[Role],
    functions: &[Function<'_>],
) -> Result<Vec<ObjectMap>, ObjectError> {
    let mut maps = Vec::new();
    if roles.contains(&Role::Maps) {
        let types = last(image, roles, Role::Types).ok_or(ObjectError::DamagedBtf(
            "there is none, but `.maps` needs it",
        ))?;
        let declarations = btf::map_declarations(types.data)?.into_iter();
        maps.extend(declarations.map(|declaration| ObjectMap {
            name: declaration.name.to_owned(),
            kind: match declaration.definition.pinned_by_name() {
                true => ObjectMapKind::PinnedByName,
                false => ObjectMapKind::Plain,
            },
            shape: Some(declaration.definition.shape),
            inner: declaration.definition.inner,
        }));
    }
    if roles.contains(&Role::StructOps) {
        maps.extend(struct_ops::maps(image, roles, functions)?);
    }
    if maps.len() > MAX_OBJECT_ITEMS {
        return Err(too_many("maps"));
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use object::elf;
    use proptest::prelude::*;

    use super::super::testing::LEGACY;
    use super::super::testing::PROGRAMS;
    use super::super::testing::PROGRAMS_BIG_ENDIAN;
    use super::super::testing::STRUCT_OPS;
    use super::super::testing::TestSection;
    use super::super::testing::TestSymbol;
    use super::super::testing::build;
    use super::super::testing::code;
    use super::super::testing::section;
    use super::super::testing::symbol;
    use super::*;
    use crate::kernel::MapShape;
    use crate::kernel::MapType;

    fn program(name: &str, section: &str) -> ObjectProgram {
        ObjectProgram {
            name: name.to_owned(),
            section: section.to_owned(),
        }
    }

    fn global(name: &str, section: &str, offset: u64, size: u64) -> GlobalVariable {
        GlobalVariable {
            name: name.to_owned(),
            section: section.to_owned(),
            offset,
            size,
        }
    }

    fn map(
        name: &str,
        kind: ObjectMapKind,
        map_type: MapType,
        [key_size, value_size, max_entries]: [u32; 3],
    ) -> ObjectMap {
        ObjectMap {
            name: name.to_owned(),
            kind,
            shape: Some(MapShape {
                map_type,
                key_size,
                value_size,
                max_entries,
                flags: 0,
                map_extra: 0,
            }),
            inner: None,
        }
    }

    fn refusal(sections: &[TestSection<'_>], symbols: &[TestSymbol<'_>]) -> String {
        inspect(&build(sections, symbols)).unwrap_err().to_string()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_object_tells_its_license_programs_maps_and_globals() {
        let facts = inspect(PROGRAMS).unwrap();
        let expected = ObjectFacts {
            references: facts.references.clone(),
            license: Some("Dual BSD/GPL".to_owned()),
            programs: vec![
                program("pass", "xdp"),
                program("count", "?kprobe/do_unlinkat"),
            ],
            maps: vec![
                map("counters", ObjectMapKind::Plain, MapType::HASH, [4, 8, 16]),
                map(
                    "shared",
                    ObjectMapKind::PinnedByName,
                    MapType::ARRAY,
                    [4, 8, 1],
                ),
            ],
            globals: vec![
                global("skipped", ".bss", 8, 2),
                global("total", ".data", 0, 8),
                global("limit", ".rodata", 0, 4),
                global("seen", ".bss", 0, 8),
                global("verbose", ".data.options", 0, 1),
            ],
            data_sections: [".rodata", ".data", ".data.options", ".bss"]
                .map(str::to_owned)
                .to_vec(),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_object_of_the_other_byte_order_is_refused() {
        let error = ObjectError::WrongByteOrder {
            found: "ELFDATA2MSB",
            expected: "ELFDATA2LSB",
        };
        assert_eq!(inspect(PROGRAMS_BIG_ENDIAN), Err(error));
    }

    #[test]
    fn maps_in_the_legacy_format_are_refused() {
        let error = |section: &str| ObjectError::LegacyMaps {
            section: section.to_owned(),
        };
        assert_eq!(inspect(LEGACY), Err(error("maps")));
        let variable = symbol("old", elf::STT_OBJECT, 1, 0, 8);
        assert_eq!(
            inspect(&build(&[section("maps", &[])], &[])),
            Err(error("maps"))
        );
        assert_eq!(
            inspect(&build(&[section("maps/old", &[0; 8])], &[variable])),
            Err(error("maps/old"))
        );
        assert!(inspect(&build(&[section("maps/old", &[0; 8])], &[])).is_ok());
    }

    #[test]
    fn only_global_functions_outside_of_text_are_programs() {
        let hidden = TestSymbol {
            bind: elf::STB_LOCAL,
            ..symbol("hidden", elf::STT_FUNC, 1, 8, 8)
        };
        let weak = TestSymbol {
            bind: elf::STB_WEAK,
            ..symbol("weak", elf::STT_FUNC, 1, 16, 8)
        };
        let symbols = [
            symbol("part", elf::STT_FUNC, 2, 0, 8),
            weak,
            hidden,
            symbol("label", elf::STT_NOTYPE, 1, 0, 8),
            symbol("strong", elf::STT_FUNC, 1, 0, 8),
            symbol("elsewhere", elf::STT_FUNC, 3, 0, 8),
            symbol("nowhere", elf::STT_FUNC, 0xfff1, 0, 8),
        ];
        let sections = [
            code("xdp", &[0; 24]),
            code(".text", &[0; 8]),
            section("other", &[0; 8]),
        ];
        let facts = inspect(&build(&sections, &symbols)).unwrap();
        assert_eq!(
            facts.programs,
            [program("weak", "xdp"), program("strong", "xdp")]
        );
    }

    #[test]
    fn a_function_that_libbpf_calls_corrupted_is_refused() {
        let crosses = "truncated or damaged ELF file: symbol `f` crosses the end of its section";
        let broken =
            "truncated or damaged ELF file: function `f` is not made of whole instructions";
        let table = [
            (0, 24, crosses),
            (16, 8, crosses),
            (u64::MAX, 8, crosses),
            (0, 0, broken),
            (0, 4, broken),
            (4, 8, broken),
        ];
        for (value, size, expected) in table {
            for name in ["xdp", ".text"] {
                let function = symbol("f", elf::STT_FUNC, 1, value, size);
                assert_eq!(refusal(&[code(name, &[0; 16])], &[function]), expected);
            }
        }
    }

    #[test]
    fn a_license_ends_at_its_nul_and_is_text() {
        let license =
            |data| inspect(&build(&[section("license", data)], &[])).map(|facts| facts.license);
        assert_eq!(license(b"GPL\0rest"), Ok(Some("GPL".to_owned())));
        assert_eq!(license(b"GPL"), Ok(Some("GPL".to_owned())));
        assert_eq!(license(b""), Ok(Some(String::new())));
        assert!(license(b"\xff\0").is_err());
        assert_eq!(inspect(&build(&[], &[])), Ok(ObjectFacts::default()));
    }

    #[test]
    fn the_sections_that_libbpf_makes_maps_of_are_data() {
        let bss = |name, size| TestSection {
            kind: elf::SHT_NOBITS,
            size: Some(size),
            ..section(name, &[])
        };
        let sections = [
            section(".data", &[0; 8]),
            section(".data.mine", &[0; 8]),
            section(".database", &[0; 8]),
            section(".rodata", &[]),
            section(".rodata.str1.1", &[0; 8]),
            bss(".bss", 0),
            bss(".bss.mine", 8),
            bss(".data.bss", 8),
            section(".bss", &[0; 8]),
            section(".addr_space.1", &[0; 8]),
            code(".data.code", &[0; 8]),
        ];
        let count = u16::try_from(sections.len()).unwrap();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        let size_of = |index: u16| if index == 4 || index == 6 { 0 } else { 8 };
        let symbols = (1..=count).zip(names);
        let symbols =
            symbols.map(|(index, name)| symbol(name, elf::STT_OBJECT, index, 0, size_of(index)));
        let facts = inspect(&build(&sections, &symbols.collect::<Vec<_>>())).unwrap();
        assert_eq!(
            facts.data_sections,
            [".data", ".data.mine", ".rodata.str1.1", ".bss.mine"]
        );
        let found = facts.globals.iter().map(|global| global.name.as_str());
        assert_eq!(found.collect::<Vec<_>>(), ["a", "b", "e", "g"]);
    }

    #[test]
    fn a_global_outside_of_its_section_is_refused() {
        let variable = symbol("v", elf::STT_OBJECT, 1, 4, 8);
        let expected = "truncated or damaged ELF file: symbol `v` crosses the end of its section";
        assert_eq!(refusal(&[section(".data", &[0; 8])], &[variable]), expected);
    }

    #[test]
    fn only_a_section_of_maps_needs_types() {
        let no_types = [section(".data", &[0; 8])];
        let bad_types = [section(".data", &[0; 8]), section(".BTF", &[0; 8])];
        assert!(inspect(&build(&no_types, &[])).is_ok());
        assert!(inspect(&build(&bad_types, &[])).is_ok());
        assert_eq!(
            refusal(&[section(".maps", &[0; 8])], &[]),
            "damaged BTF: there is none, but `.maps` needs it"
        );
        let sections = [section(".maps", &[0; 8]), section(".BTF", &[0; 8])];
        assert_eq!(refusal(&sections, &[]), "damaged BTF: it ends too early");
    }

    proptest! {
        #[test]
        fn a_damaged_object_never_panics(
            which in 0..3_usize,
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            end in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut object = [PROGRAMS, STRUCT_OPS, LEGACY][which].to_vec();
            for (place, value) in flips {
                let place = place.index(object.len());
                object[place] = value;
            }
            if cut {
                object.truncate(end.index(object.len()));
            }
            let _ = inspect(&object);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), elf in any::<bool>()) {
            let mut bytes = bytes;
            if elf && bytes.len() >= 64 {
                bytes[..64].copy_from_slice(&PROGRAMS[..64]);
                bytes[40..48].copy_from_slice(&64_u64.to_le_bytes());
            }
            let _ = inspect(&bytes);
        }
    }

    #[test]
    fn no_single_damaged_byte_panics() {
        for object in [PROGRAMS, STRUCT_OPS] {
            let mut object = object.to_vec();
            for place in 0..object.len() {
                for flip in [0x01, 0x80, 0xff] {
                    object[place] ^= flip;
                    let _ = inspect(&object);
                    object[place] ^= flip;
                }
            }
        }
    }
}
