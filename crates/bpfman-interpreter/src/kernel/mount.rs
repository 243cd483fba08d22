//! Mounting a bpffs where it lasts.
//!
//! `ip netns exec`, services with `PrivateMounts=` and containers run their processes in mount namespaces of their own,
//! which end with them. There a bpffs is mounted in the namespace of process 1 and shown in ours, as a second mount of the
//! same file system.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use bpfman_core::action::Outcome;
use bpfman_core::kernel::BpffsMount;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::PrivateMount;
use bpfman_core::target::mountinfo;
use bpfman_core::target::mountinfo::MountLine;
use bpfman_core::types::AbsolutePath;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::StatxFlags;
use rustix::mount::MountFlags;
use rustix::mount::MoveMountFlags;
use rustix::mount::OpenTreeFlags;
use rustix::mount::UnmountFlags;
use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;

use super::errors::refused;
use super::pins::is_root;
use super::pins::nearest_directory;
use super::sys;
use crate::namespace;

const OWN_MOUNTS: &str = "/proc/thread-self/mountinfo";
const INIT_MOUNTS: &str = "/proc/1/mountinfo";
const INIT_NAMESPACE: &str = "/proc/1/ns/mnt";

/// Where a mount would be made.
enum Reach {
    /// Here: it lasts, or nothing tells that it does not.
    Here,
    /// In the namespace of process 1, where the path is the same directory.
    Init {
        /// Whether a bpffs is mounted there.
        mounted: bool,
    },
    /// In the namespace of process 1, where a bpffs is mounted and this process cannot go.
    Closed(String),
    /// Here, where it ends with the namespace.
    Private(PrivateMount),
}

/// What there is of a bpffs at a path.
pub(super) fn state(path: &AbsolutePath) -> Result<BpffsMount, KernelError> {
    if is_root(path)? {
        let private = is_private(path);
        return Ok(BpffsMount::Mounted { private });
    }
    Ok(match reach(path) {
        Reach::Here | Reach::Init { mounted: false } => BpffsMount::Absent,
        Reach::Init { mounted: true } => BpffsMount::Elsewhere { unreachable: None },
        Reach::Closed(why) => BpffsMount::Elsewhere {
            unreachable: Some(why),
        },
        Reach::Private(why) => BpffsMount::Private(why),
    })
}

/// Mounts a bpffs over a directory, and where process 1 sees it, too, when that is another namespace.
pub(super) fn mount(path: &AbsolutePath) -> Result<Outcome, KernelError> {
    if is_root(path)? {
        return Ok(Outcome::Unchanged);
    }
    let failed = |error: io::Error| refused(&format!("mounting a bpffs at {path}"), &error);
    let Reach::Init { mounted } = reach(path) else {
        mount_here(path).map_err(failed)?;
        return Ok(Outcome::Done);
    };
    let tree = in_init(|| {
        if !mounted {
            mount_here(path)?;
        }
        clone_mount(path)
    });
    let tree = tree.map_err(failed)?;
    // It may have propagated from there.
    if !is_root(path)? {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        let moved = rustix::mount::move_mount(&tree, "", CWD, path.as_str(), flags);
        if let Err(error) = moved {
            if !mounted {
                let _ = in_init(|| unmount_here(path));
            }
            return Err(failed(error.into()));
        }
    }
    // What was mounted there is not ours to unmount.
    Ok(match mounted {
        true => Outcome::Unchanged,
        false => Outcome::Done,
    })
}

/// Unmounts a bpffs, for process 1, too; the directory under it stays.
pub(super) fn unmount(path: &AbsolutePath) -> Result<Outcome, KernelError> {
    if !is_root(path)? {
        return Ok(Outcome::Unchanged);
    }
    let failed = |error: io::Error| refused(&format!("unmounting {path}"), &error);
    unmount_here(path).map_err(failed)?;
    if matches!(reach(path), Reach::Init { mounted: true }) {
        in_init(|| unmount_here(path)).map_err(failed)?;
    }
    Ok(Outcome::Done)
}

