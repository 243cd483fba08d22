//! Attaching by a filter of the traffic control, where the kernel has no TCX.

use std::io;
use std::os::fd::BorrowedFd;

use bpfman_core::action::InterfaceTarget;
use bpfman_core::action::Outcome;
use bpfman_core::action::TcFilter;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::Direction;
use bpfman_core::types::ProgramId;
use rustix::io::Errno;

use super::errors::refused;
use super::namespace;
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

/// Whether an answer of netlink says that filter, queueing discipline or interface is not there.
fn is_absent(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::NODEV | Errno::INVAL))
}

pub(super) fn make_clsact(interface: &InterfaceTarget) -> Result<Outcome, KernelError> {
    let made = namespace::within(&interface.netns, || sys::make_clsact(interface.ifindex.0))?;
    match made {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Outcome::Unchanged),
        Err(error) => Err(refused(&format!("making clsact of {interface}"), &error)),
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

pub(super) fn remove(program: ProgramId, of: &TcFilter) -> Result<Outcome, KernelError> {
    match program_of(of)? {
        None => Ok(Outcome::Unchanged),
        Some(found) if found == program => {
            let removed =
                namespace::within(&of.interface.netns, || sys::remove_filter(filter(of)))?;
            removed.map_err(|error| refused(&format!("removing {of}"), &error))?;
            Ok(Outcome::Done)
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
