//! The kernel gives an id away again. An id alone proves nothing: not that a program is ours, nor that a map set is.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_core::compute::UnloadRefusal;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::interfaces::Detail;
use bpfman_manager::ManagerError;

use self::common::Machine;
use self::common::PROGRAMS;
use self::common::path;
use self::common::spec;
use self::common::taking_maps_of;

/// A machine that lost our program, and whose kernel gave its id to another.
struct Recycled {
    machine: Machine,
    lost: Program,
    new: ProgramIdentity,
}

/// Somebody else's program took the id.
fn taken_by_a_stranger() -> Recycled {
    let machine = Machine::new();
    let lost = lose_program(&machine);
    let new = machine.world.load_foreign("pass");
    Recycled { machine, lost, new }
}

/// The same program, loaded again by another bpfman, took the id: only the time differs.
fn taken_by_its_twin() -> Recycled {
    let machine = Machine::new();
    let lost = lose_program(&machine);
    let other = RuntimeLayout::new(path("/run/other"));
    let loaded = machine.manage_under(&other, |manager| manager.load(&spec(&["pass"]), PROGRAMS));
    let new = loaded.unwrap()[0].identity;
    assert_eq!(new.tag, lost.identity.tag);
    Recycled { machine, lost, new }
}

fn lose_program(machine: &Machine) -> Program {
    let lost = machine.load_pass();
    machine.world.unlink(&lost.pin_path).unwrap();
    machine.world.set_next_program_id(lost.id().0);
    lost
}

fn in_both_cases(test: impl Fn(&Recycled)) {
    for recycled in [taken_by_a_stranger(), taken_by_its_twin()] {
        assert_eq!(recycled.new.id, recycled.lost.id());
        assert_ne!(recycled.new, recycled.lost.identity);
        test(&recycled);
    }
}

#[test]
fn no_view_takes_another_program_for_ours() {
    in_both_cases(|Recycled { machine, lost, new }| {
        let status = machine.manage(|manager| manager.get(lost.id())).unwrap();
        assert_eq!((status.kernel, status.pin_present), (None, false));

        let listing = machine
            .manage(|manager| manager.list(Detail::Full))
            .unwrap();
        assert_eq!(listing.programs, [(Some(lost.clone()), None)]);

        let listing = machine.manage(|manager| manager.list_all()).unwrap();
        assert!(listing.refused.is_empty());
        let lines: Vec<_> = listing.programs.into_iter().collect();
        let ours = lines.iter().filter(|(record, _)| record.is_some());
        assert!(ours.clone().all(|(_, kernel)| kernel.is_none()));
        assert_eq!(ours.count(), 1);
        let is_new = |line: &(Option<Program>, Option<bpfman_core::kernel::Program>)| {
            line.1.as_ref().map(|program| program.identity) == Some(*new)
        };
        assert!(lines.iter().any(is_new));
    });
}

#[test]
fn unload_removes_what_is_left_of_ours_and_leaves_the_other_alone() {
    in_both_cases(|Recycled { machine, lost, new }| {
        machine.unload(lost.id()).unwrap();
        let after = machine.world.places();
        assert_eq!(after.programs[&new.id].identity, *new);
        assert!(after.records().iter().all(|record| record != lost));
        let ours = machine.layout.bpffs();
        let left = after.bpffs[&ours].keys().map(AbsolutePath::as_str);
        assert_eq!(left.collect::<Vec<_>>(), ["/run/bpfman/fs/maps"]);
        assert!(!after.paths().contains(&lost.load.object_path));
        assert!(matches!(
            machine.unload(lost.id()),
            Err(ManagerError::NotManaged { .. })
        ));
    });
}

#[test]
fn unload_is_refused_while_the_other_is_at_our_pin() {
    in_both_cases(|Recycled { machine, lost, new }| {
        machine.world.pin_foreign(*new, &lost.pin_path).unwrap();
        let before = machine.world.places();
        let refusal = machine.unload(lost.id()).unwrap_err();
        let refusal = match refusal {
            ManagerError::UnloadRefused(refusal) => refusal,
            other => panic!("{other}"),
        };
        assert!(matches!(refusal, UnloadRefusal::PinIsNotOurs { .. }));
        assert_eq!(machine.world.places(), before);
    });
}

