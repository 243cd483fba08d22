//! Acting in another network namespace.

use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use bpfman_core::action::Namespace;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use rustix::thread::LinkNameSpaceType;

use super::errors::refused;

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// Opens a namespace's file, after checking that it is still the one that is meant.
pub(super) fn open(netns: &Namespace) -> Result<File, KernelError> {
    let path = netns.path.as_ref().map_or(OWN, |path| path.as_str());
    let failed = |error: io::Error| refused(&format!("network namespace {path}"), &error);
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.ino();
    if found != netns.id.0 {
        let message = format!(
            "network namespace {path} is now another one ({found}, not {})",
            netns.id
        );
        return Err(KernelError::new(KernelErrorKind::NotFound, message));
    }
    Ok(file)
}

/// Calls `call` in a namespace. It runs on a thread of its own where that is another one than ours: a namespace
/// belongs to a thread, and one that cannot be left again must not be the caller's.
pub(super) fn within<T: Send>(
    netns: &Namespace,
    call: impl FnOnce() -> T + Send,
) -> Result<T, KernelError> {
    if netns.path.is_none() {
        return Ok(call());
    }
    let file = open(netns)?;
    if fs::metadata(OWN).is_ok_and(|own| own.ino() == netns.id.0) {
        return Ok(call());
    }
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(file.as_fd(), kind)?;
            Ok(call())
        });
        let done: Result<T, rustix::io::Errno> = match inside.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        done.map_err(|error| refused("entering a network namespace", &error.into()))
    })
}
