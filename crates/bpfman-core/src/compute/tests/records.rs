//! The records that plans change.

use super::links;
use super::replace::at_its_pin;
use super::replace::snapshot_of;
use super::replace::tcx_link;
use super::shared::change;
use super::shared::check;
use super::shared::extension;
use super::shared::free;
use super::shared::join;
use super::shared::kept;
use super::shared::leave;
use super::shared::member_of;
use super::shared::running;
use super::*;
use crate::action::Action;
use crate::action::KernelAction;
use crate::action::Plan;
use crate::action::ProgramSource;
use crate::action::StoreAction;
use crate::action::Undo;
use crate::compute::MemberFacts;
use crate::links::SharedHook;

const XDP: SharedHook = SharedHook::Xdp {
    mode: XdpMode::Auto,
};
const TC: SharedHook = SharedHook::Tc {
    direction: Direction::Ingress,
};

/// The changes that an action makes to records.
fn changes_of(action: &Action) -> &[StoreAction] {
    match action {
        Action::Store(StoreAction::Batch { actions }) => actions,
        Action::Store(one) => core::slice::from_ref(one),
        _ => &[],
    }
}

/// The changes that a plan makes to records, in their order.
pub(super) fn changes(plan: &Plan) -> Vec<&StoreAction> {
    let steps = plan.steps.iter();
    steps.flat_map(|step| changes_of(&step.action)).collect()
}

/// What changes are about: `link 1` of both `record link 1` and `delete link 1`.
fn subjects(action: &Action) -> Vec<String> {
    let mut subjects = Vec::new();
    for change in changes_of(action) {
        let words = change.to_string();
        let (noun, names) = words.split_once(' ').unwrap().1.split_once(' ').unwrap();
        let subject = |name| alloc::format!("{noun} {name}");
        subjects.extend(names.split(", ").map(subject));
    }
    subjects
}

/// What holds of every plan: one step at most changes records, for on a full disk there may be no space to undo a first
/// one. It is the commit point. Its changes are undone the other way round.
pub(super) fn check_records(plan: &Plan) {
    let is_store = |action: &Action| matches!(action, Action::Store(_));
    let steps = plan.steps.iter().filter(|step| is_store(&step.action));
    assert!(steps.count() <= 1, "{plan}");
    let Some(at) = plan.steps.iter().position(|step| is_store(&step.action)) else {
        return;
    };
    assert_eq!(plan.commit, Some(at), "{plan}");
    for step in &plan.steps[..at] {
        assert!(!matches!(step.undo, Undo::Impossible { .. }), "{plan}");
        if let Undo::By(undo) = &step.undo {
            check_way_back(undo);
        }
    }
    let step = &plan.steps[at];
    if let Action::Store(StoreAction::Batch { actions }) = &step.action {
        assert!(actions.len() > 1, "{plan}");
        let nested = |action: &StoreAction| matches!(action, StoreAction::Batch { .. });
        assert!(!actions.iter().any(nested), "{plan}");
    }
    if let Undo::By(undo) = &step.undo {
        let mut undone = subjects(undo);
        undone.reverse();
        assert_eq!(subjects(&step.action), undone, "{plan}");
    }
}

/// Another process finds what ran before a swap at its pin.
fn check_way_back(undo: &Action) {
    if let Action::Kernel(
        KernelAction::UpdateLink { to, .. } | KernelAction::ReplaceTcFilter { to, .. },
    ) = undo
    {
        assert!(matches!(to, ProgramSource::Pinned { .. }), "{undo}");
    }
}

fn a_load() -> Plan {
    let object = object(&[("p", "xdp"), ("q", "tc")]);
    let spec = spec(&[("p", None, None), ("q", None, None)]);
    let checked = check_load(&spec, &object).unwrap();
    plan_load(&spec, &checked, &snapshot(object), &layout()).unwrap()
}

fn an_attach() -> Plan {
    let facts = links::at_interface(&[], Vec::new(), None);
    links::attach(links::program(ProgramType::Tcx), links::tcx(5), facts).unwrap()
}

fn a_detach() -> Plan {
    let link = tcx_link(8);
    links::detach(link.clone(), at_its_pin(&link), None).unwrap()
}

