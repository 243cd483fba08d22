//! What persists, as one value to compare.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::kernel;
use bpfman_core::links::AttachPoint;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::IfIndex;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::NetnsId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::DispatcherReader;
use bpfman_interpreter::interfaces::DispatcherWriter;
use bpfman_interpreter::interfaces::JournalReader;
use bpfman_interpreter::interfaces::JournalWriter;
use bpfman_interpreter::interfaces::LinkLister;
use bpfman_interpreter::interfaces::LinkWriter;
use bpfman_interpreter::interfaces::ProgramLister;
use bpfman_interpreter::interfaces::ProgramWriter;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::store::memory::MemoryStore;

use crate::FilterKey;
use crate::state::State;
use crate::tree::Node;

/// All that a failed operation must leave as it was. What ids come next, what time it is, how often the order of a hook
/// changed and which operations were recovered are no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The programs in the kernel.
    pub programs: BTreeMap<ProgramId, kernel::Program>,
    /// The maps in the kernel.
    pub maps: BTreeMap<MapId, kernel::Map>,
    /// The links in the kernel.
    pub links: BTreeMap<KernelLinkId, kernel::Link>,
    /// The links at each hook where there are any, first to last.
    pub hooks: BTreeMap<AttachPoint, Vec<KernelLinkId>>,
    /// The interfaces that have the queueing discipline for filters.
    pub clsact: BTreeSet<(NetnsId, IfIndex)>,
    /// The programs of filters.
    pub filters: BTreeMap<FilterKey, ProgramId>,
    /// The links of extensions, by the dispatcher and the function that they are in place of.
    pub slots: BTreeMap<(ProgramId, String), KernelLinkId>,
    /// What is on each mounted bpffs.
    pub bpffs: BTreeMap<AbsolutePath, BTreeMap<AbsolutePath, Node>>,
    /// Ordinary files and directories, with the records inside the database files.
    pub files: BTreeMap<AbsolutePath, Node>,
}

impl Places {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            programs: state.objects.programs.clone(),
            maps: state.objects.maps.clone(),
            links: state.objects.links.clone(),
            hooks: state.network.hooks(),
            clsact: state.network.clsact.clone(),
            filters: state.network.filters.clone(),
            slots: state.objects.slots.clone(),
            bpffs: state.tree.mounts().clone(),
            files: state.tree.ordinary().iter().map(without_next_ids).collect(),
        }
    }

    /// Every path at which something is, mount points included.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<AbsolutePath> {
        let pins = self.bpffs.values().flat_map(BTreeMap::keys);
        let files = self.files.keys();
        files
            .chain(self.bpffs.keys())
            .chain(pins)
            .cloned()
            .collect()
    }

    /// The records of all databases.
    #[must_use]
    pub fn records(&self) -> Vec<Program> {
        let records = |node: &Node| match node {
            Node::Database(store) => store.list().unwrap_or_default(),
            _ => Vec::new(),
        };
        self.files.values().flat_map(records).collect()
    }

    /// The records of links of all databases.
    #[must_use]
    pub fn link_records(&self) -> Vec<Link> {
        let records = |node: &Node| match node {
            Node::Database(store) => store.links().unwrap_or_default(),
            _ => Vec::new(),
        };
        self.files.values().flat_map(records).collect()
    }

    /// The records of attach points of all databases.
    #[must_use]
    pub fn dispatchers(&self) -> Vec<Dispatcher> {
        let records = |node: &Node| match node {
            Node::Database(store) => store.dispatchers().unwrap_or_default(),
            _ => Vec::new(),
        };
        self.files.values().flat_map(records).collect()
    }
}

/// A node, where a store forgets which ids it has given away: what failed may have taken one.
fn without_next_ids((path, node): (&AbsolutePath, &Node)) -> (AbsolutePath, Node) {
    let node = match node {
        Node::Database(store) => Node::Database(same_records(store).unwrap_or_default()),
        other => other.clone(),
    };
    (path.clone(), node)
}

fn same_records(store: &MemoryStore) -> Result<MemoryStore, StoreError> {
    let mut copy = MemoryStore::new();
    copy.save(&store.list()?)?;
    for link in store.links()? {
        copy.save_link(&link)?;
    }
    for dispatcher in store.dispatchers()? {
        copy.save_dispatcher(&dispatcher)?;
    }
    copy.save_journal(store.journal()?.as_ref())?;
    Ok(copy)
}
