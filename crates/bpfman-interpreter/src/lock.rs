//! The lock of the one writer: `flock` on `<runtime>/.lock` (contract: section 2). It dies with its process, and with the
//! helper that this one started.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use std::time::Instant;

use bpfman_core::types::AbsolutePath;
use rustix::fs::FlockOperation;
use rustix::fs::flock;

/// Lets the helper inherit the lock: when we are killed, it holds the lock until it has done what it is at.
fn share(file: &File) -> io::Result<()> {
    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).map_err(Into::into)
}

/// How long we sleep between two tries.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Holding it means being the writer.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
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
        let start = Instant::now();
        loop {
            let operation = match timeout {
                Duration::ZERO => FlockOperation::LockExclusive,
                _ => FlockOperation::NonBlockingLockExclusive,
            };
            match flock(&file, operation) {
                Ok(()) => {
                    share(&file).map_err(system)?;
                    return Ok(Self { _file: file });
                }
                Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < timeout => {
                    std::thread::sleep(RETRY_INTERVAL.min(timeout));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let path = path.clone();
                    return Err(LockError::TimedOut {
                        path,
                        waited: start.elapsed(),
                    });
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(system(error.into())),
            }
        }
    }
}
