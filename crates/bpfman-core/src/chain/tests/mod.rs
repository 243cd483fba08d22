//! Chains, as they are written down and as they run.

mod interpreter;
mod random;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::instruction::R0;
use super::instruction::R1;
use super::instruction::R10;
use super::*;

const XDP_PASS: i32 = 2;
const XDP_DROP: i32 = 1;

fn to_bytes(code: &[Instruction]) -> Vec<u8> {
    code.iter().copied().flat_map(Instruction::bytes).collect()
}

fn instructions<M>(chain: &Chain<M>) -> Vec<Instruction> {
    Instruction::read_all(&chain.instructions).unwrap()
}

fn answers(verdict: i32) -> Vec<u8> {
    to_bytes(&[Instruction::set(R0, verdict), Instruction::exit()])
}

fn member<'a>(instructions: &'a [u8], stack_depths: &'a [u32]) -> Member<'a, &'static str, u32> {
    Member {
        id: "link 3",
        instructions,
        references: &[],
        stack_depths,
        called: false,
        kernel_functions: &NO_NAMES,
        types: MemberTypes::default(),
        proceed_on: &[XDP_PASS],
        counter: None,
    }
}

static NO_NAMES: BTreeMap<u32, String> = BTreeMap::new();

fn refusal(members: &[Member<'_, &'static str, u32>]) -> String {
    compile(Family::Xdp, Frames::Of32, members)
        .unwrap_err()
        .to_string()
}

/// An instruction of any kind.
fn raw(code: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        destination: 0,
        source,
        offset,
        immediate,
    }
}

fn wide(source: u8, immediate: i32, second: i32) -> [Instruction; 2] {
    [raw(0x18, source, 0, immediate), raw(0, 0, 0, second)]
}

#[test]
fn two_members_become_one_program() {
    let pass = answers(XDP_PASS);
    let mut second = member(&pass, &[16]);
    second.proceed_on = &[XDP_DROP, XDP_PASS];
    let chain = compile(Family::Xdp, Frames::Of32, &[member(&pass, &[5]), second]).unwrap();
    let expected = [
        Instruction::store(R10, -24, R1),
        Instruction::set(R0, XDP_PASS),
        Instruction::jump(0),
        Instruction::jump_if_verdict(XDP_PASS, 1),
        Instruction::exit(),
        Instruction::load(R1, R10, -24),
        Instruction::set(R0, XDP_PASS),
        Instruction::jump(0),
        Instruction::jump_if_verdict(XDP_DROP, 2),
        Instruction::jump_if_verdict(XDP_PASS, 1),
        Instruction::exit(),
        Instruction::set(R0, XDP_PASS),
        Instruction::exit(),
    ];
    assert_eq!(instructions(&chain), expected);
    assert_eq!(chain.types, None);
}

#[test]
fn a_member_costs_its_context_and_its_verdict_and_nothing_else() {
    let pass = answers(XDP_PASS);
    for count in [1, 2, 5, 64] {
        let members = vec![member(&pass, &[0]); count];
        let chain = compile(Family::Xdp, Frames::Of32, &members).unwrap();
        // Saved once if someone else needs it; loaded for all but the first; compare and exit; the answer.
        let written = usize::from(count > 1) + 2 * count + (count - 1) + 2 * count + 2;
        assert_eq!(instructions(&chain).len(), written, "{count}");
        let mut machine = interpreter::Machine::new([0; 4]);
        assert_eq!(machine.run(&instructions(&chain)), 2);
        // The exit after each compare is not run.
        assert_eq!(machine.steps, written - count, "{count}");
    }
}

#[test]
fn a_chain_of_none_answers_what_a_chain_answers_at_its_end() {
    for (family, verdict) in [(Family::Xdp, 2), (Family::Tc, 0)] {
        let chain = compile::<u8, u8>(family, Frames::Of32, &[]).unwrap();
        assert_eq!(chain.instructions, answers(verdict));
    }
}

#[test]
fn what_cannot_be_reached_is_left_out_but_checked() {
    let pass = answers(XDP_PASS);
    let mut last = member(&pass, &[0]);
    last.proceed_on = &[];
    let chain = compile(
        Family::Xdp,
        Frames::Of32,
        &[last.clone(), member(&pass, &[0])],
    )
    .unwrap();
    assert_eq!(instructions(&chain).len(), 3);
    assert!(refusal(&[last, member(&[], &[])]).contains("damaged"));
}

