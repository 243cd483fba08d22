//! What a failed command answers: `bpfman: error:` on stderr, its exit code, and with JSON or YAML one document on stdout.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Output;

use common::Via;
use common::World;
use common::id;
use common::object;
use common::stderr;
use serde_json::Value;

const KEYS: [&str; 6] = [
    "exit_code",
    "hints",
    "items",
    "kind",
    "message",
    "verifier_log",
];

fn keys(value: &Value) -> Vec<&str> {
    let keys = value.as_object().unwrap().keys();
    let mut keys: Vec<&str> = keys.map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The one document that a failed command printed, which agrees with its exit code and its stderr.
fn error(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|why| {
        panic!("{why}: {text:?}, {}", stderr(output));
    });
    assert_eq!(keys(&document), ["error"]);
    let error = &document["error"];
    assert_eq!(keys(error), KEYS);
    let kinds = ["", "failed", "input", "not_found", "permission", "busy"];
    let code = usize::try_from(error["exit_code"].as_u64().unwrap()).unwrap();
    assert_eq!(error["kind"], kinds[code]);
    assert_eq!(output.status.code(), i32::try_from(code).ok());
    let message = error["message"].as_str().unwrap();
    let line = format!("bpfman: error: {message}");
    let told = stderr(output);
    // What clap says has its lines.
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(&line), "no `{line}` in {told}");
    error.clone()
}

#[test]
fn every_command_prints_its_error_as_data() {
    let world = World::new(Via::InProcess);
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    let path = object("xdp_pass.bpf.o");
    let table: [(&[&str], u64); 30] = [
        (&["load", "/nonexistent.o", "--program", "p"], 3),
        (&["load", &path, "--program", "p"], 3),
        (&["program", "load", &path, "--programs", "tc:xdp_pass"], 2),
        (&["program", "load", &path, "--programs", "nonsense:p"], 2),
        (&["get", "4000000000"], 3),
        (&["program", "get", "4000000000"], 3),
        (&["program", "get", "word"], 2),
        (&["program", "list", "--type", "nonsense"], 2),
        (&["unload", "4000000000"], 3),
        (&["unload", "4000000000", "--dry-run"], 3),
        (&["program", "delete", "4000000000"], 3),
        (&["program", "delete"], 2),
        (&["program", "replace", "4000000000", &path], 3),
        (&["attach", "tracepoint", "4000000000", "a/b"], 3),
        (&["attach", "tracepoint", "4000000000", "ab"], 2),
        (&["attach", "nonsense", "1"], 2),
        (&["link", "attach", "fexit", "4000000000"], 3),
        (&["detach", "4000000000"], 3),
        (&["detach", "4000000000", "--dry-run"], 3),
        (&["link", "get", "4000000000"], 3),
        (&["link", "update", "4000000000", "-p", "1"], 3),
        (&["link", "update", "4000000000"], 2),
        (&["link", "delete", "4000000000"], 3),
        (&["link", "list", "--kind", "nonsense"], 2),
        (&["dispatcher", "get", "xdp", "1", "1"], 3),
        (&["dispatcher", "delete", "xdp", "1", "1"], 3),
        (&["dispatcher", "list", "--type", "nonsense"], 2),
        (&["doctor", "--explain", "nonsense"], 2),
        (&["reconcile", "--nonsense"], 2),
        (&["nonsense"], 2),
    ];
    for (args, code) in table {
        let output = world.bpfman(&[args, &["-o", "json"]].concat());
        assert_eq!(error(&output)["exit_code"], code, "{args:?}");
        let text = world.bpfman(args);
        assert_eq!(text.status.code(), output.status.code(), "{args:?}");
        assert!(text.stdout.is_empty(), "{args:?}");
        // The usage of a command shows the options that were given.
        let first = |output: &Output| stderr(output).lines().next().unwrap().to_owned();
        assert_eq!(first(&text), first(&output), "{args:?}");
        let yaml = world.bpfman(&[args, &["--output=yaml"]].concat());
        assert_eq!(yaml.status.code(), output.status.code(), "{args:?}");
        let lines = String::from_utf8(yaml.stdout).unwrap();
        assert!(lines.starts_with("error:"), "{args:?}: {lines}");
        assert!(lines.contains(&format!("exit_code: {code}\n")), "{lines}");
    }
}

