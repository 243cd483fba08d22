//! Programs out of instructions, maps without an object, and dispatchers, on the running kernel.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use std::fs;
use std::time::Duration;
use std::time::Instant;

use bpfman_testing::kernel_knows;
use bpfman_testing::no_lockdown;
use bpfman_testing::requires;
use serde_json::Value;
use serde_json::json;

use self::common::Bpffs;
use self::common::Helper;

/// `BPF_PROG_TYPE_XDP` and `BPF_PROG_TYPE_EXT` of `linux/bpf.h`.
const XDP: u32 = 6;
const EXTENSION: u32 = 28;
/// `BPF_XDP` of `linux/bpf.h`.
const XDP_ATTACH_TYPE: u32 = 37;
/// `r0 = 2; exit`: XDP_PASS.
const PASS: &str = "twAAAAIAAACVAAAAAAAAAA==";
/// An `ld_imm64` of a map, and `exit`.
const LOADS_A_MAP: &str = "GBEAAAAAAAAAAAAAAAAAALcAAAACAAAAlQAAAAAAAAA=";

/// Loads a program whose instructions are kept and pins it; nothing of it stays held.
fn pin_kept(helper: &mut Helper, program: &str, pin: &str) -> Value {
    let loaded = helper.done(&common::load_kept("xdp_chain.bpf.o", program));
    let id = &loaded["programs"][0]["id"];
    helper.done(&json!({"op": "pin_program", "program": id, "path": pin}));
    helper.done(&json!({"op": "finish"}));
    loaded
}

fn bare(name: &str, instructions: &str) -> Value {
    json!({
        "op": "load_program", "name": name, "kernel_name": name, "kernel_type": XDP, "attach_type": 0, "flags": 0, "license": "GPL",
        "instructions": instructions, "maps": [], "programs": [], "types": null, "replaces": null,
    })
}

#[test]
fn what_is_kept_of_a_program_says_all_that_a_chain_needs() {
    let mut helper = Helper::start();
    let loaded = helper.done(&common::load_kept("xdp_chain.bpf.o", "xdp_refs"));
    let kept = &loaded["programs"][0]["instructions"];
    assert_eq!(kept["version"], 2);
    assert_eq!(kept["attach_type"], XDP_ATTACH_TYPE);
    assert_eq!(kept["flags"], 0);
    let functions = kept["functions"].as_array().unwrap();
    assert_eq!(functions.len(), 2, "{kept}");
    assert_eq!(functions[0]["instruction"], 0);
    assert!(functions[1]["instruction"].as_u64() > Some(0), "{kept}");
    let depths = kept["stack_depths"].as_array().unwrap();
    assert_eq!(depths.len(), 2, "{kept}");
    // `hit` keeps a key and an interface on its stack, `xdp_refs` nothing.
    assert_eq!(depths[0], 0, "{kept}");
    assert!(depths[1].as_u64() >= Some(8), "{kept}");
}

#[test]
fn the_flags_that_a_section_says_are_kept_and_a_dispatcher_can_have_them() {
    requires!(kernel_knows("xdp_has_frags"));
    let mut helper = Helper::start();
    let frags = helper.done(&common::load_kept("sections.bpf.o", "s_xdp_frags"));
    // BPF_F_XDP_HAS_FRAGS
    assert_eq!(frags["programs"][0]["instructions"]["flags"], 32);
    helper.done(&dispatcher("xdp", &config("xdp", 2), true));
}

#[test]
fn a_refused_program_says_why_although_its_instructions_were_to_be_kept() {
    let mut helper = Helper::start();
    let mut messages = Vec::new();
    for request in [
        common::load_kept("verifier.bpf.o", "refused"),
        common::load_object("verifier.bpf.o", &["refused"], &[]),
    ] {
        let error = helper.refused(&request, "verifier");
        let log = error["verifier_log"].as_str().unwrap();
        assert!(log.contains("map_value_or_null"), "{log}");
        messages.push(error["message"].clone());
    }
    assert_eq!(messages[0], messages[1]);
}

