//! What every store does, asked of both: on disk and in memory.

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

use std::collections::BTreeSet;

use bpfman_core::action::Action;
use bpfman_core::action::Journal;
use bpfman_core::action::Way;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::LinkDetails;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::LinkKind;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::Direction;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::NetnsId;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use bpfman_core::types::XdpMode;
use bpfman_interpreter::interfaces::DispatcherReader;
use bpfman_interpreter::interfaces::DispatcherWriter;
use bpfman_interpreter::interfaces::JournalReader;
use bpfman_interpreter::interfaces::JournalWriter;
use bpfman_interpreter::interfaces::LinkLister;
use bpfman_interpreter::interfaces::LinkWriter;
use bpfman_interpreter::interfaces::MAX_RECOVERIES;
use bpfman_interpreter::interfaces::ProgramLister;
use bpfman_interpreter::interfaces::ProgramWriter;
use bpfman_interpreter::interfaces::StoreChange;
use bpfman_interpreter::interfaces::StoreWriter;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::runtime::WriterStore;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::store::memory::MemoryStore;
use bpfman_interpreter::store::sqlite::SqliteStore;

use self::dispatchers::dispatcher;
use self::dispatchers::dispatchers;
use self::dispatchers::filtered;
use self::journals::journal;
use self::journals::plain_journal;
use self::journals::recoveries;
use self::journals::recovery;
use self::links::interface;
use self::links::link;
use self::links::links;
use self::links::tcx;
use self::records::map;
use self::records::path;
use self::records::program;
use self::records::sharing_pair;

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
    an_empty_store_has_no_links_and_starts_at_one
    every_field_of_every_kind_of_link_comes_back
    the_links_are_in_the_order_of_their_ids
    an_unknown_link_is_not_found
    a_link_of_an_unknown_program_is_not_saved
    a_link_with_the_same_id_is_replaced
    links_may_share_a_kernel_id
    the_links_of_a_program_are_its_own
    the_links_of_a_point_are_those_of_its_hook_interface_and_namespace
    a_link_that_moved_is_found_only_where_it_is_now
    the_next_link_comes_after_every_link_there_ever_was
    the_last_link_id_is_used_once
    deleting_an_unknown_link_changes_nothing
    a_time_of_a_link_that_would_wrap_is_refused
    a_program_that_is_saved_again_keeps_its_links
    a_program_with_a_recycled_id_does_not_inherit_links
    a_deleted_program_takes_only_its_own_links_along
    a_batch_that_fails_leaves_the_links
    an_empty_store_has_no_dispatchers
    every_field_of_every_form_of_dispatcher_comes_back
    the_dispatchers_are_in_the_order_of_their_points
    a_dispatcher_is_found_at_its_point_only
    a_dispatcher_of_the_same_point_is_replaced
    deleting_an_unknown_dispatcher_changes_nothing
    a_dispatcher_stays_when_its_members_go
    an_empty_store_has_no_journal_and_no_recoveries
    every_field_of_a_journal_comes_back
    a_journal_takes_the_place_of_the_former_one
    a_journal_is_cleared_as_often_as_one_likes
    a_journal_is_saved_together_with_other_changes
    a_journal_stays_when_what_was_to_change_with_it_cannot
    of_several_journals_saved_together_the_last_one_is_there
    a_journal_stays_when_the_records_change
    every_field_of_a_recovery_comes_back
    a_recovery_ends_the_operation_under_way
    the_recoveries_are_in_the_order_in_which_they_were_saved
    only_the_last_recoveries_are_kept
    a_recovery_centuries_ahead_is_saved_with_the_last_time_there_is
    several_changes_are_made_together_in_their_order
    of_several_changes_none_is_made_when_one_cannot_be
}

fn ids(programs: &[Program]) -> Vec<u32> {
    programs.iter().map(|program| program.id().0).collect()
}

fn link_ids(links: &[Link]) -> Vec<u32> {
    links.iter().map(|link| link.id.0).collect()
}

/// A link of which only its id and its program matter.
fn plain(id: u32, program: u32) -> Link {
    link(id, program, tcx(2, Direction::Ingress))
}

/// Saves the sharing pair and these links of theirs.
fn fill(store: &mut dyn WriterStore, links: &[Link]) {
    store.save(&sharing_pair()).unwrap();
    for link in links {
        store.save_link(link).unwrap();
    }
}

fn an_empty_store_lists_nothing(store: &mut dyn WriterStore) {
    assert_eq!(store.list().unwrap(), []);
    store.save(&[]).unwrap();
    assert_eq!(store.list().unwrap(), []);
}

