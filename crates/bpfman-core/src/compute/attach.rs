//! The plan of an attach.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::attach_target::Attachment;
use super::attach_target::attachment;
use super::detach::DetachSnapshot;
use super::detach::is_ours;
use super::load::mount_bpffs;
use super::pins::make_pin_directory;
use super::pins::move_pin;
use super::pins::pin_link;
use super::pins::unpin_link;
use super::struct_ops::StructOpsFacts;
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
use crate::kernel;
use crate::kernel::AttachOrder;
use crate::kernel::PinState;
use crate::links::AttachPoint;
use crate::links::AttachSpec;
use crate::links::FilterPlace;
use crate::links::Hook;
use crate::links::LinkInterface;
use crate::links::ProbeSite;
use crate::links::SharedHook;
use crate::managed::Link;
use crate::managed::LinkDraft;
use crate::managed::Program;
use crate::object::StructOpsError;
use crate::target::UsdtProbe;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::KernelLinkId;
use crate::types::LinkId;
use crate::types::NetnsId;
use crate::types::ProgramId;
use crate::types::ProgramType;
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

/// What the words of an [`crate::links::AttachRequest`] mean on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachFacts {
    /// There was nothing to look up.
    Nothing,
    /// An interface.
    Interface(InterfaceFacts),
    /// The id of a tracepoint.
    Tracepoint(u64),
    /// Functions of the kernel.
    Functions(Vec<String>),
    /// Places of a file.
    Sites {
        /// The file as the kernel is told.
        path: AbsolutePath,
        /// The places.
        sites: Vec<ProbeSite>,
    },
    /// A probe that a file's author placed.
    Usdt(UsdtFacts),
    /// The id of a cgroup.
    Cgroup(u64),
    /// A network namespace.
    Namespace(NetnsId),
    /// A struct_ops map.
    StructOps(StructOpsFacts),
}

/// An interface and what is attached to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// The interface, as it is called now.
    pub at: LinkInterface,
    /// What the kernel has at the hook.
    pub attached: AttachOrder,
    /// Our links at the hook.
    pub neighbours: Vec<Link>,
    /// The link that holds the programs of TC, which stands in the same order.
    pub tc: Option<KernelLinkId>,
    /// Whether something is at [`tcx_pin`] of the program, or a record says so: the link of an interface that is gone,
    /// whose numbers this one has now, or one that has lost its pin.
    pub tcx_pin_taken: bool,
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

/// A probe that a file's author placed, and where its arguments can be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtFacts {
    /// The file as the kernel is told.
    pub path: AbsolutePath,
    /// The probe.
    pub probe: UsdtProbe,
    /// The map [`USDT_SPECS`] of the program, as the kernel knows it; `None` when the program has none.
    pub specs: Option<kernel::Map>,
    /// The links of the programs that use the same map.
    pub neighbours: Vec<Link>,
}

/// The map that tells a program where the arguments of its probes are (`usdt.bpf.h` of libbpf).
pub const USDT_SPECS: &str = "__bpf_usdt_specs";

/// Why an attach is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachRefusal {
    /// The program is of a type that cannot be attached so.
    #[error("program {program} is a {program_type} program; it cannot be attached as {asked}")]
    WrongKind {
        /// The program.
        program: ProgramId,
        /// Its type.
        program_type: ProgramType,
        /// What was asked for.
        asked: &'static str,
    },
    /// The program's pin is gone, or holds something else.
    #[error("program {program} is no longer at its pin {path}")]
    ProgramGone {
        /// The program.
        program: ProgramId,
        /// Its recorded pin.
        path: AbsolutePath,
    },
    /// A uprobe without a place.
    #[error("a uprobe needs a function name or an offset that is not 0")]
    NothingToProbe,
    /// A program of a type that leaves the direction open, without one.
    #[error("a {0} program can be attached either way: say ingress or egress")]
    DirectionMissing(ProgramType),
    /// A direction for a program of a type that knows none.
    #[error("program {program} is a {program_type} program, which has no direction")]
    NoDirection {
        /// The program.
        program: ProgramId,
        /// Its type.
        program_type: ProgramType,
    },
    /// A direction other than the one of the program's type.
    #[error(
        "program {program} is a {program_type} program; it can be attached for {own} only, not for {asked}"
    )]
    OtherDirection {
        /// The program.
        program: ProgramId,
        /// Its type.
        program_type: ProgramType,
        /// The direction of the type.
        own: Direction,
        /// The direction that was asked for.
        asked: Direction,
    },
    /// A map for an iterator that does not walk through one.
    #[error("program {program} iterates over `{target}`, not over the elements of a map")]
    IteratorWithoutMap {
        /// The program.
        program: ProgramId,
        /// What it iterates over.
        target: String,
    },
    /// An iterator over the elements of a map, without the map.
    #[error("program {program} iterates over `{target}`: it needs a map")]
    IteratorNeedsMap {
        /// The program.
        program: ProgramId,
        /// What it iterates over.
        target: String,
    },
    /// A program of a type that leaves the attach type open.
    #[error("{0} is ambiguous: declare the type as one of {1}")]
    TypeTooVague(ProgramType, &'static str),
    /// The program was built without the map that describes arguments.
    #[error("program {0} has no pinned map `{USDT_SPECS}`, which tells it where arguments are")]
    NoSpecMap(ProgramId),
    /// The map that describes arguments has no room, or a layout that we do not know.
    #[error("map `{USDT_SPECS}` of program {program}: {reason}")]
    SpecMap {
        /// The program.
        program: ProgramId,
        /// What is wrong.
        reason: String,
    },
    /// No struct_ops map of the program, or none of that name.
    #[error("no struct_ops map {}uses program {program}", .map.as_ref().map(|map| alloc::format!("`{map}` ")).unwrap_or_default())]
    NoStructOpsMap {
        /// The program.
        program: ProgramId,
        /// The name that was asked for.
        map: Option<String>,
        /// The maps that use the program.
        available: Vec<String>,
    },
    /// Several struct_ops maps use the program, and none was named.
    #[error("program {program} is used by several struct_ops maps: {}", .maps.join(", "))]
    SeveralStructOpsMaps {
        /// The program.
        program: ProgramId,
        /// Their names.
        maps: Vec<String>,
    },
    /// The struct_ops map has lost its pin.
    #[error("map `{map}` of program {program} is no longer at its pin")]
    StructOpsMapGone {
        /// The program.
        program: ProgramId,
        /// The map.
        map: String,
    },
    /// The struct_ops map was declared for what no link holds.
    #[error("struct_ops map `{0}` cannot be attached by a link: it is in section `.struct_ops`")]
    StructOpsWithoutLink(String),
    /// Another program of the map is gone.
    #[error(
        "struct_ops map `{map}` calls program `{program}`, which is not managed or no longer at its pin"
    )]
    StructOpsProgramGone {
        /// The map.
        map: String,
        /// The program's function.
        program: String,
    },
    /// What the map is to hold cannot be worked out.
    #[error("struct_ops map `{map}`: {cause}")]
    StructOpsValue {
        /// The map.
        map: String,
        /// Why.
        cause: StructOpsError,
    },
    /// The same program is there already.
    #[error("program {program} is already attached to {place}{}", .link.map(|link| format!(" as link {link}")).unwrap_or_default())]
    AttachedAlready {
        /// The hook.
        place: String,
        /// The program.
        program: ProgramId,
        /// Our link of it, when it is ours.
        link: Option<LinkId>,
    },
}

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
