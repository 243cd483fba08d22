use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::super::inspect;
use super::super::testing::LEGACY;
use super::super::testing::LEGACY_BTF;
use super::super::testing::PROGRAMS;
use super::super::testing::TestSection;
use super::super::testing::TestSymbol;
use super::super::testing::build;
use super::super::testing::code;
use super::super::testing::relocation;
use super::super::testing::relocations;
use super::super::testing::section;
use super::super::testing::symbol;
use super::*;
use crate::kernel::MapShape;
use crate::object::ObjectFacts;
use crate::object::ObjectMapKind;

fn shape([map_type, key_size, value_size, max_entries, flags]: [u32; 5]) -> MapShape {
    MapShape {
        map_type: MapType(map_type),
        key_size,
        value_size,
        max_entries,
        flags,
        map_extra: 0,
    }
}

/// A definition of so many bytes: the words, then zeros.
fn definition(words: &[u32], bytes: usize) -> Vec<u8> {
    let mut definition: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    definition.resize(bytes, 0);
    definition
}

fn variable(name: &str, section: u16, value: u64) -> TestSymbol<'_> {
    symbol(name, elf::STT_OBJECT, section, value, 20)
}

fn rewritten(bytes: &[u8]) -> Vec<u8> {
    with_btf_maps(bytes).unwrap().expect("it has legacy maps")
}

fn facts(bytes: &[u8]) -> ObjectFacts {
    let new = rewritten(bytes);
    assert_eq!(with_btf_maps(&new), Ok(None));
    inspect(&new).unwrap()
}

/// Names and shapes of the maps, after they were written anew.
fn maps(bytes: &[u8]) -> Vec<(String, MapShape)> {
    let maps = facts(bytes).maps.into_iter();
    maps.map(|map| {
        assert_eq!(map.kind, ObjectMapKind::Plain);
        (map.name, map.shape.unwrap())
    })
    .collect()
}

fn problem(sections: &[TestSection<'_>], symbols: &[TestSymbol<'_>]) -> ObjectError {
    with_btf_maps(&build(sections, symbols)).unwrap_err()
}

#[test]
fn an_object_without_legacy_maps_stays_as_it_is() {
    assert_eq!(with_btf_maps(PROGRAMS), Ok(None));
    // What libbpf ignores is not touched either.
    assert_eq!(
        with_btf_maps(&build(&[section("maps/x", &[0; 20])], &[])),
        Ok(None)
    );
}

#[test]
#[cfg(target_endian = "little")]
fn maps_are_declared_with_and_without_types() {
    for object in [LEGACY, LEGACY_BTF] {
        let facts = facts(object);
        assert_eq!(facts.programs[0].name, "pass");
        assert_eq!(facts.license.as_deref(), Some("GPL"));
        assert_eq!(
            maps(object),
            [("old_map".to_owned(), shape([2, 4, 8, 1, 0]))]
        );
    }
}

#[test]
#[cfg(target_endian = "little")]
fn all_that_is_known_by_a_number_keeps_its_number() {
    let new = rewritten(LEGACY_BTF);
    let (old, new) = (
        Image::parse(LEGACY_BTF).unwrap(),
        Image::parse(&new).unwrap(),
    );
    for (old, new) in old.sections.iter().zip(&new.sections) {
        match old.name {
            "maps" => assert_eq!(new.name, ".legacy_maps"),
            name => assert_eq!(new.name, name),
        }
        if !matches!(old.name, ".BTF") && old.kind != elf::SHT_SYMTAB {
            assert_eq!(old.data, new.data, "{}", old.name);
        }
    }
    let names = |image: &Image<'_>| -> Vec<String> {
        let symbols = image.symbols();
        symbols
            .map(|symbol| image.symbol_name(&symbol).unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&old), names(&new));
    let types = |image: &Image<'_>| {
        let section = image.sections.iter().find(|section| section.name == ".BTF");
        super::super::btf::parts(section.unwrap().data)
            .map(|(types, _)| types.to_vec())
            .unwrap()
    };
    let (old, new) = (types(&old), types(&new));
    let (mut old, mut new) = (old.as_slice(), new.as_slice());
    while !old.is_empty() {
        let ((before, kind, more), (after, _, rest)) = (
            super::super::btf::split_type(old).unwrap(),
            super::super::btf::split_type(new).unwrap(),
        );
        if kind != super::super::btf::Kind::DataSection {
            assert_eq!(before, after);
        }
        (old, new) = (more, rest);
    }
}

