//! Why a store cannot answer.

use std::path::PathBuf;

use bpfman_core::links::AttachPoint;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;

/// Why a store cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such program.
    #[error("program {0} does not exist")]
    NotFound(ProgramId),
    /// There is no such link.
    #[error("link {0} does not exist")]
    LinkNotFound(LinkId),
    /// There is no record of such an attach point.
    #[error("nothing of ours is attached at {0}")]
    DispatcherNotFound(AttachPoint),
    /// The database was written by a newer version; it was not touched.
    #[error("database {path} has schema {found}, newer than the {known} that this version knows", path = path.display())]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest version we know.
        known: u32,
    },
    /// The database is older than this version and a reader does not migrate.
    #[error("database {path} has schema {found}, older than {known}", path = path.display())]
    OlderSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The version we read.
        known: u32,
    },
    /// The database was made by another program; it was not touched.
    #[error("database {path} holds tables but no schema version: it is not ours", path = path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// A record does not fit into a store.
    #[error("program {id} cannot be stored: its {field} is after the year 2262")]
    Unstorable {
        /// The program.
        id: ProgramId,
        /// The time that is too late.
        field: &'static str,
    },
    /// A link's record does not fit into a store.
    #[error("link {id} cannot be stored: its {field} is after the year 2262")]
    LinkUnstorable {
        /// The link.
        id: LinkId,
        /// The time that is too late.
        field: &'static str,
    },
    /// The last id that a link can have is used; none is used twice.
    #[error("no link id is left: {} was the last one", u32::MAX)]
    NoLinkIdLeft,
    /// The disk is full.
    #[error("no space left for database {path}", path = path.display())]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The file may not be opened.
    #[error("database {path} cannot be opened: {reason}", path = path.display())]
    Unreadable {
        /// The database file.
        path: PathBuf,
        /// What SQLite or the system said.
        reason: String,
    },
    /// The file is not a database, or a row in it makes no sense.
    #[error("database {path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process holds the database.
    #[error("database {path} is busy", path = path.display())]
    Busy {
        /// The database file.
        path: PathBuf,
    },
    /// Anything else that SQLite said.
    #[error("database {path}: {reason}", path = path.display())]
    Other {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}
