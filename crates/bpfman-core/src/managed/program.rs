//! The record of one managed program.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use crate::kernel::PinState;
use crate::kernel::ProgramIdentity;
use crate::types::AbsolutePath;
use crate::types::Base64Bytes;
use crate::types::Engine;
use crate::types::MapId;
use crate::types::ProgramId;
use crate::types::ProgramType;
use crate::types::TypedPath;
use crate::types::UnixTime;

/// One program that we loaded and keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Which program of the kernel it is; together with [`Self::pin_path`] this is its identity.
    pub identity: ProgramIdentity,
    /// How it was loaded.
    pub load: LoadRecord,
    /// The license of its object.
    pub license: Option<String>,
    /// Whether the kernel takes that license for GPL compatible.
    pub gpl_compatible: bool,
    /// Its pin.
    pub pin_path: AbsolutePath,
    /// The directory of its map set, which exists while the set has a pinned map.
    pub map_directory: AbsolutePath,
    /// The program whose id names the map set, when that is another one.
    pub map_owner: Option<ProgramId>,
    /// The user's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The maps it was loaded with, in the order of the object.
    pub maps: Vec<ManagedMap>,
    /// When it was recorded.
    pub created_at: UnixTime,
    /// When the record last changed.
    pub updated_at: Option<UnixTime>,
}

/// What a load was asked for and what it kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Our copy of the object file.
    pub object_path: AbsolutePath,
    /// Where the user had it, as it was typed.
    pub source_path: Option<TypedPath>,
    /// The function in the object.
    pub program_name: String,
    /// The type it was loaded as.
    pub program_type: ProgramType,
    /// The global variables that were set, by name.
    pub global_data: BTreeMap<String, Base64Bytes>,
    /// How many entries its maps were given, by name.
    #[serde(default)]
    pub map_sizes: BTreeMap<String, u32>,
    /// How it shares an attach point with others.
    pub engine: Engine,
    /// The function or hook it is bound to, for the types that bind at load.
    pub attach_function: Option<String>,
    /// The program whose maps it was asked to take.
    pub map_owner_id: Option<ProgramId>,
}

/// One map of a managed program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedMap {
    /// Its id in this kernel.
    pub id: MapId,
    /// Its name in the object.
    pub name: String,
    /// Its pin; `None` for the maps of data sections, which live as long as their programs.
    pub pin_path: Option<AbsolutePath>,
}

impl Program {
    /// Its id in this kernel.
    #[must_use]
    pub fn id(&self) -> ProgramId {
        self.identity.id
    }

    /// The name of the file beside the object that keeps the relocated instructions.
    pub const INSTRUCTIONS_FILE: &str = "instructions.json";
    /// The name of the file beside the object that keeps the record.
    pub const RECORD_FILE: &str = "record.json";

    /// Whether a pin holds it: id, tag and load time must agree.
    #[must_use]
    pub fn is_at(&self, pin: &PinState) -> bool {
        matches!(pin, PinState::Program(found) if found.identity == self.identity)
    }

    /// The file beside the object that keeps its relocated instructions.
    #[must_use]
    pub fn instructions_path(&self) -> AbsolutePath {
        self.beside_object(Self::INSTRUCTIONS_FILE)
    }

    /// The file beside the object that keeps this record.
    #[must_use]
    pub fn record_path(&self) -> AbsolutePath {
        self.beside_object(Self::RECORD_FILE)
    }

    fn beside_object(&self, name: &str) -> AbsolutePath {
        let object = &self.load.object_path;
        let directory = object.parent();
        directory.unwrap_or_else(|| object.clone()).join(name)
    }

    /// The program whose id names the map set: its own, unless it took or shares another's.
    #[must_use]
    pub fn map_set(&self) -> ProgramId {
        self.map_owner.unwrap_or(self.identity.id)
    }
}
