//! The runtime directory: how a reader and the writer come to their store.
//!
//! The directory, its lock and its database have to be there before the first plan can be; making them is the
//! one effect outside a plan. A reader makes nothing, locks nothing and migrates nothing.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use bpfman_core::types::AbsolutePath;
use bpfman_core::types::RuntimeLayout;

use crate::interfaces::DispatcherReader;
use crate::interfaces::FileError;
use crate::interfaces::JournalReader;
use crate::interfaces::LinkLister;
use crate::interfaces::LinkReader;
use crate::interfaces::ProgramLister;
use crate::interfaces::ProgramReader;
use crate::interfaces::StoreWriter;
use crate::lock;
use crate::lock::LockError;
use crate::lock::Stillness;
use crate::lock::WriterLock;
use crate::operation::Stopwatch;
use crate::reserve;
use crate::store::StoreError;
use crate::store::sqlite::Database;

/// Why the writer cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A directory cannot be made.
    #[error("runtime directory: {0}")]
    Directory(#[from] FileError),
    /// The lock was not had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store that the one writer holds.
pub trait WriterStore: ReaderStore + StoreWriter {}
impl<T: ReaderStore + StoreWriter> WriterStore for T {}

/// A store as a reader sees it.
pub trait ReaderStore:
    ProgramReader + ProgramLister + LinkReader + LinkLister + DispatcherReader + JournalReader
{
}
impl<T> ReaderStore for T where
    T: ProgramReader + ProgramLister + LinkReader + LinkLister + DispatcherReader + JournalReader
{
}

/// Gives out stores.
pub trait Runtime {
    /// A reader's store; `None` when nothing was ever recorded.
    ///
    /// # Errors
    /// When there is a store and it cannot be read.
    fn reader(&self) -> Result<Option<Box<dyn ReaderStore>>, StoreError>;

    /// The writer's store, and the lock that makes its holder the writer.
    ///
    /// # Errors
    /// [`RuntimeError`].
    fn writer(&mut self) -> Result<(Box<dyn WriterStore>, Option<WriterLock>), RuntimeError>;

    /// Gives back the disk space that the writers have set aside for removals; false when there is none.
    fn release_reserve(&mut self) -> bool;

    /// Keeps writers away while somebody looks at everything: what one of them has begun looks broken.
    ///
    /// # Errors
    /// [`RuntimeError::Lock`].
    fn stillness(&self) -> Result<Stillness, RuntimeError>;
}

/// The runtime directory of this machine.
#[derive(Debug)]
pub struct SystemRuntime {
    database: Database,
    layout: RuntimeLayout,
    lock_timeout: Duration,
    /// Whether this process has given the reserve back.
    released: bool,
}

impl SystemRuntime {
    /// A runtime under `layout`; a writer waits at most `lock_timeout` for another, zero for ever.
    #[must_use]
    pub fn new(layout: RuntimeLayout, lock_timeout: Duration) -> Self {
        Self {
            database: Database::new(Path::new(layout.database().as_str())),
            layout,
            lock_timeout,
            released: false,
        }
    }
}

impl Runtime for SystemRuntime {
    fn reader(&self) -> Result<Option<Box<dyn ReaderStore>>, StoreError> {
        let store = self.database.reader()?;
        Ok(store.map(|store| Box::new(store) as Box<dyn ReaderStore>))
    }

    fn writer(&mut self) -> Result<(Box<dyn WriterStore>, Option<WriterLock>), RuntimeError> {
        let watch = Stopwatch::start(tracing::enabled!(target: "manager", tracing::Level::DEBUG));
        tracing::debug!(target: "manager", "waits for the writer's lock");
        let lock = match WriterLock::acquire(&self.layout.lock(), self.lock_timeout) {
            Err(LockError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                make_directory(self.layout.root(), 0o755)?;
                WriterLock::acquire(&self.layout.lock(), self.lock_timeout)?
            }
            other => other?,
        };
        tracing::debug!(target: "manager", "has the writer's lock after {watch}");
        make_directory(&self.layout.database_directory(), 0o700)?;
        let store = self.database.writer()?;
        // A writer that was told of a full disk has given the reserve back, and is about to use it.
        if !self.released {
            reserve::keep(Path::new(self.layout.reserve().as_str()));
        }
        Ok((Box::new(store), Some(lock)))
    }

    fn release_reserve(&mut self) -> bool {
        let released = reserve::release(Path::new(self.layout.reserve().as_str()));
        self.released |= released;
        released
    }

    fn stillness(&self) -> Result<Stillness, RuntimeError> {
        Ok(lock::stillness(&self.layout.lock())?)
    }
}

fn make_directory(path: &AbsolutePath, mode: u32) -> Result<(), FileError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path.as_str());
    made.map_err(|source| FileError {
        path: path.clone(),
        source,
    })
}
