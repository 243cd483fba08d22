//! What the options of lists select, in the words that scripts use, and what deletes take along.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Command;

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

/// The ids that a list of links prints.
fn links(world: &World, filters: &[&str]) -> Vec<u64> {
    let text = world.ok(&[&["link", "list", "-q"], filters].concat());
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn load(world: &World, name: &str, programs: &str, more: &[&str]) -> u64 {
    id(&world.load(name, programs, more)[0])
}

#[test]
fn programs_are_selected_by_type_application_and_metadata() {
    let world = World::new(Via::InProcess);
    let acme = load(
        &world,
        "xdp_pass.bpf.o",
        "XDP:xdp_pass",
        &[
            "-a",
            "demo",
            "-m",
            "owner=acme,tier=edge",
            "-m",
            r"note=a\,b=c",
        ],
    );
    let other = load(
        &world,
        "tc_count.bpf.o",
        "Tc:tc_count",
        &["-m", "owner=acme"],
    );
    let shown = world.json(&["get", "program", &acme.to_string()]);
    let metadata = &shown["record"]["meta"]["metadata"];
    for (key, value) in [("owner", "acme"), ("tier", "edge"), ("note", "a,b=c")] {
        assert_eq!(metadata[key], value, "{metadata}");
    }
    let table: [(&[&str], &[u64]); 9] = [
        (&["-p", "xdp"], &[acme]),
        (&["--program-type", "XDP,Tcx"], &[acme]),
        (&["--type", "xdp", "-p", "tc"], &[acme, other]),
        (&["-m", "owner=acme"], &[acme, other]),
        (&["--metadata-selector", "owner=acme,tier=edge"], &[acme]),
        (&["--metadata", "owner=acme", "-m", "tier=edge"], &[acme]),
        (&["--application", "demo"], &[acme]),
        (&["--application", "demo", "-p", "tc"], &[]),
        (&["-l", "!tier", "-m", "owner=acme"], &[other]),
    ];
    for (filters, expected) in table {
        assert_eq!(world.ids(filters), expected, "{filters:?}");
    }
    let refused = world.bpfman(&["list", "-m", "owner=acme,tier"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("not `tier`"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn links_are_selected_by_their_programs() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let options = ["-a", "demo", "-m", "owner=acme,tier=edge"];
    let xdp = load(&world, "xdp_pass.bpf.o", "xdp:xdp_pass", &options).to_string();
    let tc = load(&world, "tc_count.bpf.o", "tc:tc_count", &[]).to_string();
    let at = ["-p", "50", "-n", &net.near];
    let words = ["attach", "xdp", &xdp, "veth0", "-m", "team=net,tier=core"];
    world.ok(&[&words, &at[..]].concat());
    world.ok(&[&["attach", "tc", &tc, "veth0", "Ingress"], &at[..]].concat());
    let table: [(&[&str], &[u64]); 10] = [
        (&[], &[1, 2]),
        (&["-p", "XDP"], &[1]),
        (&["--program-type", "tc,tcx"], &[2]),
        (&["--application", "demo"], &[1]),
        (&["-m", "owner=acme"], &[1]),
        (&["--metadata-selector", "owner=acme,tier=edge"], &[1]),
        (&["-m", "team=net"], &[]),
        (&["--metadata", "team=net,tier=core"], &[1]),
        (&["--metadata", "owner=acme"], &[]),
        (&["--kind", "TC,tcx"], &[2]),
    ];
    for (filters, expected) in table {
        assert_eq!(links(&world, filters), expected, "{filters:?}");
    }
    let got = world.json(&["get", "link", "1"]);
    assert_eq!(got, world.json(&["link", "get", "1"]));
    assert_eq!(got["record"]["metadata"]["tier"], "core");
    world.refused(&["get", "map", "1"], 2, &["cannot get a `map`"]);
    world.refused(&["get", "link", "x"], 2, &["`x` is not an id"]);
}

#[test]
fn a_type_selects_foreign_programs_by_the_type_of_the_kernel() {
    let world = World::new(Via::InProcess);
    let ours = load(&world, "xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    for (name, kernel_type, types) in [
        ("tc_count.bpf.o", "classifier", &["tc", "TCX"][..]),
        ("trace_exec.bpf.o", "tracepoint", &["tracepoint"]),
    ] {
        let pin = world.pin(kernel_type);
        run(Command::new("bpftool").args([
            "prog",
            "load",
            &object(name),
            &pin,
            "type",
            kernel_type,
        ]));
        let foreign = bpftool(&["prog", "show", "pinned", &pin]).unwrap();
        let foreign = foreign["id"].as_u64().unwrap();
        for wanted in types {
            let found = world.ids(&["--all", "--type", wanted]);
            assert!(found.contains(&foreign), "{wanted}: {found:?}");
            assert!(!found.contains(&ours), "{wanted}: {found:?}");
        }
        for unwanted in ["xdp", "kprobe", "fentry"] {
            let found = world.ids(&["--all", "--type", unwanted]);
            assert!(!found.contains(&foreign), "{unwanted}: {found:?}");
        }
        let named = world.ids(&["--all", "--type", types[0], "-m", "a=b"]);
        assert!(!named.contains(&foreign), "{named:?}");
    }
}

#[test]
fn a_list_of_nothing_prints_nothing_as_text() {
    let world = World::new(Via::InProcess);
    load(&world, "xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    for list in [
        &["list", "-p", "tc"][..],
        &["program", "list", "-m", "a=b"],
        &["link", "list"],
        &["dispatcher", "list"],
    ] {
        assert_eq!(world.ok(list), "", "{list:?}");
        let json = world.json(list);
        let lists: Vec<&Value> = json.as_object().unwrap().values().collect();
        assert!(
            lists.iter().all(|list| **list == serde_json::json!([])),
            "{json}"
        );
    }
}

#[test]
fn help_follows_the_words_of_a_command() {
    let world = World::new(Via::InProcess);
    for (words, usage) in [
        (&["help"][..], "Usage: bpfman"),
        (&["help", "program", "load"], "Usage: bpfman program load"),
        (
            &["help", "link", "attach", "xdp"],
            "Usage: bpfman link attach xdp",
        ),
        (&["link", "help", "detach"], "Usage: bpfman link detach"),
    ] {
        let text = world.ok(words);
        assert!(text.contains(usage), "{words:?}: {text}");
    }
}

/// A program, and others that were loaded with its maps.
fn owner_and_borrowers(world: &World, borrowers: usize) -> Vec<String> {
    let owner = load(world, "map_owner.bpf.o", "tracepoint:owner", &[]).to_string();
    let borrow = |_| {
        let more = ["--map-owner-id", &owner];
        load(world, "map_user.bpf.o", "tracepoint:user", &more).to_string()
    };
    let borrowers: Vec<String> = (0..borrowers).map(borrow).collect();
    [vec![owner], borrowers].concat()
}

#[test]
fn a_recursive_delete_takes_those_that_use_the_maps_first_and_each_once() {
    let world = World::new(Via::InProcess);
    let alone = owner_and_borrowers(&world, 1);
    world.ok(&["program", "delete", &alone[0]]);
    assert_eq!(world.ids(&[]), [alone[1].parse::<u64>().unwrap()]);
    world.ok(&["program", "delete", &alone[1], "-r"]);
    assert!(world.ids(&[]).is_empty());

    let [owner, first, second, third] = owner_and_borrowers(&world, 3).try_into().unwrap();
    let bystander = load(&world, "xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    let words = ["program", "delete", &owner, &second, &first, "-r"];
    let log = world.bpfman(&[&["--log", "executor=debug"], &words[..]].concat());
    assert!(log.status.success(), "{}", stderr(&log));
    let log = stderr(&log);
    let at = |id: &str| log.find(&format!("store   delete program {id}"));
    for borrower in [&first, &second, &third] {
        assert!(at(borrower).is_some() && at(borrower) < at(&owner), "{log}");
        assert_gone("prog", borrower.parse().unwrap());
    }
    assert_eq!(world.ids(&[]), [bystander]);

    owner_and_borrowers(&world, 2);
    world.ok(&["program", "delete", "--all"]);
    assert!(world.ids(&[]).is_empty());
}

#[test]
fn deleting_the_last_link_of_a_program_takes_those_that_use_its_maps() {
    let world = World::new(Via::InProcess);
    let [owner, first, second] = owner_and_borrowers(&world, 2).try_into().unwrap();
    for program in [&owner, &first] {
        let attach = ["attach", "tracepoint", program, "sched/sched_switch"];
        let attached = world.bpfman(&attach);
        if common::kernel::lacks(&stderr(&attached)) {
            bpfman_testing::requires!(Err::<(), _>(stderr(&attached)));
        }
        assert!(attached.status.success(), "{}", stderr(&attached));
    }
    world.ok(&["link", "delete", "1", "-r"]);
    assert!(world.ids(&[]).is_empty());
    assert!(links(&world, &[]).is_empty());
    for program in [owner, first, second] {
        assert_gone("prog", program.parse().unwrap());
    }
}
