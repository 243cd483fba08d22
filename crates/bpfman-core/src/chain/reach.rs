//! What a member does that reaches beyond its own instructions.
//!
//! An inlined member shares one frame with the others, and what the kernel keeps for each frame: objects in its stack
//! slots, how often `may_goto` jumps, where an abnormal end returns to. So a member is inlined only when all that its
//! main function does is known to leave nothing there; whatever else there is, and will be, gets a frame of its own.
//! An exception does not stop at a frame.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::string::String;
use core::ops::RangeInclusive;

use super::Refusal;
use super::instruction::Address;
use super::instruction::FUNCTION;
use super::instruction::HELPER;
use super::instruction::Instruction;
use super::instruction::KERNEL_FUNCTION;
use super::instruction::Kind;
use super::program::Program;

/// The helpers of `linux/bpf.h` (there will be no more) that leave nothing in the frame of their caller: all but
/// `bpf_tail_call` (12) and those of dynptrs (197 to 203), which are objects in stack slots.
const CONTAINED_HELPERS: [RangeInclusive<i32>; 3] = [1..=11, 13..=196, 204..=211];

/// The functions of the kernel that are told the number of a type of the program's own.
const OF_OWN_TYPES: [&str; 4] = [
    "bpf_obj_new_impl",
    "bpf_percpu_obj_new_impl",
    "bpf_obj_new",
    "bpf_percpu_obj_new",
];

/// The functions of the kernel that throw.
const THROWING: [&str; 1] = ["bpf_throw"];

/// Whether a member can share the chain's frame. A packet load or a tail call ends its function in ways that older
/// verifiers do not follow, so a chain must not learn from them what a member can answer, not even through a function
/// between.
pub(super) fn is_contained<M>(program: &Program<'_, M>) -> bool {
    let ends_abnormally = |one: Instruction| one.kind() == Kind::PacketLoad || one.calls_tail();
    let main = program.functions().first();
    let main = main.map_or(&[][..], |main| program.code(main));
    main.iter().all(|one| stays_in_frame(*one))
        && !program.instructions().any(|(_, one)| ends_abnormally(one))
}

fn stays_in_frame(one: Instruction) -> bool {
    match one.kind() {
        Kind::Plain => one.is_known_plain(),
        Kind::WideLoad(address) => address != Address::Unknown,
        Kind::Jump(_) | Kind::Branch(_) | Kind::Exit => true,
        Kind::MayGoto(_) | Kind::PacketLoad | Kind::Unknown => false,
        // Many functions of the kernel keep objects in their caller's stack slots, and nothing that can be read
        // tells which.
        Kind::Call => match one.source {
            FUNCTION => true,
            HELPER => CONTAINED_HELPERS
                .iter()
                .any(|range| range.contains(&one.immediate)),
            _ => false,
        },
    }
}

/// Refuses what would reach beyond even a frame of its own.
///
/// # Errors
/// [`Refusal`].
pub(super) fn check<M>(
    program: &Program<'_, M>,
    names: &BTreeMap<u32, String>,
) -> Result<(), Refusal> {
    for (instruction, one) in program.instructions() {
        let Some(id) = kernel_function(one) else {
            continue;
        };
        let name = names.get(&id);
        let name = name.ok_or(Refusal::UnnamedFunction { id, instruction })?;
        let own_types = OF_OWN_TYPES.iter().find(|known| **known == name.as_str());
        if let Some(function) = own_types {
            return Err(Refusal::OwnTypes {
                function,
                instruction,
            });
        }
        if let Some(function) = THROWING.iter().find(|throwing| **throwing == name.as_str()) {
            return Err(Refusal::Throws {
                function,
                instruction,
            });
        }
    }
    Ok(())
}

/// The function of the kernel that an instruction calls, by its type in the kernel's BTF.
fn kernel_function(one: Instruction) -> Option<u32> {
    let calls = one.kind() == Kind::Call && one.source == KERNEL_FUNCTION;
    calls.then(|| one.immediate.cast_unsigned())
}

/// The functions of the kernel that a program calls, by their types in its BTF. What is no program calls none.
#[must_use]
pub fn kernel_functions(instructions: &[u8]) -> BTreeSet<u32> {
    let all = Instruction::read_all(instructions).unwrap_or_default();
    all.into_iter().filter_map(kernel_function).collect()
}

/// Whether a program makes tail calls.
#[must_use]
pub fn makes_tail_calls(instructions: &[u8]) -> bool {
    let all = Instruction::read_all(instructions).unwrap_or_default();
    all.into_iter().any(Instruction::calls_tail)
}
