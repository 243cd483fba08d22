//! The runtime directory and the store in its database file.

use bpfman_core::action::Journal;
use bpfman_core::links::AttachPoint;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::interfaces::DispatcherReader;
use bpfman_interpreter::interfaces::DispatcherWriter;
use bpfman_interpreter::interfaces::JournalReader;
use bpfman_interpreter::interfaces::JournalWriter;
use bpfman_interpreter::interfaces::LinkLister;
use bpfman_interpreter::interfaces::LinkReader;
use bpfman_interpreter::interfaces::LinkWriter;
use bpfman_interpreter::interfaces::ProgramLister;
use bpfman_interpreter::interfaces::ProgramReader;
use bpfman_interpreter::interfaces::ProgramWriter;
use bpfman_interpreter::interfaces::StoreChange;
use bpfman_interpreter::interfaces::StoreWriter;
use bpfman_interpreter::lock::Stillness;
use bpfman_interpreter::lock::WriterLock;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::runtime::Runtime;
use bpfman_interpreter::runtime::RuntimeError;
use bpfman_interpreter::runtime::WriterStore;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::store::memory::MemoryStore;

use crate::Errno;
use crate::objects::ProcessId;
use crate::state::Shared;
use crate::tree::Content;
use crate::tree::Node;
use crate::tree::Tree;

/// One process's way to the store. As on a real machine, the runtime directory, its lock and its database are made
/// outside of any plan, so they count as no effect.
#[derive(Debug)]
pub struct SimulatedRuntime {
    state: Shared,
    process: ProcessId,
    layout: RuntimeLayout,
}

impl SimulatedRuntime {
    pub(crate) fn new(state: Shared, process: ProcessId, layout: RuntimeLayout) -> Self {
        Self {
            state,
            process,
            layout,
        }
    }

    fn store(&self) -> SimulatedStore {
        SimulatedStore {
            state: Shared::clone(&self.state),
            process: self.process,
            database: self.layout.database(),
        }
    }
}

impl Runtime for SimulatedRuntime {
    fn reader(&self) -> Result<Option<Box<dyn ReaderStore>>, StoreError> {
        let database = self.layout.database();
        let there = self.state.borrow().tree.lookup(&database).is_ok();
        Ok(there.then(|| Box::new(self.store()) as Box<dyn ReaderStore>))
    }

    fn writer(&mut self) -> Result<(Box<dyn WriterStore>, Option<WriterLock>), RuntimeError> {
        let tree = &mut self.state.borrow_mut().tree;
        let directory = self.layout.database_directory();
        tree.add_directories(&directory)
            .map_err(|errno| errno.file_error(&directory))?;
        let lock = Node::File(Content([].into()));
        let database = Node::Database(MemoryStore::new());
        for (path, node) in [
            (self.layout.lock(), lock),
            (self.layout.database(), database),
        ] {
            make_if_missing(tree, &path, node).map_err(|errno| errno.file_error(&path))?;
        }
        Ok((Box::new(self.store()), None))
    }

    // The simulated disk is full when a fault says so, not when files are large.
    fn release_reserve(&mut self) -> bool {
        false
    }

    // Nothing happens at once here.
    fn stillness(&self) -> Result<Stillness, RuntimeError> {
        Ok(Stillness::Still(None))
    }
}

fn make_if_missing(tree: &mut Tree, path: &AbsolutePath, node: Node) -> Result<(), Errno> {
    match tree.add(path, node) {
        Err(Errno::Exists) => Ok(()),
        other => other,
    }
}

/// The records in one database file.
struct SimulatedStore {
    state: Shared,
    process: ProcessId,
    database: AbsolutePath,
}

impl SimulatedStore {
    fn read<T>(
        &self,
        read: impl FnOnce(&MemoryStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tree = &mut self.state.borrow_mut().tree;
        let store = tree.database(&self.database);
        read(store.map_err(|errno| errno.store_error(&self.database))?)
    }

    fn write(
        &self,
        action: String,
        write: impl FnOnce(&mut MemoryStore) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let state = &mut *self.state.borrow_mut();
        let refused = |errno: Errno| errno.store_error(&self.database);
        state.admit(self.process, action).map_err(refused)?;
        write(state.tree.database(&self.database).map_err(refused)?)?;
        state.settle(true);
        Ok(())
    }
}

impl SimulatedStore {
    /// A write that is no step of a plan.
    fn note(
        &self,
        write: impl FnOnce(&mut MemoryStore) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let state = &mut *self.state.borrow_mut();
        let refused = |errno: Errno| errno.store_error(&self.database);
        state.admit_note(self.process).map_err(refused)?;
        write(state.tree.database(&self.database).map_err(refused)?)
    }
}

impl ProgramReader for SimulatedStore {
    fn get(&self, id: ProgramId) -> Result<Program, StoreError> {
        self.read(|store| store.get(id))
    }