fn mount_here(path: &AbsolutePath) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount(
        "bpf",
        path.as_str(),
        "bpf",
        flags,
        Some(c"mode=0700"),
    )?)
}

fn unmount_here(path: &AbsolutePath) -> io::Result<()> {
    Ok(rustix::mount::unmount(
        path.as_str(),
        UnmountFlags::empty(),
    )?)
}

fn clone_mount(path: &AbsolutePath) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(CWD, path.as_str(), flags)?)
}

/// Calls `call` in the mount namespace of process 1.
fn in_init<T: Send>(call: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let init = fs::File::open(INIT_NAMESPACE)?;
    namespace::on_a_thread(|| {
        // Threads share their root and working directory, and a namespace has its own: the kernel lets nobody in who
        // shares them.
        sys::unshare_root()?;
        move_into_link_name_space(init.as_fd(), Some(LinkNameSpaceType::Mount))?;
        call()
    })
}

/// Where a mount at a path would be made. Without `/proc` nothing tells.
fn reach(path: &AbsolutePath) -> Reach {
    let directory = nearest_directory(path);
    let own = fs::read_to_string(OWN_MOUNTS).unwrap_or_default();
    let (Some(own), Ok(init)) = (mount_of(&directory, &own), fs::read_to_string(INIT_MOUNTS))
    else {
        return Reach::Here;
    };
    if rustix::process::getpid().is_init() {
        return match own.peer_group {
            Some(_) => Reach::Here,
            None => Reach::Private(PrivateMount::FirstProcess),
        };
    }
    // A mount that both have is in one namespace. A group of mounts may be in several, and has the same mounts below it.
    let same = |line: MountLine<'_>| {
        line.id == own.id || line.peer_group.is_some() && line.peer_group == own.peer_group
    };
    if mountinfo::mounts(&init).any(same) {
        return Reach::Here;
    }
    match seen_by_init(path, &directory) {
        Ok(Some(mounted)) => Reach::Init { mounted },
        Ok(None) => Reach::Private(PrivateMount::OtherDirectory),
        Err(error) => {
            let why = error.to_string();
            let mounted = |line: MountLine<'_>| line.kind == "bpf" && line.is_at(path.as_str());
            match mountinfo::mounts(&init).any(mounted) {
                true => Reach::Closed(why),
                false => Reach::Private(PrivateMount::CannotEnter { why }),
            }
        }
    }
}

/// Whether process 1 sees a bpffs at a path; `None` when the directory that the path is in is another one there.
fn seen_by_init(path: &AbsolutePath, directory: &AbsolutePath) -> io::Result<Option<bool>> {
    let identity = |facts: fs::Metadata| (facts.dev(), facts.ino());
    let here = identity(fs::metadata(directory.as_str())?);
    in_init(|| {
        let there = fs::metadata(directory.as_str());
        match there.is_ok_and(|there| identity(there) == here) {
            true => is_root(path).map(Some).map_err(io::Error::other),
            false => Ok(None),
        }
    })
}

/// The mount that a directory lies on; `None` when nothing tells.
fn mount_of<'a>(directory: &AbsolutePath, mounts: &'a str) -> Option<MountLine<'a>> {
    let flags = AtFlags::empty();
    let facts = rustix::fs::statx(CWD, directory.as_str(), flags, StatxFlags::MNT_ID).ok()?;
    let asked = StatxFlags::MNT_ID.bits();
    if facts.stx_mask & asked != asked {
        return None;
    }
    mountinfo::mounts(mounts).find(|line| line.id == facts.stx_mnt_id)
}

/// Whether a bpffs is known to be mounted nowhere in the namespace of process 1.
fn is_private(path: &AbsolutePath) -> bool {
    if rustix::process::getpid().is_init() {
        return false;
    }
    let facts = fs::metadata(path.as_str());
    let (Ok(facts), Ok(init)) = (facts, fs::read_to_string(INIT_MOUNTS)) else {
        return false;
    };
    let device = (
        rustix::fs::major(facts.dev()),
        rustix::fs::minor(facts.dev()),
    );
    !mountinfo::mounts(&init).any(|line| line.device == device)
}