fn every_field_of_a_record_comes_back(store: &mut dyn WriterStore) {
    let pair = sharing_pair();
    store.save(&pair).unwrap();
    assert_eq!(store.list().unwrap(), pair);
    for program in &pair {
        assert_eq!(store.get(program.id()).unwrap(), *program);
    }
}

fn the_list_is_in_the_order_of_the_ids(store: &mut dyn WriterStore) {
    store.save(&[program(9, &[]), program(3, &[])]).unwrap();
    store
        .save(&[program(u32::MAX, &[]), program(5, &[])])
        .unwrap();
    assert_eq!(ids(&store.list().unwrap()), [3, 5, 9, u32::MAX]);
}

fn an_unknown_program_is_not_found(store: &mut dyn WriterStore) {
    store.save(&[program(1, &[])]).unwrap();
    let error = store.get(ProgramId(2)).unwrap_err();
    assert!(
        matches!(error, StoreError::NotFound(ProgramId(2))),
        "{error}"
    );
    assert_eq!(error.to_string(), "program 2 does not exist");
}

fn a_record_with_a_recycled_id_replaces_the_old_one(store: &mut dyn WriterStore) {
    let [_, full] = sharing_pair();
    store.save(std::slice::from_ref(&full)).unwrap();
    let newcomer = program(full.id().0, &[map(7, "flows")]);
    store.save(std::slice::from_ref(&newcomer)).unwrap();
    assert_eq!(store.list().unwrap(), [newcomer]);
}

fn the_last_record_of_an_id_in_a_batch_wins(store: &mut dyn WriterStore) {
    let last = program(1, &[map(2, "b")]);
    store
        .save(&[program(1, &[map(1, "a")]), last.clone()])
        .unwrap();
    assert_eq!(store.list().unwrap(), [last]);
}

fn saving_a_record_again_changes_nothing(store: &mut dyn WriterStore) {
    let pair = sharing_pair();
    store.save(&pair).unwrap();
    store.save(&pair).unwrap();
    store.save(&pair[..1]).unwrap();
    assert_eq!(store.list().unwrap(), pair);
}

fn a_recycled_map_id_names_the_new_map(store: &mut dyn WriterStore) {
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

fn a_deleted_program_takes_only_its_own_maps_along(store: &mut dyn WriterStore) {
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

fn deleting_an_unknown_program_changes_nothing(store: &mut dyn WriterStore) {
    let pair = sharing_pair();
    store.save(&pair).unwrap();
    let error = store.delete(ProgramId(8)).unwrap_err();
    assert!(
        matches!(error, StoreError::NotFound(ProgramId(8))),
        "{error}"
    );
    assert_eq!(store.list().unwrap(), pair);
}

fn a_batch_is_saved_as_a_whole_or_not_at_all(store: &mut dyn WriterStore) {
    let before = program(1, &[map(1, "kept")]);
    store.save(std::slice::from_ref(&before)).unwrap();
    let mut impossible = program(3, &[]);
    impossible.created_at = UnixTime(u64::MAX);
    let batch = [program(1, &[map(1, "lost")]), program(2, &[]), impossible];
    store.save(&batch).unwrap_err();
    assert_eq!(store.list().unwrap(), [before]);
}

fn a_time_that_would_wrap_is_refused(store: &mut dyn WriterStore) {
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

fn programs_of_one_map_set_share_even_without_the_owner(store: &mut dyn WriterStore) {
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

fn programs_with_a_map_in_common_share(store: &mut dyn WriterStore) {
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

fn sharing_is_asked_of_a_record_that_need_not_be_stored(store: &mut dyn WriterStore) {
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

fn an_empty_store_has_no_links_and_starts_at_one(store: &mut dyn WriterStore) {
    let point = tcx(2, Direction::Ingress).attach_point().unwrap();
    assert_eq!(store.links().unwrap(), []);
    assert_eq!(store.links_of(ProgramId(7)).unwrap(), []);
    assert_eq!(store.links_at(&point).unwrap(), []);
    assert_eq!(store.next_link().unwrap(), LinkId(1));
}

fn every_field_of_every_kind_of_link_comes_back(store: &mut dyn WriterStore) {
    let links = links();
    let kinds: BTreeSet<LinkKind> = links.iter().map(Link::kind).collect();
    let all: BTreeSet<LinkKind> = LinkKind::ALL.iter().copied().collect();
    assert_eq!(kinds, all, "say here what a new kind looks like");
    fill(store, &links);
    assert_eq!(store.links().unwrap(), links);
    for link in links {
        assert_eq!(store.link(link.id).unwrap(), link);
    }
}

fn the_links_are_in_the_order_of_their_ids(store: &mut dyn WriterStore) {
    fill(
        store,
        &[plain(9, 7), plain(3, 42), plain(70_000, 7), plain(5, 7)],
    );
    let point = plain(1, 7).details.attach_point().unwrap();
    assert_eq!(link_ids(&store.links().unwrap()), [3, 5, 9, 70_000]);
    assert_eq!(
        link_ids(&store.links_at(&point).unwrap()),
        [3, 5, 9, 70_000]
    );
    let of_seven = store.links_of(ProgramId(7)).unwrap();
    assert_eq!(link_ids(&of_seven), [5, 9, 70_000]);
}

fn an_unknown_link_is_not_found(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7)]);
    let error = store.link(LinkId(2)).unwrap_err();
    assert!(
        matches!(error, StoreError::LinkNotFound(LinkId(2))),
        "{error}"
    );
    assert_eq!(error.to_string(), "link 2 does not exist");
}

fn a_link_of_an_unknown_program_is_not_saved(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7)]);
    for id in [1, 2] {
        let error = store.save_link(&plain(id, 8)).unwrap_err();
        assert!(
            matches!(error, StoreError::NotFound(ProgramId(8))),
            "{error}"
        );
    }
    assert_eq!(store.links().unwrap(), [plain(1, 7)]);
    assert_eq!(store.next_link().unwrap(), LinkId(2));
}

