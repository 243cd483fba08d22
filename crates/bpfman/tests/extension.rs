//! Dispatchers and extensions, beside other tools that know their protocol.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Command;
use std::process::Output;

use common::Via;
use common::World;
use common::chain::Chain;
use common::chain::Hook;
use common::net::Net;
use common::object;
use common::stderr;
use serde_json::json;

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

/// A tool in the network of the near end, with the mounts of this process: `ip netns exec` hides the bpffs.
fn near(net: &Net, words: &[&str]) -> Output {
    let namespace = format!("--net=/run/netns/{}", net.near);
    let mut command = Command::new("nsenter");
    command.arg(namespace).args(words).output().unwrap()
}

fn status(net: &Net) -> String {
    let output = near(net, &["xdp-loader", "status", "veth0"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn listed(world: &World) -> Possible {
    let net = Net::new();
    let mut chain = Chain::load(world, &net, Hook::Xdp, "extension", &[10, 11])?;
    chain.attach(10, 60, &[]);
    chain.attach(11, 40, &[1, 2]);
    let shown = status(&net);
    let lines: Vec<&str> = shown.lines().collect();
    let first = lines
        .iter()
        .position(|line| line.contains("xdp_11"))
        .unwrap();
    let second = lines
        .iter()
        .position(|line| line.contains("xdp_10"))
        .unwrap();
    assert!(first < second, "{shown}");
    assert!(lines[first].contains(" 40 "), "{shown}");
    assert!(lines[first].contains("XDP_DROP,XDP_PASS"), "{shown}");
    assert!(lines[second].contains(" 60 "), "{shown}");
    let dispatcher = chain.running().unwrap();
    let pins = format!("/sys/fs/bpf/xdp/dispatch-{}-{dispatcher}", net.ifindex());
    assert!(std::fs::exists(&pins).unwrap());
    // It cannot take over what a link holds.
    let unload = near(&net, &["xdp-loader", "unload", "veth0", "--all"]);
    assert!(!unload.status.success(), "{unload:?}");
    chain.check();
    chain.detach(0);
    assert!(!status(&net).contains("xdp_11"));
    chain.detach(0);
    assert!(!status(&net).contains("xdp_dispatcher"));
    assert!(!std::fs::exists(&pins).unwrap());
    Ok(())
}

#[test]
fn xdp_loader_lists_the_members_of_a_dispatcher() {
    bpfman_testing::requires!(listed(&World::new(Via::InProcess)));
}

#[test]
fn a_program_that_xdp_loader_attached_is_left_alone() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let foreign = object("xdp_pass.bpf.o");
    let load = near(&net, &["xdp-loader", "load", "veth0", &foreign]);
    if !load.status.success() {
        return bpfman_testing::skip("xdp-loader cannot load here");
    }
    let before = status(&net);
    assert!(before.contains("xdp_pass"), "{before}");
    let chain = Chain::load_without_packets(&world, &net, Hook::Xdp, "auto", &[10]).unwrap();
    let words = chain.words(10, 50);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let places = world.places();
    let output = world.bpfman(&words);
    let message = stderr(&output);
    assert!(!output.status.success());
    assert!(message.contains("bpfman did not attach"), "{message}");
    assert!(message.contains("xdp-loader"), "{message}");
    assert_eq!(places, world.places());
    assert_eq!(before, status(&net));
    let unload = near(&net, &["xdp-loader", "unload", "veth0", "--all"]);
    assert!(unload.status.success(), "{unload:?}");
    world.ok(&words);
}

fn files(world: &World) -> Possible {
    let net = Net::new();
    let mut chain = Chain::load(world, &net, Hook::Xdp, "extension", &[10, 11])?;
    let program = world.json(&["get", &chain.program(10).id]);
    assert_eq!(program["status"]["kernel"]["program_type"], "extension");
    assert_eq!(program["record"]["load"]["engine"], "extension");
    chain.attach(10, 50, &[]);
    let second = chain.attach(11, 60, &[]);
    let shown = chain.shown();
    assert_eq!(shown["revision"], 2);
    assert_eq!(shown["engine"], "extension");
    let (nsid, ifindex) = (&shown["key"]["nsid"], &shown["key"]["ifindex"]);
    let root = world.runtime().join("fs/xdp");
    let name = |end: &str| root.join(format!("dispatcher_{nsid}_{ifindex}_{end}"));
    let mut found = common::below(&root);
    found.sort();
    let revision = name("2");
    let mut expected = vec![
        revision.clone(),
        revision.join("dispatcher"),
        revision.join("link_0"),
        revision.join("link_1"),
        name("link"),
    ];
    expected.sort();
    assert_eq!(found, expected);
    let member = &shown["members"][1];
    assert_eq!(member["link_id"], second["record"]["id"]);
    assert_eq!(member["proceed_on"], 0x8000_0004_u32);
    assert_eq!(member["link_pin_path"], json!(revision.join("link_1")));
    assert_eq!(
        second["record"]["details"]["dispatcher_id"],
        shown["runtime"]["program_id"]
    );
    assert_eq!(second["record"]["details"]["revision"], 2);
    assert_eq!(second["record"]["details"]["position"], 1);
    Ok(())
}

#[test]
fn the_files_of_a_dispatcher_are_where_scripts_look_for_them() {
    bpfman_testing::requires!(files(&World::new(Via::InProcess)));
}

fn filter(world: &World) -> Possible {
    let net = Net::new();
    let mut chain = Chain::load(world, &net, Hook::Ingress, "extension", &[10, 11])?;
    chain.attach(10, 50, &[]);
    chain.attach(11, 50, &[]);
    let runtime = chain.shown()["runtime"].clone();
    assert_eq!(runtime["filter_priority"], 50);
    assert_eq!(runtime["kernel_link_id"], serde_json::Value::Null);
    let words = ["tc", "filter", "show", "dev", "veth0", "ingress"];
    let filters = String::from_utf8(near(&net, &words).stdout).unwrap();
    assert_eq!(filters.matches("tc_dispatcher").count(), 2, "{filters}");
    assert!(filters.contains("pref 50"), "{filters}");
    chain.check();
    Ok(())
}

#[test]
fn a_dispatcher_of_tc_is_one_filter() {
    bpfman_testing::requires!(filter(&World::new(Via::InProcess)));
}

/// One fills the frame that all share, another calls a function that then has none.
#[test]
fn what_a_chain_cannot_take_runs_as_an_extension_or_is_refused_by_name() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10]).unwrap();
    let more = ["--map-owner-id", &chain.program(10).id];
    let load = |name: &str| world.try_load("chain.bpf.o", name, &more).unwrap().id;
    let (deep, calls) = (load("xdp:xdp_deep_91"), load("xdp:xdp_calls_92"));
    let words = |program: &'static str| ["-p", program, "-n"];
    let attach = |program: &str, priority: &'static str| {
        let head = ["link", "attach", "xdp", program, "veth0"];
        world.bpfman(&[&head[..], &words(priority), &[&net.near]].concat())
    };
    assert!(attach(&deep, "50").status.success());
    let before = (world.places(), chain.running());
    let output = attach(&calls, "60");
    let message = stderr(&output);
    if output.status.success() {
        assert_eq!(chain.shown()["engine"], "extension");
        assert_eq!(chain.run().1, [91, 92]);
        // One that is left needs no dispatcher.
        world.ok(&["link", "detach", "1"]);
        assert_eq!(chain.shown()["engine"], "direct");
        assert_eq!(chain.run().1, [92]);
    } else {
        assert!(message.contains("link 1"), "{message}");
        assert!(message.contains("bytes of stack"), "{message}");
        assert!(message.contains("as extensions"), "{message}");
        assert_eq!(before, (world.places(), chain.running()));
        assert_eq!(chain.run().1, [91]);
    }
}
