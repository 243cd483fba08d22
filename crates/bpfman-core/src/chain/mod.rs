//! Several XDP or TC programs joined into one: a compiled chain.
//!
//! A dispatcher calls its members, which costs each packet a call, a return and a table, and needs extension programs.
//! [`compile`] puts their instructions behind each other instead:
//!
//! ```text
//!              *(r10 - slot) = r1              the context, for those that come later
//! member 0     its main function, each exit a jump to what follows
//!              if r0 == 2 goto member 1        for each verdict to go on after
//!              exit
//! member 1     r1 = *(r10 - slot)
//!              ...
//!              r0 = 2                          the last one went on
//!              exit
//! functions    those that the members call
//! ```
//!
//! Members share one frame, as none expects anything in its stack or in `r6` to `r9`. A member that could leave more
//! than that behind (`reach`), or whose stack or length does not allow it, is called instead of inlined: as a global
//! function with the context for its argument, which the verifier judges once and on its own, as it judged the member.
//! It expects any answer of one, so that it takes nothing for unreachable that a tail call can lead to.
//!
//! The verifier looks at the whole again. A member's own function that was global in its object stays global, so that
//! it is judged once. Line information is lost. What the caller has to see to: a license that suits all members,
//! and that all agree on what is asked at load, like XDP fragments. Tail calls of all members count together
//! ([`MAX_TAIL_CALLS`]).

mod btf;
mod error;
mod instruction;
mod join;
mod program;
mod reach;
mod stack;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use btf::Origin;
use btf::Sources;
use instruction::Instruction;
use join::Code;
use program::Program;
use stack::Frame;
use stack::Slots;
use stack::Use;

use crate::types::Family;

pub use btf::FunctionTypes;
pub use btf::MemberTypes;
pub use error::ChainError;
pub use error::Damage;
pub use error::Refusal;
pub use reach::kernel_functions;
pub use reach::makes_tail_calls;
pub use stack::Frames;

/// `BPF_COMPLEXITY_LIMIT_INSNS`: the most instructions of one program.
pub const MAX_INSTRUCTIONS: usize = 1_000_000;
/// `BPF_MAX_SUBPROGS`: the most functions of one program.
pub const MAX_FUNCTIONS: usize = 256;
/// `MAX_USED_MAPS`: the most maps of one program.
pub const MAX_MAPS: usize = 64;
/// `MAX_TAIL_CALL_CNT`: the most tail calls of one run, whoever makes them.
pub const MAX_TAIL_CALLS: u32 = 33;
/// The most verdicts that one member goes on after; there are eleven at most.
pub const MAX_VERDICTS: usize = 64;

/// One program of a chain.
#[derive(Clone, Debug)]
pub struct Member<'a, I, M> {
    /// Whom to name in an error.
    pub id: I,
    /// `struct bpf_insn` by `struct bpf_insn` as libbpf leaves them: the main function first, then those it calls.
    pub instructions: &'a [u8],
    /// The instructions that load a map.
    pub references: &'a [MapReference<M>],
    /// The bytes of stack of each function, in the order of their start, as the verifier prints them when it has
    /// loaded this program (`BPF_LOG_STATS`). Without them the member is called instead of inlined.
    pub stack_depths: &'a [u32],
    /// Whether it is called even where it could be inlined.
    pub called: bool,
    /// The names of the functions of the kernel that it calls ([`kernel_functions`]).
    pub kernel_functions: &'a BTreeMap<u32, String>,
    /// The types of its functions.
    pub types: MemberTypes<'a>,
    /// After which verdicts the next one runs.
    pub proceed_on: &'a [i32],
    /// Where its runs are counted, if they are.
    pub counter: Option<Counter<M>>,
}

/// An instruction that loads a map. Equal tokens mean the same map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapReference<M> {
    /// The index of the instruction.
    pub instruction: u32,
    /// The map.
    pub map: M,
}

