//! The store on disk and the store in memory answer alike, whatever is saved in whatever order.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::managed::LoadRecord;
use bpfman_core::managed::ManagedMap;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::KernelTime;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_core::types::Tag;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::interfaces::ProgramLister;
use bpfman_interpreter::interfaces::ProgramReader;
use bpfman_interpreter::interfaces::ProgramWriter;
use bpfman_interpreter::store::memory::MemoryStore;
use bpfman_interpreter::store::sqlite::SqliteStore;
use proptest::collection::btree_map;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Few ids, so that they are recycled and shared all the time.
const PROGRAM_IDS: u32 = 5;
const MAP_IDS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    Save(Vec<Program>),
    Delete(ProgramId),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec(any_program(), 0..4).prop_map(Step::Save),
        2 => any_program_id().prop_map(Step::Delete),
        1 => Just(Step::Reopen),
    ]
}

fn any_program_id() -> impl Strategy<Value = ProgramId> {
    (1..=PROGRAM_IDS).prop_map(ProgramId)
}

fn any_path() -> impl Strategy<Value = AbsolutePath> {
    "(/[a-zA-Z0-9_ é'\"-]{1,12}){1,4}".prop_map(|text| AbsolutePath::parse(&text).unwrap())
}

/// A time that fits a row and, now and then, one that does not.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![40 => 0..=i64::MAX as u64, 1 => any::<u64>()]
}

fn any_map() -> impl Strategy<Value = ManagedMap> {
    (1..=MAP_IDS, any::<String>(), option::of(any_path())).prop_map(|(id, name, pin_path)| {
        ManagedMap {
            id: MapId(id),
            name,
            pin_path,
        }
    })
}

fn any_load() -> impl Strategy<Value = LoadRecord> {
    (
        any_path(),
        option::of(any_path()),
        any::<String>(),
        select(ProgramType::ALL),
        btree_map(
            any::<String>(),
            any::<Vec<u8>>().prop_map(Base64Bytes),
            0..3,
        ),
        option::of(any::<String>()),
        option::of(any::<u32>().prop_map(ProgramId)),
    )
        .prop_map(
            |(
                object_path,
                source_path,
                program_name,
                program_type,
                global_data,
                attach_function,
                map_owner_id,
            )| {
                LoadRecord {
                    object_path,
                    source_path,
                    program_name,
                    program_type,
                    global_data,
                    attach_function,
                    map_owner_id,
                }
            },
        )
}

fn any_identity() -> impl Strategy<Value = ProgramIdentity> {
    (any_program_id(), any::<[u8; 8]>(), any_time()).prop_map(|(id, tag, load_time)| {
        ProgramIdentity {
            id,
            tag: Tag(tag),
            load_time: KernelTime(load_time),
        }
    })
}

fn any_program() -> impl Strategy<Value = Program> {
    let rest = (
        option::of(any::<String>()),
        any::<bool>(),
        any_path(),
        any_path(),
        option::of(any_program_id()),
        btree_map(any::<String>(), any::<String>(), 0..3),
        vec(any_map(), 0..4),
        any_time().prop_map(UnixTime),
        option::of(any_time().prop_map(UnixTime)),
    );
    (any_identity(), any_load(), rest).prop_map(|(identity, load, rest)| {
        let (
            license,
            gpl_compatible,
            pin_path,
            map_directory,
            map_owner,
            metadata,
            maps,
            created_at,
            updated_at,
        ) = rest;
        Program {
            identity,
            load,
            license,
            gpl_compatible,
            pin_path,
            map_directory,
            map_owner,
            metadata,
            maps,
            created_at,
            updated_at,
        }
    })
}

/// Says the same of two outcomes: both went well, or both failed in the same words.
fn agree<T: std::fmt::Debug + PartialEq, E: ToString>(disk: Result<T, E>, memory: Result<T, E>) {
    assert_eq!(
        disk.map_err(|e| e.to_string()),
        memory.map_err(|e| e.to_string())
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_comes_back_as_it_was_saved(mut program in any_program()) {
        let mut named = std::collections::BTreeSet::new();
        program.maps.retain(|map| named.insert(map.id));
        for time in [&mut program.identity.load_time.0, &mut program.created_at.0] {
            *time &= i64::MAX as u64;
        }
        program.updated_at = program.updated_at.map(|time| UnixTime(time.0 & i64::MAX as u64));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        SqliteStore::open_writer(&path).unwrap().save(std::slice::from_ref(&program)).unwrap();
        let reader = SqliteStore::open_reader(&path).unwrap().unwrap();
        prop_assert_eq!(reader.get(program.id()).unwrap(), program);
    }

    #[test]
    fn the_store_on_disk_and_the_store_in_memory_answer_alike(steps in vec(any_step(), 1..20)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let mut disk = SqliteStore::open_writer(&path).unwrap();
        let mut memory = MemoryStore::new();
        for step in steps {
            match step {
                Step::Save(programs) => agree(disk.save(&programs), memory.save(&programs)),
                Step::Delete(id) => agree(disk.delete(id), memory.delete(id)),
                Step::Reopen => {
                    drop(disk);
                    disk = SqliteStore::open_writer(&path).unwrap();
                }
            }
            agree(disk.list(), memory.list());
            for program in memory.list().unwrap() {
                agree(disk.get(program.id()), memory.get(program.id()));
                agree(disk.sharing(&program), memory.sharing(&program));
            }
        }
    }
}
