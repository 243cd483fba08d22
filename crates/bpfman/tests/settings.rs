//! The log, the configuration file and their environment variables.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use common::Via;
use common::World;
use common::executor_lines;
use common::helper;
use common::net::Net;
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
    assert_eq!(executor_lines(&text).len(), text.lines().count(), "{text}");

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
    for spec in [
        "executor=loud",
        "a=b=c",
        "nonsense",
        "info,nonsense",
        "nonsense=info",
        "info,debug",
    ] {
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

#[test]
fn the_log_is_that_of_the_configuration_unless_another_is_asked_for() {
    let world = World::new(Via::InProcess);
    let path = object("maps.bpf.o");
    let load = ["load", &path, "--program", "first", "--dry-run"];
    // The first one makes directories for those that follow.
    world.ok(&load[..4]);
    let plan = world.ok(&load);
    let load = &load[..4];
    let logged = |text: &str, more: &[&str]| {
        let config = write(&world, text);
        let output = world.bpfman(&[load, &["--config", &config], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let plan: Vec<&str> = plan.lines().collect();
    for text in [
        "[logging]\nlevel = \"debug\"\n",
        "[logging.components]\nexecutor = \"debug\"\n",
        "[logging]\nlevel = \"off\"\ncomponents = { executor = \"trace\" }\n",
    ] {
        let log = logged(text, &[]);
        assert_eq!(steps(&log).len(), plan.len(), "{text}: {log}");
        assert_eq!(logged(text, &["--log", "off"]), "");
    }
    for text in [
        "[logging]\nlevel = \"info\"\n",
        "[logging]\nlevel = \"debug\"\n[logging.components]\nexecutor = \"warn\"\n\
         manager = \"info\"\n",
    ] {
        assert_eq!(logged(text, &[]), "", "{text}");
    }
    let text = "[logging]\nlevel = \"debug\"\nformat = \"json\"\n";
    let log = logged(text, &[]);
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        assert_eq!(line["level"], "DEBUG");
        assert_eq!(line["operation"], "load");
        assert_eq!(line["operation_id"], lines[0]["operation_id"]);
        assert!(line["message"].is_string() && line["time"].is_string());
    }
    assert!(lines[0]["operation_id"].is_string());
    for step in plan {
        let is_step = |line: &&Value| line["target"] == "executor" && line["message"] == step;
        assert_eq!(lines.iter().filter(is_step).count(), 1, "{step}: {log}");
    }
}

/// A helper that writes down what it was asked, one file a process, which also says whether it held the writer's lock.
fn witness(world: &World) -> (String, impl Fn(&str) -> Vec<String>) {
    let (path, log) = (world.root().join("witness"), world.root().join("asked"));
    let script = format!(
        "#!/bin/sh\nif ls -l /proc/$$/fd | grep -q '/[.]lock$'; then held=locked; else held=free; fi\n\
         tee {}/$$.$held | {}\n",
        log.display(),
        helper().display()
    );
    std::fs::create_dir(&log).unwrap();
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let asked = move |held: &str| {
        let files = std::fs::read_dir(&log).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let files = files.filter(|file| file.extension().is_some_and(|end| end == held));
        files
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect()
    };
    (path.to_str().unwrap().to_owned(), asked)
}

/// Requests that change nothing.
const QUERIES: &str = "programs pin_state program map types links link program_hooks cgroup_programs attached tc_filter \
                       counter await_links_gone pins_below is_bpffs_root bpffs_mount finish";

fn changes(requests: &[String]) -> usize {
    let lines = requests.iter().flat_map(|text| text.lines());
    let requests = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    requests
        .filter(|request| {
            let op = request["op"].as_str().unwrap();
            !QUERIES.split_whitespace().any(|query| query == op)
        })
        .count()
}

/// Also where a command looks around before it becomes the writer, and after.
#[test]
fn a_helper_changes_nothing_without_the_lock_of_the_writer() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let (witness, asked) = witness(&world);
    let ok = |words: &[&str]| {
        // A helper that outlives its operation would keep the next one waiting.
        let head = ["--kernel-helper", &witness, "--lock-timeout", "3s"];
        world.ok(&[&head, words].concat());
    };
    let path = object("chain.bpf.o");
    let programs = "xdp:xdp_10,xdp:xdp_20,xdp:xdp_30";
    ok(&["program", "load", &path, "--programs", programs]);
    let ids: Vec<String> = world.ids(&[]).iter().map(u64::to_string).collect();
    for id in &ids {
        ok(&["attach", "xdp", id, "veth0", "-p", "5", "-n", &net.near]);
    }
    ok(&["link", "update", "1", "--proceed-on", "pass,tx"]);
    ok(&["detach", "1", "2"]);
    ok(&["program", "unload", &ids[0], &ids[1]]);
    ok(&["program", "delete", "--all"]);
    assert_eq!(changes(&asked("free")), 0, "{:?}", asked("free"));
    assert!(changes(&asked("locked")) > 10);
}

#[test]
fn the_helper_is_that_of_the_configuration_unless_another_is_named() {
    let world = World::new(Via::InProcess);
    let (witness, asked) = witness(&world);
    let started = || asked("free").len() + asked("locked").len();
    let path = object("xdp_pass.bpf.o");
    let config = write(&world, &format!("[kernel]\nhelper = {witness:?}\n"));
    let load = ["--config", &config, "load", &path, "--program", "xdp_pass"];
    world.ok(&load);
    // As the writer, and to look at what it made.
    assert_eq!(started(), 2);
    let real = helper();
    let elsewhere = ["--kernel-helper", real.to_str().unwrap()];
    world.ok(&[&elsewhere, &load[..]].concat());
    assert_eq!(started(), 2);
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
    let log = stderr(&output);
    assert!(
        log.lines().all(|line| line.contains(" DEBUG list{")),
        "{log}"
    );
}

/// Loads a program; the engine that its record names.
fn engine(world: &World, more: &[&str]) -> String {
    let path = object("traffic.bpf.o");
    let load = ["program", "load", &path, "--programs", "xdp:xdp_1"];
    let loaded = world.json(&[&load[..], more].concat());
    let engine = &loaded["programs"][0]["record"]["load"]["engine"];
    engine.as_str().unwrap().to_owned()
}

#[test]
fn the_engine_is_that_of_the_configuration_unless_another_is_named() {
    let world = World::new(Via::InProcess);
    assert_eq!(engine(&world, &[]), "auto");
    let config = write(&world, "[dispatcher]\nengine = \"extension\"\n");
    let flag = ["--config", &config, "--engine", "auto"];
    assert_eq!(engine(&world, &flag), "auto");
    // A plan tells the engine also where the kernel refuses its programs.
    let path = object("traffic.bpf.o");
    let load = ["program", "load", &path, "--programs", "xdp:xdp_1"];
    let plan = |more: &[&str]| world.ok(&[&load[..], &["--dry-run"], more].concat());
    let extension = plan(&["--engine", "extension"]);
    assert_ne!(extension, plan(&[]));
    assert_eq!(extension, plan(&["--config", &config]));
    write(&world, "[dispatcher]\nengine = \"auto\"\n");
    assert_eq!(plan(&["--config", &config]), plan(&[]));
    let flag = ["--config", &config, "--engine", "extension"];
    assert_eq!(plan(&flag), extension);
}

#[test]
fn an_engine_is_refused_for_a_program_that_shares_no_interface() {
    let world = World::new(Via::InProcess);
    let path = object("maps.bpf.o");
    let load = ["load", &path, "--program", "first"];
    world.ok(&load);
    for engine in ["auto", "extension"] {
        let asked = [&load[..], &["--engine", engine]].concat();
        let words = [
            "engine",
            engine,
            "no effect",
            "`first`",
            "tracepoint",
            "--engine",
        ];
        world.refused(&asked, 2, &words);
    }
    // What the configuration says holds for those that it concerns.
    let config = write(&world, "[dispatcher]\nengine = \"extension\"\n");
    let loaded = world.json(&[&load[..], &["--config", &config]].concat());
    let program = &loaded["programs"][0];
    assert_eq!(program["status"]["kernel"]["program_type"], "tracepoint");
}

#[test]
fn an_engine_that_does_not_exist_is_refused() {
    let world = World::new(Via::InProcess);
    let path = object("xdp_pass.bpf.o");
    let load = ["load", &path, "--program", "xdp_pass", "--engine", "fast"];
    let output = world.bpfman(&load);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("unknown engine `fast` (expected auto or extension)"),
        "{message}"
    );
    assert!(!world.runtime().exists());
}

#[test]
fn a_kernel_in_lockdown_refuses_the_extension_engine_and_nothing_is_left() {
    let world = World::new(Via::InProcess);
    // So that its places are there to be compared.
    engine(&world, &[]);
    if bpfman_testing::no_lockdown().is_ok() {
        return bpfman_testing::skip("this kernel is not locked down");
    }
    let path = object("traffic.bpf.o");
    for program in ["xdp:xdp_1", "tc:tc_3"] {
        let load = ["program", "load", &path, "--programs", program];
        let load = [&load[..], &["--engine", "extension"]].concat();
        // Lockdown is named as a fact; no kernel source makes it the reason.
        let words = ["not permitted", "gives no reason; lockdown: "];
        world.refused(&load, 4, &words);
    }
}

#[test]
fn the_mode_of_xdp_is_that_of_the_configuration_unless_another_is_named() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let path = object("traffic.bpf.o");
    let load = ["program", "load", &path, "--programs", "xdp:xdp_1"];
    let program = common::id(&world.json(&load)["programs"][0]).to_string();
    let config = write(&world, "[dispatcher]\nxdp_mode = \"generic\"\n");
    let mode = |more: &[&str]| {
        let place = ["veth0", "-p", "1", "-n", &net.near];
        let words = [&["link", "attach", "xdp", &program], &place[..], more].concat();
        let link = world.json(&words);
        world.ok(&["detach", &link["record"]["id"].to_string()]);
        link["record"]["details"]["mode"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(mode(&[]), "auto");
    assert_eq!(mode(&["--config", &config]), "generic");
    assert_eq!(mode(&["--config", &config, "--mode", "auto"]), "auto");
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
        ("[dispatcher]\nengines = \"auto\"\n", "`engines`"),
        (
            "[dispatcher]\nengine = \"fast\"\n",
            "line 2, `engine = \"fast\"`: unknown variant `fast`, expected `auto` or `extension`",
        ),
        (
            "[dispatcher]\n\nxdp_mode = \"hw\"\n",
            "line 3, `xdp_mode = \"hw\"`: unknown variant `hw`, expected one of `auto`, `native`",
        ),
        ("[dispatcher]\nengine = 1\n", "line 2, `engine = 1`"),
        (
            "[logging]\nlevel = \"nonsense\"\n",
            "unknown variant `nonsense`, expected one of `off`, `error`",
        ),
        (
            "[logging]\nformat = \"xml\"\n",
            "unknown variant `xml`, expected `text` or `json`",
        ),
        ("[logging]\nlevels = \"info\"\n", "`levels`"),
        (
            "[logging.components]\nnonsense = \"info\"\n",
            "unknown variant `nonsense`, expected `executor` or `manager`",
        ),
        (
            "[logging.components]\nmanager = \"loud\"\n",
            "unknown variant `loud`, expected one of `off`",
        ),
    ];
    for (text, word) in table {
        let config = write(&world, text);
        let args = ["--config", &config, "list"];
        world.refused(&args, 2, &[&config, word]);
    }
}
