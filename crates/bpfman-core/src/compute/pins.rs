//! Steps that pin and unpin, each with its undo.

use alloc::vec::Vec;

use crate::action::Action;
use crate::action::KernelAction;
use crate::action::LinkReference;
use crate::action::MapReference;
use crate::action::PathTemplate;
use crate::action::Plan;
use crate::action::ProgramReference;
use crate::kernel::PinState;
use crate::kernel::ProgramIdentity;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::MapId;
use crate::types::RuntimeLayout;

/// Makes a directory on a bpffs.
pub(super) fn make_pin_directory(plan: &mut Plan, path: impl Into<PathTemplate>) {
    let path = path.into();
    plan.push(
        Action::Kernel(KernelAction::MakePinDirectory { path: path.clone() }),
        Action::Kernel(KernelAction::RemoveEmptyPinDirectory { path }),
    );
}

/// Makes the directories that are missing above a pin.
pub(super) fn make_parents(plan: &mut Plan, path: &AbsolutePath, pin: &PinState) {
    let PinState::Free { ancestor, .. } = pin else {
        return;
    };
    let parents = core::iter::successors(path.parent(), AbsolutePath::parent);
    let mut missing: Vec<AbsolutePath> = parents
        .take_while(|parent| parent.is_below(ancestor))
        .collect();
    missing.reverse();
    for directory in missing {
        make_pin_directory(plan, directory);
    }
}

/// Removes one that is empty.
pub(super) fn remove_pin_directory(plan: &mut Plan, path: impl Into<PathTemplate>) {
    let path = path.into();
    plan.push(
        Action::Kernel(KernelAction::RemoveEmptyPinDirectory { path: path.clone() }),
        Action::Kernel(KernelAction::MakePinDirectory { path }),
    );
}

/// Pins a program that the plan holds.
pub(super) fn pin_program(
    plan: &mut Plan,
    program: ProgramReference,
    path: impl Into<PathTemplate>,
) {
    let (pin, unpin) = program_pin(program, path.into());
    plan.push(pin, unpin);
}

/// Takes hold of a program that has lost its pin, and pins it where it was.
pub(super) fn pin_program_again(
    plan: &mut Plan,
    program: ProgramIdentity,
    path: &AbsolutePath,
    pin: &PinState,
) {
    plan.push_final(
        Action::Kernel(KernelAction::AdoptProgram { program }),
        "the plan lets go of it when it ends",
    );
    make_parents(plan, path, pin);
    pin_program(plan, program.id.into(), path.clone());
}

/// What is at every path of our bpffs when it has just been mounted.
pub(super) fn on_fresh_bpffs(layout: &RuntimeLayout) -> PinState {
    PinState::Free {
        ancestor: layout.bpffs(),
        on_bpffs: true,
    }
}

/// Unpins a program; the plan holds it from then on.
pub(super) fn unpin_program(
    plan: &mut Plan,
    program: impl Into<ProgramReference>,
    path: impl Into<PathTemplate>,
) {
    let (pin, unpin) = program_pin(program.into(), path.into());
    plan.push(unpin, pin);
}

fn program_pin(program: ProgramReference, path: PathTemplate) -> (Action, Action) {
    (
        Action::Kernel(KernelAction::PinProgram {
            program: program.clone(),
            path: path.clone(),
        }),
        Action::Kernel(KernelAction::UnpinProgram { program, path }),
    )
}

/// Pins a map that the plan holds.
pub(super) fn pin_map(plan: &mut Plan, map: MapReference, path: impl Into<PathTemplate>) {
    let (pin, unpin) = map_pin(map, path.into());
    plan.push(pin, unpin);
}

/// Unpins a map; the plan holds it from then on.
pub(super) fn unpin_map(plan: &mut Plan, map: MapId, path: &AbsolutePath) {
    let (pin, unpin) = map_pin(MapReference::Known(map), path.clone().into());
    plan.push(unpin, pin);
}

fn map_pin(map: MapReference, path: PathTemplate) -> (Action, Action) {
    (
        Action::Kernel(KernelAction::PinMap {
            map: map.clone(),
            path: path.clone(),
        }),
        Action::Kernel(KernelAction::UnpinMap { map, path }),
    )
}

/// Pins a link that the plan holds.
pub(super) fn pin_link(plan: &mut Plan, link: LinkReference, path: &AbsolutePath) {
    let (pin, unpin) = link_pin(link, path);
    plan.push(pin, unpin);
}

/// Unpins a link; the plan holds it from then on.
pub(super) fn unpin_link(plan: &mut Plan, link: KernelLinkId, path: &AbsolutePath) {
    let (pin, unpin) = link_pin(LinkReference::Known(link), path);
    plan.push(unpin, pin);
}

/// Gives the pin of a link another name.
pub(super) fn move_pin(
    plan: &mut Plan,
    link: KernelLinkId,
    from: &AbsolutePath,
    to: &AbsolutePath,
) {
    let moved = |from: &AbsolutePath, to: &AbsolutePath| {
        Action::Kernel(KernelAction::MovePin {
            link,
            from: from.clone(),
            to: to.clone(),
        })
    };
    plan.push(moved(from, to), moved(to, from));
}

fn link_pin(link: LinkReference, path: &AbsolutePath) -> (Action, Action) {
    (
        Action::Kernel(KernelAction::PinLink {
            link,
            path: path.clone(),
        }),
        Action::Kernel(KernelAction::UnpinLink {
            link,
            path: path.clone(),
        }),
    )
}
