//! The example of README.md, "Sharing an interface", typed as it is written.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::Via;
use common::World;
use common::net::Net;
use common::object;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;

/// The port that packets of [`Net`] go to.
const PORT: u16 = 7777;

struct Example<'a> {
    world: &'a World,
    net: &'a Net,
    /// What the text says, and what it is here.
    words: Vec<(String, String)>,
}

impl Example<'_> {
    fn here(&self, text: &str) -> String {
        let replace = |text: String, (word, here): &(String, String)| text.replace(word, here);
        self.words.iter().fold(text.to_owned(), replace)
    }

    fn run(&self, command: &str) -> String {
        let command = command.replace(" eth0", &format!(" veth0 -n {}", self.net.near));
        let command = self.here(&command);
        let args = command.split_whitespace().map(|word| {
            let name = word.strip_prefix("target/bpf/");
            name.map_or_else(|| word.to_owned(), object)
        });
        let args: Vec<String> = args.collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.world.ok(&args)
    }

    /// The numbers that the text and this world give to one thing.
    fn learn(&mut self, said: &str, here: &str) {
        self.words.push((said.to_owned(), here.to_owned()));
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn first_line(text: &str) -> Vec<String> {
    words(text.lines().next().unwrap())
}

fn readme() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    std::fs::read_to_string(readme).unwrap()
}

/// The example before this one has made and detached a link.
fn spend_the_first_link(example: &Example<'_>) {
    let loaded = example.run("load target/bpf/xdp_pass.bpf.o --program xdp_pass");
    let program = first_line(&loaded).pop().unwrap();
    example.run(&format!("attach xdp {program} eth0 -p 1"));
    example.run("detach 1");
    example.run(&format!("unload {program}"));
}

/// What exists after a command of the README, by what its output shows.
fn learn_ids(line: &str, ids: &mut BTreeSet<String>) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["Program" | "Link", "ID:", id] => {
            ids.insert((*id).to_owned());
        }
        ["Replaced:", old, "->", new] => {
            assert!(ids.remove(*old), "{line}");
            ids.insert((*new).to_owned());
        }
        _ => {}
    }
}

/// The ids that a line of the README names: numbers of a command that no option takes, and those of pins and findings.
fn named_ids(line: &str) -> Vec<&str> {
    let is_id = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = line.split([' ', '/']).collect();
    let after = words.iter().zip(words.iter().skip(1));
    let mut ids: Vec<&str> = after
        .filter(|(before, word)| {
            let named = line.starts_with("$ bpfman") && !before.starts_with('-');
            is_id(word) && (named || **before == "program")
        })
        .map(|(_, word)| *word)
        .collect();
    let pins = words.iter().filter_map(|word| word.strip_prefix("prog_"));
    ids.extend(pins.filter(is_id));
    ids
}

#[test]
fn the_ids_of_the_examples_come_from_the_commands_before_them() {
    let readme = readme();
    let mut ids = BTreeSet::new();
    let mut used = 0;
    for line in readme.split("```").skip(1).step_by(2).flat_map(str::lines) {
        let named = named_ids(line);
        used += named.len();
        for id in named {
            assert!(ids.contains(id), "nothing has the id {id}: {line}");
            if line.contains(" detach ") || line.contains(" unload ") {
                ids.remove(id);
            }
        }
        learn_ids(line, &mut ids);
    }
    assert!(used > 10, "only {used} ids were found");
}

fn dropped(map: &MapHandle) -> u64 {
    let value = map.lookup(&PORT.to_ne_bytes(), MapFlags::ANY).unwrap();
    u64::from_ne_bytes(value.unwrap().try_into().unwrap())
}

#[test]
fn the_example_of_two_programs_works_as_it_is_written() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let readme = readme();
    let (_, section) = readme.split_once("## Sharing an interface").unwrap();
    let block = section.split("```").nth(1).unwrap();
    let mut commands = block.split("\n$ bpfman ").skip(1).map(|command| {
        let (command, shown) = command.split_once('\n').unwrap_or((command, ""));
        (command.to_owned(), shown.to_owned())
    });
    let mut example = Example {
        world: &world,
        net: &net,
        words: Vec::new(),
    };
    spend_the_first_link(&example);
    for said in ["1301", "1304"] {
        let (load, shown) = commands.next().unwrap();
        let loaded = example.run(&load);
        let id = loaded.lines().next().unwrap();
        example.learn(said, id.split_whitespace().last().unwrap());
        assert_eq!(first_line(&loaded), first_line(&example.here(&shown)));
    }
    for _ in 0..2 {
        let (attach, shown) = commands.next().unwrap();
        assert_eq!(first_line(&example.run(&attach)), first_line(&shown));
    }
    let (list, shown) = commands.next().unwrap();
    assert_eq!(words(&example.run(&list)), words(&example.here(&shown)));
    let (list, shown) = commands.next().unwrap();
    let dispatcher = &world.json(&["dispatcher", "list"])["dispatchers"][0];
    let (key, runtime) = (&dispatcher["key"], &dispatcher["runtime"]);
    for (said, here) in [
        ("4026531840", &key["nsid"]),
        ("  2  ", &key["ifindex"]),
        ("1307", &runtime["program_id"]),
    ] {
        example.learn(said, &format!(" {here} "));
    }
    example.learn("eth0", "veth0");
    assert_eq!(words(&example.run(&list)), words(&example.here(&shown)));

    let guard = example.here("1301").trim().to_owned();
    let closed = world.runtime().join(format!("fs/maps/{guard}/closed"));
    let closed = MapHandle::from_pinned_path(closed).unwrap();
    closed
        .update(&PORT.to_ne_bytes(), &0_u64.to_ne_bytes(), MapFlags::ANY)
        .unwrap();
    net.send_in(5);
    assert_eq!(dropped(&closed), 5);
    let (replace, shown) = commands.next().unwrap();
    let replaced = example.run(&replace);
    assert!(replaced.contains("xdp_guard_v2.bpf.o"), "{replaced}");
    let ids = first_line(&replaced);
    example.learn("1310", ids.last().unwrap());
    assert_eq!(ids, first_line(&example.here(&shown)));
    net.send_in(5);
    assert_eq!(dropped(&closed), 10);
    let moved = example.run(&commands.next().unwrap().0);
    assert!(moved.contains("Position:     0"), "{moved}");
    net.send_in(5);
    assert_eq!(dropped(&closed), 15);
    example.run(&commands.next().unwrap().0);
    assert_eq!(commands.next(), None);
    assert_eq!(
        world.json(&["link", "list"])["links"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
