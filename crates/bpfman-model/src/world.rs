//! A world, and what can be done to it from outside of bpfman.

use std::rc::Rc;

use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::RuntimeLayout;

use crate::Effect;
use crate::Errno;
use crate::Faults;
use crate::Places;
use crate::SimulatedFiles;
use crate::SimulatedKernel;
use crate::SimulatedRuntime;
use crate::SimulatedTargets;
use crate::objects::ProcessId;
use crate::objects::program_facts;
use crate::objects::tag_of;
use crate::state::Shared;
use crate::tree::Content;
use crate::tree::Node;

/// A simulated machine.
#[derive(Debug, Default)]
pub struct World {
    state: Shared,
}

/// The handles of one process. They all die with [`World::crash`].
#[derive(Debug)]
pub struct Process {
    /// Its way to the kernel; what it holds is let go of when this is dropped.
    pub kernel: SimulatedKernel,
    /// Its way to the files.
    pub files: SimulatedFiles,
    /// Its way to the store.
    pub runtime: SimulatedRuntime,
    /// Its way to what programs are attached to.
    pub targets: SimulatedTargets,
}

impl World {
    /// A machine after its boot: no programs, no files, nothing mounted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another view of the same world.
    pub(crate) fn of(state: Shared) -> Self {
        Self { state }
    }

    pub(crate) fn state(&self) -> &Shared {
        &self.state
    }

    /// Starts a process that works under `layout`.
    #[must_use]
    pub fn process(&self, layout: &RuntimeLayout) -> Process {
        let process = self.state.borrow_mut().start_process();
        Process {
            kernel: SimulatedKernel::new(Rc::clone(&self.state), process),
            files: SimulatedFiles::new(Rc::clone(&self.state), process),
            runtime: SimulatedRuntime::new(Rc::clone(&self.state), process, layout.clone()),
            targets: SimulatedTargets::new(Rc::clone(&self.state)),
        }
    }

    /// Kills every process: what only they held is gone, and whatever their handles are asked is refused.
    pub fn crash(&self) {
        self.state.borrow_mut().crash();
    }

    /// Replaces the faults, forgets the effects so far and counts from 0 again.
    pub fn inject(&self, faults: Faults) {
        let state = &mut *self.state.borrow_mut();
        state.faults = faults;
        state.effects.clear();
        state.notes = 0;
    }

    /// The effects that were asked for since the last [`Self::inject`], refused ones included.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.state.borrow().effects.clone()
    }

    /// What persists.
    #[must_use]
    pub fn places(&self) -> Places {
        Places::of(&self.state.borrow())
    }

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// When something else is in the way.
    pub fn make_directories(&self, path: &AbsolutePath) -> Result<(), Errno> {
        self.state.borrow_mut().tree.add_directories(path)
    }

    /// Mounts a bpffs, making the directories under it.
    ///
    /// # Errors
    /// When something else is in the way.
    pub fn mount_bpffs(&self, path: &AbsolutePath) -> Result<(), Errno> {
        let tree = &mut self.state.borrow_mut().tree;
        tree.add_directories(path)?;
        tree.mount(path)
    }

    /// Unmounts a bpffs, as an administrator would: every pin on it is gone.
    ///
    /// # Errors
    /// When none is mounted there.
    pub fn unmount_bpffs(&self, path: &AbsolutePath) -> Result<(), Errno> {
        let state = &mut *self.state.borrow_mut();
        state.tree.unmount(path)?;
        state.sweep();
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// When there is none, or something is in it.
    pub fn remove_directory(&self, path: &AbsolutePath) -> Result<(), Errno> {
        self.state.borrow_mut().tree.remove_directory(path)
    }

    /// Puts a file where nothing is.
    ///
    /// # Errors
    /// When something is there, or no directory for it.
    pub fn put_file(&self, path: &AbsolutePath, bytes: &[u8]) -> Result<(), Errno> {
        let file = Node::File(Content(bytes.into()));
        self.state.borrow_mut().tree.add(path, file)
    }

    /// Removes a file or a pin, as an administrator would.
    ///
    /// # Errors
    /// When nothing is there, or a directory.
    pub fn unlink(&self, path: &AbsolutePath) -> Result<(), Errno> {
        let state = &mut *self.state.borrow_mut();
        state.tree.unlink(path)?;
        state.sweep();
        Ok(())
    }

    /// Sets the id that the next program gets, or the next free one after it: this is how ids are recycled.
    pub fn set_next_program_id(&self, id: u32) {
        self.state.borrow_mut().objects.next_program = id;
    }

    /// As [`Self::set_next_program_id`], for maps.
    pub fn set_next_map_id(&self, id: u32) {
        self.state.borrow_mut().objects.next_map = id;
    }

    /// Somebody else loads an XDP program without maps and holds it for good.
    pub fn load_foreign(&self, name: &str) -> ProgramIdentity {
        self.load_foreign_as(name, KernelProgramType::XDP)
    }

    /// As [`Self::load_foreign`], for a program of any type.
    pub fn load_foreign_as(&self, name: &str, program_type: KernelProgramType) -> ProgramIdentity {
        let objects = &mut self.state.borrow_mut().objects;
        let identity = ProgramIdentity {
            id: objects.new_program_id(),
            tag: tag_of(b"foreign", name),
            load_time: objects.now(),
        };
        let program = program_facts(identity, name, program_type);
        objects.programs.insert(identity.id, program);
        objects
            .held(ProcessId::FOREIGN)
            .programs
            .insert(identity.id);
        identity
    }

    /// Somebody else pins a program.
    ///
    /// # Errors
    /// When something is there, or no directory for it.
    pub fn pin_foreign(&self, program: ProgramIdentity, path: &AbsolutePath) -> Result<(), Errno> {
        let pin = Node::Program(program.id);
        self.state.borrow_mut().tree.add(path, pin)
    }
}
