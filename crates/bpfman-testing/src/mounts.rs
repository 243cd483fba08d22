//! File systems that a test mounts for itself.
//!
//! By system calls: in an emulated guest, a process for each costs more than what most tests do.

use std::path::Path;

use rustix::mount::MountFlags;
use rustix::mount::UnmountFlags;

/// Mounts a file system that has no source: `bpf`, `cgroup2`, `tmpfs`.
///
/// # Panics
///
/// When the kernel refuses it: the test cannot begin.
pub fn mount(kind: &str, path: &Path) {
    let mounted = rustix::mount::mount(kind, path, kind, MountFlags::empty(), None);
    assert_eq!(
        mounted,
        Ok(()),
        "mounting {kind} at {} (this test needs root)",
        path.display()
    );
}

/// Unmounts what is there, even if it is in use. Nothing may be: this runs also while a test panics.
pub fn unmount(path: &Path) {
    let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
}
