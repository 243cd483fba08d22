//! Each step of an operation is refused, and then its undos.

use crate::common::differences;
use crate::common::essence;
use crate::killed::End;
use crate::killed::assert_ends;
use crate::left::assert_all_left_is_named;
use crate::scenes::SCENES;
use crate::scenes::Scene;
use crate::scenes::assert_succeeds;
use crate::scenes::in_every_scene;
use bpfman_core::action::Plan;
use bpfman_core::action::Undo;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::executor::FailedUndo;
use bpfman_model::EffectResult;
use bpfman_model::Errno;
use bpfman_model::Faults;

#[test]
fn a_step_that_fails_leaves_everything_as_it_was() {
    in_every_scene(|name, scene, plan, before| {
        assert!(!plan.steps.is_empty());
        let after = End::after(scene);
        for (number, step) in plan.steps.iter().enumerate() {
            let scene = scene();
            let error = scene.run(Faults::none().at(number)).unwrap_err();
            assert_eq!(error.action, step.action.to_string(), "{name}");
            assert_names_the_cause(&error);
            assert!(error.failed_undos.is_empty(), "{name}: {error}");
            let lost = is_lost_for_good(&scene, plan, number);
            assert_eq!(error.unfinished, lost, "{name}: {error}");
            if lost {
                scene.recover();
                after.assert_is(
                    &essence(&scene.places()),
                    &format!("{name}: {}", error.action),
                );
                continue;
            }
            let differences = differences(before, &scene.places());
            assert_eq!(differences, [], "{name}: {}", error.action);
            assert_eq!(scene.places(), *before, "{name}: {}", error.action);
            let again = scene.places();
            assert_succeeds(&scene, &again);
        }
        let whole = scene();
        // One effect a step: beyond the last step there is nothing left to refuse.
        whole
            .run(Faults::none().at(plan.steps.len()))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(whole.machine.world.effects().len(), plan.steps.len());
        assert_succeeds(&scene(), before);
    });
}

/// Whether a step before `number` is one that nothing undoes.
fn is_lost_for_good(scene: &Scene, plan: &Plan, number: usize) -> bool {
    let effects = scene.machine.world.effects();
    let mut done = plan.steps[..number].iter().zip(&effects);
    done.any(|(step, effect)| {
        matches!(step.undo, Undo::Impossible { .. }) && effect.result == EffectResult::Changed
    })
}