fn a_link_with_the_same_id_is_replaced(store: &mut dyn WriterStore) {
    let mut links = links();
    let full = links.remove(0);
    fill(store, &[full.clone(), plain(2, 7)]);
    let bare = plain(1, 7);
    for newest in [&bare, &full] {
        store.save_link(newest).unwrap();
        assert_eq!(store.links().unwrap(), [newest.clone(), plain(2, 7)]);
        assert_eq!(store.next_link().unwrap(), LinkId(3));
    }
}

fn links_may_share_a_kernel_id(store: &mut dyn WriterStore) {
    let twins = [1, 2].map(|id| Link {
        kernel: Some(KernelLinkId(5)),
        ..plain(id, 7)
    });
    fill(store, &twins);
    assert_eq!(store.links().unwrap(), twins);
}

fn the_links_of_a_program_are_its_own(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7), plain(2, 42), plain(3, 7)]);
    let of_seven = store.links_of(ProgramId(7)).unwrap();
    assert_eq!(of_seven, [plain(1, 7), plain(3, 7)]);
    assert_eq!(store.links_of(ProgramId(42)).unwrap(), [plain(2, 42)]);
    assert_eq!(store.links_of(ProgramId(8)).unwrap(), []);
}

/// The details of every attach point that differs from the others in one respect.
fn neighbours() -> Vec<LinkDetails> {
    let priority = Priority::new(50).unwrap();
    let elsewhere = LinkInterface {
        nsid: NetnsId(1),
        ..interface(2)
    };
    let tc = |direction| {
        LinkDetails::Tc(bpfman_core::links::Tc {
            at: interface(2),
            direction,
            priority,
            proceed_on: Vec::new(),
            counter: None,
        })
    };
    let netkit = |peer| {
        LinkDetails::Netkit(bpfman_core::links::Netkit {
            at: interface(2),
            peer,
            priority,
        })
    };
    vec![
        LinkDetails::Xdp(bpfman_core::links::Xdp {
            at: interface(2),
            priority,
            proceed_on: Vec::new(),
            mode: XdpMode::Auto,
            counter: None,
        }),
        tc(Direction::Ingress),
        tc(Direction::Egress),
        tcx(2, Direction::Ingress),
        tcx(2, Direction::Egress),
        tcx(22, Direction::Ingress),
        LinkDetails::Tcx(bpfman_core::links::Tcx {
            at: elsewhere,
            direction: Direction::Ingress,
            priority,
        }),
        netkit(false),
        netkit(true),
    ]
}

fn the_links_of_a_point_are_those_of_its_hook_interface_and_namespace(store: &mut dyn WriterStore) {
    let neighbours = neighbours();
    // Two at every point, and one that has none.
    let alone = LinkDetails::SkLookup(bpfman_core::links::WholeNamespace {
        netns: None,
        nsid: NetnsId(1),
    });
    let twice = neighbours.iter().chain(&neighbours);
    let links: Vec<Link> = (1..)
        .zip(twice.chain([&alone]))
        .map(|(id, details)| link(id, if id % 2 == 1 { 42 } else { 7 }, details.clone()))
        .collect();
    fill(store, &links);
    for (first, details) in neighbours.iter().enumerate() {
        let point = details.attach_point().unwrap();
        let expected = [first, first + neighbours.len()].map(|at| links[at].clone());
        assert_eq!(store.links_at(&point).unwrap(), expected, "{point}");
    }
}

