//! No option is accepted and ignored: what means nothing is refused. `src/args/tests.rs` has the test of each option.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Via;
use common::World;
use common::bpftool;
use common::cgroup::Cgroup;
use common::id;
use common::object;
use common::stderr;

const PERF_LINKS: &str = "BPF_LINK_TYPE_PERF_EVENT";

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

where_the_kernel_can!(
    a_direction_is_taken_only_where_the_section_leaves_it_open,
    a_map_is_taken_only_by_an_iterator_over_maps,
    defragmentation_is_told_to_the_kernel,
);

fn a_direction_is_taken_only_where_the_section_leaves_it_open(world: &World) -> Possible {
    let cgroup = Cgroup::new();
    let path = cgroup.text();
    let egress = world.try_load("hooks.bpf.o", "cgroup_skb_egress:allow_egress", &[])?;
    let connect = world.try_load("hooks.bpf.o", "cgroup_connect4:refuse_connect", &[])?;
    let refused = |program: &str, direction: &str, words: &[&str]| {
        let args = ["attach", "cgroup", program, &path, "--direction", direction];
        world.refused(&args, 2, words);
    };
    let words = ["for egress only, not for ingress", "leave --direction out"];
    refused(&egress.id, "ingress", &words);
    refused(
        &connect.id,
        "egress",
        &["which has no direction", "leave --direction out"],
    );
    refused(
        &connect.id,
        "ingress",
        &["which has no direction", "leave --direction out"],
    );
    let link = world.try_attach(&egress, &["cgroup", &path, "--direction", "egress"])?;
    let shown = bpftool(&["cgroup", "show", &path]).unwrap();
    assert_eq!(shown[0]["attach_type"], "cgroup_inet_egress", "{shown}");
    world.detach(&link);
    world.unload(&[&egress, &connect]);
    Ok(())
}

fn a_map_is_taken_only_by_an_iterator_over_maps(world: &World) -> Possible {
    let elements = world.try_load("probes.bpf.o", "iter:print_elements", &[])?;
    let tasks = world.try_load("probes.bpf.o", "iter:print_tasks", &[])?;
    let map = elements.map_pin("walked");
    let words = ["iterates over `task`", "leave --map out"];
    world.refused(&["attach", "iter", &tasks.id, "--map", &map], 2, &words);
    let words = ["iterates over `bpf_map_elem`", "needs a map", "--map PIN"];
    world.refused(&["attach", "iter", &elements.id], 2, &words);
    world.unload(&[&elements, &tasks]);
    Ok(())
}

fn defragmentation_is_told_to_the_kernel(world: &World) -> Possible {
    let program = world.try_load("hooks.bpf.o", "netfilter:netfilter_2", &[])?;
    let place = [
        "attach",
        "netfilter",
        &program.id,
        "ipv4",
        "pre_routing",
        "--dry-run",
    ];
    let plan = |more: &[&str]| world.json(&[&place[..], more].concat()).to_string();
    assert!(plan(&[]).contains("\"defragment\":false"));
    let asked = plan(&["--defragment"]);
    assert!(asked.contains("\"defragment\":true"), "{asked}");
    assert!(!asked.contains("\"defragment\":false"), "{asked}");
    world.unload(&[&program]);
    Ok(())
}

#[test]
fn a_key_is_given_one_value() {
    let world = World::new(Via::InProcess);
    let path = object("maps.bpf.o");
    let load = ["load", &path, "--program", "first"];
    let program = id(&world.json(&load)["programs"][0]).to_string();
    let attach = ["attach", "tracepoint", &program, "sched/sched_switch"];
    for (command, more, words) in [
        (
            &load,
            &["-m", "a=1", "-m", "a=2"][..],
            "metadata `a` is given twice",
        ),
        (
            &load,
            &["-a", "x", "-m", "bpfman.io/application=y"],
            "`bpfman.io/application`",
        ),
        (
            &load,
            &["-g", "sampling=01000000", "-g", "sampling=02000000"],
            "`sampling`",
        ),
        (
            &attach,
            &["-m", "a=1", "-m", "b=2", "-m", "a=1"],
            "metadata `a` is given twice",
        ),
    ] {
        world.refused(
            &[&command[..], more].concat(),
            2,
            &[words, "is given twice"],
        );
    }
}

#[test]
fn only_ids_and_a_format_exclude_each_other() {
    let world = World::new(Via::InProcess);
    for list in [&["list"][..], &["program", "list"], &["link", "list"]] {
        let output = world.bpfman(&[list, &["-q", "-o", "json"]].concat());
        assert_eq!(output.status.code(), Some(2), "{list:?}");
        assert!(stderr(&output).contains("cannot be used with"), "{list:?}");
    }
}

#[test]
fn what_is_missing_is_ignored_in_a_dry_run_too() {
    let world = World::new(Via::InProcess);
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    for command in ["unload", "detach"] {
        let args = [command, "4000000000", "--dry-run"];
        world.refused(&args, 3, &["does not exist"]);
        assert_eq!(world.ok(&[&args[..], &["--ignore-missing"]].concat()), "");
    }
}

#[test]
fn an_id_that_is_named_twice_is_done_once() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows(PERF_LINKS));
    let world = World::new(Via::InProcess);
    let program = world.load("trace_exec.bpf.o", "tracepoint:trace_exec", &[]);
    let program = id(&program[0]).to_string();
    let attach = ["attach", "tracepoint", &program, "sched/sched_switch"];
    let link = world.json(&attach)["record"]["id"].to_string();
    let plan = world.ok(&["detach", &link, "--dry-run"]);
    assert_eq!(world.ok(&["detach", &link, &link, "--dry-run"]), plan);
    assert_eq!(world.ok(&["detach", &link, &link]), "");
    let link = world.json(&attach)["record"]["id"].to_string();
    world.ok(&["link", "delete", &link, &link]);
    world.ok(&["unload", &program, &program]);
    assert!(world.ids(&[]).is_empty());
    let output = world.bpfman(&["unload", &program, "4000000000", &program]);
    assert!(
        stderr(&output).contains("2 of 2 programs"),
        "{}",
        stderr(&output)
    );
}
