//! Filling struct_ops maps.

use std::ffi::c_ulong;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use bpfman_core::action::FillStructOps;
use bpfman_core::action::Outcome;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use rustix::io::Errno;

use super::errors::bad_request;
use super::errors::refused;
use super::open_map;
use super::open_program;
use super::sys;

/// The only key of a struct_ops map.
const KEY: u32 = 0;

/// Writes the value, with the numbers of the programs' descriptors, which the kernel turns into programs.
pub(super) fn fill(fill: &FillStructOps) -> Result<Outcome, KernelError> {
    let map = open_map(fill.map, &fill.path)?;
    let mut value = fill.value.0.clone();
    let mut programs = Vec::new();
    for member in &fill.programs {
        let fd = open_program(member.program, &member.path)?;
        let number = c_ulong::from(fd.as_raw_fd().cast_unsigned()).to_ne_bytes();
        let start = usize::try_from(member.offset).unwrap_or(usize::MAX);
        let place = value.get_mut(start..start.saturating_add(number.len()));
        place
            .ok_or_else(|| bad_request("a program lies outside the value"))?
            .copy_from_slice(&number);
        programs.push(fd);
    }
    let Err(error) = sys::write_element(map.as_fd(), &KEY.to_ne_bytes(), &value) else {
        return Ok(Outcome::Done);
    };
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // It was filled for a link before, and stays so.
        Some(Errno::BUSY) => Ok(Outcome::Unchanged),
        Some(Errno::INVAL) => {
            let message = format!(
                "this kernel refuses what map {} would hold: a function or value that it requires is missing or wrong",
                fill.path
            );
            let mut refusal = KernelError::new(KernelErrorKind::InvalidObject, message);
            refusal.errno = error.raw_os_error();
            Err(refusal)
        }
        _ => Err(refused(fill.path.as_str(), &error)),
    }
}
