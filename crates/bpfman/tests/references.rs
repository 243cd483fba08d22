//! Only what the named programs reach is made and resolved; what they need and is not there is named before any effect.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Via;
use common::World;
use common::assert_gone;
use common::bpftool;
use common::id;
use common::object;
use serde_json::Value;

const OBJECT: &str = "references.bpf.o";

both_ways!(
    a_program_is_loaded_with_the_maps_that_it_reaches,
    what_a_program_array_holds_comes_along_and_goes,
    what_a_sibling_needs_may_be_missing,
    what_a_program_needs_is_named_before_any_effect,
);

fn load(world: &World, names: &[&str]) -> Vec<Value> {
    let programs: Vec<String> = names.iter().map(|name| format!("xdp:{name}")).collect();
    world.load(OBJECT, &programs.join(","), &[])
}

/// The maps that are pinned for a program, by name.
fn pinned(world: &World, program: &Value) -> Vec<String> {
    let set = world.runtime().join(format!("fs/maps/{}", id(program)));
    let entries = std::fs::read_dir(set).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn a_program_is_loaded_with_the_maps_that_it_reaches(world: &World) {
    let table: [(&str, &[&str]); 4] = [
        ("plain", &["direct"]),
        ("through", &["by_callback", "by_subprogram"]),
        ("nested", &["inner", "outer"]),
        ("root", &["by_leaf", "further", "jumps"]),
    ];
    for (name, maps) in table {
        let program = load(world, &[name]).remove(0);
        assert_eq!(pinned(world, &program), maps, "{name}");
    }
}

/// What a program answers to a packet of nothing.
fn verdict(program: &Value) -> u64 {
    let packet = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(packet.path(), [0; 64]).unwrap();
    let (id, packet) = (id(program).to_string(), packet.path().to_str().unwrap());
    let run = bpftool(&["prog", "run", "id", &id, "data_in", packet, "repeat", "1"]).unwrap();
    run["retval"].as_u64().unwrap()
}

/// The programs in a program array, whose value is read as an id.
fn held(program: &Value, array: &str) -> Vec<u64> {
    // By its pin: a program's own maps are not those of the programs that it jumps to.
    let directory = program["record"]["handles"]["map_pin_path"].as_str();
    let pin = format!("{}/{array}", directory.unwrap());
    let shown = bpftool(&["map", "show", "pinned", &pin]).unwrap();
    let array = shown["id"].to_string();
    let dump = bpftool(&["map", "dump", "id", &array]).unwrap();
    let byte = |text: &Value| u64::from_str_radix(&text.as_str().unwrap()[2..], 16).unwrap();
    let entries = dump.as_array().unwrap().iter();
    let values = entries.filter_map(|entry| entry["value"].as_array());
    values
        .map(|bytes| bytes.iter().rev().fold(0, |id, text| id << 8 | byte(text)))
        .collect()
}

fn what_a_program_array_holds_comes_along_and_goes(world: &World) {
    const XDP_TX: u64 = 3;
    let root = load(world, &["root"]).remove(0);
    let (leaf, twig) = (held(&root, "jumps"), held(&root, "further"));
    assert!(leaf.contains(&id(&root)), "{leaf:?}");
    assert_eq!((leaf.len(), twig.len()), (2, 1));
    assert_eq!(verdict(&root), XDP_TX);
    assert_eq!(world.ids(&[]), [id(&root)]);
    // Named, they are managed, and in the array all the same.
    let named = load(world, &["root", "leaf"]);
    let mut ids: Vec<u64> = named.iter().map(id).collect();
    ids.sort_unstable();
    let mut found = held(&named[0], "jumps");
    found.sort_unstable();
    assert_eq!(found, ids);
    assert_eq!(verdict(&named[0]), XDP_TX);
    world.ok(&["unload", &id(&root).to_string()]);
    for id in leaf.into_iter().chain(twig) {
        assert_gone("prog", id);
    }
}

fn what_a_sibling_needs_may_be_missing(world: &World) {
    // `function` and `variable` name what this kernel lacks, `number` and `choice` what it does not set, and
    // `undefined` what nobody defines.
    let plain = load(world, &["plain"]).remove(0);
    let types = bpftool(&["prog", "show", "id", &id(&plain).to_string()]).unwrap();
    assert!(types["btf_id"].is_u64(), "{types}");
    // Not even the map of the kernel's configuration is made.
    let map = types["map_ids"][0].to_string();
    assert_eq!(types["map_ids"].as_array().unwrap().len(), 1, "{types}");
    assert_eq!(
        bpftool(&["map", "show", "id", &map]).unwrap()["name"],
        "direct"
    );
    assert_eq!(
        plain["status"]["maps"].as_array().unwrap().len(),
        1,
        "{plain}"
    );
}

fn what_a_program_needs_is_named_before_any_effect(world: &World) {
    // The database is there, so that nothing at all is made by what follows.
    load(world, &["plain"]);
    let table = [
        ("function", 1, "the kernel function `no_kernel_function`"),
        ("variable", 1, "no_kernel_"),
        ("number", 1, "`CONFIG_NO_NUMBER`"),
        ("choice", 1, "`CONFIG_NO_"),
        ("undefined", 2, "`nobodys_function`"),
    ];
    for (name, code, symbol) in table {
        let path = object(OBJECT);
        let program = format!("program `{name}`");
        let load = ["load", &path, "--program", name];
        let output = world.refused(&load, code, &[&program, symbol]);
        let message = common::stderr(&output);
        assert!(!message.contains("No such file"), "{message}");
        let dry = [&load[..], &["--dry-run"]].concat();
        world.refused(&dry, code, &[&program, symbol]);
    }
}

#[test]
fn a_plan_says_what_comes_along() {
    let world = World::new(Via::InProcess);
    let plan = world.ok(&["load", &object(OBJECT), "--program", "root", "--dry-run"]);
    assert!(plan.contains("with leaf in a program array"), "{plan}");
}
