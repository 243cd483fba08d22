//! What persists, as one value to compare.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::kernel;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::ProgramLister;

use crate::state::State;
use crate::tree::Node;

/// All that a failed operation must leave as it was. What ids come next and what time it is are no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The programs in the kernel.
    pub programs: BTreeMap<ProgramId, kernel::Program>,
    /// The maps in the kernel.
    pub maps: BTreeMap<MapId, kernel::Map>,
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
            bpffs: state.tree.mounts().clone(),
            files: state.tree.ordinary().clone(),
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
}
