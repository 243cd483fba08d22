//! SIGKILL at each system call with which an operation changes something, in process and through the helper: the next
//! command brings it to its end. bpftool looks at what is left.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::Places;
use common::Via;
use common::World;
use common::assert_gone;
use common::id;
use common::net::Net;
use common::object;
use common::stderr;

/// The system calls that change something. With `?` those that a machine may lack.
const CALLS: [&str; 16] = [
    "bpf",
    "?mkdir",
    "mkdirat",
    "?rmdir",
    "?unlink",
    "unlinkat",
    "?link",
    "linkat",
    "?rename",
    "renameat2",
    "pwrite64",
    "mount",
    "umount2",
    "sendto",
    "sendmsg",
    "ftruncate",
];
/// More than any operation makes of one kind.
const MOST_CALLS: usize = 400;

/// An operation and what is there before it.
struct Operation<'a> {
    world: &'a World,
    /// Sets the scene; answers the command.
    prepare: &'a dyn Fn(&World) -> Vec<String>,
}

impl Operation<'_> {
    /// Kills it everywhere; answers how often.
    fn kill_everywhere(&self, stride: usize) -> usize {
        // What every operation finds or makes is there from now on.
        let args = (self.prepare)(self.world);
        self.world.ok(&words(&args));
        self.clear();
        let base = self.places();
        let mut kills = 0;
        for call in CALLS {
            let numbers = (1..MOST_CALLS).step_by(stride);
            kills += numbers
                .take_while(|number| self.kill(call, *number, &base))
                .count();
        }
        kills
    }

    /// Kills it once. False when it came to its end before.
    fn kill(&self, call: &str, number: usize, base: &Places) -> bool {
        let args = (self.prepare)(self.world);
        let before = self.places();
        let output = self.world.killed_at(call, number, &words(&args));
        let killed = !output.status.success();
        let what = format!("{args:?}, {call} {number}: {}", stderr(&output));
        self.recover(&what);
        let after = self.places();
        assert!(killed || before != after, "{what}");
        self.assert_agrees(&what);
        self.clear();
        assert_eq!(*base, self.places(), "{what}: something is left");
        for places in [before, after] {
            assert_all_gone(&places, base);
        }
        killed
    }

    /// Any command that changes something brings what was killed to its end, before it begins.
    fn recover(&self, what: &str) {
        let missing = u32::MAX.to_string();
        let output = self.world.bpfman(&["detach", &missing]);
        let message = stderr(&output);
        assert!(message.contains("does not exist"), "{what}: {message}");
    }

    /// The records and the kernel speak of the same.
    fn assert_agrees(&self, what: &str) {
        for row in self.world.json(&["list"])["programs"].as_array().unwrap() {
            let number = row["program_id"].to_string();
            let shown = self.world.json(&["get", &number]);
            let (record, status) = (&shown["record"], &shown["status"]);
            assert!(status["kernel"].is_object(), "{what}: {record}");
            let pin = record["handles"]["pin_path"].as_str().unwrap();
            assert!(Path::new(pin).exists(), "{what}: {pin}");
            for link in status["links"].as_array().unwrap() {
                assert_eq!(link["status"]["kernel_seen"], true, "{what}: {link}");
            }
        }
    }

    /// Without the directories of ours that all operations share: they are there or not while they are empty.
    fn places(&self) -> Places {
        let mut places = self.world.places();
        let (fs, all) = (self.world.runtime().join("fs"), places.bpffs.clone());
        let full = |path: &Path| all.iter().any(|other| other.parent() == Some(path));
        let shared = |path: &Path| path.parent() == Some(&fs);
        places
            .bpffs
            .retain(|path| !shared(path) || path.is_file() || full(path));
        let programs = self.world.runtime().join("programs");
        if !places
            .files
            .keys()
            .any(|path| path.parent() == Some(&programs))
        {
            places.files.remove(&programs);
        }
        places
    }

    fn clear(&self) {
        self.world.ok(&["program", "delete", "--all"]);
    }
}

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// What pins held is gone from the kernel when they are.
fn assert_all_gone(places: &Places, base: &Places) {
    for (path, (number, _)) in &places.kernel {
        if base.kernel.contains_key(path) {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let in_links = path
            .parent()
            .is_some_and(|parent| parent.ends_with("links"));
        let link = in_links || name.ends_with("_link") || name.starts_with("link_");
        assert_gone(if link { "link" } else { "prog" }, *number);
    }
}

fn load(world: &World) -> String {
    id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]).to_string()
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn load_with_a_pin(world: &World) -> Vec<String> {
    let (path, pin) = (object("maps.bpf.o"), world.pin("a/b/first"));
    owned(&["load", &path, "--program", "first", "--pin-path", &pin])
}

