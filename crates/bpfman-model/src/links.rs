//! Links that are there: holding, pinning and detaching them, each as `bpfman_interpreter::kernel` carries it out.

use bpfman_core::action::FillStructOps;
use bpfman_core::action::KernelAction;
use bpfman_core::action::LinkReference;
use bpfman_core::action::Outcome;
use bpfman_core::action::RestoreLink;
use bpfman_core::kernel;
use bpfman_core::kernel::AttachOrder;
use bpfman_core::kernel::AttachedProgram;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::NetnsId;

use crate::Errno;
use crate::attach;
use crate::errno::bad_request;
use crate::link_types;
use crate::objects::ProcessId;
use crate::pins;
use crate::pins::expect_pin;
use crate::state::State;
use crate::tree::Node;

/// A link that is named by its id in the kernel.
pub(crate) fn known(reference: LinkReference) -> Result<KernelLinkId, KernelError> {
    match reference {
        LinkReference::Known(id) => Ok(id),
        LinkReference::Made { .. } => Err(bad_request("a link without a kernel id")),
    }
}

/// The actions on links that are there.
pub(crate) fn interpret(
    state: &mut State,
    process: ProcessId,
    action: &KernelAction,
) -> Result<Outcome, KernelError> {
    match action {
        KernelAction::ReleaseLink { link } => {
            let id = known(*link)?;
            state.objects.held(process).links.remove(&id);
            Ok(Outcome::Done)
        }
        KernelAction::PinLink { link, path } => {
            let id = known(*link)?;
            if !state.objects.held(process).links.contains(&id) {
                return Err(bad_request(format!("link {id} is not held")));
            }
            pins::pin(&mut state.tree, Node::Link(id), path)
        }
        KernelAction::UnpinLink { link, path } => {
            let id = known(*link)?;
            let outcome = pins::unpin(&mut state.tree, &Node::Link(id), path)?;
            if outcome == Outcome::Done {
                state.objects.held(process).links.insert(id);
            }
            Ok(outcome)
        }
        KernelAction::MovePin { link, from, to } => {
            pins::rename(&mut state.tree, Node::Link(*link), from, to)
        }
        KernelAction::AdoptLink { link, program } => {
            let found = state.objects.links.get(link);
            let found = found.ok_or_else(|| Errno::NotFound.refusal("the link"))?;
            if found.program != *program {
                let message = format!("link {link} has program {} now", found.program);
                return Err(KernelError::new(KernelErrorKind::NotOurs, message));
            }
            state.objects.held(process).links.insert(*link);
            Ok(Outcome::Done)
        }
        KernelAction::DetachLink { link, pin } => detach(state, *link, pin.as_ref()),
        // A process that holds nothing frees what it let go of at once.
        KernelAction::AwaitLinkGone { .. } => Ok(Outcome::Unchanged),
        KernelAction::RestoreLink(restore) => self::restore(state, process, restore),
        _ => Err(bad_request("no action on a link")),
    }
}

/// Attaches a program and pins its link, unless one of it is there.
fn restore(
    state: &mut State,
    process: ProcessId,
    restore: &RestoreLink,
) -> Result<Outcome, KernelError> {
    let RestoreLink {
        program,
        target,
        path,
    } = restore;
    match state.tree.lookup(path) {
        Ok(Node::Link(id))
            if state.objects.links.get(&id).map(|link| link.program) == Some(program.program) =>
        {
            return Ok(Outcome::Unchanged);
        }
        Ok(_) => {
            let message = format!("{path} now holds something else");
            return Err(KernelError::new(KernelErrorKind::NotOurs, message));
        }
        Err(_) => {}
    }
    expect_pin(state, &program.path, &Node::Program(program.program))?;
    let id = attach::attach(state, process, program.program, target)?;
    let pinned = pins::pin(&mut state.tree, Node::Link(id), path);
    state.objects.held(process).links.remove(&id);
    pinned
}

/// Detaches a link at its pin, or one that lives by itself.
fn detach(
    state: &mut State,
    id: KernelLinkId,
    pin: Option<&AbsolutePath>,
) -> Result<Outcome, KernelError> {
    if let Some(path) = pin
        && pins::unpin(&mut state.tree, &Node::Link(id), path)? == Outcome::Unchanged
    {
        return Ok(Outcome::Unchanged);
    }
    let link = state.objects.links.get(&id);
    Ok(match link.map(|link| link.link_type.can_be_detached()) {
        None => Outcome::Unchanged,
        Some(false) => Outcome::LetGo { link: id },
        Some(true) => {
            cut(state, id);
            Outcome::Done
        }
    })
}

/// Cuts a link off from what it is attached to.
pub(crate) fn cut(state: &mut State, id: KernelLinkId) {
    state.network.remove(id);
    if let Some(link) = state.objects.links.get_mut(&id) {
        lose_place(link);
    }
}

/// What a link says of its place once that is gone.
pub(crate) fn lose_place(link: &mut kernel::Link) {
    match &mut link.place {
        LinkPlace::Interface { ifindex } => *ifindex = None,
        LinkPlace::Cgroup { cgroup } => *cgroup = 0,
        LinkPlace::Namespace { netns } => *netns = NetnsId(0),
        LinkPlace::Map { map } => *map = None,
        LinkPlace::Named { .. } | LinkPlace::Unsaid => {}
    }
}

/// What stands at a hook.
pub(crate) fn attached(
    state: &State,
    interface: &InterfaceTarget,
    hook: Hook,
) -> Result<AttachOrder, KernelError> {
    let asking = || format!("querying the programs on {interface}");
    let link_type = match hook {
        Hook::Xdp => link_types::XDP,
        Hook::Tc(_) | Hook::Tcx(_) => link_types::TCX,
        Hook::Netkit { .. } => link_types::NETKIT,
    };
    let point = state.network.point(interface, hook)?;
    if hook != Hook::Xdp && state.lacking.contains(&link_type) {
        let message = "this kernel has no such hooks".to_owned();
        return Err(KernelError::new(KernelErrorKind::Unsupported, message));
    }
    let point = point.ok_or_else(|| Errno::NoDevice.refusal(asking()))?;
    let order = state.network.order(&point);
    let links = order
        .links
        .iter()
        .filter_map(|id| state.objects.links.get(id));
    // The kernel does not say by which link XDP's program is there.
    let member = |link: &kernel::Link| AttachedProgram {
        program: link.program,
        link: (hook != Hook::Xdp).then_some(link.id),
    };
    Ok(AttachOrder {
        revision: if hook == Hook::Xdp { 0 } else { order.revision },
        members: links.map(member).collect(),
    })
}

/// Writes an element of a pinned map. What maps hold is no part of this world.
pub(crate) fn write_element(
    state: &State,
    map: MapId,
    path: &AbsolutePath,
) -> Result<Outcome, KernelError> {
    expect_pin(state, path, &Node::Map(map)).map(|()| Outcome::Done)
}

/// Fills a struct_ops map; its contents are not simulated.
pub(crate) fn fill_struct_ops(state: &State, fill: &FillStructOps) -> Result<Outcome, KernelError> {
    for member in &fill.programs {
        expect_pin(state, &member.path, &Node::Program(member.program))?;
    }
    write_element(state, fill.map, &fill.path)
}
