//! Records of programs against the kernel.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Finding;
use super::Ground;
use super::Repair;
use super::Rule;
use crate::action::Plan;
use crate::action::StoreAction;
use crate::compute::Joining;
use crate::compute::UnloadSnapshot;
use crate::compute::pins::pin_program_again;
use crate::compute::plan_unload;
use crate::kernel;
use crate::kernel::PinState;
use crate::managed::Program;

/// A record and what the kernel has of it.
#[derive(Clone, Debug)]
pub struct ObservedProgram {
    /// The record.
    pub record: Program,
    /// What is at its pin.
    pub pin: PinState,
    /// What the kernel has under its id, asked when the pin does not hold it.
    pub by_id: Option<kernel::Program>,
    /// Whether our copy of its object is there.
    pub object_present: bool,
}

/// What the kernel has of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramState {
    /// It is at its pin.
    Pinned,
    /// It lives, and nothing is at its pin.
    Unpinned,
    /// It lives, and something else is at its pin.
    PinTaken,
    /// The kernel has no such program.
    Missing,
}

impl ObservedProgram {
    /// What the kernel has of it: an id alone proves nothing.
    #[must_use]
    pub fn state(&self) -> ProgramState {
        if self.record.is_at(&self.pin) {
            return ProgramState::Pinned;
        }
        let lives = |found: &kernel::Program| found.identity == self.record.identity;
        match (self.by_id.as_ref().is_some_and(lives), &self.pin) {
            (false, _) => ProgramState::Missing,
            (true, PinState::Free { .. }) => ProgramState::Unpinned,
            (true, _) => ProgramState::PinTaken,
        }
    }
}

/// Looks at one record. `gone` is what an unload would find, for a program that is gone.
pub(super) fn examine(
    program: &ObservedProgram,
    gone: Option<&UnloadSnapshot>,
    ground: Ground<'_>,
) -> Vec<Finding> {
    let record = &program.record;
    let finding = |rule, repair| Finding::new(rule, subject(record), repair);
    let mut findings = Vec::new();
    match program.state() {
        ProgramState::Pinned => {}
        ProgramState::Unpinned => {
            let plan = pin_again(program, ground);
            findings.push(finding(Rule::ProgramUnpinned, plan.into()));
        }
        ProgramState::PinTaken => {
            let why = format!("something else is at {}", record.pin_path);
            findings.push(finding(Rule::ProgramPinTaken, Repair::Nothing(why)));
        }
        ProgramState::Missing => {
            let repair = gone.map_or(Repair::Later, |gone| forget(gone, ground));
            return [finding(Rule::ProgramGone, repair)].to_vec();
        }
    }
    if !program.object_present {
        let why = format!("{} cannot be brought back", record.load.object_path);
        findings.push(finding(Rule::ObjectLost, Repair::Nothing(why)));
    }
    findings
}

/// Writes a record again.
pub(super) fn record_again(record: &Program) -> Finding {
    let mut plan = Plan::new(format!("recording program {} again", record.id()));
    plan.commit(
        StoreAction::SaveProgram {
            program: Box::new(record.clone()),
        },
        StoreAction::DeleteProgram {
            program: record.id().into(),
        },
    );
    Finding::new(Rule::RecordLost, subject(record), plan.into())
}

fn subject(record: &Program) -> String {
    format!("program {} ({})", record.id(), record.load.program_name)
}

/// An unload of what is left. Whatever is at the pin is not ours.
fn forget(snapshot: &UnloadSnapshot, ground: Ground<'_>) -> Repair {
    let snapshot = UnloadSnapshot {
        pin: PinState::Free {
            ancestor: snapshot.pin_root.clone(),
            on_bpffs: true,
        },
        ..snapshot.clone()
    };
    let joining = Joining::Possible(ground.refused, ground.joined);
    Repair::of(plan_unload(&snapshot, joining, ground.layout))
}

fn pin_again(program: &ObservedProgram, ground: Ground<'_>) -> Plan {
    let record = &program.record;
    let mut plan = Plan::new(format!("pinning program {} again", record.id()));
    let pin = ground.mount(&mut plan, &record.pin_path, &program.pin);
    pin_program_again(&mut plan, record.identity, &record.pin_path, &pin);
    plan
}
