//! One member's instructions, checked and cut into functions.
//!
//! Nothing here is trusted: the bytes come out of a file. What is checked is what moving them relies on; the rest is
//! for the verifier.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;

use super::ChainError;
use super::Damage;
use super::MapReference;
use super::Member;
use super::Refusal;
use super::instruction::Address;
use super::instruction::FUNCTION;
use super::instruction::HELPER;
use super::instruction::Instruction;
use super::instruction::KERNEL_FUNCTION;
use super::instruction::Kind;

/// One member's instructions.
#[derive(Debug)]
pub(super) struct Program<'a, M> {
    instructions: Vec<Instruction>,
    /// In the order of their start: the main function first.
    functions: Vec<Range<usize>>,
    /// Which instruction loads which map.
    maps: BTreeMap<usize, &'a M>,
    /// Which instruction calls which function, or loads its address.
    uses: BTreeMap<usize, usize>,
    has_callbacks: bool,
}

/// Why a member is not taken, before it is said which one.
pub(super) enum Problem {
    Refusal(Refusal),
    Damage(Damage),
}

impl Problem {
    pub(super) fn of<I>(self, member: I) -> ChainError<I> {
        match self {
            Self::Refusal(refusal) => ChainError::Refused { member, refusal },
            Self::Damage(damage) => ChainError::Damaged { member, damage },
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Damage> for Problem {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl<'a, M> Program<'a, M> {
    /// Reads a member.
    ///
    /// # Errors
    /// [`Problem`] for what is not a program, or has something that cannot be moved.
    pub(super) fn read<I>(member: &Member<'a, I, M>) -> Result<Self, Problem> {
        let bytes = member.instructions;
        let instructions = Instruction::read_all(bytes).ok_or(Damage::Length(bytes.len()))?;
        let inner = second_halves(&instructions)?;
        let (targets, has_callbacks) = function_targets(&instructions, &inner)?;
        let functions = functions(instructions.len(), &targets);
        for function in &functions {
            check_function(&instructions, function, &inner)?;
        }
        let main = functions.first().cloned().ok_or(Damage::Empty)?;
        if !instructions[main]
            .iter()
            .any(|one| one.kind() == Kind::Exit)
        {
            return Err(Damage::NoExit.into());
        }
        let number = |start| functions.partition_point(|function| function.start < start);
        let uses = targets.iter().map(|(at, start)| (*at, number(*start)));
        let uses = uses.collect();
        Ok(Self {
            maps: maps(&instructions, &inner, member.references)?,
            instructions,
            functions,
            uses,
            has_callbacks,
        })
    }

    /// Where its functions are, the main function first.
    pub(super) fn functions(&self) -> &[Range<usize>] {
        &self.functions
    }

    pub(super) fn code(&self, function: &Range<usize>) -> &[Instruction] {
        &self.instructions[function.clone()]
    }

    /// All instructions, with their places.
    pub(super) fn instructions(&self) -> impl Iterator<Item = (usize, Instruction)> {
        self.instructions.iter().copied().enumerate()
    }

    /// Which instructions of a function load which maps.
    pub(super) fn maps(
        &self,
        function: &Range<usize>,
    ) -> impl Iterator<Item = (usize, &'a M)> + use<'a, '_, M> {
        let maps = self.maps.range(function.clone());
        maps.map(|(instruction, map)| (*instruction, *map))
    }

    /// The maps that it loads, as often as it does.
    pub(super) fn all_maps(&self) -> impl Iterator<Item = &'a M> + use<'a, '_, M> {
        self.maps.values().copied()
    }

    /// Which instructions of a function use which functions.
    pub(super) fn uses(&self, function: &Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        let uses = self.uses.range(function.clone());
        uses.map(|(instruction, number)| (*instruction, *number))
    }

    /// Whether it gives the address of a function away.
    pub(super) fn has_callbacks(&self) -> bool {
        self.has_callbacks
    }

    /// Whether a function calls tails, each of which answers in its place.
    pub(super) fn calls_tails(&self, function: &Range<usize>) -> bool {
        let mut code = self.code(function).iter();
        code.any(|one| one.calls_tail())
    }

    /// The main function with each exit turned into a jump behind its end; `None` when one is too far from there.
    pub(super) fn inlined(&self) -> Option<Vec<Instruction>> {
        let main = self.functions.first()?;
        let jump = |(index, one): (usize, &Instruction)| match one.kind() {
            Kind::Exit => i16::try_from(main.end - index - 1)
                .ok()
                .map(Instruction::jump),
            _ => Some(*one),
        };
        self.code(main).iter().enumerate().map(jump).collect()
    }
}

/// Which places are the second half of a wide load.
fn second_halves(instructions: &[Instruction]) -> Result<BTreeSet<usize>, Damage> {
    let mut inner = BTreeSet::new();
    for (index, one) in instructions.iter().enumerate() {
        if inner.contains(&index) || !matches!(one.kind(), Kind::WideLoad(_)) {
            continue;
        }
        let second = instructions.get(index + 1);
        if second.is_none_or(|second| second.code != 0) {
            return Err(Damage::HalfLoad { instruction: index });
        }
        inner.insert(index + 1);
    }
    Ok(inner)
}

/// Where the calls lead and which functions' addresses are loaded, and whether there are such loads.
fn function_targets(
    instructions: &[Instruction],
    inner: &BTreeSet<usize>,
) -> Result<(BTreeMap<usize, usize>, bool), Problem> {
    let mut targets = BTreeMap::new();
    let mut has_callbacks = false;
    for (index, one) in instructions.iter().enumerate() {
        if inner.contains(&index) || !uses_function(instructions, index, *one)? {
            continue;
        }
        has_callbacks |= one.kind() != Kind::Call;
        let target = landing(index, one.immediate);
        // The main function is not there to be called: the kernel knows no recursion.
        let target = target.filter(|to| *to > 0 && *to < instructions.len() && !inner.contains(to));
        let target = target.ok_or(Damage::FunctionTarget { instruction: index })?;
        targets.insert(index, target);
    }
    Ok((targets, has_callbacks))
}

/// Whether an instruction calls a function of the program or loads its address.
///
/// # Errors
/// [`Refusal`] for what refers to something that another process cannot know.
fn uses_function(
    instructions: &[Instruction],
    index: usize,
    one: Instruction,
) -> Result<bool, Refusal> {
    let unknown = Refusal::UnknownInstruction { instruction: index };
    match one.kind() {
        Kind::WideLoad(Address::Function) => Ok(true),
        Kind::WideLoad(Address::KernelVariable) => {
            let module = instructions.get(index + 1).map(|second| second.immediate);
            if module != Some(0) {
                return Err(Refusal::ModuleVariable { instruction: index });
            }
            Ok(false)
        }
        Kind::WideLoad(Address::Unknown) | Kind::Unknown => Err(unknown),
        Kind::Call => match one.source {
            HELPER => Ok(false),
            FUNCTION => Ok(true),
            KERNEL_FUNCTION if one.offset == 0 => Ok(false),
            KERNEL_FUNCTION => Err(Refusal::ModuleFunction { instruction: index }),
            _ => Err(unknown),
        },
        _ => Ok(false),
    }
}

/// The functions, which start at 0 and where something leads.
fn functions(len: usize, targets: &BTreeMap<usize, usize>) -> Vec<Range<usize>> {
    let starts: BTreeSet<usize> = targets.values().copied().chain([0]).collect();
    let ends = starts.iter().copied().skip(1).chain([len]);
    let functions = starts.iter().zip(ends).map(|(start, end)| *start..end);
    functions.filter(|function| !function.is_empty()).collect()
}

/// Checks that a function stays in its bounds.
fn check_function(
    instructions: &[Instruction],
    function: &Range<usize>,
    inner: &BTreeSet<usize>,
) -> Result<(), Damage> {
    let mut ends = false;
    for index in function.clone() {
        ends = false;
        // Whatever is in a second half is no jump.
        if inner.contains(&index) {
            continue;
        }
        let kind = instructions[index].kind();
        ends = matches!(kind, Kind::Exit | Kind::Jump(_));
        if let Kind::Jump(distance) | Kind::Branch(distance) | Kind::MayGoto(distance) = kind {
            let target = landing(index, distance);
            if !target.is_some_and(|to| function.contains(&to) && !inner.contains(&to)) {
                return Err(Damage::JumpTarget { instruction: index });
            }
        }
    }
    if !ends {
        return Err(Damage::NoEnd { end: function.end });
    }
    Ok(())
}

/// Which instruction loads which map: all that do, and each once.
fn maps<'a, M>(
    instructions: &[Instruction],
    inner: &BTreeSet<usize>,
    references: &'a [MapReference<M>],
) -> Result<BTreeMap<usize, &'a M>, Damage> {
    let is_map = |index: &usize| {
        let one = instructions.get(*index);
        let is_load = one.is_some_and(|one| one.kind() == Kind::WideLoad(Address::Map));
        is_load && !inner.contains(index)
    };
    let mut maps = BTreeMap::new();
    for reference in references {
        let index = usize::try_from(reference.instruction).unwrap_or(usize::MAX);
        if !is_map(&index) || maps.insert(index, &reference.map).is_some() {
            return Err(Damage::FalseReference { instruction: index });
        }
    }
    let mut loads = (0..instructions.len()).filter(is_map);
    match loads.find(|index| !maps.contains_key(index)) {
        Some(instruction) => Err(Damage::MissingReference { instruction }),
        None => Ok(maps),
    }
}

/// Where a distance leads from an instruction: it counts from the next one.
fn landing(index: usize, distance: i32) -> Option<usize> {
    let distance = isize::try_from(distance).ok()?;
    index.checked_add(1)?.checked_add_signed(distance)
}
