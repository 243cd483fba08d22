//! The plan of a replacement: a new version of a program takes over from the old one.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::JoinedAs;
use super::Joining;
use super::UnloadRefusal;
use super::UnloadSnapshot;
use super::ending::Ending;
use super::is_ours;
use super::pins::pin_program;
use super::pins::unpin_program;
use super::records::Records;
use super::shared::Change;
use super::shared::PointFacts;
use super::shared::PointRefusal;
use super::shared::add_change;
use super::unload::add_unload;
use crate::action::Action;
use crate::action::FileAction;
use crate::action::KernelAction;
use crate::action::LinkReference;
use crate::action::PinnedProgram;
use crate::action::Plan;
use crate::action::ProgramReference;
use crate::action::ProgramSource;
use crate::action::StoreAction;
use crate::kernel::PinState;
use crate::managed::Link;
use crate::managed::LoadSpec;
use crate::managed::ObjectSource;
use crate::managed::Program;
use crate::managed::ProgramRequest;
use crate::types::AbsolutePath;
use crate::types::LinkId;
use crate::types::LinkKind;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;

/// What there is when the new version is loaded and nothing runs it yet.
#[derive(Clone, Debug)]
pub struct ReplaceSnapshot {
    /// The old version, as for its unload; without its links.
    pub old: UnloadSnapshot,
    /// The new version.
    pub new: Program,
    /// The attach points that the old one shares.
    pub points: Vec<(PointFacts, Change)>,
    /// Its links that stand alone, and what is at their pins.
    pub links: Vec<(Link, Option<PinState>)>,
}

/// Why a program is not replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceRefusal {
    /// The kernel cannot give a link of this kind another program.
    #[error(
        "{}: the kernel cannot give such links another program; detach them first",
        kinds(.0)
    )]
    NotSwappable(Vec<(LinkId, LinkKind)>),
    /// A link is not at its pin any more.
    #[error("link {0} is no longer at its pin; detach it first")]
    LinkGone(LinkId),
    /// The old version cannot be unloaded.
    #[error(transparent)]
    Unload(#[from] UnloadRefusal),
    /// What runs at one of its attach points cannot be made anew.
    #[error(transparent)]
    Point(#[from] PointRefusal),
}

fn kinds(links: &[(LinkId, LinkKind)]) -> String {
    let words: Vec<String> = links
        .iter()
        .map(|(id, kind)| format!("link {id} is of kind {kind}"))
        .collect();
    words.join(", ")
}

/// Refuses a program with links that cannot be given another one, before anything is loaded.
///
/// # Errors
/// [`ReplaceRefusal::NotSwappable`].
pub fn check_replace(links: &[Link]) -> Result<(), ReplaceRefusal> {
    let fixed: Vec<(LinkId, LinkKind)> = links
        .iter()
        .filter(|link| link.details.membership().is_none() && !link.kind().can_be_updated())
        .map(|link| (link.id, link.kind()))
        .collect();
    match fixed.is_empty() {
        true => Ok(()),
        false => Err(ReplaceRefusal::NotSwappable(fixed)),
    }
}

/// The load of a new version: as the old one was, with its maps.
#[must_use]
pub fn new_version(old: &Program, source: ObjectSource, other_maps: Vec<String>) -> LoadSpec {
    let globals = old.load.global_data.iter();
    LoadSpec {
        source,
        programs: [ProgramRequest {
            name: old.load.program_name.clone(),
            program_type: Some(old.load.program_type),
            attach_function: old.load.attach_function.clone(),
        }]
        .to_vec(),
        global_data: globals
            .map(|(name, value)| (name.clone(), value.0.clone()))
            .collect(),
        map_sizes: old.load.map_sizes.clone(),
        metadata: old.metadata.clone(),
        map_owner_id: Some(old.id()),
        replaces_owner: true,
        other_maps,
        engine: old.load.engine,
        engine_asked: false,
        pin_path: None,
    }
}

/// Plans the take-over: every link gets the new version, then the old one is unloaded. Until then all of it can be
/// undone.
///
/// # Errors
/// A [`ReplaceRefusal`] that the snapshot tells.
pub fn plan_replace(
    snapshot: &ReplaceSnapshot,
    joined: JoinedAs,
    layout: &RuntimeLayout,
) -> Result<Plan, ReplaceRefusal> {
    let new = &snapshot.new;
    let old = snapshot.old.program.id();
    let mut plan = Plan::new(format!("the replacement of program {old} by {}", new.id()));
    let mut ending = Ending::default();
    let joining = Joining::All(joined);
    for (facts, change) in &snapshot.points {
        ending.append(add_change(&mut plan, facts, change, joining, layout)?);
    }
    for (link, pin) in &snapshot.links {
        swap(
            &mut plan,
            &mut ending.records,
            link,
            pin.as_ref(),
            &snapshot.old.program,
            new,
        )?;
    }
    let old_pin = &snapshot.old.program.pin_path;
    let moved = !old_pin.is_below(&layout.bpffs());
    let after_unpin = |ending: &mut Ending| {
        if moved {
            move_pin(ending, new, old_pin);
        }
    };
    add_unload(
        &mut plan,
        ending,
        &snapshot.old,
        joining,
        layout,
        after_unpin,
    )?;
    Ok(plan)
}

/// Gives a link that stands alone the new version.
fn swap(
    plan: &mut Plan,
    records: &mut Records,
    link: &Link,
    pin: Option<&PinState>,
    old: &Program,
    new: &Program,
) -> Result<(), ReplaceRefusal> {
    let there = match pin {
        Some(PinState::Link(found)) if is_ours(link, found) => link.pin_path.clone(),
        _ => None,
    };
    let (Some(path), Some(id)) = (there, link.kernel) else {
        return Err(ReplaceRefusal::LinkGone(link.id));
    };
    let reference = |id: ProgramId| ProgramReference::Known(id);
    plan.push(
        Action::Kernel(KernelAction::UpdateLink {
            link: LinkReference::Known(id),
            path: path.clone(),
            from: reference(old.id()),
            to: ProgramSource::Pinned {
                program: new.id(),
                path: new.pin_path.clone(),
            },
        }),
        Action::Kernel(KernelAction::UpdateLink {
            link: LinkReference::Known(id),
            path,
            from: reference(new.id()),
            to: ProgramSource::Pinned {
                program: old.id(),
                path: old.pin_path.clone(),
            },
        }),
    );
    let record = Link {
        program: new.id(),
        ..link.clone()
    };
    records.push(
        StoreAction::SaveLink {
            link: Box::new(record),
        },
        StoreAction::SaveLink {
            link: Box::new(link.clone()),
        },
    );
    Ok(())
}

/// Pins the new version where the user had the old one.
fn move_pin(ending: &mut Ending, new: &Program, path: &AbsolutePath) {
    ending.after.push_final(
        Action::Kernel(KernelAction::HoldProgram(PinnedProgram {
            program: new.id(),
            path: new.pin_path.clone(),
        })),
        "the plan lets go of it when it ends",
    );
    pin_program(&mut ending.after, new.id().into(), path.clone());
    unpin_program(&mut ending.after, new.id(), new.pin_path.clone());
    let moved = Program {
        pin_path: path.clone(),
        ..new.clone()
    };
    ending.after.push_final(
        Action::Files(FileAction::SaveRecord {
            path: moved.record_path(),
            program: Box::new(moved.clone()),
        }),
        "a copy of what is recorded",
    );
    ending.records.push(
        StoreAction::SaveProgram {
            program: Box::new(moved),
        },
        StoreAction::SaveProgram {
            program: Box::new(new.clone()),
        },
    );
}
