//! The plan of an attach.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::attach_facts::AttachFacts;
use super::attach_facts::UsdtFacts;
use super::attach_refusal::AttachRefusal;
use super::attach_target::attachment;
use super::attachment::Attachment;
use super::detach::DetachSnapshot;
use super::detach::is_ours;
use super::load::mount_bpffs;
use super::pins::make_pin_directory;
use super::pins::move_pin;
use super::pins::pin_link;
use super::pins::unpin_link;
use super::struct_ops::fill_struct_ops;
use super::usdt::write_specs;
use crate::action::Action;
use crate::action::AttachTarget;
use crate::action::CreateLink;
use crate::action::KernelAction;
use crate::action::LinkName;
use crate::action::LinkReference;
use crate::action::Plan;
use crate::action::ProgramSource;
use crate::action::StoreAction;
use crate::kernel::AttachOrder;
use crate::kernel::PinState;
use crate::links::AttachPoint;
use crate::links::AttachSpec;
use crate::links::FilterPlace;
use crate::links::Hook;
use crate::links::SharedHook;
use crate::managed::Link;
use crate::managed::LinkDraft;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::LinkId;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;
use crate::types::UnixTime;

/// What the world looks like before an attach, gathered once.
#[derive(Clone, Debug)]
pub struct AttachSnapshot {
    /// The program's record.
    pub program: Program,
    /// What is at its pin.
    pub pin: PinState,
    /// The id of the new link.
    pub link: LinkId,
    /// Whether our bpffs is mounted.
    pub bpffs_mounted: bool,
    /// What the request's words mean here.
    pub facts: AttachFacts,
    /// The time of the operation.
    pub now: UnixTime,
}

/// What the kernel has at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occupants {
    /// Programs in an order; XDP has at most one.
    Order(AttachOrder),
    /// The program at [`TC_FILTER`]: the kernel has no TCX.
    Filter(Option<ProgramId>),
}

impl Occupants {
    /// The program of a hook that has room for one only.
    #[must_use]
    pub fn sole_program(&self, hook: SharedHook) -> Option<ProgramId> {
        match (self, hook) {
            (Self::Filter(program), _) => *program,
            (Self::Order(order), SharedHook::Xdp { .. }) => {
                order.members.first().map(|member| member.program)
            }
            (Self::Order(_), SharedHook::Tc { .. }) => None,
        }
    }
}

/// Where we put our filter. A preference of 50 is what programs in a chain have by default; under it the handle is 1.
pub const TC_FILTER: FilterPlace = FilterPlace {
    preference: 50,
    handle: 1,
};

/// Plans an attach.
///
/// The order, and why: the link is made first, for it is the step most likely to fail, and it dies with the
/// process until it is pinned. The record comes last: it never names something that is not there.
///
/// # Errors
/// An [`AttachRefusal`] that the snapshot tells.
pub fn plan_attach(
    spec: &AttachSpec,
    snapshot: &AttachSnapshot,
    layout: &RuntimeLayout,
) -> Result<Plan, AttachRefusal> {
    let Begun {
        mut plan,
        attachment,
    } = begin(spec, snapshot)?;
    let record = Link {
        id: snapshot.link,
        program: snapshot.program.id(),
        kernel: None,
        pin_path: None,
        details: attachment.details,
        metadata: spec.metadata.clone(),
        created_at: snapshot.now,
    };
    let draft = add_link(&mut plan, attachment.target, record, None, snapshot, layout);
    let id = draft.link.id;
    let link = Box::new(draft);
    plan.commit(
        StoreAction::RecordLink { link },
        StoreAction::DeleteLink { id },
    );
    Ok(plan)
}

/// Plans to attach again what somebody else detached, by the same link: its number, its metadata and its age stay.
/// `old` is what there is of it; a link that is attached to nothing waits aside until the records have changed.
///
/// # Errors
/// As [`plan_attach`].
pub fn plan_reattach(
    spec: &AttachSpec,
    snapshot: &AttachSnapshot,
    old: &DetachSnapshot,
    layout: &RuntimeLayout,
) -> Result<Plan, AttachRefusal> {
    let Begun {
        mut plan,
        attachment,
    } = begin(spec, snapshot)?;
    plan.operation = format!("attaching link {} again", old.link.id);
    let details = match attachment.details.interface() {
        // It keeps the name that it was attached by.
        Some(now) => old.link.details.clone().moved_to(now),
        None => attachment.details.clone(),
    };
    let record = Link {
        details,
        ..old.link.clone()
    };
    let stale = match &old.pin {
        Some(PinState::Link(found)) if is_ours(&old.link, found) => Some(found.id),
        _ => None,
    };
    let stale = stale.zip(old.link.pin_path.as_ref());
    let draft = add_link(
        &mut plan,
        attachment.target,
        record,
        stale,
        snapshot,
        layout,
    );
    let same_pin = draft.link.pin_path.as_ref() == old.link.pin_path.as_ref();
    plan.commit(
        StoreAction::RecordLink {
            link: Box::new(draft),
        },
        StoreAction::SaveLink {
            link: Box::new(old.link.clone()),
        },
    );
    if let Some((link, path)) = stale {
        match same_pin {
            true => unpin_link(&mut plan, link, &layout.link_pin_aside(old.link.id)),
            false => unpin_link(&mut plan, link, path),
        }
    }
    Ok(plan)
}