#[test]
fn maps_and_functions_are_found_where_they_went() {
    let mut code = Vec::from(wide(1, 0, 0));
    code.extend([
        raw(0x85, 1, 0, 1),
        Instruction::exit(),
        // The function that the call means.
        Instruction::set(R0, XDP_PASS),
    ]);
    code.extend(wide(2, 0, 24));
    code.push(Instruction::exit());
    let bytes = to_bytes(&code);
    let references = [(5, 20), (0, 10)];
    let references = references.map(|(instruction, map)| MapReference { instruction, map });
    let mut part = member(&bytes, &[0, 0]);
    part.references = &references;
    let chain = compile(Family::Xdp, Frames::Of32, &[part.clone(), part]).unwrap();
    let found: Vec<(u32, u32)> = chain
        .references
        .iter()
        .map(|one| (one.instruction, one.map))
        .collect();
    // Save, 4, compare, exit, load, 4, compare, exit, answer, exit; then the functions.
    assert_eq!(found, [(1, 10), (8, 10), (17, 20), (21, 20)]);
    let code = instructions(&chain);
    assert_eq!(code[3].immediate, 16 - 4);
    assert_eq!(code[10].immediate, 20 - 11);
    assert_eq!(code[18], raw(0, 0, 0, 24), "the place in the value");
    assert_eq!(chain.types, None);
}

#[test]
fn callbacks_have_the_types_of_all_functions() {
    let mut code = Vec::from(wide(4, 3, 0));
    code.extend([
        Instruction::set(R0, XDP_PASS),
        Instruction::exit(),
        Instruction::set(R0, 0),
        Instruction::exit(),
    ]);
    let bytes = to_bytes(&code);
    let chain = compile(Family::Xdp, Frames::Of32, &[member(&bytes, &[0, 0])]).unwrap();
    assert_eq!(instructions(&chain)[0].immediate, 8 - 1);
    let types = chain.types.unwrap();
    let words = |bytes: &[u8]| -> Vec<u32> {
        let words = bytes.as_chunks::<4>().0.iter();
        words.map(|word| u32::from_ne_bytes(*word)).collect()
    };
    let functions = types.functions.iter();
    let functions: Vec<_> = functions
        .map(|info| (info.instruction, info.type_id))
        .collect();
    assert_eq!(functions, [(0, 6), (8, 7)]);
    let (header, rest) = types.btf.split_at(24);
    assert_eq!(words(&header[4..]), [24, 0, 96, 96, 44]);
    let (described, names) = rest.split_at(96);
    let expected = b"\0int\0xdp_md\0context\0chain\0member0_function1\0";
    assert_eq!(names, expected.as_slice());
    let function = 12 << 24;
    let expected = [
        [1, 1 << 24, 4, 0x0100_0020].as_slice(),
        &[0, 13 << 24, 1],
        &[5, 4 << 24, 0],
        &[0, 2 << 24, 3],
        &[0, 13 << 24 | 1, 1, 12, 4],
        &[20, function, 2],
        &[26, function, 2],
    ];
    assert_eq!(words(described), expected.concat());
}

#[test]
fn a_member_that_is_too_long_to_be_left_is_called() {
    let mut code = vec![Instruction::set(R0, XDP_PASS); 40_000];
    code.insert(0, raw(0x15, 0, 1, 7));
    code.insert(1, Instruction::exit());
    code.push(Instruction::exit());
    let bytes = to_bytes(&code);
    let chain = compile(Family::Xdp, Frames::Of32, &[member(&bytes, &[0])]).unwrap();
    let found = instructions(&chain);
    assert_eq!(found[0], raw(0x85, 1, 0, 4));
    assert_eq!(found[5..], code);

    // One less, and the exit reaches the end.
    let body = vec![Instruction::set(R0, XDP_PASS); 32_766];
    let start = [raw(0x15, 0, 1, 7), Instruction::exit()];
    let code = [&start, body.as_slice(), &[Instruction::jump(-1)]].concat();
    let bytes = to_bytes(&code);
    let chain = compile(Family::Xdp, Frames::Of32, &[member(&bytes, &[0])]).unwrap();
    assert_eq!(instructions(&chain)[1], Instruction::jump(i16::MAX));
}