/// An element of a per-CPU array with values of 16 bytes, `{ u64 runs; u64 nanoseconds; }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter<M> {
    /// The array.
    pub map: M,
    /// The element. One array can count for all members; a chain can only have [`MAX_MAPS`].
    pub key: u32,
}

/// A program made of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain<M> {
    /// `struct bpf_insn` by `struct bpf_insn`.
    pub instructions: Vec<u8>,
    /// The instructions that load a map, whose `imm` is still that of the members. In no order.
    pub references: Vec<MapReference<M>>,
    /// What the kernel wants to know of its functions, where it does.
    pub types: Option<FunctionTypes>,
    /// Which instructions are whose, by the places of the members; the rest joins them.
    pub owners: Vec<(Range<u32>, usize)>,
}

impl<M> Chain<M> {
    /// The place of the member that an instruction came from.
    #[must_use]
    pub fn owner(&self, instruction: u32) -> Option<usize> {
        let mut owners = self.owners.iter();
        let found = owners.find(|(range, _)| range.contains(&instruction));
        found.map(|(_, member)| *member)
    }
}

/// Joins programs into one, which runs them in their order. What comes after a member that no verdict goes on after
/// is checked and left out, as the kernel refuses what cannot be reached.
///
/// # Errors
/// [`ChainError`].
pub fn compile<I: Clone, M: Clone + Ord>(
    family: Family,
    frames: Frames,
    members: &[Member<'_, I, M>],
) -> Result<Chain<M>, ChainError<I>> {
    let parts = members.iter().map(|member| {
        let part = Part::read(member, frames);
        part.map_err(|problem| problem.of(member.id.clone()))
    });
    let mut parts = parts.collect::<Result<Vec<_>, _>>()?;
    let last = parts.iter().position(|part| part.verdicts.is_empty());
    parts.truncate(last.map_or(parts.len(), |last| last + 1));

    let slots = Slots {
        context: parts.len() > 1 || counts(&parts),
        scratch: counts(&parts),
    };
    let uses: Vec<Use> = parts.iter().map(|part| part.stack).collect();
    let frame =
        stack::lay_out(&uses, slots, frames).map_err(|(number, refusal)| ChainError::Refused {
            member: members[number].id.clone(),
            refusal,
        })?;
    let mut code = Code::new();
    if slots.context {
        code.save_context(&frame);
    }
    let mut counted = false;
    for (number, part) in parts.iter().enumerate() {
        add_member(&mut code, number, part, &frame, counted);
        counted = part.counter.is_some();
    }
    if last.is_none() {
        code.answer(family.end());
    }
    let mut sources = Sources::read(&parts);
    let types_wanted = add_functions(&mut code, &parts, &frame, &sources);
    let functions = code.functions();
    let types =
        types_wanted.then(|| FunctionTypes::describe(family, functions, &parts, &mut sources));
    check_limits(&code, &parts, members)?;
    let owners = code.owners().to_vec();
    let (instructions, references) = code.finish();
    Ok(Chain {
        instructions,
        references,
        types,
        owners,
    })
}

/// One member, ready to be joined.
struct Part<'a, M> {
    program: Program<'a, M>,
    main: Vec<Instruction>,
    verdicts: BTreeSet<i32>,
    stack: Use,
    counter: Option<&'a Counter<M>>,
    types: MemberTypes<'a>,
}

impl<'a, M> Part<'a, M> {
    fn read<I>(member: &'a Member<'_, I, M>, frames: Frames) -> Result<Self, program::Problem> {
        let program = Program::read(member)?;
        let verdicts: BTreeSet<i32> = member.proceed_on.iter().copied().collect();
        if verdicts.len() > MAX_VERDICTS {
            let (count, limit) = (verdicts.len(), MAX_VERDICTS);
            return Err(Refusal::Verdicts { count, limit }.into());
        }
        reach::check(&program, member.kernel_functions)?;
        let may_share = !member.called && reach::is_contained(&program);
        let main = program.inlined().filter(|_| may_share);
        let stack = Use::measure(&program, member.stack_depths, main.is_some(), frames)?;
        Ok(Self {
            program,
            main: main.unwrap_or_default(),
            verdicts,
            stack,
            counter: member.counter.as_ref(),
            types: member.types,
        })
    }
}

