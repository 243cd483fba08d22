//! Links: what is printed, refused and survived. Kernel, bpffs, files and rows are compared each time.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use bpfman_testing::kernel_knows;
use common::Via;
use common::World;
use common::assert_gone;
use common::bpftool;
use common::id;
use common::net::Net;
use common::object;
use common::run;
use common::stderr;
use serde_json::Value;

/// What a kernel whose tracepoints have pinnable links names among its types (Linux 5.15).
const PERF_LINKS: &str = "BPF_LINK_TYPE_PERF_EVENT";

both_ways!(
    a_tracepoint_is_attached_listed_and_detached,
    a_program_of_another_kind_is_refused,
    a_program_alone_is_attached_itself_and_pinned_by_its_attach_point,
    a_second_xdp_program_makes_a_chain_and_the_first_keeps_its_link,
    a_link_gets_another_place_and_stays_the_same,
    an_attach_point_is_listed_shown_and_cleared,
    an_unknown_interface_is_refused_with_names_that_exist,
    a_link_whose_pin_was_removed_is_detached,
    unloading_a_program_detaches_its_links,
);

/// Loads one program of an object; its id.
fn load(world: &World, object_name: &str, program: &str) -> String {
    id(&world.load(object_name, program, &[])[0]).to_string()
}

fn tracepoint(world: &World) -> String {
    load(world, "types.bpf.o", "tracepoint:t_tracepoint")
}

fn attach(world: &World, args: &[&str]) -> Value {
    world.json(&[&["link", "attach"], args].concat())
}

fn link_id(link: &Value) -> String {
    link["record"]["id"].as_u64().unwrap().to_string()
}

fn kernel_id(link: &Value) -> u64 {
    link["record"]["kernel_link_id"].as_u64().unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn a_tracepoint_is_attached_listed_and_detached(world: &World) {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let program = tracepoint(world);
    let link = attach(
        world,
        &["tracepoint", &program, "sched/sched_switch", "-m", "a=b"],
    );
    assert_eq!(keys(&link), ["record", "status"].into());
    let record = [
        "id",
        "program_id",
        "kernel_link_id",
        "kind",
        "pin_path",
        "details",
        "created_at",
        "metadata",
    ];
    assert_eq!(keys(&link["record"]), record.into());
    assert_eq!(
        keys(&link["status"]),
        ["kernel", "kernel_seen", "pin_present", "stats"].into()
    );
    assert_eq!(keys(&link["record"]["details"]), ["group", "name"].into());
    assert_eq!(link["record"]["metadata"]["a"], "b");
    let seen = bpftool(&["link", "show", "id", &kernel_id(&link).to_string()]).unwrap();
    assert_eq!(seen["prog_id"].to_string(), program);
    assert_eq!(world.json(&["link", "get", &link_id(&link)]), link);
    let list = world.json(&["link", "list"]);
    assert_eq!(list["links"][0], link["record"]);
    assert_eq!(
        world.json(&["list"])["programs"][0]["links"][0],
        link["record"]["id"]
    );
    assert_eq!(world.json(&["get", &program])["status"]["links"][0], link);
    let text = world.ok(&["link"]);
    assert!(
        text.contains("t_tracepoint") && text.contains("sched/sched_switch"),
        "{text}"
    );
    assert_eq!(world.ids(&["--attached"]).len(), 1);
    assert!(world.ids(&["--unattached"]).is_empty());
    world.ok(&["detach", &link_id(&link)]);
    assert_gone("link", kernel_id(&link));
    assert_eq!(
        world.json(&["link", "list"])["links"],
        Value::Array(Vec::new())
    );
    let again = attach(world, &["tracepoint", &program, "sched/sched_switch"]);
    assert_ne!(link_id(&again), link_id(&link), "an id was used twice");
}

#[test]
fn details_have_the_keys_of_the_contract() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let (near, traffic) = (net.near.as_str(), "traffic.bpf.o");
    let place = [
        "interface",
        "ifindex",
        "priority",
        "position",
        "netns",
        "nsid",
    ];
    let chain = ["proceed_on", "dispatcher_id", "revision"];
    let xdp = load(&world, traffic, "xdp:xdp_1");
    let link = attach(&world, &["xdp", &xdp, "veth0", "-p", "5", "-n", near]);
    let details = &link["record"]["details"];
    let expected: BTreeSet<&str> = place.into_iter().chain(chain).collect();
    assert!(keys(details).is_superset(&expected), "{details}");
    assert_eq!(details["proceed_on"], serde_json::json!([2, 31]));
    assert_eq!(details["priority"], 5);
    assert_eq!(details["netns"], format!("/run/netns/{near}"));
    let tc = load(&world, traffic, "tc:tc_3");
    let on = [
        "tc",
        &tc,
        "veth0",
        "egress",
        "-p",
        "0",
        "--proceed-on",
        "ok,shot",
        "-n",
        near,
    ];
    let link = attach(&world, &on);
    let details = &link["record"]["details"];
    assert!(keys(details).is_superset(&expected), "{details}");
    assert_eq!(details["direction"], "egress");
    assert_eq!(details["proceed_on"], serde_json::json!([0, 2]));
}

