//! The file systems that processes see.
//!
//! A container's files are its own to arrange: a symbolic link in it may name any path. Links are therefore followed
//! inside its root only (`RESOLVE_IN_ROOT` of openat2), and what comes out is a path without any.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use bpfman_core::types::AbsolutePath;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::Stat;
use rustix::io::Errno;

use super::TargetError;

/// Where processes are found. The second place is the host's, as a container mounts it that manages its host.
const PROCESSES: [&str; 2] = ["/proc", "/host/proc"];
/// How often a lookup is tried that the kernel gave up because something was renamed meanwhile.
const MAX_TRIES: usize = 16;

/// A file to be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedFile {
    /// The path that the kernel opens.
    pub path: AbsolutePath,
    /// The path that the user knows, in a container that of the container.
    pub shown: AbsolutePath,
}

/// The file system that a process sees.
pub(super) struct Root {
    directory: OwnedFd,
    /// The process; `None` for our own root.
    process: Option<(u32, PathBuf)>,
}

/// The directory in `/proc` of a process.
pub(super) fn process_directory(pid: u32) -> Result<PathBuf, TargetError> {
    let mut places = PROCESSES
        .iter()
        .map(|place| Path::new(place).join(pid.to_string()));
    let found = places.find(|place| place.is_dir());
    found.ok_or(TargetError::UnknownProcess { pid })
}

/// A failure to look at a process: most often it has ended.
pub(super) fn process_failure(pid: u32, what: &Path, source: io::Error) -> TargetError {
    let gone = [Errno::NOENT, Errno::SRCH].map(Errno::raw_os_error);
    if source
        .raw_os_error()
        .is_some_and(|error| gone.contains(&error))
    {
        return TargetError::UnknownProcess { pid };
    }
    TargetError::system(what.display(), source)
}

impl Root {
    pub(super) fn own() -> Result<Self, TargetError> {
        let directory = open_directory(Path::new("/"));
        Ok(Self {
            directory: directory.map_err(|source| TargetError::system("/", source))?,
            process: None,
        })
    }

    pub(super) fn of_process(pid: u32) -> Result<Self, TargetError> {
        let path = process_directory(pid)?.join("root");
        let directory = open_directory(&path);
        let directory = directory.map_err(|source| process_failure(pid, &path, source.into()))?;
        Ok(Self {
            directory,
            process: Some((pid, path)),
        })
    }

    /// The process whose root it is; `None` for our own.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|(pid, _)| *pid)
    }

    /// Opens what is at a path inside this root.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut result = Err(Errno::AGAIN);
        for _ in 0..MAX_TRIES {
            result = match self.process {
                Some(_) => rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), inside),
                None => rustix::fs::open(path, flags, Mode::empty()),
            };
            if !matches!(result, Err(Errno::AGAIN)) {
                break;
            }
        }
        result
    }

    /// The regular file at a path inside this root.
    pub(super) fn file(&self, path: &AbsolutePath) -> Result<ResolvedFile, TargetError> {
        let found = match self.open(path.as_str(), OFlags::PATH) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(self.no_such_file(path)),
            Err(source) => return Err(TargetError::system(path, source)),
        };
        let status = rustix::fs::fstat(&found);
        let status = status.map_err(|source| TargetError::system(path, source))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(TargetError::NotAFile { path: path.clone() });
        }
        match &self.process {
            None => Ok(ResolvedFile {
                path: path.clone(),
                shown: path.clone(),
            }),
            Some((_, root)) => self.without_links(path, &found, &status, root),
        }
    }

    /// Where a path of `/proc/PID/maps` is inside this root: the kernel writes it from the root of the whole
    /// namespace, and a process may live in a directory of that.
    pub(super) fn inside(&self, path: &str) -> Option<PathBuf> {
        let root = location(&self.directory).ok()?;
        let inside = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new("/").join(inside))
    }

    fn without_links(
        &self,
        path: &AbsolutePath,
        found: &OwnedFd,
        status: &Stat,
        root: &Path,
    ) -> Result<ResolvedFile, TargetError> {
        let changed = || TargetError::Changed { path: path.clone() };
        let location = location(found).map_err(|source| TargetError::system(path, source))?;
        let inside = self.inside(text(&location)?).ok_or_else(changed)?;
        let relative = inside.strip_prefix("/").unwrap_or(&inside);
        let resolved = absolute(&root.join(relative))?;
        let again = fs::metadata(resolved.as_str()).map_err(|_| changed())?;
        if (again.dev(), again.ino()) != (status.st_dev, status.st_ino) {
            return Err(changed());
        }
        Ok(ResolvedFile {
            path: resolved,
            shown: absolute(&inside)?,
        })
    }

    fn no_such_file(&self, path: &AbsolutePath) -> TargetError {
        TargetError::NoSuchFile {
            path: path.to_string(),
            container_pid: self.pid(),
        }
    }
}

pub(super) fn absolute(path: &Path) -> Result<AbsolutePath, TargetError> {
    let text = text(path)?;
    AbsolutePath::parse(text).map_err(|error| TargetError::UnusablePath {
        path: text.to_owned(),
        reason: error.to_string(),
    })
}

fn text(path: &Path) -> Result<&str, TargetError> {
    path.to_str().ok_or_else(|| TargetError::UnusablePath {
        path: path.display().to_string(),
        reason: "it is not UTF-8".to_owned(),
    })
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Where an open file is, from the root of its mount namespace.
fn location(file: &impl AsFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}
