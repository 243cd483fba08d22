//! What actions answer.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::FunctionInfo;
use super::LinkName;
use crate::kernel::ProgramIdentity;
use crate::types::Base64Bytes;
use crate::types::KernelLinkId;
use crate::types::MapId;

/// What one action did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It changed what it says.
    Done,
    /// The world was already so: there is nothing to undo.
    Unchanged,
    /// It loaded programs.
    Loaded(LoadedObject),
    /// It made a link.
    Linked(CreatedLink),
    /// It let go of a link that cannot be detached: it ends when nobody else holds it.
    LetGo {
        /// The link.
        link: KernelLinkId,
    },
}

/// What a load made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedObject {
    /// The programs, in the order asked for.
    pub programs: Vec<LoadedProgram>,
    /// All maps of the object, in its order.
    pub maps: Vec<LoadedMap>,
}

/// A link that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedLink {
    /// What the plan calls it.
    pub link: LinkName,
    /// Its id in the kernel.
    pub id: KernelLinkId,
}

/// One loaded program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedProgram {
    /// Its function in the object.
    pub name: String,
    /// Its identity in the kernel.
    #[serde(flatten)]
    pub identity: ProgramIdentity,
    /// Its relocated instructions, where asked for.
    pub instructions: Option<KeptInstructions>,
}

/// One map of a loaded object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedMap {
    /// Its name in the object; for the map of a data section, the section's.
    pub name: String,
    /// Its id.
    pub id: MapId,
}

/// A program's instructions as libbpf left them after relocation, with its maps by name, so that a later
/// process can build a program from them once it has opened the maps again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptInstructions {
    /// The version of this record: [`KeptInstructions::VERSION`].
    pub version: u32,
    /// The program's function.
    pub program: String,
    /// `struct bpf_insn` by `struct bpf_insn` (`linux/bpf.h`), 8 bytes each, in this machine's byte order.
    pub instructions: Base64Bytes,
    /// Which instructions load a map; their `imm` is 0.
    pub references: Vec<InstructionReference>,
    /// Its expected attach type.
    pub attach_type: u32,
    /// Its load flags.
    pub flags: u32,
    /// How many bytes of stack each function uses, as the verifier says; the program's own comes first, then those
    /// behind it. Empty when the verifier did not say.
    pub stack_depths: Vec<u32>,
    /// The types of its functions in its BTF; empty when it has none.
    pub functions: Vec<FunctionInfo>,
}

impl KeptInstructions {
    /// The version that this code writes.
    pub const VERSION: u32 = 2;
}

/// An instruction that loads the address of a map or of a value in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionReference {
    /// The index of the instruction.
    pub instruction: u32,
    /// The name of the map in the object.
    pub map: String,
}