fn a_program_of_another_kind_is_refused(world: &World) {
    let program = load(world, "types.bpf.o", "uprobe:t_uprobe");
    let xdp = ["attach", "xdp", &program, "lo", "-p", "1"];
    world.refused(&xdp, 2, &["is a uprobe program", "bpfman attach uprobe"]);
    let filter = load(world, "types.bpf.o", "socket_filter:t_socket_filter");
    let fentry = ["attach", "fentry", &filter];
    world.refused(&fentry, 2, &["is a socket_filter program", "has no link"]);
}

/// The words that name an attach point of a private network.
fn point(world: &World, hook: &str) -> [String; 3] {
    let list = world.json(&["dispatcher", "list", "--type", hook]);
    let key = &list["dispatchers"][0]["key"];
    [
        hook.to_owned(),
        key["nsid"].to_string(),
        key["ifindex"].to_string(),
    ]
}

fn get_dispatcher(world: &World, hook: &str) -> Value {
    let [hook, nsid, ifindex] = point(world, hook);
    world.json(&["dispatcher", "get", &hook, &nsid, &ifindex])
}

fn a_program_alone_is_attached_itself_and_pinned_by_its_attach_point(world: &World) {
    let net = Net::new();
    let xdp = load(world, "traffic.bpf.o", "xdp:xdp_1");
    let tc = load(world, "traffic.bpf.o", "tc:tc_3");
    let near = net.near.as_str();
    let links = [
        attach(world, &["xdp", &xdp, "veth0", "-p", "1", "-n", near]),
        attach(
            world,
            &["tc", &tc, "veth0", "ingress", "-p", "1", "-n", near],
        ),
    ];
    for (link, hook) in links.iter().zip(["xdp", "tc-ingress"]) {
        let [_, nsid, ifindex] = point(world, hook);
        let details = &link["record"]["details"];
        assert_eq!(details["dispatcher_id"], Value::Null);
        assert_eq!(details["revision"], Value::Null);
        assert_eq!(details["position"], 0);
        let dispatcher = get_dispatcher(world, hook);
        assert_eq!(dispatcher["engine"], "direct");
        assert_eq!(dispatcher["standing"], "runs");
        assert_eq!(
            dispatcher["runtime"]["program_id"],
            link["record"]["program_id"]
        );
        if link["record"]["kernel_link_id"].is_null() {
            assert_eq!(hook, "tc-ingress", "only TC has filters");
            continue;
        }
        let pin = format!("fs/{hook}/dispatcher_{nsid}_{ifindex}_link");
        let pin = world.runtime().join(pin);
        assert_eq!(link["record"]["pin_path"], pin.to_str().unwrap());
        assert!(pin.exists());
        let seen = bpftool(&["link", "show", "id", &kernel_id(link).to_string()]).unwrap();
        assert_eq!(seen["prog_id"], link["record"]["program_id"]);
    }
}