#[test]
fn a_program_of_kept_instructions_runs_with_the_maps_of_the_first() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let (first, second) = (bpffs.path("first"), bpffs.path("second"));
    let loaded = pin_kept(&mut helper, "xdp_refs", &first);
    let mut request = common::load_program("copy", XDP, &loaded, &first);
    request["name"] = "what the plan calls it".into();
    let copied = helper.done(&request);
    assert_eq!(copied["maps"], json!([]));
    assert_eq!(copied["programs"].as_array().unwrap().len(), 1);
    assert_eq!(copied["programs"][0]["name"], "what the plan calls it");
    let id = &copied["programs"][0]["id"];
    helper.done(&json!({"op": "pin_program", "program": id, "path": second}));

    let (one, other) = (
        common::bpftool_pinned(&first).unwrap(),
        common::bpftool_pinned(&second).unwrap(),
    );
    assert_eq!(other["name"], "copy");
    assert_eq!(other["type"], "xdp");
    let sorted = |program: &Value| {
        let mut ids: Vec<u64> = serde_json::from_value(program["map_ids"].clone()).unwrap();
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(&one), sorted(&other));
    assert!(sorted(&one).len() >= 4, "{one}");

    let packet = tempfile::NamedTempFile::new().unwrap();
    fs::write(packet.path(), [0_u8; 64]).unwrap();
    let packet = packet.path().to_str().unwrap();
    for pin in [&first, &second] {
        let run = common::bpftool(&[
            "prog", "run", "pinned", pin, "data_in", packet, "repeat", "3",
        ]);
        // XDP_PASS
        assert_eq!(run.unwrap()["retval"], 2);
    }
    let maps = loaded["maps"].as_array().unwrap();
    let hits = maps.iter().find(|map| map["name"] == "chain_hits").unwrap();
    let hits = common::bpftool(&["map", "dump", "id", &hits["id"].to_string()]).unwrap();
    let hits = hits[0]["formatted"]["value"].clone();
    assert_eq!(hits, 6);
}

#[test]
fn a_map_is_also_found_at_its_pin() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("counter");
    let made = helper.done(&counter("ticks"));
    helper.done(&json!({"op": "pin_map", "map": made["maps"][0]["id"], "path": pin}));
    let mut request = bare("counts", LOADS_A_MAP);
    request["maps"] = json!([{"instruction": 0, "map": {"pinned": pin}}]);
    let loaded = helper.done(&request);
    let id = loaded["programs"][0]["id"].clone();
    let program = helper.done(&json!({"op": "program", "id": id}))["program"].clone();
    assert_eq!(program["map_ids"], json!([made["maps"][0]["id"]]));
    helper.done(&json!({"op": "release"}));
    let gone = helper.done(&json!({"op": "program", "id": id}));
    assert_eq!(gone["program"], Value::Null);
}

/// A change of a request, and how it must then be refused.
type Wrong = (&'static str, Value, &'static str);

