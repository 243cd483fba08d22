//! Cgroups. Format: `Documentation/admin-guide/cgroup-v2.rst` of the kernel.

use std::fs;
use std::io;
use std::os::unix::fs::DirEntryExt;

use bpfman_core::target::mountinfo;
use bpfman_core::types::AbsolutePath;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::TargetError;

/// CGROUP2_SUPER_MAGIC of `linux/magic.h`.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// CGROUP_SUPER_MAGIC of `linux/magic.h`.
const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;

/// The mounts of this process. Format: proc_pid_mountinfo(5).
const MOUNTS: &str = "/proc/thread-self/mountinfo";
/// Where the hierarchy usually is.
const USUAL_ROOT: &str = "/sys/fs/cgroup";
/// How many cgroups we look through.
const MAX_CGROUPS: usize = 65_536;

/// Every cgroup below a mount of their hierarchy, where it usually is if it is there, parents first; one that goes meanwhile
/// is none.
pub(super) fn all() -> Result<Vec<(AbsolutePath, u64)>, TargetError> {
    let mounts = fs::read_to_string(MOUNTS);
    let mounts = mounts.map_err(|error| TargetError::system(MOUNTS, error))?;
    let mut roots = mountinfo::mounts(&mounts).filter(|mount| mount.kind == "cgroup2");
    let usual = roots.clone().find(|mount| mount.is_at(USUAL_ROOT));
    let Some(root) = usual
        .or_else(|| roots.next())
        .and_then(|root| AbsolutePath::parse(&root.path()).ok())
    else {
        return Ok(Vec::new());
    };
    let mut found = vec![(root.clone(), id(&root)?)];
    let mut next = 0;
    while let Some((parent, _)) = found.get(next) {
        let parent = parent.clone();
        next += 1;
        for child in children(&parent)? {
            if found.len() == MAX_CGROUPS {
                let what = format!("cgroups below {root}: there are more than {MAX_CGROUPS}");
                return Err(TargetError::system(what, Errno::TOOBIG));
            }
            found.push(child);
        }
    }
    Ok(found)
}

fn children(parent: &AbsolutePath) -> Result<Vec<(AbsolutePath, u64)>, TargetError> {
    let failed = |error| TargetError::system(format!("cgroup {parent}"), error);
    let entries = match fs::read_dir(parent.as_str()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        let path = path.to_str().filter(|_| is_directory);
        if let Some(path) = path.and_then(|path| AbsolutePath::parse(path).ok()) {
            children.push((path, entry.ino()));
        }
    }
    Ok(children)
}

/// The id of a cgroup: the inode of its directory.
pub(super) fn id(path: &AbsolutePath) -> Result<u64, TargetError> {
    let failed = |source: Errno| TargetError::system(format!("cgroup {path}"), source);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(path.as_str(), flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOTDIR) => return Err(not_a_cgroup(path, 0)),
        Err(error) => return Err(failed(error)),
    };
    let system = rustix::fs::fstatfs(&directory).map_err(failed)?;
    match system.f_type.cast_unsigned() {
        CGROUP2_SUPER_MAGIC => Ok(rustix::fs::fstat(&directory).map_err(failed)?.st_ino),
        other => Err(not_a_cgroup(path, other)),
    }
}

fn not_a_cgroup(path: &AbsolutePath, magic: u64) -> TargetError {
    TargetError::NotACgroup {
        path: path.clone(),
        version_1: magic == CGROUP_SUPER_MAGIC,
    }
}
