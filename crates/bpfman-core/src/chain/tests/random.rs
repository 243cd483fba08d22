//! Random members, run one after the other and as a chain.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::*;
use super::NO_NAMES;
use super::instructions;
use super::interpreter::Machine;
use super::to_bytes;

/// What a function does next.
#[derive(Clone, Debug)]
enum Step {
    /// Leaves a trace in the context.
    Trace(u8),
    /// Leaves one that went through the stack.
    Stack(u8, u8),
    /// Returns when a word of the context is this.
    ReturnIf(u8, i32),
    /// Calls another function, or lets the kernel call it.
    Call(usize),
    CallBack(usize),
    /// Reads a byte of the packet, or returns 0.
    Packet(u8),
}

#[derive(Clone, Debug)]
struct RandomMember {
    functions: Vec<(Vec<Step>, i32)>,
    proceed_on: Vec<i32>,
    counted: bool,
    depths_known: bool,
}

const VERDICTS: [i32; 5] = [-1, 0, 1, 2, 31];
/// The first word of the context is the trace, the second what decides.
const TRACE: i16 = 0;
const INPUT: i16 = 8;
/// Three such functions and the chain's own slots fit, whoever is called.
const LONGEST_STACK: u8 = 18;

fn step(functions: usize) -> impl Strategy<Value = Step> {
    let verdict = prop::sample::select(VERDICTS.to_vec());
    prop_oneof![
        any::<u8>().prop_map(Step::Trace),
        (any::<u8>(), 1..=LONGEST_STACK).prop_map(|(mark, slot)| Step::Stack(mark, slot)),
        (0..4_u8, verdict).prop_map(|(input, verdict)| Step::ReturnIf(input, verdict)),
        (0..functions).prop_map(Step::Call),
        (0..functions).prop_map(Step::CallBack),
        (0..80_u8).prop_map(Step::Packet),
    ]
}

fn member() -> impl Strategy<Value = RandomMember> {
    let verdict = || prop::sample::select(VERDICTS.to_vec());
    let functions = (1..4_usize).prop_flat_map(move |count| {
        let function = (prop::collection::vec(step(count), 0..6), verdict());
        prop::collection::vec(function, count)
    });
    let proceed_on = prop::collection::vec(verdict(), 0..4);
    (functions, proceed_on, any::<bool>(), any::<bool>()).prop_map(
        |(functions, proceed_on, counted, depths_known)| RandomMember {
            functions,
            proceed_on,
            counted,
            depths_known,
        },
    )
}

fn jump_unless(register: u8, value: u8, offset: i16) -> Instruction {
    Instruction {
        code: 0x55,
        destination: register,
        source: 0,
        offset,
        immediate: value.into(),
    }
}

fn multiply(register: u8, by: i32) -> Instruction {
    Instruction {
        code: 0x27,
        destination: register,
        source: 0,
        offset: 0,
        immediate: by,
    }
}

fn packet_load(offset: u8) -> Instruction {
    Instruction {
        code: 0x30,
        destination: 0,
        source: 0,
        offset: 0,
        immediate: offset.into(),
    }
}

/// `trace = trace * 31 + r3`, with the context in r6.
fn trace() -> [Instruction; 4] {
    [
        Instruction::load(2, 6, TRACE),
        multiply(2, 31),
        Instruction::add_register(2, 3),
        Instruction::store(6, TRACE, 2),
    ]
}

impl RandomMember {
    /// A function may only use those behind it, so that nothing goes round in circles.
    fn used(&self, function: usize, wanted: usize) -> Option<usize> {
        let first = function + 1;
        let left = self.functions.len() - first;
        (left > 0).then(|| first + wanted % left)
    }

    /// Its instructions, and the stack of each function that something uses.
    fn assemble(&self) -> (Vec<Instruction>, Vec<u32>) {
        let mut code = Vec::new();
        let mut uses = Vec::new();
        let mut starts = vec![0; self.functions.len()];
        let mut depths = Vec::new();
        for (number, (steps, verdict)) in self.functions.iter().enumerate() {
            if number > 0 && !uses.iter().any(|(_, used)| *used == number) {
                continue;
            }
            starts[number] = code.len();
            // A callback has its context in the second register, and so have our calls.
            code.push(Instruction::copy(6, if number == 0 { 1 } else { 2 }));
            for step in steps {
                match step {
                    Step::Call(wanted) | Step::CallBack(wanted) => {
                        if let Some(used) = self.used(number, *wanted) {
                            let at = call(&mut code, matches!(step, Step::CallBack(_)));
                            uses.push((at, used));
                        }
                    }
                    _ => simple(&mut code, step),
                }
            }
            code.push(Instruction::set(0, *verdict));
            code.push(Instruction::exit());
            depths.push(steps.iter().map(depth).max().unwrap_or(0));
        }
        for (at, used) in uses {
            let distance = i64::try_from(starts[used]).unwrap() - i64::try_from(at + 1).unwrap();
            code[at].immediate = i32::try_from(distance).unwrap();
        }
        (code, depths)
    }
}

