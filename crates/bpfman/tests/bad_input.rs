//! What is refused: a message, a hint, an exit code, and nothing changed.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Via;
use common::World;
use common::object;
use common::stderr;

both_ways!(
    the_verifier_refuses_a_program,
    a_wrong_program_or_type_is_named,
    a_bad_pin_path_is_refused,
    without_capabilities_the_exit_code_is_4,
);

/// With something there already, so that a change would show.
fn furnish(world: &World) {
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
}

fn refuse_object(name: &str, words: &[&str]) {
    let world = World::new(Via::InProcess);
    furnish(&world);
    let path = object(name);
    world.refused(&["load", &path, "--program", "nosuch"], 2, words);
}

#[test]
fn a_file_that_is_not_elf_is_refused() {
    refuse_object("not_elf.o", &["open bytecode ELF", "not an ELF file"]);
}

#[test]
fn a_truncated_object_is_refused() {
    refuse_object("truncated.o", &["open bytecode ELF", "truncated"]);
}

#[test]
fn an_empty_file_is_refused() {
    refuse_object("empty.o", &["open bytecode ELF", "not an ELF file"]);
}

#[test]
fn an_object_of_the_host_is_refused() {
    refuse_object("host_elf.o", &["open bytecode ELF", "not a BPF object"]);
}

#[test]
fn a_big_endian_object_is_refused() {
    let (found, expected) = ("found ELFDATA2MSB", "expected ELFDATA2LSB");
    refuse_object("big_endian.bpf.o", &["open bytecode ELF", found, expected]);
}

#[test]
fn an_object_of_100_mib_is_refused() {
    refuse_object("huge.o", &["104857600 bytes", "the limit is"]);
}

#[test]
fn a_legacy_map_that_iproute2_pins_is_refused() {
    refuse_object(
        "legacy_pinned.bpf.o",
        &["`pinned_by_tc`", "pinning 2 of iproute2", "SEC(\".maps\")"],
    );
}

#[test]
fn map_names_that_would_leave_the_directory_are_refused() {
    let world = World::new(Via::InProcess);
    furnish(&world);
    for (name, program) in [("unsafe_names", "unsafe"), ("unsafe_dots", "unsafe_dots")] {
        let path = object(&format!("{name}.bpf.o"));
        let args = ["load", &path, "--program", program];
        world.refused(&args, 2, &["cannot be the name of a pin"]);
    }
}

fn a_wrong_program_or_type_is_named(world: &World) {
    furnish(world);
    let path = object("verifier.bpf.o");
    let args = ["load", &path, "--program", "nosuch"];
    world.refused(&args, 3, &["no program `nosuch`", "refused, loops"]);
    let path = object("maps.bpf.o");
    let args = ["program", "load", &path, "--programs", "xdp:first"];
    world.refused(&args, 2, &["program type mismatch", "tracepoint:first"]);
}

#[test]
fn a_global_that_is_unknown_or_of_another_size_is_refused() {
    let world = World::new(Via::InProcess);
    furnish(&world);
    let path = object("maps.bpf.o");
    let load = ["load", &path, "--program", "first", "-g"];
    let unknown = [&load[..], &["nosuch=00"]].concat();
    world.refused(&unknown, 2, &["`nosuch`", "sampling"]);
    let short = [&load[..], &["sampling=00"]].concat();
    world.refused(&short, 2, &["`sampling` has 4 byte(s)", "8 hex digits"]);
}

