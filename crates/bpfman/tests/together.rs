//! Several processes on one runtime directory.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use common::Places;
use common::Via;
use common::World;
use common::assert_gone;
use common::id;
use common::object;
use common::stderr;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use serde_json::Value;

both_ways!(
    eight_processes_load_and_unload_at_once,
    thirty_two_processes_get_along_though_some_are_killed,
    a_writer_that_dies_lets_go_of_the_lock,
    readers_do_not_wait_for_a_transaction,
    a_batch_does_not_wait_for_itself,
);

const PROCESSES: usize = 8;
const ROUNDS: usize = 4;

fn eight_processes_load_and_unload_at_once(world: &World) {
    // Once alone: the directories that stay are there before the places are compared.
    let first = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    world.ok(&["unload", &id(&first).to_string()]);
    let before = world.places();
    let looks = AtomicUsize::new(0);
    let one = |process: usize| {
        let (path, pin) = (object("maps.bpf.o"), world.pin(&format!("p{process}/x")));
        let mut ids = Vec::new();
        for _ in 0..ROUNDS {
            let args = ["load", &path, "--program", "first", "--pin-path", &pin];
            let loaded = world.json(&args);
            let number = id(&loaded["programs"][0]);
            // Readers come and go among the writers.
            let listed = world.json(&["list"]);
            let ours = |row: &Value| row["program_id"] == number;
            assert!(
                listed["programs"].as_array().unwrap().iter().any(ours),
                "{listed}"
            );
            let told: Value =
                serde_json::from_slice(&world.bpfman(&["doctor", "-o", "json"]).stdout).unwrap();
            if told["writer_at_work"] == false {
                assert_eq!(told["findings"], serde_json::json!([]));
                looks.fetch_add(1, Ordering::Relaxed);
            }
            world.ok(&["unload", &number.to_string()]);
            ids.push(number);
        }
        ids
    };
    let ids: Vec<u64> = std::thread::scope(|scope| {
        let start = |process| scope.spawn(move || one(process));
        let threads: Vec<_> = (0..PROCESSES).map(start).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.flatten().collect()
    });
    assert_eq!(ids.len(), PROCESSES * ROUNDS);
    assert_ne!(looks.into_inner(), 0, "nobody could look");
    assert_eq!(before, world.places());
    ids.iter().for_each(|id| assert_gone("prog", *id));
}

const CROWD: usize = 32;

/// One of the crowd: it loads, attaches, lists, detaches and unloads, and is killed now and then.
struct One<'a> {
    world: &'a World,
    number: usize,
    commands: Cell<usize>,
    killed: Cell<usize>,
}

impl One<'_> {
    /// Runs a command that is killed now and then, in the middle of what it does. Answers whether it went well; when it
    /// did not, nothing but the death of somebody is the reason.
    fn run(&self, args: &[&str]) -> bool {
        let command = self.commands.replace(self.commands.get() + 1);
        // Every third dies, each elsewhere.
        let fate = self.number * 7 + command * 5;
        let output = if fate.is_multiple_of(3) {
            let call = ["bpf", "pwrite64", "unlink"][fate % 5 % 3];
            self.world.killed_at(call, 1 + fate % 11, args)
        } else {
            self.world.bpfman(args)
        };
        let died = output.status.signal() == Some(9)
            || stderr(&output).contains("the helper gave no whole answer");
        self.killed.set(self.killed.get() + usize::from(died));
        let message = stderr(&output);
        assert!(output.status.success() || died, "{args:?}: {message}");
        output.status.success()
    }

    /// The programs and links that the records have of this one.
    fn own(&self) -> (Vec<u64>, Vec<u64>) {
        let who = format!("who={}", self.number);
        let listed = self.world.json(&["list", "--selector", &who]);
        let programs = listed["programs"].as_array().unwrap().iter();
        let programs: Vec<u64> = programs
            .map(|row| row["program_id"].as_u64().unwrap())
            .collect();
        let links = self.world.json(&["link", "list"]);
        let links = links["links"].as_array().unwrap().iter();
        let links = links.filter(|link| programs.contains(&link["program_id"].as_u64().unwrap()));
        let links = links.map(|link| link["id"].as_u64().unwrap()).collect();
        (programs, links)
    }

    /// Until it has happened: who was killed tries again.
    fn live(&self) {
        let (path, who) = (object("maps.bpf.o"), format!("who={}", self.number));
        let program = loop {
            let went_well = self.run(&["load", &path, "--program", "first", "-m", &who]);
            match self.own().0.as_slice() {
                [] => assert!(!went_well, "a row is lost"),
                [program] => break program.to_string(),
                more => panic!("loaded twice: {more:?}"),
            }
        };
        let at = "syscalls/sys_enter_getpgid";
        let link = loop {
            let went_well = self.run(&["attach", "tracepoint", &program, at]);
            match self.own().1.as_slice() {
                [] => assert!(!went_well, "a row is lost"),
                [link] => break link.to_string(),
                more => panic!("attached twice: {more:?}"),
            }
        };
        while !self.own().1.is_empty() {
            self.run(&["detach", &link]);
        }
        while !self.own().0.is_empty() {
            self.run(&["unload", &program]);
        }
    }
}

