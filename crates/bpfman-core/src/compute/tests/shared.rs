//! Attach points that several programs share.

use super::records::changes;
use super::records::check_records;
use super::*;
use crate::action::Action;
use crate::action::FunctionInfo;
use crate::action::InstructionReference;
use crate::action::KeptInstructions;
use crate::action::KernelAction;
use crate::action::LoadProgram;
use crate::action::MapPlace;
use crate::action::Plan;
use crate::action::StoreAction;
use crate::action::Undo;
use crate::dispatcher::MAX_SLOTS;
use crate::kernel::AttachOrder;
use crate::kernel::AttachedProgram;
use crate::kernel::KernelError;
use crate::kernel::KernelErrorKind;
use crate::links;
use crate::links::LinkDetails;
use crate::links::LinkInterface;
use crate::links::SharedHook;
use crate::managed::Dispatcher;
use crate::managed::DispatcherForm;
use crate::managed::Holder;
use crate::managed::Link;

const XDP: SharedHook = SharedHook::Xdp {
    mode: XdpMode::Auto,
};
const TC: SharedHook = SharedHook::Tc {
    direction: Direction::Ingress,
};
/// The kernel's link at the attach point.
const HOLDER: KernelLinkId = KernelLinkId(70);
/// What is at the hook while several run there.
const RUNNING: ProgramId = ProgramId(900);

fn at() -> LinkInterface {
    LinkInterface {
        interface: InterfaceName::parse("eth0").unwrap(),
        ifindex: IfIndex(2),
        netns: None,
        nsid: NetnsId(7),
    }
}

/// `r0 = 2; exit`.
pub(super) fn kept(name: &str) -> KeptInstructions {
    let two = 2_i32.to_ne_bytes();
    let mut instructions = [&[0xb7, 0, 0, 0], &two[..]].concat();
    instructions.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
    KeptInstructions {
        version: KeptInstructions::VERSION,
        program: name.to_owned(),
        instructions: Base64Bytes(instructions),
        references: Vec::new(),
        attach_type: 37,
        flags: 0,
        stack_depths: vec![0],
        functions: vec![FunctionInfo {
            instruction: 0,
            type_id: 1,
        }],
    }
}

fn details(hook: SharedHook, number: i64) -> LinkDetails {
    let priority = Priority::new(number).unwrap();
    match hook {
        SharedHook::Xdp { mode } => LinkDetails::Xdp(links::Xdp {
            at: at(),
            priority,
            proceed_on: XDP_DEFAULT.to_vec(),
            mode,
            counter: None,
        }),
        SharedHook::Tc { direction } => LinkDetails::Tc(links::Tc {
            at: at(),
            direction,
            priority,
            proceed_on: TC_DEFAULT.to_vec(),
            counter: None,
        }),
    }
}

/// Link `id` of program `100 + id`, which is called `name`.
pub(super) fn member_of(hook: SharedHook, id: u32, number: i64, name: &str) -> Member {
    let mut program = managed(100 + id, None, &[]);
    program.load.program_name = name.to_owned();
    program.gpl_compatible = true;
    Member {
        link: Link {
            id: LinkId(id),
            program: program.id(),
            kernel: None,
            pin_path: None,
            details: details(hook, number),
            metadata: BTreeMap::new(),
            created_at: UnixTime(1),
        },
        kept: Some(Box::new(kept(name))),
        program,
        at_pin: true,
        facts: MemberFacts::default(),
        counter: None,
    }
}

fn member(id: u32, number: i64) -> Member {
    member_of(XDP, id, number, "p")
}

pub(super) fn extension(mut member: Member) -> Member {
    member.program.load.engine = Engine::Extension;
    member
}

fn counted(mut member: Member) -> Member {
    let pin = layout().counter_pin(member.link.id);
    if let LinkDetails::Xdp(links::Xdp { counter, .. })
    | LinkDetails::Tc(links::Tc { counter, .. }) = &mut member.link.details
    {
        *counter = Some(pin);
    }
    member
}

fn going_on_after(mut member: Member, verdicts: &[i32]) -> Member {
    if let LinkDetails::Xdp(links::Xdp { proceed_on, .. })
    | LinkDetails::Tc(links::Tc { proceed_on, .. }) = &mut member.link.details
    {
        *proceed_on = verdicts.to_vec();
    }
    member
}

fn revision_directory(hook: SharedHook, revision: u32) -> AbsolutePath {
    let hook = hook.hook().name();
    layout().dispatcher_revision(hook, NetnsId(7), IfIndex(2), revision)
}