fn traced(world: &World) -> (String, Vec<String>) {
    let program = id(&world.load("maps.bpf.o", "tracepoint:first", &[])[0]).to_string();
    let at = "syscalls/sys_enter_getpgid";
    let attach = owned(&["attach", "tracepoint", &program, at]);
    (program, attach)
}

fn attach(world: &World) -> Vec<String> {
    traced(world).1
}

fn last_link(world: &World) -> String {
    let links = world.json(&["link", "list"]);
    let links = links["links"].as_array().unwrap();
    links.last().unwrap()["id"].to_string()
}

fn detach(world: &World) -> Vec<String> {
    world.ok(&words(&attach(world)));
    owned(&["detach", &last_link(world)])
}

fn unload_with_links(world: &World) -> Vec<String> {
    let (program, attach) = traced(world);
    world.ok(&words(&attach));
    let at = "syscalls/sys_enter_getsid";
    world.ok(&["attach", "tracepoint", &program, at]);
    owned(&["unload", &program])
}

/// So many members at an interface.
fn members(world: &World, net: &Net, count: usize) -> String {
    let mut program = String::new();
    for _ in 0..count {
        program = load(world);
        world.ok(&words(&join(net, &program)));
    }
    program
}

fn join(net: &Net, program: &str) -> Vec<String> {
    owned(&[
        "attach", "xdp", program, "veth0", "-p", "50", "-n", &net.near,
    ])
}

/// Kills everything at each call, or every so many calls.
fn everywhere(via: Via, stride: usize, prepare: impl Fn(&World) -> Vec<String>) {
    let world = &World::new(via);
    let prepare = &prepare;
    let kills = Operation { world, prepare }.kill_everywhere(stride);
    println!("{kills} kills");
    assert!(kills * stride > 5, "{kills}");
}

/// Chains take long to make: they are killed at half as many calls.
macro_rules! killed_at_each_call {
    ($via:expr, $stride:expr) => {
        use super::*;

        #[test]
        fn a_load() {
            everywhere($via, $stride, load_with_a_pin);
        }

        #[test]
        fn an_attach() {
            everywhere($via, $stride, attach);
        }

        #[test]
        fn a_detach() {
            everywhere($via, $stride, detach);
        }

        #[test]
        fn an_unload_with_two_links() {
            everywhere($via, $stride, unload_with_links);
        }

        #[test]
        fn a_first_join() {
            let net = Net::new();
            everywhere($via, $stride, |world| join(&net, &load(world)));
        }

        #[test]
        fn a_second_join() {
            let net = Net::new();
            everywhere($via, 2 * $stride, |world| {
                members(world, &net, 1);
                join(&net, &load(world))
            });
        }

        #[test]
        fn one_of_three_leaves() {
            let net = Net::new();
            everywhere($via, 2 * $stride, |world| {
                members(world, &net, 3);
                owned(&["detach", &last_link(world)])
            });
        }

        #[test]
        fn an_update_in_a_chain() {
            let net = Net::new();
            everywhere($via, 2 * $stride, |world| {
                members(world, &net, 2);
                owned(&["link", "update", &last_link(world), "--priority", "7"])
            });
        }

        #[test]
        fn a_replacement_in_a_chain() {
            let net = Net::new();
            everywhere($via, 2 * $stride, |world| {
                let program = members(world, &net, 2);
                owned(&["program", "replace", &program, &object("xdp_pass.bpf.o")])
            });
        }
    };
}

mod in_process {
    killed_at_each_call!(Via::InProcess, 1);
}

mod through_the_helper {
    killed_at_each_call!(Via::Helper, 3);
}