#[test]
fn the_distance_between_symbols_tells_how_long_a_definition_is() {
    let five = [1, 4, 8, 16, 1];
    let lengths = [16, 20, 24, 28, 36, 280, 20];
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let (mut data, mut symbols, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for (name, length) in names.into_iter().zip(lengths) {
        let at = data.len() as u64;
        // Old compilers say neither type nor size.
        symbols.push(TestSymbol {
            kind: elf::STT_NOTYPE,
            size: 0,
            ..variable(name, 1, at)
        });
        let words = if length == 16 { &five[..4] } else { &five };
        data.extend(definition(words, length));
        let flags = if length == 16 { 0 } else { 1 };
        expected.push((name.to_owned(), shape([1, 4, 8, 16, flags])));
    }
    symbols.reverse();
    assert_eq!(maps(&build(&[section("maps", &data)], &symbols)), expected);
}

#[test]
fn maps_of_several_sections_and_aliases_are_found() {
    let [one, two] = [[1, 4, 8, 16, 0], [2, 4, 4, u32::MAX, u32::MAX]];
    let (first, second) = (definition(&one, 20), definition(&two, 280));
    let sections = [section("maps", &first), section("maps/two", &second)];
    let symbols = [
        variable("two", 2, 0),
        variable("one", 1, 0),
        variable("alias", 1, 0),
    ];
    let object = build(&sections, &symbols);
    assert_eq!(
        maps(&object),
        [
            ("one".to_owned(), shape(one)),
            ("two".to_owned(), shape(two))
        ]
    );
    let new = rewritten(&object);
    let image = Image::parse(&new).unwrap();
    let places: Vec<(usize, u64)> = image.symbols().map(|s| (s.section, s.value)).collect();
    assert_eq!(places[2], places[3]);
    assert_ne!(places[1], places[2]);
    assert_eq!(image.sections[places[1].0].name, ".maps");
}

#[test]
fn an_empty_section_of_maps_only_gets_another_name() {
    let new = rewritten(&build(&[section("maps", &[])], &[]));
    assert_eq!(Image::parse(&new).unwrap().sections[1].name, ".legacy_maps");
    assert_eq!(inspect(&new).unwrap().maps, []);
}

#[test]
fn a_static_map_is_named_by_its_symbol() {
    let words = [1, 4, 8, 16, 0];
    let data = [definition(&words, 20), definition(&words, 20)].concat();
    // The place in the section, 20, is the constant of the first half of `lddw`.
    let instructions = [
        [0x18, 1, 0, 0, 20, 0, 0, 0],
        [0; 8],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    let entries = relocation(0, 2);
    let sections = [
        section("maps", &data),
        code("xdp", instructions.as_flattened()),
        relocations(".relxdp", 2, &entries),
    ];
    let local = |name, value| TestSymbol {
        bind: elf::STB_LOCAL,
        ..variable(name, 1, value)
    };
    let symbols = [
        local("first", 0),
        symbol("", elf::STT_SECTION, 1, 0, 0),
        local("second", 20),
        symbol("p", elf::STT_FUNC, 2, 0, 24),
    ];
    let new = rewritten(&build(&sections, &symbols));
    let image = Image::parse(&new).unwrap();
    let found = image.sections[3].relocations().unwrap().next().unwrap();
    let found = image.symbol(found.symbol).unwrap();
    assert_eq!(image.symbol_name(&found), Ok("second"));
    assert!(!found.local);
    let elsewhere = [
        [0x18, 1, 0, 0, 4, 0, 0, 0],
        [0; 8],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    let sections = [
        section("maps", &data),
        code("xdp", elsewhere.as_flattened()),
        relocations(".relxdp", 2, &entries),
    ];
    assert_eq!(
        problem(&sections, &symbols),
        damaged("a relocation names a place where no map is")
    );
}

#[test]
fn what_btf_maps_cannot_say_is_refused_by_name() {
    let iproute2 = |at: usize, value| {
        let mut words = [2, 4, 8, 1, 0, 9, 0, 0, 0];
        words[at] = value;
        definition(&words, 36)
    };
    let prog_array = definition(&[3, 4, 4, 1, 0, 9], 36);
    let table = [
        (definition(&[2, 4, 8], 12), LegacyProblem::TooShort(12)),
        (
            definition(&[2, 4, 8, 1], 1028),
            LegacyProblem::TooLong(1028),
        ),
        (definition(&[0, 4, 8, 1], 20), LegacyProblem::NoType),
        (definition(&[12, 4, 4, 1], 28), LegacyProblem::MapOfMaps),
        (definition(&[13, 4, 4, 1], 20), LegacyProblem::MapOfMaps),
        (iproute2(6, 2), LegacyProblem::Iproute2Pinning(2)),
        (iproute2(7, 1), LegacyProblem::Iproute2Inner),
        (iproute2(8, 1), LegacyProblem::Iproute2Inner),
        (prog_array, LegacyProblem::Iproute2Programs(9)),
        (
            definition(&[2, 4, 8, 1, 0, 1], 24),
            LegacyProblem::Unknown(20),
        ),
        (
            definition(&[2, 4, 8, 1, 0, 0, 256], 280),
            LegacyProblem::Unknown(25),
        ),
    ];
    for (data, expected) in table {
        let sections = [section("maps", &data), code("9/0", &[0; 8])];
        let symbols = [variable("m", 1, 0), symbol("p", elf::STT_FUNC, 2, 0, 8)];
        let error = problem(&sections, &symbols);
        assert_eq!(
            error,
            ObjectError::LegacyMap {
                section: "maps".to_owned(),
                map: "m".to_owned(),
                problem: expected,
            }
        );
        assert!(error.to_string().starts_with("map `m` in section `maps` "));
    }
}

#[test]
fn a_definition_that_is_cut_or_filled_in_is_refused() {
    let data = definition(&[2, 4, 8, 1], 20);
    assert_eq!(
        problem(&[section("maps", &data)], &[variable("m", 1, 24)]),
        damaged("map `m` crosses the end of its section")
    );
    let entries = relocation(4, 1);
    let sections = [section("maps", &data), relocations(".relmaps", 1, &entries)];
    let error = problem(&sections, &[variable("m", 1, 0)]);
    assert!(
        error
            .to_string()
            .contains("has an address in its definition")
    );
}

#[test]
fn too_many_are_refused() {
    let data = definition(&[2, 4, 8, 1], 20).repeat(MAX_LEGACY_MAPS + 1);
    let symbols = (0..=MAX_LEGACY_MAPS as u64).map(|number| variable("m", 1, number * 20));
    let symbols: Vec<_> = symbols.collect();
    assert_eq!(
        problem(&[section("maps", &data)], &symbols),
        too_many_maps()
    );
    let sections: Vec<_> = (0..=MAX_LEGACY_MAPS)
        .map(|_| section("maps", &[]))
        .collect();
    assert_eq!(problem(&sections, &[]), too_many_maps());
}

#[test]
fn no_single_damaged_byte_panics() {
    for object in [LEGACY, LEGACY_BTF] {
        let mut object = object.to_vec();
        for place in 0..object.len() {
            for flip in [0x01, 0x80, 0xff] {
                object[place] ^= flip;
                check_bounded(&object);
                object[place] ^= flip;
            }
        }
    }
}

fn check_bounded(object: &[u8]) {
    const FIXED: usize = 4096;
    const EACH_MAP: usize = 2048;
    if let Ok(Some(new)) = with_btf_maps(object) {
        assert!(new.len() <= 6 * object.len() + FIXED + EACH_MAP);
        let _ = inspect(&new);
    }
}

proptest! {
    #[test]
    fn every_map_is_found_again(
        definitions in proptest::collection::vec((any::<[u32; 5]>(), 5_usize..70), 1..20),
        own_sections in any::<bool>(),
    ) {
        let names: Vec<String> = (0..definitions.len()).map(|n| format!("map_{n}")).collect();
        let mut expected = Vec::new();
        let mut parts = Vec::new();
        for (name, (mut words, length)) in names.iter().zip(definitions) {
            words[0] = words[0].clamp(14, u32::MAX);
            // Nine words have a meaning in iproute2, which none of these has.
            parts.push(definition(&words, length * 4));
            expected.push((name.clone(), shape(words)));
        }
        let whole = parts.concat();
        let sections: Vec<TestSection<'_>> = match own_sections {
            true => parts.iter().map(|part| section("maps/x", part)).collect(),
            false => vec![section("maps", &whole)],
        };
        let mut at = 0;
        let mut symbols = Vec::new();
        for (number, (name, part)) in names.iter().zip(&parts).enumerate() {
            symbols.push(match own_sections {
                true => variable(name, u16::try_from(number + 1).unwrap(), 0),
                false => variable(name, 1, at),
            });
            at += part.len() as u64;
        }
        prop_assert_eq!(maps(&build(&sections, &symbols)), expected);
    }

    #[test]
    fn a_damaged_object_never_panics_and_stays_bounded(
        with_types in any::<bool>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut object = if with_types { LEGACY_BTF } else { LEGACY }.to_vec();
        for (place, value) in flips {
            let place = place.index(object.len());
            object[place] = value;
        }
        check_bounded(&object);
    }
}
