//! Members of chains do not change each other, whatever they do: each answers what it answers alone.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::os::fd::AsRawFd;
use std::process::Command;

use common::Via;
use common::World;
use common::bpftool;
use common::kernel::Loaded;
use common::net::Net;
use common::stderr;
use libbpf_rs::ObjectBuilder;
use libbpf_rs::Program;
use serde_json::Value;

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

const DROP: i32 = 1;
const PASS: i32 = 2;
const TX: i32 = 3;
const SHOT: i32 = 2;
const TC_OK: i32 = 0;

/// An attach point of a private network.
struct Point<'a> {
    world: &'a World,
    net: Net,
    kind: &'static str,
}

impl<'a> Point<'a> {
    fn new(world: &'a World, kind: &'static str) -> Self {
        let net = Net::new();
        Self { world, net, kind }
    }

    fn load(&self, name: &str) -> Loaded {
        self.load_of("isolation.bpf.o", name)
    }

    fn load_of(&self, object: &str, name: &str) -> Loaded {
        let program = format!("{}:{name}", self.kind);
        let loaded = self.world.load(object, &program, &[]);
        Loaded::from(&loaded[0])
    }

    fn attach(&self, program: &Loaded, priority: u32, more: &[&str]) -> std::process::Output {
        let priority = priority.to_string();
        let mut words = vec!["link", "attach", self.kind, &program.id, "veth0"];
        words.extend((self.kind == "tc").then_some("ingress"));
        words.extend(["-p", &priority, "-n", &self.net.near]);
        self.world.bpfman(&[&words, more].concat())
    }

    /// Attaches programs one behind the other.
    fn chain(&self, programs: &[&Loaded], more: &[&str]) {
        for (priority, program) in (10..).zip(programs) {
            let output = self.attach(program, priority, more);
            assert!(output.status.success(), "{}", stderr(&output));
        }
    }

    fn shown(&self) -> Value {
        let list = self.world.json(&["dispatcher", "list"]);
        let key = &list["dispatchers"][0]["key"];
        let [nsid, ifindex] = ["nsid", "ifindex"].map(|name| key[name].to_string());
        let kind = key["type"].as_str().unwrap();
        self.world
            .json(&["dispatcher", "get", kind, &nsid, &ifindex])
    }

    /// What the attach point answers for a packet of 64 bytes of zero.
    fn verdict(&self) -> i32 {
        run(
            self.world,
            &self.shown()["runtime"]["program_id"].to_string(),
        )
    }
}

fn run(world: &World, program: &str) -> i32 {
    let packet = world.root().join("packet");
    std::fs::write(&packet, [0; 64]).unwrap();
    let words = [
        "prog",
        "run",
        "id",
        program,
        "data_in",
        packet.to_str().unwrap(),
    ];
    let answer = bpftool(&words).unwrap();
    answer["retval"].as_u64().unwrap() as u32 as i32
}

/// A throw would end the chain: the second would never drop.
fn a_member_that_throws_is_named(world: &World) -> Possible {
    bpfman_testing::kernel_knows("bpf_throw")?;
    let point = Point::new(world, "xdp");
    let (throws, drops) = (point.load("xdp_throws"), point.load("xdp_drops"));
    assert_eq!(run(world, &throws.id), PASS);
    point.chain(&[&throws], &[]);
    let before = point.shown();
    let output = point.attach(&drops, 20, &[]);
    if output.status.success() {
        // As extensions each is its own boundary.
        assert_eq!(point.shown()["engine"], "extension");
        assert_eq!(point.verdict(), DROP);
        return Ok(());
    }
    let message = stderr(&output);
    let expected = "link 1 (program xdp_throws) calls bpf_throw (instruction 1)";
    assert!(
        message.starts_with(&format!("bpfman: error: {expected}")),
        "{message}"
    );
    assert_eq!(point.shown(), before);
    Ok(())
}

/// The budget of `may_goto` is one frame's.
fn a_member_that_spends_may_goto_leaves_the_next_its_own(world: &World) -> Possible {
    bpfman_testing::kernel(6, 9)?;
    let point = Point::new(world, "xdp");
    let (spends, counts) = (point.load("xdp_spends"), point.load("xdp_counts_to_ten"));
    assert_eq!(
        [run(world, &spends.id), run(world, &counts.id)],
        [PASS, DROP]
    );
    point.chain(&[&spends, &counts], &[]);
    assert_eq!(point.verdict(), DROP);
    Ok(())
}

