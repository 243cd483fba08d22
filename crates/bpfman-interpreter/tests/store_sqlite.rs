//! What the store on disk does about its file: versions, other processes, damage and full disks.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

#[path = "fixtures/dispatchers.rs"]
mod dispatchers;
#[path = "fixtures/journals.rs"]
mod journals;
#[path = "fixtures/links.rs"]
mod links;
#[path = "fixtures/records.rs"]
mod records;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bpfman_core::action::Journal;
use bpfman_core::links::LinkDetails;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::managed::Holder;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::Direction;
use bpfman_core::types::Engine;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::interfaces::DispatcherReader;
use bpfman_interpreter::interfaces::DispatcherWriter;
use bpfman_interpreter::interfaces::JournalReader;
use bpfman_interpreter::interfaces::JournalWriter;
use bpfman_interpreter::interfaces::LinkLister;
use bpfman_interpreter::interfaces::LinkReader;
use bpfman_interpreter::interfaces::LinkWriter;
use bpfman_interpreter::interfaces::MAX_RECOVERIES;
use bpfman_interpreter::interfaces::ProgramLister;
use bpfman_interpreter::interfaces::ProgramReader;
use bpfman_interpreter::interfaces::ProgramWriter;
use bpfman_interpreter::interfaces::StoreChange;
use bpfman_interpreter::interfaces::StoreWriter;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::store::sqlite::SCHEMA_VERSION;
use bpfman_interpreter::store::sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

use self::dispatchers::dispatcher;
use self::dispatchers::dispatchers;
use self::journals::journal;
use self::journals::plain_journal;
use self::journals::recoveries;
use self::journals::recovery;
use self::links::link;
use self::links::links;
use self::links::tcx;
use self::records::map;
use self::records::path;
use self::records::program;
use self::records::sharing_pair;

/// The id of a link that is gone.
const GONE: u32 = 30;

fn plain_link(id: u32) -> Link {
    link(id, 42, tcx(2, Direction::Ingress))
}

/// A directory of its own for the database of one test.
struct Place {
    directory: TempDir,
}

impl Place {
    fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// With a database that holds the sharing pair, its links, the dispatchers, the journal and the recoveries, and
    /// held one more link, closed.
    fn filled() -> Self {
        let place = Self::empty();
        let mut writer = place.writer();
        writer.save(&sharing_pair()).unwrap();
        for link in links().iter().chain([&plain_link(GONE)]) {
            writer.save_link(link).unwrap();
        }
        writer.delete_link(LinkId(GONE)).unwrap();
        for dispatcher in dispatchers() {
            writer.save_dispatcher(&dispatcher).unwrap();
        }
        for recovery in recoveries().iter().rev() {
            writer.save_recovery(recovery).unwrap();
        }
        writer.save_journal(Some(&journal())).unwrap();
        drop(writer);
        place
    }

