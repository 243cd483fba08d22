//! The plan of a replacement: a new version of a program takes over from the old one.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Handover;
use super::JoinedAs;
use super::Joining;
use super::LinkToReplace;
use super::UnloadSnapshot;
use super::ending::Ending;
use super::handover::Replaced;
use super::pins::pin_program;
use super::pins::unpin_program;
use super::replace_refusal::ReplaceRefusal;
use super::shared::Change;
use super::shared::PointFacts;
use super::shared::add_change;
use super::unload::add_unload;
use crate::action::Action;
use crate::action::FileAction;
use crate::action::KernelAction;
use crate::action::PinnedProgram;
use crate::action::Plan;
use crate::action::StoreAction;
use crate::links::LinkKind;
use crate::managed::Link;
use crate::managed::LoadSpec;
use crate::managed::ObjectSource;
use crate::managed::Program;
use crate::managed::ProgramRequest;
use crate::types::AbsolutePath;
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
    /// Its links that stand alone.
    pub links: Vec<LinkToReplace>,
}

/// Refuses a program with links that cannot be given another one in the way that was asked for, before anything is
/// loaded.
///
/// # Errors
/// [`ReplaceRefusal::NotSwappable`], [`ReplaceRefusal::NotReplaceable`].
pub fn check_replace(links: &[Link], handover: Handover) -> Result<(), ReplaceRefusal> {
    let alone = links
        .iter()
        .filter(|link| link.details.membership().is_none());
    let fixed: Vec<&Link> = alone.filter(|link| !link.kind().can_be_updated()).collect();
    if let Some((link, why)) = fixed
        .iter()
        .find_map(|link| Some((link, hindrance(link.kind(), handover)?)))
    {
        return Err(ReplaceRefusal::NotReplaceable(link.id, link.kind(), why));
    }
    match fixed.is_empty() || handover != Handover::Swap {
        true => Ok(()),
        false => Err(ReplaceRefusal::NotSwappable(
            fixed.iter().map(|link| (link.id, link.kind())).collect(),
        )),
    }
}

/// Why a link of this kind cannot be handed over in a way.
fn hindrance(kind: LinkKind, handover: Handover) -> Option<&'static str> {
    match (kind, handover) {
        (LinkKind::StructOps, _) => Some("a struct_ops map registers all its programs at once"),
        (LinkKind::Usdt, Handover::Gap) => Some(
            "the old program could not be attached again if the new one is refused; use --allow-overlap",
        ),
        (LinkKind::Freplace, Handover::Overlap) => {
            Some("a function is replaced by one program at a time; use --allow-gap")
        }
        (LinkKind::Netfilter, Handover::Overlap) => {
            Some("a hook takes one program of a priority; use --allow-gap")
        }
        _ => None,
    }
}

/// The load of a new version: as the old one was, with its maps or those of another program.
#[must_use]
pub fn new_version(
    old: &Program,
    source: ObjectSource,
    map_owner: Option<ProgramId>,
    other_maps: Vec<String>,
) -> LoadSpec {
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
        map_owner_id: Some(map_owner.unwrap_or(old.id())),
        replaces_owner: map_owner.is_none(),
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
    handover: Handover,
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
    for link in &snapshot.links {
        let replaced = Replaced::new(link, &snapshot.old.program, new)?;
        match (&link.again, handover) {
            (None, _) => replaced.swap(&mut plan, &mut ending),
            (Some(again), Handover::Overlap) => {
                replaced.overlap(&mut plan, &mut ending, again, layout)?;
            }
            (Some(again), Handover::Gap) => replaced.gap(&mut plan, &mut ending, again)?,
            (Some(_), Handover::Swap) => {
                let link = &link.link;
                let fixed = [(link.id, link.kind())].to_vec();
                return Err(ReplaceRefusal::NotSwappable(fixed));
            }
        }
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
