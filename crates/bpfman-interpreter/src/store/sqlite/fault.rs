//! What can go wrong below [`super::SqliteStore`], before it is known which file it happened to.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::store::StoreError;

/// A failure without its file; [`Fault::at`] adds that once, at the public edge.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite refused.
    Sqlite(rusqlite::Error),
    /// A row, or the file around it, makes no sense.
    Damaged(String),
    /// The database holds something, but never had a schema of ours.
    Foreign,
    /// The schema is newer than ours.
    Newer { found: u32, known: u32 },
    /// The schema is older than ours.
    Older { found: u32, known: u32 },
    /// The system refused.
    Io(io::Error),
    /// Anything else.
    Other(String),
    /// The answer does not speak of the file.
    Final(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

impl Fault {
    /// The same failure as the outside sees it.
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.to_path_buf();
        match self {
            Self::Sqlite(error) => from_sqlite(path, &error),
            Self::Damaged(reason) => StoreError::Damaged { path, reason },
            Self::Foreign => StoreError::Foreign { path },
            Self::Newer { found, known } => StoreError::NewerSchema { path, found, known },
            Self::Older { found, known } => StoreError::OlderSchema { path, found, known },
            Self::Io(error) => from_system(path, &error),
            Self::Other(reason) => StoreError::Other { path, reason },
            Self::Final(error) => error,
        }
    }

    /// Whether a file cannot be made or written: no room for the index of the log is an I/O error of its own kind.
    pub(super) fn is_about_files(&self) -> bool {
        let code = match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        };
        matches!(
            code,
            Some(
                ErrorCode::CannotOpen
                    | ErrorCode::DiskFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
            )
        )
    }

    /// Whether SQLite could not open the file at all.
    pub(super) fn is_cannot_open(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen))
    }
}

fn from_system(path: PathBuf, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Unreadable {
            path,
            reason: error.to_string(),
        },
    }
}

fn from_sqlite(path: PathBuf, error: &rusqlite::Error) -> StoreError {
    let (failure, reason) = match error {
        rusqlite::Error::SqliteFailure(failure, _) => (failure, error.to_string()),
        // Prints the whole statement too, which is no news to anybody.
        rusqlite::Error::SqlInputError { error, msg, .. } => (error, msg.clone()),
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => {
            let reason = error.to_string();
            return StoreError::Damaged { path, reason };
        }
        _ => {
            let reason = error.to_string();
            return StoreError::Other { path, reason };
        }
    };
    match (failure.code, failure.extended_code) {
        // The index beside the log is allocated at once, so that a full disk is an error here and not a SIGBUS later.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::Full { path },
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreError::Busy { path },
        // Our statements are constants: when one is an error, the tables are not what the version says.
        (ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown, _) => {
            StoreError::Damaged { path, reason }
        }
        (
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::AuthorizationForStatementDenied,
            _,
        )
        | (_, ffi::SQLITE_IOERR_READ) => StoreError::Unreadable { path, reason },
        _ => StoreError::Other { path, reason },
    }
}
