//! Effects on the kernel and its bpffs. With every reference resolved, these are the requests of the
//! `bpfman-kernel` protocol: one JSON object a line.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::AttachTarget;
use super::LinkName;
use super::LinkReference;
use super::MapReference;
use super::PathTemplate;
use super::ProgramReference;
use super::Results;
use super::UnresolvedReference;
use crate::kernel::ProgramIdentity;
use crate::links::InterfaceTarget;
use crate::links::TcFilter;
use crate::types::AbsolutePath;
use crate::types::Base64Bytes;
use crate::types::Family;
use crate::types::KernelLinkId;
use crate::types::KernelProgramType;
use crate::types::MapId;
use crate::types::ProgramId;

/// An effect on the kernel or on a bpffs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum KernelAction {
    /// Loads programs of one object; they share its maps. Nothing is pinned: without the steps that
    /// follow, all of it is gone when the process ends.
    LoadObject(LoadObject),
    /// Loads one program out of instructions. It is held and not pinned.
    LoadProgram(LoadProgram),
    /// Loads one of our dispatchers. It is held and not pinned.
    LoadDispatcher(LoadDispatcher),
    /// Makes a map. It is held and not pinned.
    MakeMap(MakeMap),
    /// Lets go of what this plan holds. Undoes a load: what is not pinned is gone.
    Release,
    /// Takes hold of a program at its pin, so that later steps can use it.
    HoldProgram(PinnedProgram),
    /// Takes hold of a program that has lost its pin, by its id and after checking which it is, so that later steps can
    /// pin it.
    AdoptProgram {
        /// The program that the kernel must have under this id.
        program: ProgramIdentity,
    },
    /// The same for a link.
    AdoptLink {
        /// The link.
        link: KernelLinkId,
        /// The program that it must have.
        program: ProgramId,
    },
    /// Pins a program that this plan holds.
    PinProgram {
        /// The program.
        program: ProgramReference,
        /// The new pin.
        path: PathTemplate,
    },
    /// Removes a program's pin, after checking whose it is.
    UnpinProgram {
        /// The program that must be found there.
        program: ProgramReference,
        /// The pin.
        path: PathTemplate,
    },
    /// Pins a map that this plan made or unpinned.
    PinMap {
        /// The map.
        map: MapReference,
        /// The new pin.
        path: PathTemplate,
    },
    /// Removes a map's pin, after checking whose it is.
    UnpinMap {
        /// The map that must be found there.
        map: MapReference,
        /// The pin.
        path: PathTemplate,
    },
    /// Writes an element of a pinned map.
    WriteMapElement {
        /// The map that must be found there.
        map: MapId,
        /// Its pin.
        path: AbsolutePath,
        /// The key.
        key: Base64Bytes,
        /// The value.
        value: Base64Bytes,
    },
    /// Writes the value of a pinned struct_ops map; changes nothing when it has one, which then stays.
    FillStructOps(FillStructOps),
    /// Attaches a program. The link is held and not pinned: without the step that follows, it is gone
    /// when the process ends.
    CreateLink(CreateLink),
    /// Lets go of a link that this plan made. Undoes its making.
    ReleaseLink {
        /// The link.
        link: LinkReference,
    },
    /// Pins a link that this plan made or unpinned.
    PinLink {
        /// The link.
        link: LinkReference,
        /// The new pin.
        path: AbsolutePath,
    },
    /// Removes a link's pin, after checking whose it is; the link is held and stays attached.
    UnpinLink {
        /// The link that must be found there.
        link: LinkReference,
        /// The pin.
        path: AbsolutePath,
    },
    /// Gives the pin of a link another name on its bpffs, after checking whose it is; changes nothing when nothing is
    /// there. Unlike unpinning it, another process can undo it.
    MovePin {
        /// The link that must be found there.
        link: KernelLinkId,
        /// The pin.
        from: AbsolutePath,
        /// Its new name, at which nothing is.
        to: AbsolutePath,
    },
    /// Detaches a link and removes its pin, after checking whose it is; changes nothing when it is gone.
    DetachLink {
        /// The link.
        link: KernelLinkId,
        /// Its pin; `None` when it has lost it.
        pin: Option<AbsolutePath>,
    },
    /// Waits until the kernel has no such link any more, or for a bounded time: somebody else may hold it.
    AwaitLinkGone {
        /// The link.
        link: KernelLinkId,
    },
    /// Attaches a program and pins its link, unless a link of the program is pinned there. Undoes a detach, also for a
    /// process that holds nothing; the link is another one for the kernel.
    RestoreLink(RestoreLink),
    /// Gives a pinned link another program, which takes over between two packets. The old one is held.
    UpdateLink {
        /// The link that must be found at the pin.
        link: LinkReference,
        /// Its pin.
        path: AbsolutePath,
        /// The program that the link must have now.
        from: ProgramReference,
        /// The program that it gets.
        to: ProgramSource,
    },
    /// Gives an interface the queueing discipline that holds filters; changes nothing when it has one.
    MakeClsact {
        /// The interface.
        interface: InterfaceTarget,
    },
    /// Takes the queueing discipline away, with all filters in it.
    RemoveClsact {
        /// The interface.
        interface: InterfaceTarget,
    },
    /// Attaches a program by a filter, which must not be there yet.
    AddTcFilter {
        /// The program.
        program: ProgramSource,
        /// The filter.
        filter: TcFilter,
    },
    /// Gives a filter another program, which takes over between two packets. The old one is held.
    ReplaceTcFilter {
        /// The filter.
        filter: TcFilter,
        /// The program that it must have now.
        from: ProgramReference,
        /// The program that it gets.
        to: ProgramSource,
    },
    /// Removes a filter, after checking whose it is; changes nothing when it is gone, with its interface or namespace
    /// or without.
    RemoveTcFilter {
        /// The program that must be found there.
        program: ProgramReference,
        /// The filter.
        filter: TcFilter,
    },
    /// Makes a directory on a bpffs; changes nothing when it is there.
    MakePinDirectory {
        /// The directory.
        path: PathTemplate,
    },
    /// Removes a directory of a bpffs when it is empty; changes nothing when it is not, or is gone.
    RemoveEmptyPinDirectory {
        /// The directory.
        path: PathTemplate,
    },
    /// Mounts a bpffs over a directory that is there.
    MountBpffs {
        /// The mount point.
        path: AbsolutePath,
    },
    /// Unmounts a bpffs; the directory under it stays.
    UnmountBpffs {
        /// The mount point.
        path: AbsolutePath,
    },
}