/// Of a program with a link of its own, one among others and one that is the only one at its attach point.
fn an_unload() -> Plan {
    let link = tcx_link(8);
    let among = [member_of(XDP, 1, 5, "p"), member_of(XDP, 2, 6, "q")];
    let alone = member_of(TC, 3, 5, "p");
    let mut snapshot = snapshot_of("/run/bpfman/fs/prog_101").old;
    snapshot.links.push(DetachSnapshot {
        pin: at_its_pin(&link),
        link,
        unpinned: None,
    });
    snapshot.points = vec![
        (running(XDP, among.to_vec()), leave(&among[0])),
        (running(TC, vec![alone.clone()]), leave(&alone)),
    ];
    plan_unload(&snapshot, Joining::All(JoinedAs::Inlined), &layout()).unwrap()
}

fn an_exchange() -> (PointFacts, Change) {
    let members = vec![member_of(XDP, 1, 5, "p"), member_of(XDP, 2, 6, "q")];
    let exchange = Change::Exchange {
        from: ProgramId(101),
        to: Box::new(managed(201, None, &[])),
        kept: Some(Box::new(kept("p"))),
        facts: MemberFacts::default(),
    };
    (running(XDP, members), exchange)
}

fn a_replacement() -> Plan {
    let mut snapshot = snapshot_of("/sys/fs/bpf/a/mine");
    let link = tcx_link(8);
    snapshot.points.push(an_exchange());
    snapshot.links.push(LinkToReplace {
        pin: at_its_pin(&link),
        again: None,
        link,
    });
    plan_replace(&snapshot, Handover::Swap, JoinedAs::Inlined, &layout()).unwrap()
}

/// Changes of an attach point, and what they change of the records.
fn at_a_point() -> Vec<(Plan, &'static str)> {
    let (one, two) = (member_of(XDP, 1, 5, "p"), member_of(XDP, 2, 6, "q"));
    let extended = [extension(one.clone()), extension(two.clone())].to_vec();
    let (both, extended) = (running(XDP, vec![one.clone(), two]), running(XDP, extended));
    let mut dead = extended.clone();
    dead.state = PointState::Defunct;
    dead.occupants = free(XDP).occupants;
    let new = || join(member_of(XDP, 3, 7, "r"));
    let alter = Change::Alter {
        link: LinkId(1),
        priority: Some(Priority::new(9).unwrap()),
        proceed_on: None,
    };
    let (facts, exchange) = an_exchange();
    vec![
        (
            change(&free(XDP), &new()),
            "record link 3, record attach point xdp/7/2",
        ),
        (
            change(&both, &new()),
            "record link 3, record attach point xdp/7/2",
        ),
        (
            change(&extended, &new()),
            "record link 1, record link 2, record link 3, record attach point xdp/7/2",
        ),
        (
            change(&dead, &new()),
            "record link 1, record link 2, record link 3, record attach point xdp/7/2",
        ),
        (
            change(&both, &leave(&one)),
            "delete link 1, record attach point xdp/7/2",
        ),
        (
            change(&extended, &leave(&extended.members[0])),
            "record link 2, delete link 1, record attach point xdp/7/2",
        ),
        (
            change(&dead, &leave(&dead.members[0])),
            "delete link 1, record attach point xdp/7/2",
        ),
        (
            change(&dead, &Change::Leave(dead.members.clone())),
            "delete link 1, delete link 2, delete attach point xdp/7/2",
        ),
        (
            change(&both, &alter),
            "record link 1, record attach point xdp/7/2",
        ),
        (
            change(&facts, &exchange),
            "record link 1, record attach point xdp/7/2",
        ),
    ]
}

#[test]
fn every_plan_changes_all_its_records_in_one_step() {
    let mut plans = at_a_point();
    plans.extend([
        (a_load(), "record program <id of p>, <id of q>"),
        (an_attach(), "record link 3"),
        (a_detach(), "delete link 8"),
        (
            an_unload(),
            "delete link 8, delete link 1, record attach point xdp/7/2, delete link 3, \
             delete attach point tc-ingress/7/2, delete program 101",
        ),
        (
            a_replacement(),
            "record link 1, record attach point xdp/7/2, record link 8, record program 201, delete program 101",
        ),
    ]);
    for (plan, changes) in plans {
        check(&plan);
        let lines = lines(&plan).into_iter();
        let store: Vec<String> = lines.filter(|line| line.starts_with("store")).collect();
        assert_eq!(store, [alloc::format!("store   {changes}")], "{plan}");
    }
}
