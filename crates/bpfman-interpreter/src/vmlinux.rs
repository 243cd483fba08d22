//! The types of the running kernel.

use std::fs::File;
use std::io;
use std::io::Read;

/// Where the kernel publishes them; those of Linux 6.18 take 6 MB.
pub(crate) const PATH: &str = "/sys/kernel/btf/vmlinux";
/// More than the types of any kernel take.
pub(crate) const MAX_BYTES: u64 = 256 << 20;

pub(crate) fn read() -> io::Result<Vec<u8>> {
    read_bounded(PATH, MAX_BYTES)
}

/// Reads a file whole, or refuses one that is longer than `limit`.
pub(crate) fn read_bounded(path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}