/// What to load of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadObject {
    /// The object file.
    pub object: AbsolutePath,
    /// The name that the maps of data sections carry in the kernel.
    pub object_name: String,
    /// The programs.
    pub programs: Vec<ProgramToLoad>,
    /// Global variables to set before the load.
    #[serde(default)]
    pub globals: Vec<GlobalValue>,
    /// Maps to take instead of making them.
    #[serde(default)]
    pub reuse_maps: Vec<MapSource>,
    /// The maps that are not made, because no program that is loaded uses them.
    #[serde(default)]
    pub skip_maps: Vec<String>,
    /// The symbols that no program uses which is loaded: they may be missing.
    #[serde(default)]
    pub unneeded_symbols: Vec<String>,
    /// The programs that nobody asked for: program arrays of the others hold them, and nothing else will.
    #[serde(default)]
    pub held_programs: Vec<ProgramToLoad>,
    /// The sizes that are not those of the declarations.
    #[serde(default)]
    pub map_sizes: Vec<MapSize>,
}

/// The sizes of a map that are not those of its declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSize {
    /// The map; `OUTER.inner` for those that a map of maps holds.
    pub name: String,
    /// Bytes in a key.
    #[serde(default)]
    pub key_size: Option<u32>,
    /// Bytes in a value.
    #[serde(default)]
    pub value_size: Option<u32>,
    /// How many entries it can hold.
    #[serde(default)]
    pub max_entries: Option<MapEntries>,
}

/// How many entries a map can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapEntries {
    /// So many.
    Number(u32),
    /// As many as the kernel has room for processors.
    PossibleProcessors,
}

impl MapSize {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_as_declared(&self) -> bool {
        self.key_size.is_none() && self.value_size.is_none() && self.max_entries.is_none()
    }
}