/// A machine whose store still names a user of map set 1, though the kernel lost all of it: the program by hand, and
/// the maps too. The ids of both are free again.
fn with_stale_user_of_set_1() -> (Machine, Program) {
    let machine = Machine::new();
    let owner = machine.load_pass();
    let user = machine.load_user_of(owner.id());
    assert_eq!((owner.id(), user.map_set()), (ProgramId(1), ProgramId(1)));
    machine.unload(owner.id()).unwrap();
    machine.world.unlink(&user.pin_path).unwrap();
    for pin in user.maps.iter().filter_map(|map| map.pin_path.as_ref()) {
        machine.world.unlink(pin).unwrap();
    }
    assert!(machine.world.places().maps.is_empty());
    machine.world.set_next_program_id(1);
    (machine, user)
}

#[test]
fn a_stale_record_of_a_set_with_the_same_id_keeps_no_maps_pinned() {
    for maps_recycled_too in [false, true] {
        let (machine, stale) = with_stale_user_of_set_1();
        if maps_recycled_too {
            machine.world.set_next_map_id(1);
        }
        let new = machine.load_pass();
        assert_eq!(new.map_set(), stale.map_set());
        let same_pins = new
            .maps
            .iter()
            .zip(&stale.maps)
            .all(|(a, b)| a.pin_path == b.pin_path);
        assert!(same_pins);
        assert_eq!(new.maps[0].id == stale.maps[0].id, maps_recycled_too);

        let status = machine.manage(|manager| manager.get(new.id())).unwrap();
        assert_eq!(status.map_users, [new.id()]);

        machine.unload(new.id()).unwrap();
        let after = machine.world.places();
        assert!(after.maps.is_empty(), "{:?}", after.bpffs);
        assert!(!after.paths().contains(&new.map_directory));
    }
}

#[test]
fn an_owners_id_that_is_given_away_while_its_set_is_used_harms_neither() {
    let machine = Machine::new();
    let owner = machine.load_pass();
    let user = machine.load_user_of(owner.id());
    machine.unload(owner.id()).unwrap();
    machine.world.set_next_program_id(owner.id().0);
    let before = machine.world.places();

    // The new program's maps would go where the user's are.
    let error = machine.try_load(&spec(&["pass"])).unwrap_err();
    let error = match error {
        ManagerError::Execution(error) => error,
        other => panic!("{other}"),
    };
    assert!(
        matches!(&error.cause, ActionError::Kernel(cause) if cause.kind == KernelErrorKind::Exists)
    );
    assert!(error.failed_undos.is_empty());
    assert_eq!(machine.world.places(), before);

    // The kernel does not give the same id twice in a row.
    let new = machine.load_pass();
    let status = machine.manage(|manager| manager.get(user.id())).unwrap();
    assert_eq!(status.map_users, [user.id()]);
    machine.unload(user.id()).unwrap();
    assert!(!machine.world.places().paths().contains(&user.map_directory));
    machine.unload(new.id()).unwrap();
    assert!(machine.world.places().maps.is_empty());
}

#[test]
fn a_user_that_is_given_the_id_of_its_sets_late_owner_keeps_the_set() {
    let machine = Machine::new();
    let owner = machine.load_pass();
    let user = machine.load_user_of(owner.id());
    machine.unload(owner.id()).unwrap();
    machine.world.set_next_program_id(owner.id().0);
    // Only a new version of a program takes the maps of one that has them from another.
    let version = LoadSpec {
        replaces_owner: true,
        ..taking_maps_of(user.id())
    };
    let second = machine.load(&version).remove(0);
    assert_eq!(
        (second.id(), second.map_set()),
        (owner.id(), user.map_set())
    );

    let status = machine.manage(|manager| manager.get(user.id())).unwrap();
    assert_eq!(status.map_users, [second.id(), user.id()]);
    machine.unload(user.id()).unwrap();
    let counters = second.maps[0].pin_path.clone().unwrap();
    assert!(machine.world.places().paths().contains(&counters));
    machine.unload(second.id()).unwrap();
    assert!(machine.world.places().maps.is_empty());
}
