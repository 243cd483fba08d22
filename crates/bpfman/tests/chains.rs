//! Several programs on one interface: they run in order, and each goes on after the verdicts it was told.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Via;
use common::World;
use common::assert_gone;
use common::chain::Chain;
use common::chain::Hook;
use common::net::Net;
use common::stderr;

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

/// Makes of each function a test for compiled chains and one for extension dispatchers.
macro_rules! with_both_engines {
    ($($name:ident),* $(,)?) => {
        mod compiled {
            $(#[test] fn $name() {
                bpfman_testing::requires!(super::$name(&super::World::new(super::Via::InProcess), "auto"));
            })*
        }
        mod extensions {
            $(#[test] fn $name() {
                bpfman_testing::requires!(super::$name(&super::World::new(super::Via::InProcess), "extension"));
            })*
        }
    };
}

with_both_engines!(
    xdp_members_run_by_priority_then_newest_then_name,
    tc_members_run_by_priority_then_newest_then_name,
    an_xdp_chain_goes_on_after_the_verdicts_it_was_told,
    a_tc_ingress_chain_goes_on_after_the_verdicts_it_was_told,
    a_tc_egress_chain_goes_on_after_the_verdicts_it_was_told,
    a_random_sequence_keeps_to_the_reference,
    neighbours_keep_their_links,
    a_chain_goes_with_its_interface,
    a_chain_goes_with_its_namespace,
    an_attach_point_is_cleared,
    nothing_is_left_of_a_chain,
);

fn order(world: &World, engine: &str, hook: Hook) -> Possible {
    let net = Net::new();
    let mut chain = Chain::load(world, &net, hook, engine, &[10, 11, 12, 13, 14])?;
    for (number, priority) in [(12, 50), (10, 50), (13, 20), (11, 50), (14, 90)] {
        chain.attach(number, priority, &[]);
        chain.check();
        if number == 11 {
            assert_eq!(chain.run().1, [13, 11, 10, 12]);
        }
    }
    // Nothing but 14 was new any more: names decide.
    assert_eq!(chain.run().1, [13, 10, 11, 12, 14]);
    while !chain.members.is_empty() {
        chain.check();
        chain.detach(0);
    }
    assert_eq!(
        world.json(&["dispatcher", "list"])["dispatchers"],
        serde_json::json!([])
    );
    Ok(())
}

fn xdp_members_run_by_priority_then_newest_then_name(world: &World, engine: &str) -> Possible {
    order(world, engine, Hook::Xdp)
}

fn tc_members_run_by_priority_then_newest_then_name(world: &World, engine: &str) -> Possible {
    order(world, engine, Hook::Ingress)
}

/// Every verdict of the first of two members, under every set of one verdict to go on after, and under all of them.
fn matrix(world: &World, engine: &str, hook: Hook, step: usize) -> Possible {
    let net = Net::new();
    let mut chain = Chain::load(world, &net, hook, engine, &[10, 11])?;
    chain.attach(10, 1, &[]);
    chain.attach(11, 2, &[]);
    let verdicts = hook.verdicts();
    let codes: Vec<i32> = verdicts.iter().map(|(_, code)| *code).collect();
    let sets = codes.iter().map(|code| vec![*code]).chain([codes.clone()]);
    for set in sets.step_by(step) {
        chain.update(0, 1, &set);
        // The last member, too, must let its packets end as it says.
        chain.update(1, 2, &set);
        let running = chain.running().unwrap();
        for code in &codes {
            chain.tell(10, *code);
            assert_eq!(
                chain.run_program(running),
                chain.predicted(false),
                "{set:?}: {code}"
            );
        }
        chain.tell(10, set[0]);
        chain.tell(11, set[0]);
        assert_eq!(
            chain.run_program(running),
            chain.predicted(false),
            "{set:?}: last"
        );
        chain.tell(11, hook.default_verdict());
    }
    Ok(())
}

