//! Giving links and filters another program, on the running kernel.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_testing::kernel_knows;
use bpfman_testing::requires;
use serde_json::Value;
use serde_json::json;

use self::common::Bpffs;
use self::common::Helper;
use self::common::net::Net;

/// `BPF_PROG_TYPE_XDP` of `linux/bpf.h`.
const XDP: u32 = 6;

/// A helper with a bpffs, and an interface that its links are attached to.
struct Bench {
    bpffs: Bpffs,
    net: Net,
    helper: Helper,
}

impl Bench {
    fn new() -> Self {
        Self {
            bpffs: Bpffs::mount(),
            net: Net::new(),
            helper: Helper::start(),
        }
    }

    fn pin(&self) -> String {
        self.bpffs.path("link")
    }

    /// Loads programs that stay held.
    fn load(&mut self, names: &[&str]) -> Vec<Value> {
        let loaded = common::load_object("traffic.bpf.o", names, &[]);
        let loaded = self.helper.done(&loaded);
        let programs = loaded["programs"].as_array().unwrap().iter();
        programs.map(|program| program["id"].clone()).collect()
    }

    /// Attaches a held program; its link is pinned, and nothing stays held.
    fn attach(&mut self, program: &Value, target: &Value) -> Value {
        let create = json!({"op": "create_link", "link": "attach_point", "program": held(program), "target": target});
        let linked = self.helper.done(&create);
        assert_eq!(linked["link"], "attach_point");
        let pin = self.pin();
        self.helper
            .done(&json!({"op": "pin_link", "link": linked["id"], "path": pin}));
        linked["id"].clone()
    }

    fn xdp(&self) -> Value {
        json!({"kind": "xdp", "interface": self.net.interface(), "mode": "auto"})
    }

    fn update(&self, link: &Value, from: &Value, to: &Value) -> Value {
        json!({"op": "update_link", "link": link, "path": self.pin(), "from": from, "to": to})
    }

    /// The program that bpftool sees behind the link.
    fn program(&self) -> Value {
        let shown = common::bpftool(&["link", "show", "pinned", &self.pin()]).unwrap();
        shown["prog_id"].clone()
    }
}

fn held(program: &Value) -> Value {
    json!({"at": "held", "program": program})
}

fn gone(helper: &mut Helper, program: &Value) -> bool {
    helper.done(&json!({"op": "program", "id": program}))["program"] == Value::Null
}

#[test]
fn a_link_gets_another_program_and_the_undo_puts_the_old_one_back() {
    let mut bench = Bench::new();
    let old = bench.load(&["xdp_1"]).remove(0);
    let link = bench.attach(&old, &bench.xdp());
    bench.helper.done(&json!({"op": "finish"}));
    let new = bench.load(&["xdp_2"]).remove(0);
    let update = bench.update(&link, &old, &held(&new));
    assert_eq!(bench.helper.done(&update)["outcome"], "done");
    assert_eq!(bench.program(), new);
    // Nobody but the plan holds it now.
    assert!(!gone(&mut bench.helper, &old));
    let undo = bench.update(&link, &new, &held(&old));
    bench.helper.done(&undo);
    assert_eq!(bench.program(), old);
    bench.helper.done(&json!({"op": "finish"}));
    assert_eq!(bench.program(), old);
    assert!(gone(&mut bench.helper, &new));
}

#[test]
fn a_pinned_program_takes_over_and_the_old_one_ends_with_the_plan() {
    let mut bench = Bench::new();
    let old = bench.load(&["xdp_1"]).remove(0);
    let link = bench.attach(&old, &bench.xdp());
    let new = bench.load(&["xdp_2"]).remove(0);
    let path = bench.bpffs.path("new");
    bench
        .helper
        .done(&json!({"op": "pin_program", "program": new, "path": path}));
    bench.helper.done(&json!({"op": "finish"}));
    let to = json!({"at": "pinned", "program": new, "path": path});
    let update = bench.update(&link, &old, &to);
    bench.helper.done(&update);
    bench.helper.done(&json!({"op": "finish"}));
    assert_eq!(bench.program(), new);
    assert!(gone(&mut bench.helper, &old));
}

