//! The log, the configuration file and their environment variables.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use common::Via;
use common::World;
use common::helper;
use common::object;
use common::stderr;
use common::steps;
use serde_json::Value;

both_ways!(a_log_of_the_executor_is_the_plan_on_stderr);

fn a_log_of_the_executor_is_the_plan_on_stderr(world: &World) {
    let path = object("maps.bpf.o");
    let load = ["load", &path, "--program", "first"];
    let plan = world.ok(&[&load[..], &["--dry-run"]].concat());
    let log = ["--log", "executor=debug"];
    let output = world.bpfman(&[&log, &load[..], &["-o", "json"]].concat());
    let loaded: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = stderr(&output);
    assert_eq!(steps(&text), plan.lines().collect::<Vec<_>>());
    assert_eq!(text.lines().count(), plan.lines().count(), "{text}");

    let number = loaded["programs"][0]["record"]["program_id"].to_string();
    let plan = world.ok(&["unload", &number, "--dry-run"]);
    let mut command = world.command(&[], &["unload", &number]);
    let output = command
        .env("BPFMAN_LOG", "info,executor=debug")
        .output()
        .unwrap();
    assert_eq!(steps(&stderr(&output)), plan.lines().collect::<Vec<_>>());
    assert!(output.status.success() && output.stdout.is_empty());
}

#[test]
fn without_being_asked_nothing_is_logged() {
    let world = World::new(Via::InProcess);
    for spec in ["", "error", "executor=info", "off"] {
        let load = [
            "--log",
            spec,
            "load",
            &object("maps.bpf.o"),
            "--program",
            "first",
        ];
        let output = world.bpfman(&load);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{spec}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_malformed_log_spec_is_refused() {
    let world = World::new(Via::InProcess);
    for spec in ["executor=loud", "a=b=c"] {
        world.refused(
            &["--log", spec, "list"],
            2,
            &["--log", spec, "executor=debug"],
        );
        let mut command = world.command(&[], &["list"]);
        let output = command.env("BPFMAN_LOG", spec).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}

fn write(world: &World, text: &str) -> String {
    let path = world.root().join("bpfman.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_missing_configuration_is_an_error_only_where_it_was_named() {
    let world = World::new(Via::InProcess);
    let missing = world.root().join("nosuch.toml");
    let missing = missing.to_str().unwrap();
    world.refused(&["--config", missing, "list"], 2, &[missing]);
    let mut command = world.command(&[], &["list"]);
    let output = command.env("BPFMAN_CONFIG", missing).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    if Path::new("/etc/bpfman/bpfman.toml").exists() {
        println!("SKIPPED: this machine has a default configuration");
    } else {
        world.ok(&["list"]);
    }
}

#[test]
fn the_limit_of_an_object_is_that_of_the_configuration() {
    let world = World::new(Via::InProcess);
    let path = object("xdp_pass.bpf.o");
    let bytes = Path::new(&path).metadata().unwrap().len();
    let limit = |bytes: u64| write(&world, &format!("[limits]\nobject_bytes = {bytes}\n"));
    let config = limit(bytes - 1);
    let load = ["load", &path, "--program", "xdp_pass", "--config", &config];
    let words = [
        &format!("{bytes} bytes"),
        "the limit is",
        "[limits] object_bytes",
    ];
    world.refused(&load, 2, &words);
    limit(bytes);
    world.ok(&load);
}

/// A helper that writes down that it was started.
fn witness(world: &World) -> (String, impl Fn() -> usize) {
    let (path, log) = (world.root().join("witness"), world.root().join("started"));
    let script = format!(
        "#!/bin/sh\necho x >> {}\nexec {}\n",
        log.display(),
        helper().display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let count = move || std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    (path.to_str().unwrap().to_owned(), count)
}

#[test]
fn the_helper_is_that_of_the_configuration_unless_another_is_named() {
    let world = World::new(Via::InProcess);
    let (witness, started) = witness(&world);
    let path = object("xdp_pass.bpf.o");
    let config = write(&world, &format!("[kernel]\nhelper = {witness:?}\n"));
    let load = ["--config", &config, "load", &path, "--program", "xdp_pass"];
    world.ok(&load);
    assert_eq!(started(), 1);
    let real = helper();
    let elsewhere = ["--kernel-helper", real.to_str().unwrap()];
    world.ok(&[&elsewhere, &load[..]].concat());
    assert_eq!(started(), 1);
    write(&world, "[kernel]\nhelper = \"/nonexistent/helper\"\n");
    world.refused(
        &load,
        1,
        &["/nonexistent/helper", "cannot start", "bpfman-kernel"],
    );
}

fn listed_with(world: &World, config: &str) -> Output {
    let config = write(world, config);
    world.bpfman(&["--config", &config, "list"])
}

/// The keys of the contract that belong to what is not built yet, and sections that nobody knows.
#[test]
fn sections_of_other_features_are_let_pass() {
    let world = World::new(Via::InProcess);
    let output = listed_with(
        &world,
        "[signing]\nallow_unsigned = true\nverify_enabled = false\n\
         [[signing.trusted_identities]]\n\
         certificate_identity = \"a@example.org\"\ncertificate_identity_regexp = \".*\"\n\
         certificate_oidc_issuer = \"https://example.org\"\ncertificate_oidc_issuer_regexp = \".*\"\n\
         [logging]\nlevel = \"info\"\nformat = \"text\"\n[logging.components]\nmanager = \"debug\"\n\
         [dispatcher]\nengine = \"extension\"\n[of.another.day]\nkey = 1\n",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let world = World::new(Via::InProcess);
    let table = [
        ("[limits]\nobject_byte = 1\n", "`object_byte`"),
        ("[kernel]\nhelpers = \"/x\"\n", "`helpers`"),
        ("[limits]\nobject_bytes = \"many\"\n", "invalid type"),
        ("[limits]\nobject_bytes = -1\n", "invalid value"),
        ("[limits\n", "unclosed table"),
    ];
    for (text, word) in table {
        let config = write(&world, text);
        let args = ["--config", &config, "list"];
        world.refused(&args, 2, &[&config, word]);
    }
}
