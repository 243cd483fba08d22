//! What is attached twice by mistake is refused, with the link that is there already.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::World;
use common::bpftool;
use common::cgroup::Cgroup;
use common::id;
use common::net::Net;
use common::stderr;

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

where_the_kernel_can!(
    the_same_program_at_one_priority_of_an_interface_is_refused,
    another_priority_or_program_is_not,
    a_tracepoint_that_has_the_program_names_the_link,
    a_raw_tracepoint_that_has_the_program_names_the_link,
    a_perf_event_that_has_the_program_names_the_link,
    a_cgroup_that_has_the_program_names_the_link,
    a_netfilter_hook_that_has_the_program_names_the_link,
    a_link_that_is_gone_is_in_nobodys_way,
);

fn the_same_program_at_one_priority_of_an_interface_is_refused(world: &World) -> Possible {
    let net = Net::new();
    for (load, place) in [
        ("xdp:xdp_1", &["xdp", "veth0"][..]),
        ("tc:tc_3", &["tc", "veth0", "ingress"]),
    ] {
        let program = id(&world.load("traffic.bpf.o", load, &[])[0]).to_string();
        let end = ["-p", "5", "-n", &net.near];
        let attach = [&["attach", place[0], &program], &place[1..], &end].concat();
        let link = world.json(&attach)["record"]["id"].to_string();
        let words = [
            &*format!("program {program} is already attached to"),
            "veth0",
            &*format!("as link {link}"),
        ];
        // Alone, beside another one, and through an update.
        world.refused(&attach, 1, &words);
        world.refused(&[&attach[..], &["--dry-run"]].concat(), 1, &words);
        let later = [&attach[..place.len() + 2], &["-p", "6", "-n", &net.near]].concat();
        let second = world.json(&later)["record"]["id"].to_string();
        world.refused(&attach, 1, &words);
        world.refused(&["link", "update", &second, "-p", "5"], 1, &words);
        world.ok(&["detach", &link, &second]);
        world.ok(&attach);
    }
    Ok(())
}

fn another_priority_or_program_is_not(world: &World) -> Possible {
    let net = Net::new();
    let load = || id(&world.load("traffic.bpf.o", "xdp:xdp_1", &[])[0]).to_string();
    let (one, other) = (load(), load());
    let attach = |program: &str, priority: &str| {
        world.ok(&[
            "attach", "xdp", program, "veth0", "-p", priority, "-n", &net.near,
        ])
    };
    attach(&one, "5");
    attach(&one, "6");
    attach(&other, "5");
    let links = world.json(&["link", "list"])["links"].clone();
    assert_eq!(links.as_array().unwrap().len(), 3);
    Ok(())
}

/// Attaches twice; the second time is refused, with the first one's id.
fn refused_again(world: &World, object: &str, load: &str, place: &[&str], name: &str) -> Possible {
    let program = world.try_load(object, load, &[])?;
    let link = world.try_attach(&program, place)?;
    let again = [&["attach", place[0], &program.id], &place[1..]].concat();
    let words = [
        &*format!("program {} is already attached to {name}", program.id),
        &*format!("as link {}", link.id),
    ];
    let output = world.refused(&again, 1, &words);
    assert!(!stderr(&output).contains("errno"), "{}", stderr(&output));
    world.detach(&link);
    let link = world.try_attach(&program, place)?;
    world.detach(&link);
    world.unload(&[&program]);
    Ok(())
}

fn a_tracepoint_that_has_the_program_names_the_link(world: &World) -> Possible {
    let place = ["tracepoint", "sched/sched_switch"];
    let name = "tracepoint sched/sched_switch";
    refused_again(
        world,
        "trace_exec.bpf.o",
        "tracepoint:trace_exec",
        &place,
        name,
    )
}

fn a_raw_tracepoint_that_has_the_program_names_the_link(world: &World) -> Possible {
    let load = "raw_tracepoint:count_raw_tracepoint";
    let place = ["raw_tracepoint", "sys_enter"];
    refused_again(
        world,
        "probes.bpf.o",
        load,
        &place,
        "raw tracepoint sys_enter",
    )
}

fn a_perf_event_that_has_the_program_names_the_link(world: &World) -> Possible {
    let load = "perf_event:count_perf_event";
    let place = ["perf_event", "cpu-clock", "--frequency", "9", "--cpu", "0"];
    refused_again(world, "probes.bpf.o", load, &place, "perf event cpu-clock")
}

fn a_cgroup_that_has_the_program_names_the_link(world: &World) -> Possible {
    let cgroup = Cgroup::new();
    let path = cgroup.text();
    let place = ["cgroup", path.as_str()];
    let load = "cgroup_connect4:refuse_connect";
    refused_again(
        world,
        "hooks.bpf.o",
        load,
        &place,
        &format!("cgroup {path}"),
    )
}

fn a_netfilter_hook_that_has_the_program_names_the_link(world: &World) -> Possible {
    let net = Net::new();
    let place = ["netfilter", "ipv4", "local_in", "-p", "7", "-n", &net.near];
    let name = "netfilter ipv4 local_in, priority 7";
    refused_again(world, "hooks.bpf.o", "netfilter:netfilter_1", &place, name)
}

/// A record alone is no link: when the kernel has none, the program is attached anew.
fn a_link_that_is_gone_is_in_nobodys_way(world: &World) -> Possible {
    let program = world.try_load("trace_exec.bpf.o", "tracepoint:trace_exec", &[])?;
    let place = ["tracepoint", "sched/sched_switch"];
    let link = world.try_attach(&program, &place)?;
    std::fs::remove_file(&link.pin).unwrap();
    common::assert_gone("link", link.kernel);
    let again = world.try_attach(&program, &place)?;
    let shown = bpftool(&["link", "show", "pinned", &again.pin]).unwrap();
    assert_eq!(shown["prog_id"].to_string(), program.id);
    world.ok(&["unload", &program.id]);
    Ok(())
}
