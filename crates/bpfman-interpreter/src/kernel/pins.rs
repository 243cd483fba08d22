//! A bpffs: pins and their directories.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;

use bpfman_core::action::Outcome;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::PinName;
use rustix::fs::Access;
use rustix::io::Errno;

use super::errors::refused;
use super::sys;
use crate::interfaces::MAX_PINS;

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Whether a path lies on a bpffs.
pub(super) fn on_bpffs(path: &AbsolutePath) -> Result<bool, KernelError> {
    let facts = rustix::fs::statfs(path.as_str());
    let facts = facts.map_err(|error| refused(path.as_str(), &error.into()))?;
    // The field is signed on some machines: the magic number fits 32 bits.
    Ok(facts.f_type as u64 & 0xffff_ffff == BPF_FS_MAGIC)
}

fn require_bpffs(path: &AbsolutePath) -> Result<(), KernelError> {
    let parent = path.parent().unwrap_or_else(|| path.clone());
    if on_bpffs(&parent)? {
        return Ok(());
    }
    let message = format!("{path} is not on a bpffs");
    Err(KernelError::new(KernelErrorKind::NotBpffs, message))
}

/// The nearest directory above a path that exists.
pub(super) fn nearest_directory(path: &AbsolutePath) -> AbsolutePath {
    let mut at = path.clone();
    while let Some(parent) = at.parent() {
        at = parent;
        if fs::metadata(at.as_str()).is_ok_and(|facts| facts.is_dir()) {
            break;
        }
    }
    at
}

pub(super) fn pin(fd: BorrowedFd<'_>, path: &AbsolutePath) -> Result<Outcome, KernelError> {
    require_bpffs(path)?;
    // The kernel answers EPERM to a dot in the name, which would read as a missing permission.
    PinName::parse(path.file_name())
        .map_err(|error| KernelError::new(KernelErrorKind::BadRequest, error.to_string()))?;
    sys::pin(fd, path.as_str()).map_err(|error| refused(path.as_str(), &error))?;
    Ok(Outcome::Done)
}

/// Opens a pin; `None` when nothing is there, or what is there is no pin.
pub(super) fn open(path: &AbsolutePath) -> Result<Option<std::os::fd::OwnedFd>, KernelError> {
    match sys::open_pin(path.as_str()) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if is_not_a_pin(path, &error) => Ok(None),
        Err(error) => Err(refused(path.as_str(), &error)),
    }
}

/// The kernel answers EACCES both for a file of a bpffs that is no pin and for one we may not open.
fn is_not_a_pin(path: &AbsolutePath, error: &io::Error) -> bool {
    let accessible = || rustix::fs::access(path.as_str(), Access::READ_OK | Access::WRITE_OK);
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::INVAL | Errno::ISDIR) => true,
        Some(Errno::ACCESS) => accessible().is_ok(),
        _ => false,
    }
}

/// Removes a directory entry that was checked to be a pin.
pub(super) fn unlink(path: &AbsolutePath) -> Result<(), KernelError> {
    fs::remove_file(path.as_str()).map_err(|error| refused(path.as_str(), &error))
}

/// Gives a directory entry that was checked to be a pin another name.
pub(super) fn rename(from: &AbsolutePath, to: &AbsolutePath) -> Result<Outcome, KernelError> {
    use rustix::fs::CWD;
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    rustix::fs::renameat_with(CWD, from.as_str(), CWD, to.as_str(), flags)
        .map_err(|error| refused(to.as_str(), &error.into()))?;
    Ok(Outcome::Done)
}

fn make(path: &AbsolutePath) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path.as_str()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path.as_str())?.is_dir() {
                Ok(false)
            } else {
                Err(error)
            }
        }
        Err(error) => Err(error),
    }
}

/// Makes a directory on a bpffs.
pub(super) fn make_directory(path: &AbsolutePath) -> Result<Outcome, KernelError> {
    require_bpffs(path)?;
    let made = make(path).map_err(|error| refused(path.as_str(), &error))?;
    Ok(if made {
        Outcome::Done
    } else {
        Outcome::Unchanged
    })
}

/// Removes a directory of a bpffs when it is empty.
pub(super) fn remove_empty_directory(path: &AbsolutePath) -> Result<Outcome, KernelError> {
    if fs::symlink_metadata(path.as_str()).is_ok() {
        require_bpffs(path)?;
    }
    match rustix::fs::rmdir(path.as_str()) {
        Ok(()) => Ok(Outcome::Done),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::BUSY) => Ok(Outcome::Unchanged),
        Err(error) => Err(refused(path.as_str(), &error.into())),
    }
}

/// The files below a directory of a bpffs, in the order of their paths; none where no bpffs is.
pub(super) fn below(path: &AbsolutePath) -> Result<Vec<AbsolutePath>, KernelError> {
    if !fs::symlink_metadata(path.as_str()).is_ok_and(|facts| facts.is_dir()) || !on_bpffs(path)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut directories = vec![path.clone()];
    while let Some(directory) = directories.pop() {
        let failed = |error: io::Error| refused(directory.as_str(), &error);
        for entry in fs::read_dir(directory.as_str()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            // The kernel's own, `progs.debug` and `maps.debug`: no pin has a dot in its name.
            let Some(name) = name.to_str().filter(|name| !name.contains('.')) else {
                continue;
            };
            let path = directory.join(name);
            match entry.file_type().map_err(failed)?.is_dir() {
                true => directories.push(path),
                false => found.push(path),
            }
        }
        if found.len() + directories.len() > MAX_PINS {
            let message = format!("{path} holds more than {MAX_PINS} pins");
            return Err(KernelError::new(KernelErrorKind::Other, message));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a bpffs is mounted at exactly this directory.
pub(super) fn is_root(path: &AbsolutePath) -> Result<bool, KernelError> {
    let failed = |error: io::Error| refused(path.as_str(), &error);
    let here = match fs::symlink_metadata(path.as_str()) {
        Ok(here) => here,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    if !here.is_dir() || !on_bpffs(path)? {
        return Ok(false);
    }
    let Some(parent) = path.parent() else {
        return Ok(true);
    };
    let above = fs::metadata(parent.as_str()).map_err(failed)?;
    Ok(above.dev() != here.dev())
}
