//! Replacements, which are two plans.

use crate::common::Machine;
use crate::common::differences;
use crate::common::shared::assert_consistent;
use crate::refused::assert_names_the_cause;
use crate::scenes::to_replace;
use crate::scenes::traced;
use bpfman_core::compute::Handover;
use bpfman_core::compute::Repairs;
use bpfman_core::types::Engine;
use bpfman_core::types::LinkId;
use bpfman_manager::ManagerError;
use bpfman_model::Crash;
use bpfman_model::Faults;
use bpfman_model::Node;

#[test]
fn a_replacement_that_fails_leaves_everything_as_it_was() {
    for (engine, pin) in [
        (Engine::Auto, None),
        (Engine::Auto, Some("/sys/fs/bpf/a/b/filter")),
        (Engine::Extension, None),
    ] {
        let mut fails_at = 0;
        loop {
            let (machine, id) = to_replace(engine, pin);
            let before = machine.world.places();
            machine.world.inject(Faults::none().at(fails_at));
            match machine.replace(id) {
                Err(ManagerError::Execution(error)) => {
                    assert_names_the_cause(&error);
                    assert!(error.failed_undos.is_empty());
                }
                Err(other) => panic!("{other}"),
                Ok(_) => {
                    let effects = machine.world.effects().len();
                    assert_eq!(fails_at, effects, "each has failed once");
                    break;
                }
            }
            let differences = differences(&before, &machine.world.places());
            assert_eq!(differences, [], "{fails_at}");
            assert_eq!(machine.world.places(), before, "{fails_at}");
            machine.world.inject(Faults::none());
            let new = machine.replace(id).unwrap();
            assert_consistent(&machine.world);
            assert_eq!(machine.world.places().records().len(), 2);
            assert_eq!(pin.is_some(), new.pin_path.as_str().ends_with("/filter"));
            fails_at += 1;
        }
        assert!(fails_at > 15, "{fails_at}");
    }
}

#[test]
fn a_replacement_whose_undo_fails_too_says_both() {
    let (machine, id) = to_replace(Engine::Auto, None);
    machine.world.inject(Faults::none());
    machine.replace(id).unwrap();
    let effects = machine.world.effects();
    let swap = effects
        .iter()
        .position(|effect| effect.action.contains("swap"));
    let swap = swap.unwrap();
    let (machine, id) = to_replace(Engine::Auto, None);
    machine.world.inject(Faults::none().from(swap));
    let error = machine.replace(id).unwrap_err();
    let ManagerError::ReplaceNotUndone { why, undo, .. } = &error else {
        panic!("{error}");
    };
    let ManagerError::Execution(why) = &**why else {
        panic!("{why}");
    };
    assert!(why.action.contains("swap"), "{}", why.action);
    assert!(undo.to_string().contains("no space left"), "{undo}");
}

/// The traced program is attached once, at the pin of its link, and the record says so.
fn assert_attached_once(machine: &Machine, what: &str) {
    let places = machine.world.places();
    let records = places.link_records();
    let [record] = records.as_slice() else {
        panic!("{what}: {records:?}");
    };
    let [link] = places.links.values().collect::<Vec<_>>()[..] else {
        panic!("{what}: {:?}", places.links);
    };
    assert_eq!(record.id, LinkId(1), "{what}");
    assert_eq!(Some(link.id), record.kernel, "{what}");
    assert_eq!(link.program, record.program, "{what}");
    let programs = places.records();
    assert_eq!(programs.len(), 1, "{what}");
    assert_eq!(programs[0].id(), record.program, "{what}");
    let pin = places.bpffs.values().flatten();
    let pins: Vec<_> = pin
        .filter(|(path, _)| path.as_str().contains("/links/"))
        .collect();
    let [(path, Node::Link(id))] = pins[..] else {
        panic!("{what}: {pins:?}");
    };
    assert_eq!(
        (Some(path), *id),
        (record.pin_path.as_ref(), link.id),
        "{what}"
    );
}

#[test]
fn a_gap_that_is_refused_or_killed_at_any_step_ends_with_one_of_the_two_attached() {
    let (machine, id) = traced();
    machine.world.inject(Faults::none());
    machine.replace_with(id, Handover::Gap).unwrap();
    assert_attached_once(&machine, "nothing failed");
    let effects = machine.world.effects();
    let detach = effects
        .iter()
        .position(|effect| effect.action.contains("detach link"));
    let attach = effects
        .iter()
        .position(|effect| effect.action.contains("attach program"));
    assert!(detach < attach, "{effects:?}");
    for (number, effect) in effects.iter().enumerate() {
        let faults = [
            Faults::none().at(number),
            Faults::none().crashing(Crash::Before(number)),
            Faults::none().crashing(Crash::After(number)),
            Faults::none().losing_the_helper(Crash::Before(number)),
            Faults::none().losing_the_helper(Crash::After(number)),
        ];
        for (kind, fault) in faults.into_iter().enumerate() {
            let (machine, id) = traced();
            machine.world.inject(fault);
            let _ = machine.replace_with(id, Handover::Gap);
            machine.world.inject(Faults::none());
            machine.manage(|manager| manager.recover()).unwrap();
            let what = format!("{number}/{kind}: {}", effect.action);
            assert_attached_once(&machine, &what);
            let healthy = machine
                .manage(|manager| manager.diagnose(Repairs::default()))
                .unwrap();
            assert_eq!(healthy.findings, [], "{what}");
        }
    }
}

#[test]
fn a_link_that_cannot_be_updated_is_refused_before_any_effect() {
    let (machine, id) = traced();
    let before = machine.world.places();
    let refused = machine.replace(id).unwrap_err().to_string();
    assert!(
        refused.contains("link 1 is of kind tracepoint"),
        "{refused}"
    );
    assert_eq!(machine.world.places(), before);
}
