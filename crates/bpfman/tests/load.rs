//! Load, list, get and unload against the kernel.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

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
    for name in ["shared_counts", "by_name", ".rodata"] {
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
    world.ok(&["list"]);
    assert!(!world.runtime().exists());
}

#[test]
fn a_program_of_another_identity_is_not_taken_for_ours() {
    let world = World::new(Via::InProcess);
    let number = id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]).to_string();
    let set = |tag: &str| {
        let store = rusqlite::Connection::open(world.database()).unwrap();
        store
            .execute("UPDATE programs SET tag = ?1", [tag])
            .unwrap();
    };
    set("0123456789abcdef");
    assert!(world.json(&["get", &number])["status"]["kernel"].is_null());
    let pin = world.runtime().join(format!("fs/prog_{number}"));
    world.bpfman(&["unload", &number]);
    assert!(pin.exists(), "a foreign pin was removed");
}
