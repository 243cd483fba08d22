//! Cgroups. Format: `Documentation/admin-guide/cgroup-v2.rst` of the kernel.

use bpfman_core::types::AbsolutePath;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::TargetError;

/// CGROUP2_SUPER_MAGIC of `linux/magic.h`.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// CGROUP_SUPER_MAGIC of `linux/magic.h`.
const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;

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
