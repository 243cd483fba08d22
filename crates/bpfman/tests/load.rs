//! Load, list, get and unload against the kernel.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::Via;
use common::World;
use common::assert_gone;
use common::bpftool;
use common::id;
use common::map_id;
use common::object;

both_ways!(
    milestone_4_load_then_list_shows_it,
    programs_of_one_object_share_its_maps,
    a_map_set_lives_until_its_last_user,
);

fn milestone_4_load_then_list_shows_it(world: &World) {
    let (path, pin) = (object("xdp_pass.bpf.o"), world.pin("a/b/xdp"));
    let load = ["load", &path, "--program", "xdp_pass", "--pin-path", &pin];
    let program = world.json(&load)["programs"][0].clone();
    let seen = bpftool(&["prog", "show", "pinned", &pin]).unwrap();
    assert_eq!(seen["id"], program["record"]["program_id"]);
    assert_eq!(seen["tag"], program["status"]["kernel"]["tag"]);
    assert_eq!(world.ids(&[]), [id(&program)]);
    world.ok(&["unload", &id(&program).to_string()]);
    assert!(!world.pins().join("a").exists());
    assert!(world.ids(&[]).is_empty());
    assert_gone("prog", id(&program));
}

fn programs_of_one_object_share_its_maps(world: &World) {
    let both = "tracepoint:first,tracepoint:second";
    let programs = world.load("maps.bpf.o", both, &["-g", "sampling=07000000"]);
    for name in ["shared_counts", ".rodata"] {
        assert_eq!(map_id(&programs[0], name), map_id(&programs[1], name));
    }
    let rodata = map_id(&programs[0], ".rodata").to_string();
    let dump = bpftool(&["map", "dump", "id", &rodata]).unwrap();
    let text = dump.to_string();
    assert!(text.contains("\"sampling\":7"), "{text}");
    let shared = world.runtime().join("fs/shared/by_name");
    world.ok(&["unload", &id(&programs[0]).to_string()]);
    assert!(shared.exists());
    world.ok(&["unload", &id(&programs[1]).to_string()]);
    assert!(!shared.exists());
}

fn a_map_set_lives_until_its_last_user(world: &World) {
    let owner = world
        .load("map_owner.bpf.o", "tracepoint:owner", &[])
        .remove(0);
    let number = id(&owner).to_string();
    let take = ["--map-owner-id", &number];
    let user = world
        .load("map_user.bpf.o", "tracepoint:user", &take)
        .remove(0);
    assert_eq!(map_id(&owner, "flows"), map_id(&user, "flows"));
    world.ok(&["unload", &number]);
    let set = world.runtime().join(format!("fs/maps/{number}"));
    assert!(set.join("flows").exists());
    world.ok(&["unload", &id(&user).to_string()]);
    assert!(!set.exists());
    assert_gone("map", map_id(&user, "flows"));
}

#[test]
fn list_filters_by_metadata_application_and_type() {
    let world = World::new(Via::InProcess);
    let xdp = world.load(
        "xdp_pass.bpf.o",
        "xdp:xdp_pass",
        &["-m", "a=b", "-a", "web"],
    );
    let trace = world.load("maps.bpf.o", "tracepoint:first", &["-m", "a=c"]);
    let (xdp, trace) = (id(&xdp[0]), id(&trace[0]));
    assert_eq!(world.ids(&["-m", "a=b"]), [xdp]);
    assert_eq!(world.ids(&["-l", "a!=b"]), [trace]);
    assert_eq!(world.ids(&["--application", "web"]), [xdp]);
    assert_eq!(world.ids(&["--type", "tracepoint"]), [trace]);
}

#[test]
fn a_dry_run_changes_nothing_and_prints_the_plan() {
    let world = World::new(Via::InProcess);
    let number = id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]).to_string();
    let (path, before) = (object("maps.bpf.o"), world.places());
    let load = ["load", &path, "--program", "first", "--dry-run"];
    assert!(world.ok(&load).contains("load first (tracepoint)"));
    assert!(
        world
            .ok(&["unload", &number, "--dry-run"])
            .contains("unpin")
    );
    assert_eq!(before, world.places());
}