#[test]
fn a_link_that_changed_meanwhile_is_left_alone() {
    let mut bench = Bench::new();
    let programs = bench.load(&["xdp_1", "xdp_2"]);
    let link = bench.attach(&programs[0], &bench.xdp());
    let update = bench.update(&link, &programs[1], &held(&programs[0]));
    let error = bench.helper.refused(&update, "stale");
    let message = error["message"].as_str().unwrap();
    for id in &programs {
        assert!(message.contains(&format!("program {id}")), "{message}");
    }
    assert_eq!(bench.program(), programs[0]);
}

#[test]
fn only_the_link_that_is_meant_gets_another_program() {
    let mut bench = Bench::new();
    let programs = bench.load(&["xdp_1", "xdp_2"]);
    let link = bench.attach(&programs[0], &bench.xdp());
    let good = bench.update(&link, &programs[0], &held(&programs[1]));
    let pin = bench.bpffs.path("program");
    bench
        .helper
        .done(&json!({"op": "pin_program", "program": programs[0], "path": pin}));
    let elsewhere = bench.bpffs.path("nothing");
    let pinned = json!({"at": "pinned", "program": programs[1], "path": pin});
    for (field, value, kind) in [
        ("link", json!(4_294_967_295_u32), "not_ours"),
        ("link", json!({"link": "attach_point"}), "bad_request"),
        ("path", json!(pin), "not_ours"),
        ("path", json!(elsewhere), "not_found"),
        ("from", json!(4_294_967_295_u32), "stale"),
        ("from", json!({"program": "x"}), "bad_request"),
        ("to", held(&json!(4_294_967_295_u32)), "bad_request"),
        ("to", pinned, "not_ours"),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        bench.helper.refused(&wrong, kind);
        assert_eq!(bench.program(), programs[0], "{field}");
    }
    bench.helper.done(&good);
}

#[test]
fn a_program_of_another_kind_does_not_take_over() {
    let mut bench = Bench::new();
    let pin = bench.bpffs.path("program");
    let loaded = bench
        .helper
        .done(&common::load_kept("xdp_chain.bpf.o", "xdp_refs"));
    let old = loaded["programs"][0]["id"].clone();
    bench
        .helper
        .done(&json!({"op": "pin_program", "program": old, "path": pin}));
    let link = bench.attach(&old, &bench.xdp());
    let tc = bench.load(&["tc_3"]).remove(0);
    // The same instructions; only the expected attach type differs.
    let mut request = common::load_program("untyped", XDP, &loaded, &pin);
    request["attach_type"] = 0.into();
    let untyped = bench.helper.done(&request)["programs"][0]["id"].clone();
    for other in [tc, untyped] {
        let update = bench.update(&link, &old, &held(&other));
        let error = bench.helper.refused(&update, "unsupported");
        println!("{error}");
        assert_eq!(bench.program(), old);
    }
    let request = common::load_program("copy", XDP, &loaded, &pin);
    let copy = bench.helper.done(&request)["programs"][0]["id"].clone();
    let update = bench.update(&link, &old, &held(&copy));
    bench.helper.done(&update);
    assert_eq!(bench.program(), copy);
}

#[test]
fn an_xdp_link_whose_interface_is_gone_is_said_to_be() {
    let mut bench = Bench::new();
    let programs = bench.load(&["xdp_1", "xdp_2"]);
    let link = bench.attach(&programs[0], &bench.xdp());
    bench.net.delete_interface();
    let update = bench.update(&link, &programs[0], &held(&programs[1]));
    let error = bench.helper.refused(&update, "stale");
    println!("{error}");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("interface is gone")
    );
}

fn tcx(bench: &Bench) -> Value {
    let place = json!({"before": null, "revision": 0});
    json!({"kind": "tcx", "interface": bench.net.interface(), "direction": "ingress", "place": place})
}