/// An attach point where nobody is.
pub(super) fn free(hook: SharedHook) -> PointFacts {
    PointFacts {
        namespace_deleted: false,
        lost_pin: None,
        hook,
        at: at(),
        frames: crate::chain::Frames::Of16,
        bpffs_mounted: true,
        dispatcher: None,
        state: PointState::Missing,
        runs: None,
        members: Vec::new(),
        left_out: Vec::new(),
        occupants: Some(Occupants::Order(AttachOrder {
            revision: 4,
            members: Vec::new(),
        })),
        foreign: None,
        libxdp: false,
        shown: BTreeMap::new(),
    }
}

/// An attach point with these members, at revision 3.
pub(super) fn running(hook: SharedHook, members: Vec<Member>) -> PointFacts {
    let extended = members
        .iter()
        .any(|member| member.program.load.engine == Engine::Extension);
    let (form, program) = match members.as_slice() {
        _ if extended => {
            let directory = revision_directory(hook, 3);
            (DispatcherForm::Extension { directory }, RUNNING)
        }
        [one] if runs_alone(&one.link.details.membership().unwrap(), Engine::Auto) => {
            (DispatcherForm::Direct, one.program.id())
        }
        _ => (DispatcherForm::Chain, RUNNING),
    };
    let (mut members, mut shown) = (members, BTreeMap::new());
    for (slot, member) in members.iter_mut().enumerate() {
        if extended {
            let directory = revision_directory(hook, 3);
            member.link.kernel = Some(KernelLinkId(80 + slot as u32));
            member.link.pin_path = Some(directory.join(&alloc::format!("link_{slot}")));
            shown.insert(member.link.id, member.program.id());
        }
    }
    let name = hook.hook().name();
    PointFacts {
        shown,
        dispatcher: Some(Dispatcher {
            hook,
            at: at(),
            revision: 3,
            form,
            program,
            holder: Holder::Link {
                id: HOLDER,
                pin_path: layout().dispatcher_link(name, NetnsId(7), IfIndex(2)),
            },
            members: members.iter().map(|member| member.link.id).collect(),
            left_out: Vec::new(),
        }),
        state: PointState::Attached,
        members,
        occupants: None,
        ..free(hook)
    }
}

pub(super) fn join(member: Member) -> Change {
    Change::Join(Box::new(member))
}

pub(super) fn leave(member: &Member) -> Change {
    Change::Leave(vec![member.clone()])
}

pub(super) fn change(facts: &PointFacts, change: &Change) -> Plan {
    let plan = plan_change(facts, change, Joining::All(JoinedAs::Inlined), &layout());
    let plan = plan.unwrap_or_else(|refusal| panic!("{refusal}"));
    check(&plan);
    plan
}

fn refused(facts: &PointFacts, change: &Change) -> String {
    let plan = plan_change(facts, change, Joining::All(JoinedAs::Inlined), &layout());
    plan.unwrap_err().to_string()
}

/// The directory of a revision.
fn revision(number: u32) -> String {
    alloc::format!("/run/bpfman/fs/xdp/dispatcher_7_2_{number}")
}

/// What holds of every plan: it can be written down, and what cannot be undone comes last.
pub(super) fn check(plan: &Plan) {
    let text = serde_json::to_string(plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), *plan);
    check_records(plan);
    let mut irreversible = false;
    for step in &plan.steps {
        let reason = match &step.undo {
            Undo::By(undo) => {
                assert_ne!(**undo, step.action);
                assert!(!irreversible, "{}", step.action);
                continue;
            }
            Undo::Impossible { reason } => {
                irreversible = true;
                reason
            }
            Undo::Nothing { reason } => reason,
        };
        assert!(!reason.is_empty(), "{}", step.action);
    }
}

/// The records that a plan leaves: the form of the attach point, and its members in their order.
fn recorded(plan: &Plan) -> Option<Dispatcher> {
    let changes = changes(plan).into_iter();
    let mut recorded = changes.filter_map(|change| match change {
        StoreAction::RecordDispatcher { dispatcher } => Some(dispatcher.dispatcher.clone()),
        StoreAction::SaveDispatcher { dispatcher } => Some((**dispatcher).clone()),
        _ => None,
    });
    recorded.next_back()
}

fn members_after(plan: &Plan) -> Vec<u32> {
    let recorded = recorded(plan).unwrap();
    recorded.members.iter().map(|member| member.0).collect()
}

/// The programs that a plan loads out of instructions.
fn loads(plan: &Plan) -> Vec<LoadProgram> {
    let loads = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Kernel(KernelAction::LoadProgram(load)) => Some(load.clone()),
        _ => None,
    });
    loads.collect()
}

const LINK: &str = "/run/bpfman/fs/xdp/dispatcher_7_2_link";

