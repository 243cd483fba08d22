//! Interfaces that move and are renamed, and links that somebody else detaches: what is shown is true, and what can be
//! repaired is.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::World;
use common::assert_gone;
use common::bpftool;
use common::cgroup::Cgroup;
use common::id;
use common::kernel::Loaded;
use common::net::Net;
use common::run;
use serde_json::Value;

both_ways!(
    a_program_joins_an_interface_where_it_has_moved,
    a_new_interface_with_the_index_of_one_that_moved_is_another_one,
    an_interface_is_shown_by_the_name_that_it_has_now,
    a_chain_that_was_detached_by_force_waits_and_comes_back,
    links_that_were_detached_by_force_come_back,
    a_filter_that_was_removed_comes_back,
    a_link_that_keeps_a_deleted_namespace_is_named,
);

fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

fn load(world: &World, object: &str, program: &str) -> String {
    id(&world.load(object, program, &[])[0]).to_string()
}

fn attach(world: &World, words: &[&str]) -> Value {
    world.json(&[&["link", "attach"], words].concat())
}

fn link_id(link: &Value) -> String {
    link["record"]["id"].to_string()
}

fn rules(world: &World) -> Vec<String> {
    let output = world.bpfman(&["doctor", "-o", "json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = shown["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| finding["rule"].as_str().unwrap().to_owned())
        .collect()
}

/// The XDP program of an interface, as the kernel says.
fn xdp_of(namespace: &str, interface: &str) -> Option<u64> {
    let output = Command::new("ip")
        .args(["-j", "-n", namespace, "link", "show", interface])
        .output()
        .unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    links[0]["xdp"]["prog"]["id"].as_u64()
}

/// What runs at the attach point of a program, as we say.
fn runs(world: &World) -> Vec<(u64, u64, u64)> {
    let shown = world.json(&["dispatcher", "list"]);
    let rows = shown["dispatchers"].as_array().unwrap().iter();
    rows.map(|row| {
        let key = &row["key"];
        (
            key["nsid"].as_u64().unwrap(),
            key["ifindex"].as_u64().unwrap(),
            row["runtime"]["program_id"].as_u64().unwrap(),
        )
    })
    .collect()
}

fn force_detach(link: u64) {
    let number = link.to_string();
    run(Command::new("bpftool").args(["link", "detach", "id", &number]));
}

fn kernel_link(world: &World, link: &str) -> u64 {
    let shown = world.json(&["link", "get", link]);
    shown["record"]["kernel_link_id"].as_u64().unwrap()
}

fn a_program_joins_an_interface_where_it_has_moved(world: &World) {
    let net = Net::new();
    let first = load(world, "xdp_pass.bpf.o", "xdp:xdp_pass");
    let one = attach(
        world,
        &["xdp", &first, "veth0", "-p", "10", "-n", &net.near],
    );
    // Away from the namespace that the record knows, and to an index that is taken there.
    let third = Net::new();
    ip(&["-n", &third.near, "link", "del", "veth0"]);
    ip(&[
        "-n",
        &net.near,
        "link",
        "set",
        "veth0",
        "netns",
        &third.near,
    ]);
    assert_eq!(rules(world), ["point-moved"]);
    let list = world.ok(&["link", "list"]);
    assert!(
        list.contains(&format!("now veth0 in /run/netns/{}", third.near)),
        "{list}"
    );
    let second = load(world, "xdp_pass.bpf.o", "xdp:xdp_pass");
    let place = ["veth0", "-p", "20", "-n", &third.near];
    let two = attach(world, &[&["xdp", &second], &place[..]].concat());
    assert_eq!(rules(world), Vec::<String>::new());
    let at = runs(world);
    assert_eq!(at.len(), 1);
    assert_eq!(
        (at[0].0, Some(at[0].2)),
        (third.nsid(), xdp_of(&third.near, "veth0"))
    );
    assert_eq!(at[0].1, third.ifindex());
    // And back, for the reconciliation to follow it.
    ip(&[
        "-n",
        &third.near,
        "link",
        "set",
        "veth0",
        "netns",
        &net.near,
    ]);
    assert_eq!(rules(world), ["point-moved"]);
    world.ok(&["reconcile"]);
    assert_eq!(world.ok(&["reconcile"]), "nothing to do\n");
    assert_eq!(runs(world)[0].0, net.nsid());
    world.ok(&["link", "update", &link_id(&two), "-p", "5"]);
    assert_eq!(Some(runs(world)[0].2), xdp_of(&net.near, "veth0"));
    world.ok(&["detach", &link_id(&one), &link_id(&two)]);
    assert_eq!(xdp_of(&net.near, "veth0"), None);
    world.ok(&["unload", &first, &second]);
}

fn a_new_interface_with_the_index_of_one_that_moved_is_another_one(world: &World) {
    let net = Net::new();
    let other = Net::new();
    ip(&["-n", &other.near, "link", "del", "veth0"]);
    let first = load(world, "xdp_pass.bpf.o", "xdp:xdp_pass");
    attach(
        world,
        &["xdp", &first, "veth0", "-p", "10", "-n", &net.near],
    );
    let index = net.ifindex().to_string();
    ip(&[
        "-n",
        &net.near,
        "link",
        "set",
        "veth0",
        "netns",
        &other.near,
    ]);
    ip(&[
        "-n", &net.near, "link", "add", "veth0", "index", &index, "type", "veth", "peer", "name",
        "veth9",
    ]);
    let second = load(world, "xdp_pass.bpf.o", "xdp:xdp_pass");
    attach(
        world,
        &["xdp", &second, "veth0", "-p", "10", "-n", &net.near],
    );
    let ran = |namespace: &str| xdp_of(namespace, "veth0").unwrap().to_string();
    assert_eq!(ran(&other.near), first);
    assert_eq!(ran(&net.near), second);
    assert_eq!(runs(world).len(), 2);
    assert_eq!(rules(world), Vec::<String>::new());
    world.ok(&["unload", &first, &second]);
    assert_eq!(xdp_of(&other.near, "veth0"), None);
    assert_eq!(xdp_of(&net.near, "veth0"), None);
}

fn an_interface_is_shown_by_the_name_that_it_has_now(world: &World) {
    let net = Net::new();
    let long = "an-alternative-name-of-some-length";
    ip(&[
        "-n", &net.near, "link", "property", "add", "dev", "veth0", "altname", long,
    ]);
    let program = load(world, "xdp_pass.bpf.o", "xdp:xdp_pass");
    let link = attach(world, &["xdp", &program, long, "-p", "10", "-n", &net.near]);
    assert_eq!(link["record"]["details"]["interface"], "veth0");
    ip(&["-n", &net.near, "link", "set", "veth0", "name", "veth0old"]);
    ip(&[
        "-n", &net.near, "link", "add", "veth0", "type", "veth", "peer", "name", "veth9",
    ]);
    let details = &world.json(&["link", "get", &link_id(&link)])["record"]["details"];
    assert_eq!(details["interface"], "veth0");
    assert_eq!(details["current"]["interface"], "veth0old");
    assert_eq!(details["current"]["ifindex"], details["ifindex"]);
    for command in [
        &["link", "list"][..],
        &["link", "get", &link_id(&link)],
        &["dispatcher", "list"],
    ] {
        let text = world.ok(command);
        assert!(text.contains(", now veth0old"), "{text}");
    }
    assert_eq!(rules(world), Vec::<String>::new());
    world.ok(&["unload", &program]);
}

fn a_chain_that_was_detached_by_force_waits_and_comes_back(world: &World) {
    let net = Net::new();
    let programs = [10, 20].map(|priority| {
        let program = load(world, "xdp_pass.bpf.o", "xdp:xdp_pass");
        let priority = priority.to_string();
        attach(
            world,
            &["xdp", &program, "veth0", "-p", &priority, "-n", &net.near],
        );
        program
    });
    let shown = world.json(&["dispatcher", "list"]);
    let holder = shown["dispatchers"][0]["runtime"]["kernel_link_id"]
        .as_u64()
        .unwrap();
    force_detach(holder);
    assert_eq!(xdp_of(&net.near, "veth0"), None);
    assert_eq!(rules(world), ["point-detached"]);
    let text = world.ok(&["reconcile"]);
    assert!(!text.contains("repaired"), "{text}");
    assert!(text.contains("interface veth0"), "{text}");
    assert!(text.contains("bpfman reconcile --reattach"), "{text}");
    let planned = world.json(&["reconcile", "--reattach", "--dry-run"]);
    assert!(!planned["steps"].as_array().unwrap().is_empty());
    assert_eq!(xdp_of(&net.near, "veth0"), None);
    let before = world.json(&["link", "list"]);
    world.ok(&["reconcile", "--reattach"]);
    assert!(xdp_of(&net.near, "veth0").is_some());
    assert_eq!(Some(runs(world)[0].2), xdp_of(&net.near, "veth0"));
    let after = world.json(&["link", "list"]);
    let essence = |links: &Value| -> Vec<(String, String, String, String)> {
        let links = links["links"].as_array().unwrap().iter();
        links
            .map(|link| {
                (
                    link["id"].to_string(),
                    link["program_id"].to_string(),
                    link["details"]["priority"].to_string(),
                    link["created_at"].to_string(),
                )
            })
            .collect()
    };
    assert_eq!(essence(&before), essence(&after));
    assert_eq!(world.ok(&["reconcile", "--reattach"]), "nothing to do\n");
    assert_eq!(rules(world), Vec::<String>::new());
    // The command that is told does it as well.
    let shown = world.json(&["dispatcher", "list"]);
    force_detach(
        shown["dispatchers"][0]["runtime"]["kernel_link_id"]
            .as_u64()
            .unwrap(),
    );
    let text = world.ok(&["reconcile"]);
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("or anew: "));
    for command in line.unwrap().split(" && ") {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        world.ok(&words);
    }
    assert_eq!(Some(runs(world)[0].2), xdp_of(&net.near, "veth0"));
    assert_eq!(rules(world), Vec::<String>::new());
    world.ok(&["unload", &programs[0], &programs[1]]);
}

