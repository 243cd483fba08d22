//! Chains change while packets come: none is lost, none skips the chain or meets half of one.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::Via;
use common::World;
use common::kernel::Loaded;
use common::net::Net;
use common::object;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;
use serde_json::Value;

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

/// How often the chain changes.
const CHANGES: usize = 8;
/// The port of the packets that count.
const PORT: u16 = 7777;
/// Packets that are sent without a pause: fewer than a veth device queues.
const BURST: usize = 32;

mod compiled {
    use super::*;

    #[test]
    fn no_packet_is_lost_or_meets_half_of_an_xdp_chain() {
        bpfman_testing::requires!(flood("xdp", "auto"));
    }

    #[test]
    fn no_packet_is_lost_or_meets_half_of_a_tc_chain() {
        bpfman_testing::requires!(flood("tc", "auto"));
    }
}

mod extensions {
    use super::*;

    #[test]
    fn no_packet_is_lost_or_meets_half_of_an_xdp_chain() {
        bpfman_testing::requires!(flood("xdp", "extension"));
    }

    #[test]
    fn no_packet_is_lost_or_meets_half_of_a_tc_chain() {
        bpfman_testing::requires!(flood("tc", "extension"));
    }
}

/// What the programs of `flood.bpf.c` counted.
#[derive(Debug)]
struct Counts {
    first: u64,
    middle: u64,
    last: u64,
    without_first: u64,
    middle_twice: u64,
}

fn counts(program: &Loaded) -> Counts {
    let map = MapHandle::from_pinned_path(program.map_pin("counts")).unwrap();
    let number = |key: u32| {
        let value = map.lookup(&key.to_ne_bytes(), MapFlags::ANY).unwrap();
        u64::from_ne_bytes(value.unwrap().try_into().unwrap())
    };
    Counts {
        first: number(0),
        middle: number(1),
        last: number(2),
        without_first: number(3),
        middle_twice: number(4),
    }
}

/// Sends until it is told to stop; how many packets.
fn send(net: &Net, stop: &AtomicBool) -> u64 {
    let file = File::open(format!("/run/netns/{}", net.far)).unwrap();
    let send = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let socket = UdpSocket::bind("10.9.0.2:0").unwrap();
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..BURST {
                socket.send_to(&[0; 64], ("10.9.0.1", PORT)).unwrap();
                sent += 1;
            }
            thread::sleep(Duration::from_micros(500));
        }
        sent
    };
    thread::scope(|scope| scope.spawn(send).join().unwrap())
}

/// Packets that the sending device dropped because the receiving one was behind: no program met them.
fn overrun(net: &Net) -> u64 {
    let mut ip = Command::new("ip");
    let output = ip.args(["-j", "-s", "-n", &net.far, "link", "show", "veth1"]);
    let shown: Value = serde_json::from_slice(&output.output().unwrap().stdout).unwrap();
    shown[0]["stats64"]["tx"]["dropped"].as_u64().unwrap()
}

fn flood(kind: &str, engine: &str) -> Possible {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let names = ["first", "middle", "last"].map(|name| format!("{kind}:{kind}_{name}"));
    let more = ["--engine", engine];
    let loaded = world.try_load_all("flood.bpf.o", &names.join(","), &more)?;
    let attach = |program: &str, priority: &str| {
        let mut words = vec!["link", "attach", kind, program, "veth0"];
        if kind == "tc" {
            words.push("ingress");
        }
        words.extend(["-p", priority, "-n", &net.near]);
        world.json(&words)["record"]["id"].to_string()
    };
    attach(&loaded[0].id, "10");
    attach(&loaded[2].id, "90");
    let stop = AtomicBool::new(false);
    let mut middle_id = loaded[1].id.clone();
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&net, &stop));
        for change in 0..CHANGES {
            let link = attach(&middle_id, "50");
            if change % 3 == 0 {
                world.ok(&["link", "update", &link, "--priority", "60"]);
            }
            if change % 4 == 1 {
                let path = object("flood.bpf.o");
                let new = world.json(&["program", "replace", &middle_id, &path]);
                middle_id = new["record"]["program_id"].to_string();
            }
            world.ok(&["link", "detach", &link]);
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    // The last packets are on their way.
    thread::sleep(Duration::from_millis(200));
    let found = counts(&loaded[0]);
    let sent = sent - overrun(&net);
    assert!(sent > 1000, "only {sent} packets were sent");
    assert_eq!(found.first, sent, "{found:?}");
    assert_eq!(found.last, sent, "{found:?}");
    assert_eq!(found.without_first, 0, "{found:?}");
    assert_eq!(found.middle_twice, 0, "{found:?}");
    assert!(found.middle > 0 && found.middle < sent, "{found:?}");
    Ok(())
}