fn a_link_that_moved_is_found_only_where_it_is_now(store: &mut dyn WriterStore) {
    let [before, after] = [Direction::Ingress, Direction::Egress].map(|to| tcx(2, to));
    fill(store, &[link(1, 7, before.clone())]);
    let moved = link(1, 42, after.clone());
    store.save_link(&moved).unwrap();
    let at = |details: &LinkDetails| store.links_at(&details.attach_point().unwrap()).unwrap();
    assert_eq!(at(&before), []);
    assert_eq!(at(&after), std::slice::from_ref(&moved));
    assert_eq!(store.links_of(ProgramId(7)).unwrap(), []);
    assert_eq!(store.links_of(ProgramId(42)).unwrap(), [moved]);
}

fn the_next_link_comes_after_every_link_there_ever_was(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7), plain(8, 42), plain(3, 7)]);
    assert_eq!(store.next_link().unwrap(), LinkId(9));
    store.delete_link(LinkId(8)).unwrap();
    assert_eq!(store.next_link().unwrap(), LinkId(9));
    store.save_link(&plain(9, 7)).unwrap();
    store.save_link(&plain(2, 7)).unwrap();
    assert_eq!(store.next_link().unwrap(), LinkId(10));
    for program in [7, 42] {
        store.delete(ProgramId(program)).unwrap();
    }
    assert_eq!(store.links().unwrap(), []);
    assert_eq!(store.next_link().unwrap(), LinkId(10));
}

fn the_last_link_id_is_used_once(store: &mut dyn WriterStore) {
    fill(store, &[plain(u32::MAX - 1, 7)]);
    assert_eq!(store.next_link().unwrap(), LinkId(u32::MAX));
    store.save_link(&plain(u32::MAX, 7)).unwrap();
    store.delete_link(LinkId(u32::MAX)).unwrap();
    let error = store.next_link().unwrap_err();
    assert!(matches!(error, StoreError::NoLinkIdLeft), "{error}");
}

fn deleting_an_unknown_link_changes_nothing(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7), plain(2, 7)]);
    store.delete_link(LinkId(1)).unwrap();
    for id in [1, 3] {
        let error = store.delete_link(LinkId(id)).unwrap_err();
        let expected = matches!(error, StoreError::LinkNotFound(LinkId(it)) if it == id);
        assert!(expected, "{error}");
    }
    assert_eq!(store.links().unwrap(), [plain(2, 7)]);
    assert_eq!(store.list().unwrap(), sharing_pair());
}

fn a_time_of_a_link_that_would_wrap_is_refused(store: &mut dyn WriterStore) {
    let at = |time| Link {
        created_at: UnixTime(time),
        ..plain(1, 7)
    };
    let latest = at(i64::MAX as u64);
    fill(store, std::slice::from_ref(&latest));
    let error = store.save_link(&at(i64::MAX as u64 + 1)).unwrap_err();
    let expected = "link 1 cannot be stored: its created_at is after the year 2262";
    assert_eq!(error.to_string(), expected);
    let late = Link {
        id: LinkId(9),
        ..at(u64::MAX)
    };
    store.save_link(&late).unwrap_err();
    assert_eq!(store.links().unwrap(), [latest]);
    assert_eq!(store.next_link().unwrap(), LinkId(2));
}

fn a_program_that_is_saved_again_keeps_its_links(store: &mut dyn WriterStore) {
    let links = links();
    fill(store, &links);
    store.save(&sharing_pair()).unwrap();
    assert_eq!(store.links().unwrap(), links);
    let [_, full] = sharing_pair();
    let bare = Program {
        identity: full.identity,
        ..program(42, &[map(9, "new")])
    };
    for newest in [bare, full] {
        store.save(std::slice::from_ref(&newest)).unwrap();
        assert_eq!(store.get(ProgramId(42)).unwrap(), newest);
        assert_eq!(store.links().unwrap(), links);
    }
}

fn a_program_with_a_recycled_id_does_not_inherit_links(store: &mut dyn WriterStore) {
    let [_, full] = sharing_pair();
    let with = |change: fn(&mut Program)| {
        let mut other = full.clone();
        change(&mut other);
        other
    };
    for newcomer in [
        with(|program| program.identity.tag.0[7] ^= 1),
        with(|program| program.identity.load_time.0 += 1),
    ] {
        fill(store, &[plain(1, 42), plain(2, 7)]);
        store.save(std::slice::from_ref(&newcomer)).unwrap();
        assert_eq!(store.get(ProgramId(42)).unwrap(), newcomer);
        assert_eq!(store.links().unwrap(), [plain(2, 7)]);
        assert_eq!(store.links_of(ProgramId(42)).unwrap(), []);
        // Not even when it was another one only for the moment.
        store.save_link(&plain(1, 42)).unwrap();
        store.save(&[full.clone(), newcomer]).unwrap();
        assert_eq!(store.links().unwrap(), [plain(2, 7)]);
    }
    assert_eq!(store.next_link().unwrap(), LinkId(3));
}

