//! Who shares maps with whom.

use alloc::vec::Vec;

use crate::kernel::ProgramIdentity;
use crate::managed::ManagedMap;
use crate::managed::Program;
use crate::types::ProgramId;

/// A record that shares ids with another: the name of its map set, or that of a map. The kernel recycles both.
#[derive(Clone, Debug)]
pub struct Sharer {
    /// The record.
    pub record: Program,
    /// The program that the kernel has at its pin, or else under its id.
    pub observed: Option<ProgramIdentity>,
}

impl Sharer {
    /// A record whose program is known to live.
    #[must_use]
    pub fn living(record: Program) -> Self {
        Self {
            observed: Some(record.identity),
            record,
        }
    }

    /// Whether its program lives. A record that outlived its program holds nothing.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.observed == Some(self.record.identity)
    }

    /// Whether its program lives and uses this map.
    #[must_use]
    pub fn uses(&self, map: &ManagedMap) -> bool {
        let same = |own: &ManagedMap| own.id == map.id && own.pin_path == map.pin_path;
        self.lives() && self.record.maps.iter().any(same)
    }
}

/// The living programs that use the map set of `program`: the set has the same name, and a map of it is theirs too.
/// The name alone is an id that the set's owner may have left behind.
#[must_use]
pub fn map_users(program: &Program, sharing: &[Sharer]) -> Vec<ProgramId> {
    let users = sharing.iter().filter(|other| {
        other.record.map_set() == program.map_set()
            && program.maps.iter().any(|map| other.uses(map))
    });
    users.map(|other| other.record.id()).collect()
}

/// The living programs that were loaded with the maps of `program`; none for one that took its maps from another.
#[must_use]
pub fn dependants(program: &Program, sharing: &[Sharer]) -> Vec<ProgramId> {
    if program.load.map_owner_id.is_some() {
        return Vec::new();
    }
    let mut users = map_users(program, sharing);
    let borrows = |other: &Sharer| other.record.load.map_owner_id.is_some();
    let borrowers = |id: &ProgramId| {
        let mut records = sharing.iter().filter(|other| other.record.id() == *id);
        records.any(borrows)
    };
    users.retain(borrowers);
    users
}