fn a_second_xdp_program_makes_a_chain_and_the_first_keeps_its_link(world: &World) {
    let net = Net::new();
    let first = load(world, "traffic.bpf.o", "xdp:xdp_1");
    let second = load(world, "traffic.bpf.o", "xdp:xdp_2");
    let on = |program: &str, priority: &str| {
        let place = ["veth0", "-p", priority, "-n", &net.near];
        attach(world, &[&["xdp", program], &place[..]].concat())
    };
    let alone = on(&first, "5");
    let joined = on(&second, "1");
    assert_eq!(kernel_id(&alone), kernel_id(&joined));
    let seen = bpftool(&["link", "show", "id", &kernel_id(&alone).to_string()]).unwrap();
    let chain = seen["prog_id"].clone();
    assert_ne!(chain.to_string(), first);
    let before = world.json(&["link", "get", &link_id(&alone)]);
    for (link, position) in [(&before, 1), (&joined, 0)] {
        let details = &link["record"]["details"];
        assert_eq!(details["position"], position);
        assert_eq!(details["dispatcher_id"], chain);
        assert_eq!(details["revision"], 2);
    }
    assert_eq!(
        world.json(&["link", "list"])["links"],
        serde_json::json!([before["record"], joined["record"]])
    );
    let listed = world.ok(&["list"]);
    assert!(listed.contains("1 (2/2)\n") && listed.contains("2 (1/2)\n"));
    let text = world.ok(&["link", "get", &link_id(&alone)]);
    assert!(
        text.contains(&format!("chain of 2, program {chain}, revision 2")),
        "{text}"
    );
    world.ok(&["detach", &link_id(&joined)]);
    let seen = bpftool(&["link", "show", "id", &kernel_id(&alone).to_string()]).unwrap();
    assert_eq!(seen["prog_id"].to_string(), first);
    assert_gone("prog", chain.as_u64().unwrap());
}

fn a_link_gets_another_place_and_stays_the_same(world: &World) {
    let net = Net::new();
    let first = load(world, "traffic.bpf.o", "xdp:xdp_1");
    let second = load(world, "traffic.bpf.o", "xdp:xdp_2");
    let on = |program: &str, priority: &str| {
        let place = ["veth0", "-p", priority, "-n", &net.near, "-m", "a=b"];
        attach(world, &[&["xdp", program], &place[..]].concat())
    };
    let (link, _) = (on(&first, "5"), on(&second, "7"));
    let id = link_id(&link);
    let before = world.places();
    let update = ["link", "update", &id, "-p", "9", "--proceed-on", "pass,tx"];
    let plan = world.ok(&[&update[..], &["--dry-run"]].concat());
    assert!(plan.contains("record attach point xdp/"), "{plan}");
    assert_eq!(before, world.places(), "a dry run changed something");
    let updated = world.json(&update);
    assert_eq!(updated, world.json(&["link", "get", &id]));
    let details = &updated["record"]["details"];
    assert_eq!(details["priority"], 9);
    assert_eq!(details["proceed_on"], serde_json::json!([2, 3]));
    assert_eq!(details["position"], 1);
    assert_eq!(details["revision"], 3);
    for key in [
        "id",
        "program_id",
        "kernel_link_id",
        "created_at",
        "metadata",
    ] {
        assert_eq!(updated["record"][key], link["record"][key], "{key}");
    }
    let text = world.ok(&["link", "update", &id, "-p", "1"]);
    assert!(
        text.contains("priority 1\n") && text.contains("pass,tx\n"),
        "{text}"
    );
}

#[test]
fn an_update_that_makes_no_sense_is_refused() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let xdp = load(&world, "traffic.bpf.o", "xdp:xdp_1");
    let link = attach(&world, &["xdp", &xdp, "veth0", "-p", "5", "-n", &net.near]);
    let id = link_id(&link);
    let update = |more: &[&str], code: i32, words: &[&str]| {
        world.refused(&[&["link", "update"], more].concat(), code, words);
    };
    update(
        &[&id, "--proceed-on", "pass,pipe"],
        2,
        &["no verdict is called `pipe`", "aborted, drop"],
    );
    update(&["98", "-p", "1"], 3, &["link 98 does not exist"]);
    update(
        &["98", "--proceed-on", "pass"],
        3,
        &["link 98 does not exist"],
    );
    let nothing = world.bpfman(&["link", "update", &id]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).contains("--priority"));
    let tcx = load(&world, "traffic.bpf.o", "tcx:tcx_4");
    let place = ["veth0", "ingress", "-p", "1", "-n", &net.near];
    let words = [&["attach", "tcx", &tcx], &place[..]].concat();
    let output = world.bpfman(&words);
    if !output.status.success() {
        return bpfman_testing::skip(&stderr(&output));
    }
    for change in [["-p", "1"], ["--proceed-on", "ok"]] {
        update(
            &[&["2"], &change[..]].concat(),
            2,
            &["link 2 is a tcx link", "bpfman detach 2"],
        );
    }
}

