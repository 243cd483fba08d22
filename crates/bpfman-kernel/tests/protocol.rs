//! The protocol of the helper, asked of a process: bad requests, refusals, and every action of a plan.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use std::path::Path;

use serde_json::Value;
use serde_json::json;

use self::common::Bpffs;
use self::common::Helper;

/// `MAX_REQUEST_BYTES` of the protocol.
const LONGEST: usize = 4 << 20;

fn load_xdp(pin: &str) -> Value {
    common::load("xdp_pass.bpf.o", "xdp_pass", pin)
}

/// Loads the object of two maps without pinning it, and answers the ids of its program and of its map `flows`.
fn hold_owner(helper: &mut Helper) -> (Value, Value) {
    let loaded = helper.done(&common::load_object("map_owner.bpf.o", &["owner"], &[]));
    assert_eq!(loaded["outcome"], "loaded");
    let maps = loaded["maps"].as_array().unwrap();
    let flows = maps.iter().find(|map| map["name"] == "flows").unwrap();
    (loaded["programs"][0]["id"].clone(), flows["id"].clone())
}

#[test]
fn bad_requests_are_refused_and_the_next_is_served() {
    let long = vec![b' '; LONGEST + 1];
    let lines: [&[u8]; 11] = [
        b"",
        b"{",
        b"nonsense",
        b"{} {}",
        b"[]",
        b"{\"op\":7}",
        b"{\"op\":\"dance\"}",
        b"{\"op\":\"load\"}",
        b"{\"op\":\"pin_map\",\"map\":1}",
        b"{\"op\":\"\xff\"}",
        &long,
    ];
    let mut helper = Helper::start();
    for line in lines {
        common::assert_refused(&helper.line(line), "bad_request");
        let served = helper.done(&json!({"op": "is_bpffs_root", "path": "/"}));
        assert_eq!(served["is_bpffs_root"], false);
    }
}

#[test]
fn a_missing_field_is_named() {
    let request = json!({"op": "load", "object": "/x.o", "program": "x"});
    let error = Helper::start().refused(&request, "bad_request");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("pin_path"), "{message}");
}

/// One request of every op, with every object that a request can hold.
fn one_of_each() -> Vec<Value> {
    let (path, program) = ("/nonexistent/x", 1);
    let full = json!({
        "op": "load_object", "object": path, "object_name": "x",
        "programs": [{
            "name": "x", "kernel_type": 0, "attach_type": null, "flags": 0,
            "attach_function": null, "target_program": null, "keep_instructions": false,
        }],
        "globals": [{"section": ".data", "offset": 0, "value": "AA=="}],
        "reuse_maps": [{"name": "x", "path": path}],
        "skip_maps": [],
        "map_sizes": [{"name": "x", "max_entries": {"number": 1}}],
    });
    let unfinished = json!({"before": "/x/", "id": {"program": "x"}, "after": ""});
    let map = json!({
        "op": "make_map", "name": "x", "kernel_name": "x", "map_type": 4_294_967_295_u32,
        "key_size": 0, "value_size": 0, "max_entries": 0,
    });
    let dispatcher = json!({
        "op": "load_dispatcher", "name": "x", "family": "tc", "config": "", "frags": true,
    });
    let mut requests = vec![
        full,
        one_load_program(path),
        dispatcher,
        map,
        json!({"op": "load", "object": path, "program": "x", "pin_path": path, "object_name": "x"}),
        json!({"op": "programs"}),
        json!({"op": "pin_state", "path": path, "detail": "info"}),
        json!({"op": "program", "id": program, "detail": "info"}),
        json!({"op": "map", "id": 1}),
        json!({"op": "is_bpffs_root", "path": path}),
        json!({"op": "finish"}),
        json!({"op": "release"}),
        json!({"op": "pin_program", "program": {"program": "x"}, "path": unfinished}),
        json!({"op": "pin_map", "map": {"map": "x"}, "path": path}),
    ];
    requests.extend(one_of_each_link());
    for op in [
        "make_pin_directory",
        "remove_empty_pin_directory",
        "mount_bpffs",
        "unmount_bpffs",
    ] {
        requests.push(json!({"op": op, "path": path}));
    }
    for op in ["hold_program", "pin_program", "unpin_program"] {
        requests.push(json!({"op": op, "program": program, "path": path}));
    }
    for op in ["pin_map", "unpin_map"] {
        requests.push(json!({"op": op, "map": 1, "path": path}));
    }
    requests
}

