//! The plan of an unload.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::Change;
use super::DetachRefusal;
use super::DetachSnapshot;
use super::Joining;
use super::PointFacts;
use super::PointRefusal;
use super::Sharer;
use super::detach::add_detach;
use super::ending::Ending;
use super::pins::remove_pin_directory;
use super::pins::unpin_map;
use super::pins::unpin_program;
use super::shared::add_change;
use crate::action::Action;
use crate::action::FileAction;
use crate::action::Plan;
use crate::action::StoreAction;
use crate::kernel::PinState;
use crate::managed::ManagedMap;
use crate::managed::Program;
use crate::types::AbsolutePath;
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

/// Plans an unload, and the detach of the program's links. `joining` says who runs of what remains at its attach
/// points.
///
/// The order, and why: what remains at its attach points takes over first, which can be undone while everything is
/// pinned. Then the records go, and the pins after them, for what was pinned dies with the process that unpins it. What
/// nothing brings back comes last: detaching the links, then removing the files.
///
/// # Errors
/// [`UnloadRefusal::PinIsNotOurs`] when the pin holds another object: identity is id, tag, load time and pin.
/// [`UnloadRefusal::Link`] when the pin of a link does.
pub fn plan_unload(
    snapshot: &UnloadSnapshot,
    joining: Joining<'_>,
    layout: &RuntimeLayout,
) -> Result<Plan, UnloadRefusal> {
    let mut plan = Plan::new(format!("the unload of program {}", snapshot.program.id()));
    let ending = Ending::default();
    add_unload(&mut plan, ending, snapshot, joining, layout, |_| ())?;
    Ok(plan)
}

/// Appends an unload, with more that belongs to its end. `after_unpin` adds what belongs at the place of the program's
/// pin.
pub(super) fn add_unload(
    plan: &mut Plan,
    mut ending: Ending,
    snapshot: &UnloadSnapshot,
    joining: Joining<'_>,
    layout: &RuntimeLayout,
    after_unpin: impl FnOnce(&mut Ending),
) -> Result<(), UnloadRefusal> {
    let program = &snapshot.program;
    for link in &snapshot.links {
        add_detach(&mut ending, link)?;
    }
    for (facts, change) in &snapshot.points {
        ending.append(add_change(plan, facts, change, joining, layout)?);
    }
    match &snapshot.pin {
        PinState::Program(found) if found.identity == program.identity => {
            unpin_program(&mut ending.after, program.id(), program.pin_path.clone());
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
    after_unpin(&mut ending);
    if !program.pin_path.is_below(&layout.bpffs()) {
        remove_empty_parents(&mut ending.after, &program.pin_path, &snapshot.pin_root);
    }
    unpin_maps(&mut ending.after, snapshot, layout);
    ending.records.push(
        StoreAction::DeleteProgram {
            program: program.id().into(),
        },
        StoreAction::SaveProgram {
            program: Box::new(program.clone()),
        },
    );
    ending.add(plan);
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
