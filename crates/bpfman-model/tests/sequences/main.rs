//! Random sequences of operations, each of which may be refused at a step, killed there, or meet what somebody else has
//! broken. A small reference knows what must be there after each.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod budget;
#[path = "../common/mod.rs"]
mod common;
mod event;
mod reference;
mod scene;

use bpfman_core::types::Engine;
use proptest::prelude::*;

use self::event::sequences;
use self::scene::Scene;

#[test]
fn chains_come_through_whatever_happens() {
    budget::spend("chains", &sequences(), |sequence| {
        Scene::new(Engine::Auto).run(sequence)
    });
}

#[test]
fn dispatchers_come_through_whatever_happens() {
    budget::spend("dispatchers", &sequences(), |sequence| {
        Scene::new(Engine::Extension).run(sequence)
    });
}

#[test]
fn filters_come_through_whatever_happens() {
    let engine = prop_oneof![Just(Engine::Auto), Just(Engine::Extension)];
    budget::spend("filters", &(engine, sequences()), |(engine, sequence)| {
        Scene::new(*engine).without_tcx().run(sequence)
    });
}

#[test]
fn members_that_the_verifier_takes_in_no_chain_come_through_whatever_happens() {
    budget::spend(
        "limited",
        &(8..24_usize, sequences()),
        |(most, sequence)| {
            let mut scene = Scene::new(Engine::Auto);
            scene.machine.world.limit_instructions(*most);
            scene.refuses = true;
            scene.run(sequence)
        },
    );
}
