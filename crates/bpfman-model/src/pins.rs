//! The actions on a bpffs, each as `bpfman_interpreter::kernel` carries it out.

use bpfman_core::action::Outcome;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::PinName;

use crate::Errno;
use crate::errno::bad_request;
use crate::state::State;
use crate::tree::Node;
use crate::tree::Tree;

/// That a path is this pin.
pub(crate) fn expect_pin(
    state: &State,
    path: &AbsolutePath,
    expected: &Node,
) -> Result<(), KernelError> {
    match state.tree.lookup(path) {
        Ok(found) if found == *expected => Ok(()),
        Ok(found) => {
            let message = format!("{path} is {found:?}, not {expected:?}");
            Err(KernelError::new(KernelErrorKind::NotOurs, message))
        }
        Err(Errno::NotFound) => {
            let message = format!("{path} has lost its pin");
            Err(KernelError::new(KernelErrorKind::NotFound, message))
        }
        Err(errno) => Err(errno.refusal(path)),
    }
}

fn require_bpffs(tree: &Tree, path: &AbsolutePath) -> Result<(), KernelError> {
    let parent = path.parent().unwrap_or_else(|| path.clone());
    if tree
        .on_bpffs(&parent)
        .map_err(|errno| errno.refusal(&parent))?
    {
        return Ok(());
    }
    let message = format!("{path} is not on a bpffs");
    Err(KernelError::new(KernelErrorKind::NotBpffs, message))
}

/// The nearest directory above a path that exists.
pub(crate) fn nearest_directory(tree: &Tree, path: &AbsolutePath) -> AbsolutePath {
    let mut at = path.clone();
    while let Some(parent) = at.parent() {
        at = parent;
        if tree.is_directory(&at) {
            break;
        }
    }
    at
}

pub(crate) fn pin(tree: &mut Tree, pin: Node, path: &AbsolutePath) -> Result<Outcome, KernelError> {
    require_bpffs(tree, path)?;
    PinName::parse(path.file_name()).map_err(|error| bad_request(error.to_string()))?;
    tree.add(path, pin).map_err(|errno| errno.refusal(path))?;
    Ok(Outcome::Done)
}

/// Removes the pin `expected`, and nothing else.
pub(crate) fn unpin(
    tree: &mut Tree,
    expected: &Node,
    path: &AbsolutePath,
) -> Result<Outcome, KernelError> {
    match tree.lookup(path) {
        Ok(found) if found == *expected => {}
        Err(Errno::NotFound) => return Ok(Outcome::Unchanged),
        Err(errno) => return Err(errno.refusal(path)),
        Ok(found) => {
            let message = format!("{path} is {found:?}, not {expected:?}");
            return Err(KernelError::new(KernelErrorKind::NotOurs, message));
        }
    }
    tree.unlink(path).map_err(|errno| errno.refusal(path))?;
    Ok(Outcome::Done)
}

/// Gives the pin `expected` another name.
pub(crate) fn rename(
    tree: &mut Tree,
    expected: Node,
    from: &AbsolutePath,
    to: &AbsolutePath,
) -> Result<Outcome, KernelError> {
    if unpin(tree, &expected, from)? == Outcome::Unchanged {
        return Ok(Outcome::Unchanged);
    }
    let parent = to.parent().unwrap_or_else(|| to.clone());
    let moved = match tree.on_bpffs(&parent) {
        Ok(true) => tree.add(to, expected.clone()),
        Ok(false) => Err(Errno::OtherDevice),
        Err(errno) => Err(errno),
    };
    if let Err(errno) = moved {
        tree.add(from, expected)
            .map_err(|errno| errno.refusal(from))?;
        return Err(errno.refusal(to));
    }
    Ok(Outcome::Done)
}

pub(crate) fn make_directory(tree: &mut Tree, path: &AbsolutePath) -> Result<Outcome, KernelError> {
    require_bpffs(tree, path)?;
    match tree.add(path, Node::Directory) {
        Ok(()) => Ok(Outcome::Done),
        Err(Errno::Exists) if tree.is_directory(path) => Ok(Outcome::Unchanged),
        Err(errno) => Err(errno.refusal(path)),
    }
}

pub(crate) fn remove_empty_directory(
    tree: &mut Tree,
    path: &AbsolutePath,
) -> Result<Outcome, KernelError> {
    if tree.lookup(path).is_ok() {
        require_bpffs(tree, path)?;
    }
    match tree.remove_directory(path) {
        Ok(()) => Ok(Outcome::Done),
        Err(Errno::NotEmpty | Errno::NotFound | Errno::Busy) => Ok(Outcome::Unchanged),
        Err(errno) => Err(errno.refusal(path)),
    }
}

/// Whether a bpffs is mounted at exactly this directory.
pub(crate) fn is_root(tree: &Tree, path: &AbsolutePath) -> Result<bool, KernelError> {
    match tree.lookup(path) {
        Ok(_) => Ok(tree.is_mount(path)),
        Err(Errno::NotFound) => Ok(false),
        Err(errno) => Err(errno.refusal(path)),
    }
}

pub(crate) fn mount(tree: &mut Tree, path: &AbsolutePath) -> Result<Outcome, KernelError> {
    if is_root(tree, path)? {
        return Ok(Outcome::Unchanged);
    }
    tree.mount(path).map_err(|errno| errno.refusal(path))?;
    Ok(Outcome::Done)
}

pub(crate) fn unmount(tree: &mut Tree, path: &AbsolutePath) -> Result<Outcome, KernelError> {
    if !is_root(tree, path)? {
        return Ok(Outcome::Unchanged);
    }
    tree.unmount(path).map_err(|errno| errno.refusal(path))?;
    Ok(Outcome::Done)
}
