//! Attached programs meet real packets, in order.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use bpfman_testing::kernel_knows;
use common::Via;
use common::World;
use common::bpftool;
use common::id;
use common::net::Net;
use serde_json::Value;

/// What a kernel with TCX hooks names among its types.
const TCX: &str = "BPF_TCX_INGRESS";

both_ways!(
    tc_meets_packets_both_ways,
    xdp_meets_packets_until_it_is_detached,
    tcx_programs_run_in_the_order_of_their_priorities,
    tc_runs_after_tcx_and_on_both_ways,
    a_dropping_program_ends_the_chain,
    a_new_version_of_an_xdp_program_takes_over_maps_and_link,
    a_new_version_of_a_tcx_program_keeps_its_place,
);

/// The programs of `traffic.bpf.c`, by name: their ids.
fn load(world: &World, programs: &[&str]) -> Vec<String> {
    let typed: Vec<String> = programs
        .iter()
        .map(|name| format!("{}:{name}", name.split('_').next().unwrap()))
        .collect();
    let loaded = world.load("traffic.bpf.o", &typed.join(","), &[]);
    loaded
        .iter()
        .map(|program| id(program).to_string())
        .collect()
}

/// The ids of the maps that the programs share.
fn map(world: &World, program: &str, name: &str) -> String {
    let status = world.json(&["get", program]);
    common::map_id(&status, name).to_string()
}

/// The numbers of the programs that ran, in order.
fn sequence(world: &World, program: &str) -> u64 {
    let dump = bpftool(&["map", "dump", "id", &map(world, program, ".bss")]).unwrap();
    dump[0]["formatted"]["value"][".bss"][0]["sequence"]
        .as_u64()
        .unwrap()
}

fn runs(world: &World, program: &str, number: usize) -> u64 {
    let dump = bpftool(&["map", "dump", "id", &map(world, program, "runs")]).unwrap();
    dump[number]["formatted"]["value"].as_u64().unwrap()
}

fn attach(world: &World, args: &[&str]) -> Value {
    world.json(&[&["link", "attach"], args].concat())
}

fn link_id(link: &Value) -> String {
    link["record"]["id"].as_u64().unwrap().to_string()
}

fn xdp_meets_packets_until_it_is_detached(world: &World) {
    let net = Net::new();
    let programs = load(world, &["xdp_1"]);
    let link = attach(
        world,
        &["xdp", &programs[0], "veth0", "-p", "50", "-n", &net.near],
    );
    assert_eq!(link["record"]["details"]["ifindex"], net.ifindex());
    net.send_in(3);
    assert_eq!(runs(world, &programs[0], 1), 3);
    world.ok(&["link", "detach", &link_id(&link)]);
    net.send_in(3);
    assert_eq!(runs(world, &programs[0], 1), 3);
}

fn tcx_programs_run_in_the_order_of_their_priorities(world: &World) {
    bpfman_testing::requires!(kernel_knows(TCX));
    let net = Net::new();
    let programs = load(world, &["tcx_4", "tcx_5", "tcx_6"]);
    for (program, priority) in programs.iter().zip(["30", "10", "20"]) {
        let args = [
            "tcx", program, "veth0", "ingress", "-p", priority, "-n", &net.near,
        ];
        attach(world, &args);
    }
    net.send_in(1);
    assert_eq!(sequence(world, &programs[0]), 564);
    let links = world.json(&["link", "list"]);
    let place = |at: usize| links["links"][at]["details"]["position"].as_u64().unwrap();
    assert_eq!([place(0), place(1), place(2)], [2, 0, 1]);
}

fn tc_runs_after_tcx_and_on_both_ways(world: &World) {
    bpfman_testing::requires!(kernel_knows(TCX));
    let net = Net::new();
    let programs = load(world, &["tc_3", "tcx_4"]);
    attach(
        world,
        &[
            "tc",
            &programs[0],
            "veth0",
            "ingress",
            "-p",
            "1",
            "-n",
            &net.near,
        ],
    );
    attach(
        world,
        &[
            "tc",
            &programs[0],
            "veth0",
            "egress",
            "-p",
            "1",
            "-n",
            &net.near,
        ],
    );
    attach(
        world,
        &[
            "tcx",
            &programs[1],
            "veth0",
            "ingress",
            "-p",
            "9",
            "-n",
            &net.near,
        ],
    );
    net.send_in(1);
    assert_eq!(sequence(world, &programs[0]), 43);
    net.send_out(1);
    assert_eq!(sequence(world, &programs[0]), 433);
}

fn tc_meets_packets_both_ways(world: &World) {
    let net = Net::new();
    let programs = load(world, &["tc_3"]);
    let way = |way| {
        attach(
            world,
            &["tc", &programs[0], "veth0", way, "-p", "1", "-n", &net.near],
        )
    };
    let links = ["ingress", "egress"].map(way);
    net.send_in(1);
    assert_eq!(runs(world, &programs[0], 3), 1);
    net.send_out(1);
    assert_eq!(runs(world, &programs[0], 3), 2);
    let shown = world.json(&["link", "get", &link_id(&links[1])]);
    assert_eq!(shown["status"]["kernel_seen"], true);
    world.ok(&["detach", &link_id(&links[0]), &link_id(&links[1])]);
    net.send_in(1);
    net.send_out(1);
    assert_eq!(runs(world, &programs[0], 3), 2);
}

