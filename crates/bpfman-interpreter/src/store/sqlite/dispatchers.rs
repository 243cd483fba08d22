//! The dispatchers of the store on disk.

use bpfman_core::links::AttachPoint;
use bpfman_core::managed::Dispatcher;
use rusqlite::Connection;
use rusqlite::Params;

use super::SqliteStore;
use super::dispatcher_rows;
use super::dispatcher_rows::dispatcher_columns;
use super::fault::Fault;
use crate::interfaces::DispatcherReader;
use crate::interfaces::DispatcherWriter;
use crate::store::StoreError;

const ALL: &str = concat!("SELECT ", dispatcher_columns!(), " FROM dispatchers");
pub(super) const AT_POINT: &str = concat!(
    "SELECT ",
    dispatcher_columns!(),
    " FROM dispatchers WHERE attach_point = ?1"
);

/// Reads the dispatchers of a selection, in the order of their attach points. That is not the order of the column,
/// in which interface 10 stands before interface 2.
fn select(
    connection: &Connection,
    selection: &str,
    parameters: impl Params,
) -> Result<Vec<Dispatcher>, Fault> {
    let mut dispatchers = Vec::new();
    let mut statement = connection.prepare(selection)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        dispatchers.push(dispatcher_rows::dispatcher(row)?);
    }
    dispatchers.sort_by_key(Dispatcher::point);
    Ok(dispatchers)
}

impl DispatcherReader for SqliteStore {
    fn dispatcher(&self, point: &AttachPoint) -> Result<Option<Dispatcher>, StoreError> {
        self.in_snapshot(|connection| {
            let found = select(connection, AT_POINT, [point.to_string()])?;
            Ok(found.into_iter().next())
        })
    }

    fn dispatchers(&self) -> Result<Vec<Dispatcher>, StoreError> {
        self.in_snapshot(|connection| select(connection, ALL, ()))
    }
}

impl DispatcherWriter for SqliteStore {
    fn save_dispatcher(&mut self, dispatcher: &Dispatcher) -> Result<(), StoreError> {
        self.in_transaction(|transaction| dispatcher_rows::save(transaction, dispatcher))
    }

    fn delete_dispatcher(&mut self, point: &AttachPoint) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            let key = point.to_string();
            match transaction.execute("DELETE FROM dispatchers WHERE attach_point = ?1", [key])? {
                0 => Err(StoreError::DispatcherNotFound(*point).into()),
                _ => Ok(()),
            }
        })
    }
}
