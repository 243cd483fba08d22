//! Acting in another network namespace.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links::Namespace;

use super::errors::refused;
use crate::namespace;
use crate::namespace::OWN;

/// Opens a namespace's file, after checking that it is still the one that is meant.
pub(super) fn open(netns: &Namespace) -> Result<File, KernelError> {
    let path = netns.path.as_ref().map_or(OWN, |path| path.as_str());
    let failed = |error: io::Error| refused(&format!("network namespace {path}"), &error);
    let file = match &netns.path {
        Some(path) => File::open(path.as_str()),
        None => namespace::own(),
    };
    let file = file.map_err(failed)?;
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

/// Calls `call` in a namespace; on a thread of its own where that is another one than ours.
pub(super) fn within<T: Send>(
    netns: &Namespace,
    call: impl FnOnce() -> T + Send,
) -> Result<T, KernelError> {
    if netns.path.is_none() {
        return Ok(call());
    }
    let file = open(netns)?;
    let own = namespace::own().and_then(|own| own.metadata());
    if own.is_ok_and(|own| own.ino() == netns.id.0) {
        return Ok(call());
    }
    namespace::within(file.as_fd(), call)
        .map_err(|error| refused("entering a network namespace", &error))
}
