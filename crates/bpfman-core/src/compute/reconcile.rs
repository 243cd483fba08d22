//! What the store and the kernel disagree about.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::action::Action;
use crate::action::StoreAction;
use crate::kernel;
use crate::kernel::ProgramIdentity;
use crate::managed::Program;
use crate::types::ProgramId;

/// The ids of stored programs that the kernel no longer has: none of its programs has their id, tag and load
/// time. A recycled id counts for nothing.
#[must_use]
pub fn orphaned_programs(
    stored: &BTreeMap<ProgramId, Program>,
    observed: &[kernel::Program],
) -> Vec<ProgramId> {
    let living: BTreeMap<ProgramId, ProgramIdentity> = observed
        .iter()
        .map(|program| (program.identity.id, program.identity))
        .collect();
    let gone = |program: &&Program| living.get(&program.id()) != Some(&program.identity);
    stored.values().filter(gone).map(Program::id).collect()
}

/// The actions that make the store agree with the kernel. `observed` must be the whole kernel: a partial
/// enumeration is an error of its caller, never an empty kernel.
#[must_use]
pub fn reconcile_actions(
    stored: &BTreeMap<ProgramId, Program>,
    observed: &[kernel::Program],
) -> Vec<Action> {
    let delete = |id: ProgramId| Action::Store(StoreAction::DeleteProgram { program: id.into() });
    orphaned_programs(stored, observed)
        .into_iter()
        .map(delete)
        .collect()
}
