//! The store on disk and the store in memory answer alike, whatever is saved in whatever order.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

#[path = "fixtures/any_dispatcher.rs"]
mod any_dispatcher;
#[path = "fixtures/any_journal.rs"]
mod any_journal;
#[path = "fixtures/any_link.rs"]
mod any_link;

use std::collections::BTreeSet;

use bpfman_core::action::Journal;
use bpfman_core::action::StoreAction;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::LoadRecord;
use bpfman_core::managed::ManagedMap;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::Engine;
use bpfman_core::types::KernelTime;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_core::types::Tag;
use bpfman_core::types::TypedPath;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::interfaces::DispatcherReader;
use bpfman_interpreter::interfaces::DispatcherWriter;
use bpfman_interpreter::interfaces::JournalReader;
use bpfman_interpreter::interfaces::JournalWriter;
use bpfman_interpreter::interfaces::LinkLister;
use bpfman_interpreter::interfaces::LinkReader;
use bpfman_interpreter::interfaces::LinkWriter;
use bpfman_interpreter::interfaces::ProgramLister;
use bpfman_interpreter::interfaces::ProgramReader;
use bpfman_interpreter::interfaces::ProgramWriter;
use bpfman_interpreter::interfaces::StoreChange;
use bpfman_interpreter::interfaces::StoreWriter;
use bpfman_interpreter::store::memory::MemoryStore;
use bpfman_interpreter::store::sqlite::SqliteStore;
use proptest::collection::btree_map;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use self::any_dispatcher::any_dispatcher;
use self::any_journal::any_journal;
use self::any_journal::any_recovery;
use self::any_link::any_link;
use self::any_link::any_link_id;

/// Few ids, so that they are recycled and shared all the time.
const PROGRAM_IDS: u32 = 5;
const MAP_IDS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    Change(Box<StoreChange>),
    Batch(Vec<StoreChange>),
    Recover(Vec<Recovery>),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        19 => any_change().prop_map(|change| Step::Change(Box::new(change))),
        4 => vec(any_change(), 0..5).prop_map(Step::Batch),
        // Now and then more of them than are kept.
        2 => vec(any_recovery(any_time()), 1..12).prop_map(Step::Recover),
        1 => Just(Step::Reopen),
    ]
}

fn any_change() -> impl Strategy<Value = StoreChange> {
    prop_oneof![
        4 => vec(any_program(), 0..4).prop_map(StoreChange::SavePrograms),
        2 => any_program_id().prop_map(StoreChange::DeleteProgram),
        6 => a_link().prop_map(StoreChange::SaveLink),
        2 => any_link_id().prop_map(StoreChange::DeleteLink),
        3 => a_dispatcher().prop_map(StoreChange::SaveDispatcher),
        2 => a_dispatcher().prop_map(|dispatcher| StoreChange::DeleteDispatcher(dispatcher.point())),
        3 => option::of(a_journal().prop_map(Box::new)).prop_map(StoreChange::SaveJournal),
    ]
}

/// Makes changes in both; the ids of the links that were saved, also of those that are gone again.
fn change_both(
    disk: &mut SqliteStore,
    memory: &mut MemoryStore,
    changes: &[StoreChange],
) -> Vec<u32> {
    let (on_disk, in_memory) = match changes {
        [one] => (one.apply(disk), one.apply(memory)),
        several => (disk.batch(several), memory.batch(several)),
    };
    let made = in_memory.is_ok();
    agree(on_disk, in_memory);
    let saved = changes.iter().filter_map(|change| match change {
        StoreChange::SaveLink(link) if made => Some(link.id.0),
        _ => None,
    });
    saved.collect()
}

fn any_program_id() -> impl Strategy<Value = ProgramId> {
    (1..=PROGRAM_IDS).prop_map(ProgramId)
}

fn any_path() -> BoxedStrategy<AbsolutePath> {
    "(/[a-zA-Z0-9_ é'\"-]{1,12}){1,4}"
        .prop_map(|text| AbsolutePath::parse(&text).unwrap())
        .boxed()
}

fn a_link() -> impl Strategy<Value = Link> {
    any_link(any_program_id(), any_path, any_time())
}

fn a_dispatcher() -> impl Strategy<Value = Dispatcher> {
    any_dispatcher(any_path)
}

fn a_journal() -> impl Strategy<Value = Journal> {
    let of_records = prop_oneof![
        any_program().prop_map(|program| StoreAction::SaveProgram {
            program: Box::new(program)
        }),
        a_link().prop_map(|link| StoreAction::SaveLink {
            link: Box::new(link)
        }),
        a_dispatcher().prop_map(|dispatcher| StoreAction::SaveDispatcher {
            dispatcher: Box::new(dispatcher)
        }),
        any_program_id().prop_map(|id| StoreAction::DeleteProgram { program: id.into() }),
        any_link_id().prop_map(|id| StoreAction::DeleteLink { id }),
        a_dispatcher().prop_map(|dispatcher| StoreAction::DeleteDispatcher {
            point: dispatcher.point()
        }),
    ];
    any_journal(any_path, of_records.boxed())
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
        btree_map(any::<String>(), any::<u32>(), 0..3),
        select(vec![Engine::Auto, Engine::Extension]),
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
                map_sizes,
                engine,
                attach_function,
                map_owner_id,
            )| {
                LoadRecord {
                    object_path,
                    source_path: source_path.as_ref().map(TypedPath::from),
                    program_name,
                    program_type,
                    global_data,
                    map_sizes,
                    engine,
                    attach_function,
                    map_owner_id,
                }
            },
        )
}

