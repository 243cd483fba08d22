//! Why programs cannot be joined.

use alloc::string::String;

/// Why there is no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError<I> {
    /// One member cannot be part of a chain; without it there may be one.
    #[error("{member} {refusal}")]
    Refused {
        /// Which one.
        member: I,
        /// Why.
        refusal: Refusal,
    },
    /// The instructions of one member are not those of a program.
    #[error("{member} is damaged: {damage}")]
    Damaged {
        /// Which one.
        member: I,
        /// What is wrong with them.
        damage: Damage,
    },
    /// All members together are more than the kernel takes.
    #[error("{member} makes the chain too large: {count} {what}, and the kernel takes {limit}")]
    TooLarge {
        /// The one with which it is too much.
        member: I,
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl<I> ChainError<I> {
    /// The member without which there may be a chain.
    pub fn member(&self) -> &I {
        match self {
            Self::Refused { member, .. }
            | Self::Damaged { member, .. }
            | Self::TooLarge { member, .. } => member,
        }
    }
}

/// What keeps a sound program out of a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither in the frame of the chain nor in one of its own there is room for its stack.
    #[error("needs {needed} bytes of stack, of which a chain leaves {left}")]
    Stack {
        /// What it and the functions it calls take, as the kernel counts.
        needed: u32,
        /// What remains of the kernel's 512.
        left: u32,
    },
    /// The kernel keeps the stack above a tail call small.
    #[error("calls a tail below {above} bytes of stack; the kernel takes less than {limit}")]
    TailCall {
        /// What is above it.
        above: u32,
        /// What there must not be.
        limit: u32,
    },
    /// Its functions call each other too deep for a chain, or in circles.
    #[error("calls functions more than {limit} deep, which is all that a chain leaves")]
    CallDepth {
        /// How deep they may.
        limit: usize,
    },
    /// Which module it is was known to the process that loaded it only.
    #[error("calls a function of a kernel module (instruction {instruction})")]
    ModuleFunction {
        /// Where.
        instruction: usize,
    },
    /// As above.
    #[error("reads a variable of a kernel module (instruction {instruction})")]
    ModuleVariable {
        /// Where.
        instruction: usize,
    },
    /// An exception ends the whole chain, from whatever function it is thrown.
    #[error(
        "calls {function} (instruction {instruction}), which would end the programs behind it too"
    )]
    Throws {
        /// The kernel's function.
        function: &'static str,
        /// Where.
        instruction: usize,
    },
    /// Types of its own have numbers, in its instructions, of the BTF that it was loaded with.
    #[error(
        "calls {function} (instruction {instruction}), whose type is known in its own object only"
    )]
    OwnTypes {
        /// The kernel's function.
        function: &'static str,
        /// Where.
        instruction: usize,
    },
    /// The kernel knows one arena a program.
    #[error("uses the arena `{map}`, and a chain has one at most: {other}")]
    Arenas {
        /// Its arena.
        map: String,
        /// The other one, and whose it is.
        other: String,
    },
    /// A map of programs takes packets in fragments, or it does not: its users must agree.
    #[error(
        "calls the programs in map `{map}`, which takes multi-buffer packets (xdp.frags), and the chain cannot, because not all of its programs do"
    )]
    ProgramArrayOfFrags {
        /// The map.
        map: String,
    },
    /// Since Linux 6.18 its users agree on the attach type, too.
    #[error(
        "calls the programs in map `{map}`, which are of attach type {own}; those of the chain are of {chain}"
    )]
    ProgramArrayOfType {
        /// The map.
        map: String,
        /// The expected attach type of its owner.
        own: u32,
        /// That of the chain.
        chain: u32,
    },
    /// It may be one that throws.
    #[error(
        "calls a function of the kernel that its types do not name (BTF id {id}, instruction {instruction})"
    )]
    UnnamedFunction {
        /// Its type.
        id: u32,
        /// Where.
        instruction: usize,
    },
    /// We would not know whether it may be moved.
    #[error("has a kind of instruction that is not known here (instruction {instruction})")]
    UnknownInstruction {
        /// Where.
        instruction: usize,
    },
    /// Each costs an instruction.
    #[error("goes on after {count} verdicts; a chain knows {limit}")]
    Verdicts {
        /// After how many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// What the kernel would not have loaded, so that it cannot be what it once did load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// An instruction has 8 bytes.
    #[error("{0} bytes are no whole number of instructions")]
    Length(usize),
    /// There is nothing.
    #[error("there are none")]
    Empty,
    /// A load of 64 bits takes two instructions.
    #[error("instruction {instruction} lacks its second half")]
    HalfLoad {
        /// The first half.
        instruction: usize,
    },
    /// It leads out of its function, or between the halves of a load.
    #[error("instruction {instruction} jumps to where no instruction of its function is")]
    JumpTarget {
        /// The jump.
        instruction: usize,
    },
    /// It leads out of the program, to its start, or between the halves of a load.
    #[error("instruction {instruction} refers to where no function can be")]
    FunctionTarget {
        /// The call, or the load of the function's address.
        instruction: usize,
    },
    /// The last instruction of a function is neither an exit nor a jump.
    #[error("the function before instruction {end} does not end")]
    NoEnd {
        /// Where it would run on to.
        end: usize,
    },
    /// Its main function answers nothing.
    #[error("the main function never returns")]
    NoExit,
    /// A map is said to be where none is loaded, or twice.
    #[error("instruction {instruction} loads no map, or is listed twice as loading one")]
    FalseReference {
        /// The instruction.
        instruction: usize,
    },
    /// A map is loaded that is not known.
    #[error("instruction {instruction} loads a map that is not listed")]
    MissingReference {
        /// The instruction.
        instruction: usize,
    },
}
