//! The sizes of maps that their declarations leave to the loader, or that the kernel wants otherwise.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::LoadRefusal;
use crate::action::MapEntries;
use crate::action::MapSize;
use crate::kernel::MapShape;
use crate::kernel::MapType;
use crate::object::ObjectFacts;
use crate::object::ObjectMap;

/// The frames of one trace: the default of `kernel.perf_event_max_stack`, which bcc and libbpf-tools take, too.
const STACK_FRAMES: u32 = 127;
/// An address in a stack trace.
const FRAME_BYTES: u32 = 8;
/// A processor's number, a descriptor, the number of a stack.
const NUMBER_BYTES: u32 = 4;

/// What the kernel wants of the entries of a map.
enum Entries {
    /// None: the kernel refuses a number.
    None,
    /// By default as many as the machine can have processors.
    Processors,
    /// The loader must say how many.
    Given,
}

/// Checks the sizes that were asked for against the maps there are.
pub(super) fn check(
    given: &BTreeMap<String, u32>,
    object: &ObjectFacts,
) -> Result<(), LoadRefusal> {
    let all: Vec<(String, Option<MapShape>)> = object.maps.iter().flat_map(named).collect();
    for name in given.keys() {
        let found = all.iter().find(|(known, _)| known == name);
        let (_, shape) = found.ok_or_else(|| LoadRefusal::NoSuchMap {
            name: name.clone(),
            available: all.iter().map(|(name, _)| name.clone()).collect(),
        })?;
        let map_type = shape.map_or(MapType::STRUCT_OPS, |shape| shape.map_type);
        if let Entries::None = entries(map_type) {
            return Err(LoadRefusal::MapTakesNoSize {
                name: name.clone(),
                map_type,
            });
        }
    }
    Ok(())
}

/// Checks that every size that was asked for is one of a map that the load makes: `skipped` are those that it does
/// not.
pub(super) fn check_used(
    given: &BTreeMap<String, u32>,
    object: &ObjectFacts,
    skipped: &[String],
) -> Result<(), LoadRefusal> {
    let unused = object.maps.iter().filter(|map| skipped.contains(&map.name));
    let mut names = unused.flat_map(named).map(|(name, _)| name);
    match names.find(|name| given.contains_key(name)) {
        Some(name) => Err(LoadRefusal::SizedMapUnused { name }),
        None => Ok(()),
    }
}

/// The names of the maps that can be given a size.
#[must_use]
pub fn sized_maps(object: &ObjectFacts) -> Vec<String> {
    let all = object.maps.iter().flat_map(named);
    let takes_one = |shape: &MapShape| !matches!(entries(shape.map_type), Entries::None);
    all.filter(|(_, shape)| shape.as_ref().is_some_and(takes_one))
        .map(|(name, _)| name)
        .collect()
}

/// The sizes of the maps of a load that are not those of their declarations. Of the maps that are taken from
/// elsewhere (`reused`) no size has to be known.
///
/// # Errors
/// [`LoadRefusal::MapSizesMissing`].
pub fn map_sizes(
    given: &BTreeMap<String, u32>,
    object: &ObjectFacts,
    skipped: &[String],
    reused: &[&str],
) -> Result<Vec<MapSize>, LoadRefusal> {
    let mut sizes = Vec::new();
    let mut missing = Vec::new();
    for map in &object.maps {
        let is_reused = reused.contains(&map.name.as_str());
        if skipped.contains(&map.name) {
            continue;
        }
        // What a map that is there holds was decided when it was made.
        let looked_at = if is_reused { 1 } else { usize::MAX };
        for (name, shape) in named(map).take(looked_at) {
            let Some(shape) = shape else { continue };
            let entries = match given.get(&name) {
                Some(entries) => Some(MapEntries::Number(*entries)),
                None if shape.max_entries > 0 || is_reused => None,
                None => match entries(shape.map_type) {
                    Entries::None => None,
                    Entries::Processors => Some(MapEntries::PossibleProcessors),
                    Entries::Given => {
                        missing.push((name.clone(), shape.map_type));
                        None
                    }
                },
            };
            let size = MapSize {
                key_size: changed(shape.key_size, key_size(&shape)),
                value_size: changed(shape.value_size, value_size(&shape)),
                max_entries: entries,
                name,
            };
            if !size.is_as_declared() {
                sizes.push(size);
            }
        }
    }
    match missing.is_empty() {
        true => Ok(sizes),
        false => Err(LoadRefusal::MapSizesMissing(missing)),
    }
}

