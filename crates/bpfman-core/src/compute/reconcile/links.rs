//! Records of links that stand alone against the kernel.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::Finding;
use super::Ground;
use super::Repair;
use super::Repairs;
use super::Rule;
use crate::action::Action;
use crate::action::KernelAction;
use crate::action::LinkReference;
use crate::action::Plan;
use crate::action::ProgramSource;
use crate::action::StoreAction;
use crate::compute::AttachSnapshot;
use crate::compute::DetachSnapshot;
use crate::compute::Target;
use crate::compute::Whereabouts;
use crate::compute::is_ours;
use crate::compute::is_renewed;
use crate::compute::pins::make_parents;
use crate::compute::pins::pin_link;
use crate::compute::plan_adopt;
use crate::compute::plan_detach;
use crate::compute::plan_reattach;
use crate::compute::records::Records;
use crate::kernel;
use crate::kernel::PinState;
use crate::links;
use crate::links::AttachSpec;
use crate::links::AttachedTo;
use crate::links::LinkDetails;
use crate::links::LinkInterface;
use crate::managed::Link;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::IfIndex;
use crate::types::ProgramId;

/// A record of a link that stands alone, and what there is of it.
#[derive(Clone, Debug)]
pub struct ObservedLink {
    /// What a detach would find.
    pub snapshot: DetachSnapshot,
    /// The record of its program.
    pub program: Option<Program>,
    /// What became of what it is attached to.
    pub target: Target,
    /// Where its interface is now; `None` for what has none, or is attached to none.
    pub whereabouts: Option<Whereabouts>,
    /// How it is attached again, where that was asked for and it is attached to nothing.
    pub reattach: Option<Reattach>,
}

/// What an attach would find that puts a link back; or why there can be none.
pub type Reattach = Result<Box<(AttachSpec, AttachSnapshot)>, String>;

impl ObservedLink {
    /// Whether the kernel's link of the record is attached to something.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        let snapshot = &self.snapshot;
        let found = match &snapshot.pin {
            Some(PinState::Link(found)) if Some(found.id) == snapshot.link.kernel => Some(found),
            _ => snapshot.unpinned.as_ref(),
        };
        found.is_some_and(|found| found.is_attached())
    }
}

/// Looks at one record.
pub(super) fn examine(
    observed: &ObservedLink,
    ground: Ground<'_>,
    repairs: Repairs,
) -> Option<Finding> {
    let snapshot = &observed.snapshot;
    let link = &snapshot.link;
    if let Some(finding) = renewed(snapshot) {
        return Some(finding);
    }
    let pinned = match &snapshot.pin {
        Some(PinState::Link(found)) if Some(found.id) == link.kernel => Some(found),
        _ => None,
    };
    let alone = snapshot.unpinned.as_ref();
    let alone = alone.filter(|found| is_ours(link, found));
    let taken = !matches!(&snapshot.pin, None | Some(PinState::Free { .. }));
    let finding = match (pinned, alone, &link.pin_path, &snapshot.pin) {
        (Some(found), ..) if !found.is_attached() => unattached(observed, ground, repairs),
        (Some(found), ..) if !is_ours(link, found) => changed(observed, found),
        (Some(_), ..) => return attached(observed, repairs),
        (None, Some(_), Some(path), _) if taken => {
            let why = format!("something else is at {path}");
            Finding::new(Rule::LinkPinTaken, subject(link), Repair::Nothing(why))
        }
        (None, Some(found), _, _) if !found.is_attached() => unattached(observed, ground, repairs),
        (None, Some(found), Some(path), Some(pin)) => {
            let plan = pin_again(&subject(link), found, path, pin, ground);
            Finding::new(Rule::LinkUnpinned, subject(link), plan.into())
        }
        // Whatever is at the pin is not ours.
        _ => gone(observed, ground, repairs),
    };
    Some(finding)
}

/// A link at the pin that was made anew, as the undo of a detach does.
fn renewed(snapshot: &DetachSnapshot) -> Option<Finding> {
    let link = &snapshot.link;
    match &snapshot.pin {
        Some(PinState::Link(found)) if is_renewed(link, found) => Some(Finding::new(
            Rule::LinkRenewed,
            subject(link),
            plan_adopt(link, found).into(),
        )),
        _ => None,
    }
}

