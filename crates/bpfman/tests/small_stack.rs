//! A small stack (`ulimit -s`) is no reason to end in the middle of something.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::World;
use common::object;
use common::stderr;

both_ways!(commands_work_with_64_kib_of_stack);

const SMALL: [&str; 3] = ["sh", "-c", "ulimit -s 64 && exec \"$0\" \"$@\""];

fn commands_work_with_64_kib_of_stack(world: &World) {
    let ok = |args: &[&str]| {
        let output = world.command(&SMALL, args).output().unwrap();
        let told = stderr(&output);
        assert!(
            output.status.success(),
            "{args:?}: {:?} {told}",
            output.status
        );
    };
    let path = object("chain.bpf.o");
    ok(&["--help"]);
    ok(&["load", &path, "--program", "xdp_10"]);
    let number = world.ids(&[])[0].to_string();
    ok(&["get", &number, "-o", "json"]);
    ok(&["doctor", "-o", "yaml", "--explain", "disk-full"]);
    ok(&["program", "replace", &number, &path]);
    let number = world.ids(&[])[0].to_string();
    ok(&["unload", &number]);
    assert!(world.ids(&[]).is_empty());
    let output = world.command(&SMALL, &["get", &number]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let path = object("verifier.bpf.o");
    let load = ["load", &path, "--program", "refused"];
    let output = world.command(&SMALL, &load).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
