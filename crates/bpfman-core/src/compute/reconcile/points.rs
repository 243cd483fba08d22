//! Records of attach points against the kernel.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Finding;
use super::Ground;
use super::Mend;
use super::Rule;
use super::links;
use crate::action::Plan;
use crate::compute::Change;
use crate::compute::PointFacts;
use crate::compute::Standing;
use crate::compute::UnloadSnapshot;
use crate::compute::pins::pin_program_again;
use crate::compute::plan_change;
use crate::compute::records::Records;
use crate::kernel;
use crate::kernel::PinState;
use crate::managed::Dispatcher;
use crate::managed::Link;
use crate::types::Engine;
use crate::types::LinkId;
use crate::types::ProgramId;

/// An attach point that has a record, and what a look at it takes beyond what a change of it does.
#[derive(Clone, Debug)]
pub struct ObservedPoint {
    /// What there is of it.
    pub facts: PointFacts,
    /// What is at the pin of the link that holds it; `None` where a filter does.
    pub holder_pin: Option<PinState>,
    /// That link, asked for by its id when the pin does not hold it.
    pub holder: Option<kernel::Link>,
}

/// Looks at one record. `gone` are the programs of members that the kernel no longer has: they leave by themselves.
pub(super) fn examine(
    point: &ObservedPoint,
    gone: &BTreeMap<ProgramId, UnloadSnapshot>,
    ground: Ground<'_>,
) -> Vec<Finding> {
    let Some(record) = &point.facts.dispatcher else {
        return Vec::new();
    };
    let mut members = point.facts.members.iter();
    if members.any(|member| gone.contains_key(&member.link.program)) {
        return Vec::new();
    }
    let finding = |rule, mend| Finding {
        rule,
        subject: subject(record),
        mend,
    };
    let change = |change: &Change| {
        Mend::of(plan_change(
            &point.facts,
            change,
            Engine::Auto,
            ground.layout,
        ))
    };
    let forget = || change(&Change::Leave(point.facts.members.clone()));
    let lost = record.members.len() != point.facts.members.len();
    match point.facts.standing {
        Standing::Gone => [finding(Rule::PointGone, forget())].to_vec(),
        Standing::Dead => [finding(Rule::PointDead, forget())].to_vec(),
        Standing::Unpinned => [finding(
            Rule::PointUnpinned,
            pin_holder(point, record, ground),
        )]
        .to_vec(),
        Standing::Runs if lost => {
            [finding(Rule::PointMembersLost, change(&Change::Refresh))].to_vec()
        }
        Standing::Runs if point.facts.runs.is_some_and(|runs| runs != record.program) => {
            [finding(Rule::PointChanged, change(&Change::Refresh))].to_vec()
        }
        Standing::Runs => {
            let unpinned = pin_runs_again(point, record, ground);
            let unpinned = unpinned.map(|mend| finding(Rule::PointProgramUnpinned, mend));
            unpinned.into_iter().collect()
        }
    }
}

/// Links of XDP and TC that are no members of their attach points.
pub(super) fn without_point(links: &[Link], points: &[ObservedPoint]) -> Vec<Finding> {
    let members: Vec<LinkId> = points
        .iter()
        .filter_map(|point| point.facts.dispatcher.as_ref())
        .flat_map(|record| record.members.iter().copied())
        .collect();
    let strays = links
        .iter()
        .filter(|link| link.details.membership().is_some() && !members.contains(&link.id));
    strays
        .map(|link| Finding {
            rule: Rule::LinkWithoutPoint,
            subject: links::subject(link),
            mend: forget_link(link).into(),
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

fn pin_holder(point: &ObservedPoint, record: &Dispatcher, ground: Ground<'_>) -> Mend {
    match (&point.holder, &point.holder_pin, record.link()) {
        (Some(found), Some(pin @ PinState::Free { .. }), Some((_, path))) => {
            let subject = format!("the link of {}", subject(record));
            links::pin_again(&subject, found, path, pin, ground).into()
        }
        (_, _, Some((_, path))) => Mend::Nothing(format!("something else is at {path}")),
        (_, _, None) => Mend::Nothing("a filter has no pin".into()),
    }
}

/// Pins what runs again; `None` when it is at its pin, or has none.
fn pin_runs_again(point: &ObservedPoint, record: &Dispatcher, ground: Ground<'_>) -> Option<Mend> {
    // A program that runs alone has only its own pin.
    record.directory(ground.layout)?;
    let lost = point.facts.lost_pin.as_ref()?;
    let (PinState::Free { .. }, Some(program)) = (&lost.state, lost.program) else {
        let why = format!("something else is at {}", lost.path);
        return Some(Mend::Nothing(why));
    };
    let mut plan = Plan::new(format!("pinning what runs at {} again", subject(record)));
    let pin = ground.mount(&mut plan, &lost.path, &lost.state);
    pin_program_again(&mut plan, program, &lost.path, &pin);
    Some(plan.into())
}
