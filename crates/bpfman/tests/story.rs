//! What `--log debug` tells of an operation.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::World;
use common::executor_lines;
use common::object;
use common::stderr;
use common::steps;

both_ways!(
    a_load_tells_its_story_under_one_id,
    a_load_that_fails_tells_its_undos
);

/// The operations of a log, such as `load{id=1a221de8643-417-1}`, each once. Every line begins with a time and has one.
fn operations(log: &str) -> BTreeSet<&str> {
    let operation = |line| {
        let (time, rest) = str::split_once(line, " DEBUG ")?;
        assert!(time.ends_with('Z'), "{line}");
        Some(rest.split_once("}: ")?.0)
    };
    log.lines()
        .map(|line| operation(line).unwrap_or_else(|| panic!("no operation in {line}")))
        .collect()
}

fn told(log: &str, words: &[&str]) {
    let mut rest = log;
    for word in words {
        let at = rest.find(word);
        let at = at.unwrap_or_else(|| panic!("`{word}` is missing, or too early, in {log}"));
        rest = &rest[at + word.len()..];
    }
}

fn a_load_tells_its_story_under_one_id(world: &World) {
    let path = object("maps.bpf.o");
    let load = ["load", &path, "--program", "first"];
    let plan = world.ok(&[&load[..], &["--dry-run"]].concat());
    let plan: Vec<&str> = plan.lines().collect();
    let once = || {
        let output = world.bpfman(&[&["--log", "debug"], &load[..]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let log = once();
    assert_eq!(steps(&log), plan);
    told(
        &log,
        &[
            "manager: begins",
            "manager: waits for the writer's lock",
            "manager: has the writer's lock after ",
            "manager: has gathered the facts",
            &format!("executor: plan of {} steps: the load of first", plan.len()),
            plan[0],
            "executor: journal: ",
            "executor: commit point: ",
            "manager: ends after ",
        ],
    );
    let lines = executor_lines(&log);
    let ended =
        |line: &&&str| line.starts_with("done after") || line.starts_with("unchanged after");
    assert_eq!(lines.iter().filter(ended).count(), plan.len(), "{log}");

    let again = once();
    let (first, second) = (operations(&log), operations(&again));
    assert_eq!((first.len(), second.len()), (1, 1), "{log}{again}");
    assert!(
        first
            .iter()
            .all(|operation| operation.starts_with("load{id="))
    );
    assert!(first.is_disjoint(&second));
}

fn a_load_that_fails_tells_its_undos(world: &World) {
    let path = object("verifier.bpf.o");
    let log = ["--log", "debug"];
    let output = world.bpfman(&[&log[..], &["load", &path, "--program", "refused"]].concat());
    assert!(!output.status.success());
    let text = stderr(&output);
    told(
        &text,
        &[
            "executor: kernel  load ",
            "executor: failed after ",
            "executor: undo: files   remove ",
            "executor: undone after ",
            "executor: undo: files   remove ",
            "executor: undone after ",
            "manager: ends after ",
        ],
    );
}
