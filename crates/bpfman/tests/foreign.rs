//! Programs that somebody else loaded: they are named as what they are.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::World;
use common::bpftool;
use common::object;
use common::run;
use common::stderr;

both_ways!(a_program_of_somebody_else_is_never_said_not_to_exist);

fn a_program_of_somebody_else_is_never_said_not_to_exist(world: &World) {
    let (path, pin) = (object("xdp_pass.bpf.o"), world.pin("foreign"));
    let ask = |id: &str| -> Vec<Vec<String>> {
        let commands = [
            &["get", id][..],
            &["program", "get", id],
            &["unload", id],
            &["unload", id, "--ignore-missing"],
            &["unload", id, "--dry-run"],
            &["program", "delete", id],
            &["program", "replace", id, &path],
            &["attach", "xdp", id, "lo", "-p", "1"],
            &["attach", "xdp", id, "lo", "-p", "1", "--dry-run"],
        ];
        let owned = |command: &&[&str]| command.iter().map(|word| (*word).to_owned()).collect();
        commands.iter().map(owned).collect()
    };
    // Before anything is recorded, and after.
    for _ in 0..2 {
        run(Command::new("bpftool").args(["prog", "load", &path, &pin, "type", "xdp"]));
        let id = bpftool(&["prog", "show", "pinned", &pin]).unwrap()["id"].to_string();
        for command in ask(&id) {
            let args: Vec<&str> = command.iter().map(String::as_str).collect();
            let words = [
                &*format!("program {id} (xdp `xdp_pass`) is in the kernel"),
                "bpfman does not manage it",
                "bpftool prog show id",
            ];
            let output = world.refused(&args, 3, &words);
            assert!(!stderr(&output).contains("does not exist"), "{args:?}");
            assert!(bpftool(&["prog", "show", "id", &id]).is_some(), "{args:?}");
        }
        std::fs::remove_file(&pin).unwrap();
        // What the kernel is about to free does not exist any more.
        world.refused(&["get", &id], 3, &[&format!("program {id} does not exist")]);
        world.load("maps.bpf.o", "tracepoint:first", &[]);
    }
    let ours = world.ids(&[])[0].to_string();
    world.ok(&["unload", &ours]);
    world.refused(
        &["get", &ours],
        3,
        &[&format!("program {ours} does not exist")],
    );
}
