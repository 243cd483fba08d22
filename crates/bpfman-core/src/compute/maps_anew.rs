//! What a replacement could not take over: the maps that the new version has other ones of.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::kernel::MapShape;
use crate::managed::Program;
use crate::object::CONFIGURATION;
use crate::types::MapId;
use crate::types::ProgramId;

/// A map of the old version that the new one has another one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapAnew {
    /// Its name in the object.
    pub name: String,
    /// The old version's.
    pub old: MapId,
    /// The new version's.
    pub new: MapId,
    /// What differs between the two: `max_entries 4 -> 8`. Nothing for the variables of a program, which come with each
    /// load, and where the kernel did not tell.
    pub changes: Vec<String>,
    /// Other programs, which keep the old one.
    pub kept_by: Vec<ProgramId>,
}

/// The maps that start anew, of those whose contents change: constants and the kernel's configuration come with each
/// load. `others` share the old version's maps; `shapes` are those of the pinned ones.
#[must_use]
pub fn maps_anew(
    old: &Program,
    new: &Program,
    others: &[Program],
    shapes: &BTreeMap<MapId, MapShape>,
) -> Vec<MapAnew> {
    let uses = |program: &&Program, id: MapId| program.maps.iter().any(|map| map.id == id);
    let kept_by = |id: MapId| {
        let others = others.iter().filter(|other| other.id() != old.id());
        let users = others.filter(|other| uses(other, id));
        users.map(Program::id).collect()
    };
    let constant = |name: &str| name.starts_with(".rodata") || name == CONFIGURATION;
    let of_old = old.maps.iter().filter(|map| !constant(&map.name));
    let pairs = of_old.filter_map(|map| {
        let same_name = new.maps.iter().find(|other| other.name == map.name)?;
        (same_name.id != map.id).then_some((map, same_name.id))
    });
    pairs
        .map(|(map, new)| MapAnew {
            name: map.name.clone(),
            old: map.id,
            new,
            changes: match (shapes.get(&map.id), shapes.get(&new)) {
                (Some(old), Some(new)) => changes(old, new),
                _ => Vec::new(),
            },
            // Who has no pin to share it by does not lose it either.
            kept_by: match map.pin_path {
                Some(_) => kept_by(map.id),
                None => Vec::new(),
            },
        })
        .collect()
}

fn changes(old: &MapShape, new: &MapShape) -> Vec<String> {
    let decimal = |number: u32| number.to_string();
    let hex = |number: u64| format!("{number:#x}");
    let fields = |shape: &MapShape| {
        [
            ("type", shape.map_type.to_string()),
            ("key_size", decimal(shape.key_size)),
            ("value_size", decimal(shape.value_size)),
            ("max_entries", decimal(shape.max_entries)),
            ("map_flags", hex(shape.flags.into())),
            ("map_extra", hex(shape.map_extra)),
        ]
    };
    let pairs = fields(old).into_iter().zip(fields(new));
    pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((name, old), (_, new))| format!("{name} {old} -> {new}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::MapType;

    #[test]
    fn every_difference_is_named() {
        let old = MapShape {
            map_type: MapType::HASH,
            key_size: 4,
            value_size: 8,
            max_entries: 4,
            flags: 0,
            map_extra: 0,
        };
        let new = MapShape {
            map_type: MapType::LRU_HASH,
            key_size: 8,
            value_size: 16,
            max_entries: 8,
            flags: 1,
            map_extra: 3,
        };
        assert_eq!(changes(&old, &old), [""; 0]);
        assert_eq!(
            changes(&old, &new),
            [
                "type hash -> lruhash",
                "key_size 4 -> 8",
                "value_size 8 -> 16",
                "max_entries 4 -> 8",
                "map_flags 0x0 -> 0x1",
                "map_extra 0x0 -> 0x3",
            ]
        );
    }
}
