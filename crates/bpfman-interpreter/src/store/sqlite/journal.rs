//! The journal of the store on disk.

use bpfman_core::action::Journal;
use bpfman_core::managed::Recovery;
use bpfman_core::types::UnixTime;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::cells::Cells;
use super::cells::Subject;
use super::cells::json;
use super::fault::Fault;
use crate::interfaces::JournalReader;
use crate::interfaces::JournalWriter;
use crate::interfaces::MAX_RECOVERIES;
use crate::store::StoreError;
use crate::store::stored_recovery_time;

fn journal(row: &Row<'_>) -> Result<Journal, Fault> {
    let cells = Cells {
        row,
        subject: Subject::Journal,
    };
    Ok(Journal {
        operation: cells.string(0)?,
        way: cells.json(1)?,
        actions: cells.json(2)?,
    })
}

fn recovery(row: &Row<'_>) -> Result<Recovery, Fault> {
    let cells = Cells {
        row,
        subject: Subject::RecoveryRow,
    };
    Ok(Recovery {
        operation: cells.string(0)?,
        way: cells.json(1)?,
        at: UnixTime(cells.integer(2)?),
        left: cells.json(3)?,
    })
}

impl JournalReader for SqliteStore {
    fn journal(&self) -> Result<Option<Journal>, StoreError> {
        self.in_snapshot(|connection| {
            let query = "SELECT operation, way, actions FROM journal";
            let found = connection.query_row(query, (), |row| Ok(journal(row)));
            found.optional()?.transpose()
        })
    }

    fn recoveries(&self) -> Result<Vec<Recovery>, StoreError> {
        self.in_snapshot(|connection| {
            let query = "SELECT operation, way, at, remains FROM recoveries ORDER BY id DESC";
            let mut statement = connection.prepare(query)?;
            let rows = statement.query_map((), |row| Ok(recovery(row)))?;
            rows.map(|row| row?).collect()
        })
    }
}

impl JournalWriter for SqliteStore {
    fn save_journal(&mut self, journal: Option<&Journal>) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            let Some(journal) = journal else {
                transaction.execute("DELETE FROM journal", ())?;
                return Ok(());
            };
            transaction.execute(
                "INSERT OR REPLACE INTO journal (id, operation, way, actions) VALUES (1, ?1, ?2, ?3)",
                params![
                    journal.operation,
                    json(&journal.way)?,
                    json(&journal.actions)?
                ],
            )?;
            Ok(())
        })
    }

    fn save_recovery(&mut self, recovery: &Recovery) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            transaction.execute("DELETE FROM journal", ())?;
            transaction.execute(
                "INSERT INTO recoveries (operation, way, at, remains) VALUES (?1, ?2, ?3, ?4)",
                params![
                    recovery.operation,
                    json(&recovery.way)?,
                    stored_recovery_time(recovery),
                    json(&recovery.left)?,
                ],
            )?;
            transaction.execute(
                "DELETE FROM recoveries WHERE id <= (SELECT max(id) FROM recoveries) - ?1",
                [MAX_RECOVERIES],
            )?;
            Ok(())
        })
    }
}
