//! Disk space set aside, so that what is loaded can be taken away on a full disk: a removal writes before it frees.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::fs::fallocate;

/// What the journal, the records and SQLite's files take when programs and links are removed, several times over.
const RESERVE_BYTES: u64 = 512 * 1024;

/// Sets the space aside where that is not done. On a disk without so much, or on a file system that cannot, nothing is.
pub(crate) fn keep(path: &Path) {
    let there = path
        .metadata()
        .is_ok_and(|file| file.len() == RESERVE_BYTES);
    if !there && allocate(path).is_err() {
        // A part of it would be missed elsewhere, and suffice for nothing.
        let _ = std::fs::remove_file(path);
    }
}

fn allocate(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
    Ok(())
}

/// Gives the space back; whether there was any.
pub(crate) fn release(path: &Path) -> bool {
    std::fs::remove_file(path).is_ok()
}
