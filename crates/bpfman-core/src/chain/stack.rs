//! Whose stack is part of the chain's frame, and where the chain keeps its own.
//!
//! Members that are inlined use the same bytes, one after the other; the chain's slots are below the deepest of them.
//! A member that does not fit there is called instead, which costs a call and a frame. How much the kernel allows:
//! `check_max_stack_depth` of its `verifier.c`.

use alloc::vec;
use alloc::vec::Vec;

use super::Refusal;
use super::program::Program;

/// `MAX_BPF_STACK`: all frames of one call chain together.
const MAX_STACK_BYTES: u32 = 512;
/// `MAX_CALL_FRAMES`, with the main function's.
const MAX_FRAMES: usize = 8;
const SLOT_BYTES: u32 = 8;
/// The frames above a function that calls tails have less than this.
const MAX_BYTES_ABOVE_TAIL: u32 = 256;

/// How the kernel rounds each frame when it adds them up (`round_up_stack_depth` of its `verifier.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frames {
    /// To 16 bytes: since Linux 6.9, where programs are compiled.
    Of16,
    /// To 32 bytes, and none is empty: before, and where programs are interpreted.
    #[default]
    Of32,
}

impl Frames {
    fn round(self, depth: u32) -> u32 {
        match self {
            Self::Of16 => rounded(depth, 16),
            Self::Of32 => rounded(depth.max(1), 32),
        }
    }
}

/// What a member takes of the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// The bytes of its main function; `None` when it must have a frame of its own.
    pub(super) inlined: Option<u32>,
    /// The rounded frame of its main function when that is called.
    frame: u32,
    /// Its main function and those that it calls.
    reach: Reach,
}

/// The functions that one leads to, with itself.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// The rounded frames of the deepest call chain.
    bytes: u32,
    /// The number of functions in the longest.
    depth: usize,
    /// The most bytes above one that calls tails, if there is such a one.
    above_tail: Option<u32>,
}

/// What the chain keeps in its own frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    /// The argument of the members that come later.
    pub(super) context: bool,
    /// What counting needs.
    pub(super) scratch: bool,
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Which members are inlined.
    pub(super) inlined: Vec<bool>,
    /// The slots, counted from the end of the stack.
    pub(super) context: i16,
    pub(super) scratch: i16,
}

impl Use {
    /// Measures a member. The verifier prints the depth of each function that it has not thrown away as dead: when
    /// they are not as many as the functions, only the first one is certain to be whose we think, and each other one
    /// counts as the deepest. A member without any must be called: a frame of its own is right for every depth, and
    /// a guess from the offsets in its instructions would miss what it computes.
    ///
    /// # Errors
    /// [`Refusal::CallDepth`].
    pub(super) fn measure<M>(
        program: &Program<'_, M>,
        depths: &[u32],
        may_inline: bool,
        rounding: Frames,
    ) -> Result<Self, Refusal> {
        let deepest = depths.iter().copied().max();
        let matching = depths.len() == program.functions().len();
        let frames = (0..program.functions().len()).map(|number| {
            let depth = depths.get(number).filter(|_| matching || number == 0);
            // Where nothing is known, only the verifier can tell.
            let depth = depth.copied().or(deepest);
            depth.map_or(0, |depth| rounding.round(depth))
        });
        let frames: Vec<u32> = frames.collect();
        let mut chains = Chains {
            program,
            known: vec![None; frames.len()],
            frames: &frames,
        };
        Ok(Self {
            inlined: depths.first().copied().filter(|_| may_inline),
            frame: frames.first().copied().unwrap_or(0),
            reach: chains.deepest(0, 1)?,
        })
    }

    /// What it takes below the chain's frame.
    fn below(&self, inlined: bool) -> u32 {
        let shared = if inlined { self.frame } else { 0 };
        self.reach.bytes.saturating_sub(shared)
    }