/// A link of ours, attached: its interface may be elsewhere by now, or its namespace deleted.
fn attached(observed: &ObservedLink, repairs: Repairs) -> Option<Finding> {
    let link = &observed.snapshot.link;
    match (&observed.whereabouts, &link.details, &observed.target) {
        (Some(Whereabouts::Moved(now)), ..) => {
            let mut plan = Plan::new(format!("recording where link {} is", link.id));
            let mut records = Records::default();
            records.push(
                StoreAction::SaveLink {
                    link: Box::new(Link {
                        details: link.details.clone().moved_to(now),
                        ..link.clone()
                    }),
                },
                StoreAction::SaveLink {
                    link: Box::new(link.clone()),
                },
            );
            records.commit(&mut plan);
            let finding = Finding::new(Rule::LinkMoved, subject(link), plan.into());
            Some(finding.note(moved(link.details.interface(), now)))
        }
        (Some(Whereabouts::Hidden(ifindex)), ..) => {
            let finding = Finding::new(Rule::LinkMoved, subject(link), Repair::Nothing(hidden()));
            Some(finding.note(lives(*ifindex)))
        }
        (_, LinkDetails::Netfilter(links::Netfilter { nsid, .. }), Target::NamespaceGone) => {
            let repair = match repairs.prune {
                true => detach(&observed.snapshot),
                false => Repair::Nothing("--prune detaches it".into()),
            };
            let finding = Finding::new(Rule::NamespaceKept, subject(link), repair);
            Some(finding.note(format!(
                "network namespace {nsid} has no file and no process any more"
            )))
        }
        _ => None,
    }
}

/// A link that is attached to nothing.
fn unattached(observed: &ObservedLink, ground: Ground<'_>, repairs: Repairs) -> Finding {
    let link = &observed.snapshot.link;
    if !matches!(observed.target, Target::Present(_)) {
        let repair = detach(&observed.snapshot);
        let finding = Finding::new(Rule::LinkDead, subject(link), repair).forgets();
        return finding.note(what_is_gone(&observed.target, &link.details));
    }
    let repair = match repairs.reattach {
        true => reattach(observed, ground),
        false => Repair::Nothing(UNASKED.into()),
    };
    let finding = Finding::new(Rule::LinkDetached, subject(link), repair);
    let id = link.kernel.map_or_else(String::new, |id| format!(" {id}"));
    finding
        .note(format!(
            "its kernel link{id} was detached by force; {} is there",
            what_is_there(&observed.target, &link.details)
        ))
        .note(REATTACH.into())
        .note(format!(
            "or anew: bpfman detach {} && {}",
            link.id,
            command(observed)
        ))
}

/// A link that the kernel does not have.
fn gone(observed: &ObservedLink, ground: Ground<'_>, repairs: Repairs) -> Finding {
    let link = &observed.snapshot.link;
    let present = matches!(observed.target, Target::Present(_));
    if present && repairs.reattach {
        return Finding::new(Rule::LinkGone, subject(link), reattach(observed, ground));
    }
    if present && repairs.keep {
        let repair = Repair::Nothing(UNASKED.into());
        return Finding::new(Rule::LinkGone, subject(link), repair);
    }
    let nothing = DetachSnapshot {
        pin: None,
        unpinned: None,
        link: link.clone(),
    };
    let finding = Finding::new(Rule::LinkGone, subject(link), detach(&nothing)).forgets();
    match present {
        true => finding.note(format!("to attach it again: {}", command(observed))),
        false => finding.note(what_is_gone(&observed.target, &link.details)),
    }
}

/// A link at our pin that was given another program.
fn changed(observed: &ObservedLink, found: &kernel::Link) -> Finding {
    let link = &observed.snapshot.link;
    let repair = match (&observed.program, &link.pin_path) {
        (Some(program), Some(path)) => {
            let mut plan = Plan::new(format!("giving link {} its program again", link.id));
            let swap = |from: ProgramId, to: ProgramSource| {
                Action::Kernel(KernelAction::UpdateLink {
                    link: LinkReference::Known(found.id),
                    path: path.clone(),
                    from: from.into(),
                    to,
                })
            };
            let ours = ProgramSource::Pinned {
                program: program.id(),
                path: program.pin_path.clone(),
            };
            let theirs = ProgramSource::Held {
                program: found.program.into(),
            };
            plan.push(swap(found.program, ours), swap(program.id(), theirs));
            plan.into()
        }
        _ => Repair::Nothing("its program has no record".into()),
    };
    let finding = Finding::new(Rule::LinkChanged, subject(link), repair);
    finding.note(format!(
        "kernel link {} runs program {} now, not {}",
        found.id, found.program, link.program
    ))
}

