//! Where the records are kept: [`sqlite`] on disk, [`memory`] for tests. One suite of tests runs against both.

mod error;
pub mod memory;
pub mod sqlite;

use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::LinkId;

pub use error::StoreError;

/// The times of a record as every store keeps them: SQLite's integers are signed, and a time that would wrap is
/// refused, in memory too, so that a test sees what the disk would say.
struct StoredTimes {
    load_time: i64,
    created_at: i64,
    updated_at: Option<i64>,
}

impl StoredTimes {
    fn of(program: &Program) -> Result<Self, StoreError> {
        let id = program.id();
        let signed = |field, nanoseconds| {
            i64::try_from(nanoseconds).map_err(|_| StoreError::Unstorable { id, field })
        };
        Ok(Self {
            load_time: signed("load_time", program.identity.load_time.0)?,
            created_at: signed("created_at", program.created_at.0)?,
            updated_at: program
                .updated_at
                .map(|time| signed("updated_at", time.0))
                .transpose()?,
        })
    }
}

/// A link's time as every store keeps it, like [`StoredTimes`].
fn stored_link_time(link: &Link) -> Result<i64, StoreError> {
    i64::try_from(link.created_at.0).map_err(|_| StoreError::LinkUnstorable {
        id: link.id,
        field: "created_at",
    })
}

/// A recovery's time as every store keeps it. A clock that is centuries ahead is no reason to leave an operation
/// unfinished.
fn stored_recovery_time(recovery: &Recovery) -> i64 {
    i64::try_from(recovery.at.0).unwrap_or(i64::MAX)
}

/// The id after the last one that was ever used.
fn link_id_after(last: u32) -> Result<LinkId, StoreError> {
    last.checked_add(1)
        .map(LinkId)
        .ok_or(StoreError::NoLinkIdLeft)
}
