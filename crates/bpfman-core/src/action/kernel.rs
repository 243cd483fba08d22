//! Effects on the kernel and its bpffs. With every reference resolved, these are the requests of the
//! `bpfman-kernel` protocol: one JSON object a line.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::MapReference;
use super::PathTemplate;
use super::ProgramReference;
use super::Results;
use super::UnresolvedReference;
use crate::types::AbsolutePath;
use crate::types::Base64Bytes;
use crate::types::KernelProgramType;
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
            Self::LoadObject(_)
            | Self::Release
            | Self::MountBpffs { .. }
            | Self::UnmountBpffs { .. } => self.clone(),
        })
    }
}
