//! Maps against the kernel: which can be used again, which get their sizes here, and those of the legacy format.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::World;
use common::bpftool;
use common::id;
use common::map_id;
use common::object;
use common::run;
use serde_json::Value;
use serde_json::json;

both_ways!(
    an_object_takes_the_maps_that_it_made,
    a_map_with_another_extra_word_is_not_taken,
    maps_that_their_loader_sizes_are_named,
    maps_get_the_sizes_that_were_given_or_a_default,
    legacy_maps_are_made_and_used,
    legacy_maps_of_many_loaders_are_made_and_used,
);

/// Maps that become something else than their declarations say.
const CHANGED: [&str; 7] = [
    "ports",
    "ports_by_number",
    "read_only",
    "recent",
    "events",
    "perf_events",
    "seen",
];

fn ids(program: &Value) -> [u64; 7] {
    CHANGED.map(|name| map_id(program, name))
}

/// What the kernel says of a map of a program.
fn shown(program: &Value, name: &str) -> Value {
    let id = map_id(program, name).to_string();
    bpftool(&["map", "show", "id", &id]).unwrap()
}

/// Type, bytes of keys and values, and entries of a map, as the kernel says.
fn sizes(program: &Value, name: &str) -> Value {
    let map = shown(program, name);
    json!([
        map["type"],
        map["bytes_key"],
        map["bytes_value"],
        map["max_entries"]
    ])
}

fn an_object_takes_the_maps_that_it_made(world: &World) {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_MAP_TYPE_BLOOM_FILTER"));
    let first = world.load("reuse.bpf.o", "xdp:redirect", &[]).remove(0);
    // The kernel does what this test is about.
    assert_ne!(shown(&first, "ports")["flags"], 0);
    assert_eq!(shown(&first, "read_only")["flags"], 0);
    let by_name = world.load("reuse.bpf.o", "xdp:redirect", &[]).remove(0);
    assert_eq!(ids(&by_name), ids(&first));
    let owner = id(&first).to_string();
    let take = ["--map-owner-id", &owner];
    let user = world.load("reuse.bpf.o", "xdp:redirect", &take).remove(0);
    assert_eq!(ids(&user), ids(&first));
    let number = id(&first).to_string();
    let replaced = world.json(&["program", "replace", &number, &object("reuse.bpf.o")]);
    assert_eq!(ids(&replaced), ids(&first));
}

fn a_map_with_another_extra_word_is_not_taken(world: &World) {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_MAP_TYPE_BLOOM_FILTER"));
    world.load("reuse.bpf.o", "xdp:redirect", &[]);
    let path = object("reuse_extra.bpf.o");
    world.refused(
        &["load", &path, "--program", "redirect"],
        1,
        &[
            "map `seen` is declared as",
            "map_extra 0x4",
            "map_extra 0x3",
        ],
    );
}

