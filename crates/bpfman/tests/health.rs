//! What somebody else breaks: `doctor` names it, `reconcile` repairs it, and the second time there is nothing to do.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Via;
use common::World;
use common::assert_gone;
use common::bpftool;
use common::id;
use common::net::Net;
use common::object;
use common::run;
use common::stderr;
use serde_json::Value;

both_ways!(
    a_healthy_world_is_left_alone,
    a_program_that_lost_its_pin_is_pinned_again,
    a_program_that_was_unloaded_by_hand_is_forgotten,
    a_link_that_was_unpinned_by_hand_is_forgotten,
    a_chain_goes_with_its_interface,
    an_unmounted_bpffs_takes_everything_with_it,
    a_database_that_was_removed_is_made_again_from_pins_and_files,
    what_no_record_knows_is_removed_when_that_is_asked_for,
    a_filter_that_no_record_knows_is_removed_when_that_is_asked_for,
    what_may_not_be_looked_at_is_not_taken_for_gone,
    a_database_that_cannot_be_written_is_read,
    a_clock_that_jumps_changes_nothing,
);

/// The rules that `doctor` names, and what it answers.
fn doctor(world: &World) -> (Vec<String>, i32) {
    let output = world.bpfman(&["doctor", "-o", "json"]);
    let shown: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let findings = shown["findings"].as_array().unwrap().iter();
    let rules = findings.map(|finding| finding["rule"].as_str().unwrap().to_owned());
    (rules.collect(), output.status.code().unwrap())
}

/// Names these rules, in this order; repairs all of them but those of `left`; and then there is nothing to do.
fn repairs(world: &World, rules: &[&str], left: &[&str], code: i32) {
    let before = world.places();
    let (found, answered) = doctor(world);
    assert_eq!(found, rules);
    assert_eq!(answered, code);
    let planned = world.json(&["reconcile", "--dry-run"]);
    assert_eq!(
        planned["steps"].as_array().unwrap().is_empty(),
        rules == left
    );
    assert_eq!(world.places(), before, "looking changes nothing");
    let done = world.json(&["reconcile"]);
    let remains: Vec<&str> = done["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["rule"].as_str().unwrap())
        .collect();
    assert_eq!(remains, left);
    let again = world.json(&["reconcile"]);
    assert_eq!(again["steps"], serde_json::json!([]));
    if left.is_empty() {
        assert_eq!(doctor(world), (Vec::new(), 0));
    }
}

/// A program that a tracepoint runs.
fn traced(world: &World) -> Value {
    let program = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    let number = id(&program).to_string();
    let at = "syscalls/sys_enter_getpgid";
    world.ok(&["attach", "tracepoint", &number, at]);
    program
}

fn pin_of(program: &Value) -> String {
    let pin = &program["record"]["handles"]["pin_path"];
    pin.as_str().unwrap().to_owned()
}

fn a_healthy_world_is_left_alone(world: &World) {
    assert_eq!(doctor(world), (Vec::new(), 0));
    assert_eq!(world.ok(&["reconcile"]), "nothing to do\n");
    assert!(!world.runtime().exists(), "looking makes nothing");
    traced(world);
    repairs(world, &[], &[], 0);
    assert!(world.ok(&["doctor"]).contains("healthy"));
}

fn a_program_that_lost_its_pin_is_pinned_again(world: &World) {
    let program = traced(world);
    let pin = pin_of(&program);
    fs::remove_file(&pin).unwrap();
    repairs(world, &["program-unpinned"], &[], 6);
    let seen = bpftool(&["prog", "show", "pinned", &pin]).unwrap();
    assert_eq!(seen["id"], id(&program));
}

fn a_program_that_was_unloaded_by_hand_is_forgotten(world: &World) {
    let program = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    fs::remove_file(pin_of(&program)).unwrap();
    assert_gone("prog", id(&program));
    repairs(world, &["program-gone"], &[], 7);
    assert!(world.ids(&[]).is_empty());
    let left = world.places();
    assert!(left.bpffs.iter().all(|path| path.is_dir()), "{left:?}");
    assert!(left.files.keys().all(|path| !path.ends_with("bytecode.o")));
}

fn a_link_that_was_unpinned_by_hand_is_forgotten(world: &World) {
    traced(world);
    let pin = world.runtime().join("fs/links/1");
    let link = bpftool(&["link", "show", "pinned", pin.to_str().unwrap()]).unwrap();
    fs::remove_file(pin).unwrap();
    assert_gone("link", link["id"].as_u64().unwrap());
    repairs(world, &["link-gone"], &[], 7);
    assert_eq!(world.ids(&[]).len(), 1);
}

fn a_chain_goes_with_its_interface(world: &World) {
    let net = Net::new();
    for _ in 0..2 {
        let program = world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]).remove(0);
        let number = id(&program).to_string();
        let place = ["veth0", "-p", "50", "-n", &net.near];
        world.ok(&[&["attach", "xdp", &number], &place[..]].concat());
    }
    run(Command::new("ip").args(["-n", &net.near, "link", "del", "veth0"]));
    repairs(world, &["point-dead"], &[], 6);
    assert_eq!(world.ids(&[]).len(), 2);
}