fn a_deleted_program_takes_only_its_own_links_along(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 42), plain(2, 7), plain(3, 42)]);
    store.delete(ProgramId(42)).unwrap();
    assert_eq!(store.links().unwrap(), [plain(2, 7)]);
    assert!(matches!(
        store.link(LinkId(1)),
        Err(StoreError::LinkNotFound(LinkId(1)))
    ));
    store.save(&sharing_pair()).unwrap();
    assert_eq!(store.links_of(ProgramId(42)).unwrap(), []);
}

fn a_batch_that_fails_leaves_the_links(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 42), plain(2, 7)]);
    let mut impossible = program(3, &[]);
    impossible.created_at = UnixTime(u64::MAX);
    store.save(&[program(42, &[]), impossible]).unwrap_err();
    assert_eq!(store.links().unwrap(), [plain(1, 42), plain(2, 7)]);
    store.delete(ProgramId(8)).unwrap_err();
    assert_eq!(store.links().unwrap(), [plain(1, 42), plain(2, 7)]);
}

fn save_dispatchers(store: &mut dyn WriterStore, dispatchers: &[Dispatcher]) {
    for dispatcher in dispatchers {
        store.save_dispatcher(dispatcher).unwrap();
    }
}

fn an_empty_store_has_no_dispatchers(store: &mut dyn WriterStore) {
    assert_eq!(store.dispatchers().unwrap(), []);
    assert_eq!(store.dispatcher(&dispatcher(2).point()).unwrap(), None);
}

fn every_field_of_every_form_of_dispatcher_comes_back(store: &mut dyn WriterStore) {
    let dispatchers = dispatchers();
    let forms: BTreeSet<&str> = dispatchers.iter().map(|it| it.form.name()).collect();
    assert_eq!(forms, BTreeSet::from(["chain", "direct", "extension"]));
    save_dispatchers(store, &dispatchers);
    assert_eq!(store.dispatchers().unwrap(), dispatchers);
    for dispatcher in dispatchers {
        let found = store.dispatcher(&dispatcher.point()).unwrap();
        assert_eq!(found, Some(dispatcher));
    }
}

fn the_dispatchers_are_in_the_order_of_their_points(store: &mut dyn WriterStore) {
    let elsewhere = |nsid| Dispatcher {
        at: LinkInterface {
            nsid: NetnsId(nsid),
            ..interface(1)
        },
        ..dispatcher(1)
    };
    // By hook, namespace and interface, all but the hooks as numbers.
    let sorted = [
        elsewhere(9),
        elsewhere(10),
        dispatcher(2),
        dispatcher(10),
        elsewhere(u64::MAX),
        filtered(1, Direction::Ingress),
        filtered(1, Direction::Egress),
    ];
    for at in [3, 0, 6, 4, 2, 5, 1] {
        store.save_dispatcher(&sorted[at]).unwrap();
    }
    assert_eq!(store.dispatchers().unwrap(), sorted);
}

fn a_dispatcher_is_found_at_its_point_only(store: &mut dyn WriterStore) {
    let [ingress, egress] = [Direction::Ingress, Direction::Egress].map(|to| filtered(2, to));
    save_dispatchers(store, &[dispatcher(2), ingress.clone()]);
    let at = |point: AttachPoint| store.dispatcher(&point).unwrap();
    assert_eq!(at(dispatcher(2).point()), Some(dispatcher(2)));
    assert_eq!(at(ingress.point()), Some(ingress.clone()));
    assert_eq!(at(egress.point()), None);
    assert_eq!(at(dispatcher(22).point()), None);
    let elsewhere = AttachPoint {
        nsid: NetnsId(1),
        ..ingress.point()
    };
    assert_eq!(at(elsewhere), None);
}

fn a_dispatcher_of_the_same_point_is_replaced(store: &mut dyn WriterStore) {
    let full = dispatchers().remove(0);
    let bare = Dispatcher {
        at: LinkInterface {
            netns: None,
            ..full.at.clone()
        },
        form: DispatcherForm::Chain,
        ..dispatcher(2)
    };
    for newest in [&bare, &full, &bare, &bare] {
        store.save_dispatcher(newest).unwrap();
        assert_eq!(
            store.dispatchers().unwrap(),
            std::slice::from_ref(newest),
            "nothing of the former one is left"
        );
    }
}