fn an_xdp_chain_goes_on_after_the_verdicts_it_was_told(world: &World, engine: &str) -> Possible {
    matrix(world, engine, Hook::Xdp, 1)
}

fn a_tc_ingress_chain_goes_on_after_the_verdicts_it_was_told(
    world: &World,
    engine: &str,
) -> Possible {
    matrix(world, engine, Hook::Ingress, 1)
}

fn a_tc_egress_chain_goes_on_after_the_verdicts_it_was_told(
    world: &World,
    engine: &str,
) -> Possible {
    // The same code: the first set, one between, and all verdicts.
    matrix(world, engine, Hook::Egress, 5)
}

/// A generator that a printed seed starts again (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn a_random_sequence_keeps_to_the_reference(world: &World, engine: &str) -> Possible {
    const STEPS: usize = 20;
    let seed = std::env::var("BPFMAN_TEST_SEED").map_or_else(
        |_| u64::from(std::process::id()) << 20 | 1,
        |text| text.parse().unwrap(),
    );
    eprintln!("BPFMAN_TEST_SEED={seed}");
    let mut random = Random(seed);
    let hook = random.pick(&[Hook::Xdp, Hook::Ingress, Hook::Egress]);
    let numbers = [10, 11, 12, 13, 14, 15, 16];
    let net = Net::new();
    let mut chain = Chain::load(world, &net, hook, engine, &numbers)?;
    let codes: Vec<i32> = hook.verdicts().iter().map(|(_, code)| *code).collect();
    for _ in 0..STEPS {
        let mut set = hook.default_proceed_on();
        set.push(random.pick(&codes));
        set.sort_unstable();
        set.dedup();
        let priority = random.pick(&[10, 20, 30]);
        let free: Vec<u32> = numbers
            .iter()
            .copied()
            .filter(|number| chain.members.iter().all(|member| member.number != *number))
            .collect();
        match (random.below(5), chain.members.len()) {
            (0 | 1, _) if !free.is_empty() => {
                let number = random.pick(&free);
                chain.attach(number, priority, &set);
            }
            (2, members) if members > 1 => chain.detach(random.below(members)),
            (3, members) if members > 0 => {
                let number = chain.members[random.below(members)].number;
                chain.replace(number);
            }
            (_, 0) => continue,
            (_, members) => chain.update(random.below(members), priority, &set),
        }
        let told = [(); 3].map(|()| (random.pick(&numbers), random.pick(&codes)));
        chain.check_told(&told);
    }
    Ok(())
}

