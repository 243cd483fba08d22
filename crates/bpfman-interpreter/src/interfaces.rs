//! What the rooms above need of the world: small traits, declared here for their consumers, satisfied by the
//! adapters of this crate and by the simulated ones of `bpfman-model`.

use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use bpfman_core::action::Journal;
use bpfman_core::action::KeptInstructions;
use bpfman_core::action::KernelAction;
use bpfman_core::action::Outcome;
use bpfman_core::compute::Room;
use bpfman_core::kernel;
use bpfman_core::kernel::AttachOrder;
use bpfman_core::kernel::BpffsMount;
use bpfman_core::kernel::Counter;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::PinState;
use bpfman_core::kernel::ProgramHook;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;

use crate::store::StoreError;

/// Looks one program up.
pub trait ProgramReader {
    /// The record of a program.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none; others when the store cannot be read.
    fn get(&self, id: ProgramId) -> Result<Program, StoreError>;

    /// The other programs that share a map set or a map with `program`, in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn sharing(&self, program: &Program) -> Result<Vec<Program>, StoreError>;
}

/// Lists the programs.
pub trait ProgramLister {
    /// All records in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(&self) -> Result<Vec<Program>, StoreError>;
}

/// Changes the records. Each call happens as a whole or not at all.
pub trait ProgramWriter {
    /// Records programs; a record with the same id is replaced, for the kernel has given its id away.
    ///
    /// # Errors
    /// When the store cannot be written; nothing was changed then.
    fn save(&mut self, programs: &[Program]) -> Result<(), StoreError>;

    /// Removes a record, and the maps that no other record uses.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none; others when the store cannot be written.
    fn delete(&mut self, id: ProgramId) -> Result<(), StoreError>;
}

/// Looks links up.
pub trait LinkReader {
    /// The record of a link.
    ///
    /// # Errors
    /// [`StoreError::LinkNotFound`] when there is none; others when the store cannot be read.
    fn link(&self, id: LinkId) -> Result<Link, StoreError>;

    /// The links of a program, in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn links_of(&self, program: ProgramId) -> Result<Vec<Link>, StoreError>;

    /// The links at an attach point, in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn links_at(&self, point: &AttachPoint) -> Result<Vec<Link>, StoreError>;

    /// The id of the next new link: larger than that of every link there ever was.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn next_link(&self) -> Result<LinkId, StoreError>;
}

/// Lists the links.
pub trait LinkLister {
    /// All records in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn links(&self) -> Result<Vec<Link>, StoreError>;
}

/// Changes the records of links. Each call happens as a whole or not at all.
pub trait LinkWriter {
    /// Records a link; a record with the same id is replaced.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when its program has no record; others when the store cannot be written.
    fn save_link(&mut self, link: &Link) -> Result<(), StoreError>;

    /// Removes a record.
    ///
    /// # Errors
    /// [`StoreError::LinkNotFound`] when there is none; others when the store cannot be written.
    fn delete_link(&mut self, id: LinkId) -> Result<(), StoreError>;
}

/// Looks up what runs at the attach points that several programs share.
pub trait DispatcherReader {
    /// The record of an attach point; `None` when nothing of ours is there.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn dispatcher(&self, point: &AttachPoint) -> Result<Option<Dispatcher>, StoreError>;

    /// All records in the order of their attach points.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn dispatchers(&self) -> Result<Vec<Dispatcher>, StoreError>;
}

/// Changes the records of attach points. Each call happens as a whole or not at all.
pub trait DispatcherWriter {
    /// Records an attach point; a record of the same point is replaced.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn save_dispatcher(&mut self, dispatcher: &Dispatcher) -> Result<(), StoreError>;

    /// Removes a record.
    ///
    /// # Errors
    /// [`StoreError::DispatcherNotFound`] when there is none; others when the store cannot be written.
    fn delete_dispatcher(&mut self, point: &AttachPoint) -> Result<(), StoreError>;
}

/// Looks up what an operation has begun and not ended.
pub trait JournalReader {
    /// The operation under way; of one that was killed, what is to be done about it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn journal(&self) -> Result<Option<Journal>, StoreError>;

    /// The operations that were brought to their end after they had been killed, the newest first: the last
    /// [`MAX_RECOVERIES`] of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn recoveries(&self) -> Result<Vec<Recovery>, StoreError>;
}

/// How many recoveries a store remembers.
pub const MAX_RECOVERIES: u32 = 16;

/// Changes the journal. Each call happens as a whole or not at all.
pub trait JournalWriter {
    /// Writes the operation under way down, in place of what was written; `None` when it has ended.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn save_journal(&mut self, journal: Option<&Journal>) -> Result<(), StoreError>;

    /// Ends the operation under way as one that was recovered.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn save_recovery(&mut self, recovery: &Recovery) -> Result<(), StoreError>;
}