impl<M> Part<'_, M> {
    /// Its functions behind the chain's main one, with their numbers.
    fn functions(&self, inlined: bool) -> impl Iterator<Item = (usize, &Range<usize>)> {
        let functions = self.program.functions().iter().enumerate();
        functions.skip(usize::from(inlined))
    }
}

fn counts<M>(parts: &[Part<'_, M>]) -> bool {
    parts.iter().any(|part| part.counter.is_some())
}

/// Adds a member to the main function, behind one that was just counted or not.
fn add_member<M: Clone>(
    code: &mut Code<M>,
    number: usize,
    part: &Part<'_, M>,
    frame: &Frame,
    counted: bool,
) {
    if part.counter.is_some() {
        code.start_clock(frame, counted);
    }
    // The first one still has what the kernel gave the chain.
    if number > 0 || part.counter.is_some() {
        code.load_context(frame);
    }
    match part.program.functions().first() {
        Some(main) if frame.inlined[number] => code.place(number, &part.program, main, &part.main),
        _ => code.call(number),
    }
    if let Some(counter) = part.counter {
        code.count(frame, counter);
    }
    code.judge(&part.verdicts);
}

/// Adds the functions behind the main one, and says whether the kernel wants to know their types: for callbacks, and
/// for the global ones, which members that are called are.
fn add_functions<'a, M: Clone>(
    code: &mut Code<M>,
    parts: &[Part<'a, M>],
    frame: &Frame,
    sources: &Sources<'a>,
) -> bool {
    let mut types_wanted = false;
    for (member, (part, inlined)) in parts.iter().zip(&frame.inlined).enumerate() {
        types_wanted |= part.program.has_callbacks() || !inlined;
        for (function, range) in part.functions(*inlined) {
            let origin = Origin { member, function };
            types_wanted |= sources.global(parts, origin).is_some();
            code.append(origin, &part.program, range);
        }
    }
    types_wanted
}

/// Checks what the kernel limits. Each member brings so much more: the one at which it is too much is named.
fn check_limits<I: Clone, M: Clone + Ord>(
    code: &Code<M>,
    parts: &[Part<'_, M>],
    members: &[Member<'_, I, M>],
) -> Result<(), ChainError<I>> {
    let mut maps = BTreeSet::new();
    let mut functions = 1;
    let (mut over_maps, mut over_functions) = (None, None);
    for (number, part) in parts.iter().enumerate() {
        let counted = part.counter.map(|counter| &counter.map);
        maps.extend(part.program.all_maps().chain(counted));
        functions = 1 + code.functions_up_to(number);
        over_maps = over_maps.or((maps.len() > MAX_MAPS).then_some(number));
        over_functions = over_functions.or((functions > MAX_FUNCTIONS).then_some(number));
    }
    let limit = u32::try_from(MAX_INSTRUCTIONS).unwrap_or(u32::MAX);
    let over = code.owners().iter().find(|(range, _)| range.end > limit);
    let last = parts.len().saturating_sub(1);
    let too_long = code.len() > MAX_INSTRUCTIONS;
    let over_length = too_long.then(|| over.map_or(last, |(_, number)| *number));
    let limits = [
        ("instructions", code.len(), MAX_INSTRUCTIONS, over_length),
        ("functions", functions, MAX_FUNCTIONS, over_functions),
        ("maps", maps.len(), MAX_MAPS, over_maps),
    ];
    for (what, count, limit, over) in limits {
        if let Some(member) = over.and_then(|number| members.get(number)) {
            return Err(ChainError::TooLarge {
                member: member.id.clone(),
                what,
                count,
                limit,
            });
        }
    }
    Ok(())
}
