//! Ordinary files.

use std::rc::Rc;

use bpfman_core::action::KeptInstructions;
use bpfman_core::compute::Room;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_interpreter::interfaces::FileError;
use bpfman_interpreter::interfaces::Files;

use crate::Errno;
use crate::objects::ProcessId;
use crate::state::Shared;
use crate::tree::Content;
use crate::tree::Kept;
use crate::tree::KeptRecord;
use crate::tree::Node;
use crate::tree::Tree;

/// One process's way to the simulated files.
#[derive(Debug)]
pub struct SimulatedFiles {
    state: Shared,
    process: ProcessId,
}

impl SimulatedFiles {
    pub(crate) fn new(state: Shared, process: ProcessId) -> Self {
        Self { state, process }
    }

    /// One effect; `act` says whether it changed anything.
    fn effect(
        &self,
        verb: &str,
        path: &AbsolutePath,
        act: impl FnOnce(&mut Tree) -> Result<bool, Errno>,
    ) -> Result<bool, FileError> {
        let state = &mut *self.state.borrow_mut();
        let admitted = state.admit(self.process, format!("files   {verb} {path}"));
        let done = admitted.and_then(|()| act(&mut state.tree));
        let changed = done.map_err(|errno| errno.file_error(path))?;
        state.settle(changed);
        Ok(changed)
    }
}

/// Takes the errors that mean there was nothing to do for an answer.
fn changed(done: Result<(), Errno>, unchanged: &[Errno]) -> Result<bool, Errno> {
    match done {
        Ok(()) => Ok(true),
        Err(errno) if unchanged.contains(&errno) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn replace(tree: &mut Tree, path: &AbsolutePath, file: Node) -> Result<bool, Errno> {
    changed(tree.unlink(path), &[Errno::NotFound])?;
    changed(tree.add(path, file), &[])
}

impl Files for SimulatedFiles {
    fn make_directory(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        self.effect("make directory", path, |tree| {
            changed(tree.add(path, Node::Directory), &[Errno::Exists])
        })
    }

    fn remove_empty_directory(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        self.effect("remove directory", path, |tree| {
            let unchanged = [Errno::NotEmpty, Errno::NotFound, Errno::Busy];
            changed(tree.remove_directory(path), &unchanged)
        })
    }

    fn write(&mut self, path: &AbsolutePath, bytes: &[u8]) -> Result<(), FileError> {
        let file = Node::File(Content(bytes.into()));
        self.effect("write", path, |tree| replace(tree, path, file))
            .map(drop)
    }

    fn link(&mut self, from: &AbsolutePath, to: &AbsolutePath) -> Result<(), FileError> {
        let link = |tree: &mut Tree| {
            changed(tree.unlink(to), &[Errno::NotFound])?;
            let node = tree.lookup(from)?;
            if node == Node::Directory {
                return Err(Errno::Permission);
            }
            let parent = to.parent().unwrap_or_else(|| to.clone());
            if tree.on_bpffs(from)? || tree.on_bpffs(&parent)? {
                return Err(Errno::OtherDevice);
            }
            changed(tree.add(to, node), &[])
        };
        self.effect(&format!("link {from} as"), to, link).map(drop)
    }

    fn write_instructions(
        &mut self,
        path: &AbsolutePath,
        kept: &KeptInstructions,
    ) -> Result<(), FileError> {
        let file = Node::Instructions(Kept(Rc::new(kept.clone())));
        self.effect("keep instructions in", path, |tree| {
            replace(tree, path, file)
        })
        .map(drop)
    }

    fn write_record(&mut self, path: &AbsolutePath, program: &Program) -> Result<(), FileError> {
        let file = Node::Record(KeptRecord(Rc::new(program.clone())));
        self.effect("keep a record in", path, |tree| replace(tree, path, file))
            .map(drop)
    }

    fn remove_file(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        self.effect("remove", path, |tree| {
            changed(tree.unlink(path), &[Errno::NotFound])
        })
    }

    fn remove_tree(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        self.effect("remove tree", path, |tree| {
            changed(tree.remove_tree(path), &[Errno::NotFound])
        })
    }

    fn list(&self, path: &AbsolutePath) -> Result<Vec<AbsolutePath>, FileError> {
        let state = self.state.borrow();
        let nodes = state.tree.ordinary().keys();
        let found = nodes.filter(|other| other.parent().as_ref() == Some(path));
        Ok(found.cloned().collect())
    }

    /// That nothing is left is a fault of one step here, not a state.
    fn room(&self, _path: &AbsolutePath) -> Result<Option<Room>, FileError> {
        Ok(None)
    }

    fn exists(&self, path: &AbsolutePath) -> bool {
        self.state.borrow().tree.lookup(path).is_ok()
    }
}
