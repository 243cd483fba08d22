//! Programs that somebody else loaded: they are named as what they are.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use common::Via;
use common::World;
use common::bpftool;
use common::cgroup::Cgroup;
use common::net::Net;
use common::object;
use common::run;
use common::stderr;
use serde_json::Value;
use serde_json::json;

both_ways!(
    a_program_of_somebody_else_is_never_said_not_to_exist,
    what_programs_of_others_are_attached_to_is_listed,
    programs_of_others_at_cgroups_are_listed,
);

fn a_program_of_somebody_else_is_never_said_not_to_exist(world: &World) {
    let (path, pin) = (object("xdp_pass.bpf.o"), world.pin("foreign"));
    let ask = |id: &str| -> Vec<Vec<String>> {
        let commands = [
            &["get", id][..],
            &["program", "get", id],
            &["unload", id],
            &["unload", id, "--ignore-missing"],
            &["unload", id, "--dry-run"],
            &["program", "delete", id],
            &["program", "replace", id, &path],
            &["attach", "xdp", id, "lo", "-p", "1"],
            &["attach", "xdp", id, "lo", "-p", "1", "--dry-run"],
        ];
        let owned = |command: &&[&str]| command.iter().map(|word| (*word).to_owned()).collect();
        commands.iter().map(owned).collect()
    };
    // Before anything is recorded, and after.
    for _ in 0..2 {
        run(Command::new("bpftool").args(["prog", "load", &path, &pin, "type", "xdp"]));
        let id = bpftool(&["prog", "show", "pinned", &pin]).unwrap()["id"].to_string();
        for command in ask(&id) {
            let args: Vec<&str> = command.iter().map(String::as_str).collect();
            let words = [
                &*format!("program {id} (xdp `xdp_pass`) is in the kernel"),
                "bpfman does not manage it",
                "bpftool prog show id",
            ];
            let output = world.refused(&args, 3, &words);
            assert!(!stderr(&output).contains("does not exist"), "{args:?}");
            assert!(bpftool(&["prog", "show", "id", &id]).is_some(), "{args:?}");
        }
        std::fs::remove_file(&pin).unwrap();
        // What the kernel is about to free does not exist any more.
        world.refused(&["get", &id], 3, &[&format!("program {id} does not exist")]);
        world.load("maps.bpf.o", "tracepoint:first", &[]);
    }
    let ours = world.ids(&[])[0].to_string();
    world.ok(&["unload", &ours]);
    world.refused(
        &["get", &ours],
        3,
        &[&format!("program {ours} does not exist")],
    );
}

fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

/// Loads a program as somebody else does; its id.
fn load_foreign(object_name: &str, pin: &str) -> u64 {
    let path = object(object_name);
    run(Command::new("bpftool").args(["prog", "load", &path, pin]));
    let shown = bpftool(&["prog", "show", "pinned", pin]).unwrap();
    shown["id"].as_u64().unwrap()
}

/// What `list --all` says of the attachments of a program that is not managed.
fn attachments(listing: &Value, program: u64) -> Value {
    let rows = listing["programs"].as_array().unwrap();
    let mut rows = rows.iter().filter(|row| row["program_id"] == program);
    let row = rows.next().unwrap();
    assert_eq!(row["managed"], false);
    row["attachments"].clone()
}

/// Attaches a program of XDP to one interface, and a program of TC to two.
fn attach_foreign(near: &str, xdp_pin: &str, tc_pin: &str) {
    ip(&[
        "-n",
        near,
        "link",
        "set",
        "dev",
        "veth0",
        "xdpgeneric",
        "pinned",
        xdp_pin,
    ]);
    // The older discipline answers with the same filters for either direction.
    ip(&[
        "-n", near, "link", "add", "veth8", "type", "veth", "peer", "name", "veth9",
    ]);
    let filters = [
        ("veth0", "clsact", "egress", "7"),
        ("veth8", "ingress", "ingress", "9"),
    ];
    for (interface, qdisc, direction, preference) in filters {
        let mut command = Command::new("tc");
        run(command.args(["-n", near, "qdisc", "add", "dev", interface, qdisc]));
        let filter = [
            "dev", interface, direction, "pref", preference, "handle", "3",
        ];
        let program = ["bpf", "da", "pinned", tc_pin];
        let mut command = Command::new("tc");
        run(command
            .args(["-n", near, "filter", "add"])
            .args(filter)
            .args(program));
    }
}

