//! Attaching to the hooks of an interface.

use alloc::format;
use alloc::string::String;

use super::attach::AttachRefusal;
use super::attach::InterfaceFacts;
use super::attach::Occupants;
use super::attach::TC_FILTER;
use super::attach_target::Attached;
use super::attach_target::Attachment;
use crate::action::AttachTarget;
use crate::action::OrderedPlace;
use crate::action::TcFilter;
use crate::kernel::AttachOrder;
use crate::managed::AttachRequest;
use crate::managed::FilterPlace;
use crate::managed::Hook;
use crate::managed::InterfaceRequest;
use crate::managed::Link;
use crate::managed::LinkDetails;
use crate::managed::LinkInterface;
use crate::managed::Program;
use crate::types::Direction;
use crate::types::KernelLinkId;
use crate::types::Priority;
use crate::types::ProgramType;
use crate::types::TC_DEFAULT;
use crate::types::XDP_DEFAULT;

pub(super) fn network(
    request: &AttachRequest,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<Attachment, AttachRefusal> {
    match request {
        AttachRequest::Xdp {
            interface,
            priority,
            proceed_on,
            mode,
        } => {
            alone(Hook::Xdp, interface, facts)?;
            let at = link_interface(interface, facts);
            let target = AttachTarget::Xdp {
                interface: at.target(),
                mode: *mode,
            };
            Ok(Attachment {
                target: target.into(),
                details: LinkDetails::Xdp {
                    at,
                    priority: *priority,
                    proceed_on: proceed_on.clone().unwrap_or_else(|| XDP_DEFAULT.to_vec()),
                    mode: *mode,
                },
            })
        }
        AttachRequest::Tc {
            interface,
            direction,
            priority,
            proceed_on,
        } => {
            alone(Hook::Tc(*direction), interface, facts)?;
            let at = link_interface(interface, facts);
            let (target, filter) = traffic_control(&at, *direction, facts);
            Ok(Attachment {
                target,
                details: LinkDetails::Tc {
                    at,
                    direction: *direction,
                    priority: *priority,
                    proceed_on: proceed_on.clone().unwrap_or_else(|| TC_DEFAULT.to_vec()),
                    filter,
                },
            })
        }
        AttachRequest::Tcx {
            interface,
            direction,
            priority,
        } => tcx(interface, *direction, *priority, program, facts),
        AttachRequest::Netkit {
            interface,
            priority,
        } => netkit(interface, *priority, program, facts),
        _ => unreachable!("only requests for an interface have the facts of one"),
    }
}

fn tcx(
    interface: &InterfaceRequest,
    direction: Direction,
    priority: Priority,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<Attachment, AttachRefusal> {
    let at = link_interface(interface, facts);
    let target = AttachTarget::Tcx {
        interface: at.target(),
        direction,
        place: in_order(Hook::Tcx(direction), interface, priority, program, facts)?,
    };
    Ok(Attachment {
        target: target.into(),
        details: LinkDetails::Tcx {
            at,
            direction,
            priority,
        },
    })
}

fn netkit(
    interface: &InterfaceRequest,
    priority: Priority,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<Attachment, AttachRefusal> {
    let peer = program.load.program_type == ProgramType::NetkitPeer;
    let at = link_interface(interface, facts);
    let target = AttachTarget::Netkit {
        interface: at.target(),
        peer,
        place: in_order(Hook::Netkit { peer }, interface, priority, program, facts)?,
    };
    Ok(Attachment {
        target: target.into(),
        details: LinkDetails::Netkit { at, peer, priority },
    })
}

/// The last TCX link; on a kernel without TCX, a filter.
fn traffic_control(
    at: &LinkInterface,
    direction: Direction,
    facts: &InterfaceFacts,
) -> (Attached, Option<FilterPlace>) {
    match &facts.attached {
        Occupants::Order(order) => {
            let target = AttachTarget::Tcx {
                interface: at.target(),
                direction,
                place: last(order),
            };
            (target.into(), None)
        }
        Occupants::Filter(_) => {
            let filter = TcFilter {
                interface: at.target(),
                direction,
                preference: TC_FILTER.preference,
                handle: TC_FILTER.handle,
            };
            (Attached::ByFilter(filter), Some(TC_FILTER))
        }
    }
}

fn link_interface(request: &InterfaceRequest, facts: &InterfaceFacts) -> LinkInterface {
    LinkInterface {
        interface: request.name.clone(),
        ifindex: facts.ifindex,
        netns: request.netns.clone(),
        nsid: facts.nsid,
    }
}

/// How a hook is called in messages.
fn place_name(hook: Hook, interface: &InterfaceRequest) -> String {
    let name = &interface.name;
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

/// Refuses a second program where only one can be. What counts is what the kernel has there: a record alone may
/// speak of an interface that has gone, whose number another one has now.
fn alone(
    hook: Hook,
    interface: &InterfaceRequest,
    facts: &InterfaceFacts,
) -> Result<(), AttachRefusal> {
    let at_hook = |link: &&Link| link.details.attach_point().map(|point| point.hook) == Some(hook);
    let of_program = |program| {
        let ours = facts
            .neighbours
            .iter()
            .filter(at_hook)
            .find(|link| link.program == program);
        (program, ours.map(|link| link.id))
    };
    let occupant = match (&facts.attached, hook) {
        (Occupants::Filter(program), _) => program.map(of_program),
        (Occupants::Order(order), Hook::Xdp) => order
            .members
            .first()
            .map(|member| of_program(member.program)),
        (Occupants::Order(order), _) => members(order, &facts.neighbours)
            .filter_map(|(_, link)| link)
            .find(at_hook)
            .map(|link| (link.program, Some(link.id))),
    };
    match occupant {
        None => Ok(()),
        Some((program, link)) => Err(AttachRefusal::Occupied {
            place: place_name(hook, interface),
            program,
            link,
        }),
    }
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
    interface: &InterfaceRequest,
    priority: Priority,
    program: &Program,
    facts: &InterfaceFacts,
) -> Result<OrderedPlace, AttachRefusal> {
    let Occupants::Order(order) = &facts.attached else {
        unreachable!("only TC is attached where the kernel keeps no order");
    };
    let mut attached = order.members.iter();
    if let Some(same) = attached.find(|member| member.program == program.id()) {
        let ours = facts
            .neighbours
            .iter()
            .find(|link| link.kernel == same.link);
        return Err(AttachRefusal::AttachedAlready {
            place: place_name(hook, interface),
            program: program.id(),
            link: ours.map(|link| link.id),
        });
    }
    let later = |link: &Link| match link.details {
        LinkDetails::Tc { .. } => true,
        _ => link
            .details
            .priority()
            .is_some_and(|theirs| theirs > priority),
    };
    let before = members(order, &facts.neighbours).find(|(_, link)| link.is_some_and(later));
    Ok(OrderedPlace {
        before: before.map(|(id, _)| id),
        ..last(order)
    })
}