#[test]
fn a_tcx_link_gets_another_program_and_keeps_its_place() {
    requires!(kernel_knows("BPF_TCX_INGRESS"));
    let mut bench = Bench::new();
    let programs = bench.load(&["tcx_4", "tcx_5", "tcx_6"]);
    let link = bench.attach(&programs[0], &tcx(&bench));
    let behind = json!({"op": "create_link", "link": {"of": 2}, "program": held(&programs[1]), "target": tcx(&bench)});
    bench.helper.done(&behind);
    let update = bench.update(&link, &programs[0], &held(&programs[2]));
    bench.helper.done(&update);
    let ask = json!({"op": "attached", "interface": bench.net.interface(), "hook": "tcx-ingress"});
    let attached = bench.helper.done(&ask)["attached"].clone();
    let order: Vec<&Value> = attached["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["program"])
        .collect();
    assert_eq!(order, [&programs[2], &programs[1]]);
    let xdp = bench.load(&["xdp_1"]).remove(0);
    let update = bench.update(&link, &programs[2], &held(&xdp));
    println!("{}", bench.helper.refused(&update, "unsupported"));

    bench.net.delete_interface();
    let update = bench.update(&link, &programs[2], &held(&programs[0]));
    let error = bench.helper.refused(&update, "stale");
    println!("{error}");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("interface is gone")
    );
}

#[test]
fn a_filter_gets_another_program_in_place() {
    let mut bench = Bench::new();
    let interface = bench.net.interface();
    bench
        .helper
        .done(&json!({"op": "make_clsact", "interface": interface}));
    let programs = bench.load(&["tc_3", "tcx_4", "xdp_1"]);
    let filter =
        json!({"interface": interface, "direction": "ingress", "preference": 50, "handle": 1});
    let add = json!({"op": "add_tc_filter", "program": held(&programs[0]), "filter": filter});
    bench.helper.done(&add);
    bench.helper.done(&json!({"op": "release"}));
    let again = bench.load(&["tc_3", "xdp_1"]);
    let replace = |from: &Value, to: &Value| json!({"op": "replace_tc_filter", "filter": filter, "from": from, "to": held(to)});
    let ask = json!({"op": "tc_filter", "filter": filter});

    let error = bench
        .helper
        .refused(&replace(&again[0], &again[0]), "stale");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("program {} now", programs[0])),
        "{message}"
    );
    println!(
        "{}",
        bench
            .helper
            .refused(&replace(&programs[0], &again[1]), "unsupported")
    );
    assert_eq!(bench.helper.done(&ask)["program"], programs[0]);

    bench.helper.done(&replace(&programs[0], &again[0]));
    assert_eq!(bench.helper.done(&ask)["program"], again[0]);
    // Only the plan holds the old one: the undo.
    bench.helper.done(&replace(&again[0], &programs[0]));
    assert_eq!(bench.helper.done(&ask)["program"], programs[0]);
    bench.helper.done(&json!({"op": "finish"}));
    assert_eq!(bench.helper.done(&ask)["program"], programs[0]);

    let other = bench.load(&["tc_3"]).remove(0);
    let remove = json!({"op": "remove_tc_filter", "program": programs[0], "filter": filter});
    bench.helper.done(&remove);
    let error = bench
        .helper
        .refused(&replace(&programs[0], &other), "not_found");
    println!("{error}");
    assert_eq!(bench.helper.done(&ask)["program"], Value::Null);
    bench.net.delete_interface();
    bench
        .helper
        .refused(&replace(&programs[0], &other), "not_found");
}

/// `ingress` has the place of clsact, and with it a filter of egress would see the packets that come in.
#[test]
fn a_qdisc_in_the_place_of_clsact_is_named() {
    let mut bench = Bench::new();
    let interface = bench.net.interface();
    let make = json!({"op": "make_clsact", "interface": interface});
    bench.net.add_ingress_qdisc();
    let error = bench.helper.refused(&make, "other_qdisc");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("qdisc `ingress`"), "{message}");
    bench.net.delete_ingress_qdisc();
    for _ in 0..2 {
        bench.helper.done(&make);
    }
}
