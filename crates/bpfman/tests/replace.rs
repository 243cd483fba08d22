//! New versions of programs whose maps have another shape, and of programs whose links the kernel cannot update.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use common::World;
use common::assert_gone;
use common::bpftool;
use common::id;
use common::map_id;
use common::net::Net;
use common::object;
use common::stderr;
use serde_json::Value;
use serde_json::json;

both_ways!(
    a_map_of_another_size_starts_anew_in_a_set_of_its_own,
    who_keeps_an_old_map_is_named_with_the_way_to_share_the_new_one,
    a_filled_program_array_starts_anew,
    maps_start_anew_whatever_of_their_shape_differs,
    a_link_that_cannot_be_updated_is_refused_with_both_ways_named,
    an_overlap_loses_no_event,
    a_gap_counts_no_event_twice,
    the_old_program_is_attached_again_when_the_records_are_refused_after_a_gap,
);

/// The value of the only key that programs count under.
fn count(map: u64) -> u64 {
    let dump = bpftool(&["map", "dump", "id", &map.to_string()]).unwrap();
    dump[0]["formatted"]["value"].as_u64().unwrap()
}

fn entries(map: u64) -> u64 {
    let shown = bpftool(&["map", "show", "id", &map.to_string()]).unwrap();
    shown["max_entries"].as_u64().unwrap()
}

fn load(world: &World, programs: &[&str]) -> Vec<Value> {
    let typed: Vec<String> = programs.iter().map(|name| format!("xdp:{name}")).collect();
    world.load("grow_v1.bpf.o", &typed.join(","), &[])
}

fn replace(world: &World, program: u64) -> Value {
    replace_by(world, program, &[])
}

fn replace_by(world: &World, program: u64, options: &[&str]) -> Value {
    let (program, path) = (program.to_string(), object("grow_v2.bpf.o"));
    world.json(&[&["program", "replace", &program, &path], options].concat())
}

fn get(world: &World, program: u64) -> Value {
    world.json(&["get", &program.to_string()])
}

fn pin_of(world: &World, set: u64, map: &str) -> std::path::PathBuf {
    world.runtime().join(format!("fs/maps/{set}/{map}"))
}

fn assert_is_at(pin: &Path, map: u64) {
    let shown = bpftool(&["map", "show", "pinned", pin.to_str().unwrap()]);
    assert_eq!(shown.unwrap()["id"], map, "{}", pin.display());
}