fn deleting_an_unknown_dispatcher_changes_nothing(store: &mut dyn WriterStore) {
    save_dispatchers(store, &[dispatcher(2), dispatcher(3)]);
    store.delete_dispatcher(&dispatcher(3).point()).unwrap();
    for ifindex in [3, 4] {
        let point = dispatcher(ifindex).point();
        let error = store.delete_dispatcher(&point).unwrap_err();
        let expected = matches!(error, StoreError::DispatcherNotFound(it) if it == point);
        assert!(expected, "{error}");
        let words = format!("nothing of ours is attached at xdp/4026531840/{ifindex}");
        assert_eq!(error.to_string(), words);
    }
    assert_eq!(store.dispatchers().unwrap(), [dispatcher(2)]);
}

/// It says what is in the kernel, and that is there until a plan takes it away.
fn a_dispatcher_stays_when_its_members_go(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7)]);
    save_dispatchers(store, &[dispatcher(2)]);
    store.delete_link(LinkId(1)).unwrap();
    store.delete(ProgramId(7)).unwrap();
    assert_eq!(store.dispatchers().unwrap(), [dispatcher(2)]);
}

fn an_empty_store_has_no_journal_and_no_recoveries(store: &mut dyn WriterStore) {
    assert_eq!(store.journal().unwrap(), None);
    assert_eq!(store.recoveries().unwrap(), []);
}

fn every_field_of_a_journal_comes_back(store: &mut dyn WriterStore) {
    let journal = journal();
    for is_of in [
        |action: &&Action| matches!(action, Action::Kernel(_)),
        |action: &&Action| matches!(action, Action::Files(_)),
        |action: &&Action| matches!(action, Action::Store(_)),
    ] {
        assert!(journal.actions.iter().filter(is_of).count() > 1);
    }
    for way in [Way::Back, Way::Forward] {
        let journal = Journal {
            way,
            ..journal.clone()
        };
        store.save_journal(Some(&journal)).unwrap();
        assert_eq!(store.journal().unwrap(), Some(journal));
    }
}

fn a_journal_takes_the_place_of_the_former_one(store: &mut dyn WriterStore) {
    let [full, bare] = [journal(), plain_journal("")];
    for newest in [&bare, &full, &bare, &bare, &full] {
        store.save_journal(Some(newest)).unwrap();
        let found = store.journal().unwrap();
        assert_eq!(
            found.as_ref(),
            Some(newest),
            "nothing of the former one is left"
        );
    }
    assert_eq!(store.recoveries().unwrap(), []);
}

fn a_journal_is_cleared_as_often_as_one_likes(store: &mut dyn WriterStore) {
    store.save_journal(None).unwrap();
    store.save_journal(Some(&journal())).unwrap();
    for _ in 0..2 {
        store.save_journal(None).unwrap();
        assert_eq!(store.journal().unwrap(), None);
    }
    assert_eq!(store.recoveries().unwrap(), []);
    store.save_journal(Some(&journal())).unwrap();
    assert_eq!(store.journal().unwrap(), Some(journal()));
}

/// The change that saves a journal, or clears it.
fn save_journal(journal: Option<Journal>) -> StoreChange {
    StoreChange::SaveJournal(journal.map(Box::new))
}

fn a_journal_is_saved_together_with_other_changes(store: &mut dyn WriterStore) {
    let save = StoreChange::SavePrograms(sharing_pair().to_vec());
    let begin = [save, save_journal(Some(journal()))];
    store.batch(&begin).unwrap();
    assert_eq!(store.journal().unwrap(), Some(journal()));
    assert_eq!(store.list().unwrap(), sharing_pair());
    let delete = StoreChange::DeleteProgram(ProgramId(7));
    store.batch(&[save_journal(None), delete]).unwrap();
    assert_eq!(store.journal().unwrap(), None);
    assert_eq!(ids(&store.list().unwrap()), [42]);
}

fn a_journal_stays_when_what_was_to_change_with_it_cannot(store: &mut dyn WriterStore) {
    let impossible = StoreChange::DeleteLink(LinkId(99));
    for before in [None, Some(plain_journal("the first")), Some(journal())] {
        store.save_journal(before.as_ref()).unwrap();
        for after in [None, Some(plain_journal("the second"))] {
            let changes = [save_journal(after.clone()), impossible.clone()];
            let error = store.batch(&changes).unwrap_err();
            assert_eq!(error.to_string(), "link 99 does not exist");
            assert_eq!(store.journal().unwrap(), before, "{after:?}");
        }
    }
}

fn of_several_journals_saved_together_the_last_one_is_there(store: &mut dyn WriterStore) {
    let [first, last] = ["the first", "the last"].map(|name| Some(plain_journal(name)));
    let change = |journals: &[&Option<Journal>]| -> Vec<StoreChange> {
        let journals = journals.iter().copied().cloned();
        journals.map(save_journal).collect()
    };
    store.batch(&change(&[&first, &None, &last])).unwrap();
    assert_eq!(store.journal().unwrap(), last);
    store.batch(&change(&[&first, &None])).unwrap();
    assert_eq!(store.journal().unwrap(), None);
}

