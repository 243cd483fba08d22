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
    assert!(link["record"]["details"]["netns"].is_null());
    net.send_in(1);
    assert_eq!(runs(&world, &programs[0], 2), 1);
    world.ok(&["detach", &link_id(&link)]);
}
