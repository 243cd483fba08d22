//! Records of attach points against the kernel.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Facts;
use super::Finding;
use super::Ground;
use super::ProgramState;
use super::Repair;
use super::Repairs;
use super::Rule;
use super::links;
use crate::action::Plan;
use crate::compute::Change;
use crate::compute::Joining;
use crate::compute::PointFacts;
use crate::compute::PointRefusal;
use crate::compute::PointState;
use crate::compute::Target;
use crate::compute::Whereabouts;
use crate::compute::pins::pin_program_again;
use crate::compute::plan_change;
use crate::compute::records::Records;
use crate::kernel;
use crate::kernel::PinState;
use crate::managed::Dispatcher;
use crate::managed::Link;
use crate::types::LinkId;

/// An attach point that has a record, and what a look at it takes beyond what a change of it does.
#[derive(Clone, Debug)]
pub struct ObservedPoint {
    /// What there is of it.
    pub facts: PointFacts,
    /// What is at the pin of the link that holds it; `None` where a filter does.
    pub holder_pin: Option<PinState>,
    /// That link, asked for by its id when the pin does not hold it.
    pub holder: Option<kernel::Link>,
    /// What became of its interface.
    pub target: Target,
    /// Where its interface is now; `None` when what runs there is attached to none.
    pub whereabouts: Option<Whereabouts>,
}

/// Looks at one record. Members whose programs the kernel no longer has leave by themselves.
pub(super) fn examine(
    point: &ObservedPoint,
    all: &Facts,
    ground: Ground<'_>,
    repairs: Repairs,
) -> Vec<Finding> {
    let Some(record) = &point.facts.dispatcher else {
        return Vec::new();
    };
    let mut links = point.facts.links();
    if links.any(|member| all.gone.contains_key(&member.link.program)) {
        return Vec::new();
    }
    let finding = |rule, repair| Finding::new(rule, subject(record), repair);
    let refresh = || change(point, &Change::Refresh, ground);
    let lost = record.members.len() != point.facts.members.len();
    let found = match point.facts.state {
        PointState::Missing | PointState::Detached => unattached(point, record, ground, repairs),
        PointState::Defunct => {
            let details = point.facts.members.first().map(|one| &one.link.details);
            let note = details.map(|details| links::what_is_gone(&point.target, details));
            let finding = finding(Rule::PointDead, forget(point, ground)).forgets();
            note.into_iter().fold(finding, Finding::note)
        }
        PointState::Unpinned => finding(Rule::PointUnpinned, pin_holder(point, record, ground)),
        PointState::Attached if is_elsewhere(point) => elsewhere(point, record, all, ground),
        PointState::Attached if lost => finding(Rule::PointMembersLost, refresh()),
        PointState::Attached if point.facts.runs.is_some_and(|runs| runs != record.program) => {
            finding(Rule::PointChanged, refresh())
        }
        PointState::Attached => {
            let unpinned = pin_runs_again(point, record, ground);
            let unpinned = unpinned.map(|repair| finding(Rule::PointProgramUnpinned, repair));
            return unpinned.into_iter().collect();
        }
    };
    match waits(point, all) {
        true => [found.later()].to_vec(),
        false => [found].to_vec(),
    }
}

/// Whether a program of the attach point is about to be pinned again: without its pin it would be left out.
fn waits(point: &ObservedPoint, all: &Facts) -> bool {
    let unpinned = all.programs.iter();
    let mut unpinned = unpinned.filter(|one| one.state() == ProgramState::Unpinned);
    unpinned.any(|one| {
        let mut links = point.facts.links();
        links.any(|member| member.link.program == one.record.id())
    })
}

fn change(point: &ObservedPoint, change: &Change, ground: Ground<'_>) -> Repair {
    let joining = Joining::Possible(ground.refused, ground.joined);
    let plan = plan_change(&point.facts, change, joining, ground.layout);
    Repair::of(plan)
}