/// It says what is to be done, and that is to be done until somebody has done it.
fn a_journal_stays_when_the_records_change(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7)]);
    store.save_recovery(&recovery(1)).unwrap();
    store.save_journal(Some(&journal())).unwrap();
    store.batch(&several_changes()[..3]).unwrap();
    store.save_dispatcher(&dispatcher(3)).unwrap();
    for program in [7, 8, 42] {
        store.delete(ProgramId(program)).unwrap();
    }
    assert_eq!(store.journal().unwrap(), Some(journal()));
    assert_eq!(store.recoveries().unwrap(), [recovery(1)]);
}

fn every_field_of_a_recovery_comes_back(store: &mut dyn WriterStore) {
    for recovery in recoveries().iter().rev() {
        store.save_recovery(recovery).unwrap();
    }
    assert_eq!(store.recoveries().unwrap(), recoveries());
}

fn a_recovery_ends_the_operation_under_way(store: &mut dyn WriterStore) {
    fill(store, &[plain(1, 7)]);
    store.save_journal(Some(&journal())).unwrap();
    store.save_recovery(&recovery(1)).unwrap();
    assert_eq!(store.journal().unwrap(), None);
    assert_eq!(store.recoveries().unwrap(), [recovery(1)]);
    // Whatever it was to do to the records is for others to do.
    assert_eq!(store.list().unwrap(), sharing_pair());
    assert_eq!(store.links().unwrap(), [plain(1, 7)]);
}

/// Not in that of their times: a clock can be set back.
fn the_recoveries_are_in_the_order_in_which_they_were_saved(store: &mut dyn WriterStore) {
    for number in [5, 9, 2, 2, 0] {
        store.save_recovery(&recovery(number)).unwrap();
    }
    let expected = [0, 2, 2, 9, 5].map(recovery);
    assert_eq!(store.recoveries().unwrap(), expected);
}

fn only_the_last_recoveries_are_kept(store: &mut dyn WriterStore) {
    let kept = u64::from(MAX_RECOVERIES);
    for number in 1..=3 * kept {
        store.save_recovery(&recovery(number)).unwrap();
        let oldest = number.saturating_sub(kept) + 1;
        let expected: Vec<Recovery> = (oldest..=number).rev().map(recovery).collect();
        assert_eq!(store.recoveries().unwrap(), expected, "after {number}");
    }
}

/// Nobody can do anything about it, and the operation has come to its end.
fn a_recovery_centuries_ahead_is_saved_with_the_last_time_there_is(store: &mut dyn WriterStore) {
    let last = i64::MAX as u64;
    for number in [last - 1, last, last + 1, u64::MAX] {
        store.save_journal(Some(&journal())).unwrap();
        store.save_recovery(&recovery(number)).unwrap();
        assert_eq!(store.journal().unwrap(), None);
        let newest = store.recoveries().unwrap().remove(0);
        let at = UnixTime(number.min(last));
        assert_eq!(
            newest,
            Recovery {
                at,
                ..recovery(number)
            }
        );
    }
}

/// All there is to read.
#[derive(Debug, PartialEq)]
struct Contents {
    programs: Vec<Program>,
    links: Vec<Link>,
    dispatchers: Vec<Dispatcher>,
    next_link: LinkId,
    journal: Option<Journal>,
    recoveries: Vec<Recovery>,
}

fn contents(store: &(impl ReaderStore + ?Sized)) -> Contents {
    Contents {
        programs: store.list().unwrap(),
        links: store.links().unwrap(),
        dispatchers: store.dispatchers().unwrap(),
        next_link: store.next_link().unwrap(),
        journal: store.journal().unwrap(),
        recoveries: store.recoveries().unwrap(),
    }
}

/// What [`several_changes`] are made to.
fn fill_to_change(store: &mut dyn WriterStore) -> Contents {
    fill(store, &[plain(1, 7), plain(2, 42), plain(3, 7)]);
    save_dispatchers(store, &[dispatcher(2)]);
    store.save_recovery(&recovery(1)).unwrap();
    store
        .save_journal(Some(&plain_journal("the first")))
        .unwrap();
    contents(store)
}

/// One of each kind; the link that is saved needs the program before it.
fn several_changes() -> Vec<StoreChange> {
    vec![
        StoreChange::SavePrograms(vec![program(8, &[])]),
        StoreChange::SaveLink(plain(4, 8)),
        StoreChange::DeleteLink(LinkId(1)),
        StoreChange::SaveDispatcher(dispatcher(3)),
        StoreChange::DeleteDispatcher(dispatcher(2).point()),
        StoreChange::DeleteProgram(ProgramId(42)),
        save_journal(Some(journal())),
    ]
}