#[test]
fn an_update_of_a_link_whose_interface_is_gone_is_refused() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let xdp = load(&world, "traffic.bpf.o", "xdp:xdp_1");
    let link = attach(&world, &["xdp", &xdp, "veth0", "-p", "5", "-n", &net.near]);
    net.delete_interface();
    let update = ["link", "update", &link_id(&link), "-p", "1"];
    world.refused(&update, 1, &["is not attached any more", "bpfman detach 1"]);
    let listed = world.json(&["dispatcher"]);
    assert_eq!(listed["dispatchers"][0]["standing"], "dead");
    let text = world.ok(&["dispatcher"]);
    assert!(text.contains("1 (dead)"), "{text}");
    let [hook, nsid, ifindex] = point(&world, "xdp");
    world.ok(&["dispatcher", "delete", &hook, &nsid, &ifindex]);
    assert_gone("link", kernel_id(&link));
}

#[test]
fn runs_through_a_link_are_shown_where_they_are_counted() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let near = net.near.as_str();
    let stats =
        |link: &Value| world.json(&["link", "get", &link_id(link)])["status"]["stats"].clone();
    let table = [
        ("xdp:xdp_1", &["xdp", "veth0"][..]),
        ("tc:tc_3", &["tc", "veth0", "ingress"]),
    ];
    for (program, place) in table {
        let id = load(&world, "traffic.bpf.o", program);
        let words = [&place[..1], &[&id], &place[1..], &["-p", "1", "-n", near]].concat();
        let link = attach(&world, &[&words[..], &["--stats"]].concat());
        let before = stats(&link)["run_count"].as_u64().unwrap();
        net.send_in(3);
        let after = stats(&link);
        // Whatever else comes by is counted too.
        assert!(
            after["run_count"].as_u64().unwrap() >= before + 3,
            "{after}"
        );
        assert!(after["runtime"].as_u64().unwrap() > 0, "{after}");
        let text = world.ok(&["link", "get", &link_id(&link)]);
        assert!(
            text.contains("Runs:") && text.contains(" ns in all"),
            "{text}"
        );
        let other = load(&world, "traffic.bpf.o", program);
        let words = [
            &place[..1],
            &[&other],
            &place[1..],
            &["-p", "2", "-n", near],
        ]
        .concat();
        let other = attach(&world, &words);
        assert_eq!(stats(&other), Value::Null);
        let text = world.ok(&["link", "get", &link_id(&other)]);
        assert!(!text.contains("Runs:"), "{text}");
    }
}

fn an_attach_point_is_listed_shown_and_cleared(world: &World) {
    let net = Net::new();
    let near = net.near.as_str();
    let xdp = load(world, "traffic.bpf.o", "xdp:xdp_1");
    let tc = load(world, "traffic.bpf.o", "tc:tc_3");
    attach(world, &["xdp", &xdp, "veth0", "-p", "1", "-n", near]);
    attach(world, &["xdp", &xdp, "veth0", "-p", "2", "-n", near]);
    attach(
        world,
        &["tc", &tc, "veth0", "egress", "-p", "3", "-n", near],
    );
    let count = |filters: &[&str]| {
        let words = [&["dispatcher"], filters].concat();
        world.json(&words)["dispatchers"].as_array().unwrap().len()
    };
    let [hook, nsid, ifindex] = point(world, "xdp");
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--type", "tc-egress"]), 1);
    assert_eq!(count(&["--type", "tc-ingress"]), 0);
    assert_eq!(count(&["--nsid", &nsid, "--ifindex", &ifindex]), 2);
    assert_eq!(count(&["--nsid", "1"]), 0);
    assert_eq!(count(&["--ifindex", "99999"]), 0);
    let shown = get_dispatcher(world, "xdp");
    assert_eq!(shown["engine"], "chain");
    assert_eq!(shown["members"][1]["priority"], 2);
    let before = world.places();
    let delete = ["dispatcher", "delete", &hook, &nsid, &ifindex];
    let plan = world.ok(&[&delete[..], &["--dry-run"]].concat());
    assert!(plan.contains("delete attach point xdp/"), "{plan}");
    assert_eq!(before, world.places(), "a dry run changed something");
    world.ok(&delete);
    assert_gone("prog", shown["runtime"]["program_id"].as_u64().unwrap());
    assert_eq!(world.ok(&["link", "list", "-q"]), "3\n");
    for verb in ["get", "delete"] {
        let again = ["dispatcher", verb, &hook, &nsid, &ifindex];
        world.refused(&again, 3, &["nothing of bpfman is attached at xdp/"]);
    }
}