fn depth(step: &Step) -> u32 {
    match step {
        Step::Stack(_, slot) => 8 * u32::from(*slot),
        _ => 0,
    }
}

/// A step that no other function has a part in.
fn simple(code: &mut Vec<Instruction>, step: &Step) {
    match step {
        Step::Trace(mark) => {
            code.push(Instruction::set(3, i32::from(*mark)));
            code.extend(trace());
        }
        Step::Stack(mark, slot) => {
            let offset = -8 * i16::from(*slot);
            code.push(Instruction::set(3, i32::from(*mark)));
            code.push(Instruction::store(10, offset, 3));
            code.push(Instruction::load(3, 10, offset));
            code.extend(trace());
        }
        Step::ReturnIf(input, verdict) => {
            code.push(Instruction::load(2, 6, INPUT));
            code.push(jump_unless(2, *input, 2));
            code.push(Instruction::set(0, *verdict));
            code.push(Instruction::exit());
        }
        Step::Packet(offset) => code.push(packet_load(*offset)),
        Step::Call(_) | Step::CallBack(_) => {}
    }
}

/// Calls a function, or has it called twice, and says which instruction is to name it.
fn call(code: &mut Vec<Instruction>, back: bool) -> usize {
    if !back {
        code.push(Instruction::copy(2, 6));
        code.push(Instruction::call_function());
        return code.len() - 1;
    }
    let [mut first, second] = Instruction::load_map(2);
    first.source = 4;
    code.push(Instruction::set(1, 2));
    code.extend([first, second]);
    code.push(Instruction::copy(3, 6));
    code.push(Instruction::call_helper(181));
    code.len() - 4
}

/// What the chain means: each member runs until one stops it.
fn reference(machine: &mut Machine, members: &[RandomMember], last: u32) -> (u32, Vec<u64>) {
    let mut runs = vec![0; members.len()];
    for (number, member) in members.iter().enumerate() {
        let verdict = machine.run(&member.assemble().0);
        runs[number] = u64::from(member.counted);
        if !member.proceed_on.contains(&verdict.cast_signed()) {
            return (verdict, runs);
        }
    }
    (last, runs)
}

fn compile_all(members: &[RandomMember]) -> Result<Chain<u32>, ChainError<usize>> {
    let assembled = members.iter().map(|member| {
        let (code, depths) = member.assemble();
        (to_bytes(&code), depths)
    });
    let assembled: Vec<_> = assembled.collect();
    let parts = members.iter().zip(&assembled).enumerate();
    let parts = parts.map(|(id, (member, (instructions, depths)))| Member {
        id,
        instructions,
        references: &[],
        called: false,
        kernel_functions: &NO_NAMES,
        types: MemberTypes::default(),
        stack_depths: if member.depths_known { depths } else { &[] },
        proceed_on: &member.proceed_on,
        counter: member.counted.then(|| Counter {
            map: 7,
            key: u32::try_from(id).unwrap(),
        }),
    });
    compile(Family::Xdp, Frames::Of32, &parts.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_chain_does_what_its_members_do_one_after_the_other(
        members in prop::collection::vec(member(), 0..8),
        input in 0..4_u64,
    ) {
        let chain = compile_all(&members);
        let chain = chain.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut expected = Machine::new([1, input, 0, 0]);
        let (verdict, runs) = reference(&mut expected, &members, 2);
        let mut found = Machine::new([1, input, 0, 0]);
        prop_assert_eq!(found.run(&instructions(&chain)), verdict);
        prop_assert_eq!(found.context(), expected.context());
        for (key, runs) in (0..).zip(runs) {
            prop_assert_eq!(found.counter(key), (runs, runs * super::interpreter::TICK));
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        references in prop::collection::vec(0..30_u32, 0..3),
        depths in prop::collection::vec(any::<u32>(), 0..3),
    ) {
        take_or_refuse(&bytes, &references, &depths);
    }

    #[test]
    fn what_is_damaged_is_taken_or_refused(
        member in member(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        depths in prop::collection::vec(0..600_u32, 0..4),
    ) {
        let mut bytes = to_bytes(&member.assemble().0);
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        take_or_refuse(&bytes, &[], &depths);
    }
}

fn take_or_refuse(bytes: &[u8], references: &[u32], depths: &[u32]) {
    let references = references.iter().map(|instruction| MapReference {
        instruction: *instruction,
        map: 0_u8,
    });
    let references: Vec<_> = references.collect();
    let member = Member {
        id: 0,
        instructions: bytes,
        references: &references,
        stack_depths: depths,
        called: false,
        kernel_functions: &NO_NAMES,
        types: MemberTypes::default(),
        proceed_on: &[0, 2],
        counter: None,
    };
    if let Ok(chain) = compile(Family::Tc, Frames::Of32, &[member.clone(), member]) {
        assert!(chain.instructions.len() > 2 * bytes.len());
    }
}