fn thirty_two_processes_get_along_though_some_are_killed(world: &World) {
    let first = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    world.ok(&["unload", &id(&first).to_string()]);
    let before = world.places();
    let killed: usize = std::thread::scope(|scope| {
        let start = |number| {
            scope.spawn(move || {
                let one = One {
                    world,
                    number,
                    commands: Cell::new(0),
                    killed: Cell::new(0),
                };
                one.live();
                one.killed.get()
            })
        };
        let threads: Vec<_> = (0..CROWD).map(start).collect();
        threads.into_iter().map(|one| one.join().unwrap()).sum()
    });
    println!("{killed} killed");
    assert!(killed >= CROWD / 2, "{killed}");
    let done = world.json(&["reconcile"]);
    assert_eq!(done["steps"], serde_json::json!([]));
    assert_eq!(before, without_links(world.places()));
}

/// The directory of links is there from the first one on.
fn without_links(mut places: Places) -> Places {
    places.bpffs.retain(|path| !path.ends_with("fs/links"));
    places
}

fn a_writer_that_dies_lets_go_of_the_lock(world: &World) {
    let (path, impatient) = (object("maps.bpf.o"), ["--lock-timeout", "100ms"]);
    let load = ["load", &path, "--program", "first"];
    world.ok(&load);
    let mut stopped = world
        .signalled_at("SIGSTOP", "bpf", 3, &load)
        .process_group(0)
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        let output = world.bpfman(&[&impatient[..], &load].concat());
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nobody waits");
    }
    // What it has begun is not taken for what a killed one left.
    let told = world.bpfman(&["doctor"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("another bpfman is at work"), "{told}");
    assert!(!told.contains("interrupted"), "{told}");
    let group = Pid::from_child(&stopped);
    kill_process_group(group, Signal::KILL).unwrap();
    stopped.wait().unwrap();
    world.ok(&load);
    let done = world.json(&["reconcile"]);
    assert_eq!(done["steps"], serde_json::json!([]));
}

fn readers_do_not_wait_for_a_transaction(world: &World) {
    let program = world
        .load("trace_exec.bpf.o", "tracepoint:trace_exec", &[])
        .remove(0);
    let number = id(&program).to_string();
    let writer = rusqlite::Connection::open(world.database()).unwrap();
    writer
        .execute_batch("BEGIN EXCLUSIVE; DELETE FROM programs;")
        .unwrap();
    let start = Instant::now();
    assert_eq!(world.ids(&[]), [id(&program)]);
    assert_eq!(world.json(&["get", &number]), program);
    assert!(world.ids(&["--all"]).contains(&id(&program)));
    world.ok(&["unload", &number, "--dry-run"]);
    assert!(start.elapsed() < Duration::from_secs(3), "they waited");
    writer.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.ids(&[]), [id(&program)]);
}

#[test]
fn a_writer_gives_up_on_a_transaction_and_undoes_all() {
    let world = World::new(Via::InProcess);
    let program = world
        .load("trace_exec.bpf.o", "tracepoint:trace_exec", &[])
        .remove(0);
    let number = id(&program).to_string();
    let writer = rusqlite::Connection::open(world.database()).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.refused(&["unload", &number], 5, &["database", "try again"]);
    writer.execute_batch("ROLLBACK").unwrap();
    world.ok(&["unload", &number]);
}

/// What each operation began has come to its end with it: its helper is in nobody's way.
fn a_batch_does_not_wait_for_itself(world: &World) {
    let load = || id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]).to_string();
    let ids = [load(), load(), load()];
    let unload = ["unload", &ids[0], &ids[1], &ids[2], "--lock-timeout", "1s"];
    assert_eq!(world.ok(&unload), "");
    assert!(world.ids(&[]).is_empty());
}
