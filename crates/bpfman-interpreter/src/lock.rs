//! The lock of the one writer: `flock` on `<runtime>/.lock` (contract: section 2). It dies with its process, and with the
//! helper that this one started.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use std::time::Instant;

use bpfman_core::types::AbsolutePath;
use rustix::fs::FlockOperation;
use rustix::fs::flock;

/// How long we sleep between two tries.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// How long one who looks at everything waits for the writer at work: longer than any operation takes that is not stuck.
const LOOK_WAIT: Duration = Duration::from_secs(5);

/// Holding it means being the writer.
#[derive(Debug)]
pub struct WriterLock {
    file: File,
    path: AbsolutePath,
}

impl Drop for WriterLock {
    /// An operation that came to its end gives the lock back, whoever still has a descriptor of it.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Whether a writer is at work.
#[derive(Debug)]
pub enum Stillness {
    /// None is, and none begins while this lives.
    Still(Option<File>),
    /// One is, and does not come to its end.
    Busy,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another writer held it the whole time.
    #[error("another bpfman has held {path} for {waited:?}")]
    TimedOut {
        /// The lock file.
        path: AbsolutePath,
        /// How long we waited.
        waited: Duration,
    },
    /// The file cannot be opened or locked.
    #[error("cannot lock {path}: {source}")]
    System {
        /// The lock file.
        path: AbsolutePath,
        /// What the system said.
        source: io::Error,
    },
}

impl WriterLock {
    /// Takes the lock, waiting at most `timeout`; zero waits for ever.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(path: &AbsolutePath, timeout: Duration) -> Result<Self, LockError> {
        let system = |source: io::Error| LockError::System {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.as_str())
            .map_err(system)?;
        wait_for(&file, FlockOperation::LockExclusive, path, timeout)?;
        let path = path.clone();
        Ok(Self { file, path })
    }

    /// The lock for a helper: when we are killed, it holds it until it has done what it is at.
    ///
    /// # Errors
    /// [`LockError::System`].
    pub fn share(&self) -> Result<OwnedFd, LockError> {
        let file = self.file.try_clone().map_err(|source| LockError::System {
            path: self.path.clone(),
            source,
        })?;
        Ok(file.into())
    }
}

/// Waits until no writer is at work. What only a writer makes is not made for this.
///
/// # Errors
/// [`LockError::System`].
pub fn stillness(path: &AbsolutePath) -> Result<Stillness, LockError> {
    let file = match File::open(path.as_str()) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Stillness::Still(None));
        }
        Err(source) => {
            let path = path.clone();
            return Err(LockError::System { path, source });
        }
    };
    match wait_for(&file, FlockOperation::LockShared, path, LOOK_WAIT) {
        Ok(()) => Ok(Stillness::Still(Some(file))),
        Err(LockError::TimedOut { .. }) => Ok(Stillness::Busy),
        Err(error) => Err(error),
    }
}

/// Locks a file that others may hold, waiting at most `timeout`; zero waits for ever.
fn wait_for(
    file: &File,
    operation: FlockOperation,
    path: &AbsolutePath,
    timeout: Duration,
) -> Result<(), LockError> {
    let operation = match (operation, timeout) {
        (operation, Duration::ZERO) => operation,
        (FlockOperation::LockShared, _) => FlockOperation::NonBlockingLockShared,
        _ => FlockOperation::NonBlockingLockExclusive,
    };
    let path = || path.clone();
    let start = Instant::now();
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < timeout => {
                std::thread::sleep(RETRY_INTERVAL.min(timeout));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::TimedOut {
                    path: path(),
                    waited: start.elapsed(),
                });
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(LockError::System {
                    path: path(),
                    source: error.into(),
                });
            }
        }
    }
}