fn one_load_program(path: &str) -> Value {
    json!({
        "op": "load_program", "name": "x", "kernel_name": "x", "kernel_type": 6, "attach_type": 0, "flags": 0,
        "license": "GPL", "instructions": "",
        "maps": [
            {"instruction": 0, "map": {"in_use": 1}},
            {"instruction": 2, "map": {"pinned": path}},
        ],
        "programs": [{"program": 1, "path": path}],
        "types": {"btf": "", "functions": [{"instruction": 0, "type_id": 1}]},
        "replaces": {"program": {"program": "x"}, "function": "f"},
    })
}

/// The requests on links and filters.
fn one_of_each_link() -> Vec<Value> {
    let path = "/nonexistent/x";
    let interface = json!({"netns": {"path": path, "id": 1}, "ifindex": 1});
    let filter =
        json!({"interface": interface, "direction": "ingress", "preference": 50, "handle": 1});
    let pinned = json!({"at": "pinned", "program": 1, "path": path});
    let place = json!({"before": 1, "revision": 1});
    let tcx = json!({"kind": "tcx", "interface": interface, "direction": "egress", "place": place});
    let site = json!({"offset": 1, "counter_offset": 0, "cookie": 0});
    let member = json!({"offset": 0, "program": 1, "path": path});
    let struct_ops = json!({"kind": "struct_ops", "map": 1, "path": path});
    let slot = json!({"kind": "slot", "dispatcher": {"program": "x"}, "function": "prog0"});
    let probes = json!({"kind": "uprobe_multi", "path": path, "sites": [site], "pid": null, "when": "entry"});
    vec![
        json!({"op": "write_map_element", "map": 1, "path": path, "key": "AA==", "value": "AA=="}),
        json!({"op": "fill_struct_ops", "map": 1, "path": path, "value": "AA==", "programs": [member]}),
        json!({"op": "create_link", "link": {"of": 1}, "program": pinned, "target": tcx}),
        json!({"op": "create_link", "link": {"of": 1}, "program": pinned, "target": struct_ops}),
        json!({"op": "create_link", "link": {"of": 1}, "program": pinned, "target": probes}),
        json!({"op": "create_link", "link": "attach_point", "program": pinned, "target": slot}),
        json!({"op": "release_link", "link": {"link": "attach_point"}}),
        json!({"op": "adopt_program", "program": {"id": 1, "tag": "0000000000000000", "load_time": 0}}),
        json!({"op": "adopt_link", "link": 1, "program": 1}),
        json!({"op": "pin_link", "link": 1, "path": path}),
        json!({"op": "unpin_link", "link": 1, "path": path}),
        json!({"op": "move_pin", "link": 1, "from": path, "to": path}),
        json!({"op": "detach_link", "link": 4_294_967_295_u32, "pin": path}),
        json!({"op": "await_link_gone", "link": 4_294_967_295_u32}),
        json!({"op": "restore_link", "program": {"program": 1, "path": path}, "target": probes, "path": path}),
        json!({"op": "make_clsact", "interface": interface}),
        json!({"op": "remove_clsact", "interface": interface}),
        json!({"op": "add_tc_filter", "program": pinned, "filter": filter}),
        json!({"op": "remove_tc_filter", "program": 1, "filter": filter}),
        json!({"op": "replace_tc_filter", "filter": filter, "from": 1, "to": pinned}),
        json!({"op": "update_link", "link": 1, "path": path, "from": {"program": "x"}, "to": pinned}),
        json!({"op": "link", "id": 4_294_967_295_u32}),
        json!({"op": "attached", "interface": interface, "hook": "tcx-ingress"}),
        json!({"op": "tc_filter", "filter": filter}),
        json!({"op": "counter", "path": path}),
        json!({"op": "await_links_gone", "links": []}),
        json!({"op": "program_hooks", "programs": []}),
        json!({"op": "cgroup_programs", "cgroup": path, "attach_type": 0}),
        json!({"op": "pins_below", "path": path}),
    ]
}

/// The JSON pointers of all objects in a value.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            fields
                .iter()
                .map(|(name, field)| (name.clone(), field))
                .collect()
        }
        Value::Array(items) => (0..).map(|at: usize| at.to_string()).zip(items).collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        objects(child, &format!("{at}/{name}"), found);
    }
}

