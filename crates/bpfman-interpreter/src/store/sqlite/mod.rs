//! The store on disk: one SQLite database in WAL mode, so that readers never wait for a writer.
//!
//! One process writes at a time; the manager's lock file sees to that. Any number of readers look on, each call on a
//! snapshot of its own.
//!
//! The last writer to close folds the log into the database and removes it, as SQLite does by default. Not to would
//! save a fifth of the time of a save, but each process that opens a log alone has to read all of it, and none would
//! ever find it folded and start it over: it would grow with every command.

mod cells;
mod dispatcher_rows;
mod dispatchers;
mod fault;
mod journal;
mod lease;
mod link_rows;
mod links;
mod members;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bpfman_core::managed::Program;
use bpfman_core::types::ProgramId;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::OptionalExtension;
use rusqlite::Params;
use rusqlite::TransactionBehavior;
use rusqlite::config::DbConfig;

use self::fault::Fault;
use self::lease::Lease;
use self::lease::Shelf;
use self::rows::Save;
use self::rows::map_columns;
use self::rows::program_columns;
use self::schema::Migration;
pub use self::schema::SCHEMA_VERSION;
use self::schema::State;
use crate::interfaces::ProgramLister;
use crate::interfaces::ProgramReader;
use crate::interfaces::ProgramWriter;
use crate::interfaces::StoreChange;
use crate::interfaces::StoreWriter;
use crate::store::StoreError;
use crate::store::StoredTimes;

/// How long a connection waits for another one. Writers take turns by the lock file and readers do not wait for
/// them; what is left is the instant in which another process recovers the log of a killed one or folds it in.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The mode of a new database: it may hold what users wrote into their programs' global data.
const FILE_MODE: u32 = 0o600;

/// A database. Its stores, one after the other, share one connection.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    shelf: Shelf,
}

impl Database {
    /// The database at a path, where there need be none yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            shelf: Shelf::default(),
        }
    }

    /// As [`SqliteStore::open_writer`].
    ///
    /// # Errors
    /// The same.
    pub fn writer(&self) -> Result<SqliteStore, StoreError> {
        let store = SqliteStore::writer(&self.path, schema::MIGRATIONS, &self.shelf);
        store.map_err(|fault| fault.at(&self.path))
    }

    /// As [`SqliteStore::open_reader`].
    ///
    /// # Errors
    /// The same.
    pub fn reader(&self) -> Result<Option<SqliteStore>, StoreError> {
        let store = SqliteStore::reader(&self.path, SCHEMA_VERSION, &self.shelf);
        store.map_err(|fault| fault.at(&self.path))
    }
}

/// The records in a SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Lease,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the database at `path` for writing; makes it when it is missing and migrates it when it is older. Its
    /// directory must exist.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] and [`StoreError::Foreign`] when it is not ours to write: it was not touched then.
    /// Others when it cannot be opened or migrated.
    pub fn open_writer(path: &Path) -> Result<Self, StoreError> {
        Database::new(path).writer()
    }

    /// Opens the database at `path` for reading; `None` when there is none yet. Never makes, changes or migrates
    /// it, and never waits for a transaction. (SQLite's log and index may appear beside it, empty, until a writer
    /// closes.)
    ///
    /// # Errors
    /// [`StoreError::OlderSchema`] and [`StoreError::NewerSchema`] when it is not of this version's schema; others
    /// when it cannot be opened.
    pub fn open_reader(path: &Path) -> Result<Option<Self>, StoreError> {
        Database::new(path).reader()
    }

    fn writer(path: &Path, migrations: &[Migration], shelf: &Shelf) -> Result<Self, Fault> {
        let log_existed = with_suffix(path, "-wal").exists();
        let mut connection = match shelf.take_writable(path) {
            Some(connection) => connection,
            None => {
                create(path)?;
                shelf.lease(connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, path)
            }
        };
        connection.execute_batch("PRAGMA query_only = OFF")?;
        if let Err(refusal) = prepare_writer(&mut connection, migrations) {
            // The last one to close folds the log into the file and removes it; one that is not ours stays as it is.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log_existed)?;
            return Err(refusal);
        }
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(Self {
            connection,
            path: path.to_path_buf(),
        })
    }

    fn reader(path: &Path, known: u32, shelf: &Shelf) -> Result<Option<Self>, Fault> {
        let connection = match shelf.take(path) {
            Some(connection) => connection,
            // What may be written may become the writer's, who folds the log in. A reader leaves it as it is.
            None => match connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
                Err(fault) if fault.is_cannot_open() && is_missing(path) => return Ok(None),
                other => {
                    let connection = other?;
                    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
                    shelf.lease(connection, path)
                }
            },
        };
        connection.execute_batch("PRAGMA query_only = ON")?;
        let (connection, state) = match schema::state(&connection) {
            Err(fault) if fault.is_about_files() && has_no_log(path) => {
                let connection = shelf.lease(connect_unchanging(path)?, path);
                let state = schema::state(&connection)?;
                (connection, state)
            }
            state => (connection, state?),
        };
        match state {
            State::Unborn => Ok(None),
            State::Version(found) if found > known => Err(Fault::Newer { found, known }),
            State::Version(found) if found < known => Err(Fault::Older { found, known }),
            State::Version(_) => Ok(Some(Self {
                connection,
                path: path.to_path_buf(),
            })),
        }
    }

    /// Runs `read` in one transaction: whatever it asks, it asks of one snapshot.
    fn in_snapshot<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let run = || {
            let transaction = self.connection.unchecked_transaction()?;
            read(&transaction)
        };
        run().map_err(|fault: Fault| fault.at(&self.path))
    }

    fn in_transaction(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<(), Fault>,
    ) -> Result<(), StoreError> {
        let run = || {
            // One of several changes that are made together.
            if !self.connection.is_autocommit() {
                return write(&self.connection);
            }
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            write(&transaction)?;
            Ok(transaction.commit()?)
        };
        run().map_err(|fault: Fault| fault.at(&self.path))
    }
}

