//! Several processes on one runtime directory.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Duration;
use std::time::Instant;

use common::Via;
use common::World;
use common::assert_gone;
use common::id;
use common::object;
use serde_json::Value;

both_ways!(
    eight_processes_load_and_unload_at_once,
    readers_do_not_wait_for_a_transaction,
);

const PROCESSES: usize = 8;
const ROUNDS: usize = 4;

fn eight_processes_load_and_unload_at_once(world: &World) {
    // Once alone: the directories that stay are there before the places are compared.
    let first = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    world.ok(&["unload", &id(&first).to_string()]);
    let before = world.places();
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
    assert_eq!(before, world.places());
    ids.iter().for_each(|id| assert_gone("prog", *id));
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