/// A dynptr that one leaves in its stack must not be where the next one has its bytes.
fn a_dynptr_stays_in_the_frame_of_its_member(world: &World) -> Possible {
    bpfman_testing::kernel_knows("bpf_dynptr_from_xdp")?;
    let point = Point::new(world, "xdp");
    let (leaves, reads) = (
        point.load("xdp_leaves_dynptr"),
        point.load("xdp_reads_bytes"),
    );
    assert_eq!([run(world, &leaves.id), run(world, &reads.id)], [PASS, TX]);
    point.chain(&[&leaves, &reads], &[]);
    assert_eq!(point.verdict(), TX);
    Ok(())
}

/// A tail that answers what its caller never does is judged all the same.
fn a_tail_answers_in_place_of_its_member(world: &World) -> Possible {
    let point = Point::new(world, "xdp");
    for caller in ["xdp_calls_tail_1", "xdp_calls_tail_deep"] {
        let (calls, reads) = (point.load(caller), point.load("xdp_reads_bytes"));
        let drops = point.load("xdp_drops");
        point.chain(&[&calls, &reads], &[]);
        assert_eq!(point.verdict(), TX, "{caller}");
        let array = calls.map_pin("tails");
        let key = ["map", "update", "pinned", &array, "key", "0", "0", "0", "0"];
        bpftool(&[&key[..], &["value", "id", &drops.id]].concat());
        let alone = run(world, &calls.id);
        assert_eq!((alone, point.verdict()), (DROP, DROP), "{caller}");
        world.ok(&["program", "delete", "--all"]);
    }
    Ok(())
}

/// What cannot be kept apart is said: at the attach, and by whoever looks.
fn members_that_share_their_tail_calls_are_named(world: &World) -> Possible {
    let point = Point::new(world, "xdp");
    let programs = ["xdp_calls_tail_1", "xdp_drops", "xdp_calls_tail_2"];
    let [first, quiet, second] = programs.map(|name| point.load(name));
    for (program, priority) in [(&first, 10), (&quiet, 20)] {
        assert_eq!(stderr(&point.attach(program, priority, &[])), "");
    }
    assert_eq!(point.shown()["shared_tail_calls"], Value::Null);
    let said = "the programs of links 1, 3 share the 33 tail calls of a packet";
    let output = point.attach(&second, 15, &[]);
    assert_eq!(
        stderr(&output),
        format!("bpfman: warning: {said}: what one uses up the next ones lack\n")
    );
    let shown = point.shown();
    assert_eq!(
        shown["shared_tail_calls"]["link_ids"],
        serde_json::json!([1, 3])
    );
    assert_eq!(shown["shared_tail_calls"]["limit"], 33);
    let key = &shown["key"];
    let words = ["dispatcher", "get", "xdp"].map(str::to_owned);
    let words = [
        &words[..],
        &[key["nsid"].to_string(), key["ifindex"].to_string()],
    ]
    .concat();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert!(world.ok(&words).contains(said));
    let path = common::object("isolation.bpf.o");
    let output = world.bpfman(&["program", "replace", &first.id, &path]);
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    Ok(())
}

/// Packets that are too short end such a member with 0, and the chain goes on after that.
fn a_member_that_reads_packets_the_legacy_way_ends_alone(world: &World) -> Possible {
    let point = Point::new(world, "tc");
    let names = ["tc_loads_packet", "tc_loads_packet_deep", "tc_shoots"];
    let [short, deep, shoots] = names.map(|name| point.load(name));
    assert_eq!(run(world, &short.id), TC_OK);
    point.chain(
        &[&short, &deep, &shoots],
        &["--proceed-on", "ok,pipe", "--stats"],
    );
    assert_eq!(point.verdict(), SHOT);
    Ok(())
}

/// A second member is refused by this message, or both run as extensions, where the kernel has these.
fn refused_or_extended(point: &Point<'_>, joining: &Loaded, expected: &str) {
    let before = point.shown();
    let output = point.attach(joining, 20, &[]);
    if output.status.success() {
        assert_eq!(point.shown()["engine"], "extension");
        return;
    }
    let message = stderr(&output);
    assert!(
        message.starts_with(&format!("bpfman: error: {expected}")),
        "{message}"
    );
    assert_eq!(point.shown(), before);
}

/// What was judged once alone is judged once in a chain.
fn a_global_function_stays_global(world: &World) -> Possible {
    let point = Point::new(world, "xdp");
    let (calls, reads) = (
        point.load("xdp_calls_global"),
        point.load("xdp_reads_bytes"),
    );
    point.chain(&[&calls, &reads], &[]);
    assert_eq!(point.shown()["engine"], "chain");
    assert_eq!(point.verdict(), TX);
    Ok(())
}