/// A program to load out of instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadProgram {
    /// How later steps call it.
    pub name: String,
    /// How the kernel names it: at most 15 bytes.
    pub kernel_name: String,
    /// What it is loaded as.
    pub kernel_type: KernelProgramType,
    /// Its expected attach type.
    pub attach_type: u32,
    /// Load flags (`BPF_F_XDP_HAS_FRAGS`).
    pub flags: u32,
    /// Its license.
    pub license: String,
    /// `struct bpf_insn` by `struct bpf_insn` (`linux/bpf.h`); where a map belongs, the number of its descriptor is 0.
    pub instructions: Base64Bytes,
    /// The maps in them.
    pub maps: Vec<InstructionMap>,
    /// The programs whose maps are meant, which keep them alive.
    pub programs: Vec<PinnedProgram>,
    /// What it says about its functions; `None` when it says nothing.
    pub types: Option<ProgramTypes>,
    /// The function of another program that it replaces, when it is an extension.
    pub replaces: Option<ReplacedFunction>,
}

/// A map in an instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionMap {
    /// The index of the instruction.
    pub instruction: u32,
    /// The map.
    pub map: MapPlace,
}

/// Where a map is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapPlace {
    /// One of the programs' uses it; it may have no pin.
    InUse(MapId),
    /// At a pin.
    Pinned(AbsolutePath),
}

/// A program at a pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedProgram {
    /// The program that must be found there.
    pub program: ProgramId,
    /// The pin.
    pub path: AbsolutePath,
}

/// Where a program's type information comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramTypes {
    /// BTF; `None` for that of the first of [`LoadProgram::programs`].
    pub btf: Option<Base64Bytes>,
    /// Its functions, in their order.
    pub functions: Vec<FunctionInfo>,
}

/// Which type a function has: `struct bpf_func_info` of `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// Its first instruction.
    pub instruction: u32,
    /// Its type in the BTF.
    pub type_id: u32,
}

/// A function that an extension replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedFunction {
    /// The program it belongs to, which this plan holds.
    pub program: ProgramReference,
    /// Its name.
    pub function: String,
}

/// A dispatcher to load (contract: section 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadDispatcher {
    /// How later steps call it.
    pub name: String,
    /// Which one.
    pub family: Family,
    /// Its configuration, as it lies in `.rodata`.
    pub config: Base64Bytes,
    /// Whether it takes packets in fragments.
    pub frags: bool,
}

/// A map to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeMap {
    /// How later steps call it.
    pub name: String,
    /// How the kernel names it: at most 15 bytes.
    pub kernel_name: String,
    /// `enum bpf_map_type` of `linux/bpf.h`.
    pub map_type: u32,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes.
    pub value_size: u32,
    /// How many elements it has.
    pub max_entries: u32,
}

/// A struct_ops map and what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillStructOps {
    /// The map that must be found at the pin.
    pub map: MapId,
    /// The map's pin.
    pub path: AbsolutePath,
    /// The value; zero where programs belong.
    pub value: Base64Bytes,
    /// What belongs there.
    pub programs: Vec<MemberProgram>,
}

/// A program in the value of a struct_ops map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberProgram {
    /// Where in the value the number of its descriptor stands: an `unsigned long`.
    pub offset: u32,
    /// The program that must be found at the pin.
    pub program: ProgramId,
    /// The program's pin.
    pub path: AbsolutePath,
}

/// A program and what to attach it to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateLink {
    /// How later steps call it.
    pub link: LinkName,
    /// The program.
    pub program: ProgramSource,
    /// To what.
    pub target: AttachTarget,
}

/// Where a program is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum ProgramSource {
    /// This plan holds it.
    Held {
        /// The program.
        program: ProgramReference,
    },
    /// It is at a pin.
    Pinned {
        /// Which program must be found there.
        program: ProgramId,
        /// The pin.
        path: AbsolutePath,
    },
}

/// One program of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramToLoad {
    /// Its function.
    pub name: String,
    /// What it is loaded as.
    pub kernel_type: KernelProgramType,
    /// Its expected attach type; `None` leaves it to the loader.
    pub attach_type: Option<u32>,
    /// Load flags (`BPF_F_SLEEPABLE`, `BPF_F_XDP_HAS_FRAGS`).
    pub flags: u32,
    /// The function or hook it binds to; `None` leaves it to the section.
    pub attach_function: Option<String>,
    /// The program that an extension replaces a function of.
    pub target_program: Option<ProgramReference>,
    /// Whether the answer holds its relocated instructions.
    pub keep_instructions: bool,
}

