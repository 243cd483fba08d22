//! Effects as data: actions, plans and what actions answer.
//!
//! A plan is a plain value, known before its first effect. It prints (`--dry-run`), it serialises (the helper
//! speaks [`KernelAction`]), and the interpreter has one `match` over it. The rejected design is a plan of
//! closures: nothing of it can be seen before it has run.

mod attach;
mod display;
mod journal;
mod kernel;
mod outcome;
mod plan;
mod reference;

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

pub use attach::AttachTarget;
pub use attach::OrderedPlace;
pub use journal::Journal;
pub use journal::Way;
pub use kernel::CreateLink;
pub use kernel::FillStructOps;
pub use kernel::FunctionInfo;
pub use kernel::GlobalValue;
pub use kernel::InstructionMap;
pub use kernel::KernelAction;
pub use kernel::LoadDispatcher;
pub use kernel::LoadObject;
pub use kernel::LoadProgram;
pub use kernel::MakeMap;
pub use kernel::MapEntries;
pub use kernel::MapPlace;
pub use kernel::MapSize;
pub use kernel::MapSource;
pub use kernel::MemberProgram;
pub use kernel::PinnedProgram;
pub use kernel::ProgramSource;
pub use kernel::ProgramToLoad;
pub use kernel::ProgramTypes;
pub use kernel::ReplacedFunction;
pub use kernel::RestoreLink;
pub use outcome::CreatedLink;
pub use outcome::InstructionReference;
pub use outcome::KeptInstructions;
pub use outcome::LoadedMap;
pub use outcome::LoadedObject;
pub use outcome::LoadedProgram;
pub use outcome::Outcome;
pub use plan::Plan;
pub use plan::Step;
pub use plan::Undo;
pub use reference::LinkName;
pub use reference::LinkReference;
pub use reference::MapReference;
pub use reference::PathTemplate;
pub use reference::ProgramReference;
pub use reference::Results;
pub use reference::UnresolvedReference;

use crate::links::AttachPoint;
use crate::managed::Dispatcher;
use crate::managed::DispatcherDraft;
use crate::managed::Link;
use crate::managed::LinkDraft;
use crate::managed::Program;
use crate::managed::ProgramDraft;
use crate::types::AbsolutePath;
use crate::types::LinkId;

/// One effect on one subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "subsystem", rename_all = "snake_case")]
pub enum Action {
    /// On the kernel or a bpffs; the helper can do it.
    Kernel(KernelAction),
    /// On ordinary files.
    Files(FileAction),
    /// On the store.
    Store(StoreAction),
}

/// An effect on ordinary files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum FileAction {
    /// Makes a directory; changes nothing when it is there.
    MakeDirectory {
        /// The directory.
        path: PathTemplate,
    },
    /// Removes a directory when it is empty; changes nothing when it is gone, or something is in it or mounted on it.
    RemoveEmptyDirectory {
        /// The directory.
        path: PathTemplate,
    },
    /// Writes the object file that the operation was given, in place of what is there.
    WriteObject {
        /// The new file.
        path: PathTemplate,
        /// Its size in bytes.
        bytes: u64,
    },
    /// Gives a file a second name, in place of what has that name.
    Link {
        /// The file.
        from: PathTemplate,
        /// Its new name.
        to: PathTemplate,
    },
    /// Writes down a loaded program's relocated instructions.
    KeepInstructions {
        /// The program.
        program: ProgramReference,
        /// The new file.
        path: PathTemplate,
    },
    /// Writes down the record of a program that this plan loads, beside its object: from it a lost database is made again.
    KeepRecord {
        /// The record, but for what the kernel will say.
        program: Box<ProgramDraft>,
        /// The new file.
        path: PathTemplate,
    },
    /// Writes down a program's record.
    SaveRecord {
        /// The record.
        program: Box<Program>,
        /// The file.
        path: AbsolutePath,
    },
    /// Removes a file; changes nothing when it is gone.
    RemoveFile {
        /// The file.
        path: PathTemplate,
    },
    /// Removes a directory and the files in it; changes nothing when it is gone.
    RemoveTree {
        /// The directory.
        path: PathTemplate,
    },
}

/// An effect on the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum StoreAction {
    /// Does several of these as a whole or not at all: the first of them may be the last that there is space for, and then
    /// its undo has none.
    #[serde(rename = "together")]
    Batch {
        /// Those.
        actions: Vec<StoreAction>,
    },
    /// Records programs that this plan loads, all or none.
    RecordPrograms {
        /// Their records, but for what the kernel will say.
        programs: Vec<ProgramDraft>,
    },
    /// Puts a record back.
    SaveProgram {
        /// The record.
        program: Box<Program>,
    },
    /// Removes a record.
    DeleteProgram {
        /// The program.
        program: ProgramReference,
    },
    /// Records a link that this plan makes.
    RecordLink {
        /// Its record, but for what the kernel will say.
        link: Box<LinkDraft>,
    },
    /// Puts a link's record back.
    SaveLink {
        /// The record.
        link: Box<Link>,
    },
    /// Removes a link's record.
    DeleteLink {
        /// The link's id.
        id: LinkId,
    },
    /// Records what runs at an attach point, in place of what ran there.
    RecordDispatcher {
        /// Its record, but for what the kernel will say.
        dispatcher: Box<DispatcherDraft>,
    },
    /// Puts the record of an attach point back.
    SaveDispatcher {
        /// The record.
        dispatcher: Box<Dispatcher>,
    },
    /// Removes the record of an attach point.
    DeleteDispatcher {
        /// The attach point.
        point: AttachPoint,
    },
}
