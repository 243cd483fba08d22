//! Giving a link another program.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::ProgramId;
use rustix::io::Errno;

use super::errors::refused_for;
use super::find_link;
use super::link;
use super::lost;
use super::sys;

/// A link at its pin, and the program that it must have.
#[derive(Clone, Copy)]
pub(super) struct Swap<'a> {
    pub(super) link: KernelLinkId,
    pub(super) path: &'a AbsolutePath,
    pub(super) from: ProgramId,
}

/// Gives the link the program `to`; answers the one that it had, which nobody else may hold.
pub(super) fn swap(of: Swap<'_>, to: BorrowedFd<'_>) -> Result<OwnedFd, KernelError> {
    let fd = find_link(of.link, of.path)?.ok_or_else(|| lost("link", of.link, of.path))?;
    of.expect_from(fd.as_fd())?;
    let old = sys::program_by_id(of.from.0).map_err(|error| match error.kind() {
        // Another swap came between.
        io::ErrorKind::NotFound => of.stale("another one"),
        _ => of.refused(&error),
    })?;
    let Err(error) = sys::update_link(fd.as_fd(), old.as_fd(), to) else {
        return Ok(old);
    };
    Err(match error.raw_os_error().map(Errno::from_raw_os_error) {
        // The kernel's word for another program than expected, and for much else.
        Some(Errno::PERM) => match of.expect_from(fd.as_fd()) {
            Err(stale) => stale,
            Ok(()) => of.refused(&error),
        },
        Some(Errno::NOLINK) => {
            let message = format!("{}: its interface is gone", of.name());
            // It was there when the swap was decided on.
            with_number(KernelErrorKind::Stale, message, &error)
        }
        Some(Errno::INVAL) => {
            let message = format!(
                "{} cannot have the program: it is of another type, or this kernel swaps none of such a link",
                of.name()
            );
            with_number(KernelErrorKind::Unsupported, message, &error)
        }
        _ => of.refused(&error),
    })
}

fn with_number(kind: KernelErrorKind, message: String, error: &io::Error) -> KernelError {
    let mut refusal = KernelError::new(kind, message);
    refusal.errno = error.raw_os_error();
    refusal
}

impl Swap<'_> {
    fn name(self) -> String {
        format!("link {} ({})", self.link, self.path)
    }

    fn expect_from(self, fd: BorrowedFd<'_>) -> Result<(), KernelError> {
        let info = link::info(fd).map_err(|error| self.refused(&error))?;
        match info.program == self.from {
            true => Ok(()),
            false => Err(self.stale(&format!("program {}", info.program))),
        }
    }

    fn stale(self, found: &str) -> KernelError {
        let message = format!("{} has {found} now, not program {}", self.name(), self.from);
        KernelError::new(KernelErrorKind::Stale, message)
    }

    fn refused(self, error: &io::Error) -> KernelError {
        refused_for(&self.name(), error, &[KernelProgramType::XDP])
    }
}
