//! What an object file says about itself: a pure reading of its bytes.
//!
//! libbpf reads the object again when it loads it. We read it first because a plan is whole before its
//! first effect: the names, types, globals and maps have to be known to check a request and to print a
//! dry run, also where the kernel is reached through the helper.

mod btf;
mod btf_copy;
mod elf;
mod error;
mod externs;
mod image;
mod legacy;
mod legacy_btf;
mod names;
mod parts;
mod prune;
mod references;
mod rewrite;
mod struct_ops;
mod struct_ops_value;
#[cfg(test)]
mod testing;

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

pub(crate) use btf_copy::BtfWriter;
pub(crate) use btf_copy::FunctionSource;

pub use btf::CONFIGURATION;
pub use btf::function_names;
pub use elf::inspect;
pub use error::LegacyProblem;
pub use error::ObjectError;
pub use externs::ConfigurationKind;
pub use externs::Extern;
pub use externs::ExternKind;
pub use legacy::with_btf_maps;
pub use prune::PrunedObject;
pub use prune::prune;
pub use references::Function;
pub use references::Map;
pub use references::Reach;
pub use references::References;
pub use struct_ops_value::MAX_STRUCT_OPS_BYTES;
pub use struct_ops_value::StructOpsError;
pub use struct_ops_value::StructOpsMember;
pub use struct_ops_value::StructOpsValue;
pub use struct_ops_value::struct_ops_value;

use crate::kernel::MapShape;

/// The most symbols, sections, programs or maps of one object that we look at.
pub const MAX_OBJECT_ITEMS: usize = 65_536;
/// The most maps of one object that are written anew, and the most sections with them; the verifier takes 64 maps in
/// one program.
pub const MAX_LEGACY_MAPS: usize = 1024;
/// The longest definition, in bytes; the longest in use is that of gobpf, with 280.
pub const MAX_LEGACY_MAP_BYTES: usize = 1024;

/// The facts of one object file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFacts {
    /// The text of the `license` section, without its NUL.
    pub license: Option<String>,
    /// Its entry programs, in the order of the symbol table.
    pub programs: Vec<ObjectProgram>,
    /// Its maps in `.maps` and `.struct_ops*`; not the maps that libbpf makes of data sections.
    pub maps: Vec<ObjectMap>,
    /// Its global variables.
    pub globals: Vec<GlobalVariable>,
    /// The data sections that libbpf turns into maps (`.rodata`, `.data`, `.bss` and `.data.NAME` kinds)
    /// and that hold something, in the order of the object.
    pub data_sections: Vec<String>,
    /// What its functions refer to.
    #[serde(default)]
    pub references: References,
}

/// One entry program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectProgram {
    /// The name of its function.
    pub name: String,
    /// The section it is in.
    pub section: String,
}

/// One map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectMap {
    /// Its name.
    pub name: String,
    /// What kind of declaration it is.
    pub kind: ObjectMapKind,
    /// What it is declared to be; for a struct_ops map only the load tells.
    pub shape: Option<MapShape>,
    /// What the maps in it are declared to be, when it is a map of maps.
    pub inner: Option<MapShape>,
}

/// How a map is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectMapKind {
    /// In `.maps`.
    Plain,
    /// In `.maps`, with `LIBBPF_PIN_BY_NAME`.
    PinnedByName,
    /// In a `.struct_ops*` section, with the programs that its members point to.
    StructOps {
        /// The names of those programs.
        programs: Vec<String>,
    },
}

/// One global variable that a load can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalVariable {
    /// Its name.
    pub name: String,
    /// The data section it is in.
    pub section: String,
    /// Where in the section it starts, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
}
