//! The links of the store on disk.

use bpfman_core::links::AttachPoint;
use bpfman_core::managed::Link;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use rusqlite::Connection;
use rusqlite::Params;

use super::SqliteStore;
use super::fault::Fault;
use super::find;
use super::link_rows;
use super::link_rows::link_columns;
use crate::interfaces::LinkLister;
use crate::interfaces::LinkReader;
use crate::interfaces::LinkWriter;
use crate::store::StoreError;
use crate::store::link_id_after;

macro_rules! selection {
    ($filter:literal) => {
        concat!(
            "SELECT ",
            link_columns!(),
            // An outer join, for a link without a program is damage and must not pass for no link.
            " FROM links LEFT JOIN programs ON programs.id = links.program_id ",
            $filter,
            " ORDER BY links.id"
        )
    };
}

const ALL: &str = selection!("");
pub(super) const BY_ID: &str = selection!("WHERE links.id = ?1");
pub(super) const OF_PROGRAM: &str =
    selection!("WHERE links.program_id = (SELECT id FROM programs WHERE kernel_id = ?1)");
pub(super) const AT_POINT: &str = selection!("WHERE links.attach_point = ?1");

/// The largest id that a link ever had. SQLite keeps it in a table that anybody can edit: the links count, too.
pub(super) const LAST_ID: &str = "SELECT max(\
     coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'links'), 0), \
     coalesce((SELECT max(id) FROM links), 0)) AS last_link";

/// Reads the links of a selection, in the order of their ids.
fn select(
    connection: &Connection,
    selection: &str,
    parameters: impl Params,
) -> Result<Vec<Link>, Fault> {
    let mut links = Vec::new();
    let mut statement = connection.prepare(selection)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        links.push(link_rows::link(row)?);
    }
    Ok(links)
}

impl LinkReader for SqliteStore {
    fn link(&self, id: LinkId) -> Result<Link, StoreError> {
        self.in_snapshot(|connection| {
            let found = select(connection, BY_ID, [id.0])?;
            let link = found.into_iter().next();
            Ok(link.ok_or(StoreError::LinkNotFound(id))?)
        })
    }

    fn links_of(&self, program: ProgramId) -> Result<Vec<Link>, StoreError> {
        self.in_snapshot(|connection| select(connection, OF_PROGRAM, [program.0]))
    }

    fn links_at(&self, point: &AttachPoint) -> Result<Vec<Link>, StoreError> {
        self.in_snapshot(|connection| select(connection, AT_POINT, [point.to_string()]))
    }

    fn next_link(&self) -> Result<LinkId, StoreError> {
        self.in_snapshot(|connection| {
            let last: i64 = connection.query_row(LAST_ID, (), |row| row.get(0))?;
            let last = u32::try_from(last)
                .map_err(|_| Fault::Damaged(format!("last link: {last} is out of range")))?;
            Ok(link_id_after(last)?)
        })
    }
}

impl LinkLister for SqliteStore {
    fn links(&self) -> Result<Vec<Link>, StoreError> {
        self.in_snapshot(|connection| select(connection, ALL, ()))
    }
}

impl LinkWriter for SqliteStore {
    fn save_link(&mut self, link: &Link) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            let found = find(transaction)?(link.program)?;
            let program_row = found.ok_or(StoreError::NotFound(link.program))?;
            link_rows::save(transaction, program_row, link)
        })
    }

    fn delete_link(&mut self, id: LinkId) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            match transaction.execute("DELETE FROM links WHERE id = ?1", [id.0])? {
                0 => Err(StoreError::LinkNotFound(id).into()),
                _ => Ok(()),
            }
        })
    }
}
