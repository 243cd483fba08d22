//! Records to rows and back. Every value is checked on its way in: the file may have been edited.

use std::collections::BTreeMap;
use std::fmt::Display;

use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::managed::LoadRecord;
use bpfman_core::managed::ManagedMap;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelTime;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_core::types::Tag;
use bpfman_core::types::UnixTime;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::Statement;
use rusqlite::params;
use rusqlite::types::ValueRef;
use serde::de::DeserializeOwned;

use super::fault::Fault;
use crate::store::StoredTimes;

/// The columns that [`program`] reads, in its order.
macro_rules! program_columns {
    () => {
        "id, kernel_id, tag, load_time, name, type, pinned_path, object_path, source_path, global_data, \
         attach_function, map_owner_id, license, gpl_compatible, map_directory, map_owner, metadata, created_at, \
         updated_at"
    };
}
pub(super) use program_columns;

/// The columns that [`map`] reads, in its order.
macro_rules! map_columns {
    () => {
        "program_id, maps.kernel_id, maps.name, maps.pinned_path"
    };
}
pub(super) use map_columns;

/// Reads the first of [`program_columns`].
pub(super) fn program_row_id(row: &Row<'_>) -> Result<i64, Fault> {
    Ok(row.get(0)?)
}

/// Reads the others of [`program_columns`]; the maps are read apart.
pub(super) fn program(row: &Row<'_>) -> Result<Program, Fault> {
    let table = Cells {
        row,
        subject: Subject::ProgramRow(program_row_id(row)?),
    };
    let id = ProgramId(table.integer(1)?);
    let cells = Cells {
        row,
        subject: Subject::Program(id),
    };
    let identity = ProgramIdentity {
        id,
        tag: cells.parsed(2, |text| Tag::parse(text).ok_or("a tag is 16 hex digits"))?,
        load_time: KernelTime(cells.integer(3)?),
    };
    let load = LoadRecord {
        program_name: cells.text(4)?.to_owned(),
        program_type: cells.parsed(5, ProgramType::parse)?,
        object_path: cells.path(7)?,
        source_path: cells.optional(8, Cells::path)?,
        global_data: cells.json(9)?,
        attach_function: cells.optional(10, Cells::string)?,
        map_owner_id: cells.optional(11, Cells::integer)?.map(ProgramId),
    };
    Ok(Program {
        identity,
        load,
        license: cells.optional(12, Cells::string)?,
        gpl_compatible: cells.boolean(13)?,
        pin_path: cells.path(6)?,
        map_directory: cells.path(14)?,
        map_owner: cells.optional(15, Cells::integer)?.map(ProgramId),
        metadata: cells.json(16)?,
        maps: Vec::new(),
        created_at: UnixTime(cells.integer(17)?),
        updated_at: cells.optional(18, Cells::integer)?.map(UnixTime),
    })
}

/// Reads the first of [`map_columns`]: the program's row.
pub(super) fn map_user(row: &Row<'_>) -> Result<i64, Fault> {
    Ok(row.get(0)?)
}

/// Reads the others of [`map_columns`] and gives the map to its program.
pub(super) fn map(row: &Row<'_>, user: &mut Program) -> Result<(), Fault> {
    let cells = Cells {
        row,
        subject: Subject::MapOf(user.id()),
    };
    user.maps.push(ManagedMap {
        id: MapId(cells.integer(1)?),
        name: cells.string(2)?,
        pin_path: cells.optional(3, Cells::path)?,
    });
    Ok(())
}

/// What a complaint about a cell names.
#[derive(Clone, Copy)]
enum Subject {
    ProgramRow(i64),
    Program(ProgramId),
    MapOf(ProgramId),
}

impl Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ProgramRow(row) => write!(f, "row {row} of programs"),
            Self::Program(id) => write!(f, "program {id}"),
            Self::MapOf(id) => write!(f, "a map of program {id}"),
        }
    }
}

/// One row and how to speak of it.
struct Cells<'row> {
    row: &'row Row<'row>,
    subject: Subject,
}

impl<'row> Cells<'row> {
    fn complaint(&self, column: usize, reason: impl Display) -> Fault {
        let name = self.row.as_ref().column_name(column).unwrap_or("?");
        Fault::Damaged(format!("{}: {name}: {reason}", self.subject))
    }