/// Often the same program as before, often another one with its id.
fn any_identity() -> impl Strategy<Value = ProgramIdentity> {
    let tag = prop_oneof![8 => Just([0xab; 8]), 1 => any::<[u8; 8]>()];
    let load_time = prop_oneof![8 => Just(1u64), 1 => any_time()];
    (any_program_id(), tag, load_time).prop_map(|(id, tag, load_time)| ProgramIdentity {
        id,
        tag: Tag(tag),
        load_time: KernelTime(load_time),
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

/// Asks both everything there is to ask.
fn answer_alike(disk: &SqliteStore, memory: &MemoryStore) {
    agree(disk.list(), memory.list());
    for program in memory.list().unwrap() {
        agree(disk.get(program.id()), memory.get(program.id()));
        agree(disk.sharing(&program), memory.sharing(&program));
    }
    agree(disk.links(), memory.links());
    agree(disk.next_link(), memory.next_link());
    for link in memory.links().unwrap() {
        agree(disk.link(link.id), memory.link(link.id));
        memory.get(link.program).unwrap();
        if let Some(point) = link.details.attach_point() {
            agree(disk.links_at(&point), memory.links_at(&point));
        }
    }
    agree(disk.dispatchers(), memory.dispatchers());
    for dispatcher in memory.dispatchers().unwrap() {
        let point = dispatcher.point();
        agree(disk.dispatcher(&point), memory.dispatcher(&point));
    }
    agree(disk.journal(), memory.journal());
    agree(disk.recoveries(), memory.recoveries());
    for id in (1..=PROGRAM_IDS).map(ProgramId) {
        agree(disk.links_of(id), memory.links_of(id));
    }
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
    fn a_link_comes_back_as_it_was_saved(program in any_program(), link in a_link()) {
        let fits = |time: u64| time & i64::MAX as u64;
        let program = Program {
            identity: ProgramIdentity { id: link.program, ..program.identity },
            created_at: UnixTime(fits(program.created_at.0)),
            updated_at: None,
            ..program
        };
        prop_assume!(i64::try_from(program.identity.load_time.0).is_ok());
        let link = Link { created_at: UnixTime(fits(link.created_at.0)), ..link };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let mut writer = SqliteStore::open_writer(&path).unwrap();
        writer.save(&[program]).unwrap();
        writer.save_link(&link).unwrap();
        let reader = SqliteStore::open_reader(&path).unwrap().unwrap();
        prop_assert_eq!(reader.link(link.id).unwrap(), link);
    }

    #[test]
    fn a_dispatcher_comes_back_as_it_was_saved(dispatcher in a_dispatcher()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        SqliteStore::open_writer(&path).unwrap().save_dispatcher(&dispatcher).unwrap();
        let reader = SqliteStore::open_reader(&path).unwrap().unwrap();
        prop_assert_eq!(reader.dispatcher(&dispatcher.point()).unwrap(), Some(dispatcher));
    }

    #[test]
    fn a_journal_comes_back_as_it_was_saved(journal in a_journal()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        SqliteStore::open_writer(&path).unwrap().save_journal(Some(&journal)).unwrap();
        let reader = SqliteStore::open_reader(&path).unwrap().unwrap();
        prop_assert_eq!(reader.journal().unwrap(), Some(journal));
    }

    #[test]
    fn the_store_on_disk_and_the_store_in_memory_answer_alike(steps in vec(any_step(), 1..24)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let mut disk = SqliteStore::open_writer(&path).unwrap();
        let mut memory = MemoryStore::new();
        let mut ever = BTreeSet::new();
        for step in steps {
            match step {
                Step::Change(change) => {
                    ever.extend(change_both(&mut disk, &mut memory, &[*change]));
                }
                Step::Batch(changes) => {
                    ever.extend(change_both(&mut disk, &mut memory, &changes));
                }
                Step::Recover(recoveries) => {
                    for recovery in &recoveries {
                        agree(disk.save_recovery(recovery), memory.save_recovery(recovery));
                    }
                }
                Step::Reopen => {
                    drop(disk);
                    disk = SqliteStore::open_writer(&path).unwrap();
                }
            }
            answer_alike(&disk, &memory);
            let next = ever.last().map_or(Some(1), |last| last.checked_add(1));
            assert_eq!(disk.next_link().ok(), next.map(LinkId), "of {ever:?}");
        }
    }
}