#[test]
fn the_first_one_is_attached_itself() {
    let plan = change(&free(XDP), &join(member(1, 50)));
    let expected = [
        "bpffs   make directory /run/bpfman/fs/xdp".to_owned(),
        "kernel  attach program 101 (/run/bpfman/fs/prog_101) to xdp of interface 2".to_owned(),
        alloc::format!("bpffs   pin link <kernel id of the attach point> at {LINK}"),
        "store   record link 1, record attach point xdp/7/2".to_owned(),
    ];
    assert_eq!(lines(&plan), expected);
    let record = recorded(&plan).unwrap();
    assert_eq!((record.form, record.revision), (DispatcherForm::Direct, 1));
    let mut unmounted = free(XDP);
    unmounted.bpffs_mounted = false;
    let plan = lines(&change(&unmounted, &join(member(1, 50))));
    assert_eq!(plan[1], "bpffs   mount at /run/bpfman/fs");
}

#[test]
fn the_second_one_makes_a_chain_that_takes_over_by_one_swap() {
    let facts = running(XDP, vec![member(1, 50)]);
    let plan = change(&facts, &join(member(2, 60)));
    let load = &loads(&plan)[0];
    let count = load.instructions.0.len() / 8;
    let expected = [
        alloc::format!(
            "kernel  load the chain of xdp of eth0 (xdp): {count} instructions of 2 program(s)"
        ),
        alloc::format!("bpffs   make directory {}", revision(4)),
        alloc::format!(
            "bpffs   pin program <id of the chain of xdp of eth0> at {}/dispatcher",
            revision(4)
        ),
        alloc::format!(
            "kernel  swap program 101 of link 70 ({LINK}) for <id of the chain of xdp of eth0>"
        ),
        "store   record link 2, record attach point xdp/7/2".to_owned(),
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(load.attach_type, 37);
    assert_eq!(load.license, "GPL");
    let record = recorded(&plan).unwrap();
    assert_eq!((record.form, record.revision), (DispatcherForm::Chain, 4));
    assert_eq!(record.members, [LinkId(1), LinkId(2)]);
}

#[test]
fn a_chain_has_the_strictest_license_and_frags_only_when_all_have() {
    let mut strict = member(2, 60);
    strict.program.gpl_compatible = false;
    strict.program.license = Some("Proprietary".to_owned());
    let facts = running(XDP, vec![member(1, 50)]);
    assert_eq!(
        loads(&change(&facts, &join(strict)))[0].license,
        "Proprietary"
    );
    let with_frags = |mut member: Member| {
        member.kept.as_mut().unwrap().flags = F_XDP_HAS_FRAGS;
        member
    };
    for (one, other, flags) in [
        (member(1, 1), with_frags(member(2, 2)), 0),
        (
            with_frags(member(1, 1)),
            with_frags(member(2, 2)),
            F_XDP_HAS_FRAGS,
        ),
    ] {
        let plan = change(&running(XDP, vec![one]), &join(other));
        assert_eq!(loads(&plan)[0].flags, flags);
    }
}

#[test]
fn a_chain_finds_the_maps_of_its_members_by_id() {
    let mut user = member(2, 60);
    user.program.maps = managed(0, None, &[(7, "m", None)]).maps;
    let mut instructions = vec![0x18, 0x11, 0, 0, 0, 0, 0, 0];
    instructions.extend([0; 8]);
    let kept = user.kept.as_mut().unwrap();
    instructions.append(&mut kept.instructions.0);
    kept.instructions.0 = instructions;
    kept.references.push(InstructionReference {
        instruction: 0,
        map: "m".to_owned(),
    });
    let facts = running(XDP, vec![member(1, 50)]);
    let load = loads(&change(&facts, &join(user.clone()))).remove(0);
    assert_eq!(load.maps.len(), 1);
    assert_eq!(load.maps[0].map, MapPlace::InUse(MapId(7)));
    user.program.maps.clear();
    let text = refused(&facts, &join(user));
    assert!(text.contains("the instructions of program 102"), "{text}");
}

#[test]
fn one_of_two_that_stays_is_attached_itself_again() {
    let (one, two) = (member(1, 50), member(2, 60));
    let facts = running(XDP, vec![one, two.clone()]);
    let plan = change(&facts, &leave(&two));
    let expected = [
        alloc::format!(
            "kernel  swap program 900 of link 70 ({LINK}) for 101 (/run/bpfman/fs/prog_101)"
        ),
        "store   delete link 2, record attach point xdp/7/2".to_owned(),
        alloc::format!("bpffs   unpin program 900 from {}/dispatcher", revision(3)),
        alloc::format!("bpffs   remove directory {} if empty", revision(3)),
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(recorded(&plan).unwrap().form, DispatcherForm::Direct);
}

#[test]
fn the_last_one_takes_the_link_with_it_at_the_very_end() {
    let one = member(1, 50);
    let facts = running(XDP, vec![one.clone()]);
    let expected = [
        "store   delete link 1, delete attach point xdp/7/2".to_owned(),
        alloc::format!("kernel  detach link 70 and unpin it from {LINK}"),
    ];
    assert_eq!(lines(&change(&facts, &leave(&one))), expected);
}

#[test]
fn after_an_interrupted_swap_the_next_one_is_from_what_runs() {
    let mut facts = running(XDP, vec![member(1, 50)]);
    facts.runs = Some(ProgramId(901));
    let plan = plan_change(
        &facts,
        &join(member(2, 60)),
        Joining::All(JoinedAs::Inlined),
        &layout(),
    )
    .unwrap();
    let swap = alloc::format!("kernel  swap program 901 of link 70 ({LINK})");
    let swap = lines(&plan).iter().position(|line| line.starts_with(&swap));
    // Nothing pins what somebody else put there: only this process can put it back.
    let Undo::By(undo) = &plan.steps[swap.unwrap()].undo else {
        panic!("{plan}");
    };
    assert!(undo.to_string().ends_with(" for 901"), "{undo}");
}

#[test]
fn two_that_leave_together_are_one_change() {
    let members = vec![member(1, 50), member(2, 60), member(3, 70)];
    let facts = running(XDP, members.clone());
    let plan = change(&facts, &Change::Leave(members[..2].to_vec()));
    assert_eq!(members_after(&plan), [3]);
    let swaps = lines(&plan);
    let swaps = swaps.iter().filter(|line| line.contains("swap"));
    assert_eq!(swaps.count(), 1);
}

#[test]
fn members_stand_by_priority_then_new_ones_first_then_by_name() {
    let named = |id, number, name| member_of(XDP, id, number, name);
    let there = || {
        vec![
            named(1, 10, "b"),
            named(2, 20, "b"),
            named(3, 20, "c"),
            named(4, 30, "a"),
        ]
    };
    let table = [
        (named(9, 5, "z"), [9, 1, 2, 3, 4]),
        (named(9, 10, "z"), [9, 1, 2, 3, 4]),
        (named(9, 20, "z"), [1, 9, 2, 3, 4]),
        (named(9, 25, "a"), [1, 2, 3, 9, 4]),
        (named(9, 31, "a"), [1, 2, 3, 4, 9]),
    ];
    for (new, order) in table {
        let facts = running(XDP, there());
        let plan = change(&facts, &join(new));
        assert_eq!(members_after(&plan), order);
        let sources: Vec<u32> = loads(&plan)[0]
            .programs
            .iter()
            .map(|source| source.program.0 - 100)
            .collect();
        assert_eq!(sources, order);
    }
}

#[test]
fn a_link_moves_by_a_new_priority_or_new_verdicts_and_stays_the_same() {
    let facts = running(XDP, vec![member(1, 10), member(2, 20)]);
    let alter = |link, priority: Option<i64>, proceed_on: Option<&[i32]>| Change::Alter {
        link: LinkId(link),
        priority: priority.map(|number| Priority::new(number).unwrap()),
        proceed_on: proceed_on.map(<[i32]>::to_vec),
    };
    let plan = change(&facts, &alter(1, Some(30), None));
    assert_eq!(members_after(&plan), [2, 1]);
    let changes = changes(&plan).into_iter();
    let changes: Vec<String> = changes.map(ToString::to_string).collect();
    assert_eq!(changes, ["record link 1", "record attach point xdp/7/2"]);
    let plan = change(&facts, &alter(1, None, Some(&[1])));
    assert_eq!(members_after(&plan), [1, 2]);
    assert_ne!(
        loads(&plan),
        loads(&change(&facts, &alter(1, Some(10), None)))
    );
    let text = refused(&facts, &alter(9, Some(1), None));
    assert!(text.starts_with("link 9 is not attached"), "{text}");
}

#[test]
fn one_alone_is_a_chain_where_a_bare_attach_would_do_something_else() {
    let alone = |hook, verdicts: &[i32]| going_on_after(member_of(hook, 1, 5, "p"), verdicts);
    let table = [
        (alone(XDP, XDP_DEFAULT), true),
        (alone(XDP, &[]), true),
        (alone(XDP, &[XDP_PASS]), true),
        // After a drop it would go on, and the packet would pass.
        (alone(XDP, &[1]), false),
        (alone(XDP, &[0, XDP_PASS]), false),
        (alone(TC, TC_DEFAULT), true),
        (alone(TC, &[TC_OK]), true),
        (alone(TC, &[2]), false),
        (alone(TC, &[-1]), false),
        (counted(alone(XDP, XDP_DEFAULT)), false),
    ];
    for (member, direct) in table {
        let hook = member.link.details.membership().unwrap().hook;
        let plan = change(&free(hook), &join(member.clone()));
        let form = recorded(&plan).unwrap().form;
        let expected = match direct {
            true => DispatcherForm::Direct,
            false => DispatcherForm::Chain,
        };
        assert_eq!(form, expected, "{:?}", member.link.details);
        assert_eq!(loads(&plan).len(), usize::from(!direct));
    }
}

#[test]
fn a_counter_is_made_and_pinned_once_and_goes_with_its_link() {
    let plan = change(&free(XDP), &join(counted(member(1, 5))));
    let text = lines(&plan);
    assert_eq!(text[1], "kernel  make map counter of link 1");
    assert_eq!(
        text[3],
        "bpffs   pin map counter of link 1 at /run/bpfman/fs/links/1_counter"
    );
    let pinned = MapPlace::Pinned(layout().counter_pin(LinkId(1)));
    assert!(
        loads(&plan)[0]
            .maps
            .iter()
            .any(|reference| reference.map == pinned)
    );
    let mut there = counted(member(1, 5));
    there.counter = Some(MapId(33));
    let facts = running(XDP, vec![there.clone(), member(2, 6)]);
    let text = lines(&change(&facts, &join(member(3, 7))));
    assert!(!text.iter().any(|line| line.contains("counter")));
    let text = lines(&change(&facts, &leave(&there)));
    let swap = text.iter().position(|line| line.contains("swap"));
    let unpin = "bpffs   unpin map 33 from /run/bpfman/fs/links/1_counter";
    let unpin = text.iter().position(|line| line == unpin);
    assert!(swap.is_some() && swap < unpin, "{text:?}");
}

#[test]
fn an_extension_gets_a_dispatcher_also_alone() {
    let plan = change(&free(XDP), &join(extension(member(1, 5))));
    let directory = "/run/bpfman/fs/xdp/dispatcher_7_2_1";
    let dispatcher = "<id of the dispatcher of xdp of eth0>";
    let expected = [
        "bpffs   make directory /run/bpfman/fs/xdp".to_owned(),
        "kernel  load the xdp dispatcher".to_owned(),
        alloc::format!("bpffs   make directory {directory}"),
        alloc::format!("bpffs   pin program {dispatcher} at {directory}/dispatcher"),
        "kernel  hold program 101 (/run/bpfman/fs/prog_101)".to_owned(),
        alloc::format!("kernel  attach program 101 to prog0 of dispatcher {dispatcher}"),
        alloc::format!("bpffs   pin link <kernel id of link 1> at {directory}/link_0"),
        alloc::format!("kernel  attach program {dispatcher} to xdp of interface 2"),
        alloc::format!("bpffs   pin link <kernel id of the attach point> at {LINK}"),
        "store   record link 1, record attach point xdp/7/2".to_owned(),
    ];
    assert_eq!(lines(&plan), expected);
}

#[test]
fn a_dispatcher_has_ten_slots_and_says_so_when_they_are_taken() {
    let ten: Vec<Member> = (1..=10).map(|id| extension(member(id, 5))).collect();
    let nine = running(XDP, ten[..9].to_vec());
    let plan = change(&nine, &join(ten[9].clone()));
    let text = lines(&plan);
    let slots = text.iter().filter(|line| line.contains(" to prog"));
    assert_eq!(slots.count(), MAX_SLOTS);
    // Those of the old revision go after the new one has taken over.
    let swap = text.iter().position(|line| line.contains("swap")).unwrap();
    let unpinned = text
        .iter()
        .filter(|line| line.contains("unpin link"))
        .count();
    assert_eq!(unpinned, 9);
    assert!(
        text[..swap]
            .iter()
            .all(|line| !line.contains("unpin") && !line.contains("store"))
    );
    let gone = alloc::format!("bpffs   remove directory {} if empty", revision(3));
    assert_eq!(text.last(), Some(&gone));
    let record = &text[swap + 1];
    assert!(record.starts_with("store   record link 10, "), "{record}");
    let full = running(XDP, ten);
    assert_eq!(
        refused(&full, &join(extension(member(11, 5)))),
        "no free dispatcher slots: xdp of eth0 has 10 programs already"
    );
}

#[test]
fn a_program_that_was_no_extension_is_made_one_beside_extensions() {
    let facts = running(XDP, vec![extension(member(1, 5))]);
    let plan = change(&facts, &join(member(2, 6)));
    let load = loads(&plan).remove(0);
    assert_eq!(load.kernel_type, KernelProgramType::EXTENSION);
    let slot = load.replaces.unwrap();
    assert_eq!(slot.function, "prog1");
    let mut untyped = member(2, 6);
    untyped.kept.as_mut().unwrap().functions.clear();
    let text = refused(&facts, &join(untyped));
    assert!(text.contains("no type information"), "{text}");
    let text = refused(&facts, &join(counted(member(2, 6))));
    assert!(text.contains("counted by the kernel"), "{text}");
}

#[test]
fn one_that_stays_after_extensions_is_attached_itself_and_has_no_link_of_its_own() {
    let (stays, goes) = (member(1, 5), extension(member(2, 6)));
    let facts = running(XDP, vec![stays, goes]);
    let leaving = facts.members[1].clone();
    let plan = change(&facts, &leave(&leaving));
    assert_eq!(recorded(&plan).unwrap().form, DispatcherForm::Direct);
    let link = changes(&plan).into_iter().find_map(|change| match change {
        StoreAction::RecordLink { link } => Some(link.clone()),
        _ => None,
    });
    let link = link.unwrap();
    assert_eq!(
        (link.kernel, link.link.pin_path, link.link.kernel),
        (None, None, None)
    );
}

#[test]
fn the_last_extension_takes_its_dispatcher_with_it() {
    let mut facts = running(XDP, vec![extension(member(1, 5))]);
    facts.shown.clear();
    let leaving = facts.members[0].clone();
    let directory = "/run/bpfman/fs/xdp/dispatcher_7_2_3";
    let expected = [
        "store   delete link 1, delete attach point xdp/7/2".to_owned(),
        alloc::format!("bpffs   unpin link 80 from {directory}/link_0"),
        alloc::format!("bpffs   unpin program 900 from {directory}/dispatcher"),
        alloc::format!("bpffs   remove directory {directory} if empty"),
        alloc::format!("kernel  detach link 70 and unpin it from {LINK}"),
    ];
    assert_eq!(lines(&change(&facts, &leave(&leaving))), expected);
}

#[test]
fn tools_of_libxdp_are_shown_the_members_of_a_dispatcher() {
    let mut facts = running(XDP, vec![extension(member(1, 5))]);
    facts.libxdp = true;
    let plan = lines(&change(&facts, &join(extension(member(2, 6)))));
    let new = "/sys/fs/bpf/xdp/dispatch-2-<id of the dispatcher of xdp of eth0>";
    let shown = |line: &str| plan.iter().any(|other| *other == line);
    for (slot, program) in [(0, 101), (1, 102)] {
        assert!(shown(&alloc::format!(
            "bpffs   pin program {program} at {new}/prog{slot}-prog"
        )));
    }
    let old = "/sys/fs/bpf/xdp/dispatch-2-900";
    assert!(shown(&alloc::format!(
        "bpffs   unpin program 101 from {old}/prog0-prog"
    )));
    assert!(shown(&alloc::format!(
        "bpffs   remove directory {old} if empty"
    )));
    // They know nothing of TC.
    let mut facts = running(TC, vec![extension(member_of(TC, 1, 5, "p"))]);
    facts.libxdp = true;
    let joining = extension(member_of(TC, 2, 6, "p"));
    let plan = change(&facts, &join(joining)).to_string();
    assert!(!plan.contains("/sys/fs/bpf"), "{plan}");
}

#[test]
fn a_program_of_somebody_else_is_left_alone_and_named() {
    let order = |program| AttachOrder {
        revision: 0,
        members: vec![AttachedProgram {
            program: ProgramId(program),
            link: None,
        }],
    };
    let mut foreign = observed(managed(8, None, &[]).identity);
    foreign.name = "xdp_dispatcher".to_owned();
    let mut facts = free(XDP);
    facts.occupants = Some(Occupants::Order(order(8)));
    facts.foreign = Some(foreign);
    assert_eq!(
        refused(&facts, &join(member(1, 5))),
        "xdp of eth0 already has program 8 (a dispatcher of xdp-loader or another user of libxdp), \
         which bpfman did not attach; it is left alone"
    );
    let joining = || join(member_of(TC, 1, 5, "p"));
    let mut filter = free(TC);
    filter.occupants = Some(Occupants::Filter(Some(ProgramId(8))));
    let text = refused(&filter, &joining());
    assert!(
        text.contains("tc ingress of eth0 already has program 8"),
        "{text}"
    );
    // TCX takes several.
    let mut tcx = free(TC);
    tcx.occupants = Some(Occupants::Order(order(8)));
    change(&tcx, &joining());
    // Ours, which somebody else keeps alive without its pin.
    let mut facts = running(XDP, vec![member(1, 5)]);
    facts.state = PointState::Unpinned;
    facts.occupants = Some(Occupants::Order(order(101)));
    let text = refused(&facts, &join(member(2, 6)));
    assert!(text.contains("whose pin /run/bpfman/fs/xdp"), "{text}");
}

#[test]
fn a_kernel_without_tcx_gets_a_filter_that_is_swapped_in_place() {
    let mut facts = free(TC);
    facts.occupants = Some(Occupants::Filter(None));
    let plan = change(&facts, &join(member_of(TC, 1, 5, "p")));
    let filter = "filter 50/0x1 ingress of interface 2";
    let expected = [
        "bpffs   make directory /run/bpfman/fs/tc-ingress".to_owned(),
        "kernel  make clsact of interface 2".to_owned(),
        alloc::format!("kernel  attach program 101 (/run/bpfman/fs/prog_101) as {filter}"),
        "store   record link 1, record attach point tc-ingress/7/2".to_owned(),
    ];
    assert_eq!(lines(&plan), expected);
    let mut facts = running(TC, vec![member_of(TC, 1, 5, "p")]);
    facts.dispatcher.as_mut().unwrap().holder = Holder::Filter(TC_FILTER);
    let plan = lines(&change(&facts, &join(member_of(TC, 2, 6, "p"))));
    let swap = alloc::format!(
        "kernel  swap program 101 of {filter} for <id of the chain of tc ingress of eth0>"
    );
    assert!(plan.contains(&swap), "{plan:?}");
    let leaving = facts.members[0].clone();
    let expected = [
        "store   delete link 1, delete attach point tc-ingress/7/2".to_owned(),
        alloc::format!("kernel  detach program 101 as {filter}"),
    ];
    assert_eq!(lines(&change(&facts, &leave(&leaving))), expected);
}

#[test]
fn members_of_a_record_that_nothing_runs_of_never_come_back() {
    for state in [PointState::Defunct, PointState::Missing] {
        let mut facts = running(XDP, vec![member(1, 5), member(2, 6)]);
        facts.state = state;
        facts.occupants = free(XDP).occupants;
        let plan = change(&facts, &join(member(3, 7)));
        assert_eq!(members_after(&plan), [3]);
        assert_eq!(recorded(&plan).unwrap().form, DispatcherForm::Direct);
        assert_eq!(recorded(&plan).unwrap().revision, 4);
        let cleared = alloc::format!("bpffs   move the pin of link 70 from {LINK} to {LINK}_old");
        assert_eq!(
            lines(&plan).contains(&cleared),
            state == PointState::Defunct
        );
        let moving = Change::Alter {
            link: LinkId(1),
            priority: None,
            proceed_on: None,
        };
        let text = refused(&facts, &moving);
        assert!(text.starts_with("link 1 is not attached"), "{text}");
        // They leave one after the other, and the last one clears what is left.
        let leaving = facts.members[0].clone();
        let plan = lines(&change(&facts, &leave(&leaving)));
        assert_eq!(plan, ["store   delete link 1, record attach point xdp/7/2"]);
        let detach = alloc::format!("kernel  detach link 70 and unpin it from {LINK}");
        let plan = lines(&change(&facts, &Change::Leave(facts.members.clone())));
        assert_eq!(plan.contains(&detach), state == PointState::Defunct);
    }
}

#[test]
fn an_attach_point_of_a_deleted_namespace_goes_as_a_whole() {
    for state in [PointState::Defunct, PointState::Missing] {
        let mut facts = running(XDP, vec![member(1, 5), member(2, 6)]);
        facts.state = state;
        facts.namespace_deleted = true;
        let first = lines(&change(&facts, &leave(&facts.members[0].clone())));
        let whole = Change::Leave(facts.members.clone());
        assert_eq!(first, lines(&change(&facts, &whole)), "{state:?}");
        assert!(
            first[0].contains("delete link 1, delete link 2"),
            "{first:?}"
        );
    }
}

#[test]
fn members_of_a_dead_dispatcher_take_their_own_pins_with_them_and_keep_their_slots() {
    let mut facts = running(XDP, vec![extension(member(1, 5)), extension(member(2, 6))]);
    facts.state = PointState::Defunct;
    facts.libxdp = true;
    let first = facts.members[0].clone();
    let directory = "/run/bpfman/fs/xdp/dispatcher_7_2_3";
    let shown = "/sys/fs/bpf/xdp/dispatch-2-900";
    let expected = [
        "store   delete link 1, record attach point xdp/7/2".to_owned(),
        alloc::format!("bpffs   unpin link 80 from {directory}/link_0"),
        alloc::format!("bpffs   unpin program 101 from {shown}/prog0-prog"),
    ];
    assert_eq!(lines(&change(&facts, &leave(&first))), expected);
    facts.members.remove(0);
    facts.dispatcher.as_mut().unwrap().members.remove(0);
    let second = facts.members[0].clone();
    let plan = lines(&change(&facts, &leave(&second)));
    for line in [
        alloc::format!("bpffs   unpin link 81 from {directory}/link_1"),
        alloc::format!("bpffs   unpin program 102 from {shown}/prog1-prog"),
        alloc::format!("bpffs   remove directory {shown} if empty"),
        alloc::format!("bpffs   remove directory {directory} if empty"),
    ] {
        assert!(plan.contains(&line), "{line}: {plan:?}");
    }
}

#[test]
fn members_of_a_dead_dispatcher_forget_their_own_links_when_the_next_one_starts() {
    let mut facts = running(XDP, vec![extension(member(1, 5))]);
    facts.state = PointState::Defunct;
    facts.occupants = free(XDP).occupants;
    let plan = change(&facts, &join(extension(member(2, 6))));
    let saved = changes(&plan).into_iter().find_map(|change| match change {
        StoreAction::SaveLink { link } => Some(link.clone()),
        _ => None,
    });
    let saved = saved.unwrap();
    assert_eq!((saved.id, saved.kernel), (LinkId(1), None));
    assert_eq!(saved.pin_path, None);
    assert_eq!(members_after(&plan), [2]);
}

#[test]
fn a_link_that_is_no_member_any_more_leaves_the_others_untouched() {
    let mut lost = member(2, 6);
    lost.at_pin = false;
    let facts = running(XDP, vec![member(1, 5), lost]);
    let plan = change(&facts, &leave(&member(9, 1)));
    assert_eq!(lines(&plan), ["store   delete link 9"]);
}

#[test]
fn another_mode_is_refused_unless_it_is_left_open() {
    let native = SharedHook::Xdp {
        mode: XdpMode::Native,
    };
    let generic = SharedHook::Xdp {
        mode: XdpMode::Generic,
    };
    let mut facts = running(generic, vec![member_of(generic, 1, 5, "p")]);
    let text = refused(&facts, &join(member_of(native, 2, 6, "p")));
    assert_eq!(
        text,
        "xdp of eth0 runs in mode generic; a program cannot join it in mode native"
    );
    let plan = change(&facts, &join(member(2, 6)));
    assert_eq!(recorded(&plan).unwrap().hook, generic);
    // One that is gone decides nothing.
    facts.state = PointState::Missing;
    facts.hook = native;
    facts.occupants = free(native).occupants;
    let plan = change(&facts, &join(member_of(native, 2, 6, "p")));
    assert_eq!(recorded(&plan).unwrap().hook, native);
}

#[test]
fn a_member_without_its_program_or_its_instructions_is_named() {
    let mut lost = member(2, 6);
    lost.at_pin = false;
    let facts = running(XDP, vec![member(1, 5), lost.clone()]);
    assert_eq!(
        refused(&facts, &join(member(3, 7))),
        "program 102 of link 2 is no longer at its pin /run/bpfman/fs/prog_102; detach link 2 first"
    );
    // Nobody has to stay for it to leave.
    assert_eq!(members_after(&change(&facts, &leave(&lost))), [1]);
    let mut blank = member(2, 6);
    blank.kept = None;
    let facts = running(XDP, vec![member(1, 5)]);
    assert_eq!(
        refused(&facts, &join(blank)),
        "the instructions of program 102 (link 2) are lost; load it again"
    );
    let mut alone = member(1, 5);
    alone.kept = None;
    change(&free(XDP), &join(alone));
}

#[test]
fn a_load_of_an_extension_is_lent_a_dispatcher_first() {
    let object = object(&[("p", "xdp"), ("q", "tc"), ("k", "kprobe")]);
    let mut spec = spec(&[("p", None, None), ("q", None, None), ("k", None, None)]);
    spec.engine = Engine::Extension;
    let checked = check_load(&spec, &object).unwrap();
    let plan = plan_load(&spec, &checked, &snapshot(object), &layout()).unwrap();
    check(&plan);
    let kernel = lines(&plan).into_iter();
    let kernel: Vec<String> = kernel.filter(|line| line.starts_with("kernel")).collect();
    let expected = [
        "kernel  load the xdp dispatcher",
        "kernel  load the tc dispatcher",
        "kernel  load p (extension), q (extension), k (kprobe) from /run/bpfman/programs/staged.o",
    ];
    assert_eq!(kernel, expected);
}

#[test]
fn the_member_that_the_verifier_stopped_in_is_named() {
    let facts = running(XDP, vec![member(1, 50)]);
    let joins = join(member(2, 60));
    let named = |joined, last: &str| {
        let mut error = KernelError::new(KernelErrorKind::Verifier, "refused".to_owned());
        error.verifier_log = Some(alloc::format!("0: (7b) *(u64 *)(r10 -8) = r1\n{last}"));
        at_fault(&facts, &joins, joined, &error).unwrap().link.0
    };
    let inlined = Some(JoinedAs::Inlined);
    assert_eq!(
        named(inlined, "1: (b7) r0 = 2\nR0 is bad\nprocessed 2 insns"),
        1
    );
    assert_eq!(named(inlined, "7: (b7) r0 = 2\nR0 is bad"), 2);
    assert_eq!(named(Some(JoinedAs::Called), "13: (95) exit\nR0 is bad"), 1);
    // What joins them is nobody's, and what is too much is that of all.
    assert_eq!(named(inlined, "R0 is bad"), 2);
    assert_eq!(
        named(inlined, "1: (b7) r0 = 2\nBPF program is too large."),
        2
    );
    assert_eq!(named(None, "1: (b7) r0 = 2\nR0 is bad"), 2);
}
