//! Effects on the kernel and its bpffs. With every reference resolved, these are the requests of the
//! `bpfman-kernel` protocol: one JSON object a line.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::AttachTarget;
use super::InterfaceTarget;
use super::LinkReference;
use super::MapReference;
use super::PathTemplate;
use super::ProgramReference;
use super::Results;
use super::TcFilter;
use super::UnresolvedReference;
use crate::types::AbsolutePath;
use crate::types::Base64Bytes;
use crate::types::KernelLinkId;
use crate::types::KernelProgramType;
use crate::types::LinkId;
use crate::types::MapId;
use crate::types::ProgramId;

/// An effect on the kernel or on a bpffs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum KernelAction {
    /// Loads programs of one object; they share its maps. Nothing is pinned: without the steps that
    /// follow, all of it is gone when the process ends.
    LoadObject(LoadObject),
    /// Lets go of what this plan holds. Undoes a load: what is not pinned is gone.
    Release,
    /// Pins a program that this plan loaded or unpinned.
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
    /// Detaches a link and removes its pin, after checking whose it is; changes nothing when it is gone.
    DetachLink {
        /// The link.
        link: KernelLinkId,
        /// Its pin; `None` when it has lost it.
        pin: Option<AbsolutePath>,
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
    /// Removes a filter, after checking whose it is; changes nothing when it is gone, with its interface or namespace
    /// or without.
    RemoveTcFilter {
        /// The program that must be found there.
        program: ProgramId,
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
    /// The struct_ops maps that are not made, because no program of theirs is loaded.
    #[serde(default)]
    pub skip_maps: Vec<String>,
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
    /// Our id of the new link.
    pub link: LinkId,
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
    pub target_program: Option<ProgramId>,
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

impl KernelAction {
    /// This action with every reference replaced by what earlier steps answered.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when no earlier step answered it.
    pub fn resolve(&self, results: &Results) -> Result<Self, UnresolvedReference> {
        let program = |program| Ok(ProgramReference::Known(results.program(program)?));
        let map = |map| Ok(MapReference::Known(results.map(map)?));
        let path = |path| Ok(PathTemplate::from(results.path(path)?));
        let known_link = |link| Ok(LinkReference::Known(results.link(link)?));
        Ok(match self {
            Self::PinProgram {
                program: p,
                path: t,
            } => Self::PinProgram {
                program: program(p)?,
                path: path(t)?,
            },
            Self::UnpinProgram {
                program: p,
                path: t,
            } => Self::UnpinProgram {
                program: program(p)?,
                path: path(t)?,
            },
            Self::PinMap { map: m, path: t } => Self::PinMap {
                map: map(m)?,
                path: path(t)?,
            },
            Self::UnpinMap { map: m, path: t } => Self::UnpinMap {
                map: map(m)?,
                path: path(t)?,
            },
            Self::MakePinDirectory { path: t } => Self::MakePinDirectory { path: path(t)? },
            Self::RemoveEmptyPinDirectory { path: t } => {
                Self::RemoveEmptyPinDirectory { path: path(t)? }
            }
            Self::CreateLink(create) => Self::CreateLink(CreateLink {
                program: create.program.resolve(results)?,
                ..create.clone()
            }),
            Self::AddTcFilter { program, filter } => Self::AddTcFilter {
                program: program.resolve(results)?,
                filter: filter.clone(),
            },
            Self::ReleaseLink { link } => Self::ReleaseLink {
                link: known_link(*link)?,
            },
            Self::PinLink { link, path } => Self::PinLink {
                link: known_link(*link)?,
                path: path.clone(),
            },
            Self::UnpinLink { link, path } => Self::UnpinLink {
                link: known_link(*link)?,
                path: path.clone(),
            },
            Self::LoadObject(_)
            | Self::DetachLink { .. }
            | Self::WriteMapElement { .. }
            | Self::FillStructOps(_)
            | Self::MakeClsact { .. }
            | Self::RemoveClsact { .. }
            | Self::RemoveTcFilter { .. }
            | Self::Release
            | Self::MountBpffs { .. }
            | Self::UnmountBpffs { .. } => self.clone(),
        })
    }
}

impl ProgramSource {
    fn resolve(&self, results: &Results) -> Result<Self, UnresolvedReference> {
        Ok(match self {
            Self::Held { program } => Self::Held {
                program: ProgramReference::Known(results.program(program)?),
            },
            Self::Pinned { .. } => self.clone(),
        })
    }
}