#[test]
fn a_reader_does_not_wait_for_the_writer_lock() {
    let world = World::new(Via::InProcess);
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    let lock = std::fs::File::open(world.runtime().join(".lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(world.ids(&[]).len(), 1);
    let path = object("xdp_pass.bpf.o");
    let load = [
        "--lock-timeout",
        "100ms",
        "load",
        &path,
        "--program",
        "xdp_pass",
    ];
    world.refused(&load, 5, &["another bpfman has held"]);
}

#[test]
fn a_read_of_an_empty_runtime_creates_nothing() {
    let world = World::new(Via::InProcess);
    let path = object("xdp_pass.bpf.o");
    let load = ["load", &path, "--program", "xdp_pass", "--dry-run"];
    for read in [&["list"][..], &["list", "--all"], &["program"], &load] {
        world.ok(read);
        assert!(!world.runtime().exists(), "{read:?}");
    }
    // No program has this id.
    let id = "4294967295";
    for read in [
        &["get", id][..],
        &["unload", id],
        &["unload", id, "--dry-run"],
    ] {
        world.refused(read, 3, &["program 4294967295 does not exist"]);
        assert!(!world.runtime().exists(), "{read:?}");
    }
    world.ok(&["unload", id, "--ignore-missing"]);
    world.ok(&["program", "delete", "--all"]);
    assert!(!world.runtime().exists());
}

/// The kernel recycles ids: tag, load time and pin must agree too.
#[test]
fn a_program_of_another_identity_is_not_taken_for_ours() {
    for change in ["tag = '0123456789abcdef'", "load_time = load_time + 1"] {
        let world = World::new(Via::InProcess);
        let program = world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]).remove(0);
        let number = id(&program).to_string();
        let store = rusqlite::Connection::open(world.database()).unwrap();
        let sql = format!("UPDATE programs SET {change}");
        assert_eq!(store.execute(&sql, []).unwrap(), 1);
        drop(store);
        let got = world.json(&["get", &number]);
        assert!(got["status"]["kernel"].is_null(), "{change}: {got}");
        let pin = world.runtime().join(format!("fs/prog_{number}"));
        let pin = pin.to_str().unwrap();
        let words = [
            pin,
            &number,
            "holds something else",
            "move the foreign pin away",
        ];
        world.refused(&["unload", &number], 1, &words);
        let seen = bpftool(&["prog", "show", "pinned", pin]).unwrap();
        assert_eq!(seen["id"], id(&program), "{change}");
        assert_eq!(seen["tag"], program["status"]["kernel"]["tag"]);
    }
}

/// The commands of README.md as they are written, but for the id and the bpffs.
#[test]
fn the_commands_of_the_readme_work() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_LINK_TYPE_PERF_EVENT"));
    let world = World::new(Via::InProcess);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let block = readme.split("```").nth(1).unwrap();
    let mut commands = block.split("\n$ bpfman ").skip(1);
    let mut run = |number: &str| -> (String, String) {
        let command = commands.next().unwrap();
        let (command, shown) = command.split_once('\n').unwrap_or((command, ""));
        let args = command
            .replace("target/bpf/trace_exec.bpf.o", &object("trace_exec.bpf.o"))
            .replace("/sys/fs/bpf", world.pins().to_str().unwrap())
            .replace("1299", number);
        let args: Vec<&str> = args.split_whitespace().collect();
        (world.ok(&args), shown.to_owned())
    };
    let (loaded, shown) = run("");
    let labels = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.map(|(label, _)| label.to_owned()).collect()
    };
    assert_eq!(labels(&loaded), labels(&shown));
    let number = loaded
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap();
    let (listed, shown) = run(number);
    // The columns are as wide as the ids are long.
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    assert_eq!(words(&listed), words(&shown.replace("1299", number)));
    let (got, shown) = run(number);
    let opening: Vec<&str> = shown.lines().take(2).collect();
    assert!(got.starts_with(&opening.join("\n")), "{got}");
    let value: serde_json::Value = serde_json::from_str(&got).unwrap();
    assert_eq!(value["record"]["program_id"].to_string(), number);
    let pin = world.pin("demo/trace_exec");
    let seen = bpftool(&["prog", "show", "pinned", &pin]).unwrap();
    assert_eq!(seen["id"].to_string(), number);
    let (attached, shown) = run(number);
    assert_eq!(labels(&attached), labels(&shown));
    let link = world.runtime().join("fs/links/1");
    let seen = bpftool(&["link", "show", "pinned", link.to_str().unwrap()]).unwrap();
    assert_eq!(seen["prog_id"].to_string(), number);
    assert_eq!(run(number).0, "");
    assert!(!link.exists());
    assert_eq!(run(number).0, "");
    assert!(!Path::new(&pin).exists() && world.ids(&[]).is_empty());
}