    /// With the fixture of a version: a copy, for opening it writes.
    fn of_version(version: u32) -> Self {
        let file = fixture(&format!("store_v{version}.db"));
        let place = Self::empty();
        fs::copy(&file, place.database()).unwrap_or_else(|error| {
            panic!(
                "schema version {version} needs a fixture: {}: {error}",
                file.display()
            )
        });
        place
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    fn writer(&self) -> SqliteStore {
        SqliteStore::open_writer(&self.database()).unwrap()
    }

    fn reader(&self) -> SqliteStore {
        SqliteStore::open_reader(&self.database()).unwrap().unwrap()
    }

    /// A connection that knows nothing of our rules.
    fn raw(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }

    /// What a process leaves behind that is killed now: the files as they are. Its locks go with it.
    fn left_behind(&self) -> Self {
        let copy = Self::empty();
        for name in self.files().keys() {
            fs::copy(
                self.directory.path().join(name),
                copy.directory.path().join(name),
            )
            .unwrap();
        }
        copy
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(self.directory.path())
    }
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

fn names(files: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

fn scalar(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, (), |row| row.get(0)).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The definitions of all tables and indexes.
fn schema(connection: &Connection) -> BTreeMap<String, Option<String>> {
    let mut statement = connection
        .prepare("SELECT name, sql FROM sqlite_schema")
        .unwrap();
    let rows = statement
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// Says when the writer is done, also when it has panicked.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn assert_damaged<T>(result: Result<T, StoreError>, words: &str) {
    let error = result.err().map(|error| {
        (
            matches!(error, StoreError::Damaged { .. }),
            error.to_string(),
        )
    });
    assert!(
        matches!(&error, Some((true, text)) if text.contains(words)),
        "{words}: {error:?}"
    );
}

mod files_and_rows {
    use super::*;

    #[test]
    fn a_new_database_is_for_its_owner_only() {
        let place = Place::empty();
        let mut writer = place.writer();
        writer.save(&sharing_pair()).unwrap();
        for name in place.files().keys() {
            let mode = fs::metadata(place.directory.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_closed_writer_leaves_one_self_contained_file() {
        assert_eq!(names(&Place::filled().files()), ["store.db"]);
    }

    #[test]
    fn a_map_row_goes_with_the_last_program_that_uses_it() {
        let place = Place::filled();
        let mut writer = place.writer();
        let raw = place.raw();
        assert_eq!(
            scalar(&raw, "SELECT count(*) FROM maps"),
            2,
            "one row for the shared map"
        );
        writer.delete(ProgramId(42)).unwrap();
        assert_eq!(scalar(&raw, "SELECT kernel_id FROM maps"), 101);
        writer.delete(ProgramId(7)).unwrap();
        assert_eq!(scalar(&raw, "SELECT count(*) FROM maps"), 0);
        assert_eq!(scalar(&raw, "SELECT count(*) FROM program_maps"), 0);
    }

    #[test]
    fn a_replaced_program_takes_the_maps_along_that_nobody_uses() {
        let place = Place::filled();
        place
            .writer()
            .save(&[program(42, &[map(103, "new")])])
            .unwrap();
        let raw = place.raw();
        assert_eq!(scalar(&raw, "SELECT sum(kernel_id) FROM maps"), 101 + 103);
    }

    #[test]
    fn a_reader_cannot_write() {
        let place = Place::filled();
        let mut reader = place.reader();
        for refused in [
            reader.delete(ProgramId(7)),
            reader.delete_link(LinkId(1)),
            reader.save_link(&plain_link(1)),
            reader.delete_dispatcher(&dispatchers()[0].point()),
            reader.save_dispatcher(&dispatcher(2)),
            reader.save_journal(None),
            reader.save_journal(Some(&journal())),
            reader.save_recovery(&recovery(2)),
        ] {
            let error = refused.unwrap_err();
            assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
        }
        assert_eq!(place.reader().list().unwrap(), sharing_pair());
        assert_eq!(place.reader().links().unwrap(), links());
        assert_eq!(place.reader().dispatchers().unwrap(), dispatchers());
        assert_eq!(place.reader().journal().unwrap(), Some(journal()));
        assert_eq!(place.reader().recoveries().unwrap(), recoveries());
    }

    #[test]
    fn the_rows_of_links_go_with_the_row_of_their_program() {
        let place = Place::filled();
        let raw = place.raw();
        let rows = |program: u32| {
            let which = format!("SELECT id FROM programs WHERE kernel_id = {program}");
            scalar(
                &raw,
                &format!("SELECT count(*) FROM links WHERE program_id IN ({which})"),
            )
        };
        let all = || scalar(&raw, "SELECT count(*) FROM links");
        assert_eq!(rows(7) + rows(42), all());
        let mut writer = place.writer();
        writer.save(&sharing_pair()).unwrap();
        assert_eq!(all(), links().len() as i64);
        writer.save(&[program(42, &[])]).unwrap();
        assert_eq!((rows(42), rows(7)), (0, all()));
        raw.execute_batch("DELETE FROM programs WHERE kernel_id = 7")
            .unwrap();
        assert_eq!(all(), 0);
    }

    #[test]
    fn a_link_cannot_point_to_a_program_that_is_not_there() {
        let place = Place::filled();
        let raw = place.raw();
        let orphan = "INSERT INTO links (program_id, kind, details, metadata, created_at) \
             VALUES (99, 'lsm', '{}', '{}', 0)";
        let error = raw.execute_batch(orphan).unwrap_err();
        assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
        let move_all = "UPDATE links SET program_id = 99";
        raw.execute_batch(move_all).unwrap_err();
        assert_eq!(place.reader().links().unwrap(), links());
    }

    #[test]
    fn there_is_one_journal_at_most() {
        let place = Place::filled();
        let raw = place.raw();
        let insert =
            |id: &str| format!("INSERT INTO journal VALUES ({id}, 'the second', '\"back\"', '[]')");
        let move_on = "UPDATE journal SET id = 2".to_owned();
        for (change, words) in [
            (insert("2"), "CHECK"),
            (insert("NULL"), "CHECK"),
            (insert("-1"), "CHECK"),
            (insert("1"), "UNIQUE"),
            (move_on, "CHECK"),
        ] {
            let error = raw.execute_batch(&change).unwrap_err();
            assert!(error.to_string().contains(words), "{change}: {error}");
        }
        assert_eq!(place.reader().journal().unwrap(), Some(journal()));
        for _ in 0..3 {
            place.writer().save_journal(Some(&journal())).unwrap();
            assert_eq!(scalar(&raw, "SELECT count(*) FROM journal"), 1);
        }
    }

    #[test]
    fn the_rows_of_recoveries_do_not_pile_up() {
        let place = Place::filled();
        let raw = place.raw();
        for number in 2..100 {
            place.writer().save_recovery(&recovery(number)).unwrap();
            let rows = scalar(&raw, "SELECT count(*) FROM recoveries");
            assert!(rows <= i64::from(MAX_RECOVERIES), "{rows} rows");
        }
        assert_eq!(place.reader().recoveries().unwrap()[0], recovery(99));
    }

    #[test]
    fn the_id_of_a_link_is_not_used_again_by_the_next_process() {
        let place = Place::filled();
        assert_eq!(place.reader().next_link().unwrap(), LinkId(GONE + 1));
        let next = GONE + 1;
        place.writer().save_link(&plain_link(next)).unwrap();
        place.writer().delete_link(LinkId(next)).unwrap();
        assert_eq!(place.writer().next_link().unwrap(), LinkId(next + 1));
        place.writer().delete(ProgramId(42)).unwrap();
        place.writer().delete(ProgramId(7)).unwrap();
        assert_eq!(place.reader().links().unwrap(), []);
        assert_eq!(place.reader().next_link().unwrap(), LinkId(next + 1));
    }
}

mod versions {
    use super::*;

    /// All that a store tells.
    #[derive(Debug, PartialEq)]
    struct Contents {
        programs: Vec<Program>,
        links: Vec<Link>,
        dispatchers: Vec<Dispatcher>,
        next_link: LinkId,
        journal: Option<Journal>,
        recoveries: Vec<Recovery>,
    }

    impl Contents {
        fn of(store: &SqliteStore) -> Self {
            Self {
                programs: store.list().unwrap(),
                links: store.links().unwrap(),
                dispatchers: store.dispatchers().unwrap(),
                next_link: store.next_link().unwrap(),
                journal: store.journal().unwrap(),
                recoveries: store.recoveries().unwrap(),
            }
        }
    }

    /// What the fixture of a version holds.
    fn expected(version: u32) -> Contents {
        match version {
            1 => Contents {
                links: Vec::new(),
                dispatchers: Vec::new(),
                next_link: LinkId(1),
                ..expected(2)
            },
            2 => Contents {
                programs: pair_without_engines(),
                links: links_without_counters(),
                dispatchers: vec![first_alone()],
                ..expected(3)
            },
            3 => Contents {
                journal: None,
                recoveries: Vec::new(),
                ..expected(4)
            },
            4 => Contents {
                programs: pair_without_map_sizes(),
                ..expected(5)
            },
            5 => Contents {
                programs: sharing_pair().to_vec(),
                links: links(),
                dispatchers: dispatchers(),
                next_link: LinkId(GONE + 1),
                journal: Some(journal()),
                recoveries: recoveries(),
            },
            other => panic!("say what tests/fixtures/store_v{other}.db holds"),
        }
    }

    fn pair_without_map_sizes() -> Vec<Program> {
        let mut pair = sharing_pair().to_vec();
        pair[1].load.map_sizes.clear();
        pair
    }

    fn pair_without_engines() -> Vec<Program> {
        let mut pair = pair_without_map_sizes();
        pair[1].load.engine = Engine::Auto;
        pair
    }

    /// The links of version 2, of which the first was attached alone.
    fn links_without_counters() -> Vec<Link> {
        let mut links = links();
        links[0].kernel = None;
        links[0].pin_path = None;
        if let LinkDetails::Xdp(bpfman_core::links::Xdp { counter, .. }) = &mut links[0].details {
            *counter = None;
        }
        links
    }

    /// What the first link of version 2 becomes a member of.
    fn first_alone() -> Dispatcher {
        let full = dispatchers().remove(0);
        Dispatcher {
            revision: 1,
            form: DispatcherForm::Direct,
            program: ProgramId(42),
            holder: Holder::Link {
                id: KernelLinkId(u32::MAX),
                pin_path: path("/run/bpfman/fs/links/1"),
            },
            members: vec![LinkId(1)],
            ..full
        }
    }

    #[test]
    fn a_database_of_every_version_is_migrated_and_keeps_its_rows() {
        let fresh = Place::filled();
        for version in 1..=SCHEMA_VERSION {
            let place = Place::of_version(version);
            assert_eq!(
                scalar(&place.raw(), "PRAGMA user_version"),
                i64::from(version)
            );
            assert_eq!(
                Contents::of(&place.writer()),
                expected(version),
                "version {version}"
            );
            assert_eq!(
                Contents::of(&place.reader()),
                expected(version),
                "version {version}"
            );
            assert_eq!(
                schema(&place.raw()),
                schema(&fresh.raw()),
                "version {version}"
            );
        }
    }

    #[test]
    fn a_database_that_was_migrated_takes_new_records() {
        for version in 1..=SCHEMA_VERSION {
            let place = Place::of_version(version);
            let program = sharing_pair()[1].clone();
            place.writer().save(std::slice::from_ref(&program)).unwrap();
            assert_eq!(place.reader().get(program.id()).unwrap(), program);
            let next = place.writer().next_link().unwrap();
            place.writer().save_link(&plain_link(next.0)).unwrap();
            assert_eq!(place.reader().link(next).unwrap(), plain_link(next.0));
            let newest = dispatchers().remove(0);
            place.writer().save_dispatcher(&newest).unwrap();
            let found = place.reader().dispatcher(&newest.point()).unwrap();
            assert_eq!(found, Some(newest));
            place.writer().save_recovery(&recovery(2)).unwrap();
            assert_eq!(place.reader().recoveries().unwrap()[0], recovery(2));
            place.writer().save_journal(Some(&journal())).unwrap();
            assert_eq!(place.reader().journal().unwrap(), Some(journal()));
        }
    }

    #[test]
    fn a_reader_refuses_every_older_version_and_leaves_it_old() {
        for version in 1..SCHEMA_VERSION {
            let place = Place::of_version(version);
            let error = SqliteStore::open_reader(&place.database()).unwrap_err();
            let older = matches!(error, StoreError::OlderSchema { found, known, .. }
                if (found, known) == (version, SCHEMA_VERSION));
            assert!(older, "{error}");
            assert_eq!(
                scalar(&place.raw(), "PRAGMA user_version"),
                i64::from(version)
            );
        }
    }

    #[test]
    fn the_text_of_every_fixture_makes_the_same_database() {
        for version in 1..=SCHEMA_VERSION {
            let text = fs::read_to_string(fixture(&format!("store_v{version}.sql"))).unwrap();
            let place = Place::empty();
            place.raw().execute_batch(&text).unwrap();
            assert_eq!(
                schema(&place.raw()),
                schema(&Place::of_version(version).raw()),
                "version {version}"
            );
            assert_eq!(
                Contents::of(&place.writer()),
                expected(version),
                "version {version}"
            );
        }
    }

    #[test]
    fn a_database_of_a_newer_version_is_refused_and_not_touched() {
        let place = Place::filled();
        place
            .raw()
            .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
            .unwrap();
        let before = place.files();
        let error = SqliteStore::open_writer(&place.database()).unwrap_err();
        let newer = matches!(error, StoreError::NewerSchema { found, known, .. }
            if (found, known) == (SCHEMA_VERSION + 1, SCHEMA_VERSION));
        assert!(newer, "{error}");
        assert!(place.files() == before, "{:?}", names(&place.files()));
        let error = SqliteStore::open_reader(&place.database()).unwrap_err();
        assert!(matches!(error, StoreError::NewerSchema { .. }), "{error}");
        assert!(place.files()["store.db"] == before["store.db"]);
    }

    #[test]
    fn what_a_killed_writer_of_a_newer_version_left_is_not_folded_into_its_file() {
        let place = Place::filled();
        let raw = place.raw();
        raw.pragma_update(None, "user_version", SCHEMA_VERSION + 1)
            .unwrap();
        let left = place.left_behind();
        let before = left.files();
        assert_eq!(names(&before), ["store.db", "store.db-shm", "store.db-wal"]);
        let error = SqliteStore::open_writer(&left.database()).unwrap_err();
        assert!(matches!(error, StoreError::NewerSchema { .. }), "{error}");
        let after = left.files();
        assert_eq!(names(&after), names(&before));
        // The third file is no data, but an index that whoever opens the database makes anew.
        for name in ["store.db", "store.db-wal"] {
            assert!(after[name] == before[name], "{name}");
        }
    }

    #[test]
    fn a_database_of_another_program_is_refused_and_not_touched() {
        let place = Place::empty();
        place
            .raw()
            .execute_batch("CREATE TABLE programs (id INTEGER)")
            .unwrap();
        let before = place.files();
        let error = SqliteStore::open_writer(&place.database()).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        let error = SqliteStore::open_reader(&place.database()).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(place.files() == before, "{:?}", names(&place.files()));
    }
}

/// Version 3 gives every link of XDP and TC a dispatcher that holds its point.
mod attached_alone {
    use rusqlite::types::ValueRef;

    use super::*;

    /// The interface of every link here.
    const AT: &str = r#""interface":"veth4","ifindex":4,"netns":null,"nsid":18446744073709551615"#;
    const XDP: &str = "xdp/18446744073709551615/4";
    const INGRESS: &str = "tc-ingress/18446744073709551615/4";

    /// A row of version 2.
    struct OldLink {
        id: u32,
        kind: &'static str,
        point: &'static str,
        /// The kernel's id of a link with a pin.
        kernel: Option<u32>,
        rest: &'static str,
    }

    fn xdp(id: u32, kernel: Option<u32>) -> OldLink {
        OldLink {
            id,
            kind: "xdp",
            point: XDP,
            kernel,
            rest: r#","priority":50,"proceed_on":[2],"mode":"native""#,
        }
    }

    fn tc(id: u32, kernel: Option<u32>, rest: &'static str) -> OldLink {
        OldLink {
            id,
            kind: "tc",
            point: INGRESS,
            kernel,
            rest,
        }
    }

    const BY_LINK: &str = r#","direction":"ingress","priority":1,"proceed_on":[],"filter":null"#;
    const BY_FILTER: &str = r#","direction":"ingress","priority":1,"proceed_on":[],"filter":{"preference":50,"handle":4294967295}"#;

    /// The fixture of version 2 with more links, all of program 42.
    fn place_with(links: &[OldLink]) -> Place {
        let place = Place::of_version(2);
        let raw = place.raw();
        for link in links {
            let pin_path = link
                .kernel
                .map(|_| format!("/run/bpfman/fs/links/{}", link.id));
            let details = format!(r#"{{"kind":"{}",{AT}{}}}"#, link.kind, link.rest);
            raw.execute(
                "INSERT INTO links VALUES (?1, 2, ?2, ?3, ?4, ?5, ?6, '{}', 9)",
                (
                    link.id,
                    link.kernel,
                    link.kind,
                    link.point,
                    pin_path,
                    details,
                ),
            )
            .unwrap();
        }
        drop(raw);
        place
    }

    /// The values of every row, as one text.
    fn rows(place: &Place, query: &str) -> Vec<String> {
        let raw = place.raw();
        let mut statement = raw.prepare(query).unwrap();
        let columns = 0..statement.column_count();
        let text = |value: ValueRef<'_>| match value {
            ValueRef::Null => "-".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().unwrap().to_owned(),
        };
        let rows = statement.query_map((), |row| {
            let values = columns.clone().map(|column| row.get_ref(column).map(text));
            Ok(values.collect::<Result<Vec<String>, _>>()?.join(" "))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn dispatcher_rows(place: &Place, columns: &str) -> Vec<String> {
        let points = format!("'{XDP}', '{INGRESS}'");
        let query = format!("SELECT {columns} FROM dispatchers WHERE attach_point IN ({points})");
        rows(place, &query)
    }

    fn link_rows(place: &Place, columns: &str) -> Vec<String> {
        let query = format!("SELECT {columns} FROM links WHERE id >= 31 ORDER BY id");
        rows(place, &query)
    }

    #[test]
    fn a_link_of_the_kernel_passes_to_the_dispatcher() {
        let place = place_with(&[xdp(31, Some(5)), tc(32, Some(6), BY_LINK)]);
        drop(place.writer());
        let tc = r#"{"tc":{"direction":"ingress"}}"#;
        let xdp = r#"{"xdp":{"mode":"native"}}"#;
        let expected =
            [(INGRESS, 6, 32, tc), (XDP, 5, 31, xdp)].map(|(point, kernel, id, hook)| {
                let details = format!(r#"{{"hook":{hook},{AT},"form":"direct","filter":null}}"#);
                format!("{point} 1 direct 42 {kernel} /run/bpfman/fs/links/{id} [{id}] {details}")
            });
        assert_eq!(dispatcher_rows(&place, "*"), expected);
        let xdp = r#""priority":50,"proceed_on":[2],"mode":"native""#;
        let tc = r#""direction":"ingress","priority":1,"proceed_on":[]"#;
        let expected = [
            format!(r#"31 2 - xdp {XDP} - {{"kind":"xdp",{AT},{xdp}}} {{}} 9"#),
            format!(r#"32 2 - tc {INGRESS} - {{"kind":"tc",{AT},{tc}}} {{}} 9"#),
        ];
        assert_eq!(link_rows(&place, "*"), expected);
    }

    #[test]
    fn a_filter_passes_to_the_dispatcher() {
        let place = place_with(&[tc(31, None, BY_FILTER)]);
        drop(place.writer());
        let hook = r#"{"tc":{"direction":"ingress"}}"#;
        let filter = r#"{"preference":50,"handle":4294967295}"#;
        let details = format!(r#"{{"hook":{hook},{AT},"form":"direct","filter":{filter}}}"#);
        let expected = format!("{INGRESS} 1 direct 42 - - [31] {details}");
        assert_eq!(dispatcher_rows(&place, "*"), [expected]);
        let rest = r#""direction":"ingress","priority":1,"proceed_on":[]"#;
        let expected = format!(r#"- - {{"kind":"tc",{AT},{rest}}}"#);
        assert_eq!(
            link_rows(&place, "kernel_id, pin_path, details"),
            [expected]
        );
    }

    #[test]
    fn of_two_links_of_one_point_the_newest_is_its_member() {
        let place = place_with(&[
            xdp(31, Some(5)),
            tc(32, None, BY_FILTER),
            xdp(33, Some(6)),
            tc(34, Some(7), BY_LINK),
            xdp(35, Some(5)),
        ]);
        drop(place.writer());
        assert_eq!(
            dispatcher_rows(&place, "kernel_link_id, pin_path, members"),
            [
                "7 /run/bpfman/fs/links/34 [34]",
                "5 /run/bpfman/fs/links/35 [35]",
            ]
        );
        // No other row names the kernel links of the older ones.
        assert_eq!(
            link_rows(&place, "id, kernel_id, pin_path"),
            [
                "31 5 /run/bpfman/fs/links/31",
                "32 - -",
                "33 6 /run/bpfman/fs/links/33",
                "34 - -",
                "35 - -",
            ]
        );
        assert_eq!(place.reader().links().unwrap().len(), links().len() + 5);
        assert_eq!(place.reader().dispatchers().unwrap().len(), 3);
    }

    #[test]
    fn a_link_that_holds_nothing_is_no_member() {
        let place = place_with(&[xdp(31, Some(5)), xdp(32, None), tc(33, None, BY_LINK)]);
        drop(place.writer());
        assert_eq!(dispatcher_rows(&place, "members"), ["[31]"]);
        assert_eq!(place.reader().links().unwrap().len(), links().len() + 3);
    }

    #[test]
    fn links_of_other_kinds_stay_as_they_are() {
        let place = Place::of_version(2);
        let others = "SELECT * FROM links WHERE kind NOT IN ('xdp', 'tc')";
        let before = rows(&place, others);
        drop(place.writer());
        assert_eq!(before.len(), links().len() - 2);
        assert_eq!(rows(&place, others), before);
    }

    #[test]
    fn a_row_that_makes_no_sense_stops_it_and_leaves_the_file_as_it_was() {
        let cases = [
            ("details = '{'", "link 32: details: EOF"),
            ("details = '{}'", "link 32: details: missing field `kind`"),
            (
                "details = json_remove(details, '$.direction')",
                "link 32: details: missing field `direction`",
            ),
            (
                "details = json_remove(details, '$.priority')",
                "link 32: details: missing field `priority`",
            ),
            (
                "details = json_set(details, '$.nsid', -1)",
                "link 32: details: invalid value",
            ),
            (
                "details = json_set(details, '$.filter.handle', -1)",
                "link 32: details: invalid value",
            ),
            (
                "details = json_set(details, '$.kind', 'tcx')",
                "link 32: details: unknown variant `tcx`",
            ),
            (
                "details = json_set(details, '$.kind', 'xdp', '$.mode', 'auto')",
                "link 32: kind: tc, but the details say xdp",
            ),
            ("kind = 'xdp'", "link 32: kind: xdp, but the details say tc"),
            (
                "attach_point = NULL",
                "link 32: attach_point: none, but the details say tc-ingress/",
            ),
            (
                "attach_point = 'tc-egress/1/2'",
                "link 32: attach_point: tc-egress/1/2, but the details say tc-ingress/",
            ),
            ("program_id = 99", "link 32: program: "),
            ("kernel_id = -1", "link 32: kernel_id: -1 is out of range"),
            (
                "kernel_id = 5",
                "link 32: pin_path: a link has its kernel id and its pin, or a filter",
            ),
            (
                "pin_path = '/here'",
                "link 32: pin_path: a link has its kernel id and its pin, or a filter",
            ),
            (
                "kernel_id = 5, pin_path = '/here'",
                "link 32: pin_path: a link has its kernel id and its pin, or a filter",
            ),
            (
                "pin_path = 'here'",
                "link 32: pin_path: path `here` is not absolute",
            ),
            ("id = -1", "row -1 of links: id: -1 is out of range"),
        ];
        for (change, words) in cases {
            let place = place_with(&[xdp(31, Some(5)), tc(32, None, BY_FILTER)]);
            let update =
                format!("PRAGMA foreign_keys = OFF; UPDATE links SET {change} WHERE id = 32");
            place.raw().execute_batch(&update).unwrap();
            let before = place.files();
            assert_damaged(SqliteStore::open_writer(&place.database()), words);
            assert!(
                place.files() == before,
                "{change}: {:?}",
                names(&place.files())
            );
        }
    }
}

mod other_processes {
    use super::*;

    #[test]
    fn a_reader_of_a_missing_database_finds_none_and_makes_none() {
        let place = Place::empty();
        assert!(
            SqliteStore::open_reader(&place.database())
                .unwrap()
                .is_none()
        );
        let deeper = place.directory.path().join("no/such/directory/store.db");
        assert!(SqliteStore::open_reader(&deeper).unwrap().is_none());
        assert_eq!(place.files(), BTreeMap::new());
    }

    #[test]
    fn a_reader_of_a_database_that_is_being_born_finds_none() {
        let place = Place::empty();
        fs::write(place.database(), "").unwrap();
        assert!(
            SqliteStore::open_reader(&place.database())
                .unwrap()
                .is_none()
        );
        assert_eq!(names(&place.files()), ["store.db"]);
        let raw = place.raw();
        raw.execute_batch("PRAGMA journal_mode = WAL; BEGIN; CREATE TABLE programs (id INTEGER)")
            .unwrap();
        assert!(
            SqliteStore::open_reader(&place.database())
                .unwrap()
                .is_none()
        );
        let left = place.left_behind();
        assert!(
            SqliteStore::open_reader(&left.database())
                .unwrap()
                .is_none()
        );
        assert_eq!(left.writer().list().unwrap(), []);
    }

    #[test]
    fn a_reader_does_not_wait_for_an_open_transaction_and_does_not_see_it() {
        let place = Place::filled();
        let mut early = place.reader();
        let raw = place.raw();
        raw.execute_batch("BEGIN IMMEDIATE; DELETE FROM programs")
            .unwrap();
        for reader in [&mut early, &mut place.reader()] {
            assert_eq!(reader.list().unwrap(), sharing_pair());
            assert_eq!(reader.get(ProgramId(42)).unwrap(), sharing_pair()[1]);
        }
        raw.execute_batch("COMMIT").unwrap();
        assert_eq!(early.list().unwrap(), []);
    }

    #[test]
    fn a_reader_sees_the_journal_while_its_writer_is_at_work() {
        let place = Place::empty();
        let mut writer = place.writer();
        let early = place.reader();
        assert_eq!(early.journal().unwrap(), None);
        writer.save_journal(Some(&journal())).unwrap();
        let raw = place.raw();
        raw.execute_batch("BEGIN IMMEDIATE; DELETE FROM journal; DELETE FROM recoveries")
            .unwrap();
        for reader in [&early, &place.reader()] {
            assert_eq!(reader.journal().unwrap(), Some(journal()));
            assert_eq!(reader.recoveries().unwrap(), []);
        }
        raw.execute_batch("ROLLBACK").unwrap();
        let second = plain_journal("the second");
        writer.save_journal(Some(&second)).unwrap();
        assert_eq!(early.journal().unwrap(), Some(second));
        writer.save_recovery(&recovery(1)).unwrap();
        assert_eq!(early.journal().unwrap(), None);
        assert_eq!(early.recoveries().unwrap(), [recovery(1)]);
    }

    #[test]
    fn the_next_writer_finds_the_journal_of_a_killed_one() {
        let place = Place::filled();
        let mut writer = place.writer();
        let last = plain_journal("the last");
        writer.save_journal(Some(&last)).unwrap();
        let raw = place.raw();
        raw.execute_batch("BEGIN IMMEDIATE; DELETE FROM journal")
            .unwrap();
        let left = place.left_behind();
        assert_eq!(left.reader().journal().unwrap(), Some(last.clone()));
        let mut next = left.writer();
        assert_eq!(next.journal().unwrap(), Some(last));
        next.save_recovery(&recovery(2)).unwrap();
        let left = left.left_behind();
        assert_eq!(left.writer().journal().unwrap(), None);
        let expected = [vec![recovery(2)], recoveries()].concat();
        assert_eq!(left.reader().recoveries().unwrap(), expected);
    }

    #[test]
    fn a_reader_sees_what_a_killed_writer_committed_and_no_more() {
        let place = Place::filled();
        let mut writer = place.writer();
        writer.delete(ProgramId(7)).unwrap();
        let raw = place.raw();
        raw.execute_batch("BEGIN IMMEDIATE; DELETE FROM programs")
            .unwrap();
        let left = place.left_behind();
        let before = left.files();
        assert_eq!(names(&before), ["store.db", "store.db-shm", "store.db-wal"]);
        assert_eq!(left.reader().list().unwrap(), sharing_pair()[1..]);
        for name in ["store.db", "store.db-wal"] {
            assert!(left.files()[name] == before[name], "{name}");
        }
    }

    #[test]
    fn a_writer_goes_on_where_a_killed_one_stopped() {
        let place = Place::filled();
        let mut writer = place.writer();
        writer.delete(ProgramId(7)).unwrap();
        let left = place.left_behind();
        left.writer().save(&[program(8, &[])]).unwrap();
        assert_eq!(names(&left.files()), ["store.db"]);
        assert_eq!(
            left.reader().list().unwrap(),
            [program(8, &[]), sharing_pair()[1].clone()]
        );
    }

    /// A journal that says of itself what is in it.
    fn numbered(number: u64) -> Journal {
        let actions = journal().actions;
        let some = number as usize % actions.len();
        Journal {
            actions: actions[some..].to_vec(),
            ..plain_journal(&number.to_string())
        }
    }

    /// The newest of the recoveries, which are numbered without gaps; 0 when there is none.
    fn newest_of(recoveries: &[Recovery]) -> u64 {
        let newest = recoveries.first().map_or(0, |newest| newest.at.0);
        let kept = u64::from(MAX_RECOVERIES).min(newest);
        let expected: Vec<Recovery> = (0..kept).map(|age| recovery(newest - age)).collect();
        assert_eq!(recoveries, expected);
        newest
    }

    #[test]
    fn readers_see_whole_journals_and_what_ended_them_while_writers_come_and_go() {
        let place = Place::empty();
        drop(place.writer());
        let done = AtomicBool::new(false);
        let watch = || {
            while !done.load(Ordering::Relaxed) {
                let reader = place.reader();
                let ended = newest_of(&reader.recoveries().unwrap());
                let Some(journal) = reader.journal().unwrap() else {
                    continue;
                };
                let number = journal.operation.parse().unwrap();
                assert_eq!(journal, numbered(number), "a journal seen in half");
                assert!(ended < number, "{number} is under way after {ended} ended");
            }
        };
        std::thread::scope(|scope| {
            let watchers = [scope.spawn(watch), scope.spawn(watch)];
            let writing = Done(&done);
            for number in 1..100 {
                place
                    .writer()
                    .save_journal(Some(&numbered(number)))
                    .unwrap();
                place.writer().save_recovery(&recovery(number)).unwrap();
            }
            drop(writing);
            for watcher in watchers {
                watcher.join().unwrap();
            }
        });
    }

    #[test]
    fn readers_see_whole_saves_while_writers_come_and_go() {
        let place = Place::filled();
        let done = AtomicBool::new(false);
        // The map says the same as the time, so that programs and maps of different saves would be noticed.
        let at = |time: u64| {
            sharing_pair().map(|program| Program {
                created_at: UnixTime(time),
                maps: vec![map(time as u32, "counters")],
                ..program
            })
        };
        let watch = || {
            while !done.load(Ordering::Relaxed) {
                let programs = place.reader().list().unwrap();
                assert_eq!(
                    programs,
                    at(programs[0].created_at.0),
                    "a save seen in half"
                );
            }
        };
        place.writer().save(&at(1)).unwrap();
        std::thread::scope(|scope| {
            let watchers = [scope.spawn(watch), scope.spawn(watch)];
            for time in 2..200 {
                place.writer().save(&at(time)).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            for watcher in watchers {
                watcher.join().unwrap();
            }
        });
    }
}

mod together {
    use super::*;

    /// Counted by one statement, which is one snapshot.
    const RECORDS: &str = "SELECT (SELECT COUNT(*) FROM programs) + (SELECT COUNT(*) FROM links) \
                           + (SELECT COUNT(*) FROM dispatchers) + (SELECT COUNT(*) FROM journal)";

    fn come() -> [StoreChange; 5] {
        [
            StoreChange::SavePrograms(sharing_pair().to_vec()),
            StoreChange::SaveLink(plain_link(1)),
            StoreChange::SaveLink(plain_link(2)),
            StoreChange::SaveDispatcher(dispatcher(2)),
            StoreChange::SaveJournal(Some(Box::new(journal()))),
        ]
    }

    fn go() -> [StoreChange; 6] {
        [
            StoreChange::SaveJournal(None),
            StoreChange::DeleteDispatcher(dispatcher(2).point()),
            StoreChange::DeleteLink(LinkId(1)),
            StoreChange::DeleteLink(LinkId(2)),
            StoreChange::DeleteProgram(ProgramId(7)),
            StoreChange::DeleteProgram(ProgramId(42)),
        ]
    }

    /// [`go`] and something more that is not there any longer.
    fn go_too_far() -> Vec<StoreChange> {
        [&go()[..], &go()[1..2]].concat()
    }

    #[test]
    fn readers_see_all_of_several_changes_or_none_while_they_are_made() {
        let place = Place::empty();
        let mut writer = place.writer();
        let done = AtomicBool::new(false);
        let watch = || {
            let raw = place.raw();
            while !done.load(Ordering::Relaxed) {
                let records = scalar(&raw, RECORDS);
                assert!([0, 6].contains(&records), "{records} of 6 records");
            }
        };
        std::thread::scope(|scope| {
            let watchers = [scope.spawn(watch), scope.spawn(watch)];
            let writing = Done(&done);
            for _ in 0..100 {
                writer.batch(&come()).unwrap();
                // Nothing of what fails is ever seen.
                writer.batch(&go_too_far()).unwrap_err();
                writer.batch(&go()).unwrap();
            }
            drop(writing);
            for watcher in watchers {
                watcher.join().unwrap();
            }
        });
    }

    #[test]
    fn what_a_killed_writer_changed_together_is_there() {
        let place = Place::empty();
        let mut writer = place.writer();
        writer.batch(&come()).unwrap();
        writer.batch(&come()[1..2]).unwrap();
        writer.batch(&go_too_far()).unwrap_err();
        assert_eq!(scalar(&place.left_behind().raw(), RECORDS), 6);
        writer.batch(&go()).unwrap();
        assert_eq!(scalar(&place.left_behind().raw(), RECORDS), 0);
    }

    #[test]
    fn a_reader_changes_nothing_together() {
        let place = Place::filled();
        place.reader().batch(&go()).unwrap_err();
        assert_eq!(place.reader().dispatchers().unwrap(), dispatchers());
        assert_eq!(place.reader().journal().unwrap(), Some(journal()));
    }
}

mod damage {
    use super::*;

    #[test]
    fn a_file_of_garbage_is_damaged_and_not_touched() {
        let place = Place::empty();
        fs::write(place.database(), [b'?'; 8192]).unwrap();
        let before = place.files();
        assert_damaged(
            SqliteStore::open_writer(&place.database()),
            "not a database",
        );
        assert_damaged(
            SqliteStore::open_reader(&place.database()),
            "not a database",
        );
        assert!(place.files() == before, "{:?}", names(&place.files()));
    }

    #[test]
    fn a_directory_in_place_of_the_file_cannot_be_opened() {
        let place = Place::empty();
        fs::create_dir(place.database()).unwrap();
        let error = SqliteStore::open_writer(&place.database()).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
        let error = SqliteStore::open_reader(&place.database()).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn a_file_in_place_of_a_directory_cannot_be_opened() {
        let place = Place::empty();
        fs::write(place.database(), "").unwrap();
        let below = place.database().join("store.db");
        let error = SqliteStore::open_writer(&below).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
        let error = SqliteStore::open_reader(&below).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn tables_that_are_not_what_the_version_says_are_damage() {
        let place = Place::filled();
        place
            .raw()
            .execute_batch(
                "ALTER TABLE programs DROP COLUMN license; ALTER TABLE links DROP COLUMN pin_path; \
                 ALTER TABLE dispatchers DROP COLUMN members; ALTER TABLE journal DROP COLUMN way; \
                 ALTER TABLE recoveries DROP COLUMN remains",
            )
            .unwrap();
        assert_damaged(place.reader().list(), "license");
        assert_damaged(place.writer().save(&sharing_pair()), "license");
        assert_damaged(place.reader().links(), "pin_path");
        assert_damaged(place.writer().save_link(&plain_link(1)), "pin_path");
        assert_damaged(place.reader().dispatchers(), "members");
        let saved = place.writer().save_dispatcher(&dispatcher(2));
        assert_damaged(saved, "members");
        assert_damaged(place.reader().journal(), "way");
        assert_damaged(place.writer().save_journal(Some(&journal())), "way");
        assert_damaged(place.reader().recoveries(), "remains");
        assert_damaged(place.writer().save_recovery(&recovery(2)), "remains");
    }

    #[test]
    fn a_schema_version_below_zero_is_damage() {
        let place = Place::filled();
        place.raw().pragma_update(None, "user_version", -1).unwrap();
        assert_damaged(
            SqliteStore::open_writer(&place.database()),
            "schema version -1",
        );
        assert_damaged(
            SqliteStore::open_reader(&place.database()),
            "schema version -1",
        );
    }

    #[test]
    fn a_row_that_makes_no_sense_is_damage_and_is_named() {
        // The change to the row of program 42, and what the error must say.
        let cases = [
            (
                "pinned_path = '/run/bpfman/fs/../../../etc/shadow'",
                "program 42: pinned_path: path",
            ),
            (
                "object_path = 'relative'",
                "program 42: object_path: path `relative` is not absolute",
            ),
            ("source_path = '/a' || char(10)", "program 42: source_path"),
            ("map_directory = ''", "program 42: map_directory"),
            (
                "type = 'no-such-type'",
                "program 42: type: unknown program type `no-such-type`",
            ),
            (
                "engine = 'fast'",
                "program 42: engine: unknown engine `fast` (expected auto or extension)",
            ),
            ("tag = 'xyz'", "program 42: tag: a tag is 16 hex digits"),
            ("metadata = '{'", "program 42: metadata"),
            ("metadata = '{\"a\":1}'", "program 42: metadata"),
            ("global_data = '{\"a\":\"*\"}'", "program 42: global_data"),
            ("map_sizes = '{\"a\":-1}'", "program 42: map_sizes"),
            (
                "load_time = -1",
                "program 42: load_time: -1 is out of range",
            ),
            ("created_at = -5", "program 42: created_at"),
            ("updated_at = -5", "program 42: updated_at"),
            (
                "map_owner = 4294967296",
                "program 42: map_owner: 4294967296 is out of range",
            ),
            (
                "gpl_compatible = 2",
                "program 42: gpl_compatible: 2 is out of range",
            ),
            ("license = CAST(x'ff' AS TEXT)", "program 42: license"),
            (
                "kernel_id = -1",
                "row 2 of programs: kernel_id: -1 is out of range",
            ),
        ];
        for (change, words) in cases {
            let place = Place::filled();
            let update = format!("UPDATE programs SET {change} WHERE kernel_id = 42");
            place.raw().execute_batch(&update).unwrap();
            assert_damaged(place.reader().list(), words);
            assert_damaged(place.reader().sharing(&program(1, &[map(101, "")])), words);
            if !change.starts_with("kernel_id") {
                assert_damaged(place.reader().get(ProgramId(42)), words);
                place.reader().get(ProgramId(7)).unwrap();
            }
        }
    }

    #[test]
    fn a_map_that_makes_no_sense_is_damage_and_is_named() {
        let cases = [
            (
                "UPDATE maps SET pinned_path = '/../x' WHERE kernel_id = 101",
                "a map of program 7: pinned_path",
            ),
            (
                "UPDATE maps SET kernel_id = -3 WHERE kernel_id = 101",
                "a map of program 7: kernel_id",
            ),
            (
                "DELETE FROM maps WHERE kernel_id = 102",
                "a map of program 42: kernel_id",
            ),
            (
                "INSERT INTO program_maps (program_id, position, map_id) VALUES (99, 0, 1)",
                "row 99 of programs, which is not there",
            ),
        ];
        for (change, words) in cases {
            let place = Place::filled();
            let raw = place.raw();
            raw.execute_batch(&format!("PRAGMA foreign_keys = OFF; {change}"))
                .unwrap();
            assert_damaged(place.reader().list(), words);
        }
    }

    /// Changes one row of links, with nobody watching the foreign keys.
    fn change_link(place: &Place, id: u32, change: &str) {
        let update =
            format!("PRAGMA foreign_keys = OFF; UPDATE links SET {change} WHERE id = {id}");
        place.raw().execute_batch(&update).unwrap();
    }

    #[test]
    fn a_link_that_makes_no_sense_is_damage_and_is_named() {
        // The change to the row of link 1, which has every field, and what the error must say.
        let cases = [
            ("kernel_id = -1", "link 1: kernel_id: -1 is out of range"),
            (
                "kernel_id = 4294967296",
                "link 1: kernel_id: 4294967296 is out of range",
            ),
            (
                "pin_path = 'relative'",
                "link 1: pin_path: path `relative` is not absolute",
            ),
            (
                "pin_path = '/run/bpfman/fs/../../../etc/shadow'",
                "link 1: pin_path: path",
            ),
            ("metadata = '{'", "link 1: metadata"),
            ("metadata = '{\"a\":1}'", "link 1: metadata"),
            ("created_at = -5", "link 1: created_at: -5 is out of range"),
            ("program_id = 99", "link 1: program: "),
            ("details = ''", "link 1: details"),
            ("details = '[]'", "link 1: details"),
            ("details = CAST(x'ff' AS TEXT)", "link 1: details"),
            (
                "details = '{\"kind\":\"xdp\"}'",
                "link 1: details: missing field",
            ),
        ];
        for (change, words) in cases {
            let place = Place::filled();
            change_link(&place, 1, change);
            let reader = place.reader();
            assert_damaged(reader.links(), words);
            assert_damaged(reader.link(LinkId(1)), words);
            if change != "program_id = 99" {
                assert_damaged(reader.links_of(ProgramId(42)), words);
            }
            let point = links()[0].details.attach_point().unwrap();
            assert_damaged(reader.links_at(&point), words);
            assert_eq!(reader.link(LinkId(2)).unwrap(), links()[1]);
            assert_eq!(reader.list().unwrap(), sharing_pair());
        }
    }

    #[test]
    fn details_of_a_link_that_make_no_sense_are_damage() {
        // A member of the details of link 1, what it becomes, and what the error must say.
        let cases = [
            ("kind", "'nosuch'", "unknown variant `nosuch`"),
            ("kind", "'struct_ops'", "missing field `map`"),
            ("interface", "'a/b'", "`a/b` cannot be an interface"),
            ("ifindex", "-1", "invalid value: integer `-1`"),
            ("ifindex", "4294967296", "invalid value"),
            ("netns", "'relative'", "path `relative` is not absolute"),
            ("netns", "'/run/../x'", "path `/run/../x` holds a `..`"),
            ("nsid", "-1", "invalid value"),
            ("nsid", "1.5", "invalid type"),
            ("priority", "-1", "priority -1 is not between 0 and"),
            ("priority", "2147483648", "priority 2147483648 is not"),
            ("proceed_on", "2", "invalid type"),
            ("mode", "'fast'", "unknown variant `fast`"),
        ];
        for (member, value, words) in cases {
            let place = Place::filled();
            let change = format!("details = json_set(details, '$.{member}', {value})");
            change_link(&place, 1, &change);
            assert_damaged(place.reader().links(), &format!("link 1: details: {words}"));
        }
    }

    #[test]
    fn a_link_whose_columns_and_details_disagree_is_damage() {
        // Link 1 is at the point xdp/18446744073709551615/2; link 5, of kind sk_lookup, is at none.
        let cases = [
            (
                1,
                "kind = 'nosuch'",
                "link 1: kind: unknown link kind `nosuch`",
            ),
            (
                1,
                "kind = 'tc'",
                "link 1: kind: tc, but the details say xdp",
            ),
            (
                1,
                "kind = 'struct_ops'",
                "link 1: kind: struct_ops, but the details say xdp",
            ),
            (
                1,
                "attach_point = NULL",
                "link 1: attach_point: none, but the details say xdp/18446744073709551615/2",
            ),
            (
                1,
                "attach_point = 'xdp/18446744073709551615/3'",
                "link 1: attach_point: xdp/18446744073709551615/3, but the details say xdp/",
            ),
            (
                1,
                "details = json_set(details, '$.ifindex', 3)",
                "link 1: attach_point: xdp/18446744073709551615/2, but the details say xdp/",
            ),
            (
                5,
                "attach_point = 'xdp/1/2'",
                "link 5: attach_point: xdp/1/2, but the details say none",
            ),
            (
                5,
                "details = json_set(details, '$.kind', 'flow_dissector')",
                "link 5: kind: sk_lookup, but the details say flow_dissector",
            ),
        ];
        for (id, change, words) in cases {
            let place = Place::filled();
            change_link(&place, id, change);
            assert_damaged(place.reader().links(), words);
            assert_damaged(place.reader().link(LinkId(id)), words);
            assert_damaged(place.reader().links_of(ProgramId(42)), words);
        }
    }

    #[test]
    fn an_id_of_a_link_that_is_out_of_range_is_damage() {
        for (id, next_is_damaged) in [("4294967296", true), ("-1", false)] {
            let place = Place::filled();
            change_link(&place, 1, &format!("id = {id}"));
            let words = format!("row {id} of links: id: {id} is out of range");
            assert_damaged(place.reader().links(), &words);
            assert_damaged(place.reader().links_of(ProgramId(42)), &words);
            let next = place.reader().next_link();
            if next_is_damaged {
                assert_damaged(next, "last link: 4294967296 is out of range");
            } else {
                assert_eq!(next.unwrap(), LinkId(GONE + 1));
            }
        }
    }

    #[test]
    fn a_program_whose_id_is_out_of_range_is_damage_of_its_links_too() {
        let place = Place::filled();
        place
            .raw()
            .execute_batch("UPDATE programs SET kernel_id = -1 WHERE kernel_id = 42")
            .unwrap();
        assert_damaged(
            place.reader().links(),
            "link 1: program: -1 is out of range",
        );
    }

    #[test]
    fn a_count_of_links_that_was_edited_is_damage_or_does_not_count() {
        let count = links().len() as u32;
        let edits = [
            ("UPDATE sqlite_sequence SET seq = 'many'", None),
            ("UPDATE sqlite_sequence SET seq = x'00'", None),
            ("UPDATE sqlite_sequence SET seq = 4294967296", None),
            ("UPDATE sqlite_sequence SET seq = -5", Some(count + 1)),
            ("UPDATE sqlite_sequence SET seq = NULL", Some(count + 1)),
            ("UPDATE sqlite_sequence SET seq = 3", Some(count + 1)),
            ("DELETE FROM sqlite_sequence", Some(count + 1)),
            (
                "INSERT INTO sqlite_sequence VALUES ('links', 90), ('programs', 99)",
                Some(91),
            ),
        ];
        for (edit, expected) in edits {
            let place = Place::filled();
            place.raw().execute_batch(edit).unwrap();
            let next = place.reader().next_link();
            match expected {
                Some(id) => assert_eq!(next.unwrap(), LinkId(id), "{edit}"),
                None => assert_damaged(next, "last"),
            }
            let mut writer = place.writer();
            writer.save_link(&plain_link(80)).unwrap();
            assert_eq!(writer.link(LinkId(80)).unwrap(), plain_link(80), "{edit}");
        }
    }

    /// Changes the row of the first of the dispatchers.
    fn change_dispatcher(place: &Place, change: &str) {
        let point = dispatchers()[0].point();
        let update = format!("UPDATE dispatchers SET {change} WHERE attach_point = '{point}'");
        place.raw().execute_batch(&update).unwrap();
    }

    /// Changes the row of the first of the dispatchers and sees what is said of it, and that the others are not
    /// concerned.
    fn assert_change_is_damage(change: &str, words: &str) {
        let place = Place::filled();
        change_dispatcher(&place, change);
        let reader = place.reader();
        let words = format!("dispatcher xdp/18446744073709551615/2: {words}");
        assert_damaged(reader.dispatchers(), &words);
        let [first, second, _] = dispatchers().try_into().unwrap();
        assert_damaged(reader.dispatcher(&first.point()), &words);
        let found = reader.dispatcher(&second.point()).unwrap();
        assert_eq!(found, Some(second));
    }

    #[test]
    fn a_dispatcher_that_makes_no_sense_is_damage_and_is_named() {
        // The change to the row of the first, which has every field, and what the error must say.
        let cases = [
            ("revision = -1", "revision: -1 is out of range"),
            ("revision = 4294967296", "revision: 4294967296 is out of"),
            ("kernel_program_id = -1", "kernel_program_id: -1 is out of"),
            ("kernel_link_id = 4294967296", "kernel_link_id: 4294967296"),
            ("pin_path = 'relative'", "pin_path: path `relative` is not"),
            ("pin_path = '/run/../x'", "pin_path: path `/run/../x` holds"),
            ("members = ''", "members: EOF"),
            ("members = '[1'", "members: EOF"),
            ("members = '{}'", "members: invalid type"),
            ("members = '[\"1\"]'", "members: invalid type"),
            ("members = '[-1]'", "members: invalid value"),
            ("members = '[4294967296]'", "members: invalid value"),
            ("details = ''", "details: EOF"),
            ("details = '[]'", "details: "),
            ("details = '{}'", "details: missing field `hook`"),
            ("details = CAST(x'ff' AS TEXT)", "details: invalid utf-8"),
        ];
        for (change, words) in cases {
            assert_change_is_damage(change, words);
        }
    }

    #[test]
    fn details_of_a_dispatcher_that_make_no_sense_are_damage() {
        // A member of the details of the first, what it becomes, and what the error must say.
        let cases = [
            ("hook", "'xdp'", "invalid type"),
            ("hook", "json('{\"tcx\":{}}')", "unknown variant `tcx`"),
            ("hook", "json('{\"tc\":{}}')", "missing field `direction`"),
            ("hook.xdp.mode", "'fast'", "unknown variant `fast`"),
            ("interface", "'a/b'", "`a/b` cannot be an interface"),
            ("ifindex", "-1", "invalid value: integer `-1`"),
            ("netns", "'/run/../x'", "path `/run/../x` holds a `..`"),
            ("nsid", "-1", "invalid value"),
            ("form", "'nosuch'", "unknown variant `nosuch`"),
            ("form", "'extension'", "invalid type"),
            ("form.extension.directory", "'here'", "path `here` is not"),
            ("filter", "1", "invalid type"),
            ("filter", "json('{\"handle\":1}')", "missing field `pref"),
        ];
        for (member, value, words) in cases {
            let change = format!("details = json_set(details, '$.{member}', {value})");
            assert_change_is_damage(&change, &format!("details: {words}"));
        }
    }

    #[test]
    fn a_dispatcher_whose_columns_and_details_disagree_is_damage() {
        let cases = [
            (
                "form = 'nosuch'",
                "form: nosuch, but the details say extension",
            ),
            (
                "form = 'direct'",
                "form: direct, but the details say extension",
            ),
            (
                "details = json_set(details, '$.form', 'chain')",
                "form: extension, but the details say chain",
            ),
            (
                "details = json_set(details, '$.ifindex', 3)",
                "attach_point: xdp/18446744073709551615/2, but the details say xdp/18446744073709551615/3",
            ),
            (
                "details = json_set(details, '$.hook', json('{\"tc\":{\"direction\":\"egress\"}}'))",
                "attach_point: xdp/18446744073709551615/2, but the details say tc-egress/",
            ),
        ];
        for (change, words) in cases {
            assert_change_is_damage(change, words);
        }
        let place = Place::filled();
        change_dispatcher(&place, "attach_point = 'xdp/1/2' || char(10)");
        let words = "dispatcher xdp/1/2\\n: attach_point: xdp/1/2\\n, but the details say xdp/18446744073709551615/2";
        assert_damaged(place.reader().dispatchers(), words);
        let moved = place.reader().dispatcher(&dispatchers()[0].point());
        assert_eq!(moved.unwrap(), None);
    }

    #[test]
    fn a_dispatcher_that_is_not_held_by_one_thing_is_damage() {
        let filter =
            "details = json_set(details, '$.filter', json('{\"preference\":1,\"handle\":1}'))";
        let no_link = "kernel_link_id = NULL, pin_path = NULL";
        let cases = [
            ("pin_path = NULL", "pin_path: none, but there is a link"),
            (
                "kernel_link_id = NULL",
                "kernel_link_id: none, but there is its pin",
            ),
            (
                no_link,
                "kernel_link_id: none, and the details have no filter",
            ),
            (filter, "details: a filter, but there is a link, too"),
            (
                &format!("{filter}, {no_link}"),
                "details: no filter holds an XDP program",
            ),
        ];
        for (change, words) in cases {
            assert_change_is_damage(change, words);
        }
    }

    #[test]
    fn a_damaged_dispatcher_can_be_replaced_and_deleted() {
        let place = Place::filled();
        let first = dispatchers().remove(0);
        change_dispatcher(&place, "details = '', form = 'nosuch'");
        place.writer().save_dispatcher(&first).unwrap();
        assert_eq!(place.reader().dispatchers().unwrap(), dispatchers());
        change_dispatcher(&place, "members = ''");
        place.writer().delete_dispatcher(&first.point()).unwrap();
        assert_eq!(place.reader().dispatchers().unwrap(), dispatchers()[1..]);
    }

    /// Changes the row of the journal and sees what is said of it, and that nothing else is concerned.
    fn assert_journal_is_damaged(place: &Place, change: &str, words: &str) {
        let update = format!("UPDATE journal SET {change}");
        place.raw().execute_batch(&update).unwrap();
        assert_damaged(place.reader().journal(), &format!("the journal: {words}"));
        assert_records_are_there(place);
        assert_eq!(place.reader().recoveries().unwrap(), recoveries());
    }

    fn assert_records_are_there(place: &Place) {
        let reader = place.reader();
        assert_eq!(reader.list().unwrap(), sharing_pair());
        assert_eq!(reader.get(ProgramId(42)).unwrap(), sharing_pair()[1]);
        assert_eq!(reader.links().unwrap(), links());
        assert_eq!(reader.link(LinkId(1)).unwrap(), links()[0]);
        assert_eq!(reader.dispatchers().unwrap(), dispatchers());
        assert_eq!(reader.next_link().unwrap(), LinkId(GONE + 1));
    }

    #[test]
    fn a_journal_that_makes_no_sense_is_damage_and_is_named() {
        let cases = [
            ("operation = CAST(x'ff' AS TEXT)", "operation: invalid utf"),
            ("way = ''", "way: EOF"),
            ("way = 'back'", "way: expected value"),
            ("way = 'null'", "way: "),
            ("way = '1'", "way: "),
            ("way = '[\"back\"]'", "way: "),
            ("way = '\"sideways\"'", "way: unknown variant `sideways`"),
            ("way = '\"back\" 1'", "way: trailing characters"),
            ("way = CAST(x'ff' AS TEXT)", "way: invalid utf-8"),
            ("actions = ''", "actions: EOF"),
            ("actions = substr(actions, 1, 99)", "actions: EOF"),
            ("actions = actions || ']'", "actions: trailing characters"),
            ("actions = 'null'", "actions: invalid type"),
            ("actions = '{}'", "actions: invalid type"),
            ("actions = '[null]'", "actions: invalid type"),
            ("actions = '[[]]'", "actions: "),
            ("actions = '[\"release\"]'", "actions: invalid type"),
            ("actions = '[{}]'", "actions: missing field `subsystem`"),
            (
                "actions = '[{\"subsystem\":\"kernel\"}]'",
                "actions: missing field `op`",
            ),
            (
                "actions = '[{\"subsystem\":\"files\",\"subsystem\":\"store\"}]'",
                "actions: duplicate field `subsystem`",
            ),
            ("actions = CAST(x'ff' AS TEXT)", "actions: invalid utf-8"),
        ];
        for (change, words) in cases {
            assert_journal_is_damaged(&Place::filled(), change, words);
        }
    }

    #[test]
    fn actions_of_a_journal_that_make_no_sense_are_damage() {
        // A member of the actions, what it becomes, and what the error must say.
        let cases = [
            ("[0].subsystem", "'network'", "unknown variant `network`"),
            ("[0].op", "'explode'", "unknown variant `explode`"),
            ("[8].op", "'explode'", "unknown variant `explode`"),
            ("[13].op", "'explode'", "unknown variant `explode`"),
            ("[8].subsystem", "'store'", "unknown variant `link`"),
            ("[2].op", "'unpin_link'", "missing field `path`"),
            ("[2].from", "'here'", "path `here` is not absolute"),
            ("[2].to", "'/run/../x'", "path `/run/../x` holds a `..`"),
            ("[2].link", "-1", "invalid value: integer `-1`"),
            ("[3].link", "4294967296", "invalid value"),
            ("[0].path", "'here'", "data did not match any variant"),
            ("[10].path", "'/run/../x'", "data did not match any var"),
            ("[0].program", "-1", "data did not match any variant"),
            ("[15].program", "4294967296", "data did not match any var"),
            ("[4].to.at", "'nowhere'", "unknown variant `nowhere`"),
            ("[5].filter.interface.netns.id", "-1", "invalid value"),
            ("[5].filter.direction", "'up'", "unknown variant `up`"),
            ("[6].value", "'*'", "Invalid symbol 42"),
            ("[9].bytes", "1.5", "invalid type"),
            ("[13].id", "4294967296", "invalid value"),
            ("[14].point.hook", "'nosuch'", "no hook is called `nosuch`"),
        ];
        for (member, value, words) in cases {
            let change = format!("actions = json_set(actions, '${member}', {value})");
            assert_journal_is_damaged(&Place::filled(), &change, &format!("actions: {words}"));
        }
    }

    #[test]
    fn records_in_a_journal_that_make_no_sense_are_damage() {
        // A member of those that change together, what it becomes, and what the error must say.
        let cases = [
            ("", "5", "invalid type"),
            ("[0].op", "'explode'", "unknown variant `explode`"),
            (
                "[0].program.identity.tag",
                "'xyz'",
                "a tag is 16 hex digits",
            ),
            ("[0].program.pin_path", "'here'", "path `here` is not absol"),
            (
                "[0].program.load.engine",
                "'fast'",
                "unknown variant `fast`",
            ),
            ("[0].program.created_at", "-5", "invalid value"),
            ("[1].link.details.kind", "'nosuch'", "unknown variant `nosu"),
            ("[1].link.details.interface", "'a/b'", "`a/b` cannot be an"),
            ("[2].dispatcher.form", "'nosuch'", "unknown variant `nosuch"),
            ("[2].dispatcher.members[0]", "-1", "invalid value"),
        ];
        for (member, value, words) in cases {
            let change = format!("actions = json_set(actions, '$[12].actions{member}', {value})");
            assert_journal_is_damaged(&Place::filled(), &change, &format!("actions: {words}"));
        }
    }

    /// A process that reads it must not run out of stack.
    #[test]
    fn a_journal_of_actions_within_actions_is_read_or_is_damage() {
        let place = Place::filled();
        for depth in [1, 10, 50, 60, 64, 100, 1000, 100_000] {
            let head = r#"{"op":"together","actions":["#.repeat(depth);
            let tail = "]}".repeat(depth);
            let outermost = head.replacen('{', r#"{"subsystem":"store","#, 1);
            let query = "UPDATE journal SET actions = ?1";
            let actions = format!("[{outermost}{tail}]");
            place.raw().execute(query, [actions]).unwrap();
            match place.reader().journal() {
                Ok(journal) => assert_eq!(journal.unwrap().actions.len(), 1),
                refused => assert_damaged(refused, "the journal: actions: recursion limit"),
            }
            let actions = format!("{}{}", "[".repeat(depth + 1), "]".repeat(depth + 1));
            place.raw().execute(query, [actions]).unwrap();
            assert_damaged(place.reader().journal(), "the journal: actions: ");
        }
    }

    #[test]
    fn records_are_written_and_read_beside_a_damaged_journal() {
        let place = Place::filled();
        assert_journal_is_damaged(&place, "actions = ''", "actions");
        let mut writer = place.writer();
        writer.save(&[program(8, &[])]).unwrap();
        writer.save_link(&plain_link(GONE + 1)).unwrap();
        writer.save_dispatcher(&dispatcher(9)).unwrap();
        writer
            .batch(&[
                StoreChange::DeleteDispatcher(dispatcher(9).point()),
                StoreChange::DeleteLink(LinkId(GONE + 1)),
                StoreChange::DeleteProgram(ProgramId(8)),
            ])
            .unwrap();
        assert_eq!(writer.list().unwrap(), sharing_pair());
        assert_damaged(place.reader().journal(), "the journal: actions");
    }

    #[test]
    fn a_damaged_journal_can_be_replaced_and_cleared_and_ended() {
        let place = Place::filled();
        let damage = || assert_journal_is_damaged(&place, "actions = '', way = ''", "way");
        damage();
        let mut writer = place.writer();
        writer.save_journal(Some(&journal())).unwrap();
        assert_eq!(place.reader().journal().unwrap(), Some(journal()));
        damage();
        writer.save_journal(None).unwrap();
        assert_eq!(place.reader().journal().unwrap(), None);
        writer.save_journal(Some(&journal())).unwrap();
        damage();
        writer.save_recovery(&recovery(2)).unwrap();
        assert_eq!(place.reader().journal().unwrap(), None);
        assert_eq!(place.reader().recoveries().unwrap()[0], recovery(2));
    }

    #[test]
    fn a_recovery_that_makes_no_sense_is_damage_and_is_named() {
        let cases = [
            ("operation = CAST(x'ff' AS TEXT)", "operation: invalid utf"),
            ("way = ''", "way: EOF"),
            ("way = 'forward'", "way: expected"),
            ("way = '\"sideways\"'", "way: unknown variant `sideways`"),
            ("at = -1", "at: -1 is out of range"),
            (
                "at = -9223372036854775808",
                "at: -9223372036854775808 is out of range",
            ),
            ("remains = ''", "remains: EOF"),
            ("remains = '['", "remains: EOF"),
            ("remains = 'null'", "remains: invalid type"),
            ("remains = '{}'", "remains: invalid type"),
            ("remains = '[1]'", "remains: invalid type"),
            ("remains = '[[]]'", "remains: invalid type"),
            ("remains = CAST(x'ff' AS TEXT)", "remains: invalid utf-8"),
        ];
        for (change, words) in cases {
            for id in [1, 2] {
                let place = Place::filled();
                let update = format!("UPDATE recoveries SET {change} WHERE id = {id}");
                place.raw().execute_batch(&update).unwrap();
                let words = format!("a row of recoveries: {words}");
                assert_damaged(place.reader().recoveries(), &words);
                assert_eq!(place.reader().journal().unwrap(), Some(journal()));
                assert_records_are_there(&place);
            }
        }
    }

    #[test]
    fn a_damaged_recovery_is_forgotten_like_any_other() {
        let place = Place::filled();
        let damage = "UPDATE recoveries SET way = '' WHERE id = 2";
        place.raw().execute_batch(damage).unwrap();
        let mut writer = place.writer();
        let numbers = 3..u64::from(MAX_RECOVERIES) + 3;
        for number in numbers.clone() {
            assert_damaged(writer.recoveries(), "a row of recoveries: way");
            writer.save_journal(Some(&journal())).unwrap();
            writer.save_recovery(&recovery(number)).unwrap();
            assert_eq!(writer.journal().unwrap(), None);
        }
        let expected: Vec<Recovery> = numbers.rev().map(recovery).collect();
        assert_eq!(writer.recoveries().unwrap(), expected);
    }

    #[test]
    fn an_edited_id_of_a_recovery_keeps_no_operation_from_ending() {
        let last = "9223372036854775807";
        for id in ["-9223372036854775808", "-5", "0", "1000", last] {
            let place = Place::filled();
            let update = format!("UPDATE recoveries SET id = {id} WHERE id = 2");
            place.raw().execute_batch(&update).unwrap();
            let mut writer = place.writer();
            let numbers = 2..u64::from(MAX_RECOVERIES) + 2;
            for number in numbers.clone() {
                writer.save_journal(Some(&journal())).unwrap();
                writer.save_recovery(&recovery(number)).unwrap();
                assert_eq!(writer.journal().unwrap(), None, "{id}");
            }
            let found = writer.recoveries().unwrap();
            // Nothing comes after the last one there is.
            if id != last {
                let expected: Vec<Recovery> = numbers.rev().map(recovery).collect();
                assert_eq!(found, expected, "{id}");
            }
        }
    }

    /// The fixture of the newest version, with tables that take whatever they are given.
    fn lax_place() -> Place {
        let text = fs::read_to_string(fixture(&format!("store_v{SCHEMA_VERSION}.sql"))).unwrap();
        let place = Place::empty();
        let lax = text.replace("STRICT, ", "").replace(" STRICT", "");
        place.raw().execute_batch(&lax).unwrap();
        assert_records_are_there(&place);
        place
    }

    #[test]
    fn a_cell_of_another_kind_is_damage_of_the_journal_too() {
        let place = lax_place();
        for (change, words) in [
            ("operation = x'00'", "operation"),
            ("way = 5.5", "way"),
            ("actions = x'00'", "actions"),
        ] {
            assert_journal_is_damaged(&place.left_behind(), change, words);
        }
        for (change, words) in [
            ("operation = x'00'", "operation"),
            ("way = x'00'", "way"),
            ("at = 'noon'", "at"),
            ("at = 1e300", "at"),
            ("remains = 5", "remains"),
        ] {
            let copy = place.left_behind();
            let update = format!("UPDATE recoveries SET {change}");
            copy.raw().execute_batch(&update).unwrap();
            let words = format!("a row of recoveries: {words}");
            assert_damaged(copy.reader().recoveries(), &words);
        }
    }

    #[test]
    fn a_cell_of_another_kind_is_damage() {
        let place = lax_place();
        for (change, words) in [
            ("name = x'00'", "program 42: name"),
            ("created_at = 'noon'", "program 42: created_at"),
            ("kernel_id = 'many'", "row 2 of programs: kernel_id"),
            ("engine = x'00'", "program 42: engine"),
        ] {
            let copy = place.left_behind();
            let update = format!("UPDATE programs SET {change} WHERE kernel_id = 42");
            copy.raw().execute_batch(&update).unwrap();
            assert_damaged(copy.reader().list(), words);
        }
        for (change, words) in [
            ("kind = x'00'", "link 1: kind"),
            ("kernel_id = 'many'", "link 1: kernel_id"),
            ("attach_point = x'00'", "link 1: attach_point"),
            ("pin_path = x'00'", "link 1: pin_path"),
            ("details = x'00'", "link 1: details"),
            ("metadata = 5.5", "link 1: metadata"),
            ("created_at = 'noon'", "link 1: created_at"),
            ("program_id = 'some'", "link 1: program"),
        ] {
            let copy = place.left_behind();
            change_link(&copy, 1, change);
            assert_damaged(copy.reader().links(), words);
        }
        for (change, words) in [
            ("attach_point = x'00'", "a row of dispatchers: attach_point"),
            ("revision = 'many'", ": revision"),
            ("form = x'00'", ": form"),
            ("kernel_program_id = 5.5", ": kernel_program_id"),
            ("kernel_link_id = 'many'", ": kernel_link_id"),
            ("pin_path = x'00'", ": pin_path"),
            ("members = 5", ": members"),
            ("details = x'00'", ": details"),
        ] {
            let copy = place.left_behind();
            change_dispatcher(&copy, change);
            assert_damaged(copy.reader().dispatchers(), words);
        }
        let user = "PRAGMA foreign_keys = OFF; UPDATE program_maps SET program_id = 'some' WHERE position = 1";
        place.raw().execute_batch(user).unwrap();
        assert_damaged(place.reader().list(), "program_id");
    }

    /// Asks all there is to ask; whatever the answer is, it is one.
    fn interrogate(store: &SqliteStore) {
        let point = plain_link(1).details.attach_point().unwrap();
        let _ = store.list();
        let _ = store.sharing(&sharing_pair()[0]);
        let _ = store.links();
        let _ = store.links_of(ProgramId(42));
        let _ = store.links_at(&point);
        let _ = store.next_link();
        let _ = store.dispatchers();
        let _ = store.dispatcher(&dispatcher(2).point());
        let _ = store.journal();
        let _ = store.recoveries();
    }

    #[test]
    fn a_torn_file_is_damaged_or_refused_but_never_a_panic() {
        let place = Place::filled();
        let whole = fs::read(place.database()).unwrap();
        for length in (0..whole.len()).step_by(509) {
            let torn = Place::empty();
            fs::write(torn.database(), &whole[..length]).unwrap();
            if let Ok(Some(reader)) = SqliteStore::open_reader(&torn.database()) {
                interrogate(&reader);
            }
        }
        for at in (0..whole.len()).step_by(127) {
            let torn = Place::empty();
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            fs::write(torn.database(), &bytes).unwrap();
            if let Ok(Some(reader)) = SqliteStore::open_reader(&torn.database()) {
                interrogate(&reader);
            }
        }
    }
}

mod full_disk {
    use rustix::mount::MountFlags;
    use rustix::mount::UnmountFlags;
    use rustix::mount::mount;
    use rustix::mount::unmount;

    use super::*;

    /// A file system of 256 KiB.
    struct TinyDisk {
        directory: TempDir,
    }

    impl TinyDisk {
        fn mounted() -> Self {
            assert!(
                rustix::process::geteuid().is_root(),
                "this test mounts a tmpfs: run it as root"
            );
            let directory = tempfile::tempdir().unwrap();
            mount(
                "tmpfs",
                directory.path(),
                "tmpfs",
                MountFlags::empty(),
                Some(c"size=256k"),
            )
            .unwrap();
            Self { directory }
        }

        fn database(&self) -> PathBuf {
            self.directory.path().join("store.db")
        }

        /// Takes all the space that is left.
        fn fill(&self) {
            use std::io::Write;
            let mut file = fs::File::create(self.directory.path().join("filler")).unwrap();
            while file.write_all(&[0; 4096]).is_ok() {}
        }

        /// Gives back so many pages of what [`Self::fill`] took.
        fn spare(&self, pages: u64) {
            let filler = self.directory.path().join("filler");
            let filler = fs::File::options().write(true).open(filler).unwrap();
            let size = filler.metadata().unwrap().len();
            filler.set_len(size - pages * 4096).unwrap();
        }

        fn make_room(&self) {
            fs::remove_file(self.directory.path().join("filler")).unwrap();
        }
    }

    impl Drop for TinyDisk {
        fn drop(&mut self) {
            if let Err(error) = unmount(self.directory.path(), UnmountFlags::DETACH) {
                eprintln!("{} stays mounted: {error}", self.directory.path().display());
            }
        }
    }

    fn assert_full<T>(result: Result<T, StoreError>) {
        let error = result.err();
        assert!(matches!(error, Some(StoreError::Full { .. })), "{error:?}");
    }

    #[test]
    fn root_a_save_on_a_full_disk_changes_nothing() {
        let disk = TinyDisk::mounted();
        let mut writer = SqliteStore::open_writer(&disk.database()).unwrap();
        writer.save(&sharing_pair()).unwrap();
        disk.fill();
        let many: Vec<Program> = (100..400).map(|id| program(id, &[])).collect();
        assert_full(writer.save(&many));
        assert_eq!(writer.list().unwrap(), sharing_pair());
        drop(writer);
        disk.make_room();
        let mut writer = SqliteStore::open_writer(&disk.database()).unwrap();
        assert_eq!(writer.list().unwrap(), sharing_pair());
        writer.delete(ProgramId(7)).unwrap();
    }

    #[test]
    fn root_several_changes_on_a_full_disk_change_nothing_and_others_go_on() {
        let many: Vec<StoreChange> = (100..1000)
            .map(|id| StoreChange::SavePrograms(vec![program(id, &[])]))
            .collect();
        for pages in [0, 1, 4, 16] {
            let disk = TinyDisk::mounted();
            let mut writer = SqliteStore::open_writer(&disk.database()).unwrap();
            writer.save(&sharing_pair()).unwrap();
            disk.fill();
            disk.spare(pages);
            assert_full(writer.batch(&many));
            assert_eq!(writer.list().unwrap(), sharing_pair());
            // The same connection: it is in no transaction any more.
            disk.make_room();
            writer.delete(ProgramId(7)).unwrap();
            let reader = SqliteStore::open_reader(&disk.database()).unwrap().unwrap();
            assert_eq!(reader.list().unwrap(), sharing_pair()[1..]);
        }
    }

    #[test]
    fn root_a_full_disk_can_be_read_and_opening_to_write_changes_nothing() {
        let disk = TinyDisk::mounted();
        SqliteStore::open_writer(&disk.database())
            .unwrap()
            .save(&sharing_pair())
            .unwrap();
        let before = fs::read(disk.database()).unwrap();
        disk.fill();
        assert_full(SqliteStore::open_writer(&disk.database()));
        let reader = SqliteStore::open_reader(&disk.database()).unwrap().unwrap();
        assert_eq!(reader.list().unwrap(), sharing_pair());
        drop(reader);
        assert!(fs::read(disk.database()).unwrap() == before);
        disk.make_room();
        let reader = SqliteStore::open_reader(&disk.database()).unwrap().unwrap();
        assert_eq!(reader.list().unwrap(), sharing_pair());
    }

    #[test]
    fn root_a_journal_that_a_full_disk_does_not_take_leaves_the_former_one() {
        let many = Journal {
            actions: vec![journal().actions; 200].concat(),
            ..journal()
        };
        for pages in [0, 1, 4, 16] {
            let disk = TinyDisk::mounted();
            let mut writer = SqliteStore::open_writer(&disk.database()).unwrap();
            writer.save_journal(Some(&journal())).unwrap();
            disk.fill();
            if pages == 0 {
                assert_full(writer.save_journal(None));
                assert_full(writer.save_recovery(&recovery(1)));
            }
            disk.spare(pages);
            assert_full(writer.save_journal(Some(&many)));
            let changes = [
                StoreChange::SavePrograms(sharing_pair().to_vec()),
                StoreChange::SaveJournal(Some(Box::new(many.clone()))),
            ];
            assert_full(writer.batch(&changes));
            assert_eq!(writer.journal().unwrap(), Some(journal()));
            assert_eq!(writer.recoveries().unwrap(), []);
            assert_eq!(writer.list().unwrap(), []);
            disk.make_room();
            writer.save_recovery(&recovery(1)).unwrap();
            let reader = SqliteStore::open_reader(&disk.database()).unwrap().unwrap();
            assert_eq!(reader.journal().unwrap(), None);
            assert_eq!(reader.recoveries().unwrap(), [recovery(1)]);
        }
    }

    #[test]
    fn root_a_migration_on_a_full_disk_changes_nothing() {
        for version in 1..SCHEMA_VERSION {
            let disk = TinyDisk::mounted();
            fs::copy(fixture(&format!("store_v{version}.db")), disk.database()).unwrap();
            let before = fs::read(disk.database()).unwrap();
            disk.fill();
            assert_full(SqliteStore::open_writer(&disk.database()));
            assert!(fs::read(disk.database()).unwrap() == before);
            disk.make_room();
            let mut writer = SqliteStore::open_writer(&disk.database()).unwrap();
            let elsewhere = Place::of_version(version).writer();
            let expected = elsewhere.dispatchers().unwrap();
            assert_eq!(writer.dispatchers().unwrap(), expected);
            writer.save_dispatcher(&dispatcher(3)).unwrap();
            writer.save_journal(Some(&journal())).unwrap();
        }
    }

    #[test]
    fn root_a_database_that_could_not_be_born_on_a_full_disk_is_born_later() {
        let disk = TinyDisk::mounted();
        disk.fill();
        assert_full(SqliteStore::open_writer(&disk.database()));
        assert!(
            SqliteStore::open_reader(&disk.database())
                .unwrap()
                .is_none()
        );
        disk.make_room();
        let mut writer = SqliteStore::open_writer(&disk.database()).unwrap();
        writer.save(&sharing_pair()).unwrap();
    }
}
