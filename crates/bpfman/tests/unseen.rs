//! What an operation answers comes from the operation: where the kernel lets nobody look by id, and where no `/proc` is
//! mounted, it takes effect and says so.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Via;
use common::World;
use common::bpftool;
use common::id;
use common::net::Net;
use common::object;
use common::stderr;
use serde_json::Value;

/// Without the capability that looking anything up by its id asks for.
const NO_LOOKUP: &[&str] = &["setpriv", "--bounding-set", "-sys_admin"];
/// Without `/proc`, as in a chroot that nobody prepared.
const NO_PROC: &[&str] = &[
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    "mount -t tmpfs none /proc && exec \"$0\" \"$@\"",
];

both_ways!(
    every_operation_takes_effect_and_says_so_without_lookups,
    every_operation_takes_effect_and_says_so_without_proc,
    a_replacement_says_so_without_proc,
);

/// Runs a command that must succeed; what it printed as JSON.
fn answer(world: &World, wrap: &[&str], args: &[&str]) -> Value {
    let args = [args, &["-o", "json"]].concat();
    let output = world.command(wrap, &args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn done(world: &World, wrap: &[&str], args: &[&str]) {
    let output = world.command(wrap, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
}

fn every_operation_takes_effect_and_says_so_without_lookups(world: &World) {
    operations(world, NO_LOOKUP, false);
}

fn every_operation_takes_effect_and_says_so_without_proc(world: &World) {
    operations(world, NO_PROC, true);
}

/// Whether this kernel asks for `CAP_SYS_ADMIN` where others ask for `CAP_PERFMON`, as Debian's do.
fn keeps_perf_events_for_itself() -> bool {
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    level.trim().parse::<i32>().unwrap() > 2
}

/// What is refused without the capability says so; then it is done with it.
fn refused_as_paranoid(world: &World, wrap: &[&str], args: &[&str]) -> Value {
    if wrap.contains(&"setpriv") {
        let words = ["lacks CAP_SYS_ADMIN", "kernel.perf_event_paranoid"];
        world.refused_in(wrap, args, 4, &words);
    }
    answer(world, &[], args)
}

/// `updates` says that a link may be given another place: its attach point is built anew then, out of maps by their ids.
fn operations(world: &World, wrap: &[&str], updates: bool) {
    let net = Net::new();
    // Not by `--netns`: entering a namespace asks for the capability that is not there.
    let inside = ["nsenter", &format!("--net=/run/netns/{}", net.near)];
    let wrap = &[&inside, wrap].concat();
    // The bpffs must not be mounted in a namespace that ends with the command.
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    let path = object("maps.bpf.o");
    let load = ["program", "load", &path, "--programs", "tracepoint:first"];
    let trace = answer(world, wrap, &load)["programs"][0].clone();
    let seen = bpftool(&["prog", "show", "id", &id(&trace).to_string()]).unwrap();
    assert_eq!(trace["status"]["kernel"]["tag"], seen["tag"]);
    for map in trace["status"]["maps"].as_array().unwrap() {
        let there = bpftool(&["map", "show", "id", &map["id"].to_string()]).is_some();
        assert_eq!(map["present"], there, "{map}");
        if map["pin_path"] != "" {
            let seen = bpftool(&["map", "show", "id", &map["id"].to_string()]).unwrap();
            assert_eq!(map["map_type"], seen["type"], "{map}");
            assert_eq!(map["max_entries"], seen["max_entries"], "{map}");
        }
    }
    let path = object("traffic.bpf.o");
    let load = ["program", "load", &path, "--programs", "xdp:xdp_1"];
    let xdp = answer(world, wrap, &load)["programs"][0].clone();
    let (trace, xdp) = (id(&trace).to_string(), id(&xdp).to_string());

    let tracepoint = ["attach", "tracepoint", &trace, "syscalls/sys_enter_getpgid"];
    let attached = [
        match keeps_perf_events_for_itself() {
            true => refused_as_paranoid(world, wrap, &tracepoint),
            false => answer(world, wrap, &tracepoint),
        },
        answer(world, wrap, &["attach", "xdp", &xdp, "veth0", "-p", "7"]),
    ];
    let links: Vec<String> = attached
        .iter()
        .map(|link| link["record"]["id"].to_string())
        .collect();
    for (link, program) in attached.iter().zip([&trace, &xdp]) {
        let number = link["status"]["kernel"]["id"].to_string();
        let seen = bpftool(&["link", "show", "id", &number]).unwrap();
        assert_eq!(&seen["prog_id"].to_string(), program);
        assert_eq!(link["status"]["kernel_seen"], true);
        assert_eq!(link["status"]["pin_present"], true);
    }
    assert_eq!(attached[1]["record"]["details"]["position"], 0);
    for get in [["program", "get", &trace], ["link", "get", &links[1]]] {
        let said = answer(world, wrap, &get);
        assert!(said["status"]["kernel"].is_object(), "{said}");
    }
    if updates {
        let updated = answer(world, wrap, &["link", "update", &links[1], "-p", "9"]);
        assert_eq!(updated["record"]["details"]["priority"], 9);
    }

    done(world, wrap, &["detach", &links[0], &links[1]]);
    assert!(world.ok(&["link", "list", "-q"]).is_empty());
    done(world, wrap, &["unload", &trace]);
    done(world, wrap, &["program", "delete", &xdp]);
    for id in [trace, xdp] {
        common::assert_gone("prog", id.parse().unwrap());
    }
}

fn a_replacement_says_so_without_proc(world: &World) {
    let old = world
        .load("xdp_guard.bpf.o", "xdp:xdp_guard", &[])
        .remove(0);
    let new = object("xdp_guard_v2.bpf.o");
    let replace = ["program", "replace", &id(&old).to_string(), &new];
    let said = answer(world, NO_PROC, &replace);
    let seen = bpftool(&["prog", "show", "id", &id(&said).to_string()]).unwrap();
    assert_eq!(said["status"]["kernel"]["tag"], seen["tag"]);
    assert_eq!(world.ids(&[]), [id(&said)]);
}

#[test]
fn what_cannot_be_read_is_unknown_and_not_gone() {
    let world = World::new(Via::InProcess);
    let load = [
        "program",
        "load",
        &object("maps.bpf.o"),
        "--programs",
        "tracepoint:first",
    ];
    world.ok(&load);
    let loaded = answer(&world, NO_LOOKUP, &load)["programs"][0].clone();
    let maps = loaded["status"]["maps"].as_array().unwrap();
    let unpinned: Vec<&Value> = maps.iter().filter(|map| map["pin_path"] == "").collect();
    assert!(!unpinned.is_empty(), "{maps:?}");
    for map in unpinned {
        assert_eq!(map["map_type"], "");
        let there = bpftool(&["map", "show", "id", &map["id"].to_string()]).is_some();
        assert_eq!(map["present"], there, "{map}");
    }
    // A program that has lost its pin can be asked for by its id only.
    let (id, pin) = (
        id(&loaded).to_string(),
        &loaded["record"]["handles"]["pin_path"],
    );
    std::fs::rename(pin.as_str().unwrap(), world.runtime().join("fs/elsewhere")).unwrap();
    let text = world
        .command(NO_LOOKUP, &["program", "get", &id])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("unknown: program"), "{text}");
    assert!(!text.contains("no longer"), "{text}");
}