fn a_dropping_program_ends_the_chain(world: &World) {
    bpfman_testing::requires!(kernel_knows(TCX));
    let net = Net::new();
    let programs = load(world, &["tcx_7", "tcx_4"]);
    for (program, priority) in programs.iter().zip(["1", "2"]) {
        attach(
            world,
            &[
                "tcx", program, "veth0", "ingress", "-p", priority, "-n", &net.near,
            ],
        );
    }
    net.send_in(2);
    assert_eq!(sequence(world, &programs[0]), 77);
}

/// Replaces a program by the same object; what is printed of the new version.
fn replace(world: &World, program: &str) -> Value {
    let path = common::object("traffic.bpf.o");
    let new = world.json(&["program", "replace", program, &path]);
    assert_ne!(id(&new).to_string(), program);
    common::assert_gone("prog", program.parse().unwrap());
    new
}

fn a_new_version_of_an_xdp_program_takes_over_maps_and_link(world: &World) {
    let net = Net::new();
    let path = common::object("traffic.bpf.o");
    let pin = world.pin("mine");
    let load = ["load", &path, "--program", "xdp_1", "--pin-path", &pin];
    let loaded = world.json(&[&load[..], &["-m", "a=b"]].concat())["programs"][0].clone();
    let old = id(&loaded).to_string();
    let link = attach(world, &["xdp", &old, "veth0", "-p", "50", "-n", &net.near]);
    net.send_in(3);
    let runs_map = map(world, &old, "runs");
    let new = replace(world, &old);
    let number = id(&new).to_string();
    net.send_in(2);
    assert_eq!(runs(world, &number, 1), 5);
    assert_eq!(map(world, &number, "runs"), runs_map);
    assert_eq!(new["record"]["meta"], loaded["record"]["meta"]);
    assert_eq!(new["record"]["handles"]["pin_path"], pin);
    let shown = &new["status"]["links"][0];
    for key in ["id", "kernel_link_id", "pin_path", "created_at", "details"] {
        assert_eq!(shown["record"][key], link["record"][key], "{key}");
    }
    assert_eq!(shown["status"]["kernel"]["program_id"], id(&new));
    world.ok(&["detach", &link_id(&link)]);
    world.ok(&["unload", &number]);
    assert!(world.ids(&[]).is_empty());
}

fn a_new_version_of_a_tcx_program_keeps_its_place(world: &World) {
    bpfman_testing::requires!(kernel_knows(TCX));
    let net = Net::new();
    let programs = load(world, &["tcx_4", "tcx_5", "tcx_6"]);
    for (program, priority) in programs.iter().zip(["30", "10", "20"]) {
        let place = ["veth0", "ingress", "-p", priority, "-n", &net.near];
        attach(world, &[&["tcx", program], &place[..]].concat());
    }
    let before = world.json(&["link", "get", "2"]);
    let new = replace(world, &programs[1]);
    let after = &new["status"]["links"][0];
    for key in ["id", "kernel_link_id", "pin_path", "details"] {
        assert_eq!(after["record"][key], before["record"][key], "{key}");
    }
    assert_eq!(after["record"]["details"]["position"], 0);
    net.send_in(1);
    // The new version counts in the old map, and has variables of its own.
    assert_eq!(runs(world, &programs[0], 5), 1);
    assert_eq!(sequence(world, &programs[0]), 64);
    assert_eq!(sequence(world, &id(&new).to_string()), 5);
}

/// A new version that cannot take over: the old one runs on, and nothing of the new one is left.
#[test]
fn a_replacement_that_fails_changes_nothing() {
    bpfman_testing::requires!(kernel_knows("BPF_LINK_TYPE_PERF_EVENT"));
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = load(&world, &["xdp_1"]);
    attach(
        &world,
        &["xdp", &programs[0], "veth0", "-p", "1", "-n", &net.near],
    );
    let path = common::object("traffic.bpf.o");
    let other = common::object("xdp_pass.bpf.o");
    let replace = |program: &str, object: &str, code: i32, words: &[&str]| {
        world.refused(&["program", "replace", program, object], code, words);
    };
    replace("999999999", &path, 3, &["program 999999999 does not exist"]);
    replace(&programs[0], &other, 3, &["no program `xdp_1`", "xdp_pass"]);
    replace(
        &programs[0],
        &common::object("not_elf.o"),
        2,
        &["open bytecode ELF"],
    );
    let probe = world.load("types.bpf.o", "tracepoint:t_tracepoint", &[]);
    let probe = id(&probe[0]).to_string();
    let output = world.bpfman(&["attach", "tracepoint", &probe, "sched/sched_switch"]);
    assert!(output.status.success(), "{}", common::stderr(&output));
    let types = common::object("types.bpf.o");
    replace(
        &probe,
        &types,
        2,
        &[
            "link 2 is of kind tracepoint",
            "cannot give such links another program",
            "--allow-overlap",
            "--allow-gap",
        ],
    );
    net.send_in(1);
    assert_eq!(runs(&world, &programs[0], 1), 1);
}

#[test]
fn an_interface_of_our_own_namespace_needs_no_name_of_one() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = load(&world, &["xdp_2"]);
    let attach = [
        "link",
        "attach",
        "xdp",
        &programs[0],
        "veth0",
        "-p",
        "0",
        "-o",
        "json",
    ];
    let inside = ["ip", "netns", "exec", &net.near];
    let output = world.command(&inside, &attach).output().unwrap();
    assert!(output.status.success(), "{}", common::stderr(&output));
    let link: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(link["record"]["details"]["netns"], "");
    net.send_in(1);
    assert_eq!(runs(&world, &programs[0], 2), 1);
    world.ok(&["detach", &link_id(&link)]);
}