fn neighbours_keep_their_links(world: &World, engine: &str) -> Possible {
    let net = Net::new();
    let mut chain = Chain::load(world, &net, Hook::Xdp, engine, &[10, 11, 12])?;
    let mut words = chain.words(10, 50);
    words.extend(["-m".to_owned(), "team=one".to_owned()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let first = world.json(&words);
    chain.attach(11, 40, &[]);
    chain.attach(12, 60, &[]);
    chain.detach(0);
    let id = first["record"]["id"].to_string();
    world.ok(&["link", "update", &id, "--priority", "70"]);
    let after = world.json(&["link", "get", &id]);
    for key in ["id", "created_at", "metadata", "program_id", "kind"] {
        assert_eq!(first["record"][key], after["record"][key], "{key}");
    }
    assert_eq!(after["record"]["details"]["priority"], 70);
    assert_eq!(after["record"]["details"]["position"], 1);
    assert_eq!(after["status"]["kernel_seen"], true, "{after}");
    assert_eq!(after["status"]["pin_present"], true, "{after}");
    Ok(())
}

fn three(world: &World, engine: &str, net: &Net) -> Result<Vec<String>, String> {
    let mut chain = Chain::load(world, net, Hook::Xdp, engine, &[10, 11, 12])?;
    for number in [10, 11, 12] {
        chain.attach(number, 50, &[]);
    }
    chain.check();
    let ids = [10, 11, 12].map(|number| chain.program(number).id.clone());
    Ok(ids.to_vec())
}

/// What is left when all programs are unloaded, whatever became of their interface.
fn unload_all(world: &World, programs: &[String]) {
    for program in programs {
        world.ok(&["unload", program]);
        assert_gone("prog", program.parse().unwrap());
    }
    let pins = world.places().bpffs;
    assert!(pins.iter().all(|path| path.is_dir()), "{pins:?}");
    assert_eq!(
        world.json(&["dispatcher", "list"])["dispatchers"],
        serde_json::json!([])
    );
}

fn a_chain_goes_with_its_interface(world: &World, engine: &str) -> Possible {
    let net = Net::new();
    let programs = three(world, engine, &net)?;
    net.delete_interface();
    world.ok(&["link", "detach", "2"]);
    unload_all(world, &programs);
    Ok(())
}

fn a_chain_goes_with_its_namespace(world: &World, engine: &str) -> Possible {
    let net = Net::new();
    let programs = three(world, engine, &net)?;
    net.delete_near();
    world.ok(&["link", "detach", "1"]);
    unload_all(world, &programs);
    Ok(())
}

fn an_attach_point_is_cleared(world: &World, engine: &str) -> Possible {
    let net = Net::new();
    let programs = three(world, engine, &net)?;
    let list = world.json(&["dispatcher", "list"]);
    let key = &list["dispatchers"][0]["key"];
    assert_eq!(list["dispatchers"][0]["member_count"], 3);
    assert_eq!(key["ifindex"], net.ifindex());
    let (nsid, ifindex) = (key["nsid"].to_string(), key["ifindex"].to_string());
    world.ok(&["dispatcher", "delete", "xdp", &nsid, &ifindex]);
    assert_eq!(
        world.json(&["link", "list"])["links"],
        serde_json::json!([])
    );
    let seen = std::process::Command::new("ip")
        .args(["-n", &net.near, "link", "show", "veth0"])
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&seen.stdout).contains("xdp"));
    unload_all(world, &programs);
    Ok(())
}

fn nothing_is_left_of_a_chain(world: &World, engine: &str) -> Possible {
    let net = Net::new();
    let programs = three(world, engine, &net)?;
    let running = world.json(&["dispatcher", "list"])["dispatchers"][0]["runtime"]["program_id"]
        .as_u64()
        .unwrap();
    unload_all(world, &programs);
    assert_gone("prog", running);
    Ok(())
}

#[test]
fn sixty_four_members_run_as_one_program() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let numbers: Vec<u32> = (1..=8)
        .flat_map(|tens| (0..8).map(move |ones| tens * 10 + ones))
        .collect();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &numbers).unwrap();
    for number in &numbers {
        chain.attach(*number, 50, &[]);
    }
    chain.check();
    assert_eq!(chain.run().1.len(), 64);
    assert_eq!(chain.shown()["engine"], "chain");
    chain.tell(45, 1);
    chain.check();
}

#[test]
fn a_second_member_swaps_the_program_of_the_same_link() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10, 11]).unwrap();
    let first = chain.attach(10, 50, &[]);
    let link = first["record"]["kernel_link_id"].clone();
    assert_eq!(chain.shown()["engine"], "direct");
    assert_eq!(chain.running().unwrap().to_string(), chain.program(10).id);
    chain.attach(11, 40, &[]);
    let shown = chain.shown();
    assert_eq!(shown["engine"], "chain");
    assert_eq!(shown["runtime"]["kernel_link_id"], link);
    let running = shown["runtime"]["program_id"].as_u64().unwrap();
    chain.detach(0);
    assert_eq!(chain.running().unwrap().to_string(), chain.program(10).id);
    assert_eq!(chain.shown()["runtime"]["kernel_link_id"], link);
    assert_gone("prog", running);
}