fn an_unmounted_bpffs_takes_everything_with_it(world: &World) {
    let program = traced(world);
    run(Command::new("umount").arg(world.runtime().join("fs")));
    assert_gone("prog", id(&program));
    repairs(world, &["program-gone"], &[], 7);
    traced(world);
}

fn a_database_that_was_removed_is_made_again_from_pins_and_files(world: &World) {
    let program = traced(world);
    let shown = world.json(&["get", &id(&program).to_string()]);
    let text = ["", "-wal", "-shm"];
    for end in text {
        let path = format!("{}{end}", world.database().display());
        let _ = fs::remove_file(path);
    }
    // Its link cannot be told from the pin alone.
    repairs(world, &["record-lost", "orphan"], &["orphan"], 7);
    let again = world.json(&["get", &id(&program).to_string()]);
    assert_eq!(again["record"], shown["record"]);
    let at = "syscalls/sys_enter_getsid";
    world.ok(&["attach", "tracepoint", &id(&program).to_string(), at]);
    world.ok(&["reconcile", "--prune"]);
    repairs(world, &[], &[], 0);
}

fn what_no_record_knows_is_removed_when_that_is_asked_for(world: &World) {
    let program = traced(world);
    let fs_root = world.runtime().join("fs");
    let orphan = fs_root.join("prog_1");
    let number = id(&program).to_string();
    run(Command::new("bpftool")
        .args(["prog", "pin", "id", &number])
        .arg(&orphan));
    let files = world.runtime().join("programs/1");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("bytecode.o"), "left").unwrap();
    repairs(world, &["orphan", "files-left"], &["orphan"], 6);
    assert!(orphan.exists() && !files.exists());
    world.ok(&["reconcile", "--prune"]);
    assert!(!orphan.exists());
    repairs(world, &[], &[], 0);
}

