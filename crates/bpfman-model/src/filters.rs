//! Filters of the traffic control, each action as `bpfman_interpreter::kernel` carries it out.

use bpfman_core::action::Outcome;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::ProgramId;

use crate::Errno;
use crate::network::FilterKey;
use crate::objects::ProcessId;
use crate::state::State;

/// Where a filter is or would be; `None` when its interface is gone.
fn key(state: &State, filter: &TcFilter) -> Result<Option<FilterKey>, KernelError> {
    let (preference, handle) = (filter.preference, filter.handle);
    let interface = state.network.place(&filter.interface)?;
    Ok(interface.map(|interface| FilterKey {
        interface,
        direction: filter.direction,
        preference,
        handle,
    }))
}

pub(crate) fn make_clsact(
    state: &mut State,
    interface: &InterfaceTarget,
) -> Result<Outcome, KernelError> {
    let place = state.network.place(interface)?;
    let place = place.ok_or_else(|| Errno::NoDevice.refusal(interface))?;
    if state.network.ingress_qdiscs.contains(&place) {
        return Err(KernelError::other_qdisc(interface, "ingress"));
    }
    Ok(match state.network.clsact.insert(place) {
        true => Outcome::Done,
        false => Outcome::Unchanged,
    })
}

pub(crate) fn remove_clsact(
    state: &mut State,
    interface: &InterfaceTarget,
) -> Result<Outcome, KernelError> {
    let place = state.network.place(interface)?;
    if !place.is_some_and(|place| state.network.clsact.remove(&place)) {
        return Ok(Outcome::Unchanged);
    }
    let elsewhere = |key: &FilterKey| Some(key.interface) != place;
    state.network.filters.retain(|key, _| elsewhere(key));
    Ok(Outcome::Done)
}

pub(crate) fn add(
    state: &mut State,
    program: ProgramId,
    filter: &TcFilter,
) -> Result<Outcome, KernelError> {
    let key = key(state, filter)?.ok_or_else(|| Errno::NoDevice.refusal(filter))?;
    let network = &mut state.network;
    if !network.clsact.contains(&key.interface) {
        return Err(Errno::Invalid.refusal(filter));
    }
    if network.filters.contains_key(&key) {
        let message = format!("{filter} is there already, and not ours");
        return Err(KernelError::new(KernelErrorKind::Taken, message));
    }
    network.filters.insert(key, program);
    Ok(Outcome::Done)
}

pub(crate) fn remove(
    state: &mut State,
    process: ProcessId,
    program: ProgramId,
    filter: &TcFilter,
) -> Result<Outcome, KernelError> {
    match program_of(state, filter)? {
        None => return Ok(Outcome::Unchanged),
        Some(found) if found == program => {}
        Some(found) => {
            let message = format!("{filter} holds program {found}, not {program}");
            return Err(KernelError::new(KernelErrorKind::NotOurs, message));
        }
    }
    if let Some(key) = key(state, filter)? {
        state.network.filters.remove(&key);
        // The undo must be able to put it back, and the filter was perhaps its only holder.
        state.objects.held(process).programs.insert(program);
    }
    Ok(Outcome::Done)
}

/// Gives a filter another program; the process holds the old one from then on.
pub(crate) fn replace(
    state: &mut State,
    process: ProcessId,
    filter: &TcFilter,
    from: ProgramId,
    to: ProgramId,
) -> Result<Outcome, KernelError> {
    let refusal = |kind, why: &str| Err(KernelError::new(kind, format!("{filter} {why}")));
    match program_of(state, filter)? {
        Some(found) if found == from => {}
        Some(found) => {
            let why = format!("has program {found} now, not program {from}");
            return refusal(KernelErrorKind::Stale, &why);
        }
        None => return refusal(KernelErrorKind::NotFound, "is gone"),
    }
    let type_of = |id| {
        let program = state.objects.programs.get(&id);
        program.map(|program| program.program_type)
    };
    if type_of(to) != Some(KernelProgramType::SCHED_CLS) {
        return refusal(KernelErrorKind::Unsupported, "cannot have the program");
    }
    if let Some(key) = key(state, filter)? {
        state.network.filters.insert(key, to);
        state.objects.held(process).programs.insert(from);
    }
    Ok(Outcome::Done)
}

/// The program of a filter; `None` when it is gone, with its namespace or interface or without.
pub(crate) fn program_of(
    state: &State,
    filter: &TcFilter,
) -> Result<Option<ProgramId>, KernelError> {
    match key(state, filter) {
        Ok(key) => Ok(key.and_then(|key| state.network.filters.get(&key).copied())),
        Err(error) if error.kind == KernelErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
