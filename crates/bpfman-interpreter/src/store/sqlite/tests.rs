//! What cannot be asked from outside: migrations that do not exist yet, query plans, and who waits for whom.

use super::*;

/// The real first version and an imaginary second one.
const TWO: [Migration; 2] = [
    schema::MIGRATIONS[0],
    Migration::of_tables("ALTER TABLE programs ADD COLUMN extra TEXT"),
];

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    fn version(&self) -> i64 {
        let connection = Connection::open(self.database()).unwrap();
        connection
            .query_row("PRAGMA user_version", (), |row| row.get(0))
            .unwrap()
    }
}

#[test]
fn a_writer_takes_an_older_database_through_every_migration_it_lacks() {
    let place = Place::new();
    drop(SqliteStore::writer(&place.database(), &TWO[..1], &Shelf::default()).unwrap());
    assert_eq!(place.version(), 1);
    let store = SqliteStore::writer(&place.database(), &TWO, &Shelf::default()).unwrap();
    store
        .connection
        .execute_batch("SELECT extra FROM programs")
        .unwrap();
    assert_eq!(place.version(), 2);
}

#[test]
fn a_migration_that_fails_leaves_the_version_before_it() {
    let place = Place::new();
    let broken = [
        TWO[0],
        Migration::of_tables("CREATE TABLE half (id INTEGER); CREATE TABLE programs (id INTEGER)"),
    ];
    SqliteStore::writer(&place.database(), &broken, &Shelf::default()).unwrap_err();
    assert_eq!(place.version(), 1);
    let store = SqliteStore::writer(&place.database(), &TWO[..1], &Shelf::default()).unwrap();
    let half = "SELECT count(*) FROM sqlite_schema WHERE name = 'half'";
    let count: i64 = store
        .connection
        .query_row(half, (), |row| row.get(0))
        .unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_reader_refuses_an_older_database_and_leaves_it_old() {
    let place = Place::new();
    drop(SqliteStore::writer(&place.database(), &TWO[..1], &Shelf::default()).unwrap());
    let refusal = SqliteStore::reader(&place.database(), 2, &Shelf::default()).unwrap_err();
    let error = refusal.at(&place.database());
    assert!(
        matches!(
            error,
            StoreError::OlderSchema {
                found: 1,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(place.version(), 1);
}

#[test]
fn a_writer_that_waited_too_long_for_another_says_busy() {
    let place = Place::new();
    let mut store = SqliteStore::open_writer(&place.database()).unwrap();
    store.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(place.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.delete(ProgramId(1)).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
}

#[test]
fn a_name_that_is_no_c_string_is_an_error() {
    let error = SqliteStore::open_writer(Path::new("/tmp/a\0b")).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    SqliteStore::open_reader(Path::new("/tmp/a\0b")).unwrap_err();
}

#[test]
fn choosing_some_records_never_walks_a_whole_table() {
    let place = Place::new();
    let store = SqliteStore::open_writer(&place.database()).unwrap();
    for query in [
        BY_ID.programs,
        BY_ID.maps,
        SHARING.programs,
        SHARING.maps,
        links::BY_ID,
        links::OF_PROGRAM,
        links::AT_POINT,
        links::LAST_ID,
        dispatchers::AT_POINT,
    ] {
        let mut statement = store
            .connection
            .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
            .unwrap();
        let parameters = ["1", "2", "[3]"];
        let count = statement.parameter_count();
        let steps = statement
            .query_map(rusqlite::params_from_iter(&parameters[..count]), |row| {
                row.get(3)
            })
            .unwrap()
            .collect::<Result<Vec<String>, _>>()
            .unwrap();
        for table in ["programs", "maps", "program_maps", "links", "dispatchers"] {
            let walk = format!("SCAN {table}");
            let walks = |step: &String| *step == walk || step.starts_with(&format!("{walk} "));
            assert!(!steps.iter().any(walks), "{query}: {steps:#?}");
        }
    }
}
