//! Every process is killed at each step of an operation, before and after it.

use bpfman_model::Crash;
use bpfman_model::Faults;
use bpfman_model::Places;

use crate::common::differences;
use crate::common::essence;
use crate::scenes::REPLACEMENTS;
use crate::scenes::SCENES;
use crate::scenes::Scene;

/// What an operation that nothing disturbs leaves.
pub(crate) fn after(scene: fn() -> Scene) -> Places {
    let scene = scene();
    scene.run(Faults::none()).unwrap();
    scene.places()
}

/// That another process brings what was begun to this end.
pub(crate) fn assert_ends(name: &str, scene: &Scene, expected: &Places) {
    scene.recover();
    let (found, expected) = (essence(&scene.places()), essence(expected));
    assert_eq!(differences(&expected, &found), [], "{name}");
    assert_eq!(found, expected, "{name}");
}

#[test]
fn a_process_killed_at_any_step_leaves_what_was_before_or_what_comes_after() {
    let mut kills = 0;
    for (name, scene) in SCENES.into_iter().chain(REPLACEMENTS) {
        let whole = scene();
        whole.make_runtime();
        let before = whole.places();
        whole.run(Faults::none()).unwrap();
        let effects = whole.machine.world.effects();
        let after = essence(&whole.places());
        let mut forward = false;
        for (number, effect) in effects.iter().enumerate() {
            for crash in [Crash::Before(number), Crash::After(number)] {
                let scene = scene();
                scene.make_runtime();
                // Nobody hears what became of it.
                let _ = scene.try_run(Faults::none().crashing(crash));
                scene.recover();
                let found = essence(&scene.places());
                let what = format!("{name}: {crash:?}: {}", effect.action);
                if found == after {
                    forward = true;
                } else {
                    assert!(!forward, "{what}: it went back after a point of no return");
                    assert_eq!(differences(&essence(&before), &found), [], "{what}");
                    assert_eq!(found, essence(&before), "{what}");
                }
                let again = scene.places();
                scene.recover();
                assert_eq!(scene.places(), again, "{what}: the second time");
                kills += 1;
            }
        }
        assert!(forward, "{name}");
    }
    println!("{kills} kills");
    assert!(kills > 1_000, "{kills}");
}

#[test]
fn an_operation_whose_helper_is_killed_at_any_step_is_undone_or_done() {
    let mut kills = 0;
    for (name, scene) in SCENES.into_iter().chain(REPLACEMENTS) {
        let whole = scene();
        whole.make_runtime();
        let before = essence(&whole.places());
        whole.run(Faults::none()).unwrap();
        let effects = whole.machine.world.effects();
        let after = essence(&whole.places());
        for (number, effect) in effects.iter().enumerate() {
            for crash in [Crash::Before(number), Crash::After(number)] {
                let scene = scene();
                scene.make_runtime();
                let done = scene.try_run(Faults::none().losing_the_helper(crash));
                let what = format!("{name}: {crash:?}: {}", effect.action);
                let expected = if done.is_ok() { &after } else { &before };
                let found = essence(&scene.places());
                assert_eq!(differences(expected, &found), [], "{what}");
                assert_eq!(found, *expected, "{what}");
                kills += 1;
            }
        }
    }
    assert!(kills > 1_000, "{kills}");
}
