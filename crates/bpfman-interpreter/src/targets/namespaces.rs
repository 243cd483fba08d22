//! The network namespaces of the machine: the kernel lists none, but what shows one can be listed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use bpfman_core::types::AbsolutePath;
use bpfman_core::types::NetnsId;

use super::TargetError;

/// Format: proc_pid_mountinfo(5).
const MOUNTS: &str = "/proc/thread-self/mountinfo";
const PROCESSES: &str = "/proc";
/// How many threads are looked at: `PID_MAX_LIMIT` of `linux/threads.h`.
const MAX_THREADS: usize = 1 << 22;

/// Every namespace that is mounted (`ip netns`, container engines), or that a thread is in or holds open; mounts last longer
/// than processes, and come first.
pub(super) fn visible() -> Result<BTreeMap<NetnsId, AbsolutePath>, TargetError> {
    let failed = |source| TargetError::system(MOUNTS, source);
    let mounts = fs::read_to_string(MOUNTS).map_err(failed)?;
    let mut found = BTreeMap::new();
    for (id, path) in mounts.lines().filter_map(mounted) {
        found.entry(id).or_insert(path);
    }
    let failed = |source| TargetError::system(PROCESSES, source);
    let mut threads = 0;
    for process in numbers(Path::new(PROCESSES)).map_err(failed)? {
        let tasks = Path::new(PROCESSES).join(&process).join("task");
        // A process may end while it is looked at.
        for thread in numbers(&tasks).unwrap_or_default() {
            threads += 1;
            if threads > MAX_THREADS {
                return Err(failed(io::Error::other("there are too many threads")));
            }
            add(&tasks.join(thread).join("ns/net"), &mut found);
        }
        let open = Path::new(PROCESSES).join(&process).join("fd");
        for descriptor in numbers(&open).unwrap_or_default() {
            add(&open.join(descriptor), &mut found);
        }
    }
    Ok(found)
}

/// A namespace that is mounted: the fourth field is `net:[INODE]`, the fifth the path.
fn mounted(line: &str) -> Option<(NetnsId, AbsolutePath)> {
    let mut fields = line.split(' ').skip(3);
    let id = namespace(fields.next()?)?;
    // The kernel writes spaces and the like as octal numbers; such a path is not ours to guess.
    let path = fields.next().filter(|path| !path.contains('\\'))?;
    Some((id, AbsolutePath::parse(path).ok()?))
}

fn namespace(name: &str) -> Option<NetnsId> {
    let inode = name.strip_prefix("net:[")?.strip_suffix(']')?;
    Some(NetnsId(inode.parse().ok()?))
}

fn add(link: &Path, found: &mut BTreeMap<NetnsId, AbsolutePath>) {
    let Ok(target) = fs::read_link(link) else {
        return;
    };
    let id = target.to_str().and_then(namespace);
    let path = link
        .to_str()
        .and_then(|path| AbsolutePath::parse(path).ok());
    if let (Some(id), Some(path)) = (id, path) {
        found.entry(id).or_insert(path);
    }
}

/// The entries of a directory that are numbers.
fn numbers(directory: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_str().filter(|name| name.parse::<u32>().is_ok());
        found.extend(name.map(str::to_owned));
    }
    Ok(found)
}
