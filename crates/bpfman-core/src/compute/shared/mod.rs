//! Attach points that several programs share: XDP and TC. One membership logic and one rebuild for both hooks, for
//! both engines, for attach, detach, update and replace.

mod choice;
mod libxdp;
mod membership;
mod program;
mod rebuild;
mod refusal;
mod together;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

pub use choice::JoinedAs;
pub use choice::Joining;
pub use choice::Refused;
pub use choice::remaining;
pub use choice::trial;
pub use libxdp::shown_pin;
pub use membership::runs_alone;
pub use program::is_chain;
pub use program::loads_chain;
pub use program::without_fragments;
pub use refusal::MemberName;
pub use refusal::PointRefusal;
pub use refusal::at_fault;
pub use refusal::why_invalid;

pub(super) use libxdp::directory_end as dispatcher_directory;
pub(super) use rebuild::dispatcher_pin;

use membership::place_name;
use rebuild::Rebuild;

use super::attach::Occupants;
use super::ending::AttachedLink;
use super::ending::Ending;
use crate::action::KeptInstructions;
use crate::action::Plan;
use crate::action::StoreAction;
use crate::chain::Frames;
use crate::kernel;
use crate::kernel::MapType;
use crate::kernel::PinState;
use crate::kernel::ProgramHook;
use crate::kernel::ProgramIdentity;
use crate::links;
use crate::links::AttachRequest;
use crate::links::LinkDetails;
use crate::links::LinkInterface;
use crate::links::SharedHook;
use crate::managed::Dispatcher;
use crate::managed::Link;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::LinkId;
use crate::types::MapId;
use crate::types::Priority;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;
use crate::types::TC_DEFAULT;
use crate::types::XDP_DEFAULT;

/// What there is of an attach point, gathered once.
#[derive(Clone, Debug)]
pub struct PointFacts {
    /// The hook.
    pub hook: SharedHook,
    /// The interface.
    pub at: LinkInterface,
    /// Whether its network namespace is known to be deleted: nothing of the attach point comes back.
    pub namespace_deleted: bool,
    /// Whether our bpffs is mounted.
    pub bpffs_mounted: bool,
    /// How the kernel rounds the stack frames of a chain.
    pub frames: Frames,
    /// Our record of it.
    pub dispatcher: Option<Dispatcher>,
    /// What the kernel has of that record.
    pub state: PointState,
    /// The program that runs there, which is not that of the record after a swap that was interrupted.
    pub runs: Option<ProgramId>,
    /// The pin of the program that runs there, when that is not at it.
    pub lost_pin: Option<LostPin>,
    /// The members of the record, in its order; those whose records are gone are left out.
    pub members: Vec<Member>,
    /// The links of the record whose programs do not run.
    pub left_out: Vec<Member>,
    /// What the kernel has at the hook; `None` when the interface is gone.
    pub occupants: Option<Occupants>,
    /// The program that holds the hook, where it is not ours.
    pub foreign: Option<kernel::Program>,
    /// Whether [`LIBXDP_BPFFS`] is a bpffs, where tools of libxdp look for the members of a dispatcher.
    pub libxdp: bool,
    /// The programs at the pins that show the members to those tools.
    pub shown: BTreeMap<LinkId, ProgramId>,
}

/// A pin at which its program is not.
#[derive(Clone, Debug)]
pub struct LostPin {
    /// The pin.
    pub path: AbsolutePath,
    /// What is there.
    pub state: PinState,
    /// The program, when nothing is there.
    pub program: Option<ProgramIdentity>,
}

/// The pin by which what runs at an attach point is found when it is to run again.
#[must_use]
pub fn running_pin(
    dispatcher: &Dispatcher,
    members: &[Member],
    layout: &RuntimeLayout,
) -> Option<AbsolutePath> {
    match dispatcher.directory(layout) {
        Some(directory) => Some(dispatcher_pin(&directory)),
        None => members.first().map(|one| one.program.pin_path.clone()),
    }
}

impl PointFacts {
    /// Whether what runs there has gone with its interface to another place than that of the record.
    fn has_moved(&self) -> bool {
        let runs = self.state == PointState::Attached;
        let record = self.dispatcher.as_ref();
        runs && record.is_some_and(|record| !record.at.is_at(&self.at))
    }

    /// Whether a link is one of its own, if its program runs or not.
    fn has(&self, other: &Member) -> bool {
        let mut links = self.links();
        links.any(|link| link.link.id == other.link.id)
    }

