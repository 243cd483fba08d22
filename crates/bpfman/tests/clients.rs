//! What typed clients decode: each answer is read into structures whose fields have one type each. Unknown fields are
//! allowed; null is allowed only where the structure says `Option`.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(dead_code, reason = "fields are there to be decoded")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::Via;
use common::World;
use common::bpftool;
use common::net::Net;
use common::object;
use common::stderr;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct Loaded {
    programs: Vec<Program>,
}

#[derive(Debug, Deserialize)]
struct Program {
    record: Record,
    status: Status,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Record {
    program_id: u32,
    load: Load,
    license: String,
    gpl_compatible: bool,
    handles: Handles,
    meta: Meta,
    created_at: String,
    updated_at: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Load {
    object_path: String,
    source_path: Option<String>,
    program_name: String,
    program_type: String,
    global_data: BTreeMap<String, String>,
    image_source: Option<BTreeMap<String, String>>,
    attach_func: Option<String>,
    map_owner_id: Option<u32>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Handles {
    pin_path: String,
    map_pin_path: String,
    map_owner_id: Option<u32>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Meta {
    name: String,
    owner: String,
    description: String,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Status {
    kernel: Option<Kernel>,
    stats: Option<Stats>,
    prog_pin: String,
    map_dir: String,
    bytecode: String,
    prog_pin_present: bool,
    map_dir_present: bool,
    bytecode_present: bool,
    links: Vec<Link>,
    maps: Vec<Map>,
    map_used_by: Vec<u32>,
}

#[derive(Debug, Deserialize)]
struct Kernel {
    id: u32,
    name: String,
    program_type: String,
    tag: String,
    loaded_at: String,
    uid: u32,
    has_uid: bool,
    btf_id: u32,
    has_btf_id: bool,
    map_ids: Vec<u32>,
    has_map_ids: bool,
    jited_size: u32,
    xlated_size: u32,
    verified_insns: u32,
    memlock: u64,
    has_memlock: bool,
    restricted: bool,
}

#[derive(Debug, Deserialize)]
struct Stats {
    runtime: u64,
    run_count: u64,
    recursion_misses: u64,
}

#[derive(Debug, Deserialize)]
struct Map {
    id: u32,
    name: String,
    object_name: String,
    map_type: String,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    btf_id: u32,
    has_btf_id: bool,
    map_extra: u64,
    has_map_extra: bool,
    memlock: u64,
    has_memlock: bool,
    frozen: bool,
    pin_path: String,
    present: bool,
}

#[derive(Debug, Deserialize)]
struct Listed {
    programs: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    program_id: u32,
    managed: bool,
    application: String,
    r#type: String,
    function_name: String,
    links: Vec<u64>,
    record: Option<Record>,
    kernel: Option<Kernel>,
}

#[derive(Debug, Deserialize)]
struct Link {
    record: LinkRecord,
    status: LinkStatus,
}

#[derive(Debug, Deserialize)]
struct LinkRecord {
    id: u64,
    program_id: u32,
    kernel_link_id: Option<u32>,
    kind: String,
    pin_path: Option<String>,
    details: Value,
    created_at: String,
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct LinkStatus {
    kernel: Option<KernelLink>,
    kernel_seen: bool,
    pin_present: bool,
}

#[derive(Debug, Deserialize)]
struct KernelLink {
    id: u32,
    program_id: u32,
    link_type: String,
    attach_type: String,
    ifindex: u32,
    target_obj_id: u32,
    target_btf_id: u32,
    cgroup_id: u64,
    netns_ino: u32,
    netfilter_pf: u32,
    netfilter_hooknum: u32,
    netfilter_priority: i32,
    netfilter_flags: u32,
    kprobe_multi_count: u32,
    kprobe_multi_flags: u32,
    kprobe_multi_missed: u64,
    kprobe_address: u64,
    kprobe_missed: u64,
}

#[derive(Debug, Deserialize)]
struct Links {
    links: Vec<LinkRecord>,
}

#[derive(Debug, Deserialize)]
struct XdpDetails {
    interface: String,
    ifindex: u32,
    priority: i32,
    position: i32,
    proceed_on: Vec<i32>,
    netns: String,
    nsid: u64,
    dispatcher_id: Option<u32>,
    revision: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct TcDetails {
    direction: String,
    #[serde(flatten)]
    shared: XdpDetails,
}

#[derive(Debug, Deserialize)]
struct TcxDetails {
    interface: String,
    ifindex: u32,
    direction: String,
    priority: i32,
    position: i32,
    netns: String,
    nsid: u64,
}

#[derive(Debug, Deserialize)]
struct TracepointDetails {
    group: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct UprobeDetails {
    target: String,
    fn_name: String,
    offset: u64,
    retprobe: bool,
}

#[derive(Debug, Deserialize)]
struct Dispatchers {
    dispatchers: Vec<DispatcherRow>,
}

#[derive(Debug, Deserialize)]
struct DispatcherRow {
    key: Key,
    revision: u32,
    runtime: Runtime,
    member_count: u32,
}

#[derive(Debug, Deserialize)]
struct Dispatcher {
    key: Key,
    revision: u32,
    runtime: Runtime,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Key {
    r#type: String,
    nsid: u64,
    ifindex: u32,
}

#[derive(Debug, Deserialize)]
struct Runtime {
    program_id: u32,
    kernel_link_id: Option<u32>,
    filter_priority: Option<u32>,
    filter_handle: Option<u32>,
    netns_path: String,
}

#[derive(Debug, Deserialize)]
struct Member {
    program_id: u32,
    program_name: String,
    prog_pin_path: String,
    link_id: u64,
    kernel_link_id: Option<u32>,
    link_pin_path: String,
    position: i32,
    priority: i32,
    proceed_on: u32,
    ifname: String,
    metadata: Option<BTreeMap<String, String>>,
}

fn decode<T: DeserializeOwned>(world: &World, args: &[&str]) -> T {
    let answer = world.json(args);
    serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("{error}: {answer:#}"))
}

fn details<T: DeserializeOwned>(link: &LinkRecord) -> T {
    let details = link.details.clone();
    serde_json::from_value(details).unwrap_or_else(|error| panic!("{error}: {}", link.details))
}

fn load(world: &World, name: &str, programs: &str, more: &[&str]) -> Vec<Program> {
    let path = object(name);
    let args = [
        &["program", "load", "file", &path, "--programs", programs],
        more,
    ]
    .concat();
    decode::<Loaded>(world, &args).programs
}

/// The text of a pin or file when it is there, which it is.
fn assert_there(text: &str, recorded: &str, present: bool) {
    assert_eq!(text, recorded);
    assert!(present && Path::new(text).exists(), "{text}");
}

/// What an answer says of a program, against the world.
fn check_program(program: &Program) {
    let Program { record, status } = program;
    let number = record.program_id.to_string();
    let seen = bpftool(&["prog", "show", "id", &number]).unwrap();
    let kernel = status.kernel.as_ref().unwrap();
    assert_eq!(serde_json::json!(kernel.map_ids), seen["map_ids"]);
    let ids: Vec<u32> = status.maps.iter().map(|map| map.id).collect();
    assert_eq!(ids, kernel.map_ids, "the same maps, in the same order");
    for map in &status.maps {
        let seen = bpftool(&["map", "show", "id", &map.id.to_string()]).unwrap();
        assert_eq!(map.name, seen["name"].as_str().unwrap_or_default());
        assert!(map.name.len() <= 15 && map.present);
        assert!(map.object_name.starts_with(&map.name) || map.object_name.starts_with('.'));
        assert!(!map.has_map_extra);
    }
    assert_there(
        &status.prog_pin,
        &record.handles.pin_path,
        status.prog_pin_present,
    );
    assert_there(
        &status.map_dir,
        &record.handles.map_pin_path,
        status.map_dir_present,
    );
    assert_there(
        &status.bytecode,
        &record.load.object_path,
        status.bytecode_present,
    );
    let counted = std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").unwrap();
    assert_eq!(status.stats.is_some(), counted.trim() != "0");
    assert_eq!(record.meta.owner, "");
    assert_eq!(record.meta.description, "");
}

#[test]
fn programs_are_decoded_from_load_get_and_list() {
    let world = World::new(Via::InProcess);
    let more = ["-m", "purpose=decode", "-g", "sampling=01000000"];
    let programs = load(
        &world,
        "maps.bpf.o",
        "tracepoint:first,tracepoint:second",
        &more,
    );
    let mut listed: Listed = decode(&world, &["program", "list"]);
    let ids: Vec<u32> = programs
        .iter()
        .map(|program| program.record.program_id)
        .collect();
    for (program, row) in programs.iter().zip(&mut listed.programs) {
        check_program(program);
        let id = program.record.program_id;
        assert_eq!(
            program.record.handles.map_owner_id, None,
            "they share by being loaded together"
        );
        assert_eq!(program.status.map_used_by, ids);
        let got: Program = decode(&world, &["get", &id.to_string()]);
        check_program(&got);
        assert_eq!(got.record, program.record);
        assert_eq!(got.status.map_used_by, ids);
        assert_eq!((row.program_id, row.managed), (id, true));
        assert_eq!(
            (row.application.as_str(), row.r#type.as_str()),
            ("", "tracepoint")
        );
        assert_eq!(row.record.take().unwrap(), got.record);
        assert_eq!(row.kernel.as_ref().unwrap().id, id);
    }
    let names = |program: &Program| -> Vec<String> {
        let maps = program.status.maps.iter();
        maps.map(|map| map.object_name.clone()).collect()
    };
    assert!(
        !names(&programs[0]).contains(&"by_name".to_owned()),
        "first does not use it"
    );
    assert!(names(&programs[1]).contains(&"by_name".to_owned()));
}

#[test]
fn what_is_gone_is_an_empty_text_and_said_so() {
    let world = World::new(Via::InProcess);
    let program = load(&world, "xdp_pass.bpf.o", "xdp:xdp_pass", &[]).remove(0);
    std::fs::remove_file(&program.record.load.object_path).unwrap();
    std::fs::remove_file(&program.record.handles.pin_path).unwrap();
    let id = program.record.program_id.to_string();
    let got: Program = decode(&world, &["get", &id]);
    assert_eq!(
        (got.status.prog_pin.as_str(), got.status.bytecode.as_str()),
        ("", "")
    );
    assert!(!got.status.prog_pin_present && !got.status.bytecode_present);
    assert_eq!(got.status.map_dir, program.status.map_dir);
    assert!(got.status.kernel.is_none() && got.status.map_used_by.is_empty());
}

#[test]
fn the_source_is_recorded_as_it_was_typed() {
    let world = World::new(Via::InProcess);
    let path = object("xdp_pass.bpf.o");
    let directory = Path::new(&path).parent().unwrap();
    for typed in ["xdp_pass.bpf.o", "./xdp_pass.bpf.o", path.as_str()] {
        let args = [
            "program",
            "load",
            "file",
            typed,
            "--programs",
            "xdp:xdp_pass",
            "-o",
            "json",
        ];
        let output = world
            .command(&[], &args)
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let loaded: Loaded = serde_json::from_slice(&output.stdout).unwrap();
        let record = &loaded.programs[0].record;
        assert_eq!(record.load.source_path.as_deref(), Some(typed));
        let got: Program = decode(&world, &["get", &record.program_id.to_string()]);
        assert_eq!(got.record, *record);
    }
}

#[test]
fn only_a_program_with_maps_of_its_own_is_a_map_owner() {
    let world = World::new(Via::InProcess);
    let owner = load(&world, "map_owner.bpf.o", "tracepoint:owner", &[]).remove(0);
    let id = owner.record.program_id;
    let take = |from: u32| ["--map-owner-id".to_owned(), from.to_string()];
    let user = |from: u32| {
        let more = take(from);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        load(&world, "map_user.bpf.o", "tracepoint:user", &more).remove(0)
    };
    let (first, second) = (user(id), user(id));
    let borrower = first.record.program_id;
    assert_eq!(first.record.handles.map_owner_id, Some(id));
    assert_eq!(
        first.record.handles.map_pin_path,
        owner.record.handles.map_pin_path
    );
    let users = [id, borrower, second.record.program_id];
    for program in users {
        let got: Program = decode(&world, &["get", &program.to_string()]);
        assert_eq!(got.status.map_used_by, users);
    }
    let path = object("map_user.bpf.o");
    for missing in [borrower, 4_294_967_295] {
        let number = missing.to_string();
        let args = [
            "program",
            "load",
            &path,
            "--programs",
            "tracepoint:user",
            "--map-owner-id",
        ];
        let words = format!("map_owner_id {missing} does not exist");
        world.refused(&[&args[..], &[&number]].concat(), 3, &[&words]);
    }
    // A new version of the owner owns what the old one did.
    let replaced = [
        "program",
        "replace",
        &id.to_string(),
        &object("map_owner.bpf.o"),
    ];
    let new: Program = decode(&world, &replaced);
    assert_eq!(new.record.handles.map_owner_id, None);
    let third = user(new.record.program_id);
    let shared =
        |program: &Program| -> Vec<u32> { program.status.maps.iter().map(|map| map.id).collect() };
    assert!(shared(&third).iter().all(|id| shared(&first).contains(id)));
}

#[test]
fn links_and_dispatchers_are_decoded() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = load(&world, "traffic.bpf.o", "xdp:xdp_1,xdp:xdp_2", &[]);
    let ids: Vec<String> = programs
        .iter()
        .map(|one| one.record.program_id.to_string())
        .collect();
    let near = format!("/run/netns/{}", net.near);
    for (at, id) in ids.iter().enumerate() {
        let args = [
            "link", "attach", "xdp", id, "veth0", "-p", "50", "-n", &near, "-m", "a=b",
        ];
        let link: Link = decode(&world, &args);
        let got: Link = decode(&world, &["link", "get", &link.record.id.to_string()]);
        for Link { record, status } in [&link, &got] {
            assert_eq!(record.metadata.as_ref().unwrap()["a"], "b");
            let shown: XdpDetails = details(record);
            assert_eq!(shown.netns, near);
            assert_eq!(
                u64::from(status.kernel.as_ref().unwrap().ifindex),
                net.ifindex()
            );
            assert_eq!(shown.dispatcher_id.is_some(), at == 1);
        }
    }
    let links: Links = decode(&world, &["link", "list"]);
    assert_eq!(links.links.len(), 2);
    let rows: Dispatchers = decode(&world, &["dispatcher", "list"]);
    let key = &rows.dispatchers[0].key;
    let (nsid, ifindex) = (key.nsid.to_string(), key.ifindex.to_string());
    let got: Dispatcher = decode(&world, &["dispatcher", "get", &key.r#type, &nsid, &ifindex]);
    assert_eq!(got.runtime.netns_path, near);
    let positions: Vec<i32> = got.members.iter().map(|member| member.position).collect();
    assert_eq!(positions, [0, 1]);
    let program: Program = decode(&world, &["get", &ids[0]]);
    assert_eq!(program.status.links.len(), 1);
}

#[test]
fn where_there_is_no_namespace_path_there_is_an_empty_text() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let inside = ["ip", "netns", "exec", &net.near];
    let inside = |args: &[&str]| -> Value {
        let args = [args, &["-o", "json"]].concat();
        let output = world.command(&inside, &args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let xdp = load(&world, "traffic.bpf.o", "xdp:xdp_1", &[])
        .remove(0)
        .record
        .program_id;
    let tcx = load(&world, "traffic.bpf.o", "tcx:tc_3", &[])
        .remove(0)
        .record
        .program_id;
    let (xdp, tcx) = (xdp.to_string(), tcx.to_string());
    let made = inside(&["link", "attach", "xdp", &xdp, "veth0", "-p", "1"]);
    let made: Link = serde_json::from_value(made).unwrap();
    assert_eq!(details::<XdpDetails>(&made.record).netns, "");
    let rows: Dispatchers = serde_json::from_value(inside(&["dispatcher", "list"])).unwrap();
    assert_eq!(rows.dispatchers[0].runtime.netns_path, "");
    let tcx = ["link", "attach", "tcx", &tcx, "veth0", "ingress", "-p", "1"];
    let output = world
        .command(&["ip", "netns", "exec", &net.near], &tcx)
        .output()
        .unwrap();
    if common::kernel::lacks(&stderr(&output)) {
        bpfman_testing::requires!(Err::<(), _>(stderr(&output)));
    }
    let got: Link = serde_json::from_value(inside(&["link", "get", "2"])).unwrap();
    assert_eq!(details::<TcxDetails>(&got.record).netns, "");
    // BPF_TCX_INGRESS of linux/bpf.h.
    assert_eq!(got.status.kernel.unwrap().attach_type, "46");
}

#[test]
fn a_probe_without_a_function_has_an_empty_name() {
    let world = World::new(Via::InProcess);
    let counted = common::probed::Program::build();
    let offset = counted.start().file_offset.to_string();
    let program = load(&world, "probes.bpf.o", "uprobe:count_uprobe", &[]).remove(0);
    let id = program.record.program_id.to_string();
    let output = world.bpfman(&[
        "attach",
        "uprobe",
        &id,
        &counted.text(),
        "--offset",
        &offset,
    ]);
    if common::kernel::lacks(&stderr(&output)) {
        bpfman_testing::requires!(Err::<(), _>(stderr(&output)));
    }
    assert!(output.status.success(), "{}", stderr(&output));
    let link: Link = decode(&world, &["link", "get", "1"]);
    let shown: UprobeDetails = details(&link.record);
    assert_eq!(
        (shown.fn_name, shown.offset.to_string()),
        (String::new(), offset)
    );
    let point = link.status.kernel.unwrap();
    assert_eq!((point.ifindex, point.attach_type.as_str()), (0, ""));
}

/// The pins below a directory of our bpffs.
fn pins(world: &World, directory: &str) -> Vec<String> {
    let directory = world.runtime().join("fs").join(directory);
    let pins = common::below(&directory).into_iter();
    let mut pins: Vec<String> = pins.map(|pin| pin.to_str().unwrap().to_owned()).collect();
    pins.sort_unstable();
    pins
}

/// `Err` is what the kernel lacks.
fn tcx(world: &World, program: u32, net: &Net, direction: &str) -> Result<Link, String> {
    let near = format!("/run/netns/{}", net.near);
    let id = program.to_string();
    let args = [
        "link", "attach", "tcx", &id, "veth0", direction, "-p", "1", "-n", &near, "-o", "json",
    ];
    let output = world.bpfman(&args);
    match common::kernel::lacks(&stderr(&output)) {
        true => Err(stderr(&output)),
        false => Ok(serde_json::from_slice(&output.stdout).unwrap()),
    }
}

#[test]
fn links_of_tcx_are_pinned_where_clients_look_for_them() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let program = load(&world, "traffic.bpf.o", "tcx:tcx_4", &[])
        .remove(0)
        .record
        .program_id;
    let place = format!("link_{}_{}_{program}", net.nsid(), net.ifindex());
    for direction in ["ingress", "egress"] {
        let made = tcx(&world, program, &net, direction);
        bpfman_testing::requires!(made.as_ref().map(|_| ()));
        let link = made.unwrap();
        let hook = format!("tcx-{direction}");
        let pin = link.record.pin_path.unwrap();
        assert!(pin.ends_with(&format!("/fs/{hook}/{place}")), "{pin}");
        assert_eq!(pins(&world, &hook), std::slice::from_ref(&pin));
        let seen = bpftool(&["link", "show", "pinned", &pin]).unwrap();
        assert_eq!(seen["id"], link.record.kernel_link_id.unwrap());
        world.ok(&["link", "detach", &link.record.id.to_string()]);
        assert!(pins(&world, &hook).is_empty());
    }
}

/// The attach points of a deleted namespace go with the first member that is detached, whatever holds them.
#[test]
fn a_detach_in_a_deleted_namespace_takes_the_attach_point_along() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = load(&world, "traffic.bpf.o", "xdp:xdp_1,xdp:xdp_2,tc:tc_3", &[]);
    let near = format!("/run/netns/{}", net.near);
    let attach = |program: &Program, hook: &[&str], priority: &str| -> String {
        let id = program.record.program_id.to_string();
        let args = [&["link", "attach", hook[0], &id, "veth0"], &hook[1..]].concat();
        let link: Link = decode(
            &world,
            &[&args[..], &["-p", priority, "-n", &near]].concat(),
        );
        link.record.id.to_string()
    };
    let xdp = [(0, "1"), (1, "2"), (1, "3")]
        .map(|(at, priority)| attach(&programs[at], &["xdp"], priority));
    let tc = ["1", "2"].map(|priority| attach(&programs[2], &["tc", "ingress"], priority));
    let rows: Dispatchers = decode(&world, &["dispatcher", "list"]);
    assert_eq!(rows.dispatchers.len(), 2);
    net.delete_near();
    world.ok(&["link", "detach", &xdp[1]]);
    let links: Links = decode(&world, &["link", "list"]);
    let left: Vec<String> = links.links.iter().map(|link| link.id.to_string()).collect();
    assert_eq!(left, tc, "its siblings go with it, and nothing else");
    // Of a batch, what went with an earlier one is no failure.
    world.ok(&["link", "detach", &tc[0], &tc[1]]);
    let rows: Dispatchers = decode(&world, &["dispatcher", "list"]);
    assert!(rows.dispatchers.is_empty());
    for directory in ["links", "xdp", "tc-ingress"] {
        assert!(pins(&world, directory).is_empty(), "{directory}");
    }
    world.refused(&["detach", &xdp[0]], 3, &["does not exist"]);
    for program in &programs {
        let id = program.record.program_id.to_string();
        world.ok(&["unload", &id]);
        common::assert_gone("prog", program.record.program_id.into());
    }
}

/// The interface alone is gone: each link of it is detached for itself.
#[test]
fn a_detach_at_a_deleted_interface_leaves_the_others_recorded() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let program = load(&world, "traffic.bpf.o", "xdp:xdp_1", &[])
        .remove(0)
        .record
        .program_id;
    let id = program.to_string();
    for priority in ["5", "6"] {
        world.ok(&[
            "attach", "xdp", &id, "veth0", "-p", priority, "-n", &net.near,
        ]);
    }
    net.delete_interface();
    world.ok(&["detach", "1"]);
    assert_eq!(world.ok(&["link", "list", "-q"]), "2\n");
    world.ok(&["detach", "2"]);
}

/// With a foreign `ingress` qdisc a filter of egress would see the packets that come in. TCX needs no qdisc.
fn over_a_foreign_ingress_qdisc(world: &World, more: &[&str]) -> Result<(), String> {
    let net = Net::new();
    let tc = [
        "netns", "exec", &net.near, "tc", "qdisc", "add", "dev", "veth0", "ingress",
    ];
    common::run(Command::new("ip").args(tc));
    let program = world.try_load("traffic.bpf.o", "tc:tc_3", more)?;
    let by_filter = !more.is_empty() || bpfman_testing::kernel_knows("BPF_LINK_TYPE_TCX").is_err();
    for direction in ["ingress", "egress"] {
        let args = [
            "attach",
            "tc",
            &program.id,
            "veth0",
            direction,
            "-p",
            "5",
            "-n",
            &net.near,
        ];
        if by_filter {
            let refused = world.refused(&args, 1, &["qdisc `ingress`", "tc qdisc del"]);
            assert!(refused.stdout.is_empty());
        } else {
            let link: Link = decode(world, &args);
            assert_eq!(link.status.kernel.unwrap().link_type, "tcx");
        }
    }
    Ok(())
}

#[test]
fn no_filter_is_made_over_a_foreign_ingress_qdisc() {
    let world = World::new(Via::InProcess);
    over_a_foreign_ingress_qdisc(&world, &[]).unwrap();
}

#[test]
fn no_dispatcher_is_made_over_a_foreign_ingress_qdisc() {
    let world = World::new(Via::InProcess);
    bpfman_testing::requires!(over_a_foreign_ingress_qdisc(
        &world,
        &["--engine", "extension"]
    ));
}