#[test]
fn a_member_is_called_where_it_cannot_share_the_stack() {
    let pass = answers(XDP_PASS);
    let caller = to_bytes(&[
        raw(0x85, 1, 0, 1),
        Instruction::exit(),
        Instruction::set(R0, XDP_PASS),
        Instruction::exit(),
    ]);
    let calls = |members: &[Member<'_, &'static str, u32>]| {
        let chain = compile(Family::Xdp, Frames::Of32, members).unwrap();
        let code = instructions(&chain);
        let calls = code
            .iter()
            .filter(|one| one.code == 0x85 && one.source == 1);
        calls.count()
    };
    let shallow = || member(&pass, &[8]);
    // What is alone needs no slot, and what is deep has room for one.
    assert_eq!(calls(&[member(&pass, &[512])]), 0);
    assert_eq!(calls(&[member(&pass, &[504]), shallow()]), 0);
    // 300 bytes and a slot leave no room for 200 more, 8 and a slot leave room for both.
    assert_eq!(
        calls(&[member(&pass, &[300]), member(&caller, &[8, 200])]),
        2
    );
    assert_eq!(
        calls(&[member(&pass, &[300]), member(&caller, &[8, 100])]),
        1
    );
    // Nobody knows.
    assert_eq!(calls(&[member(&pass, &[])]), 1);
    let needs = "link 3 needs 512 bytes of stack, of which a chain leaves 480";
    assert_eq!(refusal(&[member(&pass, &[505]), shallow()]), needs);
    assert!(refusal(&[member(&pass, &[u32::MAX, u32::MAX])]).contains("bytes of stack"));
}

#[test]
fn frames_are_rounded_as_the_kernel_rounds_them() {
    let pass = answers(XDP_PASS);
    let deep = [member(&pass, &[488]), member(&pass, &[496])];
    let joined = |frames| compile(Family::Xdp, frames, &deep);
    assert!(joined(Frames::Of16).is_ok());
    // Both fit in one frame; beside one that must be called, neither does.
    let mut tail = Vec::from([raw(0x85, 0, 0, 12)]);
    tail.extend([Instruction::set(R0, XDP_PASS), Instruction::exit()]);
    let tail = to_bytes(&tail);
    let beside = |frames| {
        let members = [member(&tail, &[0]), member(&pass, &[240])];
        let code = instructions(&compile(Family::Xdp, frames, &members).unwrap());
        code.iter()
            .filter(|one| one.code == 0x85 && one.source == 1)
            .count()
    };
    // 240 bytes and a slot are 248: 256 in both, and 256 above a tail call is too much.
    assert_eq!([beside(Frames::Of16), beside(Frames::Of32)], [2, 2]);
    let calls = to_bytes(&[
        raw(0x85, 1, 0, 1),
        Instruction::exit(),
        Instruction::set(R0, XDP_PASS),
        Instruction::exit(),
    ]);
    let called = |frames| {
        let members = [member(&pass, &[8]), member(&calls, &[8, 470])];
        compile(Family::Xdp, frames, &members).map(|_| ())
    };
    assert!(called(Frames::Of16).is_ok());
    assert!(called(Frames::Of32).is_ok());
    let deeper = [member(&pass, &[8]), member(&calls, &[8, 490])];
    assert!(compile(Family::Xdp, Frames::Of16, &deeper).is_ok());
    let error = compile(Family::Xdp, Frames::Of32, &deeper)
        .unwrap_err()
        .to_string();
    assert!(error.contains("bytes of stack"), "{error}");
}

#[test]
fn dead_functions_count_as_the_deepest() {
    let code = to_bytes(&[
        raw(0x85, 1, 0, 2),
        raw(0x85, 1, 0, 3),
        Instruction::exit(),
        Instruction::set(R0, XDP_PASS),
        Instruction::exit(),
        Instruction::set(R0, XDP_PASS),
        Instruction::exit(),
    ]);
    assert!(compile(Family::Xdp, Frames::Of32, &[member(&code, &[8, 480])]).is_ok());
    let error = refusal(&[member(&code, &[8, 481])]);
    assert!(error.contains("needs 544 bytes of stack"), "{error}");
}

