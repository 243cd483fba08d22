//! Attaching, as `bpfman_interpreter::kernel` carries it out.

use bpfman_core::action::AttachTarget;
use bpfman_core::action::CreateLink;
use bpfman_core::action::CreatedLink;
use bpfman_core::action::OrderedPlace;
use bpfman_core::action::Outcome;
use bpfman_core::action::ProgramSource;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::KernelLinkType;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::ProgramId;
use bpfman_core::types::XdpMode;

use crate::Errno;
use crate::errno::bad_request;
use crate::known::known_program;
use crate::link_types;
use crate::objects::ProcessId;
use crate::pins::expect_pin;
use crate::program::check_slot;
use crate::state::State;
use crate::tree::Node;

/// Where a new link goes.
struct Spot {
    place: LinkPlace,
    /// Its hook, and the link it stands before.
    hook: Option<(AttachPoint, Option<KernelLinkId>)>,
}

impl Spot {
    fn at(place: LinkPlace) -> Self {
        Self { place, hook: None }
    }
}

/// Attaches; a failure leaves nothing.
pub(crate) fn create(
    state: &mut State,
    process: ProcessId,
    create: &CreateLink,
) -> Result<Outcome, KernelError> {
    let program = program_of(state, process, &create.program)?;
    let id = attach(state, process, program, &create.target)?;
    Ok(Outcome::Linked(CreatedLink {
        link: create.link,
        id,
    }))
}

/// Attaches a program; the process holds the link.
pub(crate) fn attach(
    state: &mut State,
    process: ProcessId,
    program: ProgramId,
    target: &AttachTarget,
) -> Result<KernelLinkId, KernelError> {
    let link_type = link_type(target);
    if state.lacking.contains(&link_type) {
        return Err(unsupported(target));
    }
    if !takes(state, target, program) {
        // To a program of another type a kernel without links of perf events answers alike. A slot takes extensions.
        return Err(match target {
            AttachTarget::Tracepoint { .. } | AttachTarget::Slot { .. } => unsupported(target),
            _ => invalid(target),
        });
    }
    check_free_slot(state, process, target)?;
    let Spot { place, hook } = spot(state, program, target)?;
    let id = state.objects.new_link_id();
    let link = kernel::Link {
        id,
        // What a map implements has several programs, and the kernel names none.
        program: match target {
            AttachTarget::StructOps { .. } => ProgramId(0),
            _ => program,
        },
        link_type,
        place,
        facts: kernel::LinkFacts::default(),
    };
    state.objects.links.insert(id, link);
    state.objects.held(process).links.insert(id);
    state.tracepoints.remove(&id);
    if let AttachTarget::Tracepoint { id: tracepoint } = target {
        state.tracepoints.insert(id, *tracepoint);
    }
    if let Some((point, before)) = hook {
        state.network.insert(point, id, before);
    }
    if let Some(slot) = slot(target)? {
        state.objects.slots.insert(slot, id);
    }
    Ok(id)
}

/// The slot of a dispatcher that is meant.
fn slot(target: &AttachTarget) -> Result<Option<(ProgramId, String)>, KernelError> {
    match target {
        AttachTarget::Slot {
            dispatcher,
            function,
        } => Ok(Some((known_program(dispatcher)?, function.clone()))),
        _ => Ok(None),
    }
}

fn check_free_slot(
    state: &mut State,
    process: ProcessId,
    target: &AttachTarget,
) -> Result<(), KernelError> {
    let Some(slot) = slot(target)? else {
        return Ok(());
    };
    check_slot(state, process, slot.0, &slot.1)?;
    match state.objects.slots.contains_key(&slot) {
        true => Err(taken(target)),
        false => Ok(()),
    }
}

fn refusal(target: &AttachTarget, kind: KernelErrorKind, why: &str) -> KernelError {
    KernelError::new(kind, format!("attaching to {target}: {why}"))
}

fn unsupported(target: &AttachTarget) -> KernelError {
    let why = "this kernel does not support it";
    refusal(target, KernelErrorKind::Unsupported, why)
}

/// The kernel's `EINVAL`: the program is of another type or attach type.
fn invalid(target: &AttachTarget) -> KernelError {
    refusal(target, KernelErrorKind::Other, "Invalid argument")
}

fn missing(target: &AttachTarget) -> KernelError {
    refusal(target, KernelErrorKind::NotFound, "there is none")
}

