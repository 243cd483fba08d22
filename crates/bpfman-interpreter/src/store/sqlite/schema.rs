//! The versions of the schema and the way from one to the next.

use rusqlite::Connection;
use rusqlite::TransactionBehavior;

use super::fault::Fault;
use super::members;

/// Migration `n` (counted from 1) leads from version `n - 1` to `n`. Never edit one that was released: add the next.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration::of_tables(include_str!("migrations/0001_programs.sql")),
    Migration::of_tables(include_str!("migrations/0002_links.sql")),
    Migration {
        tables: include_str!("migrations/0003_dispatchers.sql"),
        rows: members::migrate,
    },
    Migration::of_tables(include_str!("migrations/0004_journal.sql")),
    Migration::of_tables(include_str!("migrations/0005_map_sizes.sql")),
];

/// The way from one version to the next.
#[derive(Clone, Copy)]
pub(super) struct Migration {
    /// What becomes of the tables.
    tables: &'static str,
    /// What becomes of their rows then. Not in SQL, which cannot say which row makes no sense.
    rows: fn(&Connection) -> Result<(), Fault>,
}

impl Migration {
    /// One that leaves the rows alone.
    pub(super) const fn of_tables(tables: &'static str) -> Self {
        Self {
            tables,
            rows: |_| Ok(()),
        }
    }
}

/// The schema version that this code writes; `PRAGMA user_version` of the file.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// What a database says about itself.
pub(super) enum State {
    /// Nothing is in it yet: a writer is about to fill it, or was killed before it did.
    Unborn,
    /// It has this version.
    Version(u32),
}

/// Reads the version. This is all that is checked when a database is opened.
pub(super) fn state(connection: &Connection) -> Result<State, Fault> {
    let number: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    let version =
        u32::try_from(number).map_err(|_| Fault::Damaged(format!("schema version {number}")))?;
    if version > 0 {
        return Ok(State::Version(version));
    }
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if objects > 0 {
        Err(Fault::Foreign)
    } else {
        Ok(State::Unborn)
    }
}

/// Brings a database that is unborn or older up to date, each version as a whole or not at all.
pub(super) fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Fault> {
    // Kept in the file, so that this is the one place that sets it.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Other(format!(
            "its file system gives it journal mode {mode}, not wal"
        )));
    }
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read again inside the transaction: another writer may have migrated in the meantime.
        let done = match state(&transaction)? {
            State::Unborn => 0,
            State::Version(version) => version as usize,
        };
        let Some(next) = migrations.get(done) else {
            return Ok(());
        };
        transaction.execute_batch(next.tables)?;
        (next.rows)(&transaction)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {}", done + 1))?;
        transaction.commit()?;
    }
}