/// A global variable and the bytes it starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalValue {
    /// Its data section.
    pub section: String,
    /// Where in the section, in bytes.
    pub offset: u64,
    /// The bytes.
    pub value: Base64Bytes,
}

/// A map that is already there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSource {
    /// Its name in the object.
    pub name: String,
    /// Its pin.
    pub path: AbsolutePath,
}

/// The link that is to be at a pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreLink {
    /// The program.
    pub program: PinnedProgram,
    /// What it is attached to.
    pub target: AttachTarget,
    /// The pin.
    pub path: AbsolutePath,
}

impl KernelAction {
    /// This action with every reference replaced by what earlier steps answered.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when no earlier step answered it.
    pub fn resolve(&self, results: &Results) -> Result<Self, UnresolvedReference> {
        let mut action = self.clone();
        action.fill_in(results)?;
        Ok(action)
    }

    fn fill_in(&mut self, results: &Results) -> Result<(), UnresolvedReference> {
        match self {
            Self::PinProgram { program, path } | Self::UnpinProgram { program, path } => {
                fill_in_program(program, results)?;
                fill_in_path(path, results)
            }
            Self::PinMap { map, path } | Self::UnpinMap { map, path } => {
                *map = MapReference::Known(results.map(map)?);
                fill_in_path(path, results)
            }
            Self::MakePinDirectory { path } | Self::RemoveEmptyPinDirectory { path } => {
                fill_in_path(path, results)
            }
            Self::LoadObject(load) => {
                let targets = load.programs.iter_mut();
                targets
                    .filter_map(|program| program.target_program.as_mut())
                    .try_for_each(|target| fill_in_program(target, results))
            }
            Self::LoadProgram(load) => match &mut load.replaces {
                Some(slot) => fill_in_program(&mut slot.program, results),
                None => Ok(()),
            },
            Self::CreateLink(create) => {
                fill_in_source(&mut create.program, results)?;
                create.target.fill_in(results)
            }
            Self::RestoreLink(restore) => restore.target.fill_in(results),
            Self::UpdateLink { link, from, to, .. } => {
                *link = LinkReference::Known(results.link(*link)?);
                fill_in_program(from, results)?;
                fill_in_source(to, results)
            }
            Self::ReplaceTcFilter { from, to, .. } => {
                fill_in_program(from, results)?;
                fill_in_source(to, results)
            }
            Self::AddTcFilter { program, .. } => fill_in_source(program, results),
            Self::RemoveTcFilter { program, .. } => fill_in_program(program, results),
            Self::ReleaseLink { link }
            | Self::PinLink { link, .. }
            | Self::UnpinLink { link, .. } => {
                *link = LinkReference::Known(results.link(*link)?);
                Ok(())
            }
            Self::LoadDispatcher(_)
            | Self::MakeMap(_)
            | Self::HoldProgram(_)
            | Self::AdoptProgram { .. }
            | Self::AdoptLink { .. }
            | Self::MovePin { .. }
            | Self::DetachLink { .. }
            | Self::AwaitLinkGone { .. }
            | Self::WriteMapElement { .. }
            | Self::FillStructOps(_)
            | Self::MakeClsact { .. }
            | Self::RemoveClsact { .. }
            | Self::Release
            | Self::MountBpffs { .. }
            | Self::UnmountBpffs { .. } => Ok(()),
        }
    }
}

pub(super) fn fill_in_program(
    program: &mut ProgramReference,
    results: &Results,
) -> Result<(), UnresolvedReference> {
    *program = ProgramReference::Known(results.program(program)?);
    Ok(())
}

fn fill_in_path(path: &mut PathTemplate, results: &Results) -> Result<(), UnresolvedReference> {
    *path = PathTemplate::from(results.path(path)?);
    Ok(())
}

fn fill_in_source(
    source: &mut ProgramSource,
    results: &Results,
) -> Result<(), UnresolvedReference> {
    match source {
        ProgramSource::Held { program } => fill_in_program(program, results),
        ProgramSource::Pinned { .. } => Ok(()),
    }
}
