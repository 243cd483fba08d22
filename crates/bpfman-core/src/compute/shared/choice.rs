//! Who of the members runs: all of them, or those that can be joined.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Change;
use super::Member;
use super::MemberName;
use super::PointFacts;
use super::PointRefusal;
use super::membership;
use super::program;
use super::program::Next;
use crate::action::Action;
use crate::action::KernelAction;
use crate::action::Plan;
use crate::chain::ChainError;
use crate::managed::LeftOut;
use crate::types::LinkId;

/// Links whose programs cannot be joined with the others, and why.
pub type Refused = BTreeMap<LinkId, String>;

/// How members become what the hook calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinedAs {
    /// A chain: their instructions behind each other, where they do not reach beyond their own.
    #[default]
    Inlined,
    /// A chain that calls each of them: the verifier judges each by itself. What it walks of one is not multiplied
    /// by what it walks of the others.
    Called,
    /// Extensions of a dispatcher.
    Extensions,
}

/// Who is to run at an attach point.
#[derive(Clone, Copy, Debug)]
pub enum Joining<'a> {
    /// All members: one that cannot be joined is a reason to change nothing.
    All(JoinedAs),
    /// All but those that the kernel refused, and those that cannot be joined by our own rules. Whoever takes members
    /// out must not be kept from it by those who stay.
    Possible(&'a Refused, JoinedAs),
}

impl Joining<'_> {
    fn joined(self) -> JoinedAs {
        match self {
            Self::All(joined) | Self::Possible(_, joined) => joined,
        }
    }
}

/// Who runs, by what, and who does not.
pub(super) struct Chosen {
    /// Those that run, in their order.
    pub(super) members: Vec<Member>,
    /// What they run as; `None` when nobody is left.
    pub(super) next: Option<Next>,
    /// Those that do not run.
    pub(super) others: Vec<Member>,
    /// The same, with the reasons.
    pub(super) left_out: Vec<LeftOut>,
}

/// Decides who of the links of an attach point runs.
pub(super) fn choose(
    facts: &PointFacts,
    change: &Change,
    links: Vec<Member>,
    joining: Joining<'_>,
) -> Result<Chosen, PointRefusal> {
    let mut out = match joining {
        Joining::All(_) => still_out(facts, change),
        Joining::Possible(refused, _) => refused.clone(),
    };
    let is_out = |out: &Refused, member: &Member| out.contains_key(&member.link.id);
    let (mut others, mut members): (Vec<_>, Vec<_>) =
        links.into_iter().partition(|member| is_out(&out, member));
    let next = loop {
        let refusal = match program::next(facts, &members, joining.joined()) {
            Ok(next) => break next,
            Err(refusal) => refusal,
        };
        let at_fault = match joining {
            Joining::All(_) => None,
            Joining::Possible(..) => at_fault(facts, &members, &refusal),
        };
        let Some(at_fault) = at_fault else {
            return Err(naming_changed(change, &members, refusal));
        };
        others.push(members.remove(at_fault));
        let last = others.last().map(|member| member.link.id);
        out.extend(last.map(|link| (link, format!("{refusal}"))));
    };
    let left_out = others.iter().map(|member| LeftOut {
        link: member.link.id,
        reason: out.get(&member.link.id).cloned().unwrap_or_default(),
    });
    Ok(Chosen {
        left_out: left_out.collect(),
        members,
        next,
        others,
    })
}

/// Where all together are too much, the one that a change brings is: without it they were not.
fn naming_changed(change: &Change, members: &[Member], refusal: PointRefusal) -> PointRefusal {
    let changed = changed(change, members);
    match (refusal, changed) {
        (
            PointRefusal::Chain(ChainError::TooLarge {
                what, count, limit, ..
            }),
            Some(changed),
        ) => PointRefusal::Chain(ChainError::TooLarge {
            member: MemberName::of(changed),
            what,
            count,
            limit,
        }),
        (refusal, _) => refusal,
    }
}

/// The member that a change brings or moves.
pub(super) fn changed<'a>(change: &Change, members: &'a [Member]) -> Option<&'a Member> {
    let mut all = members.iter();
    match change {
        Change::Join(joining) => all.find(|member| member.link.id == joining.link.id),
        Change::Alter { link, .. } => all.find(|member| member.link.id == *link),
        Change::Exchange { to, .. } => all.find(|member| member.link.program == to.id()),
        Change::Leave(_) | Change::Refresh | Change::Reattach => None,
    }
}

/// Who does not run and is not tried again: a change that takes nobody out makes no room for those, but one of
/// themselves may.
fn still_out(facts: &PointFacts, change: &Change) -> Refused {
    let tried_again = |link: LinkId| match change {
        Change::Leave(_) | Change::Refresh | Change::Reattach => true,
        Change::Join(_) => false,
        Change::Alter { link: altered, .. } => *altered == link,
        Change::Exchange { from, .. } => facts
            .left_out
            .iter()
            .any(|member| member.link.id == link && member.link.program == *from),
    };
    let recorded = facts.dispatcher.iter().flat_map(|record| &record.left_out);
    recorded
        .filter(|left_out| !tried_again(left_out.link))
        .map(|left_out| (left_out.link, left_out.reason.clone()))
        .collect()
}

/// The place of the member for which the others cannot be joined: the one that the refusal names, or the one that is
/// too much. `None` when it is about something else.
fn at_fault(facts: &PointFacts, members: &[Member], refusal: &PointRefusal) -> Option<usize> {
    use PointRefusal as R;
    let named = match refusal {
        R::ProgramGone { link, .. } | R::NoInstructions { link, .. } | R::NoTypes { link, .. } => {
            Some(*link)
        }
        R::Chain(error) => Some(error.member().link),
        R::Extended { member, .. } => Some(member.link),
        R::NoFreeSlot { .. } | R::NoCounter => None,
        R::Foreign { .. }
        | R::AttachedAlready { .. }
        | R::PinLost { .. }
        | R::NotAttached { .. }
        | R::RecordInTheWay { .. }
        | R::OtherMode { .. } => {
            return None;
        }
    };
    let place = |link| members.iter().position(|member| member.link.id == link);
    let fits = |count: usize| program::next(facts, &members[..count], JoinedAs::Inlined).is_ok();
    let too_much = || (0..members.len()).find(|place| !fits(place + 1));
    named.and_then(place).or_else(too_much)
}

/// The links that stay at an attach point after a change, in the order in which they would run.
#[must_use]
pub fn remaining(facts: &PointFacts, change: &Change) -> Vec<LinkId> {
    let after = membership::after(facts, change).unwrap_or_default();
    after.iter().map(|member| member.link.id).collect()
}

/// Of a plan, only what the verifier has to say: the loads of what is made of several programs. Carried out, they leave
/// nothing.
#[must_use]
pub fn trial(plan: &Plan) -> Plan {
    let loads = plan.steps.iter().filter(|step| {
        matches!(
            step.action,
            Action::Kernel(
                KernelAction::LoadProgram(_)
                    | KernelAction::LoadDispatcher(_)
                    | KernelAction::HoldProgram(_)
            )
        )
    });
    let mut trial = Plan::new(format!("a trial of {}", plan.operation));
    trial.extend(loads.cloned());
    trial
}