/// Detaches a link by force, and looks whether it comes back under its number at the same place.
fn comes_back(world: &World, program: &Loaded, words: &[&str]) -> Result<(), String> {
    let link = world.try_attach(program, words)?;
    let seen = bpftool(&["link", "show", "pinned", &link.pin]).unwrap();
    force_detach(link.kernel);
    assert_eq!(rules(world), ["link-detached"], "{words:?}");
    let text = world.ok(&["reconcile"]);
    assert!(text.contains("is there"), "{text}");
    assert!(
        text.contains(&format!("bpfman attach {} {}", words[0], program.id)),
        "{text}"
    );
    world.ok(&["reconcile", "--reattach"]);
    assert_eq!(world.ok(&["reconcile", "--reattach"]), "nothing to do\n");
    assert_eq!(rules(world), Vec::<String>::new());
    let kernel = kernel_link(world, &link.id);
    assert_ne!(kernel, link.kernel);
    assert_gone("link", link.kernel);
    let again = bpftool(&["link", "show", "pinned", &link.pin]).unwrap();
    for key in [
        "type",
        "prog_id",
        "attach_type",
        "ifindex",
        "netns_ino",
        "cgroup_id",
        "map_id",
    ] {
        assert_eq!(again[key], seen[key], "{words:?}: {key}");
    }
    assert_eq!(again["id"], kernel);
    world.ok(&["detach", &link.id]);
    assert_gone("link", kernel);
    Ok(())
}