#[test]
fn an_error_before_the_command_is_data_too() {
    let world = World::new(Via::InProcess);
    for args in [
        &["--config", "/nonexistent.toml", "list"][..],
        &["--log", "nonsense", "link", "list"],
        &["--lock-timeout", "soon", "list"],
        &["program", "--attached", "list"],
    ] {
        let output = world.bpfman(&[args, &["-o", "json"]].concat());
        assert_eq!(error(&output)["exit_code"], 2, "{args:?}");
    }
    let output = world.bpfman(&["program", "-o", "json", "--attached", "get", "1"]);
    assert_eq!(error(&output)["kind"], "input");
    let mut command = world.command(&[], &["list", "-o", "json"]);
    let output = command.env("BPFMAN_LOG", "nonsense").output().unwrap();
    let message = error(&output)["message"].to_string();
    assert!(message.contains("unknown level `nonsense`"), "{message}");
}

#[test]
fn a_missing_command_prints_the_help_and_fails() {
    let world = World::new(Via::InProcess);
    let output = world.bpfman(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage: bpfman"));
    let output = world.bpfman(&["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn a_batch_names_each_item_that_failed() {
    let world = World::new(Via::InProcess);
    let known = id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]).to_string();
    for (command, noun) in [
        (&["unload"][..], "program"),
        (&["program", "delete"], "program"),
        (&["detach"], "link"),
        (&["link", "delete"], "link"),
    ] {
        let ids = ["4000000000", "4000000001"];
        let output = world.bpfman(&[command, &ids, &["-o", "json"]].concat());
        let all = error(&output);
        assert_eq!(all["kind"], "not_found", "{command:?}");
        let told = stderr(&output);
        for (item, id) in all["items"].as_array().unwrap().iter().zip(ids) {
            let mut expected = [&KEYS[..2], &["id"], &KEYS[3..5], &["noun"], &KEYS[5..]].concat();
            expected.sort_unstable();
            assert_eq!(keys(item), expected);
            assert_eq!(item["id"].to_string(), id);
            assert_eq!(
                (&item["noun"], &item["exit_code"]),
                (&noun.into(), &3.into())
            );
            let message = item["message"].as_str().unwrap();
            assert!(
                told.contains(&format!("{noun} {id}: {message}\n")),
                "{told}"
            );
        }
        let output = world.bpfman(&[command, &ids].concat());
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains("bpfman: error: 2 of 2"), "{told}");
    }
    let output = world.bpfman(&["unload", "4000000000", &known, "-o", "json"]);
    let some = error(&output);
    assert_eq!(some["kind"], "failed");
    assert_eq!(some["items"].as_array().unwrap().len(), 1);
    assert!(world.ids(&[]).is_empty());
}

#[test]
fn the_dry_run_of_a_batch_is_one_document() {
    let world = World::new(Via::InProcess);
    let load = || id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]).to_string();
    let (first, second) = (load(), load());
    let one = world.json(&["unload", &first, "--dry-run"]);
    let two = world.json(&["unload", &first, &second, "--dry-run"]);
    assert_eq!(two["plans"][0], one);
    assert_eq!(two["plans"].as_array().unwrap().len(), 2);
    let unknown = ["unload", &first, "4000000000", "--dry-run"];
    let output = world.bpfman(&[&unknown[..], &["-o", "json"]].concat());
    assert_eq!(error(&output)["items"][0]["id"], 4_000_000_000_u64);
    let text = world.bpfman(&unknown);
    assert!(!text.stdout.is_empty() && text.status.code() == Some(1));
    assert_eq!(world.ids(&[]).len(), 2);
}

#[test]
fn a_replacement_says_that_the_id_changed() {
    let world = World::new(Via::InProcess);
    let path = object("xdp_pass.bpf.o");
    let old = id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]);
    let new = world.json(&["program", "replace", &old.to_string(), &path]);
    assert_eq!(new["replaced"]["old_program_id"], old);
    assert_eq!(
        new["replaced"]["new_program_id"],
        new["record"]["program_id"]
    );
    let old = new["record"]["program_id"].as_u64().unwrap();
    assert_eq!(world.ids(&[]), [old]);
    let text = world.ok(&["program", "replace", &old.to_string(), &path]);
    let new = world.ids(&[])[0];
    assert_ne!(old, new);
    let line = format!("Replaced:     {old} -> {new}");
    assert_eq!(text.lines().next(), Some(&*line));
}
