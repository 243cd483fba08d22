//! The files that say how a struct is laid out, here and in the kernel.

use std::fs::File;
use std::io;
use std::io::Read;

use bpfman_core::types::AbsolutePath;

use super::TargetError;

/// The types of the kernel; those of Linux 6.18 take 6 MB.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";
const MAX_KERNEL_BYTES: u64 = 256 << 20;
/// Objects are bounded by a setting when they are loaded; sections are found by 32-bit offsets at most.
const MAX_OBJECT_BYTES: u64 = u32::MAX as u64;

pub(super) fn kept_object(path: &AbsolutePath) -> Result<Vec<u8>, TargetError> {
    read(path.as_str(), MAX_OBJECT_BYTES)
}

pub(super) fn kernel_types() -> Result<Vec<u8>, TargetError> {
    read(KERNEL_TYPES, MAX_KERNEL_BYTES)
}

fn read(path: &str, limit: u64) -> Result<Vec<u8>, TargetError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    let read = read.and_then(|_| match bytes.len() as u64 <= limit {
        true => Ok(()),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    });
    read.map_err(|source| TargetError::system(path, source))?;
    Ok(bytes)
}
