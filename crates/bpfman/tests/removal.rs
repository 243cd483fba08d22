//! Taking a member out never fails: who cannot be joined with those that stay does not keep it in.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::Via;
use common::World;
use common::net::Net;
use common::stderr;
use serde_json::Value;

/// What the kernel calls with each packet at an interface.
fn running(net: &Net) -> Option<u64> {
    let words = ["-j", "-n", &net.near, "link", "show", "veth0"];
    let seen = Command::new("ip").args(words).output().unwrap();
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    seen[0]["xdp"]["prog"]["id"].as_u64()
}

/// One that passes after half a million instructions, one that drops all, and one more of the first kind, which only
/// joins because nothing reaches it.
fn three(world: &World, net: &Net) -> Vec<u64> {
    let programs = "xdp:long_one,xdp:drops,xdp:long_two";
    let loaded = world.load("removal.bpf.o", programs, &[]);
    for (program, priority) in loaded.iter().zip(["10", "20", "30"]) {
        let id = common::id(program).to_string();
        world.ok(&[
            "attach", "xdp", &id, "veth0", "-p", priority, "-n", &net.near,
        ]);
    }
    loaded.iter().map(common::id).collect()
}

fn dispatcher(world: &World, net: &Net) -> Value {
    let (nsid, ifindex) = (net.nsid().to_string(), net.ifindex().to_string());
    world.json(&["dispatcher", "get", "xdp", &nsid, &ifindex])
}

/// Takes the one away that drops everything.
fn take_out(words: impl Fn(&[u64]) -> Vec<String>) {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = three(&world, &net);
    let words = words(&programs);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = world.bpfman(&words);
    let message = stderr(&output);
    assert!(output.status.success(), "{message}");
    let shown = dispatcher(&world, &net);
    assert_eq!(
        shown["runtime"]["program_id"].as_u64(),
        running(&net),
        "{shown}"
    );
    if shown["engine"] == "extension" {
        // The kernel has extensions, which keep all of them and their order.
        assert_eq!(shown["members"].as_array().unwrap().len(), 2, "{shown}");
        return;
    }
    assert_eq!(running(&net), Some(programs[0]), "{shown}");
    assert!(
        message.contains("warning: the program of link 3 does not run any more"),
        "{message}"
    );
    assert!(message.contains("too large"), "{message}");
    assert_eq!(shown["left_out"][0]["link_id"], 3, "{shown}");
    let link = world.json(&["link", "get", "3"]);
    assert_eq!(link["status"]["kernel_seen"], false, "{link}");
    assert_eq!(link["record"]["details"]["position"], Value::Null, "{link}");
    assert!(link["status"]["left_out"].is_string(), "{link}");
    let doctor = world.bpfman(&["doctor", "-o", "json"]);
    assert_eq!(doctor.status.code(), Some(7));
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(doctor["findings"][0]["rule"], "link-left-out", "{doctor}");
    // The way out: another one makes room.
    world.ok(&["detach", "1"]);
    assert_eq!(running(&net), Some(programs[2]));
    assert_eq!(dispatcher(&world, &net)["left_out"], Value::Null);
    assert!(world.bpfman(&["doctor"]).status.success());
}

#[test]
fn a_detach_leaves_out_who_cannot_be_joined_any_more() {
    take_out(|_| ["detach", "2"].map(str::to_owned).to_vec());
}

#[test]
fn an_unload_leaves_out_who_cannot_be_joined_any_more() {
    take_out(|programs| vec!["unload".to_owned(), programs[1].to_string()]);
}

#[test]
fn an_attach_point_is_always_cleared() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = three(&world, &net);
    for program in programs {
        // All that they could be joined from.
        std::fs::remove_file(world.runtime().join(format!("fs/prog_{program}"))).unwrap();
    }
    let (nsid, ifindex) = (net.nsid().to_string(), net.ifindex().to_string());
    world.ok(&["dispatcher", "delete", "xdp", &nsid, &ifindex]);
    assert_eq!(running(&net), None);
    assert_eq!(
        world.json(&["link", "list"])["links"],
        serde_json::json!([])
    );
}
