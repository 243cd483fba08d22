//! Members do not change each other: random members run one after the other, each alone, and as a chain that bpfman
//! made of them. Verdict, packet, context and maps must be the same, also after one was taken out.
//!
//! `BPFMAN_TEST_SEED` plays the chains of one seed again, `BPFMAN_TEST_CHAINS` says how many there are.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod generator;
mod random;
mod reference;

use std::fmt::Write;
use std::process::Command;

use common::Via;
use common::World;
use common::kernel::Loaded;
use common::net::Net;
use common::run;
use common::stderr;
use generator::Family;
use generator::Feature;
use generator::Member;
use random::Random;
use reference::Hooked;
use reference::Kernel;

/// How many members one object has.
const MEMBERS: usize = 16;
/// How many chains are made of one object's.
const CHAINS_OF_AN_OBJECT: usize = 20;
/// How many chains a run makes unless it is told.
const CHAINS: usize = 10;
const LONGEST_CHAIN: usize = 7;
const PACKETS: usize = 3;
/// Of a hundred members that join, how many may be refused. More would be a test of nothing.
const MOST_REFUSED: usize = 10;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

fn members_do_not_change_each_other(family: Family) {
    let chains = number("BPFMAN_TEST_CHAINS").map_or(CHAINS, |chains| chains as usize);
    let seed =
        number("BPFMAN_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    let mut tried = Tried::default();
    for object in 0..chains.div_ceil(CHAINS_OF_AN_OBJECT) {
        let seed = seed + object as u64;
        eprintln!("BPFMAN_TEST_SEED={seed} BPFMAN_TEST_CHAINS={CHAINS_OF_AN_OBJECT}");
        let left = chains - object * CHAINS_OF_AN_OBJECT;
        play(
            family,
            Random::new(seed),
            left.min(CHAINS_OF_AN_OBJECT),
            &mut tried,
        );
    }
    eprintln!("{tried:?}");
    let most = (tried.joined - tried.kept_out) * MOST_REFUSED / 100;
    assert!(tried.refused <= most, "{tried:?}");
}

#[test]
fn members_of_xdp_do_not_change_each_other() {
    members_do_not_change_each_other(Family::Xdp);
}

#[test]
fn members_of_tc_do_not_change_each_other() {
    members_do_not_change_each_other(Family::Tc);
}

/// What a run was made of.
#[derive(Debug, Default)]
struct Tried {
    chains: usize,
    packets: usize,
    joined: usize,
    refused: usize,
    /// Refused for what can be in no chain.
    kept_out: usize,
    not_loaded: usize,
}

/// Generates an object, loads its members and makes chains of them.
fn play(family: Family, mut random: Random, chains: usize, tried: &mut Tried) {
    let usable = Feature::usable(family);
    // A few at a time, so that one that breaks many members does not hide the others.
    let features: Vec<Feature> = (0..4)
        .filter(|_| !usable.is_empty())
        .map(|_| random.pick(&usable))
        .collect();
    eprintln!("{features:?}");
    let world = World::new(Via::InProcess);
    let net = Net::new();
    for (namespace, interface) in [(&net.near, "veth0"), (&net.far, "veth1")] {
        run(Command::new("ip").args(["-n", namespace, "link", "set", interface, "down"]));
    }
    let source = generator::source(&mut random, family, MEMBERS, &features);
    let object = compile(&world, &source.text);
    let names = source.members.iter().map(|member| &member.name);
    let names: Vec<String> = names
        .chain(&source.tails)
        .map(|name| format!("{}:{name}", family.name()))
        .collect();
    let Some(loaded) = load(&world, &object, &names) else {
        tried.not_loaded += 1;
        return;
    };
    let (members, tails) = loaded.split_at(source.members.len());
    let kernel = Kernel::new(members, tails);
    let mut point = Point {
        world: &world,
        net: &net,
        family,
        kernel,
        members: &source.members,
        programs: members,
        hooked: Vec::new(),
    };
    for _ in 0..chains {
        tried.chains += 1;
        point.chain(&mut random, tried);
    }
}

/// Loads all programs; `None` when the verifier refuses one of them alone, which is no matter of chains.
fn load(world: &World, object: &str, names: &[String]) -> Option<Vec<Loaded>> {
    let names = names.join(",");
    let words = [
        "program",
        "load",
        object,
        "--programs",
        &names,
        "-o",
        "json",
    ];
    let output = world.bpfman(&words);
    if !output.status.success() {
        eprintln!("not loaded: {}", stderr(&output).lines().next().unwrap());
        return None;
    }
    let loaded: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    Some(
        loaded["programs"]
            .as_array()
            .unwrap()
            .iter()
            .map(Loaded::from)
            .collect(),
    )
}

fn compile(world: &World, text: &str) -> String {
    let [from, to] = ["members.bpf.c", "members.bpf.o"].map(|name| world.root().join(name));
    std::fs::write(&from, text).unwrap();
    let machine = std::env::consts::ARCH;
    let include = format!("-I/usr/include/{machine}-linux-gnu");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    run(Command::new(clang)
        .args([
            "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-w", &include, "-c",
        ])
        .arg(&from)
        .arg("-o")
        .arg(&to));
    to.to_str().unwrap().to_owned()
}

/// An attach point, and who should run there.
struct Point<'a> {
    world: &'a World,
    net: &'a Net,
    family: Family,
    kernel: Kernel,
    members: &'a [Member],
    programs: &'a [Loaded],
    hooked: Vec<Hooked>,
}

