use std::collections::BTreeMap;

use super::put_maps;
use super::said_depths;
use super::stack_depths;
use super::take_maps;

/// An instruction of this machine's byte order.
fn instruction(opcode: u8, target: u8, source: u8, offset: i16, constant: i32) -> [u8; 8] {
    let registers = match cfg!(target_endian = "little") {
        true => source << 4 | target,
        false => target << 4 | source,
    };
    let [o0, o1] = offset.to_ne_bytes();
    let [c0, c1, c2, c3] = constant.to_ne_bytes();
    [opcode, registers, o0, o1, c0, c1, c2, c3]
}

fn exit() -> [u8; 8] {
    instruction(0x95, 0, 0, 0, 0)
}

fn call(distance: i32) -> [u8; 8] {
    instruction(0x85, 0, 1, 0, distance)
}

fn load_map(source: u8, number: i32) -> [[u8; 8]; 2] {
    [
        instruction(0x18, 1, source, 0, number),
        instruction(0, 0, 0, 0, 7),
    ]
}

#[test]
fn the_depths_are_read_from_the_line_that_has_them() {
    let table: [(&str, Option<&[u32]>); 12] = [
        ("stack depth 16+0+8\n", Some(&[16, 0, 8])),
        ("stack depth 0", Some(&[0])),
        (
            "verification time 5 usec\nstack depth 512\nprocessed 2 insns",
            Some(&[512]),
        ),
        ("stack depth 16+8 max 24\nprocessed 2 insns", Some(&[16, 8])),
        ("stack depth 4+4 max_stack 8 of 512", Some(&[4, 4])),
        ("stack depth 1\nstack depth 2\n", Some(&[2])),
        ("stack depth \n", None),
        ("stack depth 16+\n", None),
        ("stack depth -8\n", None),
        ("stack depth 4294967296\n", None),
        ("the stack depth 8 is said otherwise", None),
        ("", None),
    ];
    for (log, expected) in table {
        assert_eq!(said_depths(log).as_deref(), expected, "{log:?}");
    }
}

#[test]
fn each_function_has_the_depth_that_the_verifier_says() {
    let store = |offset| instruction(0x7b, 10, 1, offset, 0);
    let two = [store(-4), call(1), exit(), store(-12), exit()].concat();
    let table: [(&str, &[u32]); 5] = [
        ("stack depth 8+16\n", &[8, 16]),
        ("", &[]),
        // Others than there are: which of them it was, nobody says. The first is never dead.
        ("stack depth 8\n", &[8]),
        ("stack depth 0+0+16\n", &[4, 12, 16]),
        ("stack depth 0\n", &[4]),
    ];
    for (log, expected) in table {
        assert_eq!(stack_depths(log, &two), expected, "{log:?}");
    }
    assert_eq!(stack_depths("stack depth 8\n", &exit()), [8]);
}

#[test]
fn a_function_is_one_that_is_called_or_pointed_to() {
    let mut bytes = [call(3), call(2)].concat();
    // The second instruction of the pair is not one of its own.
    bytes.extend(load_map(4, 3).concat());
    bytes.extend([exit(), exit(), exit()].concat());
    assert_eq!(stack_depths("stack depth 1+2+3", &bytes), [1, 2, 3]);
    // A helper is called by number, and a function outside the program's own instructions is nobody's.
    let helper = [instruction(0x85, 0, 0, 0, 1), exit()].concat();
    assert_eq!(stack_depths("stack depth 1", &helper), [1]);
    let outside = [call(i32::MIN), exit()].concat();
    assert_eq!(stack_depths("stack depth 1", &outside), [1]);
}

#[test]
fn what_the_verifier_dropped_counts_as_long_as_it_is_there() {
    let store = |offset| instruction(0x7b, 10, 1, offset, 0);
    let load = |offset| instruction(0x79, 1, 10, offset, 0);
    let constant = |offset| instruction(0x7a, 10, 0, offset, 0);
    let cases: [(Vec<[u8; 8]>, [u32; 2]); 6] = [
        (vec![call(1), exit(), exit()], [8, 16]),
        (vec![store(-24), call(1), exit(), exit()], [24, 16]),
        (vec![load(-32), call(1), exit(), exit()], [32, 16]),
        (vec![call(1), exit(), constant(-40), exit()], [8, 40]),
        // Another register, and beyond the stack: both are none of the stack's.
        (
            vec![instruction(0x7b, 1, 10, -64, 0), call(1), exit(), exit()],
            [8, 16],
        ),
        (vec![store(8), call(1), exit(), exit()], [8, 16]),
    ];
    for (instructions, expected) in cases {
        let depths = stack_depths("stack depth 8+16", &instructions.concat());
        assert_eq!(depths, expected, "{instructions:?}");
    }
}

#[test]
fn maps_that_are_taken_can_be_put_back() {
    let mut bytes = load_map(1, 5).concat();
    bytes.extend(load_map(2, 6).concat());
    // Neither a map's number in another instruction nor an unknown one is a map.
    bytes.extend(instruction(0xb7, 1, 1, 0, 5));
    bytes.extend(load_map(3, 5).concat());
    bytes.extend(exit());
    let whole = bytes.clone();
    let references = take_maps(&mut bytes, &[(5, "a".to_owned()), (6, "b".to_owned())]);
    let found: Vec<(u32, &str)> = references
        .iter()
        .map(|reference| (reference.instruction, reference.map.as_str()))
        .collect();
    assert_eq!(found, [(0, "a"), (2, "b")]);
    assert_ne!(bytes, whole);
    put_maps(&mut bytes, BTreeMap::from([(0, 5), (2, 6)])).unwrap();
    assert_eq!(bytes, whole);
}

#[test]
fn every_instruction_that_loads_a_map_must_have_one() {
    let mut bytes = load_map(1, 0).concat();
    bytes.extend(exit());
    let mut put = |maps: &[(u32, i32)]| put_maps(&mut bytes, maps.iter().copied().collect());
    assert_eq!(put(&[]), Err(0));
    assert_eq!(put(&[(0, 5), (1, 5)]), Err(1));
    assert_eq!(put(&[(0, 5), (u32::MAX, 5)]), Err(u32::MAX));
    assert_eq!(put(&[(0, 5)]), Ok(()));
}
