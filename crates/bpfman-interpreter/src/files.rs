//! Ordinary files, changed so that a reader never meets half of one.

use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bpfman_core::action::KeptInstructions;
use bpfman_core::compute::Room;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use serde::Serialize;

use crate::interfaces::FileError;
use crate::interfaces::Files;

/// The mode of our directories: objects and records are for their owner only.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of our files.
const FILE_MODE: u32 = 0o600;

/// The files of this machine.
#[derive(Debug, Default)]
pub struct SystemFiles;

impl SystemFiles {
    fn write_json(&mut self, path: &AbsolutePath, value: &impl Serialize) -> Result<(), FileError> {
        let bytes = serde_json::to_vec(value).map_err(|error| FileError {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        self.write(path, &bytes)
    }
}

impl Files for SystemFiles {
    fn make_directory(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        changed(
            path,
            DirBuilder::new().mode(DIRECTORY_MODE).create(path.as_str()),
            &[io::ErrorKind::AlreadyExists],
        )
    }

    fn remove_empty_directory(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        use io::ErrorKind::DirectoryNotEmpty;
        use io::ErrorKind::NotFound;
        use io::ErrorKind::ResourceBusy;
        changed(
            path,
            fs::remove_dir(path.as_str()),
            &[DirectoryNotEmpty, NotFound, ResourceBusy],
        )
    }

    fn write(&mut self, path: &AbsolutePath, bytes: &[u8]) -> Result<(), FileError> {
        let write = || {
            let mut new = OpenOptions::new();
            let new = new.write(true).create_new(true).mode(FILE_MODE);
            in_place(path, || new.open(path.as_str()))?.write_all(bytes)
        };
        write().map_err(|source| {
            // What was written so far is of no use, and a failure to remove it changes nothing about the cause.
            let _ = remove_if_there(path);
            FileError {
                path: path.clone(),
                source,
            }
        })
    }

    fn link(&mut self, from: &AbsolutePath, to: &AbsolutePath) -> Result<(), FileError> {
        let linked = in_place(to, || fs::hard_link(from.as_str(), to.as_str()));
        linked.map_err(|source| FileError {
            path: to.clone(),
            source,
        })
    }

    fn write_instructions(
        &mut self,
        path: &AbsolutePath,
        kept: &KeptInstructions,
    ) -> Result<(), FileError> {
        self.write_json(path, kept)
    }

    fn write_record(&mut self, path: &AbsolutePath, program: &Program) -> Result<(), FileError> {
        self.write_json(path, program)
    }

    fn remove_file(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        changed(
            path,
            fs::remove_file(path.as_str()),
            &[io::ErrorKind::NotFound],
        )
    }

    fn remove_tree(&mut self, path: &AbsolutePath) -> Result<bool, FileError> {
        changed(
            path,
            fs::remove_dir_all(path.as_str()),
            &[io::ErrorKind::NotFound],
        )
    }

    fn list(&self, path: &AbsolutePath) -> Result<Vec<AbsolutePath>, FileError> {
        let read = || {
            let mut found = Vec::new();
            for entry in fs::read_dir(path.as_str())? {
                let name = entry?.file_name();
                let name = name.to_str().ok_or(io::ErrorKind::InvalidData)?;
                found.push(path.join(name));
            }
            found.sort_unstable();
            Ok::<_, io::Error>(found)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|source| FileError {
                path: path.clone(),
                source,
            }),
        }
    }

    fn room(&self, path: &AbsolutePath) -> Result<Option<Room>, FileError> {
        match rustix::fs::statvfs(path.as_str()) {
            Ok(system) => Ok(Some(Room {
                read_only: system.f_flag.contains(StatVfsMountFlags::RDONLY),
                // A tmpfs without a limit says that it has no blocks.
                free: match system.f_blocks {
                    0 => u64::MAX,
                    _ => system.f_bavail.saturating_mul(system.f_frsize),
                },
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(FileError {
                path: path.clone(),
                source: error.into(),
            }),
        }
    }

    fn exists(&self, path: &AbsolutePath) -> bool {
        fs::symlink_metadata(path.as_str()).is_ok()
    }
}

/// Makes a file, in place of one that is there.
fn in_place<T>(path: &AbsolutePath, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_if_there(path)?;
            make()
        }
        made => made,
    }
}

fn remove_if_there(path: &AbsolutePath) -> io::Result<()> {
    match fs::remove_file(path.as_str()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn changed(
    path: &AbsolutePath,
    result: io::Result<()>,
    unchanged: &[io::ErrorKind],
) -> Result<bool, FileError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if unchanged.contains(&error.kind()) => Ok(false),
        Err(source) => Err(FileError {
            path: path.clone(),
            source,
        }),
    }
}

/// Why an object file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadObjectError {
    /// It is larger than allowed.
    #[error("object file {path} has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It is a directory, a device or a pipe.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// The system refused.
    #[error("cannot read {path}: {source}")]
    System {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads an object file of at most `limit` bytes.
///
/// # Errors
/// [`ReadObjectError`]; nothing of a file that is too large is read.
pub fn read_object(path: &Path, limit: u64) -> Result<Vec<u8>, ReadObjectError> {
    let name = || path.display().to_string();
    let system = |source| ReadObjectError::System {
        path: name(),
        source,
    };
    // A pipe in the file's place must not make us wait for a writer.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblock)
        .open(path)
        .map_err(system)?;
    let metadata = file.metadata().map_err(system)?;
    if !metadata.is_file() {
        return Err(ReadObjectError::NotAFile(name()));
    }
    read_bounded(&file, metadata.len(), limit)
        .map_err(system)?
        .ok_or_else(|| ReadObjectError::TooLarge {
            path: name(),
            bytes: metadata.len(),
            limit,
        })
}

/// `None` when the file holds more than `limit` bytes, also when it grows while it is read.
fn read_bounded(file: &File, bytes: u64, limit: u64) -> io::Result<Option<Vec<u8>>> {
    if bytes > limit {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(limit + 1).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}