/// One change of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChange {
    /// See [`ProgramWriter::save`].
    SavePrograms(Vec<Program>),
    /// See [`ProgramWriter::delete`].
    DeleteProgram(ProgramId),
    /// See [`LinkWriter::save_link`].
    SaveLink(Link),
    /// See [`LinkWriter::delete_link`].
    DeleteLink(LinkId),
    /// See [`DispatcherWriter::save_dispatcher`].
    SaveDispatcher(Dispatcher),
    /// See [`DispatcherWriter::delete_dispatcher`].
    DeleteDispatcher(AttachPoint),
    /// See [`JournalWriter::save_journal`].
    SaveJournal(Option<Box<Journal>>),
}

impl StoreChange {
    /// Makes the change, by itself.
    ///
    /// # Errors
    /// As the method it stands for.
    pub fn apply<S>(&self, store: &mut S) -> Result<(), StoreError>
    where
        S: ProgramWriter + LinkWriter + DispatcherWriter + JournalWriter + ?Sized,
    {
        match self {
            Self::SavePrograms(programs) => store.save(programs),
            Self::DeleteProgram(id) => store.delete(*id),
            Self::SaveLink(link) => store.save_link(link),
            Self::DeleteLink(id) => store.delete_link(*id),
            Self::SaveDispatcher(dispatcher) => store.save_dispatcher(dispatcher),
            Self::DeleteDispatcher(point) => store.delete_dispatcher(point),
            Self::SaveJournal(journal) => store.save_journal(journal.as_deref()),
        }
    }
}

/// What a plan changes of a store.
pub trait StoreWriter: ProgramWriter + LinkWriter + DispatcherWriter + JournalWriter {
    /// Makes several changes in their order, as a whole or not at all.
    ///
    /// # Errors
    /// That of the first change that cannot be made; nothing was changed then.
    fn batch(&mut self, changes: &[StoreChange]) -> Result<(), StoreError>;
}

/// Enumerates the kernel's programs and links.
pub trait KernelSource {
    /// Every program in the kernel, in the order of ids. An item that is an error is an error, never the end
    /// of the list; after one no further item follows, except where the kernel can be asked to go on.
    fn programs(&mut self) -> Box<dyn Iterator<Item = Result<kernel::Program, KernelError>> + '_>;

    /// Every link in the kernel, in the order of ids.
    ///
    /// # Errors
    /// When they cannot be listed whole.
    fn links(&mut self) -> Result<Vec<kernel::Link>, KernelError>;
}

/// How much to ask about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// What `bpf_*_info` says: one call an object.
    Info,
    /// Also what only `/proc/self/fdinfo` says.
    Full,
}

/// After this time a program that nobody holds is gone: some grace periods of RCU.
const LASTING: Duration = Duration::from_millis(200);

/// How many pins are looked at.
pub const MAX_PINS: usize = 1 << 20;

/// Looks single objects of the kernel up.
pub trait KernelReader {
    /// What is at a path.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn pin_state(&mut self, path: &AbsolutePath, detail: Detail) -> Result<PinState, KernelError>;

    /// A program by id; `None` when the kernel has none.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn program(
        &mut self,
        id: ProgramId,
        detail: Detail,
    ) -> Result<Option<kernel::Program>, KernelError>;

    /// A program by id that stays: `None` also for one that the kernel is about to free. It frees a program, and its
    /// id, a moment after its last pin or link went.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn lasting_program(&mut self, id: ProgramId) -> Result<Option<kernel::Program>, KernelError> {
        let start = Instant::now();
        loop {
            match self.program(id, Detail::Info)? {
                Some(_) if start.elapsed() < LASTING => std::thread::sleep(LASTING / 10),
                found => return Ok(found),
            }
        }
    }

    /// A map by id; `None` when the kernel has none.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn map(&mut self, id: MapId) -> Result<Option<kernel::Map>, KernelError>;

    /// The BTF of this id; `None` when the kernel has none.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn types(&mut self, btf_id: u32) -> Result<Option<Vec<u8>>, KernelError>;

    /// A link by id; `None` when the kernel has none.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn link(&mut self, id: KernelLinkId) -> Result<Option<kernel::Link>, KernelError>;

    /// What is attached to these programs themselves, in the order of the links.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn program_hooks(&mut self, programs: &[ProgramId]) -> Result<Vec<ProgramHook>, KernelError>;

    /// The programs that are attached to a cgroup itself, by a link or without one.
    ///
    /// # Errors
    /// [`bpfman_core::kernel::KernelErrorKind::NotFound`] when there is no such cgroup,
    /// [`bpfman_core::kernel::KernelErrorKind::Unsupported`] when the kernel does not know the attach type; others when it
    /// does not let us look.
    fn cgroup_programs(
        &mut self,
        cgroup: &AbsolutePath,
        attach_type: u32,
    ) -> Result<Vec<ProgramId>, KernelError>;

    /// What is attached at a hook, in its order. For the hooks that keep no order: at most one program.
    ///
    /// # Errors
    /// [`bpfman_core::kernel::KernelErrorKind::Unsupported`] when the kernel has no such hook; others when it does
    /// not let us look.
    fn attached(
        &mut self,
        interface: &InterfaceTarget,
        hook: Hook,
    ) -> Result<AttachOrder, KernelError>;

    /// The program of a filter; `None` when the filter is gone, with its interface or namespace or without.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn tc_filter(&mut self, filter: &TcFilter) -> Result<Option<ProgramId>, KernelError>;

    /// What a pinned counter has counted on all processors; `None` when nothing is pinned there.
    ///
    /// # Errors
    /// [`bpfman_core::kernel::KernelErrorKind::NotOurs`] when something else is pinned there; others when the kernel
    /// does not let us look.
    fn counter(&mut self, path: &AbsolutePath) -> Result<Option<Counter>, KernelError>;

    /// Waits until the kernel has none of these links any more, or for a bounded time; answers which are left.
    ///
    /// # Errors
    /// When the kernel does not let us look.
    fn await_links_gone(
        &mut self,
        links: &[KernelLinkId],
    ) -> Result<Vec<KernelLinkId>, KernelError>;

    /// Every pin below a directory of a bpffs, in the order of their paths; none where no bpffs is.
    ///
    /// # Errors
    /// When one cannot be looked at, or there are more than [`MAX_PINS`]: a part of them is not an answer.
    fn pins_below(
        &mut self,
        path: &AbsolutePath,
    ) -> Result<Vec<(AbsolutePath, PinState)>, KernelError>;

    /// Whether a bpffs is mounted at exactly this directory.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    fn is_bpffs_root(&mut self, path: &AbsolutePath) -> Result<bool, KernelError>;

    /// What there is of a bpffs at exactly this directory, and whether a mount would last.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    fn bpffs_mount(&mut self, path: &AbsolutePath) -> Result<BpffsMount, KernelError>;
}

