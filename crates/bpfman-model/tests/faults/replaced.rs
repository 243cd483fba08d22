//! Replacements, which are two plans.

use crate::common::differences;
use crate::common::shared::assert_consistent;
use crate::refused::assert_names_the_cause;
use crate::scenes::to_replace;
use bpfman_core::types::Engine;
use bpfman_manager::ManagerError;
use bpfman_model::Faults;

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