fn a_map_of_programs_for_frags_is_named(world: &World) -> Possible {
    bpfman_testing::kernel_knows("xdp_has_frags")?;
    let point = Point::new(world, "xdp");
    let (frags, drops) = (point.load("xdp_frags_calls_tail"), point.load("xdp_drops"));
    point.chain(&[&frags], &[]);
    let expected = "link 1 (program xdp_frags_calls_tail) calls the programs in map `frag_tails`, \
                    which takes multi-buffer packets (xdp.frags)";
    refused_or_extended(&point, &drops, expected);
    Ok(())
}

/// Older kernels take both, and then both run.
fn a_map_of_programs_of_another_attach_type_is_named(world: &World) -> Possible {
    bpfman_testing::kernel_knows("BPF_TCX_INGRESS")?;
    let point = Point::new(world, "tc");
    let (tc, tcx) = (point.load("tc_calls_tail"), point.load("tcx_calls_tail"));
    point.chain(&[&tc], &[]);
    let before = point.shown();
    let output = point.attach(&tcx, 20, &[]);
    if output.status.success() {
        assert_eq!(point.verdict(), TC_OK);
        return Ok(());
    }
    let message = stderr(&output);
    let expected =
        "bpfman: error: link 2 (program tcx_calls_tail) calls the programs in map `tcx_tails`";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(point.shown(), before);
    Ok(())
}

fn two_arenas_are_named(world: &World) -> Possible {
    bpfman_testing::kernel(6, 9)?;
    let point = Point::new(world, "xdp");
    let [one, two] = [(); 2].map(|()| point.load_of("arena.bpf.o", "xdp_arena"));
    point.chain(&[&one], &[]);
    let expected = "link 2 (program xdp_arena) uses the arena `pages`, and a chain has one at most: \
                    `pages` of link 1 (program xdp_arena)";
    refused_or_extended(&point, &two, expected);
    Ok(())
}

fn a_member_that_is_not_for_the_gpl_is_named(world: &World) -> Possible {
    let point = Point::new(world, "xdp");
    let closed = point.load_of("closed.bpf.o", "xdp_closed");
    let prints = point.load("xdp_prints");
    point.chain(&[&closed], &[]);
    let expected = "link 1 (program xdp_closed) cannot be joined with the others: ";
    refused_or_extended(&point, &prints, expected);
    Ok(())
}

/// One behind the other they have more branches than the verifier comes back to.
fn members_that_are_too_much_behind_each_other_are_called(world: &World) -> Possible {
    let point = Point::new(world, "xdp");
    let passes = point.load_of("limits.bpf.o", "branches_pass");
    let drops = point.load_of("limits.bpf.o", "branches_drop");
    point.chain(&[&passes, &drops], &[]);
    assert_eq!(point.shown()["engine"], "chain");
    assert_eq!(point.verdict(), DROP);
    Ok(())
}

/// The first in order is not the one that is too much: without the new one they fit.
fn the_member_that_brings_too_many_maps_is_named(world: &World) -> Possible {
    let point = Point::new(world, "xdp");
    let one = point.load_of("limits.bpf.o", "maps_one");
    let two = point.load_of("limits.bpf.o", "maps_two");
    assert!(point.attach(&one, 20, &[]).status.success());
    let before = point.shown();
    let output = point.attach(&two, 10, &[]);
    if output.status.success() {
        assert_eq!(point.shown()["engine"], "extension");
        assert_eq!(point.verdict(), PASS);
        return Ok(());
    }
    let message = stderr(&output);
    let expected = "bpfman: error: link 2 (program maps_two) makes the chain too large: 66 maps, and the kernel \
                    takes 64";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(point.shown(), before);
    Ok(())
}

/// The callback of the timer is code of the chain that armed it.
fn a_chain_that_a_timer_keeps_is_found(world: &World) -> Possible {
    bpfman_testing::kernel_knows("BPF_FUNC_timer_init")?;
    let point = Point::new(world, "xdp");
    // A packet of the network would have the next chain arm it anew.
    let down = ["-n", &point.net.near, "link", "set", "veth0", "down"];
    common::run(Command::new("ip").args(down));
    let arms = point.load_of("timer.bpf.o", "arms");
    let [passes, drops] = ["passes", "drops"].map(|name| point.load_of("removal.bpf.o", name));
    point.chain(&[&arms, &passes], &[]);
    assert_eq!(point.verdict(), PASS);
    let armed = point.shown()["runtime"]["program_id"].to_string();
    let doctor = || world.bpfman(&["doctor", "-o", "json"]);
    assert!(doctor().status.success(), "what runs is no finding");
    assert!(point.attach(&drops, 20, &[]).status.success());
    assert!(bpftool(&["prog", "show", "id", &armed]).is_some());
    let found = doctor();
    assert_eq!(found.status.code(), Some(6));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let finding = &found["findings"][0];
    assert_eq!(finding["rule"], "chain-kept", "{found}");
    let subject = finding["subject"].as_str().unwrap();
    assert!(
        subject.starts_with(&format!("program {armed} (bpfman_chain), ")),
        "{subject}"
    );
    assert!(subject.contains("(timers)"), "{subject}");
    // With its map the timer ends, and with that the chain.
    world.ok(&["unload", &arms.id]);
    assert!(doctor().status.success());
    Ok(())
}

