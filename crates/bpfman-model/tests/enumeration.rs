//! What the kernel refuses to tell is in the answer: never is a program called gone because nobody could look.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::managed::Program;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::Detail;
use bpfman_manager::Listing;
use bpfman_manager::ManagerError;
use bpfman_model::Faults;

use self::common::Machine;

/// A program of ours, one of somebody else, and another of ours, in the order of their ids.
fn three_programs() -> (Machine, [Program; 2], ProgramId) {
    let machine = Machine::new();
    let first = machine.load_pass();
    let foreign = machine.world.load_foreign("foreign").id;
    let second = machine.load_user_of(first.id());
    (machine, [first, second], foreign)
}

fn list_all(machine: &Machine, faults: Faults) -> Listing {
    machine.world.inject(faults);
    machine.manage(|manager| manager.list_all()).unwrap()
}

fn list(machine: &Machine, faults: Faults) -> Listing {
    machine.world.inject(faults);
    machine
        .manage(|manager| manager.list(Detail::Info))
        .unwrap()
}

/// The ids of the records, and of the kernel's programs, line by line.
fn ids(listing: &Listing) -> Vec<(Option<u32>, Option<u32>)> {
    let programs = listing.programs.iter();
    programs
        .map(|(record, kernel)| {
            (
                record.as_ref().map(|record| record.id().0),
                kernel.as_ref().map(|program| program.identity.id.0),
            )
        })
        .collect()
}

fn assert_refused(listing: &Listing) {
    let kinds: Vec<_> = listing.refused.iter().map(|error| error.kind).collect();
    assert_eq!(kinds, [KernelErrorKind::Permission]);
}

#[test]
fn a_whole_list_tells_ours_from_others_and_refuses_nothing() {
    let (machine, ours, foreign) = three_programs();
    let [first, second] = ours.map(|record| record.id().0);
    let listing = list_all(&machine, Faults::none());
    assert!(listing.refused.is_empty());
    let expected = [
        (Some(first), Some(first)),
        (None, Some(foreign.0)),
        (Some(second), Some(second)),
    ];
    assert_eq!(ids(&listing), expected);
}

#[test]
fn an_enumeration_that_stops_keeps_what_it_saw_and_says_that_it_stopped() {
    let (machine, ours, foreign) = three_programs();
    let [first, second] = ours.map(|record| record.id().0);
    let whole = [
        (Some(first), first),
        (None, foreign.0),
        (Some(second), second),
    ];
    for seen in 0..=whole.len() {
        let listing = list_all(&machine, Faults::none().enumerating_after(seen));
        assert_refused(&listing);
        let line = |(at, (record, kernel)): (usize, &(Option<u32>, u32))| {
            let line = (*record, (at < seen).then_some(*kernel));
            (line != (None, None)).then_some(line)
        };
        let expected: Vec<_> = whole.iter().enumerate().filter_map(line).collect();
        assert_eq!(ids(&listing), expected, "after {seen}");
    }
    // The kernel says the end only to who asks once more.
    let listing = list_all(&machine, Faults::none().enumerating_after(whole.len() + 1));
    assert!(listing.refused.is_empty());
}

#[test]
fn a_program_that_may_not_be_read_does_not_end_the_list() {
    let (machine, ours, foreign) = three_programs();
    let [first, second] = ours.map(|record| record.id());
    let listing = list_all(&machine, Faults::none().reading(first));
    assert_refused(&listing);
    let (first, second) = (first.0, second.0);
    let expected = [
        (Some(first), None),
        (None, Some(foreign.0)),
        (Some(second), Some(second)),
    ];
    assert_eq!(ids(&listing), expected);
}

#[test]
fn a_pin_that_may_not_be_looked_at_is_a_refusal_in_the_list_of_ours() {
    let (machine, [first, second], _) = three_programs();
    let faults = Faults::none().looking_at(first.pin_path.clone());
    let listing = list(&machine, faults);
    assert_refused(&listing);
    let (first, second) = (first.id().0, second.id().0);
    assert_eq!(
        ids(&listing),
        [(Some(first), None), (Some(second), Some(second))]
    );
}

#[test]
fn a_program_without_its_pin_that_may_not_be_read_is_a_refusal_too() {
    let (machine, [first, second], _) = three_programs();
    let faults = Faults::none().reading(first.id());
    // While its pin is there, nobody asks for it by id.
    assert!(list(&machine, faults.clone()).refused.is_empty());
    machine.world.unlink(&first.pin_path).unwrap();
    let listing = list(&machine, faults);
    assert_refused(&listing);
    let (first, second) = (first.id().0, second.id().0);
    assert_eq!(
        ids(&listing),
        [(Some(first), None), (Some(second), Some(second))]
    );
}

#[test]
fn an_unload_stops_where_it_may_not_look_and_a_get_says_what_it_does_not_know() {
    let (machine, [first, second], _) = three_programs();
    for pin in [&first.pin_path, &second.pin_path] {
        // An unload has to know which of those that share its maps are alive.
        machine.world.inject(Faults::none().looking_at(pin.clone()));
        let before = machine.world.places();
        let refusal = machine.unload(first.id());
        assert!(
            matches!(&refusal, Err(ManagerError::Kernel(error)) if error.kind == KernelErrorKind::Permission),
            "{refusal:?}"
        );
        let status = machine.manage(|manager| manager.get(first.id())).unwrap();
        let looked_at = *pin == first.pin_path;
        assert_eq!(status.unread.is_some(), looked_at);
        assert_eq!(status.kernel.is_none(), looked_at);
        assert_eq!(machine.world.places(), before);
    }
}
