//! struct_ops maps: a TCP congestion control is attached, carries a connection and is detached.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use common::Via;
use common::World;
use common::assert_gone;
use common::bpftool;
use common::id;
use common::net::Net;
use common::object;
use common::run;
use common::stderr;
use rustix::net::sockopt;
use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;
use serde_json::Value;

both_ways!(
    a_congestion_control_is_attached_used_and_detached,
    what_is_shown_has_the_keys_of_the_contract,
    a_map_that_no_link_can_hold_is_refused_with_the_way_out,
    a_name_that_is_registered_already_is_refused,
    a_link_that_was_detached_by_hand_is_taken_away,
    unloading_a_program_takes_the_registration_back,
    a_map_whose_programs_are_gone_is_refused_by_name,
);

/// The functions of the map `congestion`.
const MEMBERS: [&str; 3] = [
    "t_struct_ops_ssthresh",
    "t_struct_ops_cong_avoid",
    "t_struct_ops_undo_cwnd",
];
/// The name under which the object registers it.
const BUILT_NAME: &[u8] = b"bpf_test\0";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A congestion control of its own for each test: the kernel has one list of them for all.
struct Control {
    name: String,
    /// The first is what links are made of.
    programs: Vec<String>,
}

fn bpf_objects(world: &World) -> (String, String) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("b{:05x}{number:02x}", std::process::id() & 0xf_ffff);
    let mut bytes = fs::read(object("struct_ops.bpf.o")).unwrap();
    let places: Vec<usize> = bytes
        .windows(BUILT_NAME.len())
        .enumerate()
        .filter(|(_, part)| *part == BUILT_NAME)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 1, "the name stands once in the object");
    bytes[places[0]..][..name.len()].copy_from_slice(name.as_bytes());
    let path = world.root().join(format!("{name}.bpf.o"));
    fs::write(&path, bytes).unwrap();
    (name, path.to_str().unwrap().to_owned())
}

/// Loads the programs of a map; skips the test where the kernel has no links for it.
fn load(world: &World) -> Option<Control> {
    let (name, path) = bpf_objects(world);
    let members: Vec<String> = MEMBERS
        .iter()
        .map(|name| format!("struct_ops:{name}"))
        .collect();
    let members = members.join(",");
    let args = [
        "program",
        "load",
        &path,
        "--programs",
        &members,
        "-o",
        "json",
    ];
    let output = world.bpfman(&args);
    if !output.status.success() {
        let message = stderr(&output);
        assert!(bpfman_testing::kernel(6, 4).is_err(), "{message}");
        assert!(message.contains("this kernel"), "{message}");
        bpfman_testing::skip(message.lines().next().unwrap());
        return None;
    }
    let loaded: Value = serde_json::from_slice(&output.stdout).unwrap();
    let programs = loaded["programs"].as_array().unwrap().iter();
    Some(Control {
        name,
        programs: programs.map(|program| id(program).to_string()).collect(),
    })
}

fn attach(world: &World, program: &str) -> Value {
    world.json(&["attach", "struct_ops", program])
}

fn link_id(link: &Value) -> String {
    link["record"]["id"].to_string()
}

fn is_registered(name: &str) -> bool {
    let list = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap();
    list.split_whitespace().any(|known| known == name)
}

/// Sends a text over the loopback interface of a namespace with this congestion control.
fn transfer(namespace: &str, name: &str) -> TcpStream {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    let name = name.to_owned();
    let connection = move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        sockopt::set_tcp_congestion(&client, &name).unwrap();
        assert_eq!(sockopt::tcp_congestion(&client).unwrap(), name);
        let (mut server, _) = listener.accept().unwrap();
        let sender = std::thread::spawn(move || {
            client.write_all(&[7; 1 << 20]).unwrap();
            client
        });
        let mut received = vec![0; 1 << 20];
        server.read_exact(&mut received).unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
        sender.join().unwrap()
    };
    std::thread::spawn(connection).join().unwrap()
}

fn a_congestion_control_is_attached_used_and_detached(world: &World) {
    let Some(control) = load(world) else { return };
    let net = Net::new();
    run(Command::new("ip").args(["-n", &net.near, "link", "set", "lo", "up"]));
    assert!(!is_registered(&control.name), "a load registers nothing");
    let plan = world.ok(&["attach", "struct_ops", &control.programs[0], "--dry-run"]);
    assert!(plan.contains("fill struct_ops map"), "{plan}");
    for _ in 0..2 {
        // The second time the map has its value already.
        let link = attach(world, &control.programs[0]);
        assert!(is_registered(&control.name));
        let map = link["record"]["details"]["map_id"].clone();
        let registered = bpftool(&["struct_ops", "list"]).unwrap();
        let registered = registered.as_array().unwrap().iter();
        let mut registered = registered.filter(|known| known["id"] == map);
        assert_eq!(
            registered.next().unwrap()["kernel_struct_ops"],
            "tcp_congestion_ops"
        );
        let connection = transfer(&net.near, &control.name);
        world.ok(&["detach", &link_id(&link)]);
        assert!(!is_registered(&control.name));
        assert_gone("link", link["record"]["kernel_link_id"].as_u64().unwrap());
        // A connection keeps what it was made with.
        assert_eq!(sockopt::tcp_congestion(&connection).unwrap(), control.name);
    }
    for program in &control.programs {
        world.ok(&["unload", program]);
    }
    for program in &control.programs {
        assert_gone("prog", program.parse().unwrap());
    }
}

