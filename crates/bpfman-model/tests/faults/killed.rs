//! Every process is killed at each step of an operation, before and after it.

use bpfman_core::compute::Repairs;
use bpfman_model::Crash;
use bpfman_model::Faults;
use bpfman_model::Places;

use crate::common::differences;
use crate::common::essence;
use crate::scenes::REPLACEMENTS;
use crate::scenes::SCENES;
use crate::scenes::Scene;

/// An end that an operation can have: as it is, and with what somebody else had broken before repaired, as a recovery does.
pub(crate) struct End {
    plain: Places,
    repaired: Places,
}

impl End {
    /// As if it had not begun.
    pub(crate) fn before(scene: fn() -> Scene) -> Self {
        Self::of(|| {
            let scene = scene();
            scene.make_runtime();
            scene
        })
    }

    /// As an operation leaves it that nothing disturbs.
    pub(crate) fn after(scene: fn() -> Scene) -> Self {
        Self::of(|| {
            let scene = scene();
            scene.run(Faults::none()).unwrap();
            scene
        })
    }

    fn of(end: impl Fn() -> Scene) -> Self {
        let plain = essence(&end().places());
        let repaired = end();
        repaired.machine.world.inject(Faults::none());
        let machine = &repaired.machine;
        machine
            .manage(|manager| manager.reconcile(Repairs::default()))
            .unwrap();
        Self {
            plain,
            repaired: essence(&repaired.places()),
        }
    }

    pub(crate) fn is(&self, found: &Places) -> bool {
        self.plain == *found || self.repaired == *found
    }

    pub(crate) fn assert_is(&self, found: &Places, what: &str) {
        if !self.is(found) {
            assert_eq!(differences(&self.repaired, found), [], "{what}");
            assert_eq!(*found, self.repaired, "{what}");
        }
    }
}

/// That another process brings what was begun to this end.
pub(crate) fn assert_ends(name: &str, scene: &Scene, expected: &End) {
    scene.recover();
    expected.assert_is(&essence(&scene.places()), name);
}

#[test]
fn a_process_killed_at_any_step_leaves_what_was_before_or_what_comes_after() {
    let mut kills = 0;
    for (name, scene) in SCENES.into_iter().chain(REPLACEMENTS) {
        let whole = scene();
        whole.make_runtime();
        whole.run(Faults::none()).unwrap();
        let effects = whole.machine.world.effects();
        let (before, after) = (End::before(scene), End::after(scene));
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
                if after.is(&found) {
                    forward = true;
                } else {
                    assert!(!forward, "{what}: it went back after a commit point");
                    before.assert_is(&found, &what);
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