/// Attaches a program of an object to a function of a program, as somebody else would.
fn hook(object: &str, name: &str, target: &Loaded, function: &str) -> libbpf_rs::Link {
    let target = Program::fd_from_id(target.id.parse().unwrap()).unwrap();
    let object = common::object(object);
    let mut open = ObjectBuilder::default().open_file(object).unwrap();
    for mut program in open.progs_mut() {
        let wanted = program.name() == name;
        program.set_autoload(wanted);
        if wanted {
            let function = Some(function.to_owned());
            program
                .set_attach_target(target.as_raw_fd(), function)
                .unwrap();
        }
    }
    let loaded = open.load().unwrap();
    let mut programs = loaded.progs_mut();
    let program = programs.find(|program| program.name() == name).unwrap();
    program.attach_trace().unwrap()
}

/// A chain would run the member without its extension.
fn an_extension_of_a_member_is_named(world: &World) -> Possible {
    bpfman_testing::no_lockdown()?;
    let point = Point::new(world, "xdp");
    let target = point.load_of("freplace_target.bpf.o", "freplace_target");
    let passes = point.load_of("removal.bpf.o", "passes");
    point.chain(&[&target], &[]);
    let extension = hook("types.bpf.o", "t_freplace", &target, "target_func");
    assert_eq!(point.verdict(), DROP);
    let message = stderr(&point.attach(&passes, 20, &[]));
    let expected =
        "bpfman: error: link 1 (program freplace_target) would lose a function that program ";
    assert!(message.starts_with(expected), "{message}");
    assert!(message.contains("(`t_freplace`)"), "{message}");
    assert_eq!(point.verdict(), DROP);
    drop(extension);
    let joined = point.attach(&passes, 20, &[]);
    assert!(joined.status.success(), "{}", stderr(&joined));
    assert_eq!(point.verdict(), PASS);
    Ok(())
}

/// What observes a member is told of: it goes on observing the program itself.
fn an_observer_of_a_member_is_named(world: &World) -> Possible {
    bpfman_testing::no_lockdown()?;
    let point = Point::new(world, "xdp");
    let target = point.load_of("freplace_target.bpf.o", "freplace_target");
    let passes = point.load_of("removal.bpf.o", "passes");
    point.chain(&[&target], &[]);
    let _observer = hook("watch.bpf.o", "watches", &target, "freplace_target");
    let joined = point.attach(&passes, 20, &[]);
    let message = stderr(&joined);
    assert!(joined.status.success(), "{message}");
    assert!(message.contains("(`watches`, kernel link "), "{message}");
    let expected = format!(
        "is attached to program {} and does not see it run any more",
        target.id
    );
    assert!(message.contains(&expected), "{message}");
    Ok(())
}

macro_rules! where_it_can {
    ($($name:ident),* $(,)?) => {
        mod of_chains {
            $(#[test] fn $name() {
                bpfman_testing::requires!(super::$name(&super::World::new(super::Via::InProcess)));
            })*
        }
    };
}

where_it_can!(
    a_member_that_throws_is_named,
    a_member_that_spends_may_goto_leaves_the_next_its_own,
    a_dynptr_stays_in_the_frame_of_its_member,
    a_tail_answers_in_place_of_its_member,
    members_that_share_their_tail_calls_are_named,
    a_member_that_reads_packets_the_legacy_way_ends_alone,
    a_global_function_stays_global,
    a_map_of_programs_for_frags_is_named,
    a_map_of_programs_of_another_attach_type_is_named,
    two_arenas_are_named,
    a_member_that_is_not_for_the_gpl_is_named,
    members_that_are_too_much_behind_each_other_are_called,
    the_member_that_brings_too_many_maps_is_named,
    a_chain_that_a_timer_keeps_is_found,
    an_extension_of_a_member_is_named,
    an_observer_of_a_member_is_named,
);
