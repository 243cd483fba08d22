//! As much of BPF as the tests need: what the verifier would refuse panics.

use alloc::vec;
use alloc::vec::Vec;

use super::super::instruction::Instruction;

/// Where the context is, and how long.
const CONTEXT: usize = 64;
pub(super) const CONTEXT_WORDS: usize = 4;
/// Where the element of each counter is.
const COUNTERS: usize = 1024;
const COUNTER_BYTES: usize = 16;
/// Where the stack of the first function starts.
const STACK: usize = 8192;
const FRAME: usize = 512;
const MAX_LEVELS: usize = 8;
/// Packets have this many bytes, each its own offset.
const PACKET: i32 = 64;
/// What a call leaves in the registers it spoils.
const SPOILED: u64 = 0xdead_dead_dead_dead;
/// How much later it is each time.
pub(super) const TICK: u64 = 10;

const BPF_LOOP: i32 = 181;

/// The memory of a run.
#[derive(Clone)]
pub(super) struct Machine {
    memory: Vec<u8>,
    clock: u64,
    /// How many instructions have run.
    pub(super) steps: usize,
}

impl Machine {
    pub(super) fn new(context: [u64; CONTEXT_WORDS]) -> Self {
        let memory = vec![0xa5; STACK + FRAME * MAX_LEVELS];
        let mut machine = Self {
            memory,
            clock: 0,
            steps: 0,
        };
        machine.memory[COUNTERS..STACK].fill(0);
        for (index, word) in context.into_iter().enumerate() {
            machine.store(CONTEXT + 8 * index, &word.to_ne_bytes());
        }
        machine
    }

    pub(super) fn context(&self) -> [u64; CONTEXT_WORDS] {
        core::array::from_fn(|index| self.load(CONTEXT + 8 * index))
    }

    /// The runs and the time that a counter has.
    pub(super) fn counter(&self, key: u32) -> (u64, u64) {
        let at = COUNTERS + COUNTER_BYTES * usize::try_from(key).unwrap();
        (self.load(at), self.load(at + 8))
    }

    /// Runs a program.
    pub(super) fn run(&mut self, code: &[Instruction]) -> u32 {
        let answer = self.function(code, 0, [u64::try_from(CONTEXT).unwrap(), SPOILED], 1);
        u32::try_from(answer & u64::from(u32::MAX)).unwrap()
    }

    fn function(
        &mut self,
        code: &[Instruction],
        start: usize,
        given: [u64; 2],
        level: usize,
    ) -> u64 {
        assert!(level <= MAX_LEVELS, "too many frames");
        let mut r = [SPOILED; 11];
        r[1..3].copy_from_slice(&given);
        r[10] = u64::try_from(STACK + FRAME * level).unwrap();
        let mut next = start;
        loop {
            let one = code[next];
            next += 1;
            self.steps += 1;
            assert!(self.steps < 1_000_000, "it does not end");
            let (to, from) = (usize::from(one.destination), usize::from(one.source));
            let immediate = i64::from(one.immediate).cast_unsigned();
            let jump = usize::try_from(i64::try_from(next).unwrap() + i64::from(one.offset));
            match one.code {
                0x05 => next = jump.unwrap(),
                0x07 => r[to] = r[to].wrapping_add(immediate),
                0x0f => r[to] = r[to].wrapping_add(r[from]),
                0x15 if r[to] == immediate => next = jump.unwrap(),
                0x16 if r[to] & 0xffff_ffff == immediate & 0xffff_ffff => next = jump.unwrap(),
                0x55 if r[to] != immediate => next = jump.unwrap(),
                0x15 | 0x16 | 0x55 => {}
                0x18 => {
                    let target = i64::try_from(next).unwrap() + i64::from(one.immediate);
                    r[to] = if one.source == 4 {
                        target.cast_unsigned()
                    } else {
                        SPOILED
                    };
                    next += 1;
                }
                0x1f => r[to] = r[to].wrapping_sub(r[from]),
                0x27 => r[to] = r[to].wrapping_mul(immediate),
                // The kernel returns from the function when the packet is too short.
                0x30 if one.immediate >= PACKET => return 0,
                0x30 => r[0] = immediate,
                0x62 => self.store(place(r[to], one), &one.immediate.to_ne_bytes()),
                0x79 => r[to] = self.load(place(r[from], one)),
                0x7b => self.store(place(r[to], one), &r[from].to_ne_bytes()),
                0x85 => {
                    r[0] = self.call(code, next, one, [r[1], r[2], r[3]], level);
                    r[1..6].fill(SPOILED);
                }
                0x95 => return r[0],
                0xb7 => r[to] = immediate,
                0xbf => r[to] = r[from],
                other => panic!("{other:#x} at {next}"),
            }
        }
    }

    fn call(
        &mut self,
        code: &[Instruction],
        next: usize,
        one: Instruction,
        [first, second, third]: [u64; 3],
        level: usize,
    ) -> u64 {
        match (one.source, one.immediate) {
            (1, distance) => {
                let start = i64::try_from(next).unwrap() + i64::from(distance);
                self.function(
                    code,
                    usize::try_from(start).unwrap(),
                    [first, second],
                    level + 1,
                )
            }
            (0, 1) => {
                let key = self.load(usize::try_from(second).unwrap()) & u64::from(u32::MAX);
                u64::try_from(COUNTERS).unwrap() + key * 16
            }
            (0, 5) => {
                self.clock += TICK;
                self.clock
            }
            (0, BPF_LOOP) => {
                let start = usize::try_from(second).unwrap();
                for index in 0..first {
                    self.function(code, start, [index, third], level + 1);
                }
                first
            }
            other => panic!("a call of {other:?}"),
        }
    }

    fn load(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.memory[at..at + 8].try_into().unwrap())
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn place(base: u64, one: Instruction) -> usize {
    usize::try_from(base.wrapping_add_signed(one.offset.into())).unwrap()
}