impl SqliteStore {
    fn sql(&self, sql: &str) -> Result<(), StoreError> {
        let done = self.connection.execute_batch(sql);
        done.map_err(|error| Fault::from(error).at(&self.path))
    }
}

/// Makes an empty file with our mode where there is none; SQLite would take the process's mask.
///
/// `create_new` never opens a file that is there. That matters: to close a descriptor of a live database drops the
/// locks that all other connections of this process hold on it.
fn create(path: &Path) -> Result<(), Fault> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Fault::Io(error)),
    }
}

/// `path` with `suffix` appended to its name, as SQLite names the files beside a database.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether all that was committed is in the database itself.
fn has_no_log(path: &Path) -> bool {
    let log = with_suffix(path, "-wal").symlink_metadata();
    match log {
        Ok(log) => log.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, Fault> {
    // A `Connection` is not `Sync`, so SQLite needs no mutex of its own.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // What the file's schema says is data, not code that we trust.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    Ok(connection)
}

/// Opens a database that nobody can change now. SQLite puts an index of the log beside a database that it reads, which takes
/// room and a file system that can be written; where there is no log there is nothing to find in it.
fn connect_unchanging(path: &Path) -> Result<Connection, Fault> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    connect(Path::new(&uri), access)
}

fn prepare_writer(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Fault> {
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    match schema::state(connection)? {
        State::Version(found) if found > known => return Err(Fault::Newer { found, known }),
        State::Version(found) if found == known => {}
        State::Version(_) | State::Unborn => schema::migrate(connection, migrations)?,
    }
    // With a log, NORMAL keeps the file whole through a power cut and may lose the last commits. The programs they
    // speak of are lost in the same instant, so waiting for the disk at every commit would buy nothing.
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(())
}

/// A choice of programs: the two queries that read them and their maps. Both go by the row id of the program, the
/// order in which the tables lie, so that the answers merge in one pass.
struct Selection {
    programs: &'static str,
    maps: &'static str,
}

macro_rules! selection {
    ($programs:expr, $maps:expr) => {
        Selection {
            programs: concat!("SELECT ", program_columns!(), " FROM programs ", $programs, " ORDER BY id"),
            // An outer join, for a row that names no map is damage and must not pass for a program without it.
            maps: concat!(
                "SELECT ",
                map_columns!(),
                " FROM program_maps LEFT JOIN maps ON maps.id = map_id ",
                $maps,
                " ORDER BY program_id, position"
            ),
        }
    };
    ($filter:literal) => {
        selection!(
            concat!("WHERE ", $filter),
            concat!("WHERE program_id IN (SELECT id FROM programs WHERE ", $filter, ")")
        )
    };
}

const ALL: Selection = selection!("", "");
const BY_ID: Selection = selection!("kernel_id = ?1");
/// Of a program with id ?1, map set ?2 and the JSON array ?3 of map ids.
const SHARING: Selection = selection!(
    "kernel_id <> ?1 AND (map_owner = ?2 OR (kernel_id = ?2 AND map_owner IS NULL) OR id IN (\
     SELECT program_id FROM program_maps WHERE map_id IN (\
     SELECT id FROM maps WHERE kernel_id IN (SELECT value FROM json_each(?3)))))"
);

/// Reads the programs of a selection, in the order of their kernel ids.
fn select(
    connection: &Connection,
    selection: &Selection,
    parameters: impl Params + Copy,
) -> Result<Vec<Program>, Fault> {
    let mut row_ids = Vec::new();
    let mut programs = Vec::new();
    let mut statement = connection.prepare(selection.programs)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        row_ids.push(rows::program_row_id(row)?);
        programs.push(rows::program(row)?);
    }
    let mut statement = connection.prepare(selection.maps)?;
    let mut rows = statement.query(parameters)?;
    let mut at = 0;
    while let Some(row) = rows.next()? {
        let user = rows::map_user(row)?;
        while row_ids.get(at).is_some_and(|row_id| *row_id < user) {
            at += 1;
        }
        match programs.get_mut(at) {
            Some(program) if row_ids[at] == user => rows::map(row, program)?,
            _ => {
                return Err(Fault::Damaged(format!(
                    "program_maps speaks of row {user} of programs, which is not there"
                )));
            }
        }
    }
    programs.sort_by_key(Program::id);
    Ok(programs)
}

/// Finds the row of a program by its kernel id.
fn find(
    transaction: &Connection,
) -> Result<impl FnMut(ProgramId) -> Result<Option<i64>, Fault>, Fault> {
    let mut statement = transaction.prepare("SELECT id FROM programs WHERE kernel_id = ?1")?;
    Ok(move |id: ProgramId| Ok(statement.query_row([id.0], |row| row.get(0)).optional()?))
}

/// Whether a row holds the record of this very program: the kernel may have given its id to another one since.
fn is_of(transaction: &Connection, row_id: i64, program: &Program) -> Result<bool, Fault> {
    let times = StoredTimes::of(program)?;
    let tag = program.identity.tag.to_string();
    let query = "SELECT tag = ?2 COLLATE NOCASE AND load_time = ?3 FROM programs WHERE id = ?1";
    Ok(transaction.query_row(query, (row_id, tag, times.load_time), |row| row.get(0))?)
}

/// Takes its maps from a program and removes those that no other program uses.
fn release_maps(transaction: &Connection, row_id: i64) -> Result<(), Fault> {
    let maps = transaction
        .prepare("SELECT DISTINCT map_id FROM program_maps WHERE program_id = ?1")?
        .query_map([row_id], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    transaction.execute("DELETE FROM program_maps WHERE program_id = ?1", [row_id])?;
    let mut forget = transaction.prepare(
        "DELETE FROM maps WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM program_maps WHERE map_id = ?1)",
    )?;
    for map in maps {
        forget.execute([map])?;
    }
    Ok(())
}

/// Removes a program, its maps that no other program uses, and by a foreign key its links.
fn remove(transaction: &Connection, row_id: i64) -> Result<(), Fault> {
    release_maps(transaction, row_id)?;
    transaction.execute("DELETE FROM programs WHERE id = ?1", [row_id])?;
    Ok(())
}

impl ProgramReader for SqliteStore {
    fn get(&self, id: ProgramId) -> Result<Program, StoreError> {
        self.in_snapshot(|connection| {
            let found = select(connection, &BY_ID, [id.0])?;
            Ok(found.into_iter().next().ok_or(StoreError::NotFound(id))?)
        })
    }

    fn sharing(&self, program: &Program) -> Result<Vec<Program>, StoreError> {
        let maps: Vec<String> = program.maps.iter().map(|map| map.id.to_string()).collect();
        let maps = format!("[{}]", maps.join(","));
        let parameters = (program.id().0, program.map_set().0, maps.as_str());
        self.in_snapshot(|connection| select(connection, &SHARING, parameters))
    }
}

impl ProgramLister for SqliteStore {
    fn list(&self) -> Result<Vec<Program>, StoreError> {
        self.in_snapshot(|connection| select(connection, &ALL, ()))
    }
}

impl ProgramWriter for SqliteStore {
    fn save(&mut self, programs: &[Program]) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            let mut find = find(transaction)?;
            let mut save = Save::prepare(transaction)?;
            for program in programs {
                match find(program.id())? {
                    // It keeps its row, and with it its links.
                    Some(row_id) if is_of(transaction, row_id, program)? => {
                        release_maps(transaction, row_id)?;
                    }
                    Some(row_id) => remove(transaction, row_id)?,
                    None => {}
                }
                save.run(program)?;
            }
            Ok(())
        })
    }

    fn delete(&mut self, id: ProgramId) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            let row_id = find(transaction)?(id)?.ok_or(StoreError::NotFound(id))?;
            remove(transaction, row_id)
        })
    }
}

impl StoreWriter for SqliteStore {
    fn batch(&mut self, changes: &[StoreChange]) -> Result<(), StoreError> {
        self.sql("BEGIN IMMEDIATE")?;
        let made = changes.iter().try_for_each(|change| change.apply(self));
        let done = made.and_then(|()| self.sql("COMMIT"));
        if done.is_err() && !self.connection.is_autocommit() {
            // Why it is rolled back says more; a connection that cannot even do that says so with its next change.
            let _ = self.sql("ROLLBACK");
        }
        done
    }
}
