//! What a refusal blames is what refused: each one here is brought about, and the words name the fact that decided.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::Via;
use common::World;
use common::bpftool;
use common::cgroup::Cgroup;
use common::id;
use common::object;
use common::run;
use common::stderr;

both_ways!(
    a_perf_event_is_refused_with_the_fact_that_decides,
    a_cgroup_whose_program_admits_no_other_names_that_program,
    an_offset_is_read_as_it_is_printed,
);

/// A World with a program of a type.
fn loaded(world: &World, program: &str) -> String {
    id(&world.load("types.bpf.o", program, &[])[0]).to_string()
}

#[test]
fn a_process_that_may_open_no_more_files_is_told_its_limit() {
    let world = World::new(Via::InProcess);
    loaded(&world, "xdp:t_xdp");
    let path = object("types.bpf.o");
    let load = ["program", "load", &path, "--programs", "xdp:t_xdp"];
    let mut blamed = 0;
    for limit in 4..24 {
        let limits = format!("--nofile={limit}");
        let output = world
            .command(&["prlimit", &limits], &load)
            .output()
            .unwrap();
        let message = stderr(&output);
        if output.status.success() {
            break;
        }
        // Where even the libraries cannot be opened, nothing of ours runs.
        assert!(!message.contains("disk space"), "{limit}: {message}");
        if message.contains("may open no more than") {
            blamed += 1;
            let told = format!("may open no more than {limit} files");
            assert!(message.contains(&told), "{limit}: {message}");
            assert!(message.contains("ulimit -n"), "{limit}: {message}");
        }
    }
    assert!(
        blamed > 0,
        "no limit was small enough for the kernel's part"
    );
}

fn a_perf_event_is_refused_with_the_fact_that_decides(world: &World) {
    let program = loaded(world, "perf_event:t_perf_event");
    let attach = ["link", "attach", "perf_event", &program];
    let refused = |words: &[&str], code, told: &[&str]| {
        world.refused(&[&attach[..], words].concat(), code, told);
    };
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    let online = online.trim();
    refused(
        &["cpu-clock", "--frequency", "99", "--cpu", "9999"],
        2,
        &["cpu-clock", "processor 9999 is not online", online],
    );
    let limit = std::fs::read_to_string("/proc/sys/kernel/perf_event_max_sample_rate").unwrap();
    let limit: u64 = limit.trim().parse().unwrap();
    let beyond = (limit + 1).to_string();
    let told = format!("{beyond} samples a second are more than");
    refused(
        &["cpu-clock", "--frequency", &beyond, "--cpu", "0"],
        2,
        &[&told, &format!("({limit})")],
    );
    // The limit itself is taken.
    let at_limit = limit.to_string();
    let words = ["cpu-clock", "--frequency", &at_limit, "--cpu", "0"];
    let link = world.json(&[&attach[..], &words].concat());
    world.ok(&["detach", &link["record"]["id"].to_string()]);
    let sources = std::fs::read_dir("/sys/bus/event_source/devices").unwrap();
    let has_counters = sources.flatten().any(|source| {
        let name = source.file_name().into_string().unwrap();
        name.starts_with("cpu") || name.starts_with("armv")
    });
    if !has_counters {
        refused(
            &["cache-misses", "--period", "1000", "--cpu", "0"],
            1,
            &["cache-misses", "have no counters"],
        );
    }
}

