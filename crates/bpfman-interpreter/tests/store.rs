//! What every store does, asked of both: on disk and in memory.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

#[path = "fixtures/records.rs"]
mod records;

use bpfman_core::managed::Program;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::interfaces::ProgramLister;
use bpfman_interpreter::interfaces::ProgramReader;
use bpfman_interpreter::interfaces::ProgramWriter;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::store::memory::MemoryStore;
use bpfman_interpreter::store::sqlite::SqliteStore;

use self::records::map;
use self::records::path;
use self::records::program;
use self::records::sharing_pair;

trait Store: ProgramReader + ProgramLister + ProgramWriter {}

impl<T: ProgramReader + ProgramLister + ProgramWriter> Store for T {}

/// Runs each behaviour against an empty store of either kind.
macro_rules! every_store {
    ($($behaviour:ident)*) => {
        mod memory {
            $(#[test]
            fn $behaviour() {
                super::$behaviour(&mut super::MemoryStore::new());
            })*
        }

        mod sqlite {
            $(#[test]
            fn $behaviour() {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("store.db");
                super::$behaviour(&mut super::SqliteStore::open_writer(&path).unwrap());
            })*
        }
    };
}

every_store! {
    an_empty_store_lists_nothing
    every_field_of_a_record_comes_back
    the_list_is_in_the_order_of_the_ids
    an_unknown_program_is_not_found
    a_record_with_a_recycled_id_replaces_the_old_one
    the_last_record_of_an_id_in_a_batch_wins
    saving_a_record_again_changes_nothing
    a_recycled_map_id_names_the_new_map
    a_deleted_program_takes_only_its_own_maps_along
    deleting_an_unknown_program_changes_nothing
    a_batch_is_saved_as_a_whole_or_not_at_all
    a_time_that_would_wrap_is_refused
    programs_of_one_map_set_share_even_without_the_owner
    programs_with_a_map_in_common_share
    sharing_is_asked_of_a_record_that_need_not_be_stored
}

fn ids(programs: &[Program]) -> Vec<u32> {
    programs.iter().map(|program| program.id().0).collect()
}

fn an_empty_store_lists_nothing(store: &mut dyn Store) {
    assert_eq!(store.list().unwrap(), []);
    store.save(&[]).unwrap();
    assert_eq!(store.list().unwrap(), []);
}

fn every_field_of_a_record_comes_back(store: &mut dyn Store) {
    let pair = sharing_pair();
    store.save(&pair).unwrap();
    assert_eq!(store.list().unwrap(), pair);
    for program in &pair {
        assert_eq!(store.get(program.id()).unwrap(), *program);
    }
}

fn the_list_is_in_the_order_of_the_ids(store: &mut dyn Store) {
    store.save(&[program(9, &[]), program(3, &[])]).unwrap();
    store
        .save(&[program(u32::MAX, &[]), program(5, &[])])
        .unwrap();
    assert_eq!(ids(&store.list().unwrap()), [3, 5, 9, u32::MAX]);
}

fn an_unknown_program_is_not_found(store: &mut dyn Store) {
    store.save(&[program(1, &[])]).unwrap();
    let error = store.get(ProgramId(2)).unwrap_err();
    assert!(
        matches!(error, StoreError::NotFound(ProgramId(2))),
        "{error}"
    );
    assert_eq!(error.to_string(), "program 2 does not exist");
}

fn a_record_with_a_recycled_id_replaces_the_old_one(store: &mut dyn Store) {
    let [_, full] = sharing_pair();
    store.save(std::slice::from_ref(&full)).unwrap();
    let newcomer = program(full.id().0, &[map(7, "flows")]);
    store.save(std::slice::from_ref(&newcomer)).unwrap();
    assert_eq!(store.list().unwrap(), [newcomer]);
}

fn the_last_record_of_an_id_in_a_batch_wins(store: &mut dyn Store) {
    let last = program(1, &[map(2, "b")]);
    store
        .save(&[program(1, &[map(1, "a")]), last.clone()])
        .unwrap();
    assert_eq!(store.list().unwrap(), [last]);
}

fn saving_a_record_again_changes_nothing(store: &mut dyn Store) {
    let pair = sharing_pair();
    store.save(&pair).unwrap();
    store.save(&pair).unwrap();
    store.save(&pair[..1]).unwrap();
    assert_eq!(store.list().unwrap(), pair);
}

fn a_recycled_map_id_names_the_new_map(store: &mut dyn Store) {
    store
        .save(&[program(1, &[map(10, "old"), map(11, "own")])])
        .unwrap();
    let mut renamed = map(10, "new");
    renamed.pin_path = None;
    store
        .save(&[program(2, std::slice::from_ref(&renamed))])
        .unwrap();
    assert_eq!(
        store.get(ProgramId(1)).unwrap().maps,
        [renamed.clone(), map(11, "own")]
    );
    assert_eq!(store.get(ProgramId(2)).unwrap().maps, [renamed]);
}