    /// Why it does not fit below the chain's frame.
    fn problem(&self, frame: u32, inlined: bool) -> Option<Refusal> {
        let needed = self.below(inlined);
        let left = MAX_STACK_BYTES.saturating_sub(frame);
        if frame > MAX_STACK_BYTES || needed > left {
            return Some(Refusal::Stack { needed, left });
        }
        let shared = if inlined { self.frame } else { 0 };
        let above = self.reach.above_tail?;
        let above = above.saturating_sub(shared).saturating_add(frame);
        let limit = MAX_BYTES_ABOVE_TAIL;
        (above >= limit).then_some(Refusal::TailCall { above, limit })
    }
}

/// Lays the frame out: as many members inlined as fit.
///
/// # Errors
/// The number of the member that does not fit even so, and why.
pub(super) fn lay_out(
    uses: &[Use],
    slots: Slots,
    rounding: Frames,
) -> Result<Frame, (usize, Refusal)> {
    let own = SLOT_BYTES * (u32::from(slots.context) + u32::from(slots.scratch));
    let mut inlined: Vec<bool> = uses.iter().map(|one| one.inlined.is_some()).collect();
    loop {
        let shared = uses.iter().zip(&inlined).enumerate();
        let shared = shared.filter_map(|(number, (one, inlined))| {
            let bytes = one.inlined.filter(|_| *inlined)?;
            Some((bytes, number))
        });
        let deepest = shared.max();
        let base = rounded(deepest.map_or(0, |(bytes, _)| bytes), SLOT_BYTES);
        let frame = rounding.round(base.saturating_add(own));
        let mut all = uses.iter().zip(&inlined).enumerate();
        let problem =
            all.find_map(|(number, (one, inlined))| Some((number, one.problem(frame, *inlined)?)));
        match (problem, deepest) {
            (None, _) => {
                check_calls(uses, &inlined)?;
                let slot = |bytes| 0_i16.saturating_sub_unsigned(small(base.saturating_add(bytes)));
                return Ok(Frame {
                    inlined,
                    context: slot(SLOT_BYTES),
                    scratch: slot(own),
                });
            }
            // No other one makes as much room for those that call.
            (Some(_), Some((_, number))) => inlined[number] = false,
            (Some(problem), None) => return Err(problem),
        }
    }
}

fn check_calls(uses: &[Use], inlined: &[bool]) -> Result<(), (usize, Refusal)> {
    for (number, (one, inlined)) in uses.iter().zip(inlined).enumerate() {
        // How deep below its main function.
        let limit = MAX_FRAMES - 1 - usize::from(!inlined);
        if one.reach.depth > limit + 1 {
            return Err((number, Refusal::CallDepth { limit }));
        }
    }
    Ok(())
}

/// The call chains of one member.
struct Chains<'a, M> {
    program: &'a Program<'a, M>,
    frames: &'a [u32],
    known: Vec<Option<Reach>>,
}

impl<M> Chains<'_, M> {
    /// What a function leads to. As `level` is limited, circles end too.
    fn deepest(&mut self, number: usize, level: usize) -> Result<Reach, Refusal> {
        let limit = MAX_FRAMES - 1;
        if level > MAX_FRAMES {
            return Err(Refusal::CallDepth { limit });
        }
        if let Some(known) = self.known[number] {
            return Ok(known);
        }
        let program = self.program;
        let function = &program.functions()[number];
        let mut below = Reach::default();
        for (_, callee) in program.uses(function) {
            let callee = self.deepest(callee, level + 1)?;
            below.bytes = callee.bytes.max(below.bytes);
            below.depth = callee.depth.max(below.depth);
            below.above_tail = callee.above_tail.max(below.above_tail);
        }
        let frame = self.frames[number];
        let above = below.above_tail.map(|above| above.saturating_add(frame));
        let found = Reach {
            bytes: below.bytes.saturating_add(frame),
            depth: below.depth + 1,
            above_tail: above.or(program.calls_tails(function).then_some(0)),
        };
        self.known[number] = Some(found);
        Ok(found)
    }
}

fn rounded(bytes: u32, to: u32) -> u32 {
    bytes.checked_next_multiple_of(to).unwrap_or(u32::MAX)
}

/// The frame was found to fit.
fn small(bytes: u32) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}