fn forget(point: &ObservedPoint, ground: Ground<'_>) -> Repair {
    let all = point.facts.links().cloned().collect();
    change(point, &Change::Leave(all), ground)
}

fn is_elsewhere(point: &ObservedPoint) -> bool {
    matches!(
        point.whereabouts,
        Some(Whereabouts::Moved(_) | Whereabouts::Hidden(_))
    )
}

/// What runs has gone with its interface.
fn elsewhere(
    point: &ObservedPoint,
    record: &Dispatcher,
    all: &Facts,
    ground: Ground<'_>,
) -> Finding {
    let finding = |repair| Finding::new(Rule::PointMoved, subject(record), repair);
    match &point.whereabouts {
        Some(Whereabouts::Moved(now)) => {
            let records = all.points.iter();
            let mut records = records.filter_map(|other| other.facts.dispatcher.as_ref());
            let hook = record.hook.hook();
            // The record that is there is of an interface that has gone before.
            let repair = match records.any(|other| other.hook.hook() == hook && other.at.is_at(now))
            {
                true => Repair::Later,
                false => change(point, &Change::Refresh, ground),
            };
            finding(repair).note(links::moved(Some(&record.at), now))
        }
        Some(Whereabouts::Hidden(ifindex)) => {
            finding(Repair::Nothing(links::hidden())).note(links::lives(*ifindex))
        }
        Some(Whereabouts::Here(_)) | None => finding(Repair::Later),
    }
}

/// Nothing of ours runs at the attach point.
fn unattached(
    point: &ObservedPoint,
    record: &Dispatcher,
    ground: Ground<'_>,
    repairs: Repairs,
) -> Finding {
    let detached = point.facts.state == PointState::Detached;
    let rule = match detached {
        true => Rule::PointDetached,
        false => Rule::PointGone,
    };
    let Target::Present(now) = &point.target else {
        let finding = Finding::new(rule, subject(record), forget(point, ground)).forgets();
        let details = point.facts.members.first().map(|one| &one.link.details);
        let note = details.map(|details| links::what_is_gone(&point.target, details));
        return note.into_iter().fold(finding, Finding::note);
    };
    let finding = match (repairs.reattach, detached) {
        (true, _) => {
            let again = change(point, &Change::Reattach, ground);
            Finding::new(rule, subject(record), again)
        }
        (false, true) => Finding::new(
            rule,
            subject(record),
            Repair::Nothing(links::UNASKED.into()),
        ),
        (false, false) if repairs.keep => Finding::new(
            rule,
            subject(record),
            Repair::Nothing(links::UNASKED.into()),
        ),
        (false, false) => Finding::new(rule, subject(record), forget(point, ground)).forgets(),
    };
    let members = &point.facts.members;
    let commands = point.facts.links().map(|member| {
        let program_type = Some(member.program.load.program_type);
        member.link.attach_command(now.as_ref(), program_type)
    });
    let commands: Vec<String> = commands.collect();
    let finding = finding.note(why(point, record));
    let finding = members.iter().fold(finding, |finding, member| {
        let name = &member.program.load.program_name;
        let (link, program) = (member.link.id, member.link.program);
        finding.note(format!(
            "no longer runs there: link {link} (program {program}, {name})"
        ))
    });
    let finding = match detached {
        true => finding.note(links::REATTACH.into()),
        false => finding,
    };
    let ids = point
        .facts
        .links()
        .map(|member| format!("{}", member.link.id));
    let ids: Vec<String> = ids.collect();
    finding.note(match detached {
        true => format!(
            "or anew: bpfman detach {} && {}",
            ids.join(" "),
            commands.join(" && ")
        ),
        false => format!("to attach again: {}", commands.join(" && ")),
    })
}