fn links_that_were_detached_by_force_come_back(world: &World) {
    let (net, cgroup) = (Net::new(), Cgroup::new());
    let cgroup = cgroup.text();
    let place = ["-n", &net.near];
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "hooks.bpf.o",
            "cgroup_skb:count_cgroup",
            &["cgroup", &cgroup, "--direction", "egress"],
        ),
        (
            "hooks.bpf.o",
            "cgroup_connect4:refuse_connect",
            &["cgroup", &cgroup],
        ),
        (
            "hooks.bpf.o",
            "sk_lookup:redirect",
            &["sk_lookup", place[0], place[1]],
        ),
        (
            "hooks.bpf.o",
            "flow_dissector:count_flow",
            &["flow_dissector", place[0], place[1]],
        ),
        (
            "traffic.bpf.o",
            "tcx:tc_3",
            &["tcx", "veth0", "ingress", "-p", "10", place[0], place[1]],
        ),
    ];
    for (object, program, words) in cases {
        let words = words.iter().map(|word| (*word).to_owned());
        try_link(world, object, program, |_| words.clone().collect());
    }
    let program = "sk_skb_stream_verdict:count_stream";
    try_link(world, "hooks.bpf.o", program, |program| {
        vec!["sockmap".to_owned(), program.map_pin("sockets")]
    });
}