#[test]
fn nothing_is_shown_or_made_where_nothing_ever_was() {
    let world = World::new(Via::InProcess);
    assert_eq!(
        world.json(&["dispatcher"]),
        serde_json::json!({"dispatchers": []})
    );
    for verb in ["get", "delete"] {
        world.refused(
            &["dispatcher", verb, "tc-ingress", "1", "2"],
            3,
            &["nothing of bpfman is attached at tc-ingress/1/2"],
        );
    }
    world.refused(
        &["link", "update", "1", "-p", "1"],
        3,
        &["link 1 does not exist"],
    );
    let unknown = world.bpfman(&["dispatcher", "get", "tcx-ingress", "1", "2"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("tc-ingress"));
    assert!(!world.runtime().exists());
}

#[test]
fn an_xdp_program_of_somebody_else_is_named_and_left_alone() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let pin = world.pin("foreign");
    run(Command::new("bpftool").args([
        "prog",
        "load",
        &object("xdp_pass.bpf.o"),
        &pin,
        "type",
        "xdp",
    ]));
    let attach = [
        "bpftool", "net", "attach", "xdp", "pinned", &pin, "dev", "veth0",
    ];
    run(Command::new("ip")
        .args(["netns", "exec", &net.near])
        .args(attach));
    let program = load(&world, "traffic.bpf.o", "xdp:xdp_1");
    let attach = [
        "attach", "xdp", &program, "veth0", "-p", "1", "-n", &net.near,
    ];
    world.refused(
        &attach,
        1,
        &[
            "already has program",
            "which bpfman did not attach",
            "bpftool net",
        ],
    );
}

#[test]
fn the_same_program_twice_at_one_tcx_hook_is_refused() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let program = load(&world, "traffic.bpf.o", "tcx:tcx_4");
    let words = [
        "tcx", &program, "veth0", "ingress", "-p", "1", "-n", &net.near,
    ];
    let output = world.bpfman(&[&["attach"], &words[..]].concat());
    if !output.status.success() {
        return bpfman_testing::skip(&stderr(&output));
    }
    let message = "already attached to tcx ingress of veth0 as link 1";
    world.refused(&[&["attach"], &words[..]].concat(), 1, &[message]);
}

