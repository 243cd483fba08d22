//! The plan of an unload.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Change;
use super::DetachRefusal;
use super::DetachSnapshot;
use super::PointFacts;
use super::PointRefusal;
use super::Sharer;
use super::detach::add_detach;
use super::detach::finish_detach;
use super::records::Records;
use super::shared::add_change;
use crate::action::Action;
use crate::action::FileAction;
use crate::action::KernelAction;
use crate::action::MapReference;
use crate::action::Plan;
use crate::action::ProgramReference;
use crate::action::StoreAction;
use crate::kernel::PinState;
use crate::managed::ManagedMap;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::Engine;
use crate::types::MapId;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;

/// What the world looks like before an unload, gathered once.
#[derive(Clone, Debug)]
pub struct UnloadSnapshot {
    /// The record.
    pub program: Program,
    /// What is at its pin.
    pub pin: PinState,
    /// The root of the bpffs that the pin is on: directories above it are not ours to remove.
    pub pin_root: AbsolutePath,
    /// The other programs that are recorded with its map set or a map of it.
    pub sharing: Vec<Sharer>,
    /// Its links that stand alone; they are detached with it.
    pub links: Vec<DetachSnapshot>,
    /// The attach points that its other links leave.
    pub points: Vec<(PointFacts, Change)>,
}

/// Why an unload is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnloadRefusal {
    /// Something else is at the program's pin.
    #[error("the pin {path} of program {id} now holds something else; it is left alone")]
    PinIsNotOurs {
        /// The program.
        id: ProgramId,
        /// Its recorded pin.
        path: AbsolutePath,
    },
    /// One of its links cannot be detached.
    #[error(transparent)]
    Link(#[from] DetachRefusal),
    /// What remains at one of its attach points cannot be made.
    #[error(transparent)]
    Point(#[from] PointRefusal),
}

/// Plans an unload, and the detach of the program's links. What remains at its attach points runs by `engine`.
///
/// The order, and why: pins go first and the record after them, so that whatever is interrupted is still
/// named by its record. What nothing brings back comes last: detaching the links, then removing the files.
///
/// # Errors
/// [`UnloadRefusal::PinIsNotOurs`] when the pin holds another object: identity is id, tag, load time and pin.
/// [`UnloadRefusal::Link`] when the pin of a link does.
pub fn plan_unload(
    snapshot: &UnloadSnapshot,
    engine: Engine,
    layout: &RuntimeLayout,
) -> Result<Plan, UnloadRefusal> {
    let mut plan = Plan::default();
    let records = Records::default();
    add_unload(&mut plan, records, snapshot, engine, layout, |_, _| ())?;
    Ok(plan)
}

/// Appends an unload, with more records that change. `after_unpin` adds what belongs at the place of the program's pin.
pub(super) fn add_unload(
    plan: &mut Plan,
    mut records: Records,
    snapshot: &UnloadSnapshot,
    engine: Engine,
    layout: &RuntimeLayout,
    after_unpin: impl FnOnce(&mut Plan, &mut Records),
) -> Result<(), UnloadRefusal> {
    let program = &snapshot.program;
    let mut attached = Vec::new();
    for link in &snapshot.links {
        attached.extend(add_detach(&mut records, link)?);
    }
    for (facts, change) in &snapshot.points {
        let rebuilt = add_change(plan, facts, change, engine, layout)?;
        attached.extend(rebuilt.ends);
        records.append(rebuilt.records);
    }
    match &snapshot.pin {
        PinState::Program(found) if found.identity == program.identity => {
            unpin_program(plan, program);
        }
        // Removed by hand: what is left of the program goes all the same.
        PinState::Free { .. } => {}
        _ => {
            return Err(UnloadRefusal::PinIsNotOurs {
                id: program.id(),
                path: program.pin_path.clone(),
            });
        }
    }
    after_unpin(plan, &mut records);
    if !program.pin_path.is_below(&layout.bpffs()) {
        remove_empty_parents(plan, &program.pin_path, &snapshot.pin_root);
    }
    unpin_maps(plan, snapshot, layout);
    records.push(
        StoreAction::DeleteProgram { id: program.id() },
        StoreAction::SaveProgram {
            program: Box::new(program.clone()),
        },
    );
    records.add(plan);
    finish_detach(plan, attached);
    if let Some(directory) = program.load.object_path.parent() {
        plan.push_final(
            Action::Files(FileAction::RemoveTree {
                path: directory.into(),
            }),
            "the last step; files do not come back",
        );
    }
    Ok(())
}

fn unpin_program(plan: &mut Plan, program: &Program) {
    let reference = ProgramReference::Known(program.id());
    let path = program.pin_path.clone();
    plan.push(
        Action::Kernel(KernelAction::UnpinProgram {
            program: reference.clone(),
            path: path.clone().into(),
        }),
        Action::Kernel(KernelAction::PinProgram {
            program: reference,
            path: path.into(),
        }),
    );
}

fn remove_empty_parents(plan: &mut Plan, pin: &AbsolutePath, root: &AbsolutePath) {
    let parents = core::iter::successors(pin.parent(), AbsolutePath::parent);
    for directory in parents.take_while(|parent| parent.is_below(root)) {
        remove_pin_directory(plan, directory);
    }
}

/// A map stays pinned until its last user goes, in whatever set it is.
fn unpin_maps(plan: &mut Plan, snapshot: &UnloadSnapshot, layout: &RuntimeLayout) {
    let still_used = |map: &ManagedMap| snapshot.sharing.iter().any(|other| other.uses(map));
    let mut emptied: Vec<AbsolutePath> = Vec::new();
    for map in snapshot.program.maps.iter().filter(|map| !still_used(map)) {
        let Some(pin) = map.pin_path.clone() else {
            continue;
        };
        unpin_map(plan, map.id, &pin);
        if let Some(directory) = pin
            .parent()
            .filter(|parent| parent.is_below(&layout.bpffs()))
            && !emptied.contains(&directory)
        {
            emptied.push(directory);
        }
    }
    for directory in emptied {
        remove_pin_directory(plan, directory);
    }
}

fn unpin_map(plan: &mut Plan, id: MapId, pin: &AbsolutePath) {
    let map = MapReference::Known(id);
    plan.push(
        Action::Kernel(KernelAction::UnpinMap {
            map: map.clone(),
            path: pin.to_owned().into(),
        }),
        Action::Kernel(KernelAction::PinMap {
            map,
            path: pin.to_owned().into(),
        }),
    );
}

fn remove_pin_directory(plan: &mut Plan, directory: AbsolutePath) {
    plan.push(
        Action::Kernel(KernelAction::RemoveEmptyPinDirectory {
            path: directory.clone().into(),
        }),
        Action::Kernel(KernelAction::MakePinDirectory {
            path: directory.into(),
        }),
    );
}