fn maps_that_their_loader_sizes_are_named(world: &World) {
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    let path = object("sized.bpf.o");
    let load = ["load", &path, "--program", "sized"];
    let options = [
        "--map-size sized_by_the_loader=N (N entries)",
        "--map-size rings.inner=N (N bytes)",
    ];
    world.refused(&load, 2, &options);
    let refused = |size: &str, words: &[&str]| {
        let load = [&load[..], &["--map-size", size]].concat();
        world.refused(&load, 2, words);
    };
    refused("missing=4", &["no map `missing`", "sized_by_the_loader"]);
    for wrong in ["events=0", "events=-1", "events=4294967296", "=3", "events"] {
        let output = world.bpfman(&[&load[..], &["--map-size", wrong]].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

fn maps_get_the_sizes_that_were_given_or_a_default(world: &World) {
    let given = [
        "--map-size",
        "sized_by_the_loader=77",
        "--map-size",
        "rings.inner=8192",
    ];
    let path = object("sized.bpf.o");
    let program = world
        .load("sized.bpf.o", "tracepoint:sized", &given)
        .remove(0);
    let recorded = json!({"rings.inner": 8192, "sized_by_the_loader": 77});
    assert_eq!(program["record"]["load"]["map_sizes"], recorded);
    let cpus = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last = cpus.trim().rsplit(['-', ',']).next().unwrap();
    let cpus = last.parse::<u32>().unwrap() + 1;
    let check = |program: &Value| {
        for (name, expected) in [
            ("events", json!(["ringbuf", 0, 0, 4096])),
            ("perf_events", json!(["perf_event_array", 4, 4, cpus])),
            ("per_cpu", json!(["percpu_array", 4, 8, cpus])),
            ("stacks", json!(["stack_trace", 4, 127 * 8, 16])),
            ("sized_by_the_loader", json!(["hash", 4, 8, 77])),
            ("rings", json!(["array_of_maps", 4, 4, 2])),
        ] {
            assert_eq!(sizes(program, name), expected, "{name}");
        }
        holds_rings(world, program);
    };
    check(&program);
    let number = id(&program).to_string();
    let link = world.json(&["attach", "tracepoint", &number, "syscalls/sys_enter_kill"]);
    rustix::process::test_kill_process(rustix::process::getpid()).unwrap();
    let map = map_id(&program, "sized_by_the_loader").to_string();
    let dump = bpftool(&["map", "dump", "id", &map]).unwrap();
    assert_eq!(dump.as_array().unwrap().len(), 1, "{dump}");
    // A user of the maps needs no sizes.
    let take = ["--map-owner-id", &number];
    let user = world
        .load("sized.bpf.o", "tracepoint:sized", &take)
        .remove(0);
    check(&user);
    world.ok(&["detach", &link["record"]["id"].to_string()]);
    // The new version is given the same, or what is given now.
    let replaced = world.json(&["program", "replace", &number, &path]);
    check(&replaced);
    assert_eq!(replaced["record"]["load"]["map_sizes"], recorded);
}

/// A ring of the given size fits into the map of rings, another one does not.
fn holds_rings(world: &World, program: &Value) {
    let map = map_id(program, "rings").to_string();
    for (bytes, fits) in [("8192", true), ("0", false)] {
        let pin = world.pin("ring");
        let (kind, size) = if fits {
            ("ringbuf", bytes)
        } else {
            ("array", "1")
        };
        let sizes = if fits { "0" } else { "4" };
        let create = [
            "map", "create", &pin, "type", kind, "key", sizes, "value", sizes, "entries", size,
            "name", "ring",
        ];
        run(Command::new("bpftool").args(create));
        let mut update = Command::new("bpftool");
        update.args(["map", "update", "id", &map, "key", "0", "0", "0", "0"]);
        let done = update.args(["value", "pinned", &pin]).output().unwrap();
        assert_eq!(done.status.success(), fits, "{}", common::stderr(&done));
        std::fs::remove_file(pin).unwrap();
    }
}

/// Runs an XDP program on an empty packet.
fn test_run(world: &World, program: &Value) {
    let packet = world.root().join("packet");
    std::fs::write(&packet, [0; 64]).unwrap();
    let number = id(program).to_string();
    let mut command = Command::new("bpftool");
    run(command
        .args(["prog", "run", "id", &number, "data_in"])
        .arg(&packet)
        .args(["data_out", "/dev/null"]));
}

/// The words of the value of a key.
fn value(program: &Value, map: &str, key: &[u8]) -> Vec<u8> {
    let id = map_id(program, map).to_string();
    let key: Vec<String> = key.iter().map(ToString::to_string).collect();
    let mut args = vec!["map", "lookup", "id", &id, "key"];
    args.extend(key.iter().map(String::as_str));
    let found = bpftool(&args).unwrap();
    let bytes = found["value"].as_array().unwrap().iter();
    let hex = |byte: &Value| {
        let text = byte.as_str().unwrap().trim_start_matches("0x");
        u8::from_str_radix(text, 16).unwrap()
    };
    bytes.map(hex).collect()
}

fn legacy_maps_are_made_and_used(world: &World) {
    for name in ["legacy_maps.bpf.o", "legacy_no_btf.bpf.o"] {
        let program = world.load(name, "xdp:legacy", &[]).remove(0);
        assert_eq!(sizes(&program, "legacy_counts"), json!(["array", 4, 8, 2]));
        assert_eq!(sizes(&program, "legacy_flows"), json!(["hash", 8, 16, 64]));
        // BPF_F_NO_PREALLOC
        assert_eq!(shown(&program, "legacy_flows")["flags"], 1);
        test_run(world, &program);
        assert_eq!(value(&program, "legacy_counts", &[1, 0, 0, 0])[0], 1);
        let flow = value(&program, "legacy_flows", &[7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((flow[0], flow[8]), (3, 4));
        let kept = program["record"]["load"]["object_path"].as_str().unwrap();
        let sections = Command::new("llvm-readelf")
            .args(["-S", kept])
            .output()
            .unwrap();
        let sections = String::from_utf8(sections.stdout).unwrap();
        assert!(sections.contains(" .legacy_maps "), "{sections}");
        // The kept object loads again.
        world.ok(&["load", kept, "--program", "legacy"]);
        let number = id(&program).to_string();
        let replaced = world.json(&["program", "replace", &number, &object(name)]);
        assert_eq!(
            map_id(&replaced, "legacy_counts"),
            map_id(&program, "legacy_counts")
        );
    }
}

fn legacy_maps_of_many_loaders_are_made_and_used(world: &World) {
    let program = world.load("legacy_mixed.bpf.o", "xdp:mixed", &[]).remove(0);
    for (name, entries, counted) in [
        ("modern", 3, 1),
        ("of_tc", 5, 2),
        ("hidden", 6, 3),
        ("own_section", 7, 4),
    ] {
        assert_eq!(
            sizes(&program, name),
            json!(["array", 4, 8, entries]),
            "{name}"
        );
        test_run(world, &program);
        assert!(value(&program, name, &[1, 0, 0, 0])[0] >= counted, "{name}");
    }
    let largest = sizes(&program, "largest");
    assert_eq!(largest, json!(["lpm_trie", 8, 8, 0x4000_0000]));
    assert_eq!(sizes(&program, "locked"), json!(["array", 4, 8, 8]));
}