    /// Its links, those whose programs run and those whose do not.
    pub fn links(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(&self.left_out)
    }
}

/// What the kernel has of a recorded attach point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointState {
    /// It runs, as recorded.
    Attached,
    /// Its interface is there, but nothing holds it there: its link was detached, or its filter removed.
    Detached,
    /// Its interface is gone.
    Defunct,
    /// The holder has lost its pin and is alive: somebody else holds it.
    Unpinned,
    /// The kernel has nothing of it.
    Missing,
}

/// A link of an attach point, and its program.
#[derive(Clone, Debug)]
pub struct Member {
    /// The link's record.
    pub link: Link,
    /// The program's record.
    pub program: Program,
    /// Whether the program is at its pin.
    pub at_pin: bool,
    /// Its instructions; `None` when they were not looked at, or are lost.
    pub kept: Option<Box<KeptInstructions>>,
    /// What a chain wants to know besides them.
    pub facts: MemberFacts,
    /// The map at the pin of its counter.
    pub counter: Option<MapId>,
}

/// What the kernel says of the things that a member's instructions refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFacts {
    /// The names of the kernel's functions that they call, by their types in the kernel's BTF.
    pub kernel_functions: BTreeMap<u32, String>,
    /// The BTF of the program in the kernel; empty when it has none, or needs none because it has no functions.
    pub types: Vec<u8>,
    /// The maps that they load, by their ids.
    pub maps: BTreeMap<MapId, MapType>,
    /// The extension of the program itself that runs with it, if there is one.
    pub extended: Option<ProgramHook>,
}

/// What is to become of an attach point.
#[derive(Clone, Debug)]
pub enum Change {
    /// A link joins; it has no record yet.
    Join(Box<Member>),
    /// Links leave. They need not be members any more.
    Leave(Vec<Member>),
    /// The links of a program get another program, which has taken its place.
    Exchange {
        /// The program that goes.
        from: ProgramId,
        /// The program that comes.
        to: Box<Program>,
        /// Its instructions.
        kept: Option<Box<KeptInstructions>>,
        /// What a chain wants to know besides them.
        facts: MemberFacts,
    },
    /// Nobody comes or goes: what runs is made anew of the members that have records.
    Refresh,
    /// The members that have records are attached again, which nothing runs any more.
    Reattach,
    /// A link gets another place.
    Alter {
        /// The link.
        link: LinkId,
        /// Its new priority.
        priority: Option<Priority>,
        /// The verdicts after which the next program runs now.
        proceed_on: Option<Vec<i32>>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(member) => write!(f, "the attach of link {}", member.link.id),
            Self::Leave(members) => {
                let ids = members.iter().map(|member| member.link.id.to_string());
                write!(
                    f,
                    "the detach of link {}",
                    ids.collect::<Vec<_>>().join(", ")
                )
            }
            Self::Exchange { from, to, .. } => {
                write!(f, "the replacement of program {from} by {}", to.id())
            }
            Self::Refresh => f.write_str("the refresh of its members"),
            Self::Reattach => f.write_str("attaching its members again"),
            Self::Alter { link, .. } => write!(f, "the update of link {link}"),
        }
    }
}

/// The details of a link that joins an attach point; `None` for a request of another kind.
#[must_use]
pub fn joining(
    request: &AttachRequest,
    at: LinkInterface,
    id: LinkId,
    layout: &RuntimeLayout,
) -> Option<LinkDetails> {
    let counter = |count: bool| count.then(|| layout.counter_pin(id));
    match request {
        AttachRequest::Xdp(links::XdpRequest {
            priority,
            proceed_on,
            mode,
            count,
            ..
        }) => Some(LinkDetails::Xdp(links::Xdp {
            at,
            priority: *priority,
            proceed_on: proceed_on.clone().unwrap_or_else(|| XDP_DEFAULT.to_vec()),
            mode: *mode,
            counter: counter(*count),
        })),
        AttachRequest::Tc(links::TcRequest {
            direction,
            priority,
            proceed_on,
            count,
            ..
        }) => Some(LinkDetails::Tc(links::Tc {
            at,
            direction: *direction,
            priority: *priority,
            proceed_on: proceed_on.clone().unwrap_or_else(|| TC_DEFAULT.to_vec()),
            counter: counter(*count),
        })),
        _ => None,
    }
}