/// An attach before its link.
struct Begun {
    plan: Plan,
    attachment: Attachment,
}

/// Checks an attach, and prepares what its program reads.
fn begin(spec: &AttachSpec, snapshot: &AttachSnapshot) -> Result<Begun, AttachRefusal> {
    let program = &snapshot.program;
    let attachment = attachment(spec, program, &snapshot.facts)?;
    if !program.is_at(&snapshot.pin) {
        return Err(AttachRefusal::ProgramGone {
            program: program.id(),
            path: program.pin_path.clone(),
        });
    }
    let mut plan = Plan::new(format!("the attach of program {}", program.id()));
    if let AttachFacts::Usdt(facts) = &snapshot.facts {
        add_specs(&mut plan, program, facts)?;
    }
    if let AttachFacts::StructOps(facts) = &snapshot.facts {
        plan.push_final(
            Action::Kernel(fill_struct_ops(program, facts)?),
            "a value is written once, and registers nothing without a link",
        );
    }
    Ok(Begun { plan, attachment })
}

/// Describes the arguments of a static probe.
pub(super) fn add_specs(
    plan: &mut Plan,
    program: &Program,
    facts: &UsdtFacts,
) -> Result<(), AttachRefusal> {
    for element in write_specs(program, facts)? {
        plan.push_final(
            Action::Kernel(element),
            "an element that no link refers to is never read",
        );
    }
    Ok(())
}

/// Makes a link and pins it. `stale` is the link that it takes the place of, with its pin.
fn add_link(
    plan: &mut Plan,
    target: AttachTarget,
    record: Link,
    stale: Option<(KernelLinkId, &AbsolutePath)>,
    snapshot: &AttachSnapshot,
    layout: &RuntimeLayout,
) -> LinkDraft {
    let program = ProgramSource::Pinned {
        program: snapshot.program.id(),
        path: snapshot.program.pin_path.clone(),
    };
    // What dies with the process comes first: it needs no journal.
    let link = create_link(plan, LinkName::Of(record.id), program, target);
    if !snapshot.bpffs_mounted {
        mount_bpffs(plan, layout);
    }
    let path = pin_path(&record, snapshot, layout);
    if let Some(directory) = path.parent() {
        make_pin_directory(plan, directory);
    }
    if let Some((old, pin)) = stale.filter(|(_, pin)| **pin == path) {
        make_pin_directory(plan, layout.links());
        move_pin(plan, old, pin, &layout.link_pin_aside(record.id));
    }
    pin_link(plan, link, &path);
    LinkDraft {
        link: Link {
            pin_path: Some(path),
            ..record
        },
        kernel: Some(link),
    }
}

/// Where a link is pinned: those of TCX where clients look for them, unless that is taken.
fn pin_path(record: &Link, snapshot: &AttachSnapshot, layout: &RuntimeLayout) -> AbsolutePath {
    let known = match &snapshot.facts {
        AttachFacts::Interface(facts) => {
            let point = record.details.attach_point();
            let known = point.and_then(|point| tcx_pin(&point, record.program, layout));
            // What is taken by the link itself is free for what takes its place.
            known.filter(|path| !facts.tcx_pin_taken || record.pin_path.as_ref() == Some(path))
        }
        _ => None,
    };
    known.unwrap_or_else(|| layout.link_pin(record.id))
}

/// The pin that clients know of a program's link at an attach point; `None` for one that is not of TCX.
#[must_use]
pub fn tcx_pin(
    point: &AttachPoint,
    program: ProgramId,
    layout: &RuntimeLayout,
) -> Option<AbsolutePath> {
    let Hook::Tcx(_) = point.hook else {
        return None;
    };
    Some(layout.tcx_link_pin(point.hook.name(), point.nsid, point.ifindex, program))
}

/// Attaches a program by a link, which is still to be pinned.
pub(super) fn create_link(
    plan: &mut Plan,
    name: LinkName,
    program: ProgramSource,
    target: AttachTarget,
) -> LinkReference {
    let link = LinkReference::Made { link: name };
    plan.push(
        Action::Kernel(KernelAction::CreateLink(CreateLink {
            link: name,
            program,
            target,
        })),
        Action::Kernel(KernelAction::ReleaseLink { link }),
    );
    link
}

/// The link that already does what `new` would do: attached twice, a program would run twice each time. `None` for the
/// kinds whose attach points have rules of their own, for probes, each of which is one that the kernel counts by itself,
/// and for iterators, which run only when somebody reads them.
#[must_use]
pub fn twin<'a>(new: &Link, links: &'a [Link]) -> Option<(&'a Link, String)> {
    let place = new.details.once_at()?;
    let same = |link: &&Link| link.program == new.program && link.details == new.details;
    let link = links.iter().find(same)?;
    Some((link, place))
}

/// The place of each link among those of its attach point, first is 0.
#[must_use]
pub fn position(link: &Link, neighbours: &[Link]) -> Option<usize> {
    let rank = |link: &Link| (link.details.priority(), link.id);
    let point = link.details.attach_point()?;
    let before = neighbours
        .iter()
        .filter(|other| other.details.attach_point() == Some(point) && rank(other) < rank(link));
    Some(before.count())
}