#[test]
fn an_unknown_field_is_refused_by_name_in_every_object_of_every_op() {
    let mut helper = Helper::start();
    let requests = one_of_each();
    // Its answer names the ops of actions: none may be missing above.
    let unknown = helper.refused(&json!({"op": "dance"}), "bad_request");
    let message = unknown["message"].as_str().unwrap();
    let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
    assert!(known.contains(&"load_object"), "{message}");
    for op in known {
        assert!(requests.iter().any(|request| request["op"] == op), "{op}");
    }
    for request in requests {
        let mut places = Vec::new();
        objects(&request, "", &mut places);
        for place in places {
            let mut wrong = request.clone();
            wrong.pointer_mut(&place).unwrap()["pin_paht"] = "x".into();
            let error = helper.refused(&wrong, "bad_request");
            let message = error["message"].as_str().unwrap();
            // What is one of several things has one field, and none beside it has a name.
            let one_of = message.contains("expected map with a single key");
            assert!(
                one_of || message.contains("pin_paht`"),
                "{wrong}: {message}"
            );
        }
        // Without it, it is the request and not its form that may be refused.
        let answer = helper.ask(&request);
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.contains("bad request"), "{request}: {message}");
    }
}

#[test]
fn an_unknown_field_keeps_a_request_from_being_carried_out() {
    let bpffs = Bpffs::mount();
    let mut request = load_xdp(&bpffs.path("new/x"));
    request["pinpath"] = "/elsewhere".into();
    Helper::start().refused(&request, "bad_request");
    assert!(bpffs.entries().is_empty());
}

#[test]
fn a_request_of_the_greatest_length_is_served() {
    let mut line = json!({"op": "finish"}).to_string().into_bytes();
    line.resize(LONGEST, b' ');
    assert_eq!(Helper::start().line(&line), json!({"ok": true}));
}

#[test]
fn one_session_serves_many_requests() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    for name in ["a", "b", "c"] {
        let pin = bpffs.path(name);
        let loaded = helper.done(&load_xdp(&pin));
        let id = &loaded["program_id"];
        let state = helper.done(&json!({"op": "pin_state", "path": pin}))["state"].clone();
        assert_eq!(state["at"], "program");
        assert_eq!(state["id"], *id);
        let program = helper.done(&json!({"op": "program", "id": id}))["program"].clone();
        for (field, value) in program.as_object().unwrap() {
            assert_eq!(state[field], *value, "{field}");
        }
        let map = helper.done(&json!({"op": "map", "id": loaded["map_ids"][0]}))["map"].clone();
        assert_eq!(map["name"], "packets");
        let all = helper.done(&json!({"op": "programs"}));
        let programs = all["programs"].as_array().unwrap();
        assert!(programs.iter().any(|program| program["id"] == *id));
    }
    assert_eq!(bpffs.entries(), ["a", "b", "c"]);
}

#[test]
fn a_program_that_the_verifier_refuses_leaves_nothing() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("new/refused");
    let request = common::load("verifier.bpf.o", "refused", &pin);
    let error = helper.refused(&request, "verifier");
    let log = error["verifier_log"].as_str().unwrap();
    assert!(log.contains("map_value_or_null"), "{log}");
    assert!(bpffs.entries().is_empty());
    assert_eq!(common::bpftool_pinned(&pin), None);
    helper.done(&load_xdp(&pin));
}

#[test]
fn a_load_that_cannot_be_pinned_leaves_nothing() {
    let bpffs = Bpffs::mount();
    let plain = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let outside = plain.path().join("new/pin");
    helper.refused(&load_xdp(outside.to_str().unwrap()), "not_bpffs");
    assert_eq!(plain.path().read_dir().unwrap().count(), 0);
    // The kernel allows no dot in the name of a pin.
    let dotted = helper.ask(&load_xdp(&bpffs.path("new/directory/a.b")));
    assert_eq!(dotted["ok"], false, "{dotted}");
    assert!(bpffs.entries().is_empty());
}

#[test]
fn a_taken_pin_is_not_replaced() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("taken");
    let first = helper.done(&load_xdp(&pin));
    helper.refused(&load_xdp(&pin), "exists");
    let (owner, flows) = hold_owner(&mut helper);
    let request = json!({"op": "pin_program", "program": owner, "path": pin});
    helper.refused(&request, "exists");
    let request = json!({"op": "pin_map", "map": flows, "path": pin});
    helper.refused(&request, "exists");
    let request = json!({"op": "make_pin_directory", "path": pin});
    helper.refused(&request, "exists");
    let pinned = common::bpftool_pinned(&pin).unwrap();
    assert_eq!(pinned["id"], first["program_id"]);
}