fn what_is_shown_has_the_keys_of_the_contract(world: &World) {
    let Some(control) = load(world) else { return };
    let link = attach(world, &control.programs[1]);
    let record = &link["record"];
    assert_eq!(record["kind"], "struct_ops");
    assert_eq!(record["program_id"].to_string(), control.programs[1]);
    let details = record["details"].as_object().unwrap();
    let keys: Vec<&str> = details.keys().map(String::as_str).collect();
    assert_eq!(keys, ["map", "map_id", "struct_name"]);
    assert_eq!(details["map"], "congestion");
    assert_eq!(details["struct_name"], "tcp_congestion_ops");
    let kernel = &link["status"]["kernel"];
    assert_eq!(kernel["link_type"], "struct_ops");
    assert_eq!(kernel["program_id"], Value::Null);
    assert_eq!(kernel["place"]["map"], details["map_id"]);
    assert_eq!(link["status"]["kernel_seen"], true);
    assert_eq!(link["status"]["pin_present"], true);
    assert_eq!(world.json(&["link", "get", &link_id(&link)]), link);
    let text = world.ok(&["link"]);
    assert!(text.contains("tcp_congestion_ops congestion"), "{text}");
    world.ok(&["detach", &link_id(&link)]);
    let named = ["attach", "struct_ops", &control.programs[0], "--map"];
    let link = world.json(&[&named[..], &["congestion"]].concat());
    assert_eq!(link["record"]["details"]["map"], "congestion");
    world.ok(&["detach", &link_id(&link)]);
    let unknown = ["`nosuch`", "these use it: congestion"];
    world.refused(&[&named[..], &["nosuch"]].concat(), 3, &unknown);
}

fn a_map_that_no_link_can_hold_is_refused_with_the_way_out(world: &World) {
    let path = object("struct_ops.bpf.o");
    let args = [
        "program",
        "load",
        &path,
        "--programs",
        "struct_ops:t_struct_ops_dummy",
    ];
    let output = world.bpfman(&[&args[..], &["-o", "json"]].concat());
    if !output.status.success() {
        let message = stderr(&output);
        assert!(message.contains("this kernel"), "{message}");
        return bpfman_testing::skip(message.lines().next().unwrap());
    }
    let loaded: Value = serde_json::from_slice(&output.stdout).unwrap();
    let program = id(&loaded["programs"][0]).to_string();
    let words = ["`dummy` cannot be attached by a link", ".struct_ops.link"];
    world.refused(&["attach", "struct_ops", &program], 2, &words);
}

fn a_name_that_is_registered_already_is_refused(world: &World) {
    let Some(control) = load(world) else { return };
    let link = attach(world, &control.programs[0]);
    let words = ["something of its name is registered already"];
    world.refused(&["attach", "struct_ops", &control.programs[1]], 1, &words);
    assert!(is_registered(&control.name));
    world.ok(&["detach", &link_id(&link)]);
}

fn a_link_that_was_detached_by_hand_is_taken_away(world: &World) {
    let Some(control) = load(world) else { return };
    let link = attach(world, &control.programs[0]);
    let pin = link["record"]["pin_path"].as_str().unwrap();
    let detached = bpftool(&["link", "detach", "pinned", pin]);
    if detached.is_none() {
        return bpfman_testing::skip("this kernel does not detach struct_ops links");
    }
    assert!(!is_registered(&control.name));
    let shown = world.json(&["link", "get", &link_id(&link)]);
    assert_eq!(shown["status"]["kernel"]["place"]["map"], Value::Null);
    world.ok(&["detach", &link_id(&link)]);
    assert_gone("link", link["record"]["kernel_link_id"].as_u64().unwrap());
}

fn unloading_a_program_takes_the_registration_back(world: &World) {
    let Some(control) = load(world) else { return };
    let link = attach(world, &control.programs[0]);
    world.ok(&["unload", &control.programs[0]]);
    assert!(!is_registered(&control.name));
    assert_gone("link", link["record"]["kernel_link_id"].as_u64().unwrap());
    let words = [MEMBERS[0], "not managed or no longer at its pin"];
    world.refused(&["attach", "struct_ops", &control.programs[1]], 1, &words);
}

fn a_map_whose_programs_are_gone_is_refused_by_name(world: &World) {
    let Some(control) = load(world) else { return };
    let pins = world.runtime().join("fs");
    fs::remove_file(pins.join(format!("prog_{}", control.programs[1]))).unwrap();
    let words = [MEMBERS[1], "not managed or no longer at its pin"];
    world.refused(&["attach", "struct_ops", &control.programs[0]], 1, &words);
    let map = format!("maps/{}/congestion", control.programs[0]);
    fs::remove_file(pins.join(map)).unwrap();
    let words = ["`congestion`", "no longer at its pin"];
    world.refused(&["attach", "struct_ops", &control.programs[0]], 1, &words);
    assert!(!is_registered(&control.name));
}

/// The way out is the load that works, word for word.
#[test]
fn a_part_of_a_map_is_refused_with_the_load_of_all_of_it() {
    let world = World::new(Via::InProcess);
    let path = object("struct_ops.bpf.o");
    let part = "struct_ops:t_struct_ops_cong_avoid";
    let whole = "--programs struct_ops:t_struct_ops_cong_avoid,struct_ops:t_struct_ops_ssthresh,\
                 struct_ops:t_struct_ops_undo_cwnd";
    let load = ["program", "load", &path, "--programs", part];
    world.refused(&load, 2, &["congestion", whole]);
}