/// Whether a program alone in a chain is called, as a global function of the context.
fn is_called(code: &[Instruction]) -> bool {
    let bytes = to_bytes(code);
    let names = [(5, String::from("bpf_xdp_metadata_rx_hash"))].into();
    let mut part = member(&bytes, &[0, 0]);
    part.kernel_functions = &names;
    let chain = compile(Family::Xdp, Frames::Of32, &[part]).unwrap();
    // The linkage of the function behind the main one, in the lowest bits of its info.
    const LINKAGE: usize = 24 + 16 + 3 * 12 + 20 + 12 + 4;
    let is_global =
        |types: &FunctionTypes| types.btf[LINKAGE..LINKAGE + 4] == (12_u32 << 24 | 1).to_ne_bytes();
    let called = chain.types.as_ref().is_some_and(is_global);
    let first = instructions(&chain)[0];
    assert!(
        !called || first.code == 0x85 && first.source == 1,
        "{code:?}"
    );
    called
}

#[test]
fn what_could_reach_the_next_member_gets_a_frame_of_its_own() {
    let exit = Instruction::exit();
    let [first, second] = wide(3, 9, 0);
    // What is known to stay where it is: memory, atomics, a variable of the kernel, helpers.
    let contained: [&[Instruction]; 5] = [
        &[
            raw(0x61, 1, 0, 0),
            raw(0x81, 1, 0, 0),
            raw(0xdb, 1, 0, 0),
            exit,
        ],
        &[raw(0xd7, 0, 0, 16), raw(0xbf, 1, 8, 0), exit],
        &[first, second, exit],
        &[raw(0x85, 0, 0, 1), raw(0x85, 0, 0, 181), exit],
        &[
            raw(0x85, 1, 0, 1),
            exit,
            raw(0x85, 2, 0, 5),
            raw(0xe5, 0, 0, 0),
            exit,
        ],
    ];
    for code in contained {
        assert!(!is_called(code), "{code:?}");
    }
    let reaching: [&[Instruction]; 11] = [
        // may_goto, a tail call, packet loads.
        &[raw(0xe5, 0, 0, 0), exit],
        &[raw(0x85, 0, 0, 12), exit],
        &[raw(0x30, 0, 0, 0), exit],
        &[raw(0x50, 0, 0, 0), exit],
        // Dynptrs of helpers, a helper that came later, any function of the kernel.
        &[raw(0x85, 0, 0, 197), exit],
        &[raw(0x85, 0, 0, 203), exit],
        &[raw(0x85, 0, 0, 212), exit],
        &[raw(0x85, 2, 0, 5), exit],
        // Instructions that came later.
        &[raw(0xe7, 0, 0, 0), exit],
        &[raw(0xa1, 0, 0, 0), exit],
        // A function of its own that ends abnormally: what the main function makes of it is no better known.
        &[raw(0x85, 1, 0, 1), exit, raw(0x85, 0, 0, 12), exit],
    ];
    for code in reaching {
        assert!(is_called(code), "{code:?}");
    }
}

#[test]
fn what_reaches_beyond_a_frame_is_refused_wherever_it_does() {
    let exit = Instruction::exit();
    let throws = raw(0x85, 2, 0, 7);
    let names = [
        (5, "bpf_rdonly_cast".to_owned()),
        (7, "bpf_throw".to_owned()),
        (8, "bpf_obj_new_impl".to_owned()),
    ]
    .into();
    let throwing: [&[Instruction]; 2] = [
        &[raw(0x85, 2, 0, 5), throws, exit],
        &[raw(0x85, 1, 0, 1), exit, throws, exit],
    ];
    for (code, at) in throwing.into_iter().zip([1, 2]) {
        let bytes = to_bytes(code);
        let mut part = member(&bytes, &[0, 0]);
        part.kernel_functions = &names;
        let expected = alloc::format!(
            "link 3 calls bpf_throw (instruction {at}), which would end the programs behind it too"
        );
        assert_eq!(refusal(&[part]), expected);
    }
    let own = to_bytes(&[raw(0x85, 2, 0, 8), exit]);
    let mut part = member(&own, &[0]);
    part.kernel_functions = &names;
    let error = refusal(&[part]);
    let expected = "calls bpf_obj_new_impl (instruction 0), whose type";
    assert!(error.contains(expected), "{error}");
    // One that nobody can name may throw.
    let unnamed = to_bytes(&[raw(0x85, 2, 0, 9), exit]);
    let mut part = member(&unnamed, &[0]);
    part.kernel_functions = &names;
    assert!(refusal(&[part]).contains("do not name (BTF id 9, instruction 0)"));
    let all = to_bytes(&[raw(0x85, 2, 0, 5), throws, raw(0x85, 0, 0, 1), exit]);
    assert_eq!(kernel_functions(&all), [5, 7].into());
}