#[test]
fn a_request_that_makes_no_program_is_refused_for_its_reason() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("first");
    let loaded = pin_kept(&mut helper, "xdp_refs", &pin);
    let good = common::load_program("copy", XDP, &loaded, &pin);
    let free = helper.done(&counter("free"))["maps"][0]["id"].clone();
    let two = [&good["maps"][0], &good["maps"][0]];
    let none = json!({"program": 4_294_967_295_u32, "path": pin});
    let unpinned = json!({"program": loaded["programs"][0]["id"], "path": bpffs.path("nothing")});
    let map_at = |place: Value| json!([{"instruction": 0, "map": place}]);
    let btf = |bytes: &str| json!({"btf": bytes, "functions": []});
    let slot = json!({"program": 4_294_967_295_u32, "function": "f"});
    let wrong: Vec<Wrong> = vec![
        ("/kernel_name", "".into(), "bad_request"),
        ("/kernel_name", "a name".into(), "bad_request"),
        ("/kernel_name", "a\0b".into(), "bad_request"),
        ("/kernel_name", "sixteen_letters_".into(), "bad_request"),
        ("/license", "GPL\0".into(), "bad_request"),
        ("/instructions", "".into(), "bad_request"),
        ("/instructions", "twAAAAIAAA==".into(), "bad_request"),
        ("/instructions", PASS.into(), "bad_request"),
        ("/maps", json!([]), "bad_request"),
        ("/maps", json!(two), "bad_request"),
        (
            "/maps/0/instruction",
            4_294_967_295_u32.into(),
            "bad_request",
        ),
        ("/maps/0/map", json!({"in_use": free}), "not_found"),
        (
            "/maps/0/map",
            json!({"in_use": 4_294_967_295_u32}),
            "not_found",
        ),
        ("/maps", map_at(json!({"pinned": pin})), "not_ours"),
        (
            "/maps",
            map_at(json!({"pinned": bpffs.path("nothing")})),
            "not_found",
        ),
        ("/programs", json!([]), "not_found"),
        ("/programs", json!([none]), "not_ours"),
        ("/programs", json!([unpinned]), "not_found"),
        ("/types", btf(""), "invalid_object"),
        ("/types", btf("bm8gdHlwZXMgYXQgYWxs"), "invalid_object"),
        ("/replaces", slot, "bad_request"),
        ("/kernel_type", 4_294_967_295_u32.into(), "unsupported"),
        ("/types/functions/0/instruction", 7.into(), "verifier"),
    ];
    for (place, value, kind) in wrong {
        let mut request = good.clone();
        *request.pointer_mut(place).unwrap() = value.clone();
        let error = helper.refused(&request, kind);
        println!("{place} = {value}: {}", error["message"]);
    }
    helper.done(&good);
}

#[test]
fn types_of_nobody_and_of_a_program_without_any_are_refused() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let types = json!({"btf": null, "functions": []});
    let mut request = bare("typed", PASS);
    request["types"] = types;
    helper.refused(&request, "bad_request");
    let pin = bpffs.path("untyped");
    let untyped = helper.done(&bare("untyped", PASS))["programs"][0]["id"].clone();
    helper.done(&json!({"op": "pin_program", "program": untyped, "path": pin}));
    request["programs"] = json!([{"program": untyped, "path": pin}]);
    helper.refused(&request, "not_found");
}

#[test]
fn the_verifier_of_a_program_of_instructions_is_quoted() {
    let mut helper = Helper::start();
    // `exit` with r0 unset.
    let error = helper.refused(&bare("unset", "lQAAAAAAAAA="), "verifier");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("program `unset`: R0 !read_ok"),
        "{message}"
    );
    assert!(
        error["verifier_log"]
            .as_str()
            .unwrap()
            .contains("R0 !read_ok")
    );
}

/// A map as a chain counts in.
fn counter(name: &str) -> Value {
    // BPF_MAP_TYPE_PERCPU_ARRAY
    json!({
        "op": "make_map", "name": name, "kernel_name": name, "map_type": 6, "key_size": 4, "value_size": 16,
        "max_entries": 1,
    })
}

#[test]
fn a_counter_is_the_sum_of_all_processors() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("counter");
    let ask = json!({"op": "counter", "path": pin});
    assert_eq!(helper.done(&ask)["counter"], Value::Null);
    let made = helper.done(&counter("ticks"));
    assert_eq!(made["programs"], json!([]));
    assert_eq!(made["maps"][0]["name"], "ticks");
    helper.done(&json!({"op": "pin_map", "map": made["maps"][0]["id"], "path": pin}));
    helper.done(&json!({"op": "finish"}));
    assert_eq!(
        helper.done(&ask)["counter"],
        json!({"runs": 0, "nanoseconds": 0})
    );
    let value = "hex 03 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00";
    let key = ["key", "hex", "00", "00", "00", "00", "value"];
    let mut update = vec!["map", "update", "pinned", &pin];
    update.extend(key.into_iter().chain(value.split(' ')));
    common::bpftool(&update).unwrap();
    let shown = common::bpftool(&["map", "dump", "pinned", &pin]).unwrap();
    let processors = shown[0]["values"].as_array().unwrap().len() as u64;
    let expected = json!({"runs": 3 * processors, "nanoseconds": 5 * processors});
    assert_eq!(helper.done(&ask)["counter"], expected);
}

