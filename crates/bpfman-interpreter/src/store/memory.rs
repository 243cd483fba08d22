//! The store in memory, for tests and for the simulated world.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use bpfman_core::action::Journal;
use bpfman_core::links::AttachPoint;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;

use super::StoreError;
use super::StoredTimes;
use super::link_id_after;
use super::stored_link_time;
use super::stored_recovery_time;
use crate::interfaces::DispatcherReader;
use crate::interfaces::DispatcherWriter;
use crate::interfaces::JournalReader;
use crate::interfaces::JournalWriter;
use crate::interfaces::LinkLister;
use crate::interfaces::LinkReader;
use crate::interfaces::LinkWriter;
use crate::interfaces::MAX_RECOVERIES;
use crate::interfaces::ProgramLister;
use crate::interfaces::ProgramReader;
use crate::interfaces::ProgramWriter;
use crate::interfaces::StoreChange;
use crate::interfaces::StoreWriter;

/// The records in a map. A clone is a copy: what happens to one is not seen by the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    programs: BTreeMap<ProgramId, Program>,
    links: BTreeMap<LinkId, Link>,
    dispatchers: BTreeMap<AttachPoint, Dispatcher>,
    /// The largest id that a link ever had.
    last_link: u32,
    journal: Option<Journal>,
    recoveries: VecDeque<Recovery>,
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
            let former = self.programs.insert(program.id(), program.clone());
            if former.is_some_and(|former| former.identity != program.identity) {
                self.drop_links_of(program.id());
            }
            self.describe_maps(program);
        }
        Ok(())
    }

    fn delete(&mut self, id: ProgramId) -> Result<(), StoreError> {
        self.programs.remove(&id).ok_or(StoreError::NotFound(id))?;
        self.drop_links_of(id);
        Ok(())
    }
}

impl LinkReader for MemoryStore {
    fn link(&self, id: LinkId) -> Result<Link, StoreError> {
        let link = self.links.get(&id).cloned();
        link.ok_or(StoreError::LinkNotFound(id))
    }

    fn links_of(&self, program: ProgramId) -> Result<Vec<Link>, StoreError> {
        Ok(self.links_where(|link| link.program == program))
    }

    fn links_at(&self, point: &AttachPoint) -> Result<Vec<Link>, StoreError> {
        Ok(self.links_where(|link| link.details.attach_point().as_ref() == Some(point)))
    }

    fn next_link(&self) -> Result<LinkId, StoreError> {
        link_id_after(self.last_link)
    }
}

impl LinkLister for MemoryStore {
    fn links(&self) -> Result<Vec<Link>, StoreError> {
        Ok(self.links_where(|_| true))
    }
}

impl LinkWriter for MemoryStore {
    fn save_link(&mut self, link: &Link) -> Result<(), StoreError> {
        if !self.programs.contains_key(&link.program) {
            return Err(StoreError::NotFound(link.program));
        }
        stored_link_time(link)?;
        self.last_link = self.last_link.max(link.id.0);
        self.links.insert(link.id, link.clone());
        Ok(())
    }

    fn delete_link(&mut self, id: LinkId) -> Result<(), StoreError> {
        let link = self.links.remove(&id);
        link.map(drop).ok_or(StoreError::LinkNotFound(id))
    }
}

impl DispatcherReader for MemoryStore {
    fn dispatcher(&self, point: &AttachPoint) -> Result<Option<Dispatcher>, StoreError> {
        Ok(self.dispatchers.get(point).cloned())
    }

    fn dispatchers(&self) -> Result<Vec<Dispatcher>, StoreError> {
        Ok(self.dispatchers.values().cloned().collect())
    }
}

impl DispatcherWriter for MemoryStore {
    fn save_dispatcher(&mut self, dispatcher: &Dispatcher) -> Result<(), StoreError> {
        self.dispatchers
            .insert(dispatcher.point(), dispatcher.clone());
        Ok(())
    }

    fn delete_dispatcher(&mut self, point: &AttachPoint) -> Result<(), StoreError> {
        let dispatcher = self.dispatchers.remove(point);
        dispatcher
            .map(drop)
            .ok_or(StoreError::DispatcherNotFound(*point))
    }
}

impl JournalReader for MemoryStore {
    fn journal(&self) -> Result<Option<Journal>, StoreError> {
        Ok(self.journal.clone())
    }

    fn recoveries(&self) -> Result<Vec<Recovery>, StoreError> {
        Ok(self.recoveries.iter().cloned().collect())
    }
}

impl JournalWriter for MemoryStore {
    fn save_journal(&mut self, journal: Option<&Journal>) -> Result<(), StoreError> {
        self.journal = journal.cloned();
        Ok(())
    }

    fn save_recovery(&mut self, recovery: &Recovery) -> Result<(), StoreError> {
        self.journal = None;
        self.recoveries.push_front(Recovery {
            at: UnixTime(stored_recovery_time(recovery) as u64),
            ..recovery.clone()
        });
        self.recoveries.truncate(MAX_RECOVERIES as usize);
        Ok(())
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

    /// A link is the program's, not the id's: it does not pass on to the next program that gets the id.
    fn drop_links_of(&mut self, program: ProgramId) {
        self.links.retain(|_, link| link.program != program);
    }

    fn links_where(&self, chosen: impl Fn(&Link) -> bool) -> Vec<Link> {
        let links = self.links.values().filter(|link| chosen(link));
        links.cloned().collect()
    }
}

impl StoreWriter for MemoryStore {
    fn batch(&mut self, changes: &[StoreChange]) -> Result<(), StoreError> {
        let mut changed = self.clone();
        for change in changes {
            change.apply(&mut changed)?;
        }
        *self = changed;
        Ok(())
    }
}