/// A map, and the one that describes what it holds, by the name that libbpf gives that.
fn named(map: &ObjectMap) -> impl Iterator<Item = (String, Option<MapShape>)> {
    let inner = map
        .inner
        .map(|inner| (format!("{}.inner", map.name), Some(inner)));
    [(map.name.to_owned(), map.shape)].into_iter().chain(inner)
}

fn changed(declared: u32, wanted: u32) -> Option<u32> {
    (declared != wanted).then_some(wanted)
}

/// What the map's own `map_alloc_check` of the kernel takes, where that is one size only; else what is declared.
fn key_size(shape: &MapShape) -> u32 {
    match shape.map_type {
        MapType::RINGBUF | MapType::USER_RINGBUF | MapType::ARENA => 0,
        MapType::STACK_TRACE
        | MapType::PERF_EVENT_ARRAY
        | MapType::PROG_ARRAY
        | MapType::CGROUP_ARRAY
            if shape.key_size == 0 =>
        {
            NUMBER_BYTES
        }
        _ => shape.key_size,
    }
}

fn value_size(shape: &MapShape) -> u32 {
    match shape.map_type {
        MapType::RINGBUF | MapType::USER_RINGBUF | MapType::ARENA => 0,
        MapType::STACK_TRACE if shape.value_size == 0 => STACK_FRAMES * FRAME_BYTES,
        MapType::PERF_EVENT_ARRAY | MapType::PROG_ARRAY | MapType::CGROUP_ARRAY
            if shape.value_size == 0 =>
        {
            NUMBER_BYTES
        }
        _ => shape.value_size,
    }
}