#[test]
fn one_member_alone_answers_what_its_chain_would() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10]).unwrap();
    chain.attach(10, 50, &[1]);
    assert_eq!(chain.shown()["engine"], "chain");
    chain.tell(10, 1);
    assert_eq!(chain.run(), (2, vec![10]));
    chain.check();
}

#[test]
fn members_that_need_much_stack_are_called_or_refused_by_name() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10]).unwrap();
    chain.attach(10, 50, &[]);
    for (program, number) in [("xdp_calls_92", 92), ("xdp_deep_91", 91)] {
        let loaded = world
            .try_load(
                "chain.bpf.o",
                &format!("xdp:{program}"),
                &["--map-owner-id", &chain.program(10).id],
            )
            .unwrap();
        let words = ["xdp", &loaded.id, "veth0", "-p", "60", "-n", &net.near];
        let output = world.bpfman(&[&["link", "attach"], &words[..]].concat());
        if output.status.success() {
            assert!(chain.run().1.contains(&number), "{:?}", chain.run());
        } else {
            let message = stderr(&output);
            assert!(message.contains("stack"), "{message}");
            assert!(!chain.run().1.contains(&number));
        }
    }
}

#[test]
fn runs_are_counted_where_that_is_asked_for() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10, 11]).unwrap();
    let mut words = chain.words(10, 50);
    words.push("--stats".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let counted = world.json(&words);
    let id = counted["record"]["id"].to_string();
    assert_eq!(counted["status"]["stats"]["run_count"], 0);
    let runs = || world.json(&["link", "get", &id])["status"]["stats"].clone();
    chain.run();
    chain.run();
    assert_eq!(runs()["run_count"], 2);
    // It keeps what it counted when its neighbours come and go.
    let other = chain.attach(11, 40, &[]);
    assert_eq!(other["status"]["stats"], serde_json::Value::Null);
    chain.run();
    assert_eq!(runs()["run_count"], 3);
    assert!(runs()["runtime"].as_u64().unwrap() > 0);
    chain.detach(0);
    chain.run();
    assert_eq!(runs()["run_count"], 4);
    world.ok(&["link", "detach", &id]);
    let counters = world.runtime().join(format!("fs/links/{id}_counter"));
    assert!(!counters.exists());
}

/// Runs a command that must fail with these words and leave everything as it is, also what runs.
fn refused(chain: &Chain<'_>, words: &[&str], expected: &[&str]) {
    let (places, running) = (chain.world.places(), chain.running());
    let output = chain.world.bpfman(words);
    let message = stderr(&output);
    assert!(!output.status.success(), "{words:?} succeeded");
    assert!(message.contains("\n  hint: "), "no hint: {message}");
    for word in expected {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
    assert_eq!(places, chain.world.places(), "{words:?} changed something");
    assert_eq!(running, chain.running(), "{words:?} changed what runs");
}

fn eleven(world: &World) -> Possible {
    let net = Net::new();
    let numbers = [10, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22];
    let mut chain = Chain::load(world, &net, Hook::Xdp, "extension", &numbers)?;
    for number in &numbers[..10] {
        chain.attach(*number, 50, &[]);
    }
    chain.check();
    let words = chain.words(22, 50);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(&chain, &words, &["no free dispatcher slots"]);
    chain.check();
    Ok(())
}

#[test]
fn the_eleventh_member_of_a_dispatcher_is_refused() {
    bpfman_testing::requires!(eleven(&World::new(Via::InProcess)));
}

#[test]
fn a_program_of_somebody_else_is_named_and_left_alone() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10, 11]).unwrap();
    let foreign = chain.program(10).id.clone();
    let inside = ["netns", "exec", &net.near, "bpftool", "net"];
    let net_attach = |words: &[&str]| {
        let mut command = std::process::Command::new("ip");
        common::run(command.args(inside).args(words));
    };
    net_attach(&["attach", "xdp", "id", &foreign, "dev", "veth0"]);
    assert_eq!(chain.running().unwrap().to_string(), foreign);
    let words = chain.words(11, 50);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(&chain, &words, &[&foreign, "xdp_10", "veth0"]);
    net_attach(&["detach", "xdp", "dev", "veth0"]);
    world.ok(&words);
}

