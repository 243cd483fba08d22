//! Who is a member, and in which order members run.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Change;
use super::Member;
use super::PointFacts;
use super::PointRefusal;
use super::PointState;
use crate::links;
use crate::links::Hook;
use crate::links::LinkDetails;
use crate::links::Membership;
use crate::links::SharedHook;
use crate::types::Engine;
use crate::types::Priority;
use crate::types::TC_DISPATCHER_RETURN;
use crate::types::TC_OK;
use crate::types::TC_PIPE;
use crate::types::XDP_DISPATCHER_RETURN;
use crate::types::XDP_PASS;
use crate::types::XdpMode;

/// Whether a program that is attached itself does what it would do as the only member of a chain: it must go on only
/// after verdicts that let the packet through all the same, and nobody counts its runs.
#[must_use]
pub fn runs_alone(membership: &Membership<'_>, engine: Engine) -> bool {
    let through: &[i32] = match membership.hook {
        SharedHook::Xdp { .. } => &[XDP_PASS, XDP_DISPATCHER_RETURN],
        SharedHook::Tc { .. } => &[TC_OK, TC_PIPE, TC_DISPATCHER_RETURN],
    };
    engine == Engine::Auto
        && membership.counter.is_none()
        && membership
            .proceed_on
            .iter()
            .all(|verdict| through.contains(verdict))
}

/// How an attach point is called in messages.
pub(super) fn place_name(facts: &PointFacts) -> String {
    let name = &facts.at.interface;
    match facts.hook.hook() {
        Hook::Tc(direction) => format!("tc {direction} of {name}"),
        _ => format!("xdp of {name}"),
    }
}

/// The members after a change, in the order in which they run.
pub(super) fn after(facts: &PointFacts, change: &Change) -> Result<Vec<Member>, PointRefusal> {
    // Those of a record that nothing runs of never come back: their interface may be another one now.
    let mut members = match (facts.state, change) {
        (
            PointState::Detached | PointState::Defunct | PointState::Unpinned | PointState::Missing,
            Change::Join(_),
        ) => Vec::new(),
        (PointState::Attached, _) | (_, Change::Reattach) => facts.links().cloned().collect(),
        _ => facts.members.clone(),
    };
    let joining = match change {
        Change::Join(member) => {
            check_mode(facts, member)?;
            members.push((**member).clone());
            Some(member.link.id)
        }
        Change::Leave(leaving) => {
            let leaves =
                |member: &Member| leaving.iter().any(|other| other.link.id == member.link.id);
            members.retain(|member| !leaves(member));
            None
        }
        Change::Exchange {
            from,
            to,
            kept,
            facts: others,
        } => {
            let old = members.iter_mut();
            for member in old.filter(|member| member.link.program == *from) {
                member.link.program = to.id();
                member.program = (**to).clone();
                member.kept.clone_from(kept);
                member.facts.clone_from(others);
                member.at_pin = true;
            }
            None
        }
        Change::Refresh | Change::Reattach => None,
        Change::Alter {
            link,
            priority,
            proceed_on,
        } => {
            let altered = members.iter_mut().find(|member| member.link.id == *link);
            let altered = altered.ok_or(PointRefusal::NotAttached {
                link: *link,
                state: facts.state,
            })?;
            alter(&mut altered.link.details, *priority, proceed_on.as_ref());
            None
        }
    };
    check_once(facts, change, &members)?;
    if facts.has_moved() {
        for Member { link, .. } in &mut members {
            link.details = link.details.clone().moved_to(&facts.at);
        }
    }
    // Contract, section 4: by priority, then new before existing, then by name.
    members.sort_by(|one, other| {
        let rank = |member: &Member| {
            let priority = member.link.details.priority();
            (priority, joining != Some(member.link.id))
        };
        let names = (&one.program.load, &other.program.load);
        rank(one)
            .cmp(&rank(other))
            .then_with(|| names.0.program_name.cmp(&names.1.program_name))
    });
    Ok(members)
}

/// A program runs once at one priority: twice, it would meet each packet twice.
fn check_once(facts: &PointFacts, change: &Change, members: &[Member]) -> Result<(), PointRefusal> {
    let changed = match change {
        Change::Join(member) => member.link.id,
        Change::Alter { link, .. } => *link,
        Change::Leave(_) | Change::Exchange { .. } | Change::Refresh | Change::Reattach => {
            return Ok(());
        }
    };
    let key = |member: &Member| (member.link.program, member.link.details.priority());
    let Some(new) = members.iter().find(|member| member.link.id == changed) else {
        return Ok(());
    };
    let twin = members
        .iter()
        .find(|member| member.link.id != changed && key(member) == key(new));
    match twin {
        None => Ok(()),
        Some(twin) => Err(PointRefusal::AttachedAlready {
            place: place_name(facts),
            program: twin.link.program,
            link: twin.link.id,
        }),
    }
}

fn alter(
    details: &mut LinkDetails,
    new_priority: Option<Priority>,
    new_verdicts: Option<&Vec<i32>>,
) {
    if let LinkDetails::Xdp(links::Xdp {
        priority,
        proceed_on,
        ..
    })
    | LinkDetails::Tc(links::Tc {
        priority,
        proceed_on,
        ..
    }) = details
    {
        *priority = new_priority.unwrap_or(*priority);
        if let Some(verdicts) = new_verdicts {
            proceed_on.clone_from(verdicts);
        }
    }
}

/// One attachment has one mode. Who leaves it open takes what is there.
fn check_mode(facts: &PointFacts, joining: &Member) -> Result<(), PointRefusal> {
    let asked = joining.link.details.membership().map(|member| member.hook);
    let running = facts.dispatcher.as_ref().map(|record| record.hook);
    match (running, asked) {
        (Some(SharedHook::Xdp { mode: running }), Some(SharedHook::Xdp { mode: asked }))
            if facts.state == PointState::Attached
                && asked != XdpMode::Auto
                && asked != running =>
        {
            Err(PointRefusal::OtherMode {
                place: place_name(facts),
                running: format!("{running}"),
                asked: format!("{asked}"),
            })
        }
        _ => Ok(()),
    }
}

/// Refuses to put our first program where somebody else's is.
pub(super) fn check_free(facts: &PointFacts) -> Result<(), PointRefusal> {
    let place = place_name(facts);
    let there = facts.occupants.as_ref();
    let Some(program) = there.and_then(|there| there.sole_program(facts.hook)) else {
        return Ok(());
    };
    let ours = facts
        .dispatcher
        .as_ref()
        .filter(|ours| ours.program == program && facts.state == PointState::Unpinned);
    if let Some((_, path)) = ours.and_then(|ours| ours.link()) {
        let path = path.clone();
        return Err(PointRefusal::PinLost {
            place,
            program,
            path,
        });
    }
    let name = facts.foreign.as_ref().map(PointRefusal::name_of);
    Err(PointRefusal::Foreign {
        place,
        program,
        name: name.unwrap_or_else(|| "unknown".into()),
    })
}
