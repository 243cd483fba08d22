//! The values of one row, each checked as it is read, and the JSON of those that are more than one value.

use std::fmt::Display;

use bpfman_core::types::AbsolutePath;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// What a complaint about a cell names.
#[derive(Clone, Copy)]
pub(super) enum Subject<'row> {
    ProgramRow(i64),
    Program(ProgramId),
    MapOf(ProgramId),
    LinkRow(i64),
    Link(LinkId),
    DispatcherRow,
    /// By its attach point, as the row has it.
    Dispatcher(&'row str),
    Journal,
    RecoveryRow,
}

impl Display for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ProgramRow(row) => write!(f, "row {row} of programs"),
            Self::Program(id) => write!(f, "program {id}"),
            Self::MapOf(id) => write!(f, "a map of program {id}"),
            Self::LinkRow(row) => write!(f, "row {row} of links"),
            Self::Link(id) => write!(f, "link {id}"),
            Self::DispatcherRow => f.write_str("a row of dispatchers"),
            Self::Dispatcher(point) => write!(f, "dispatcher {}", point.escape_debug()),
            Self::Journal => f.write_str("the journal"),
            Self::RecoveryRow => f.write_str("a row of recoveries"),
        }
    }
}

/// One row and how to speak of it.
pub(super) struct Cells<'row> {
    pub(super) row: &'row Row<'row>,
    pub(super) subject: Subject<'row>,
}

impl<'row> Cells<'row> {
    pub(super) fn complaint(&self, column: usize, reason: impl Display) -> Fault {
        let name = self.row.as_ref().column_name(column).unwrap_or("?");
        Fault::Damaged(format!("{}: {name}: {reason}", self.subject))
    }

    fn value(&self, column: usize) -> Result<ValueRef<'row>, Fault> {
        Ok(self.row.get_ref(column)?)
    }

    pub(super) fn text(&self, column: usize) -> Result<&'row str, Fault> {
        let value = self.value(column)?;
        value
            .as_str()
            .map_err(|error| self.complaint(column, error))
    }

    pub(super) fn string(&self, column: usize) -> Result<String, Fault> {
        self.text(column).map(str::to_owned)
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self, column: usize) -> Result<T, Fault> {
        let value = self.value(column)?;
        let number = value
            .as_i64()
            .map_err(|error| self.complaint(column, error))?;
        T::try_from(number)
            .map_err(|_| self.complaint(column, format_args!("{number} is out of range")))
    }

    pub(super) fn boolean(&self, column: usize) -> Result<bool, Fault> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            number @ 2u32.. => {
                Err(self.complaint(column, format_args!("{number} is out of range")))
            }
        }
    }

    pub(super) fn parsed<T, E: Display>(
        &self,
        column: usize,
        parse: impl Fn(&'row str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        parse(self.text(column)?).map_err(|error| self.complaint(column, error))
    }

    pub(super) fn path(&self, column: usize) -> Result<AbsolutePath, Fault> {
        self.parsed(column, AbsolutePath::parse)
    }

    pub(super) fn json<V: DeserializeOwned>(&self, column: usize) -> Result<V, Fault> {
        self.parsed(column, serde_json::from_str)
    }

    /// Complains of a column that does not repeat what the details say.
    pub(super) fn repeats(&self, column: usize, said: Option<&str>) -> Result<(), Fault> {
        let found = self.optional(column, Cells::text)?;
        if found == said {
            return Ok(());
        }
        let [found, said] = [found, said].map(|text| text.unwrap_or("none"));
        let found = found.escape_debug();
        Err(self.complaint(column, format_args!("{found}, but the details say {said}")))
    }

    pub(super) fn optional<T>(
        &self,
        column: usize,
        read: impl Fn(&Self, usize) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            _ => read(self, column).map(Some),
        }
    }
}

/// What [`Cells::json`] reads.
pub(super) fn json<V: Serialize>(value: &V) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Other(error.to_string()))
}