fn a_map_of_another_size_starts_anew_in_a_set_of_its_own(world: &World) {
    let net = Net::new();
    let loaded = load(world, &["grow_one", "grow_two"]);
    let (one, two) = (id(&loaded[0]), id(&loaded[1]));
    let (kept, grown) = (map_id(&loaded[0], "kept"), map_id(&loaded[0], "grown"));
    let args = [
        "attach",
        "xdp",
        &one.to_string(),
        "veth0",
        "-p",
        "1",
        "-n",
        &net.near,
    ];
    world.ok(&args);
    net.send_in(3);
    assert_eq!((count(kept), count(grown)), (3, 3));

    let done = replace(world, one);
    let new = id(&done);
    let new_grown = map_id(&done, "grown");
    let anew = json!([{"name": "grown", "old_map_id": grown, "new_map_id": new_grown,
        "changes": ["max_entries 4 -> 8"], "kept_by": [two]}]);
    assert_eq!(done["maps_anew"], anew);
    assert_eq!(map_id(&done, "kept"), kept);
    assert_eq!((entries(grown), entries(new_grown)), (4, 8));
    assert_is_at(&pin_of(world, one, "kept"), kept);
    assert_is_at(&pin_of(world, one, "grown"), grown);
    assert_is_at(&pin_of(world, new, "grown"), new_grown);
    net.send_in(2);
    assert_eq!((count(kept), count(grown), count(new_grown)), (5, 3, 2));
    assert_eq!(map_id(&get(world, two), "grown"), grown);
    assert!(world.ok(&["doctor"]).contains("healthy"));

    // Once more: nothing has another shape, nothing starts anew.
    let again = replace(world, new);
    assert_eq!(map_id(&again, "grown"), new_grown);
    assert_eq!(again["maps_anew"], json!([]));
    // The last user of the old map takes it along, and shares the new one again when it is told to.
    let path = object("grow_v2.bpf.o");
    let (new, two) = (id(&again).to_string(), two.to_string());
    let text = world.ok(&["program", "replace", &two, &path, "--map-owner-id", &new]);
    let line = format!("Starts anew:  map grown, {grown} -> {new_grown} (max_entries 4 -> 8)");
    assert_eq!(text.lines().nth(1), Some(&*line));
    let other = get(world, *world.ids(&[]).last().unwrap());
    assert_eq!(map_id(&other, "grown"), new_grown);
    assert_gone("map", grown);
    assert!(world.ok(&["doctor"]).contains("healthy"));
    world.ok(&["program", "delete", "--all", "-r"]);
    for map in [kept, new_grown] {
        assert_gone("map", map);
    }
    let left = common::below(&world.runtime().join("fs/maps"));
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

fn who_keeps_an_old_map_is_named_with_the_way_to_share_the_new_one(world: &World) {
    let loaded = load(world, &["grow_one", "grow_two"]);
    let (one, two) = (id(&loaded[0]).to_string(), id(&loaded[1]));
    let path = object("grow_v2.bpf.o");
    let output = world.bpfman(&["program", "replace", &one, &path]);
    let new = world.ids(&[]).into_iter().find(|id| *id != two).unwrap();
    assert_eq!(
        stderr(&output),
        format!(
            "bpfman: warning: program {two} keeps the old maps\n  hint: `bpfman program replace {two} {path} \
             --map-owner-id {new}` gives it those of program {new}\n"
        )
    );
}

fn a_filled_program_array_starts_anew(world: &World) {
    let old = world.load("references.bpf.o", "xdp:root", &[]).remove(0);
    let path = object("references.bpf.o");
    let new = world.json(&["program", "replace", &id(&old).to_string(), &path]);
    let (was, is) = (map_id(&old, "jumps"), map_id(&new, "jumps"));
    assert_ne!(was, is);
    assert_gone("map", was);
    let dump = bpftool(&["map", "dump", "id", &is.to_string()]).unwrap();
    let filled = dump.as_array().unwrap().iter();
    assert_eq!(
        filled.filter(|entry| entry["value"].is_array()).count(),
        2,
        "{dump}"
    );
    assert!(world.ok(&["doctor"]).contains("healthy"));
}

fn maps_start_anew_whatever_of_their_shape_differs(world: &World) {
    const CHANGES: [(&str, &str); 6] = [
        ("by_name", "max_entries 4 -> 8"),
        ("hashes", "map_extra 0x1 -> 0x2"),
        ("reflagged", "map_flags 0x0 -> 0x1"),
        ("rekeyed", "key_size 4 -> 8"),
        ("retyped", "type hash -> lruhash"),
        ("revalued", "value_size 4 -> 8"),
    ];
    let loaded = load(world, &["grow_all"]);
    let old = id(&loaded[0]);
    let done = replace(world, old);
    let anew = done["maps_anew"].as_array().unwrap().iter();
    let mut changes: Vec<(&str, &str)> = anew
        .map(|map| {
            let changes = map["changes"].as_array().unwrap();
            assert_eq!(changes.len(), 1, "{map}");
            (map["name"].as_str().unwrap(), changes[0].as_str().unwrap())
        })
        .collect();
    changes.sort_unstable();
    assert_eq!(changes, CHANGES);
    assert_eq!(map_id(&done, "kept"), map_id(&loaded[0], "kept"));
    for (map, _) in CHANGES {
        assert_gone("map", map_id(&loaded[0], map));
        assert_is_at(&pin_of(world, id(&done), map), map_id(&done, map));
    }
    assert!(world.ok(&["doctor"]).contains("healthy"));
    world.ok(&["program", "delete", "--all"]);
    let left = common::below(&world.runtime().join("fs/maps"));
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

/// A process number that no process has and that only this test names.
fn stranger() -> i64 {
    0x7000_0000 + i64::from(std::process::id())
}

/// Asks for a signal to it, as often as said: an event each.
fn events(number: usize) -> Command {
    let mut command = Command::new("bash");
    let script = "for i in $(seq $1); do kill -0 $2 2>/dev/null; done; exit 0";
    command.args(["-c", script, "bash", &number.to_string()]);
    command.arg(stranger().to_string());
    command
}

/// The program, attached to the tracepoint; and its map that stays.
fn traced(world: &World) -> (u64, u64) {
    let wanted: String = stranger()
        .to_ne_bytes()
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let global = format!("wanted={wanted}");
    let loaded = world.load("grow_v1.bpf.o", "tracepoint:grow_kill", &["-g", &global]);
    let (program, kept) = (id(&loaded[0]), map_id(&loaded[0], "kept"));
    let event = "syscalls/sys_enter_kill";
    world.ok(&["attach", "tracepoint", &program.to_string(), event]);
    events(2).status().unwrap();
    assert_eq!(count(kept), 2);
    (program, kept)
}

/// The links in the kernel that run a program.
fn links_of(program: u64) -> usize {
    let links = bpftool(&["link", "show"]).unwrap();
    let links = links.as_array().unwrap().iter();
    links.filter(|link| link["prog_id"] == program).count()
}

fn a_link_that_cannot_be_updated_is_refused_with_both_ways_named(world: &World) {
    let (program, _) = traced(world);
    let path = object("grow_v2.bpf.o");
    let args = ["program", "replace", &program.to_string(), &path];
    let words = [
        "link 1 is of kind tracepoint",
        "--allow-overlap",
        "--allow-gap",
    ];
    world.refused(&args, 2, &words);
    let both = [&args[..], &["--allow-gap", "--allow-overlap"]].concat();
    assert_eq!(world.bpfman(&both).status.code(), Some(2));
}

/// Replaces the program while events come, all of which are sent; answers how many were counted, and how many sent.
fn under_events(world: &World, way: &str) -> (u64, u64) {
    const EVENTS: u64 = 20_000;
    let (program, kept) = traced(world);
    let before = world.json(&["link", "get", "1"]);
    let mut sender = events(usize::try_from(EVENTS).unwrap()).spawn().unwrap();
    let start = Instant::now();
    while count(kept) < 10 {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    let done = replace_by(world, program, &[way]);
    let new = id(&done);
    assert!(
        sender.try_wait().unwrap().is_none(),
        "events came to the end"
    );
    sender.wait().unwrap();
    assert_eq!(map_id(&done, "kept"), kept);
    assert!(count(map_id(&done, "grown")) > 0, "the new version runs");
    assert_eq!((links_of(program), links_of(new)), (0, 1));
    let after = world.json(&["link", "get", "1"]);
    for same in ["created_at", "pin_path", "details", "id"] {
        assert_eq!(before["record"][same], after["record"][same]);
    }
    assert_eq!(after["record"]["program_id"], new);
    assert_gone("prog", program);
    assert!(world.ok(&["doctor"]).contains("healthy"));
    (count(kept) - 2, EVENTS)
}

fn an_overlap_loses_no_event(world: &World) {
    let (counted, sent) = under_events(world, "--allow-overlap");
    assert!(counted >= sent, "{counted} of {sent}");
}

fn a_gap_counts_no_event_twice(world: &World) {
    let (counted, sent) = under_events(world, "--allow-gap");
    assert!(counted <= sent, "{counted} of {sent}");
}

fn the_old_program_is_attached_again_when_the_records_are_refused_after_a_gap(world: &World) {
    let (program, kept) = traced(world);
    let path = object("grow_v2.bpf.o");
    let args = [
        "program",
        "replace",
        &program.to_string(),
        &path,
        "--allow-gap",
    ];
    // The records change after the detach.
    let refuse = format!(
        "CREATE TRIGGER no BEFORE DELETE ON programs WHEN OLD.kernel_id = {program}
         BEGIN SELECT RAISE(FAIL, 'no'); END"
    );
    let store = rusqlite::Connection::open(world.database()).unwrap();
    store.execute_batch(&refuse).unwrap();
    let output = world.bpfman(&args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    store.execute_batch("DROP TRIGGER no").unwrap();
    drop(store);
    assert_eq!(world.ids(&[]), [program]);
    events(3).status().unwrap();
    assert_eq!(count(kept), 5);
    assert_eq!(links_of(program), 1);
    assert!(world.ok(&["doctor"]).contains("healthy"));
    world.ok(&["detach", "1"]);
    assert_eq!(links_of(program), 0);
}