fn a_cgroup_whose_program_admits_no_other_names_that_program(world: &World) {
    let cgroup = Cgroup::new();
    let program = loaded(world, "cgroup_connect4:t_cgroup_connect4");
    let pin = world.runtime().join(format!("fs/prog_{program}"));
    let path = cgroup.text();
    let child = cgroup.path().join("child");
    std::fs::create_dir(&child).unwrap();
    let child = child.to_str().unwrap();
    let foreign = |verb: &str, flags: &[&str]| {
        let mut bpftool = Command::new("bpftool");
        bpftool.args(["cgroup", verb, &path, "connect4", "pinned"]);
        run(bpftool.arg(&pin).args(flags));
    };
    foreign("attach", &[]);
    let told = format!("program {program} at {path} is attached without ALLOW_MULTI");
    // The cgroup itself, and one below it.
    for target in [path.as_str(), child] {
        let attach = ["link", "attach", "cgroup", &program, target];
        world.refused(&attach, 1, &[&told, "bpftool cgroup show"]);
    }
    foreign("detach", &[]);
    foreign("attach", &["multi"]);
    let link = world.json(&["link", "attach", "cgroup", &program, child]);
    world.ok(&["detach", &link["record"]["id"].to_string()]);
    foreign("detach", &[]);
    std::fs::remove_dir(child).unwrap();
}

fn an_offset_is_read_as_it_is_printed(world: &World) {
    let program = loaded(world, "uprobe:t_uprobe");
    let attach = ["link", "attach", "uprobe", &program, "libc", "-f", "getenv"];
    let at = |offset: &str| world.json(&[&attach[..], &["--offset", offset]].concat());
    // Both are the function's first byte but four.
    for offset in ["0x4", "4"] {
        let link = at(offset);
        assert_eq!(link["record"]["details"]["offset"], 4);
        let kernel = link["record"]["kernel_link_id"].to_string();
        assert!(bpftool(&["link", "show", "id", &kernel]).is_some());
        world.ok(&["detach", &link["record"]["id"].to_string()]);
    }
    for nonsense in ["0x", "0x+4", "4x", ""] {
        let words = [&attach[..], &["--offset", nonsense]].concat();
        let output = world.bpfman(&words);
        assert_eq!(output.status.code(), Some(2), "{nonsense}");
        assert!(stderr(&output).contains("such as 16 or 0x10"));
    }
}

#[test]
fn a_function_that_is_chosen_at_run_time_is_no_spelling_mistake() {
    let world = World::new(Via::InProcess);
    let program = loaded(&world, "uprobe:t_uprobe");
    let attach = ["link", "attach", "uprobe", &program, "libc", "-f"];
    let chosen = [&attach[..], &["memcpy"]].concat();
    let message = stderr(&world.refused(&chosen, 3, &["STT_GNU_IFUNC"]));
    assert!(!message.contains("did you mean"), "{message}");
    let misspelt = [&attach[..], &["getenw"]].concat();
    world.refused(&misspelt, 3, &["did you mean getenv"]);
}

#[test]
fn a_bpffs_that_is_not_mounted_is_asked_for() {
    let world = World::new(Via::InProcess);
    loaded(&world, "xdp:t_xdp");
    let path = object("xdp_pass.bpf.o");
    let script = "umount -l /sys/fs/bpf && exec \"$@\"";
    let wrap = ["unshare", "-m", "sh", "-c", script, "sh"];
    let pin = "/sys/fs/bpf/bpfman-test-unmounted";
    let load = ["load", &path, "--program", "xdp_pass", "--pin-path", pin];
    let told = "no bpffs is mounted there: `mount -t bpf bpf /sys/fs/bpf`";
    world.refused_in(&wrap, &load, 2, &[told]);
    // Elsewhere there is nothing to mount.
    let elsewhere = world.root().join("pin");
    let elsewhere = elsewhere.to_str().unwrap();
    let load = [
        "load",
        &path,
        "--program",
        "xdp_pass",
        "--pin-path",
        elsewhere,
    ];
    world.refused(&load, 2, &["use a path under /sys/fs/bpf"]);
}

#[test]
fn a_user_namespace_is_named_where_it_is_the_reason() {
    let world = World::new(Via::InProcess);
    let path = object("xdp_pass.bpf.o");
    let load = ["load", &path, "--program", "xdp_pass"];
    let output = world
        .command(&["unshare", "--user", "--map-root-user"], &load)
        .output()
        .unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("user namespace of its own"), "{message}");
    assert!(!message.contains("lockdown"), "{message}");
    assert!(world.ids(&[]).is_empty());
}
