//! New versions of programs whose maps have another shape.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::World;
use common::assert_gone;
use common::bpftool;
use common::id;
use common::map_id;
use common::net::Net;
use common::object;
use serde_json::Value;
use serde_json::json;

both_ways!(
    a_map_of_another_size_starts_anew_in_a_set_of_its_own,
    maps_start_anew_whatever_of_their_shape_differs,
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
    let path = object("grow_v2.bpf.o");
    world.json(&["program", "replace", &program.to_string(), &path])
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
        "changes": ["max_entries 4 -> 8"]}]);
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
    // The last user of the old map takes it along.
    let path = object("grow_v2.bpf.o");
    let text = world.ok(&["program", "replace", &two.to_string(), &path]);
    let other = map_id(&get(world, *world.ids(&[]).last().unwrap()), "grown");
    let line = format!("Starts anew:  map grown, {grown} -> {other} (max_entries 4 -> 8)");
    assert_eq!(text.lines().nth(1), Some(&*line));
    assert_gone("map", grown);
    assert!(world.ok(&["doctor"]).contains("healthy"));
    world.ok(&["program", "delete", "--all"]);
    for map in [kept, new_grown] {
        assert_gone("map", map);
    }
    let left = common::below(&world.runtime().join("fs/maps"));
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
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