fn reattach(observed: &ObservedLink, ground: Ground<'_>) -> Repair {
    match &observed.reattach {
        Some(Ok(again)) => Repair::of(plan_reattach(
            &again.0,
            &again.1,
            &observed.snapshot,
            ground.layout,
        )),
        Some(Err(why)) => Repair::Nothing(why.clone()),
        None => Repair::Nothing(UNASKED.into()),
    }
}

fn command(observed: &ObservedLink) -> String {
    let now = match &observed.target {
        Target::Present(now) => now.as_ref(),
        _ => None,
    };
    let program = observed.program.as_ref();
    let program_type = program.map(|program| program.load.program_type);
    observed.snapshot.link.attach_command(now, program_type)
}

/// Why what was detached is left so.
pub(super) const UNASKED: &str = "nothing is attached again unasked";
/// How it comes back.
pub(super) const REATTACH: &str = "to attach it again as it was: bpfman reconcile --reattach";

/// What is said of an interface that nothing shows.
pub(super) fn hidden() -> String {
    "nothing can be recorded of a namespace that cannot be entered".into()
}

pub(super) fn lives(ifindex: IfIndex) -> String {
    format!(
        "its interface lives as number {ifindex} of a network namespace that no file and no process shows"
    )
}

/// What became of an interface.
pub(super) fn moved(from: Option<&LinkInterface>, now: &LinkInterface) -> String {
    let place = |at: &LinkInterface| match &at.netns {
        Some(path) => format!("{} (ifindex {}) in {path}", at.interface, at.ifindex),
        None => format!("{} (ifindex {})", at.interface, at.ifindex),
    };
    match from {
        Some(from) => format!("{} is now {}", place(from), place(now)),
        None => format!("it is now {}", place(now)),
    }
}

pub(super) fn what_is_there(target: &Target, details: &LinkDetails) -> String {
    match (target, details.attached_to()) {
        (Target::Present(Some(now)), _) => {
            format!("interface {} (ifindex {})", now.interface, now.ifindex)
        }
        (_, AttachedTo::Cgroup { path, .. }) => format!("cgroup {path}"),
        (_, AttachedTo::Pin(map)) => format!("map {map}"),
        (_, AttachedTo::Map(map)) => format!("map {map}"),
        (_, AttachedTo::Namespace { nsid, .. }) => format!("network namespace {nsid}"),
        (_, AttachedTo::Interface(_) | AttachedTo::Unnamed) => "what it was attached to".into(),
    }
}

pub(super) fn what_is_gone(target: &Target, details: &LinkDetails) -> String {
    let name = |at: &LinkInterface| format!("{} (ifindex {})", at.interface, at.ifindex);
    match (target, details.attached_to()) {
        (Target::InterfaceGone { namesake }, AttachedTo::Interface(at)) => {
            let gone = format!("interface {} is gone", name(at));
            match namesake {
                None => gone,
                Some(other) => {
                    format!("{gone}; another one has its name now (ifindex {other})")
                }
            }
        }
        (Target::NamespaceGone, AttachedTo::Namespace { nsid, .. }) => {
            format!("network namespace {nsid} is gone: no file and no process shows it")
        }
        (Target::NamespaceGone, AttachedTo::Interface(at)) => format!(
            "interface {} is gone with network namespace {}: no file and no process shows that",
            name(at),
            at.nsid
        ),
        (Target::CgroupGone, AttachedTo::Cgroup { path, id }) => {
            format!("cgroup {id}, which was at {path}, is gone")
        }
        (Target::MapGone, _) => "its map has lost its pin".into(),
        _ => "what it was attached to is gone".into(),
    }
}

pub(super) fn subject(link: &Link) -> String {
    format!(
        "link {} ({} of program {})",
        link.id,
        link.kind(),
        link.program
    )
}

fn detach(snapshot: &DetachSnapshot) -> Repair {
    Repair::of(plan_detach(snapshot))
}

/// Takes hold of a link by its id and pins it.
pub(super) fn pin_again(
    subject: &str,
    found: &kernel::Link,
    path: &AbsolutePath,
    pin: &PinState,
    ground: Ground<'_>,
) -> Plan {
    let mut plan = Plan::new(format!("pinning {subject} again"));
    let pin = ground.mount(&mut plan, path, pin);
    plan.push_final(
        Action::Kernel(KernelAction::AdoptLink {
            link: found.id,
            program: found.program,
        }),
        "the plan lets go of it when it ends",
    );
    make_parents(&mut plan, path, &pin);
    pin_link(&mut plan, LinkReference::Known(found.id), path);
    plan
}