impl Point<'_> {
    /// Makes a chain, compares it, and takes it apart, comparing what is left each time.
    fn chain(&mut self, random: &mut Random, tried: &mut Tried) {
        for _ in 0..1 + random.below(LONGEST_CHAIN) {
            let member = random.below(self.members.len());
            if self.hooked.iter().all(|other| other.member != member) {
                self.attach(random, member, tried);
            }
        }
        if self.hooked.is_empty() {
            return;
        }
        self.compare(random, tried);
        if self.hooked.len() > 1 {
            let leaving = random.below(self.hooked.len());
            let link = self.hooked.remove(leaving).link.to_string();
            self.sort(None);
            let output = self.world.bpfman(&["detach", &link]);
            assert!(
                output.status.success(),
                "{}\n{}",
                stderr(&output),
                self.describe()
            );
            self.compare(random, tried);
        }
        let (nsid, ifindex) = (self.net.nsid().to_string(), self.net.ifindex().to_string());
        let hook = match self.family {
            Family::Xdp => "xdp",
            Family::Tc => "tc-ingress",
        };
        self.world
            .ok(&["dispatcher", "delete", hook, &nsid, &ifindex]);
        self.hooked.clear();
    }

    fn attach(&mut self, random: &mut Random, member: usize, tried: &mut Tried) {
        let priority = 10 * (1 + random.below(3));
        let (names, proceed_on) = self.proceed_on(random);
        let id = &self.programs[member].id;
        let priority_text = priority.to_string();
        let mut words = vec!["attach", self.family.name(), id, "veth0"];
        if self.family == Family::Tc {
            words.push("ingress");
        }
        words.extend(["-p", &priority_text, "-n", &self.net.near, "-o", "json"]);
        words.extend(["--proceed-on", &names]);
        if random.below(4) == 0 {
            words.push("--stats");
        }
        tried.joined += 1;
        let output = self.world.bpfman(&words);
        if !output.status.success() {
            let message = stderr(&output);
            eprintln!("refused: {}", message.lines().next().unwrap());
            assert!(
                self.is_named(member, &message),
                "{message}\n{}\n{}",
                self.members[member].code,
                self.describe()
            );
            match self.kept_out(member).next() {
                Some(_) => tried.kept_out += 1,
                None => tried.refused += 1,
            }
            return;
        }
        assert!(
            self.kept_out(member).next().is_none() || !self.is_chain(),
            "{}\n{}",
            self.members[member].code,
            self.describe()
        );
        let link: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        self.hooked.push(Hooked {
            member,
            link: link["record"]["id"].as_u64().unwrap(),
            priority,
            proceed_on,
        });
        // By priority, then new before existing, then name.
        self.sort(Some(member));
    }

    /// What keeps a member, or one that is there, out of every chain.
    fn kept_out(&self, joining: usize) -> impl Iterator<Item = &'static str> {
        let there = self.hooked.iter().map(|one| one.member);
        let all = there.chain([joining]);
        all.flat_map(|member| self.members[member].refused_for.iter().copied())
    }

    /// Whether a refusal begins with the member at fault, and says why it is kept out where it is.
    fn is_named(&self, joining: usize, message: &str) -> bool {
        let names_a_link = message.starts_with("bpfman: error: link ");
        let mut reasons = self.kept_out(joining).peekable();
        names_a_link && (reasons.peek().is_none() || reasons.any(|reason| message.contains(reason)))
    }

    fn is_chain(&self) -> bool {
        self.world.json(&["dispatcher", "list"])["dispatchers"][0]["engine"] == "chain"
    }

    fn sort(&mut self, new: Option<usize>) {
        let members = self.members;
        self.hooked.sort_by_key(|one| {
            let name = &members[one.member].name;
            (one.priority, new != Some(one.member), name)
        });
    }

    /// The verdicts after which the next one runs: the usual ones, and now and then others.
    fn proceed_on(&self, random: &mut Random) -> (String, Vec<i32>) {
        let all: &[(&str, i32)] = match self.family {
            Family::Xdp => &[
                ("pass", 2),
                ("aborted", 0),
                ("drop", 1),
                ("tx", 3),
                ("redirect", 4),
            ],
            Family::Tc => &[
                ("pipe", 3),
                ("ok", 0),
                ("unspec", -1),
                ("reclassify", 1),
                ("shot", 2),
                ("stolen", 4),
                ("trap", 8),
            ],
        };
        let mut told = vec![all[0]];
        while random.below(3) == 0 {
            told.push(random.pick(all));
        }
        told.dedup();
        let names: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
        (
            names.join(","),
            told.iter().map(|(_, code)| *code).collect(),
        )
    }

    /// Sends packets through what is attached, and through its members one by one.
    fn compare(&self, random: &mut Random, tried: &mut Tried) {
        let running = self.running();
        let direct = running.to_string() == self.programs[self.hooked[0].member].id;
        for _ in 0..PACKETS {
            tried.packets += 1;
            let mut bytes =
                |count| -> Vec<u8> { (0..count).map(|_| random.word() as u8).collect() };
            let state = bytes(512);
            let length = 14 + usize::from(bytes(1)[0] & 127);
            let packet = bytes(length);
            self.kernel.reset(&state);
            let expected = self
                .kernel
                .one_by_one(self.family, &self.hooked, direct, &packet);
            self.kernel.reset(&state);
            let found = self.kernel.whole(self.family, running, &packet);
            assert!(
                expected == found,
                "expected {expected:?}\n   found {found:?}\n{}",
                self.describe()
            );
        }
    }

    /// What the kernel calls with each packet.
    fn running(&self) -> u64 {
        let list = self.world.json(&["dispatcher", "list"]);
        list["dispatchers"][0]["runtime"]["program_id"]
            .as_u64()
            .unwrap()
    }

    /// The members that are there, as C.
    fn describe(&self) -> String {
        let mut text = String::new();
        for one in &self.hooked {
            let _ = writeln!(text, "{one:?}\n{}", self.members[one.member].code);
        }
        text
    }
}
