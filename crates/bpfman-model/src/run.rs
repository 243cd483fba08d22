//! What a packet meets: the programs that run, one after the other, for given verdicts.

use bpfman_core::dispatcher::DispatcherConfig;
use bpfman_core::dispatcher::SLOT_FUNCTIONS;
use bpfman_core::dispatcher::mask;
use bpfman_core::types::Family;
use bpfman_core::types::ProgramId;

use crate::World;
use crate::code::Body;
use crate::code::EXIT;
use crate::code::LOAD_MAP;
use crate::code::SET;
use crate::code::marked;
use crate::objects::Objects;

/// `goto`, `if r0 == imm goto` of 64 and of 32 bits, and `call`, as `linux/bpf.h` has them.
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_VERDICT: u8 = 0x16;
const CALL: u8 = 0x85;
/// `dst = src`.
const COPY: u8 = 0xbf;

/// What a packet has met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The loaded programs that ran. One that was compiled into a chain, or made an extension of, is named itself.
    pub programs: Vec<ProgramId>,
    /// What came of it.
    pub verdict: i32,
}

impl World {
    /// Gives a program a packet. `verdict` says what each loaded program answers.
    ///
    /// # Panics
    /// When the kernel has no such program, or its instructions are not understood.
    #[must_use]
    pub fn run(&self, program: ProgramId, verdict: impl Fn(ProgramId) -> i32) -> Run {
        let state = self.state().borrow();
        assert!(state.objects.programs.contains_key(&program));
        let mut packet = Packet {
            objects: &state.objects,
            verdict: &verdict,
            programs: Vec::new(),
        };
        let verdict = packet.meet(program);
        Run {
            programs: packet.programs,
            verdict,
        }
    }
}

struct Packet<'a> {
    objects: &'a Objects,
    verdict: &'a dyn Fn(ProgramId) -> i32,
    programs: Vec<ProgramId>,
}

impl Packet<'_> {
    fn meet(&mut self, program: ProgramId) -> i32 {
        match self.objects.codes.get(&program).map(|code| &code.body) {
            None | Some(Body::Own) => self.ask(program),
            Some(Body::Instructions(bytes)) => self.follow(bytes),
            Some(Body::Dispatcher(family, config)) => self.dispatch(program, *family, config),
        }
    }

    fn ask(&mut self, program: ProgramId) -> i32 {
        self.programs.push(program);
        (self.verdict)(program)
    }

    fn dispatch(
        &mut self,
        dispatcher: ProgramId,
        family: Family,
        config: &DispatcherConfig,
    ) -> i32 {
        for (slot, function) in config.slots().iter().zip(SLOT_FUNCTIONS) {
            let key = (dispatcher, function.to_owned());
            let link = self.objects.slots.get(&key);
            let link = link.and_then(|link| self.objects.links.get(link));
            let answer = match link.map(|link| link.program) {
                Some(extension) => self.meet(extension),
                None => family.empty_slot(),
            };
            if slot.proceed_on & mask(family, &[answer]) == 0 {
                return answer;
            }
        }
        family.end()
    }

    /// Follows the instructions of a chain. Of the registers only the verdict counts, and where it is kept
    /// while a run is counted.
    fn follow(&mut self, bytes: &[u8]) -> i32 {
        let (instructions, _) = bytes.as_chunks::<8>();
        let (mut answer, mut kept) = (0, 0);
        let mut back = Vec::new();
        let mut at = 0;
        loop {
            let [opcode, registers, o0, o1, c0, c1, c2, c3] = instructions[at];
            let constant = i32::from_ne_bytes([c0, c1, c2, c3]);
            let offset = isize::from(i16::from_ne_bytes([o0, o1]));
            at += 1;
            match (opcode, registers) {
                (SET, 0) => {
                    answer = match marked(constant) {
                        Some(program) => self.ask(program),
                        None => constant,
                    }
                }
                (COPY, COUNTED_FROM) => kept = answer,
                (COPY, COUNTED_BACK) => answer = kept,
                (LOAD_MAP, _) => at += 1,
                (JUMP, _) => at = moved(at, offset),
                (JUMP_IF_VERDICT, _) if answer == constant => at = moved(at, offset),
                // A counter's element is always there.
                (JUMP_IF_EQUAL | JUMP_IF_VERDICT, _) => {}
                (CALL, OWN_FUNCTION) => {
                    back.push(at);
                    at = moved(at, constant as isize);
                }
                (EXIT, _) => match back.pop() {
                    Some(caller) => at = caller,
                    None => return answer,
                },
                _ => {}
            }
        }
    }
}

/// The registers of `r6 = r0`, of `r0 = r6`, and the kind of a call of a function of the program.
const COUNTED_FROM: u8 = registers(6, 0);
const COUNTED_BACK: u8 = registers(0, 6);
const OWN_FUNCTION: u8 = registers(0, 1);

const fn registers(destination: u8, source: u8) -> u8 {
    if cfg!(target_endian = "little") {
        destination | source << 4
    } else {
        destination << 4 | source
    }
}

fn moved(at: usize, distance: isize) -> usize {
    at.checked_add_signed(distance)
        .expect("a program jumps within itself")
}