/// What is printed of these programs for people.
fn check_text(world: &World, netns: &str, [xdp, tc, idle]: [u64; 3]) {
    let text = world.ok(&["list", "--all"]);
    let line = |program: u64| {
        let program = program.to_string();
        let mut lines = text.lines();
        lines
            .find(|line| line.split_whitespace().next() == Some(&program))
            .unwrap()
    };
    assert!(
        line(xdp).ends_with(&format!("xdp of veth0 in {netns}")),
        "{text}"
    );
    assert!(
        line(tc).contains("(filter of preference 7), tc-ingress of veth8"),
        "{text}"
    );
    assert!(line(idle).ends_with("none found"), "{text}");
}

fn what_programs_of_others_are_attached_to_is_listed(world: &World) {
    let net = Net::new();
    let netns = format!("/run/netns/{}", net.near);
    let (xdp_pin, tc_pin) = (world.pin("xdp"), world.pin("tc"));
    let xdp = load_foreign("xdp_pass.bpf.o", &xdp_pin);
    let tc = load_foreign("tc_count.bpf.o", &tc_pin);
    let idle = load_foreign("xdp_pass.bpf.o", &world.pin("idle"));
    let near = &net.near;
    attach_foreign(near, &xdp_pin, &tc_pin);
    // What another runtime directory manages is somebody else's, too.
    let other = World::new(Via::InProcess);
    let place = ["tcx", "veth0", "ingress", "-p", "10", "-n", near];
    let theirs = other.try_load("traffic.bpf.o", "tcx:tc_3", &[]);
    let theirs = theirs.and_then(|program| Ok((other.try_attach(&program, &place)?, program)));

    let listing = world.json(&["list", "--all"]);
    let at = |kind: &str, interface: &str, ifindex: &Value| {
        json!({
            "kind": kind, "interface": interface, "ifindex": ifindex, "netns": netns,
            "nsid": net.nsid(), "attached": true,
        })
    };
    let index = json!(net.ifindex());
    assert_eq!(attachments(&listing, idle), json!([]));
    assert_eq!(
        attachments(&listing, xdp),
        json!([at("xdp", "veth0", &index)])
    );
    let found = attachments(&listing, tc);
    let mut expected = json!([
        at("tc-egress", "veth0", &index),
        at("tc-ingress", "veth8", &Value::Null)
    ]);
    for (place, preference) in [(0, 7), (1, 9)] {
        expected[place]["preference"] = json!(preference);
        expected[place]["handle"] = json!(3);
    }
    expected[1]["ifindex"] = found[1]["ifindex"].clone();
    assert_eq!(found, expected);
    match theirs {
        Ok((link, program)) => {
            let mut expected = at("tcx-ingress", "veth0", &index);
            expected["kernel_link_id"] = json!(link.kernel);
            let program = program.id.parse().unwrap();
            assert_eq!(attachments(&listing, program), json!([expected]));
        }
        Err(message) => assert!(common::kernel::lacks(&message), "{message}"),
    }
    check_text(world, &netns, [xdp, tc, idle]);
    // Nobody asked for these.
    let listing = world.json(&["list"]);
    assert_eq!(listing["programs"], json!([]));
}

fn programs_of_others_at_cgroups_are_listed(world: &World) {
    let cgroup = Cgroup::new();
    let path = cgroup.path();
    let path = path.to_str().unwrap();
    // What another runtime directory manages is somebody else's, too.
    let other = World::new(Via::InProcess);
    let loaded = other.try_load("hooks.bpf.o", "cgroup_skb_egress:allow_egress", &[]);
    let number = loaded.unwrap().id;
    let program: u64 = number.parse().unwrap();
    let way = ["cgroup", "attach", path, "egress", "id", &number, "multi"];
    run(Command::new("bpftool").args(way));
    let listing = world.json(&["list", "--all"]);
    let found = attachments(&listing, program);
    // The hierarchy has more than one mount, and is shown at its first.
    let shown = found[0]["cgroup"].as_str().unwrap().to_owned();
    let id = std::fs::metadata(&shown).unwrap().ino();
    assert_eq!(id, std::fs::metadata(path).unwrap().ino());
    let expected = json!([{
        "kind": "cgroup", "cgroup": shown, "cgroup_id": id, "attach_type": 1, "attached": true,
    }]);
    assert_eq!(found, expected);
    let text = world.ok(&["list", "--all"]);
    assert!(text.contains(&format!("cgroup {shown}")), "{text}");
    let way = ["cgroup", "detach", path, "egress", "id", &number];
    run(Command::new("bpftool").args(way));
    let listing = world.json(&["list", "--all"]);
    assert_eq!(attachments(&listing, program), json!([]));
}