#[test]
fn a_journal_that_cannot_be_written_is_a_refusal_before_any_effect_or_of_the_whole() {
    for (name, scene) in SCENES {
        let whole = End::after(scene);
        for note in 0.. {
            let scene = scene();
            scene.make_runtime();
            let before = scene.places();
            match scene.run(Faults::none().at_note(note)) {
                Err(error) => {
                    assert_names_the_cause(&error);
                    assert_eq!(scene.places(), before, "{name}: {note}");
                }
                // It was the last note, which says that all is done, or one more.
                Ok(()) => {
                    let last = whole.is(&essence(&scene.places()));
                    scene.recover();
                    whole.assert_is(&essence(&scene.places()), &format!("{name}: {note}"));
                    if last {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn a_cause_is_named_whatever_it_is() {
    for errno in [Errno::Permission, Errno::Busy, Errno::InputOutput] {
        in_every_scene(|name, scene, plan, before| {
            let last = plan.steps.len() - 1;
            let scene = scene();
            let error = scene.run(Faults::none().at(last).with(errno)).unwrap_err();
            let text = error.to_string().to_lowercase();
            let why = errno.to_string().to_lowercase();
            let why = why.split(" (").next().unwrap();
            assert!(
                text.contains(why) || text.contains("busy"),
                "{name}: {text}"
            );
            if !is_lost_for_good(&scene, plan, last) {
                assert_eq!(scene.places(), *before, "{name}");
            }
        });
    }
}

/// The undos of the steps before `number` that changed something, printed, in the order they are tried.
fn expected_undos(scene: &Scene, plan: &Plan, number: usize) -> Vec<String> {
    if is_lost_for_good(scene, plan, number) {
        return Vec::new();
    }
    let effects = scene.machine.world.effects();
    let done = plan.steps[..number].iter().zip(&effects);
    let changed = done.filter(|(_, effect)| effect.result == EffectResult::Changed);
    let undo = |undo: &Undo| match undo {
        Undo::By(action) => Some(action.to_string()),
        Undo::Nothing { .. } | Undo::Impossible { .. } => None,
    };
    changed
        .rev()
        .filter_map(|(step, _)| undo(&step.undo))
        .collect()
}

/// How many of these undos the operation stands without: up to that of the records.
fn stands_without(undos: &[String]) -> usize {
    let records = undos.iter().position(|undo| undo.starts_with("store   "));
    records.map_or(0, |at| at + 1)
}

pub(crate) fn printed(failed: &[FailedUndo]) -> Vec<String> {
    failed.iter().map(|undo| undo.action.clone()).collect()
}

pub(crate) fn assert_names_the_cause(error: &ExecutionError) {
    let cause = error.cause.to_string().to_lowercase();
    assert!(cause.contains("no space left"), "{cause}");
    assert!(error.to_string().starts_with(&error.cause.to_string()));
}

#[test]
fn when_every_undo_fails_too_each_is_reported_and_made_up_for_later() {
    in_every_scene(|name, scene, plan, before| {
        let (before_it, after) = (End::before(scene), End::after(scene));
        for number in 0..plan.steps.len() {
            let scene = scene();
            let error = scene.run(Faults::none().from(number)).unwrap_err();
            assert_names_the_cause(&error);
            let mut expected = expected_undos(&scene, plan, number);
            if stands_without(&expected) > 0 {
                expected.truncate(1);
                assert!(error.unfinished, "{name}: {error}");
            }
            assert_eq!(printed(&error.failed_undos), expected, "{name}");
            for undo in &error.failed_undos {
                let line = format!("undoing failed: {}: {}", undo.action, undo.cause);
                assert!(error.to_string().contains(&line), "{error}");
            }
            if !error.unfinished {
                assert_all_left_is_named(name, before, &scene, &error);
            }
            assert_ends(
                name,
                &scene,
                if error.unfinished { &after } else { &before_it },
            );
        }
    });
}

#[test]
fn an_undo_that_fails_alone_is_reported_and_the_others_are_carried_out() {
    in_every_scene(|name, scene, plan, before| {
        let (before_it, after) = (End::before(scene), End::after(scene));
        for number in 0..plan.steps.len() {
            let first = scene();
            first.run(Faults::none().at(number)).unwrap_err();
            let undos = expected_undos(&first, plan, number);
            // Of long plans not all pairs, for there are hundreds.
            let chosen = |nth: usize| plan.steps.len() <= 12 || (number + nth).is_multiple_of(7);
            for (nth, undo) in undos.iter().enumerate().filter(|(nth, _)| chosen(*nth)) {
                let scene = scene();
                let refused = Faults::none().at(number).at(number + 1 + nth);
                let error = scene.run(refused).unwrap_err();
                assert_names_the_cause(&error);
                let failed = printed(&error.failed_undos);
                assert!(failed.contains(undo), "{name}: {failed:?}");
                assert_eq!(
                    error.unfinished,
                    nth < stands_without(&undos),
                    "{name}: {undo}"
                );
                if error.unfinished {
                    assert_ends(name, &scene, &after);
                    continue;
                }
                assert_eq!(
                    scene.machine.world.effects().len(),
                    number + 1 + undos.len(),
                    "{name}: every undo is tried"
                );
                assert_all_left_is_named(name, before, &scene, &error);
                assert_ends(name, &scene, &before_it);
            }
        }
    });
}