#[test]
fn a_tail_call_does_not_leave_the_chain_and_has_little_stack_above_it() {
    let tail = to_bytes(&[
        raw(0x85, 0, 0, 12),
        Instruction::set(R0, XDP_PASS),
        Instruction::exit(),
    ]);
    assert!(makes_tail_calls(&tail));
    let chain = compile(Family::Xdp, Frames::Of32, &[member(&tail, &[0])]).unwrap();
    assert_eq!(instructions(&chain)[0], raw(0x85, 1, 0, 4));
    let pass = answers(XDP_PASS);
    let below = |bytes: u32| {
        let depths = [bytes];
        let members = [member(&tail, &[0]), member(&pass, &depths)];
        instructions(&compile(Family::Xdp, Frames::Of32, &members).unwrap())
    };
    let calls = |code: &[Instruction]| {
        code.iter()
            .filter(|one| one.source == 1 && one.code == 0x85)
            .count()
    };
    assert_eq!(calls(&below(216)), 1);
    assert_eq!(calls(&below(217)), 2);
    let caller = to_bytes(&[
        raw(0x85, 1, 0, 1),
        Instruction::exit(),
        raw(0x85, 0, 0, 12),
        Instruction::exit(),
    ]);
    assert!(compile(Family::Xdp, Frames::Of32, &[member(&caller, &[192, 0])]).is_ok());
    let error = refusal(&[member(&caller, &[224, 0]), member(&pass, &[0])]);
    assert!(
        error.ends_with("calls a tail below 256 bytes of stack; the kernel takes less than 256"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_moved_is_refused_by_name() {
    let exit = Instruction::exit();
    let table: [(&[Instruction], &str); 7] = [
        (
            &[raw(0x85, 2, 1, 5), exit],
            "calls a function of a kernel module",
        ),
        (
            &[wide(3, 9, 1)[0], wide(3, 9, 1)[1], exit],
            "reads a variable of a kernel module",
        ),
        (
            &[wide(5, 0, 0)[0], wide(5, 0, 0)[1], exit],
            "not known here",
        ),
        (&[raw(0x85, 3, 0, 5), exit], "not known here"),
        (&[raw(0x0d, 0, 0, 0), exit], "not known here"),
        (&[raw(0x8d, 0, 0, 0), exit], "not known here"),
        (&[raw(0x96, 0, 0, 0), exit], "not known here"),
    ];
    for (code, expected) in table {
        let error = refusal(&[member(&to_bytes(code), &[0])]);
        assert!(error.starts_with("link 3 "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let pass = answers(XDP_PASS);
    let verdicts: Vec<i32> = (0..65).collect();
    let mut part = member(&pass, &[0]);
    part.proceed_on = &verdicts;
    assert!(refusal(&[part]).ends_with("goes on after 65 verdicts; a chain knows 64"));
    let soundly = [
        [wide(3, 9, 0)[0], wide(3, 9, 0)[1], exit],
        // The jump that counts its loops.
        [raw(0xe5, 0, 1, 0), raw(0x06, 0, 0, -2), exit],
    ];
    for code in soundly {
        assert!(compile(Family::Xdp, Frames::Of32, &[member(&to_bytes(&code), &[0])]).is_ok());
    }
}

#[test]
fn what_is_no_program_is_damaged() {
    let exit = Instruction::exit();
    let [first, second] = wide(0, 0, 0);
    let table: [(&[Instruction], &str); 14] = [
        (&[], "there are none"),
        (&[exit, first], "instruction 1 lacks its second half"),
        (&[first, exit], "instruction 0 lacks its second half"),
        (&[raw(0x05, 0, 1, 0), exit], "instruction 0 jumps"),
        (&[raw(0x15, 0, -2, 0), exit], "instruction 0 jumps"),
        (&[raw(0x06, 0, 0, i32::MIN), exit], "instruction 0 jumps"),
        (
            &[raw(0x15, 0, 1, 0), first, second, exit],
            "instruction 0 jumps",
        ),
        (&[raw(0x85, 1, 0, 1), exit], "instruction 0 refers"),
        (&[raw(0x85, 1, 0, -1), exit], "instruction 0 refers"),
        (
            &[raw(0x85, 1, 0, 2), exit, first, second, exit],
            "instruction 0 refers",
        ),
        (
            &[raw(0x85, 1, 0, 0), exit],
            "before instruction 1 does not end",
        ),
        (&[exit, first, second], "before instruction 3 does not end"),
        (&[Instruction::jump(-1)], "never returns"),
        (
            &[wide(1, 0, 0)[0], second, exit],
            "instruction 0 loads a map that is not listed",
        ),
    ];
    for (code, expected) in table {
        let error = refusal(&[member(&to_bytes(code), &[0])]);
        assert!(error.starts_with("link 3 is damaged: "), "{error}");
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
    assert!(refusal(&[member(&[0; 9], &[0])]).contains("9 bytes are no whole number"));
}

#[test]
fn a_map_is_listed_once_and_where_it_is_loaded() {
    let code = to_bytes(&[wide(1, 0, 0)[0], wide(1, 0, 0)[1], Instruction::exit()]);
    for listed in [[0, 0].as_slice(), &[1], &[2], &[u32::MAX]] {
        let references = listed.iter().map(|instruction| MapReference {
            instruction: *instruction,
            map: 0,
        });
        let references: Vec<_> = references.collect();
        let mut part = member(&code, &[0]);
        part.references = &references;
        let error = refusal(&[part]);
        assert!(
            error.contains("loads no map, or is listed twice"),
            "{error}"
        );
    }
}

#[test]
fn functions_that_call_each_other_in_circles_are_refused() {
    let code = to_bytes(&[
        raw(0x85, 1, 0, 1),
        Instruction::exit(),
        raw(0x85, 1, 0, 1),
        Instruction::exit(),
        raw(0x85, 1, 0, -3),
        Instruction::exit(),
    ]);
    assert!(refusal(&[member(&code, &[0, 0, 0])]).contains("more than 7 deep"));
    // Seven functions below the main one are the most, and one less below one that is called.
    let nested = |count: usize| {
        let mut code = [raw(0x85, 1, 0, 1), Instruction::exit()].repeat(count);
        code.extend([Instruction::set(R0, XDP_PASS), Instruction::exit()]);
        to_bytes(&code)
    };
    let (fits, too_deep) = (nested(7), nested(8));
    assert!(compile(Family::Xdp, Frames::Of32, &[member(&fits, &[0; 8])]).is_ok());
    assert!(refusal(&[member(&too_deep, &[0; 9])]).contains("more than 7 deep"));
    assert!(refusal(&[member(&fits, &[])]).contains("more than 6 deep"));
}

#[test]
fn a_chain_is_no_larger_than_a_program() {
    let long = vec![Instruction::set(R0, 0); 20_000];
    let long = to_bytes(&[long.as_slice(), &[Instruction::exit()]].concat());
    let error = refusal(&vec![member(&long, &[0]); 50]);
    assert_eq!(
        error,
        "link 3 makes the chain too large: 1000202 instructions, and the kernel takes 1000000"
    );
    let pass = answers(XDP_PASS);
    let error = refusal(&vec![member(&pass, &[]); 256]);
    assert_eq!(
        error,
        "link 3 makes the chain too large: 257 functions, and the kernel takes 256"
    );
    let counted = (0..65).map(|map| {
        let mut part = member(&pass, &[0]);
        part.counter = Some(Counter { map, key: 0 });
        part
    });
    let error = refusal(&counted.collect::<Vec<_>>());
    assert_eq!(
        error,
        "link 3 makes the chain too large: 65 maps, and the kernel takes 64"
    );
}