/// Looks whether a link of a program comes back, where the kernel has such links.
fn try_link(world: &World, object: &str, program: &str, words: impl Fn(&Loaded) -> Vec<String>) {
    let loaded = world.try_load(object, program, &[]);
    let done = loaded.and_then(|program| {
        let words = words(&program);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        comes_back(world, &program, &words)?;
        world.ok(&["unload", &program.id]);
        Ok(())
    });
    if let Err(message) = done {
        println!("{program}: {message}");
        assert!(common::kernel::lacks(&message), "{program}: {message}");
    }
}

fn a_filter_that_was_removed_comes_back(world: &World) {
    let net = Net::new();
    // Dispatchers of TC are filters, and on kernels without TCX so is a program alone.
    let program = load(world, "traffic.bpf.o", "tc:tc_3");
    let place = ["veth0", "ingress", "-p", "10", "-n", &net.near];
    let link = attach(world, &[&["tc", &program], &place[..]].concat());
    if link["record"]["kernel_link_id"].is_null() {
        let filter = [
            "dev", "veth0", "ingress", "pref", "50", "handle", "1", "bpf",
        ];
        let mut tc = Command::new("tc");
        run(tc.args(["-n", &net.near, "filter", "del"]).args(filter));
        let text = world.ok(&["reconcile"]);
        assert!(text.contains("its filter was removed"), "{text}");
    } else {
        force_detach(kernel_link(world, &link_id(&link)));
    }
    assert_eq!(rules(world), ["point-detached"]);
    world.ok(&["reconcile", "--reattach"]);
    assert_eq!(rules(world), Vec::<String>::new());
    let shown = world.json(&["link", "get", &link_id(&link)]);
    assert_eq!(shown["status"]["kernel_seen"], true);
    world.ok(&["unload", &program]);
}

fn a_link_that_keeps_a_deleted_namespace_is_named(world: &World) {
    let net = Net::new();
    let loaded = world.try_load("hooks.bpf.o", "netfilter:netfilter_1", &[]);
    let attached = loaded.and_then(|program| {
        world.try_attach(
            &program,
            &["netfilter", "ipv4", "local_in", "-n", &net.near],
        )
    });
    let link = match attached {
        Ok(link) => link,
        Err(message) => {
            println!("{message}");
            assert!(common::kernel::lacks(&message), "{message}");
            return;
        }
    };
    assert_eq!(rules(world), Vec::<String>::new());
    net.delete_near();
    assert_eq!(rules(world), ["namespace-kept"]);
    let text = world.ok(&["reconcile"]);
    assert!(text.contains("--prune detaches it"), "{text}");
    world.ok(&["reconcile", "--prune"]);
    assert_gone("link", link.kernel);
    assert_eq!(rules(world), Vec::<String>::new());
}
