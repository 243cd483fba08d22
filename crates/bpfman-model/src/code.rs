//! What programs of this world do: made up, but enough of it for chains to be compiled and followed.

use bpfman_core::action::FunctionInfo;
use bpfman_core::action::InstructionReference;
use bpfman_core::action::KeptInstructions;
use bpfman_core::action::LoadedMap;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::dispatcher::DispatcherConfig;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::Family;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::ProgramId;

/// `BPF_XDP` of `enum bpf_attach_type`: what an object's XDP program expects unless it says otherwise.
pub(crate) const XDP_ATTACH_TYPE: u32 = 37;
/// The upper byte of a constant that says whose verdict follows; the rest of it is the program's id.
const MARK: u32 = 0x4d00_0000;
const MARKED: u32 = 0x00ff_ffff;

/// What a program does.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    /// Its expected attach type.
    pub(crate) attach_type: u32,
    pub(crate) body: Body,
}

/// How a program comes to its verdict.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// It is a program of an object.
    Own,
    /// It was loaded out of these instructions.
    Instructions(Vec<u8>),
    /// It is a dispatcher.
    Dispatcher(Family, DispatcherConfig),
}

impl Code {
    /// That of an object's program.
    pub(crate) fn of_object(wanted: &ProgramToLoad, kernel_type: KernelProgramType) -> Self {
        let usual = match kernel_type {
            KernelProgramType::XDP => XDP_ATTACH_TYPE,
            _ => 0,
        };
        Self {
            attach_type: wanted.attach_type.unwrap_or(usual),
            body: Body::Own,
        }
    }

    /// What is kept of it: it loads its maps and answers what only the test knows.
    pub(crate) fn kept(
        &self,
        wanted: &ProgramToLoad,
        id: ProgramId,
        maps: &[LoadedMap],
    ) -> KeptInstructions {
        let mut instructions = Vec::new();
        let mut references = Vec::new();
        for (number, map) in (0_u32..).zip(maps) {
            references.push(InstructionReference {
                instruction: number * 2,
                map: map.name.clone(),
            });
            instructions.extend(instruction(LOAD_MAP, MAP_INTO_R2, 0));
            instructions.extend(instruction(0, 0, 0));
        }
        instructions.extend(instruction(SET, 0, (MARK | id.0 & MARKED).cast_signed()));
        instructions.extend(instruction(EXIT, 0, 0));
        KeptInstructions {
            version: KeptInstructions::VERSION,
            program: wanted.name.clone(),
            instructions: Base64Bytes(instructions),
            references,
            attach_type: self.attach_type,
            flags: wanted.flags,
            stack_depths: vec![0],
            functions: vec![FunctionInfo {
                instruction: 0,
                type_id: 1,
            }],
        }
    }
}

/// The opcodes of [`Code::kept`] and of chains, as `linux/bpf.h` has them: `dst = imm`, `ld_imm64` and `exit`.
pub(crate) const SET: u8 = 0xb7;
pub(crate) const LOAD_MAP: u8 = 0x18;
pub(crate) const EXIT: u8 = 0x95;
/// The registers of a load of a map into `r2`, whose source says that it is a map's.
const MAP_INTO_R2: u8 = if cfg!(target_endian = "little") {
    0x12
} else {
    0x21
};

fn instruction(opcode: u8, registers: u8, constant: i32) -> [u8; 8] {
    let [a, b, c, d] = constant.to_ne_bytes();
    [opcode, registers, 0, 0, a, b, c, d]
}

/// The program whose verdict a constant stands for.
pub(crate) fn marked(constant: i32) -> Option<ProgramId> {
    let constant = constant.cast_unsigned();
    let is_mark = constant & !MARKED == MARK;
    is_mark.then_some(ProgramId(constant & MARKED))
}