    fn value(&self, column: usize) -> Result<ValueRef<'row>, Fault> {
        Ok(self.row.get_ref(column)?)
    }

    fn text(&self, column: usize) -> Result<&'row str, Fault> {
        let value = self.value(column)?;
        value
            .as_str()
            .map_err(|error| self.complaint(column, error))
    }

    fn string(&self, column: usize) -> Result<String, Fault> {
        self.text(column).map(str::to_owned)
    }

    fn integer<T: TryFrom<i64>>(&self, column: usize) -> Result<T, Fault> {
        let value = self.value(column)?;
        let number = value
            .as_i64()
            .map_err(|error| self.complaint(column, error))?;
        T::try_from(number)
            .map_err(|_| self.complaint(column, format_args!("{number} is out of range")))
    }

    fn boolean(&self, column: usize) -> Result<bool, Fault> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            number @ 2u32.. => {
                Err(self.complaint(column, format_args!("{number} is out of range")))
            }
        }
    }

    fn parsed<T, E: Display>(
        &self,
        column: usize,
        parse: impl Fn(&'row str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        parse(self.text(column)?).map_err(|error| self.complaint(column, error))
    }

    fn path(&self, column: usize) -> Result<AbsolutePath, Fault> {
        self.parsed(column, AbsolutePath::parse)
    }

    fn json<V: DeserializeOwned>(&self, column: usize) -> Result<BTreeMap<String, V>, Fault> {
        self.parsed(column, serde_json::from_str)
    }

    fn optional<T>(
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

/// The statements of one save, prepared once for all its programs.
pub(super) struct Insert<'connection> {
    program: Statement<'connection>,
    map: Statement<'connection>,
    program_map: Statement<'connection>,
}

impl<'connection> Insert<'connection> {
    pub(super) fn prepare(connection: &'connection Connection) -> Result<Self, Fault> {
        Ok(Self {
            program: connection.prepare(concat!(
                "INSERT INTO programs (",
                program_columns!(),
                ") VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
            ))?,
            // A map that is known already is shared, or the kernel gave its id to another one: the newest word holds.
            map: connection.prepare(
                "INSERT INTO maps (kernel_id, name, pinned_path) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (kernel_id) DO UPDATE SET name = excluded.name, pinned_path = excluded.pinned_path \
                 RETURNING id",
            )?,
            program_map: connection
                .prepare("INSERT INTO program_maps (program_id, position, map_id) VALUES (?1, ?2, ?3)")?,
        })
    }

    /// Writes a program that has no row, and its maps.
    pub(super) fn run(&mut self, program: &Program) -> Result<(), Fault> {
        let row_id = self.insert_program(program)?;
        for (position, map) in program.maps.iter().enumerate() {
            let pin_path = map.pin_path.as_ref().map(AbsolutePath::as_str);
            let map_row: i64 = self
                .map
                .query_one(params![map.id.0, map.name, pin_path], |row| row.get(0))?;
            self.program_map
                .execute(params![row_id, position as i64, map_row])?;
        }
        Ok(())
    }

    fn insert_program(&mut self, program: &Program) -> Result<i64, Fault> {
        let times = StoredTimes::of(program)?;
        let load = &program.load;
        Ok(self.program.insert(params![
            program.id().0,
            program.identity.tag.to_string(),
            times.load_time,
            load.program_name,
            load.program_type.name(),
            program.pin_path.as_str(),
            load.object_path.as_str(),
            load.source_path.as_ref().map(AbsolutePath::as_str),
            json(&load.global_data)?,
            load.attach_function,
            load.map_owner_id.map(|owner| owner.0),
            program.license,
            program.gpl_compatible,
            program.map_directory.as_str(),
            program.map_owner.map(|owner| owner.0),
            json(&program.metadata)?,
            times.created_at,
            times.updated_at,
        ])?)
    }
}

fn json<V: serde::Serialize>(map: &BTreeMap<String, V>) -> Result<String, Fault> {
    serde_json::to_string(map).map_err(|error| Fault::Other(error.to_string()))
}