#[test]
fn a_member_whose_program_lost_its_pin_is_named() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10, 11, 12]).unwrap();
    chain.attach(10, 50, &[]);
    chain.attach(11, 50, &[]);
    let lost = chain.program(10).id.clone();
    std::fs::remove_file(world.runtime().join(format!("fs/prog_{lost}"))).unwrap();
    let words = chain.words(12, 50);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(&chain, &words, &[&format!("program {lost} of link 1")]);
    // The way out that the message names.
    chain.detach(1);
    chain.attach(12, 50, &[]);
    chain.check();
}

#[test]
fn unknown_verdicts_and_modes_leave_the_chain_as_it_is() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10, 11, 12]).unwrap();
    chain.attach(10, 50, &[]);
    chain.attach(11, 50, &[]);
    let near = net.near.clone();
    let joining = chain.program(12).id.clone();
    let base = [
        "link", "attach", "xdp", &joining, "veth0", "-p", "1", "-n", &near,
    ];
    let shot = [&base[..], &["--proceed-on", "pass,shot"]].concat();
    refused(
        &chain,
        &shot,
        &["no verdict is called `shot`", "aborted, drop"],
    );
    let generic = [&base[..], &["--mode", "generic"]].concat();
    refused(&chain, &generic, &["mode auto", "mode generic"]);
    let update = ["link", "update", "1", "--proceed-on", "pipe"];
    refused(&chain, &update, &["no verdict is called `pipe`"]);
    chain.check();
}

#[test]
fn a_chain_swapped_but_not_recorded_is_swapped_back() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let mut chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10, 11, 12]).unwrap();
    chain.attach(10, 50, &[]);
    chain.attach(11, 50, &[]);
    let store = rusqlite::Connection::open(world.database()).unwrap();
    // What a full disk would do to the last step.
    store
        .execute_batch(
            "CREATE TRIGGER full BEFORE UPDATE ON dispatchers BEGIN SELECT RAISE(ABORT, 'full'); END;
             CREATE TRIGGER full2 BEFORE INSERT ON dispatchers BEGIN SELECT RAISE(ABORT, 'full'); END;",
        )
        .unwrap();
    let words = chain.words(12, 50);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(&chain, &words, &["full"]);
    chain.check();
    store
        .execute_batch("DROP TRIGGER full; DROP TRIGGER full2;")
        .unwrap();
    drop(store);
    chain.attach(12, 50, &[]);
    chain.check();
}

/// A chain takes fragments only where all members do, and an interface with a large MTU takes no other.
#[test]
fn a_member_without_fragments_cannot_join_where_they_are_needed() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("xdp_has_frags"));
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let chain = Chain::load(&world, &net, Hook::Xdp, "auto", &[10, 11]).unwrap();
    let more = ["--map-owner-id", &chain.program(10).id];
    let loaded = world.try_load("chain.bpf.o", "xdp:xdp_frags_90", &more);
    let frags = loaded.unwrap().id;
    for (namespace, interface) in [(&net.near, "veth0"), (&net.far, "veth1")] {
        let mut ip = std::process::Command::new("ip");
        common::run(ip.args(["-n", namespace, "link", "set", interface, "mtu", "9000"]));
    }
    let near = net.near.clone();
    let words = [
        "link", "attach", "xdp", &frags, "veth0", "-p", "1", "-n", &near,
    ];
    world.ok(&words);
    let joining = chain.words(10, 50);
    let joining: Vec<&str> = joining.iter().map(String::as_str).collect();
    let program = format!("program {}", chain.program(10).id);
    refused(&chain, &joining, &[&program, "fragments", "xdp.frags"]);
    assert_eq!(chain.run().1, [90]);
}