/// What is there after [`several_changes`].
fn changed_together() -> Contents {
    let [seven, _] = sharing_pair();
    Contents {
        programs: vec![seven, program(8, &[])],
        links: vec![plain(3, 7), plain(4, 8)],
        dispatchers: vec![dispatcher(3)],
        next_link: LinkId(5),
        journal: Some(journal()),
        recoveries: vec![recovery(1)],
    }
}

/// Changes that no store makes, and what it says.
fn impossible_changes() -> [(StoreChange, &'static str); 6] {
    let mut late = program(9, &[]);
    late.created_at = UnixTime(u64::MAX);
    [
        (
            StoreChange::SavePrograms(vec![program(5, &[]), late]),
            "program 9 cannot be stored: its created_at is after the year 2262",
        ),
        (
            StoreChange::DeleteProgram(ProgramId(99)),
            "program 99 does not exist",
        ),
        (
            StoreChange::SaveLink(plain(6, 99)),
            "program 99 does not exist",
        ),
        (
            StoreChange::DeleteLink(LinkId(99)),
            "link 99 does not exist",
        ),
        // It was there until the third of the others.
        (StoreChange::DeleteLink(LinkId(1)), "link 1 does not exist"),
        (
            StoreChange::DeleteDispatcher(dispatcher(99).point()),
            "nothing of ours is attached at xdp/4026531840/99",
        ),
    ]
}

fn several_changes_are_made_together_in_their_order(store: &mut dyn WriterStore) {
    let before = fill_to_change(store);
    store.batch(&[]).unwrap();
    assert_eq!(contents(store), before);
    store.batch(&several_changes()).unwrap();
    assert_eq!(contents(store), changed_together());
    let saved = [1, 2].map(|time| Link {
        created_at: UnixTime(time),
        ..plain(9, 7)
    });
    let twice = saved.clone().map(StoreChange::SaveLink);
    store.batch(&twice).unwrap();
    assert_eq!(store.link(LinkId(9)).unwrap(), saved[1]);
}

fn of_several_changes_none_is_made_when_one_cannot_be(store: &mut dyn WriterStore) {
    let before = fill_to_change(store);
    for (impossible, words) in impossible_changes() {
        // Behind those that it depends on.
        for at in 3..=several_changes().len() {
            let mut changes = several_changes();
            changes.insert(at, impossible.clone());
            let error = store.batch(&changes).unwrap_err();
            assert_eq!(error.to_string(), words, "{at}");
            assert_eq!(contents(store), before, "{words} {at}");
        }
    }
    store.batch(&several_changes()).unwrap();
    assert_eq!(contents(store), changed_together());
}

#[test]
fn a_reader_of_the_disk_sees_several_changes_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut writer = SqliteStore::open_writer(&path).unwrap();
    let before = fill_to_change(&mut writer);
    let reader = SqliteStore::open_reader(&path).unwrap().unwrap();
    for (impossible, words) in impossible_changes() {
        let changes = [several_changes(), vec![impossible]].concat();
        writer.batch(&changes).unwrap_err();
        assert_eq!(contents(&reader), before, "{words}");
    }
    // They are on the disk when the call returns, not when the writer is done.
    writer.batch(&several_changes()).unwrap();
    assert_eq!(contents(&reader), changed_together());
    writer.delete_link(LinkId(3)).unwrap();
    assert_eq!(link_ids(&reader.links().unwrap()), [4]);
}

#[test]
fn a_clone_of_a_memory_store_goes_its_own_way() {
    let mut store = MemoryStore::new();
    fill(&mut store, &[plain(1, 7), plain(2, 42)]);
    save_dispatchers(&mut store, &[dispatcher(2)]);
    store.save_journal(Some(&journal())).unwrap();
    let copy = store.clone();
    store.delete(ProgramId(7)).unwrap();
    store.delete_dispatcher(&dispatcher(2).point()).unwrap();
    store.save_recovery(&recovery(1)).unwrap();
    assert_eq!(copy.list().unwrap(), sharing_pair());
    assert_eq!(link_ids(&copy.links().unwrap()), [1, 2]);
    assert_eq!(copy.dispatchers().unwrap(), [dispatcher(2)]);
    assert_eq!(copy.journal().unwrap(), Some(journal()));
    assert_eq!(copy.recoveries().unwrap(), []);
    assert_eq!(ids(&store.list().unwrap()), [42]);
    assert_eq!(link_ids(&store.links().unwrap()), [2]);
}