#[test]
fn what_is_no_counter_is_not_read_as_one() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let shapes = [(2, 4, 16), (6, 4, 8), (6, 4, 24), (1, 4, 16), (1, 8, 16)];
    for (map_type, key_size, value_size) in shapes {
        let mut request = counter("other");
        request["map_type"] = map_type.into();
        request["key_size"] = key_size.into();
        request["value_size"] = value_size.into();
        let made = helper.done(&request);
        let pin = bpffs.path(&format!("map_{map_type}_{key_size}_{value_size}"));
        helper.done(&json!({"op": "pin_map", "map": made["maps"][0]["id"], "path": pin}));
        helper.refused(&json!({"op": "counter", "path": pin}), "not_ours");
    }
    let pin = bpffs.path("program");
    helper.done(&common::load("xdp_pass.bpf.o", "xdp_pass", &pin));
    helper.refused(&json!({"op": "counter", "path": pin}), "not_ours");
}

#[test]
fn a_map_that_no_kernel_makes_is_refused() {
    let mut helper = Helper::start();
    for (place, value, kind) in [
        ("kernel_name", json!("with space"), "bad_request"),
        ("kernel_name", json!(""), "bad_request"),
        ("map_type", json!(4_294_967_295_u32), "unsupported"),
        ("key_size", json!(3), "unsupported"),
        ("max_entries", json!(0), "unsupported"),
    ] {
        let mut request = counter("x");
        request[place] = value;
        helper.refused(&request, kind);
    }
}

/// The configuration of a dispatcher with this many slots in use, all of which go on after their own answer.
fn config(family: &str, slots: u8) -> Vec<u8> {
    let mut config = match family {
        "xdp" => vec![236, 2, slots, 0],
        _ => vec![slots, 0, 0, 0],
    };
    let lanes = if family == "xdp" { 3 } else { 2 };
    config.extend(vec![0xff; 4 * 10]);
    config.resize(4 + lanes * 4 * 10, 0);
    config
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| {
            word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            text.push(match at <= chunk.len() {
                true => DIGITS[(word >> (18 - 6 * at)) as usize & 63].into(),
                false => '=',
            });
        }
    }
    text
}

fn dispatcher(family: &str, config: &[u8], frags: bool) -> Value {
    json!({
        "op": "load_dispatcher", "name": "dispatcher", "family": family,
        "config": base64(config), "frags": frags,
    })
}

#[test]
fn dispatchers_load_with_their_configuration_and_answer_no_maps() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    for (family, kind) in [("xdp", "xdp"), ("tc", "sched_cls")] {
        let pin = bpffs.path(family);
        let config = config(family, 2);
        let loaded = helper.done(&dispatcher(family, &config, false));
        assert_eq!(loaded["maps"], json!([]));
        assert_eq!(loaded["programs"][0]["name"], "dispatcher");
        let id = &loaded["programs"][0]["id"];
        helper.done(&json!({"op": "pin_program", "program": id, "path": pin}));
        let seen = common::bpftool_pinned(&pin).unwrap();
        assert_eq!(seen["name"], format!("{family}_dispatcher"));
        assert_eq!(seen["type"], kind);
        let maps = seen["map_ids"].as_array().unwrap();
        assert_eq!(maps.len(), 1);
        let dump = common::bpftool(&["map", "dump", "id", &maps[0].to_string()]).unwrap();
        let value = dump[0]["value"].as_array().unwrap();
        let byte = |text: &Value| u8::from_str_radix(&text.as_str().unwrap()[2..], 16).unwrap();
        let value: Vec<u8> = value.iter().map(byte).collect();
        assert_eq!(value, config);
    }
}