fn taken(target: &AttachTarget) -> KernelError {
    let why = "another program is attached there, or this one is already";
    refusal(target, KernelErrorKind::Taken, why)
}

pub(crate) fn program_of(
    state: &mut State,
    process: ProcessId,
    source: &ProgramSource,
) -> Result<ProgramId, KernelError> {
    match source {
        ProgramSource::Held { program: reference } => {
            let id = known_program(reference)?;
            if state.objects.held(process).programs.contains(&id) {
                return Ok(id);
            }
            Err(bad_request(format!("program {id} is not held")))
        }
        ProgramSource::Pinned { program, path } => {
            expect_pin(state, path, &Node::Program(*program)).map(|()| *program)
        }
    }
}

fn link_type(target: &AttachTarget) -> KernelLinkType {
    match target {
        AttachTarget::Xdp { .. } => link_types::XDP,
        AttachTarget::Tcx { .. } => link_types::TCX,
        AttachTarget::Netkit { .. } => link_types::NETKIT,
        AttachTarget::Bound | AttachTarget::Slot { .. } => link_types::TRACING,
        AttachTarget::RawTracepoint { .. } => link_types::RAW_TRACEPOINT,
        AttachTarget::Tracepoint { .. }
        | AttachTarget::Kprobe { .. }
        | AttachTarget::Uprobe { .. }
        | AttachTarget::PerfEvent { .. } => link_types::PERF_EVENT,
        AttachTarget::KprobeMulti { .. } => link_types::KPROBE_MULTI,
        AttachTarget::UprobeMulti { .. } => link_types::UPROBE_MULTI,
        AttachTarget::Cgroup { .. } => link_types::CGROUP,
        AttachTarget::Namespace { .. } => link_types::NETNS,
        AttachTarget::Netfilter { .. } => link_types::NETFILTER,
        AttachTarget::Iter { .. } => link_types::ITER,
        AttachTarget::StructOps { .. } => link_types::STRUCT_OPS,
        AttachTarget::Sockmap { .. } => link_types::SOCKMAP,
    }
}

/// Whether the kernel attaches programs of this type so.
fn takes(state: &State, target: &AttachTarget, program: ProgramId) -> bool {
    let wanted = match target {
        AttachTarget::Xdp { .. } => KernelProgramType::XDP,
        AttachTarget::Tcx { .. } | AttachTarget::Netkit { .. } => KernelProgramType::SCHED_CLS,
        AttachTarget::RawTracepoint { .. } => KernelProgramType::RAW_TRACEPOINT,
        AttachTarget::Tracepoint { .. } => KernelProgramType::TRACEPOINT,
        AttachTarget::Kprobe { .. }
        | AttachTarget::Uprobe { .. }
        | AttachTarget::KprobeMulti { .. }
        | AttachTarget::UprobeMulti { .. } => KernelProgramType::KPROBE,
        AttachTarget::PerfEvent { .. } => KernelProgramType::PERF_EVENT,
        AttachTarget::Slot { .. } => KernelProgramType::EXTENSION,
        _ => return true,
    };
    let found = state.objects.programs.get(&program);
    found.is_some_and(|found| found.program_type == wanted)
}

fn spot(state: &State, program: ProgramId, target: &AttachTarget) -> Result<Spot, KernelError> {
    match target {
        AttachTarget::Xdp { interface, mode } => xdp(state, target, interface, *mode),
        AttachTarget::Tcx {
            interface,
            direction,
            place,
        } => ordered(
            state,
            program,
            target,
            interface,
            Hook::Tcx(*direction),
            *place,
        ),
        AttachTarget::Netkit {
            interface,
            peer,
            place,
        } => ordered(
            state,
            program,
            target,
            interface,
            Hook::Netkit { peer: *peer },
            *place,
        ),
        AttachTarget::Bound => {
            let mut links = state.objects.links.values();
            let bound = |link: &kernel::Link| link.link_type == link_types::TRACING;
            match links.any(|link| link.program == program && bound(link)) {
                true => Err(taken(target)),
                false => Ok(Spot::at(LinkPlace::Unsaid)),
            }
        }
        AttachTarget::Cgroup { path, .. } => match state.catalogue.cgroups.get(path) {
            Some(id) => Ok(Spot::at(LinkPlace::Cgroup { cgroup: *id })),
            None => Err(Errno::NotFound.refusal(target)),
        },
        AttachTarget::Namespace { netns, .. } => Ok(Spot::at(LinkPlace::Namespace {
            netns: state.network.enter(netns)?,
        })),
        AttachTarget::RawTracepoint { name } => match state.catalogue.raw_tracepoints.get(name) {
            Some(name) => Ok(Spot::at(LinkPlace::Named { name: name.clone() })),
            None => Err(missing(target)),
        },
        AttachTarget::Tracepoint { id } => tracepoint(state, program, target, *id),
        AttachTarget::StructOps { map, path } => {
            expect_pin(state, path, &Node::Map(*map))?;
            Ok(Spot::at(LinkPlace::Map { map: Some(*map) }))
        }
        AttachTarget::Sockmap { map, .. } => match state.tree.lookup(map) {
            Ok(Node::Map(id)) => Ok(Spot::at(LinkPlace::Map { map: Some(id) })),
            _ => Err(missing(target)),
        },
        other => found(state, other).map(|()| Spot::at(LinkPlace::Unsaid)),
    }
}