#[test]
fn priorities_and_verdicts_that_do_not_exist_are_refused() {
    let world = World::new(Via::InProcess);
    let program = load(&world, "traffic.bpf.o", "xdp:xdp_1");
    let usage = |args: &[&str], words: &[&str]| {
        let before = world.places();
        let output = world.bpfman(&[&["attach", "xdp", &program, "lo"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        for word in words {
            assert!(
                stderr(&output).contains(word),
                "no `{word}` in {}",
                stderr(&output)
            );
        }
        assert_eq!(before, world.places());
    };
    usage(
        &["-p", "-1"],
        &["priority -1 is not between 0 and 2147483647"],
    );
    usage(&[], &["--priority"]);
    usage(
        &["-p", "1", "--proceed-on", "pass,shot"],
        &["no verdict is called `shot`", "aborted"],
    );
}

fn an_unknown_interface_is_refused_with_names_that_exist(world: &World) {
    let net = Net::new();
    let program = load(world, "traffic.bpf.o", "xdp:xdp_1");
    let attach = [
        "attach", "xdp", &program, "veth", "-p", "1", "-n", &net.near,
    ];
    world.refused(
        &attach,
        3,
        &["interface veth does not exist", "did you mean veth0?"],
    );
    let nowhere = [
        "attach",
        "xdp",
        &program,
        "veth0",
        "-p",
        "1",
        "-n",
        "/run/netns/no-such",
    ];
    world.refused(&nowhere, 3, &["/run/netns/no-such"]);
    let file = [
        "attach",
        "xdp",
        &program,
        "veth0",
        "-p",
        "1",
        "-n",
        "/etc/hostname",
    ];
    world.refused(&file, 2, &["is not a network namespace"]);
}

#[test]
fn a_tracepoint_that_does_not_exist_is_refused_with_names_that_do() {
    let world = World::new(Via::InProcess);
    let program = tracepoint(&world);
    let attach = ["attach", "tracepoint", &program, "sched/sched_swich"];
    world.refused(
        &attach,
        3,
        &["sched/sched_swich does not exist", "sched/sched_switch"],
    );
    world.refused(
        &["attach", "tracepoint", "999999999", "a/b"],
        3,
        &["program 999999999 does not exist"],
    );
}

fn a_link_whose_pin_was_removed_is_detached(world: &World) {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let program = tracepoint(world);
    let link = attach(world, &["tracepoint", &program, "sched/sched_switch"]);
    std::fs::remove_file(link["record"]["pin_path"].as_str().unwrap()).unwrap();
    assert_gone("link", kernel_id(&link));
    let status = &world.json(&["link", "get", &link_id(&link)])["status"];
    assert_eq!(
        *status,
        serde_json::json!({"kernel": null, "kernel_seen": false, "pin_present": false, "stats": null})
    );
    world.ok(&["detach", &link_id(&link)]);
    assert_eq!(
        world.json(&["link", "list"])["links"],
        Value::Array(Vec::new())
    );
}

#[test]
fn a_pin_that_holds_another_link_is_left_alone() {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let world = World::new(Via::InProcess);
    let program = tracepoint(&world);
    let first = attach(&world, &["tracepoint", &program, "sched/sched_switch"]);
    let second = attach(&world, &["tracepoint", &program, "sched/sched_wakeup"]);
    let pin = |link: &Value| link["record"]["pin_path"].as_str().unwrap().to_owned();
    std::fs::remove_file(pin(&first)).unwrap();
    std::fs::rename(pin(&second), pin(&first)).unwrap();
    world.refused(
        &["detach", &link_id(&first)],
        1,
        &["now holds something else", "left alone"],
    );
    // The other one has lost its pin, and a link of its type cannot be detached while somebody else holds it.
    let moved = world.runtime().join("fs/links/moved");
    std::fs::rename(pin(&first), &moved).unwrap();
    world.refused(
        &["detach", &link_id(&second)],
        1,
        &["has lost its pin", "stays attached"],
    );
    std::fs::remove_file(&moved).unwrap();
    world.ok(&["detach", &link_id(&second)]);
    assert_gone("link", kernel_id(&second));
}

#[test]
fn a_link_of_an_interface_that_went_away_is_detached() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let program = load(&world, "traffic.bpf.o", "xdp:xdp_1");
    let link = attach(
        &world,
        &["xdp", &program, "veth0", "-p", "1", "-n", &net.near],
    );
    net.delete_interface();
    let status = world.json(&["link", "get", &link_id(&link)])["status"].clone();
    assert_eq!(status["kernel"]["place"]["ifindex"], Value::Null);
    world.ok(&["detach", &link_id(&link)]);
    assert_gone("link", kernel_id(&link));
    world.ok(&["unload", &program]);
}

#[test]
fn a_namespace_that_went_away_blocks_nothing() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let xdp = load(&world, "traffic.bpf.o", "xdp:xdp_1");
    let tc = load(&world, "traffic.bpf.o", "tc:tc_3");
    let link = attach(&world, &["xdp", &xdp, "veth0", "-p", "1", "-n", &net.near]);
    attach(
        &world,
        &["tc", &tc, "veth0", "ingress", "-p", "1", "-n", &net.near],
    );
    net.delete_near();
    world.ok(&["link", "list"]);
    world.ok(&["link", "get", &link_id(&link)]);
    world.ok(&["detach", &link_id(&link)]);
    world.ok(&["unload", &xdp, &tc]);
    assert!(world.ids(&[]).is_empty());
    assert_gone("prog", tc.parse().unwrap());
}

fn unloading_a_program_detaches_its_links(world: &World) {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let program = tracepoint(world);
    let places = ["sched/sched_switch", "sched/sched_wakeup"];
    let links = places.map(|place| attach(world, &["tracepoint", &program, place]));
    let plan = world.ok(&["unload", &program, "--dry-run"]);
    assert_eq!(plan.matches("detach link").count(), 2, "{plan}");
    world.ok(&["unload", &program]);
    for link in &links {
        assert_gone("link", kernel_id(link));
    }
    assert_eq!(
        world.json(&["link", "list"])["links"],
        Value::Array(Vec::new())
    );
    assert!(!world.runtime().join("fs/links/1").exists());
}

#[test]
fn one_failing_detach_does_not_keep_the_others() {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let world = World::new(Via::InProcess);
    let program = tracepoint(&world);
    let link = attach(&world, &["tracepoint", &program, "sched/sched_switch"]);
    let output = world.bpfman(&["detach", "98", &link_id(&link), "99"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for line in [
        "link 98: link 98 does not exist",
        "link 99: link 99",
        "2 of 3 links were not detached",
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    assert_gone("link", kernel_id(&link));
    world.ok(&["detach", "98", "--ignore-missing"]);
    world.refused(&["detach", "98"], 3, &["link 98 does not exist"]);
}

#[test]
fn deleting_a_link_with_r_unloads_the_program_that_has_no_other() {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let world = World::new(Via::InProcess);
    let program = tracepoint(&world);
    let places = ["sched/sched_switch", "sched/sched_wakeup"];
    let links = places.map(|place| link_id(&attach(&world, &["tracepoint", &program, place])));
    world.ok(&["link", "delete", &links[0], "-r"]);
    assert_eq!(world.ids(&[]).len(), 1);
    world.ok(&["link", "delete", &links[1], "-r"]);
    assert!(world.ids(&[]).is_empty());
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let world = World::new(Via::InProcess);
    let program = tracepoint(&world);
    let link = link_id(&attach(
        &world,
        &["tracepoint", &program, "sched/sched_switch"],
    ));
    let before = world.places();
    let plan = world.ok(&[
        "attach",
        "tracepoint",
        &program,
        "sched/sched_wakeup",
        "--dry-run",
    ]);
    assert!(
        plan.contains("pin link") && plan.contains("record link 2"),
        "{plan}"
    );
    let plan = world.ok(&["detach", &link, "--dry-run"]);
    assert!(plan.contains("detach link"), "{plan}");
    assert_eq!(before, world.places());
}

#[test]
fn a_refused_permission_half_way_leaves_nothing() {
    let world = World::new(Via::InProcess);
    let program = tracepoint(&world);
    // Enough to open the pin and to look around, not enough to attach.
    let wrap = [
        "setpriv",
        "--bounding-set=-perfmon,-sys_admin",
        "--inh-caps=-all",
    ];
    let attach = ["attach", "tracepoint", &program, "sched/sched_switch"];
    world.refused_in(&wrap, &attach, 4, &["not permitted", "CAP_PERFMON"]);
}

#[test]
fn links_are_filtered_by_program_kind_and_metadata() {
    bpfman_testing::requires!(kernel_knows(PERF_LINKS));
    let world = World::new(Via::InProcess);
    let (first, second) = (tracepoint(&world), tracepoint(&world));
    let switch = "sched/sched_switch";
    let one = link_id(&attach(
        &world,
        &["tracepoint", &first, switch, "-m", "a=b"],
    ));
    let two = link_id(&attach(&world, &["tracepoint", &second, switch]));
    let quiet = |filters: &[&str]| world.ok(&[&["link", "list", "-q"], filters].concat());
    assert_eq!(quiet(&[]), format!("{one}\n{two}\n"));
    assert_eq!(quiet(&["--program-id", &second]), format!("{two}\n"));
    assert_eq!(quiet(&["--metadata", "a=b"]), format!("{one}\n"));
    assert_eq!(quiet(&["--kind", "xdp,tc"]), "");
}