fn entries(map_type: MapType) -> Entries {
    match map_type {
        MapType::STRUCT_OPS
        | MapType::CGROUP_STORAGE
        | MapType::PERCPU_CGROUP_STORAGE
        | MapType::SK_STORAGE
        | MapType::INODE_STORAGE
        | MapType::TASK_STORAGE
        | MapType::CGRP_STORAGE => Entries::None,
        MapType::PERF_EVENT_ARRAY | MapType::PERCPU_ARRAY | MapType::CPUMAP => Entries::Processors,
        _ => Entries::Given,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::object::ObjectMapKind;

    fn shape(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapShape {
        MapShape {
            map_type,
            key_size,
            value_size,
            max_entries,
            flags: 0,
            map_extra: 0,
        }
    }

    fn map(shape: MapShape) -> ObjectMap {
        ObjectMap {
            name: "m".to_owned(),
            kind: ObjectMapKind::Plain,
            shape: Some(shape),
            inner: None,
        }
    }

    fn object(map: ObjectMap) -> ObjectFacts {
        ObjectFacts {
            maps: vec![map],
            ..ObjectFacts::default()
        }
    }

    fn given(name: &str, entries: u32) -> BTreeMap<String, u32> {
        [(name.to_owned(), entries)].into()
    }

    fn sizes(shape: MapShape) -> Result<Vec<MapSize>, LoadRefusal> {
        map_sizes(&BTreeMap::new(), &object(map(shape)), &[], &[])
    }

    #[test]
    fn what_the_declaration_leaves_open_gets_a_default_where_there_is_one() {
        let processors = Some(MapEntries::PossibleProcessors);
        let frames = Some(STACK_FRAMES * FRAME_BYTES);
        let table = [
            // Type; key, value and entries declared; key, value and entries changed.
            (MapType::HASH, [4, 8, 1], (None, None, None)),
            (MapType::RINGBUF, [0, 0, 4096], (None, None, None)),
            (MapType::RINGBUF, [0, 8, 4096], (None, Some(0), None)),
            (MapType::USER_RINGBUF, [4, 8, 1], (Some(0), Some(0), None)),
            (MapType::STACK_TRACE, [4, 0, 9], (None, frames, None)),
            (MapType::STACK_TRACE, [0, 80, 9], (Some(4), None, None)),
            (
                MapType::PERF_EVENT_ARRAY,
                [0, 0, 0],
                (Some(4), Some(4), processors),
            ),
            (MapType::PERF_EVENT_ARRAY, [4, 4, 2], (None, None, None)),
            (MapType::PERCPU_ARRAY, [4, 8, 0], (None, None, processors)),
            (MapType::CPUMAP, [4, 8, 0], (None, None, processors)),
            (MapType::TASK_STORAGE, [4, 8, 0], (None, None, None)),
        ];
        for (map_type, [key, value, entries], (key_size, value_size, max_entries)) in table {
            let expected = MapSize {
                name: "m".to_owned(),
                key_size,
                value_size,
                max_entries,
            };
            let expected = Some(expected).filter(|size| !size.is_as_declared());
            assert_eq!(
                sizes(shape(map_type, key, value, entries)),
                Ok(expected.into_iter().collect()),
                "{map_type}"
            );
        }
    }

    #[test]
    fn a_map_without_a_default_is_named_with_the_option() {
        for map_type in [MapType::HASH, MapType::RINGBUF, MapType::STACK_TRACE] {
            let refusal = sizes(shape(map_type, 4, 8, 0)).unwrap_err().to_string();
            assert!(refusal.contains("`m`"), "{refusal}");
            assert!(refusal.contains("--map-size m=N"), "{refusal}");
        }
    }

    #[test]
    fn a_given_size_wins_and_a_map_from_elsewhere_needs_none() {
        let unsized_map = object(map(shape(MapType::HASH, 4, 8, 0)));
        let sized = map_sizes(&given("m", 7), &unsized_map, &[], &[]).unwrap();
        assert_eq!(sized[0].max_entries, Some(MapEntries::Number(7)));
        assert_eq!(
            map_sizes(&BTreeMap::new(), &unsized_map, &[], &["m"]),
            Ok(vec![])
        );
        let skipped = ["m".to_owned()];
        assert_eq!(
            map_sizes(&BTreeMap::new(), &unsized_map, &skipped, &[]),
            Ok(vec![])
        );
        let declared = object(map(shape(MapType::HASH, 4, 8, 5)));
        let sized = map_sizes(&given("m", 7), &declared, &[], &[]).unwrap();
        assert_eq!(sized[0].max_entries, Some(MapEntries::Number(7)));
    }

    #[test]
    fn the_maps_in_a_map_have_sizes_too() {
        let outer = ObjectMap {
            inner: Some(shape(MapType::RINGBUF, 0, 8, 0)),
            ..map(shape(MapType::ARRAY_OF_MAPS, 4, 4, 2))
        };
        let object = object(outer);
        let given = given("m.inner", 4096);
        assert_eq!(check(&given, &object), Ok(()));
        let expected = MapSize {
            name: "m.inner".to_owned(),
            key_size: None,
            value_size: Some(0),
            max_entries: Some(MapEntries::Number(4096)),
        };
        assert_eq!(map_sizes(&given, &object, &[], &[]), Ok(vec![expected]));
        let refusal = map_sizes(&BTreeMap::new(), &object, &[], &[]).unwrap_err();
        assert!(refusal.to_string().contains("--map-size m.inner=N"));
        assert_eq!(map_sizes(&given, &object, &[], &["m"]), Ok(vec![]));
    }

    #[test]
    fn a_size_that_no_map_takes_is_refused() {
        let storage = object(map(shape(MapType::TASK_STORAGE, 4, 8, 0)));
        let refusal = |name| check(&given(name, 1), &storage).unwrap_err();
        assert!(matches!(refusal("m"), LoadRefusal::MapTakesNoSize { .. }));
        let (given, skipped) = (given("m", 1), ["m".to_owned()]);
        assert_eq!(check_used(&given, &storage, &[]), Ok(()));
        let unused = check_used(&given, &storage, &skipped).unwrap_err();
        assert!(matches!(unused, LoadRefusal::SizedMapUnused { name } if name == "m"));
        let LoadRefusal::NoSuchMap { available, .. } = refusal("x") else {
            panic!("another refusal")
        };
        assert_eq!(available, ["m"]);
    }
}