/// Why nothing of ours runs there, as far as the kernel tells.
fn why(point: &ObservedPoint, record: &Dispatcher) -> String {
    let interface = match &point.target {
        Target::Present(Some(now)) => {
            format!("interface {} (ifindex {})", now.interface, now.ifindex)
        }
        _ => format!("interface {}", record.at.interface),
    };
    let what = match (record.link(), point.facts.state) {
        (Some((id, _)), PointState::Detached) => format!("kernel link {id} was detached by force"),
        (Some((id, _)), _) => format!("kernel link {id} is gone"),
        (None, _) => "its filter was removed".into(),
    };
    let theirs = point.facts.foreign.as_ref().map(|program| {
        let name = PointRefusal::name_of(program);
        format!(
            "; program {} ({name}) of somebody else is there now",
            program.identity.id
        )
    });
    format!("{what}; {interface} is there{}", theirs.unwrap_or_default())
}

/// Links whose programs do not run as they could not be joined with the others.
pub(super) fn left_out(point: &ObservedPoint) -> Vec<Finding> {
    let record = point.facts.dispatcher.as_ref();
    let record = record.filter(|_| point.facts.state == PointState::Attached);
    let links = point.facts.left_out.iter();
    let found = links.filter_map(|member| {
        let reason = record?.left_out(member.link.id)?;
        let subject = links::subject(&member.link);
        Some(Finding::new(
            Rule::LinkLeftOut,
            subject,
            Repair::Nothing(reason.into()),
        ))
    });
    found.collect()
}

/// Links of XDP and TC that are no members of their attach points.
pub(super) fn without_point(links: &[Link], points: &[ObservedPoint]) -> Vec<Finding> {
    let members: Vec<LinkId> = points
        .iter()
        .filter_map(|point| point.facts.dispatcher.as_ref())
        .flat_map(|record| {
            let left_out = record.left_out.iter().map(|left_out| left_out.link);
            record.members.iter().copied().chain(left_out)
        })
        .collect();
    let orphans = links
        .iter()
        .filter(|link| link.details.membership().is_some() && !members.contains(&link.id));
    orphans
        .map(|link| {
            let plan = forget_link(link).into();
            Finding::new(Rule::LinkWithoutPoint, links::subject(link), plan).forgets()
        })
        .collect()
}

fn forget_link(link: &Link) -> Plan {
    let mut plan = Plan::new(format!("forgetting link {}", link.id));
    let mut records = Records::default();
    records.delete_link(link);
    records.commit(&mut plan);
    plan
}

fn subject(record: &Dispatcher) -> String {
    format!("{} of {}", record.hook.hook().name(), record.at.interface)
}

fn pin_holder(point: &ObservedPoint, record: &Dispatcher, ground: Ground<'_>) -> Repair {
    match (&point.holder, &point.holder_pin, record.link()) {
        (Some(found), Some(pin @ PinState::Free { .. }), Some((_, path))) => {
            let subject = format!("the link of {}", subject(record));
            links::pin_again(&subject, found, path, pin, ground).into()
        }
        (_, _, Some((_, path))) => Repair::Nothing(format!("something else is at {path}")),
        (_, _, None) => Repair::Nothing("a filter has no pin".into()),
    }
}

/// Pins what runs again; `None` when it is at its pin, or has none.
fn pin_runs_again(
    point: &ObservedPoint,
    record: &Dispatcher,
    ground: Ground<'_>,
) -> Option<Repair> {
    // A program that runs alone has only its own pin.
    record.directory(ground.layout)?;
    let lost = point.facts.lost_pin.as_ref()?;
    let (PinState::Free { .. }, Some(program)) = (&lost.state, lost.program) else {
        let why = format!("something else is at {}", lost.path);
        return Some(Repair::Nothing(why));
    };
    let mut plan = Plan::new(format!("pinning what runs at {} again", subject(record)));
    let pin = ground.mount(&mut plan, &lost.path, &lost.state);
    pin_program_again(&mut plan, program, &lost.path, &pin);
    Some(plan.into())
}