#[test]
fn a_foreign_pin_is_not_removed() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let (program, map) = (bpffs.path("program"), bpffs.path("map"));
    let foreign = helper.done(&load_xdp(&program));
    let (owner, flows) = hold_owner(&mut helper);
    helper.done(&json!({"op": "pin_map", "map": flows, "path": map}));
    let packets = &foreign["map_ids"][0];
    let requests = [
        json!({"op": "unpin_program", "program": owner, "path": program}),
        json!({"op": "unpin_program", "program": owner, "path": map}),
        json!({"op": "unpin_map", "map": packets, "path": map}),
        json!({"op": "unpin_map", "map": packets, "path": program}),
    ];
    for request in requests {
        helper.refused(&request, "not_ours");
    }
    assert_eq!(bpffs.entries(), ["map", "program"]);
}

#[test]
fn what_is_not_held_cannot_be_pinned() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    for end in ["release", "finish"] {
        let (program, map) = hold_owner(&mut helper);
        helper.done(&json!({"op": end}));
        let path = bpffs.path("x");
        let requests = [
            json!({"op": "pin_program", "program": program, "path": path}),
            json!({"op": "pin_map", "map": map, "path": path}),
        ];
        for request in requests {
            helper.refused(&request, "bad_request");
        }
    }
    assert!(bpffs.entries().is_empty());
}

#[test]
fn every_action_of_a_plan_is_carried_out() {
    let plain = tempfile::tempdir().unwrap();
    let root = plain.path().join("bpf");
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let bpffs = root.to_str().unwrap();
    let mut helper = Helper::start();
    let mount = json!({"op": "mount_bpffs", "path": bpffs});
    helper.refused(&mount, "not_found");
    std::fs::create_dir(&root).unwrap();
    let mut twice = |request: Value| {
        assert_eq!(helper.done(&request)["outcome"], "done", "{request}");
        assert_eq!(helper.done(&request)["outcome"], "unchanged", "{request}");
    };
    twice(mount);
    let mounted = Mounted(&root);
    twice(json!({"op": "make_pin_directory", "path": path("maps")}));

    let (program, map) = hold_owner(&mut helper);
    let pinned = path("program");
    let pinned_map = path("maps/flows");
    helper.done(&json!({"op": "pin_map", "map": map, "path": pinned_map}));
    helper.done(&json!({"op": "pin_program", "program": program, "path": pinned}));
    assert_eq!(common::bpftool_pinned(&pinned).unwrap()["id"], program);
    helper.done(&json!({"op": "finish"}));

    let remove = json!({"op": "remove_empty_pin_directory", "path": path("maps")});
    assert_eq!(helper.done(&remove)["outcome"], "unchanged");
    // What was unpinned is held: the undo of a failed plan pins it again.
    let unpin = json!({"op": "unpin_program", "program": program, "path": pinned});
    assert_eq!(helper.done(&unpin)["outcome"], "done");
    assert_eq!(helper.done(&unpin)["outcome"], "unchanged");
    helper.done(&json!({"op": "pin_program", "program": program, "path": pinned}));
    helper.done(&unpin);
    let unpin = json!({"op": "unpin_map", "map": map, "path": pinned_map});
    assert_eq!(helper.done(&unpin)["outcome"], "done");
    assert_eq!(helper.done(&unpin)["outcome"], "unchanged");
    assert_eq!(helper.done(&remove)["outcome"], "done");
    assert_eq!(helper.done(&remove)["outcome"], "unchanged");
    helper.done(&json!({"op": "release"}));

    let unmount = json!({"op": "unmount_bpffs", "path": bpffs});
    assert_eq!(helper.done(&unmount)["outcome"], "done");
    assert_eq!(helper.done(&unmount)["outcome"], "unchanged");
    drop(mounted);
    assert_eq!(root.read_dir().unwrap().count(), 0);
}

/// Unmounts what the helper mounted, when a test fails before the helper does.
struct Mounted<'path>(&'path Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.0.exists() {
            let mut unmount = std::process::Command::new("umount");
            let _ = unmount.arg("-l").arg(self.0).status();
        }
    }
}