fn interface_gone(target: &AttachTarget) -> KernelError {
    refusal(target, KernelErrorKind::NotFound, "the interface is gone")
}

fn xdp(
    state: &State,
    target: &AttachTarget,
    interface: &InterfaceTarget,
    mode: XdpMode,
) -> Result<Spot, KernelError> {
    let point = state.network.point(interface, Hook::Xdp)?;
    let point = point.ok_or_else(|| interface_gone(target))?;
    if mode == XdpMode::Offload {
        return Err(invalid(target));
    }
    if !state.network.order(&point).links.is_empty() {
        return Err(taken(target));
    }
    Ok(at_hook(point, None))
}

/// `bpf_mprog_attach` of the kernel, check by check in its order.
fn ordered(
    state: &State,
    program: ProgramId,
    target: &AttachTarget,
    interface: &InterfaceTarget,
    hook: Hook,
    place: OrderedPlace,
) -> Result<Spot, KernelError> {
    let point = state.network.point(interface, hook)?;
    let point = point.ok_or_else(|| interface_gone(target))?;
    let order = state.network.order(&point);
    if place.revision != 0 && place.revision != order.revision {
        let why = "the order of its programs changed meanwhile";
        return Err(refusal(target, KernelErrorKind::Stale, why));
    }
    let mut programs = order
        .links
        .iter()
        .filter_map(|id| state.objects.links.get(id));
    if programs.any(|link| link.program == program) {
        return Err(taken(target));
    }
    if place
        .before
        .is_some_and(|before| !order.links.contains(&before))
    {
        return Err(missing(target));
    }
    Ok(at_hook(point, place.before))
}

fn at_hook(point: AttachPoint, before: Option<KernelLinkId>) -> Spot {
    Spot {
        place: LinkPlace::Interface {
            ifindex: Some(point.ifindex),
        },
        hook: Some((point, before)),
    }
}

/// All links to a tracepoint share one list of programs.
fn tracepoint(
    state: &State,
    program: ProgramId,
    target: &AttachTarget,
    id: u64,
) -> Result<Spot, KernelError> {
    let mut known = state.catalogue.tracepoints.values();
    if !known.any(|known| *known == id) {
        return Err(invalid(target));
    }
    let links = state.tracepoints.iter().filter(|(_, at)| **at == id);
    let mut links = links.filter_map(|(link, _)| state.objects.links.get(link));
    match links.any(|link| link.program == program) {
        true => Err(taken(target)),
        false => Ok(Spot::at(LinkPlace::Unsaid)),
    }
}

/// That what is attached to exists.
fn found(state: &State, target: &AttachTarget) -> Result<(), KernelError> {
    let catalogue = &state.catalogue;
    let there = match target {
        AttachTarget::Kprobe { function, .. } => catalogue.functions.contains_key(function),
        AttachTarget::KprobeMulti { functions, .. } => functions
            .iter()
            .all(|function| catalogue.traceable(function)),
        AttachTarget::Uprobe { path, .. } | AttachTarget::UprobeMulti { path, .. } => {
            state.tree.lookup(path).is_ok()
        }
        AttachTarget::Netfilter { netns, .. } => return state.network.enter(netns).map(drop),
        AttachTarget::Iter { map: Some(map) } => {
            matches!(state.tree.lookup(map), Ok(Node::Map(_)))
        }
        _ => true,
    };
    if there { Ok(()) } else { Err(missing(target)) }
}