/// Plans a change of an attach point.
///
/// The order, and why: the new program is made first, for it is the step most likely to fail. Then it takes the place of
/// the old one, between two packets. The old one keeps its pin until the records say that the new one runs, so that
/// whoever finds the change interrupted before can put it back.
///
/// # Errors
/// A [`PointRefusal`] that the facts tell.
pub fn plan_change(
    facts: &PointFacts,
    change: &Change,
    joining: Joining<'_>,
    layout: &RuntimeLayout,
) -> Result<Plan, PointRefusal> {
    let mut plan = Plan::new(format!("{change}, {}", place_name(facts)));
    add_change(&mut plan, facts, change, joining, layout)?.add(&mut plan);
    Ok(plan)
}

/// Appends the steps of a change up to its end.
pub(super) fn add_change(
    plan: &mut Plan,
    facts: &PointFacts,
    change: &Change,
    joining: Joining<'_>,
    layout: &RuntimeLayout,
) -> Result<Ending, PointRefusal> {
    let after = membership::after(facts, change)?;
    match (facts.state, change) {
        // What runs there is none of their business any more.
        (_, Change::Leave(leaving)) if !leaving.iter().any(|link| facts.has(link)) => {
            let mut ending = Ending::default();
            rebuild::delete_left(&mut ending, leaving);
            return Ok(ending);
        }
        (PointState::Attached, _) => {}
        (_, Change::Join(_) | Change::Reattach) => membership::check_free(facts)?,
        // A dead attach point goes as a whole: nobody could detach its other members from anything.
        (_, Change::Leave(leaving)) if facts.namespace_deleted => {
            let stayed = after.into_iter();
            let all: Vec<Member> = leaving.iter().cloned().chain(stayed).collect();
            return Ok(forget(facts, layout, &all, &[]));
        }
        (_, Change::Leave(leaving)) => return Ok(forget(facts, layout, leaving, &after)),
        (state, Change::Alter { link, .. }) => {
            let link = *link;
            return Err(PointRefusal::NotAttached { link, state });
        }
        (state, Change::Exchange { .. } | Change::Refresh) => {
            let first = facts.members.first().map(|member| member.link.id);
            let link = first.unwrap_or(LinkId(0));
            return Err(PointRefusal::NotAttached { link, state });
        }
    }
    let leaving: &[Member] = match change {
        Change::Leave(leaving) => leaving,
        Change::Join(_)
        | Change::Alter { .. }
        | Change::Exchange { .. }
        | Change::Refresh
        | Change::Reattach => &[],
    };
    let chosen = choice::choose(facts, change, after, joining)?;
    Ok(Rebuild::new(facts, chosen, leaving, layout).add(plan))
}

/// Takes links out of the records of an attach point that no longer runs.
fn forget(
    facts: &PointFacts,
    layout: &RuntimeLayout,
    leaving: &[Member],
    after: &[Member],
) -> Ending {
    let mut ending = Ending::default();
    rebuild::delete_left(&mut ending, leaving);
    let Some(dispatcher) = &facts.dispatcher else {
        return ending;
    };
    let members: Vec<LinkId> = after.iter().map(|member| member.link.id).collect();
    if after.is_empty() {
        rebuild::unpin_revision(&mut ending.after, facts, layout, dispatcher);
        rebuild::delete_record(&mut ending.records, dispatcher);
        ending.links.extend(holder(facts, dispatcher));
        return ending;
    }
    let mut left = Dispatcher {
        members,
        ..dispatcher.clone()
    };
    let leaves = |link| leaving.iter().any(|member| member.link.id == link);
    left.left_out.retain(|left_out| !leaves(left_out.link));
    if left != *dispatcher {
        rebuild::unpin_members(&mut ending.after, facts, dispatcher, leaving);
        ending.records.push(
            StoreAction::SaveDispatcher {
                dispatcher: Box::new(left),
            },
            StoreAction::SaveDispatcher {
                dispatcher: Box::new(dispatcher.clone()),
            },
        );
    }
    ending
}

/// The link that is still to be let go of.
fn holder(facts: &PointFacts, dispatcher: &Dispatcher) -> Option<AttachedLink> {
    let (link, pin) = dispatcher.link()?;
    let pin = match facts.state {
        PointState::Attached | PointState::Detached | PointState::Defunct => Some(pin.clone()),
        PointState::Unpinned => None,
        PointState::Missing => return None,
    };
    Some(AttachedLink { link, pin })
}