    fn sharing(&self, program: &Program) -> Result<Vec<Program>, StoreError> {
        self.read(|store| store.sharing(program))
    }
}

impl ProgramLister for SimulatedStore {
    fn list(&self) -> Result<Vec<Program>, StoreError> {
        self.read(ProgramLister::list)
    }
}

impl ProgramWriter for SimulatedStore {
    fn save(&mut self, programs: &[Program]) -> Result<(), StoreError> {
        self.batch(&[StoreChange::SavePrograms(programs.to_vec())])
    }

    fn delete(&mut self, id: ProgramId) -> Result<(), StoreError> {
        self.batch(&[StoreChange::DeleteProgram(id)])
    }
}

impl LinkReader for SimulatedStore {
    fn link(&self, id: LinkId) -> Result<Link, StoreError> {
        self.read(|store| store.link(id))
    }

    fn links_of(&self, program: ProgramId) -> Result<Vec<Link>, StoreError> {
        self.read(|store| store.links_of(program))
    }

    fn links_at(&self, point: &AttachPoint) -> Result<Vec<Link>, StoreError> {
        self.read(|store| store.links_at(point))
    }

    fn next_link(&self) -> Result<LinkId, StoreError> {
        self.read(LinkReader::next_link)
    }
}

impl LinkLister for SimulatedStore {
    fn links(&self) -> Result<Vec<Link>, StoreError> {
        self.read(LinkLister::links)
    }
}

impl LinkWriter for SimulatedStore {
    fn save_link(&mut self, link: &Link) -> Result<(), StoreError> {
        self.batch(&[StoreChange::SaveLink(link.clone())])
    }

    fn delete_link(&mut self, id: LinkId) -> Result<(), StoreError> {
        self.batch(&[StoreChange::DeleteLink(id)])
    }
}

impl DispatcherReader for SimulatedStore {
    fn dispatcher(&self, point: &AttachPoint) -> Result<Option<Dispatcher>, StoreError> {
        self.read(|store| store.dispatcher(point))
    }

    fn dispatchers(&self) -> Result<Vec<Dispatcher>, StoreError> {
        self.read(DispatcherReader::dispatchers)
    }
}

impl DispatcherWriter for SimulatedStore {
    fn save_dispatcher(&mut self, dispatcher: &Dispatcher) -> Result<(), StoreError> {
        self.batch(&[StoreChange::SaveDispatcher(dispatcher.clone())])
    }

    fn delete_dispatcher(&mut self, point: &AttachPoint) -> Result<(), StoreError> {
        self.batch(&[StoreChange::DeleteDispatcher(*point)])
    }
}

impl JournalReader for SimulatedStore {
    fn journal(&self) -> Result<Option<Journal>, StoreError> {
        self.read(JournalReader::journal)
    }

    fn recoveries(&self) -> Result<Vec<Recovery>, StoreError> {
        self.read(JournalReader::recoveries)
    }
}

impl JournalWriter for SimulatedStore {
    fn save_journal(&mut self, journal: Option<&Journal>) -> Result<(), StoreError> {
        self.note(|store| store.save_journal(journal))
    }

    fn save_recovery(&mut self, recovery: &Recovery) -> Result<(), StoreError> {
        self.note(|store| store.save_recovery(recovery))
    }
}

impl StoreWriter for SimulatedStore {
    fn batch(&mut self, changes: &[StoreChange]) -> Result<(), StoreError> {
        let actions: Vec<String> = changes.iter().filter_map(named).collect();
        let action = format!("store   {}", actions.join(", "));
        self.write(action, |store| store.batch(changes))
    }
}

/// A change, as its action is printed; `None` for the journal, which belongs to no action.
fn named(change: &StoreChange) -> Option<String> {
    Some(match change {
        StoreChange::SavePrograms(programs) => {
            let ids: Vec<String> = programs.iter().map(|p| p.id().to_string()).collect();
            format!("record program {}", ids.join(", "))
        }
        StoreChange::DeleteProgram(id) => format!("delete program {id}"),
        StoreChange::SaveLink(link) => format!("record link {}", link.id),
        StoreChange::DeleteLink(id) => format!("delete link {id}"),
        StoreChange::SaveDispatcher(dispatcher) => {
            format!("record attach point {}", dispatcher.point())
        }
        StoreChange::DeleteDispatcher(point) => format!("delete attach point {point}"),
        StoreChange::SaveJournal(_) => return None,
    })
}
