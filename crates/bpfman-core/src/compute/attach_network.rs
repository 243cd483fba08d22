//! Attaching to the hooks of an interface.

use alloc::format;
use alloc::string::String;

use super::attach_facts::InterfaceFacts;
use super::attach_refusal::AttachRefusal;
use super::attachment::Attachment;
use crate::action::AttachTarget;
use crate::action::OrderedPlace;
use crate::kernel::AttachOrder;
use crate::links;
use crate::links::AttachRequest;
use crate::links::Hook;
use crate::links::LinkDetails;
use crate::links::LinkInterface;
use crate::managed::Link;
use crate::managed::Program;
use crate::types::Direction;
use crate::types::KernelLinkId;
use crate::types::Priority;
use crate::types::ProgramType;

pub(super) fn network(
    request: &AttachRequest,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<Attachment, AttachRefusal> {
    match request {
        AttachRequest::Tcx(links::TcxRequest {
            direction,
            priority,
            ..
        }) => tcx(*direction, *priority, program, facts),
        AttachRequest::Netkit(links::NetkitRequest { priority, .. }) => {
            netkit(*priority, program, facts)
        }
        _ => unreachable!("only requests for an interface have the facts of one"),
    }
}

fn tcx(
    direction: Direction,
    priority: Priority,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<Attachment, AttachRefusal> {
    let at = facts.at.clone();
    let target = AttachTarget::Tcx {
        interface: at.target(),
        direction,
        place: in_order(Hook::Tcx(direction), priority, program, facts)?,
    };
    Ok(Attachment {
        target,
        details: LinkDetails::Tcx(links::Tcx {
            at,
            direction,
            priority,
        }),
    })
}

fn netkit(
    priority: Priority,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<Attachment, AttachRefusal> {
    let peer = program.load.program_type == ProgramType::NetkitPeer;
    let at = facts.at.clone();
    let target = AttachTarget::Netkit {
        interface: at.target(),
        peer,
        place: in_order(Hook::Netkit { peer }, priority, program, facts)?,
    };
    Ok(Attachment {
        target,
        details: LinkDetails::Netkit(links::Netkit { at, peer, priority }),
    })
}

/// How a hook is called in messages.
fn place_name(hook: Hook, at: &LinkInterface) -> String {
    let name = &at.interface;
    match hook {
        Hook::Xdp => format!("xdp of {name}"),
        Hook::Tc(direction) => format!("tc {direction} of {name}"),
        Hook::Tcx(direction) => format!("tcx {direction} of {name}"),
        Hook::Netkit { .. } => format!("netkit of {name}"),
    }
}

/// The kernel links that are alive at the hook, with our record where it is ours, in the kernel's order.
fn members<'a>(
    order: &'a AttachOrder,
    neighbours: &'a [Link],
) -> impl Iterator<Item = (KernelLinkId, Option<&'a Link>)> {
    let ours = |id| neighbours.iter().find(move |link| link.kernel == Some(id));
    let linked = order.members.iter().filter_map(|member| member.link);
    linked.map(move |id| (id, ours(id)))
}

fn last(order: &AttachOrder) -> OrderedPlace {
    OrderedPlace {
        before: None,
        revision: order.revision,
    }
}

/// Before the first program with a larger priority, else after the last (contract: section 4). Programs of TC
/// come after all of TCX. The anchor is a link that the kernel has there now, never one out of the records.
fn in_order(
    hook: Hook,
    priority: Priority,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<OrderedPlace, AttachRefusal> {
    let order = &facts.attached;
    let mut attached = order.members.iter();
    if let Some(same) = attached.find(|member| member.program == program.id()) {
        let ours = facts
            .neighbours
            .iter()
            .find(|link| link.kernel == same.link);
        return Err(AttachRefusal::AttachedAlready {
            place: place_name(hook, &facts.at),
            program: program.id(),
            link: ours.map(|link| link.id),
        });
    }
    let later = |link: &Link| {
        let theirs = link.details.priority();
        theirs.is_some_and(|theirs| theirs > priority)
    };
    let before = members(order, &facts.neighbours)
        .find(|(id, link)| facts.tc == Some(*id) || link.is_some_and(later));
    Ok(OrderedPlace {
        before: before.map(|(id, _)| id),
        ..last(order)
    })
}
