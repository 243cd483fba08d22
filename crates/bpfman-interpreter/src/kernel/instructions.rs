//! What a program's instructions say by themselves: pure functions.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;

use bpfman_core::action::InstructionReference;

use super::sys::INSTRUCTION_BYTES;

/// `BPF_PSEUDO_MAP_FD` and `BPF_PSEUDO_MAP_VALUE` of `linux/bpf.h`: an `ld_imm64` that loads a map.
const MAP_REFERENCES: [u8; 2] = [1, 2];
/// `BPF_PSEUDO_FUNC` of `linux/bpf.h`: an `ld_imm64` that loads a function.
const FUNCTION_REFERENCE: u8 = 4;
/// `BPF_PSEUDO_CALL` of `linux/bpf.h`: a call of a function of the program.
const OWN_FUNCTION: u8 = 1;
/// The opcode of `ld_imm64`: `BPF_LD | BPF_DW | BPF_IMM`.
const LD_IMM64: u8 = 0x18;
/// The opcode of a call: `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// The classes of opcodes that access memory (`BPF_LDX`, `BPF_ST` and `BPF_STX` of `linux/bpf_common.h`).
const LOAD: u8 = 1;
const STORE_CONSTANT: u8 = 2;
const STORE: u8 = 3;
/// The bits of an opcode that are its class.
const CLASS: u8 = 7;
/// The register that points to the end of the stack.
const FRAME: u8 = 10;
/// Where an instruction holds its constant: `bpf_insn.imm`.
const CONSTANT: Range<usize> = 4..8;

/// `struct bpf_insn` of `linux/bpf.h`.
struct Instruction {
    opcode: u8,
    target: u8,
    source: u8,
    offset: i16,
    constant: i32,
}

impl Instruction {
    fn read(bytes: [u8; INSTRUCTION_BYTES]) -> Self {
        let [opcode, registers, o0, o1, c0, c1, c2, c3] = bytes;
        // The source is in the upper half, on big-endian machines in the lower.
        let (low, high) = (registers & 0xf, registers >> 4);
        let (target, source) = match cfg!(target_endian = "little") {
            true => (low, high),
            false => (high, low),
        };
        Self {
            opcode,
            target,
            source,
            offset: i16::from_ne_bytes([o0, o1]),
            constant: i32::from_ne_bytes([c0, c1, c2, c3]),
        }
    }

    fn loads_map(&self) -> bool {
        self.opcode == LD_IMM64 && MAP_REFERENCES.contains(&self.source)
    }

    /// How deep it reaches into the stack, when it accesses it directly.
    fn stack_depth(&self) -> u32 {
        let register = match self.opcode & CLASS {
            LOAD => self.source,
            STORE_CONSTANT | STORE => self.target,
            _ => return 0,
        };
        match register {
            FRAME => u32::try_from(-i32::from(self.offset)).unwrap_or(0),
            _ => 0,
        }
    }
}

/// Each with its index.
fn each(bytes: &[u8]) -> impl Iterator<Item = (u32, Instruction)> + '_ {
    let (whole, _) = bytes.as_chunks::<INSTRUCTION_BYTES>();
    (0_u32..).zip(whole.iter().map(|bytes| Instruction::read(*bytes)))
}

/// Where each function starts: the program's own, and those that are called or whose address is taken.
fn function_starts(bytes: &[u8]) -> BTreeSet<u32> {
    let after = |at: u32, distance: i32| at.checked_add(1)?.checked_add_signed(distance);
    let starts = each(bytes).filter_map(|(at, instruction)| {
        let source = instruction.source;
        match instruction.opcode {
            CALL if source == OWN_FUNCTION => after(at, instruction.constant),
            LD_IMM64 if source == FUNCTION_REFERENCE => after(at, instruction.constant),
            _ => None,
        }
    });
    starts.chain([0]).collect()
}

/// How many bytes of stack each function uses, in the order of the functions: from the verifier's statistics. They lack
/// the functions that the verifier dropped as dead: only the first is then certain to be whose it seems to be.
///
/// Spills around calls that the verifier found unnecessary and dropped too (`bpf_fastcall`) are missing in its
/// statistics, but not in the instructions: what these access counts as well.
pub(super) fn stack_depths(log: &str, bytes: &[u8]) -> Vec<u32> {
    let mut depths = said_depths(log).unwrap_or_default();
    let mut accessed = accessed_depths(bytes);
    if depths.len() != accessed.len() {
        let others = accessed.iter().skip(1).copied().max();
        accessed.truncate(1);
        accessed.resize(depths.len(), others.unwrap_or(0));
    }
    for (depth, accessed) in depths.iter_mut().zip(accessed) {
        *depth = accessed.max(*depth);
    }
    depths
}

/// How deep the instructions of each function reach into the stack directly.
fn accessed_depths(bytes: &[u8]) -> Vec<u32> {
    let starts = function_starts(bytes).into_iter();
    let mut depths: Vec<(u32, u32)> = starts.map(|start| (start, 0)).collect();
    for (at, instruction) in each(bytes) {
        let function = depths.partition_point(|(start, _)| *start <= at);
        if let Some((_, depth)) = depths[..function].last_mut() {
            *depth = instruction.stack_depth().max(*depth);
        }
    }
    depths.into_iter().map(|(_, depth)| depth).collect()
}

/// The numbers of the line `stack depth 16+0+8`; newer kernels say more behind them.
fn said_depths(log: &str) -> Option<Vec<u32>> {
    let mut lines = log.lines().rev();
    let rest = lines.find_map(|line| line.trim().strip_prefix("stack depth "))?;
    let sum = rest.split_whitespace().next()?;
    sum.split('+').map(|number| number.parse().ok()).collect()
}

/// Replaces the descriptors of maps, which mean nothing to another process, by 0, and answers which were where by name.
pub(super) fn take_maps(bytes: &mut [u8], maps: &[(i32, String)]) -> Vec<InstructionReference> {
    let mut references = Vec::new();
    let (whole, _) = bytes.as_chunks_mut::<INSTRUCTION_BYTES>();
    for (at, bytes) in (0_u32..).zip(whole) {
        let instruction = Instruction::read(*bytes);
        let number = instruction.constant;
        let map = maps.iter().find(|(fd, _)| *fd == number);
        if let Some((_, name)) = map.filter(|_| instruction.loads_map()) {
            bytes[CONSTANT].fill(0);
            references.push(InstructionReference {
                instruction: at,
                map: name.clone(),
            });
        }
    }
    references
}

/// Puts descriptors of maps where they belong, by the index of the instruction.
///
/// # Errors
/// The index of an instruction that loads a map and has none, or that has one and loads none.
pub(super) fn put_maps(bytes: &mut [u8], mut maps: BTreeMap<u32, i32>) -> Result<(), u32> {
    let (whole, _) = bytes.as_chunks_mut::<INSTRUCTION_BYTES>();
    for (at, bytes) in (0_u32..).zip(whole) {
        if Instruction::read(*bytes).loads_map() {
            let number = maps.remove(&at).ok_or(at)?;
            bytes[CONSTANT].copy_from_slice(&number.to_ne_bytes());
        }
    }
    match maps.into_keys().next() {
        Some(at) => Err(at),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
