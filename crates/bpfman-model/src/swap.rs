//! Giving a link another program.

use bpfman_core::action::Outcome;
use bpfman_core::action::ProgramSource;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::KernelLinkType;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::ProgramId;

use crate::attach::program_of;
use crate::link_types;
use crate::objects::ProcessId;
use crate::pins::expect_pin;
use crate::state::State;
use crate::tree::Node;

/// The types of links that can be given another program (`update_prog` of `bpf_link_ops`).
const UPDATABLE: [KernelLinkType; 7] = [
    link_types::XDP,
    link_types::TCX,
    link_types::NETKIT,
    link_types::CGROUP,
    link_types::NETNS,
    link_types::ITER,
    link_types::SOCKMAP,
];

/// A link at its pin, and the program that it must have.
pub(crate) struct Swap<'a> {
    pub(crate) link: KernelLinkId,
    pub(crate) path: &'a AbsolutePath,
    pub(crate) from: ProgramId,
}

/// Swaps; the process holds the old program from then on.
pub(crate) fn update_link(
    state: &mut State,
    process: ProcessId,
    of: &Swap<'_>,
    to: &ProgramSource,
) -> Result<Outcome, KernelError> {
    let to = program_of(state, process, to)?;
    expect_pin(state, of.path, &Node::Link(of.link))?;
    let Some(link) = state.objects.links.get(&of.link).cloned() else {
        let message = format!("link {} is gone", of.link);
        return Err(KernelError::new(KernelErrorKind::NotFound, message));
    };
    check(state, of, &link, to)?;
    // The same program again is no change of the order.
    if link.program != to {
        state.network.swapped(of.link);
    }
    if let Some(link) = state.objects.links.get_mut(&of.link) {
        link.program = to;
    }
    state.objects.held(process).programs.insert(of.from);
    Ok(Outcome::Done)
}

fn check(
    state: &State,
    of: &Swap<'_>,
    link: &kernel::Link,
    to: ProgramId,
) -> Result<(), KernelError> {
    let refusal = |kind, why: &str| {
        let message = format!("link {} ({}) {why}", of.link, of.path);
        Err(KernelError::new(kind, message))
    };
    if link.program != of.from {
        let why = format!("has program {} now, not program {}", link.program, of.from);
        return refusal(KernelErrorKind::Stale, &why);
    }
    if link.place == (LinkPlace::Interface { ifindex: None }) {
        return refusal(KernelErrorKind::Stale, "has lost its interface");
    }
    if !UPDATABLE.contains(&link.link_type) || !alike(state, link, to) {
        return refusal(KernelErrorKind::Unsupported, "cannot have the program");
    }
    let programs = state.network.neighbours(of.link);
    let programs = programs.filter_map(|other| state.objects.links.get(&other));
    if programs.map(|other| other.program).any(|other| other == to) {
        return refusal(KernelErrorKind::Exists, "has a neighbour with the program");
    }
    Ok(())
}

/// Whether the kernel takes one program for the other.
fn alike(state: &State, link: &kernel::Link, to: ProgramId) -> bool {
    let type_of = |id| {
        let program = state.objects.programs.get(&id);
        program.map(|program| program.program_type)
    };
    let attach_type = |id| {
        let code = state.objects.codes.get(&id);
        code.map_or(0, |code| code.attach_type)
    };
    type_of(link.program) == type_of(to)
        && (link.link_type != link_types::XDP || attach_type(link.program) == attach_type(to))
}
