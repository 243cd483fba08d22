//! Records to rows and back. Every value is checked on its way in: the file may have been edited.

use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::managed::LoadRecord;
use bpfman_core::managed::ManagedMap;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Engine;
use bpfman_core::types::KernelTime;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_core::types::Tag;
use bpfman_core::types::TypedPath;
use bpfman_core::types::UnixTime;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::Statement;
use rusqlite::params;

use super::cells::Cells;
use super::cells::Subject;
use super::cells::json;
use super::fault::Fault;
use crate::store::StoredTimes;

/// The columns that [`program`] reads, in its order.
macro_rules! program_columns {
    () => {
        "id, kernel_id, tag, load_time, name, type, pinned_path, object_path, source_path, global_data, \
         attach_function, map_owner_id, license, gpl_compatible, map_directory, map_owner, metadata, created_at, \
         updated_at, engine, map_sizes"
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
        source_path: cells.optional(8, |cells, at| cells.parsed(at, TypedPath::parse))?,
        global_data: cells.json(9)?,
        map_sizes: cells.json(20)?,
        engine: cells.parsed(19, str::parse::<Engine>)?,
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

/// The statements of one save, prepared once for all its programs.
pub(super) struct Save<'connection> {
    program: Statement<'connection>,
    map: Statement<'connection>,
    program_map: Statement<'connection>,
}

impl<'connection> Save<'connection> {
    pub(super) fn prepare(connection: &'connection Connection) -> Result<Self, Fault> {
        Ok(Self {
            program: connection.prepare(concat!(
                "INSERT INTO programs (",
                program_columns!(),
                ") VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) \
                 ON CONFLICT (kernel_id) DO UPDATE SET tag = excluded.tag, load_time = excluded.load_time, \
                 name = excluded.name, type = excluded.type, pinned_path = excluded.pinned_path, \
                 object_path = excluded.object_path, source_path = excluded.source_path, \
                 global_data = excluded.global_data, attach_function = excluded.attach_function, \
                 map_owner_id = excluded.map_owner_id, license = excluded.license, \
                 gpl_compatible = excluded.gpl_compatible, map_directory = excluded.map_directory, \
                 map_owner = excluded.map_owner, metadata = excluded.metadata, created_at = excluded.created_at, \
                 updated_at = excluded.updated_at, engine = excluded.engine, \
                 map_sizes = excluded.map_sizes \
                 RETURNING id"
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

    /// Writes a program, into its row if it has one, and its maps; it must have released those it had.
    pub(super) fn run(&mut self, program: &Program) -> Result<(), Fault> {
        let row_id = self.save_program(program)?;
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

    fn save_program(&mut self, program: &Program) -> Result<i64, Fault> {
        let times = StoredTimes::of(program)?;
        let load = &program.load;
        let values = params![
            program.id().0,
            program.identity.tag.to_string(),
            times.load_time,
            load.program_name,
            load.program_type.name(),
            program.pin_path.as_str(),
            load.object_path.as_str(),
            load.source_path.as_ref().map(TypedPath::as_str),
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
            load.engine.to_string(),
            json(&load.map_sizes)?,
        ];
        Ok(self.program.query_one(values, |row| row.get(0))?)
    }
}
