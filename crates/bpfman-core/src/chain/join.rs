//! Members become one program.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;

use super::Counter;
use super::MapReference;
use super::btf::Origin;
use super::instruction::Instruction;
use super::instruction::LOOK_UP;
use super::instruction::R0;
use super::instruction::R1;
use super::instruction::R2;
use super::instruction::R6;
use super::instruction::R7;
use super::instruction::R8;
use super::instruction::R10;
use super::instruction::READ_CLOCK;
use super::program::Program;
use super::stack::Frame;

/// A program in the making.
#[derive(Debug)]
pub(super) struct Code<M> {
    instructions: Vec<Instruction>,
    references: Vec<MapReference<M>>,
    /// The instructions that use a function, and which.
    uses: Vec<(usize, Origin)>,
    /// The functions behind the main one, in their order.
    functions: Vec<(u32, Origin)>,
    /// Which instructions are whose.
    owners: Vec<(Range<u32>, usize)>,
}

/// Where a counter keeps what it counts: `{ u64 runs; u64 nanoseconds; }`.
const RUNS: i16 = 0;
const NANOSECONDS: i16 = 8;

/// Registers that a call keeps and that no member expects anything in.
const VERDICT: u8 = R6;
const NOW: u8 = R7;
const DURATION: u8 = R8;

impl<M: Clone> Code<M> {
    pub(super) fn new() -> Self {
        Self {
            instructions: Vec::new(),
            references: Vec::new(),
            uses: Vec::new(),
            functions: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// Keeps the context for the members to come.
    pub(super) fn save_context(&mut self, frame: &Frame) {
        self.add(&[Instruction::store(R10, frame.context, R1)]);
    }

    pub(super) fn load_context(&mut self, frame: &Frame) {
        self.add(&[Instruction::load(R1, R10, frame.context)]);
    }

    /// Keeps the time for [`Code::count`], which spoils the context. Where a run has just been counted its end is
    /// taken for the start of this one: the clock is what counting costs.
    pub(super) fn start_clock(&mut self, frame: &Frame, just_read: bool) {
        let now = if just_read {
            NOW
        } else {
            self.add(&[Instruction::call_helper(READ_CLOCK)]);
            R0
        };
        self.add(&[Instruction::store(R10, frame.scratch, now)]);
    }

    /// Counts the run that has ended.
    pub(super) fn count(&mut self, frame: &Frame, counter: &Counter<M>) {
        self.add(&[
            Instruction::copy(VERDICT, R0),
            Instruction::call_helper(READ_CLOCK),
            Instruction::copy(NOW, R0),
            Instruction::load(R1, R10, frame.scratch),
            Instruction::subtract_register(R0, R1),
            Instruction::copy(DURATION, R0),
            // The start is no longer needed where the key goes.
            Instruction::store_word(R10, frame.scratch, counter.key.cast_signed()),
        ]);
        self.references.push(MapReference {
            instruction: self.here(),
            map: counter.map.clone(),
        });
        self.add(&Instruction::load_map(R1));
        let add = [
            Instruction::load(R1, R0, RUNS),
            Instruction::add(R1, 1),
            Instruction::store(R0, RUNS, R1),
            Instruction::load(R1, R0, NANOSECONDS),
            Instruction::add_register(R1, DURATION),
            Instruction::store(R0, NANOSECONDS, R1),
        ];
        self.add(&[
            Instruction::copy(R2, R10),
            Instruction::add(R2, frame.scratch.into()),
            Instruction::call_helper(LOOK_UP),
            Instruction::jump_if_null(R0, 6),
        ]);
        self.add(&add);
        self.add(&[Instruction::copy(R0, VERDICT)]);
    }

    /// Leaves the chain unless the verdict is one to go on after.
    pub(super) fn judge(&mut self, verdicts: &BTreeSet<i32>) {
        let jumps = verdicts.iter().rev().zip(1..);
        let jumps = jumps.map(|(verdict, over)| Instruction::jump_if_verdict(*verdict, over));
        let mut jumps: Vec<Instruction> = jumps.collect();
        // The last one has only the exit to jump over.
        jumps.reverse();
        self.add(&jumps);
        self.add(&[Instruction::exit()]);
    }

    /// Ends the chain.
    pub(super) fn answer(&mut self, verdict: i32) {
        self.add(&[Instruction::set(R0, verdict), Instruction::exit()]);
    }

    /// Calls the main function of a member.
    pub(super) fn call(&mut self, member: usize) {
        let main = Origin {
            member,
            function: 0,
        };
        self.uses.push((self.instructions.len(), main));
        self.add(&[Instruction::call_function()]);
    }

    /// Puts a function of a member behind all others.
    pub(super) fn append(
        &mut self,
        origin: Origin,
        program: &Program<'_, M>,
        function: &Range<usize>,
    ) {
        self.functions.push((self.here(), origin));
        let code = program.code(function);
        self.place(origin.member, program, function, code);
    }

    /// Puts a function of a member here, as its own instructions or as many others.
    pub(super) fn place(
        &mut self,
        member: usize,
        program: &Program<'_, M>,
        function: &Range<usize>,
        code: &[Instruction],
    ) {
        let start = self.instructions.len();
        let moved = |at: usize| start + at - function.start;
        let maps = program.maps(function).map(|(at, map)| MapReference {
            instruction: position(moved(at)),
            map: map.clone(),
        });
        self.references.extend(maps);
        let uses = program.uses(function);
        let uses = uses.map(|(at, function)| (moved(at), Origin { member, function }));
        self.uses.extend(uses);
        self.add(code);
        self.owners.push((position(start)..self.here(), member));
    }

    /// How many instructions there are.
    pub(super) fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Which instructions are whose, in their order.
    pub(super) fn owners(&self) -> &[(Range<u32>, usize)] {
        &self.owners
    }

    /// How many functions there are behind the main one of a member and those before it.
    pub(super) fn functions_up_to(&self, member: usize) -> usize {
        let functions = self.functions.iter();
        functions
            .filter(|(_, origin)| origin.member <= member)
            .count()
    }

    /// The functions behind the main one: where they start, and whose they are.
    pub(super) fn functions(&self) -> &[(u32, Origin)] {
        &self.functions
    }

    /// The instructions, which now find the functions that they use, and the maps.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<MapReference<M>>) {
        let starts = self
            .functions
            .iter()
            .map(|(start, origin)| (*origin, *start));
        let starts: BTreeMap<Origin, u32> = starts.collect();
        for (at, origin) in self.uses {
            let start = starts.get(&origin).copied();
            // Calls and addresses count from the next instruction, and may go backwards.
            let distance = start.map(|start| start.wrapping_sub(position(at + 1)).cast_signed());
            let user = self.instructions.get_mut(at);
            if let (Some(user), Some(distance)) = (user, distance) {
                user.immediate = distance;
            }
        }
        let bytes = self.instructions.into_iter().flat_map(Instruction::bytes);
        (bytes.collect(), self.references)
    }

    fn add(&mut self, instructions: &[Instruction]) {
        self.instructions.extend_from_slice(instructions);
    }

    fn here(&self) -> u32 {
        position(self.instructions.len())
    }
}

/// The index of an instruction; chains that are longer than such numbers reach are refused.
fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