fn the_verifier_refuses_a_program(world: &World) {
    furnish(world);
    let path = object("verifier.bpf.o");
    let load = ["load", &path, "--program", "refused"];
    let refused = world.refused(&load, 1, &["invalid mem access", "\nprocessed "]);
    let text = stderr(&refused);
    assert!(
        text.lines().next().unwrap().contains("invalid mem access"),
        "{text}"
    );
    let whole = [&["--verbose"], &load[..]].concat();
    let shown = stderr(&world.refused(&whole, 1, &["\nprocessed "]));
    assert!(!shown.contains("lines left out"), "{shown}");
    let json = [&load[..], &["-o", "json"]].concat();
    let output = world.refused(&json, 1, &["invalid mem access"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let log = value["error"]["verifier_log"].as_str().unwrap();
    assert!(log.contains("processed"), "{log}");
}

fn without_capabilities_the_exit_code_is_4(world: &World) {
    furnish(world);
    let path = object("xdp_pass.bpf.o");
    let wrap = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let args = ["load", &path, "--program", "xdp_pass"];
    let output = world.refused_in(&wrap, &args, 4, &["not permitted", "CAP_BPF"]);
    let text = stderr(&output);
    for advice in ["RLIMIT_MEMLOCK", "CONFIG_BPF", "ulimit"] {
        assert!(!text.contains(advice), "{text}");
    }
}

fn a_bad_pin_path_is_refused(world: &World) {
    let path = object("xdp_pass.bpf.o");
    let (taken, outside) = (world.pin("taken"), world.root().join("outside"));
    let load = ["load", &path, "--program", "xdp_pass", "--pin-path"];
    world.ok(&[&load[..], &[&taken]].concat());
    let again = [&load[..], &[&taken]].concat();
    world.refused(&again, 1, &["already taken"]);
    let elsewhere = [&load[..], &[outside.to_str().unwrap()]].concat();
    world.refused(&elsewhere, 2, &["is not on a bpffs"]);
    assert!(!outside.exists());
}

#[test]
fn an_extension_without_its_target_is_told_how_to_name_it() {
    let world = World::new(Via::InProcess);
    furnish(&world);
    let path = object("types.bpf.o");
    let words = ["PROGRAM_ID/FUNCTION", "--programs freplace:t_freplace:"];
    world.refused(&["load", &path, "--program", "t_freplace"], 2, &words);
    for declared in ["freplace:t_freplace", "freplace:t_freplace:target_func"] {
        let args = ["program", "load", &path, "--programs", declared];
        world.refused(&args, 2, &words);
    }
}

/// However the object is named, the error names it absolutely: the reader may be in another directory.
#[test]
fn errors_name_the_object_absolutely() {
    let world = World::new(Via::InProcess);
    furnish(&world);
    let directory = world.root().join("objects");
    std::fs::create_dir(&directory).unwrap();
    for name in ["huge.o", "not_elf.o", "strange_map.bpf.o"] {
        std::os::unix::fs::symlink(object(name), directory.join(name)).unwrap();
    }
    let table = [
        ("huge.o", "x", 2),
        ("not_elf.o", "x", 2),
        ("nosuch.o", "x", 3),
        ("", "x", 2),
        // Our reader takes it, libbpf does not: the refused object is our copy of it.
        ("strange_map.bpf.o", "strange", 2),
    ];
    for (name, program, code) in table {
        let whole = directory.join(name);
        let expected = [whole.to_str().unwrap().trim_end_matches('/')];
        for typed in [format!("./{name}"), format!("../objects/{name}")] {
            let mut command = world.command(&[], &["load", &typed, "--program", program]);
            let before = world.places();
            let output = command.current_dir(&directory).output().unwrap();
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{typed}: {text}");
            assert!(text.contains(expected[0]), "{typed}: {text}");
            assert!(
                !text.contains("..") && !text.contains("staged"),
                "{typed}: {text}"
            );
            assert_eq!(before, world.places());
        }
    }
}

#[test]
fn a_path_may_climb() {
    let world = World::new(Via::InProcess);
    let directory = world.root().join("objects/deep");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy(object("xdp_pass.bpf.o"), world.root().join("objects/x.o")).unwrap();
    let pin = world.pins().join("../pins/climbed");
    let args = [
        "load",
        "../x.o",
        "--program",
        "xdp_pass",
        "--pin-path",
        pin.to_str().unwrap(),
        "-o",
        "json",
    ];
    let output = world
        .command(&[], &args)
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let loaded: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let record = &loaded["programs"][0]["record"];
    assert_eq!(record["load"]["source_path"], "../x.o");
    assert_eq!(record["handles"]["pin_path"], world.pin("climbed"));
}

#[test]
fn an_unreadable_database_is_refused() {
    let world = World::new(Via::InProcess);
    std::fs::create_dir_all(world.runtime().join("db")).unwrap();
    std::fs::write(world.database(), vec![b'x'; 8192]).unwrap();
    // The writer's lock and mount come first: have them there before the places are compared.
    let path = object("xdp_pass.bpf.o");
    let load = ["load", &path, "--program", "xdp_pass"];
    world.bpfman(&load);
    world.refused(&load, 1, &["database"]);
    world.refused(&["list"], 1, &["database"]);
    assert_eq!(std::fs::read(world.database()).unwrap(), [b'x'; 8192]);
}
