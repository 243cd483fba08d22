//! What a user asks for. Parsed once, at the edge.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::types::AbsolutePath;
use crate::types::Engine;
use crate::types::ProgramId;
use crate::types::ProgramType;
use crate::types::TypedPath;

/// The metadata key of `-a APP` (contract: section 1).
pub const METADATA_APPLICATION: &str = "bpfman.io/application";
/// The most programs one load call takes.
pub const MAX_PROGRAMS_PER_LOAD: usize = 256;
/// The most metadata entries one program takes.
pub const MAX_METADATA_ENTRIES: usize = 256;

/// One load call: some programs of one object, which share its maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSpec {
    /// The object file.
    pub source: ObjectSource,
    /// The programs, at least one.
    pub programs: Vec<ProgramRequest>,
    /// Global variables to set, by name.
    pub global_data: BTreeMap<String, Vec<u8>>,
    /// How many entries maps get that their declarations leave to the loader, by name.
    pub map_sizes: BTreeMap<String, u32>,
    /// Metadata of every program of the call.
    pub metadata: BTreeMap<String, String>,
    /// The managed program whose maps are taken.
    pub map_owner_id: Option<ProgramId>,
    /// Whether it takes that program's place, and with it how that came to its maps: as their owner, or from another.
    pub replaces_owner: bool,
    /// The maps of it that do not fit and are made anew, in a map set of the load's own.
    pub other_maps: Vec<String>,
    /// How XDP and TC programs of it share an attach point.
    pub engine: Engine,
    /// Whether this call names the engine, and not only what holds for all.
    pub engine_asked: bool,
    /// Where to pin the (only) program, instead of on our own bpffs.
    pub pin_path: Option<AbsolutePath>,
}

/// Where an object file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSource {
    /// The file.
    pub path: AbsolutePath,
    /// The same as the user typed it.
    pub typed: TypedPath,
}

impl From<AbsolutePath> for ObjectSource {
    fn from(path: AbsolutePath) -> Self {
        Self {
            typed: TypedPath::from(&path),
            path,
        }
    }
}

/// One program of a load call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRequest {
    /// The function in the object.
    pub name: String,
    /// The declared type; by default the section says.
    pub program_type: Option<ProgramType>,
    /// The declared attach function.
    pub attach_function: Option<String>,
}