#[test]
fn a_dispatcher_takes_no_other_configuration_than_its_own() {
    let mut helper = Helper::start();
    let config = config("xdp", 1);
    for request in [
        dispatcher("xdp", &config[1..], false),
        dispatcher("xdp", &[], false),
        dispatcher("tc", &config, false),
        dispatcher("tc", &self::config("tc", 1), true),
    ] {
        helper.refused(&request, "bad_request");
    }
}

#[test]
fn an_extension_takes_a_slot_or_is_refused_by_lockdown() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("member");
    let loaded = helper.done(&common::load_kept("xdp_chain.bpf.o", "xdp_refs"));
    let member = &loaded["programs"][0]["id"];
    helper.done(&json!({"op": "pin_program", "program": member, "path": pin}));
    let target = helper.done(&dispatcher("xdp", &config("xdp", 2), false));
    let target = target["programs"][0]["id"].clone();
    let mut request = common::load_program("member", EXTENSION, &loaded, &pin);
    request["attach_type"] = 0.into();
    request["replaces"] = json!({"program": target, "function": "prog77"});
    helper.refused(&request, "not_found");
    request["replaces"]["function"] = "prog0".into();
    let answer = helper.ask(&request);
    if no_lockdown().is_err() && answer["error"]["kind"] == "permission" {
        assert!(
            answer["error"]["permission"]["lockdown"].is_string(),
            "{answer}"
        );
        return;
    }
    assert_eq!(answer["ok"], true, "{answer}");
    let held = json!({"at": "held", "program": answer["programs"][0]["id"]});
    let slot = |function| json!({"kind": "slot", "dispatcher": target, "function": function});
    let create = |function| json!({"op": "create_link", "link": {"of": 7}, "program": held, "target": slot(function)});
    helper.refused(&create("prog77"), "not_found");
    let linked = helper.done(&create("prog0"));
    assert_eq!(linked["link"], json!({"of": 7}));
    // Another slot of the same kind does, too: what counts is the shape of the function.
    helper.done(&create("prog1"));
}

#[test]
fn a_slot_is_one_of_a_dispatcher_that_is_held() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("x");
    let loaded = helper.done(&common::load("xdp_pass.bpf.o", "xdp_pass", &pin));
    let program = json!({"at": "pinned", "program": loaded["program_id"], "path": pin});
    let target =
        helper.done(&dispatcher("xdp", &config("xdp", 1), false))["programs"][0]["id"].clone();
    let create = |dispatcher: &Value, function| {
        let slot = json!({"kind": "slot", "dispatcher": dispatcher, "function": function});
        json!({"op": "create_link", "link": "attach_point", "program": program, "target": slot})
    };
    helper.refused(&create(&loaded["program_id"], "prog0"), "bad_request");
    helper.refused(&create(&target, "xdp_pass"), "not_found");
    // It is no extension.
    helper.refused(&create(&target, "prog0"), "unsupported");
}

#[test]
fn a_program_that_is_held_lives_as_long_as_the_plan() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("x");
    let id = helper.done(&common::load("xdp_pass.bpf.o", "xdp_pass", &pin))["program_id"].clone();
    let hold = |program: &Value, path: &str| json!({"op": "hold_program", "program": program, "path": path});
    helper.refused(&hold(&json!(4_294_967_295_u32), &pin), "not_ours");
    helper.refused(&hold(&id, &bpffs.path("nothing")), "not_found");
    assert_eq!(helper.done(&hold(&id, &pin))["outcome"], "done");
    fs::remove_file(&pin).unwrap();
    helper.done(&json!({"op": "pin_program", "program": id, "path": pin}));
    fs::remove_file(&pin).unwrap();
    let ask = json!({"op": "program", "id": id});
    assert_eq!(helper.done(&ask)["program"]["id"], id);
    helper.done(&json!({"op": "finish"}));
    // The kernel frees a program a moment after its last user went.
    let start = Instant::now();
    while helper.done(&ask)["program"] != Value::Null {
        assert!(start.elapsed() < Duration::from_secs(5), "{id} lives");
    }
}
