//! The store in memory, for tests and for the simulated world.

use std::collections::BTreeMap;

use bpfman_core::managed::Program;
use bpfman_core::types::ProgramId;

use super::StoreError;
use super::StoredTimes;
use crate::interfaces::ProgramLister;
use crate::interfaces::ProgramReader;
use crate::interfaces::ProgramWriter;

/// The records in a map. A clone is a copy: what happens to one is not seen by the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    programs: BTreeMap<ProgramId, Program>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl ProgramReader for MemoryStore {
    fn get(&self, id: ProgramId) -> Result<Program, StoreError> {
        self.programs
            .get(&id)
            .cloned()
            .ok_or(StoreError::NotFound(id))
    }

    fn sharing(&self, program: &Program) -> Result<Vec<Program>, StoreError> {
        let has_map_of = |other: &Program| {
            other
                .maps
                .iter()
                .any(|map| program.maps.iter().any(|own| own.id == map.id))
        };
        let shares = |other: &&Program| {
            other.id() != program.id()
                && (other.map_set() == program.map_set() || has_map_of(other))
        };
        Ok(self.programs.values().filter(shares).cloned().collect())
    }
}

impl ProgramLister for MemoryStore {
    fn list(&self) -> Result<Vec<Program>, StoreError> {
        Ok(self.programs.values().cloned().collect())
    }
}

impl ProgramWriter for MemoryStore {
    fn save(&mut self, programs: &[Program]) -> Result<(), StoreError> {
        for program in programs {
            StoredTimes::of(program)?;
        }
        for program in programs {
            self.programs.insert(program.id(), program.clone());
            self.describe_maps(program);
        }
        Ok(())
    }

    fn delete(&mut self, id: ProgramId) -> Result<(), StoreError> {
        self.programs
            .remove(&id)
            .map(drop)
            .ok_or(StoreError::NotFound(id))
    }
}

impl MemoryStore {
    /// A map is one thing, however many programs share it: all of them know it as the newest one does.
    fn describe_maps(&mut self, newest: &Program) {
        for map in &newest.maps {
            let known = self
                .programs
                .values_mut()
                .flat_map(|program| &mut program.maps);
            for other in known.filter(|other| other.id == map.id) {
                other.clone_from(map);
            }
        }
    }
}