/// As it is left of an attach point when the database is lost, on kernels that have no TCX.
fn a_filter_that_no_record_knows_is_removed_when_that_is_asked_for(world: &World) {
    let net = Net::new();
    let program = world.load("traffic.bpf.o", "tc:tc_3", &[]).remove(0);
    let tc = |args: &[&str]| {
        let output = Command::new("tc")
            .args(["-n", &net.near])
            .args(args)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    tc(&["qdisc", "add", "dev", "veth0", "clsact"]);
    let place = [
        "filter", "add", "dev", "veth0", "ingress", "pref", "50", "handle", "1",
    ];
    let runs = ["bpf", "direct-action", "object-pinned"];
    tc(&[&place[..], &runs, &[&pin_of(&program)]].concat());
    let shown = || tc(&["filter", "show", "dev", "veth0", "ingress"]);
    assert!(shown().contains("direct-action"), "{}", shown());
    let inside = ["nsenter", &format!("--net=/run/netns/{}", net.near)];
    let told = |args: &[&str]| {
        let output = world.command(&inside, args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (text, output.status.code().unwrap())
    };
    let (text, code) = told(&["doctor"]);
    assert!(text.contains("orphan: filter 50/0x1 ingress"), "{text}");
    assert_eq!(code, 6);
    let (text, _) = told(&["reconcile"]);
    assert!(text.contains("--prune removes it"), "{text}");
    assert!(shown().contains("direct-action"), "{}", shown());
    told(&["reconcile", "--prune"]);
    assert_eq!(shown(), "");
    assert_eq!(told(&["doctor"]).1, 0);
    world.ok(&["unload", &id(&program).to_string()]);
    assert_gone("prog", id(&program));
}

fn what_may_not_be_looked_at_is_not_taken_for_gone(world: &World) {
    let program = traced(world);
    fs::remove_file(pin_of(&program)).unwrap();
    let blind = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    for command in [&["reconcile"][..], &["reconcile", "--prune"], &["doctor"]] {
        world.refused_in(&blind, command, 4, &["not permitted"]);
    }
    repairs(world, &["program-unpinned"], &[], 6);
}

fn a_database_that_cannot_be_written_is_read(world: &World) {
    let program = traced(world);
    let number = id(&program).to_string();
    world.ok(&["attach", "tracepoint", &number, "syscalls/sys_enter_getsid"]);
    world.ok(&["detach", "2"]);
    fs::remove_file(pin_of(&program)).unwrap();
    let directory = world.runtime().join("db");
    let directory = directory.to_str().unwrap();
    // What SQLite puts beside a database that it reads is not there.
    let mut there: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    there.sort();
    assert_eq!(there, ["store.db", "store.db-reserve"]);
    run(Command::new("mount").args(["--bind", directory, directory]));
    run(Command::new("mount").args(["-o", "remount,bind,ro", directory]));
    let path = object("maps.bpf.o");
    for command in [
        &["load", &path, "--program", "first"][..],
        &["unload", &number],
        &["detach", "1"],
        &["reconcile"],
    ] {
        world.refused(command, 4, &["database", "read-only"]);
    }
    assert_eq!(world.ids(&[]), [id(&program)]);
    let rules = ["read-only", "program-unpinned"].map(str::to_owned);
    assert_eq!(doctor(world), (rules.to_vec(), 6));
    run(Command::new("umount").arg(directory));
    repairs(world, &["program-unpinned"], &[], 6);
}

fn a_clock_that_jumps_changes_nothing(world: &World) {
    let program = traced(world);
    let number = id(&program).to_string();
    // Both the clocks that the kernel stamps programs with.
    for (monotonic, boottime) in [("100000", "900000"), ("-1", "-1")] {
        let (monotonic, boottime) = (
            format!("--monotonic={monotonic}"),
            format!("--boottime={boottime}"),
        );
        let jumped = ["unshare", "--time", "--fork", &monotonic, &boottime];
        let run = |args: &[&str]| {
            let output = world.command(&jumped, args).output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", stderr(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(run(&["doctor"]).contains("healthy"));
        assert_eq!(run(&["reconcile"]), "nothing to do\n");
        assert_eq!(run(&["list", "-q"]), format!("{number}\n"));
        run(&["attach", "tracepoint", &number, "syscalls/sys_enter_getsid"]);
        let links = world.json(&["link", "list"]);
        let link = links["links"].as_array().unwrap().last().unwrap()["id"].to_string();
        run(&["detach", &link]);
    }
    repairs(world, &[], &[], 0);
    world.ok(&["unload", &number]);
    assert_gone("prog", id(&program));
}

#[test]
fn what_a_machine_can_do_is_told() {
    let world = World::new(Via::InProcess);
    let output = world.bpfman(&["doctor", "-o", "json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = &shown["environment"];
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(told["kernel"], release.trim());
    assert_eq!(told["btf"], Path::new("/sys/kernel/btf/vmlinux").exists());
    assert_eq!(told["missing_capabilities"], serde_json::json!([]));
    assert_eq!(told["bpffs"], false);
    let counted = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").unwrap();
    assert_eq!(told["statistics"], counted.trim() != "0");
    // Lines fit a terminal.
    let text = world.bpfman(&["doctor"]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn what_a_rule_means_is_told_and_the_rules_are_listed() {
    let world = World::new(Via::InProcess);
    let told = world.ok(&["doctor", "--explain", "program-gone"]);
    assert!(told.contains("no longer in the kernel"), "{told}");
    let output = world.bpfman(&["doctor", "--explain", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("program-gone"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_was_killed_is_shown_before_and_after_it_comes_to_its_end() {
    let world = World::new(Via::InProcess);
    traced(&world);
    // The record is deleted, and its pin is about to be removed.
    let killed = world.killed_at("unlink", 1, &["detach", "1"]);
    assert!(!killed.status.success());
    let shown = world.bpfman(&["doctor"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert!(
        text.contains("error: interrupted: the detach of link 1"),
        "{text}"
    );
    assert_eq!(shown.status.code(), Some(7));
    world.ok(&["reconcile"]);
    let text = world.ok(&["doctor"]);
    assert!(
        text.contains("recovered: the detach of link 1 was killed, and was finished"),
        "{text}"
    );
    assert!(!Path::new(&world.runtime().join("fs/links/1")).exists());
}

/// The database as somebody else left it: what bpfman says, and the way back.
fn damaged(damage: impl Fn(&Path), words: &[&str]) {
    let world = World::new(Via::InProcess);
    let program = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    damage(&world.database());
    for command in [&["doctor"][..], &["reconcile"], &["list"]] {
        let output = world.bpfman(command);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{command:?}: {message}");
        }
        assert!(message.contains("hint: "), "{command:?}: {message}");
    }
    let directory = world.runtime().join("db");
    fs::rename(&directory, world.root().join("damaged")).unwrap();
    repairs(&world, &["record-lost"], &[], 7);
    assert_eq!(world.ids(&[]), [id(&program)]);
}

#[test]
fn a_truncated_database_is_named_and_made_again_when_it_is_moved_away() {
    let truncate = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(100).unwrap();
    };
    damaged(
        truncate,
        &["database", "damaged", "move /", "bpfman reconcile"],
    );
}

#[test]
fn a_database_of_a_newer_version_is_named_and_left_alone() {
    let newer = |path: &Path| {
        let store = rusqlite::Connection::open(path).unwrap();
        store.pragma_update(None, "user_version", 99).unwrap();
    };
    damaged(newer, &["schema 99", "newer"]);
}