/// Carries kernel actions out. It holds what a plan loaded or unpinned until [`Self::finish`], so that later
/// steps and undos can pin it.
pub trait KernelExecutor {
    /// Carries one action out; every reference in it is known.
    ///
    /// # Errors
    /// A [`KernelError`]; the action has then changed nothing.
    fn execute(&mut self, action: &KernelAction) -> Result<Outcome, KernelError>;

    /// Lets go of everything held.
    fn finish(&mut self);

    /// What works in another process holds this lock, too, from its start to its end; it ends before it holds another
    /// one or none.
    fn hold_lock(&mut self, lock: Option<OwnedFd>) {
        drop(lock);
    }
}

/// All of it.
pub trait Kernel: KernelSource + KernelReader + KernelExecutor {}

impl<T: KernelSource + KernelReader + KernelExecutor> Kernel for T {}

/// Why a file action failed.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct FileError {
    /// The file.
    pub path: AbsolutePath,
    /// What the system said.
    pub source: std::io::Error,
}

/// Carries file actions out. Each method says whether it changed anything.
pub trait Files {
    /// Makes a directory (mode 0700); false when it is there.
    ///
    /// # Errors
    /// A [`FileError`]; nothing was changed.
    fn make_directory(&mut self, path: &AbsolutePath) -> Result<bool, FileError>;
    /// Removes an empty directory; false when it is gone, or something is in it or mounted on it.
    ///
    /// # Errors
    /// A [`FileError`]; nothing was changed.
    fn remove_empty_directory(&mut self, path: &AbsolutePath) -> Result<bool, FileError>;
    /// Writes a file (mode 0600) in place of what is there, as a whole or not at all.
    ///
    /// # Errors
    /// A [`FileError`]; nothing is left of the new file.
    fn write(&mut self, path: &AbsolutePath, bytes: &[u8]) -> Result<(), FileError>;
    /// Gives a file a second name, in place of what has that name.
    ///
    /// # Errors
    /// A [`FileError`].
    fn link(&mut self, from: &AbsolutePath, to: &AbsolutePath) -> Result<(), FileError>;
    /// Writes a program's instructions down.
    ///
    /// # Errors
    /// A [`FileError`]; nothing is left of the new file.
    fn write_instructions(
        &mut self,
        path: &AbsolutePath,
        kept: &KeptInstructions,
    ) -> Result<(), FileError>;
    /// Writes a program's record down.
    ///
    /// # Errors
    /// A [`FileError`]; nothing is left of the new file.
    fn write_record(&mut self, path: &AbsolutePath, program: &Program) -> Result<(), FileError>;
    /// Removes a file; false when it is gone.
    ///
    /// # Errors
    /// A [`FileError`].
    fn remove_file(&mut self, path: &AbsolutePath) -> Result<bool, FileError>;
    /// Removes a directory with its files; false when it is gone.
    ///
    /// # Errors
    /// A [`FileError`]; some files may be gone.
    fn remove_tree(&mut self, path: &AbsolutePath) -> Result<bool, FileError>;
    /// Whether something is at the path.
    fn exists(&self, path: &AbsolutePath) -> bool;
    /// What room there is for files in a directory; `None` when it is gone.
    ///
    /// # Errors
    /// A [`FileError`].
    fn room(&self, path: &AbsolutePath) -> Result<Option<Room>, FileError>;
    /// What lies in a directory, in order; nothing when it is gone.
    ///
    /// # Errors
    /// A [`FileError`] when it cannot be read whole.
    fn list(&self, path: &AbsolutePath) -> Result<Vec<AbsolutePath>, FileError>;
}
