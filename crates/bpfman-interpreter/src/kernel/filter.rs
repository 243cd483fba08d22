//! Attaching by a filter of the traffic control, where the kernel has no TCX.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::Outcome;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::types::Direction;
use bpfman_core::types::ProgramId;
use rustix::io::Errno;

use super::errors::refused;
use super::namespace;
use super::qdisc;
use super::qdisc::is_absent;
use super::sys;
use super::sys::Filter;

fn filter(of: &TcFilter) -> Filter {
    Filter {
        ifindex: of.interface.ifindex.0,
        ingress: of.direction == Direction::Ingress,
        preference: of.preference,
        handle: of.handle,
    }
}

pub(super) fn make_clsact(interface: &InterfaceTarget) -> Result<Outcome, KernelError> {
    let made = namespace::within(&interface.netns, || sys::make_clsact(interface.ifindex.0))?;
    match made {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_qdisc(interface).map(|()| Outcome::Unchanged)
        }
        Err(error) => Err(refused(
            &format!("creating a clsact qdisc on {interface}"),
            &error,
        )),
    }
}

/// Refuses a queueing discipline that is not clsact and has its place.
fn check_qdisc(interface: &InterfaceTarget) -> Result<(), KernelError> {
    let asked = namespace::within(&interface.netns, || {
        qdisc::ingress_kind(interface.ifindex.0)
    })?;
    let kind = asked.map_err(|error| refused(&format!("the qdisc of {interface}"), &error))?;
    match kind.as_deref() {
        Some("clsact") => Ok(()),
        Some(other) => Err(KernelError::other_qdisc(interface, other)),
        None => {
            let message = format!("the qdisc of {interface} was removed just now");
            Err(KernelError::new(KernelErrorKind::Stale, message))
        }
    }
}

pub(super) fn remove_clsact(interface: &InterfaceTarget) -> Result<Outcome, KernelError> {
    let removed = namespace::within(&interface.netns, || sys::remove_clsact(interface.ifindex.0))?;
    match removed {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if is_absent(&error) => Ok(Outcome::Unchanged),
        Err(error) => Err(refused(&format!("removing clsact of {interface}"), &error)),
    }
}

pub(super) fn add(program: BorrowedFd<'_>, of: &TcFilter) -> Result<Outcome, KernelError> {
    let added = namespace::within(&of.interface.netns, || sys::add_filter(filter(of), program))?;
    added.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("{of} is there already, and not ours");
            KernelError::new(KernelErrorKind::Taken, message)
        }
        _ => refused(&format!("attaching as {of}"), &error),
    })?;
    Ok(Outcome::Done)
}

/// Gives the filter the program `to`; answers the one that it had, which nobody else may hold.
pub(super) fn replace(
    of: &TcFilter,
    from: ProgramId,
    to: BorrowedFd<'_>,
) -> Result<OwnedFd, KernelError> {
    expect(of, from)?;
    let old = sys::program_by_id(from.0);
    let old = old.map_err(|error| refused(&format!("program {from} of {of}"), &error))?;
    let replaced = namespace::within(&of.interface.netns, || sys::replace_filter(filter(of), to))?;
    let Err(error) = replaced else {
        return Ok(old);
    };
    // The kernel gives one number to many causes: an interface that is gone is asked for again.
    expect(of, from)?;
    let mut refusal = refused(&format!("giving {of} another program"), &error);
    if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
        refusal.kind = KernelErrorKind::Unsupported;
        refusal.message = format!("{of} cannot have the program: it is of another type");
    }
    Err(refusal)
}

fn expect(of: &TcFilter, from: ProgramId) -> Result<(), KernelError> {
    match program_of(of)? {
        Some(found) if found == from => Ok(()),
        Some(found) => {
            let message = format!("{of} has program {found} now, not program {from}");
            Err(KernelError::new(KernelErrorKind::Stale, message))
        }
        None => {
            let message = format!("{of} is gone");
            Err(KernelError::new(KernelErrorKind::NotFound, message))
        }
    }
}

/// Removes the filter; answers its program, which nobody else may hold. `None` when the filter is gone.
pub(super) fn remove(program: ProgramId, of: &TcFilter) -> Result<Option<OwnedFd>, KernelError> {
    match program_of(of)? {
        None => Ok(None),
        Some(found) if found == program => {
            let held = sys::program_by_id(program.0);
            let held =
                held.map_err(|error| refused(&format!("program {program} of {of}"), &error))?;
            let removed =
                namespace::within(&of.interface.netns, || sys::remove_filter(filter(of)))?;
            removed.map_err(|error| refused(&format!("removing {of}"), &error))?;
            Ok(Some(held))
        }
        Some(found) => {
            let message = format!("{of} holds program {found}, not {program}");
            Err(KernelError::new(KernelErrorKind::NotOurs, message))
        }
    }
}

/// The program of a filter; `None` when it is gone, with its namespace or interface or without.
pub(super) fn program_of(of: &TcFilter) -> Result<Option<ProgramId>, KernelError> {
    let found = namespace::within(&of.interface.netns, || sys::filter_program(filter(of)));
    match found {
        Ok(Ok(id)) => Ok((id != 0).then_some(ProgramId(id))),
        Ok(Err(error)) if is_absent(&error) => Ok(None),
        Ok(Err(error)) => Err(refused(&format!("asking for {of}"), &error)),
        Err(error) if error.kind == KernelErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