fn a_deleted_program_takes_only_its_own_maps_along(store: &mut dyn Store) {
    let survivor = program(2, &[map(10, "shared")]);
    store
        .save(&[
            program(1, &[map(10, "shared"), map(11, "own")]),
            survivor.clone(),
        ])
        .unwrap();
    store.delete(ProgramId(1)).unwrap();
    assert_eq!(store.list().unwrap(), [survivor]);
    assert!(matches!(
        store.get(ProgramId(1)),
        Err(StoreError::NotFound(ProgramId(1)))
    ));
}

fn deleting_an_unknown_program_changes_nothing(store: &mut dyn Store) {
    let pair = sharing_pair();
    store.save(&pair).unwrap();
    let error = store.delete(ProgramId(8)).unwrap_err();
    assert!(
        matches!(error, StoreError::NotFound(ProgramId(8))),
        "{error}"
    );
    assert_eq!(store.list().unwrap(), pair);
}

fn a_batch_is_saved_as_a_whole_or_not_at_all(store: &mut dyn Store) {
    let before = program(1, &[map(1, "kept")]);
    store.save(std::slice::from_ref(&before)).unwrap();
    let mut impossible = program(3, &[]);
    impossible.created_at = UnixTime(u64::MAX);
    let batch = [program(1, &[map(1, "lost")]), program(2, &[]), impossible];
    store.save(&batch).unwrap_err();
    assert_eq!(store.list().unwrap(), [before]);
}

fn a_time_that_would_wrap_is_refused(store: &mut dyn Store) {
    let latest = i64::MAX as u64;
    let mut late = program(4, &[]);
    late.identity.load_time.0 = latest;
    late.created_at = UnixTime(latest);
    late.updated_at = Some(UnixTime(latest));
    store.save(std::slice::from_ref(&late)).unwrap();
    assert_eq!(store.list().unwrap(), [late.clone()]);
    let refused = |field: &str, change: fn(&mut Program)| {
        let mut program = late.clone();
        change(&mut program);
        (field.to_owned(), program)
    };
    for (name, program) in [
        refused("load_time", |program| program.identity.load_time.0 += 1),
        refused("created_at", |program| program.created_at.0 += 1),
        refused("updated_at", |program| {
            program.updated_at = Some(UnixTime(u64::MAX))
        }),
    ] {
        let error = store.save(&[program]).unwrap_err();
        let expected =
            matches!(&error, StoreError::Unstorable { id: ProgramId(4), field } if *field == name);
        assert!(expected, "{name}: {error}");
    }
}

fn programs_of_one_map_set_share_even_without_the_owner(store: &mut dyn Store) {
    let heir = |id: u32| {
        let mut heir = program(id, &[]);
        heir.map_owner = Some(ProgramId(1));
        heir.map_directory = path("/run/bpfman/fs/maps/1");
        heir
    };
    let owner = program(1, &[]);
    store
        .save(&[
            heir(4),
            owner.clone(),
            heir(2),
            program(3, &[map(1, "alone")]),
        ])
        .unwrap();
    assert_eq!(ids(&store.sharing(&owner).unwrap()), [2, 4]);
    assert_eq!(ids(&store.sharing(&heir(2)).unwrap()), [1, 4]);
    store.delete(ProgramId(1)).unwrap();
    assert_eq!(store.sharing(&heir(2)).unwrap(), [heir(4)]);
    assert_eq!(store.sharing(&program(3, &[map(1, "alone")])).unwrap(), []);
}

fn programs_with_a_map_in_common_share(store: &mut dyn Store) {
    let first = program(1, &[map(10, "a"), map(11, "b")]);
    let second = program(2, &[map(12, "c"), map(11, "b"), map(10, "a")]);
    let third = program(3, &[map(12, "c")]);
    store
        .save(&[third.clone(), second.clone(), first.clone()])
        .unwrap();
    assert_eq!(ids(&store.sharing(&first).unwrap()), [2]);
    assert_eq!(store.sharing(&second).unwrap(), [first, third.clone()]);
    assert_eq!(store.sharing(&third).unwrap(), [second]);
}

fn sharing_is_asked_of_a_record_that_need_not_be_stored(store: &mut dyn Store) {
    let stored = program(1, &[map(10, "a")]);
    store.save(std::slice::from_ref(&stored)).unwrap();
    let mut stranger = program(5, &[]);
    assert_eq!(store.sharing(&stranger).unwrap(), []);
    stranger.maps.push(map(10, "a"));
    assert_eq!(ids(&store.sharing(&stranger).unwrap()), [1]);
    stranger.maps[0].id = MapId(11);
    stranger.map_owner = Some(ProgramId(1));
    assert_eq!(store.sharing(&stranger).unwrap(), [stored]);
}

#[test]
fn a_clone_of_a_memory_store_goes_its_own_way() {
    let mut store = MemoryStore::new();
    store.save(&sharing_pair()).unwrap();
    let copy = store.clone();
    store.delete(ProgramId(7)).unwrap();
    assert_eq!(copy.list().unwrap(), sharing_pair());
    assert_eq!(ids(&store.list().unwrap()), [42]);
}
