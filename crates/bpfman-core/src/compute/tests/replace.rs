//! Replacing a program.

use super::shared::check;
use super::shared::kept;
use super::shared::member_of;
use super::shared::running;
use super::*;
use crate::action::Plan;
use crate::action::Undo;
use crate::compute::MemberFacts;
use crate::kernel::KernelLinkType;
use crate::kernel::LinkPlace;
use crate::links;
use crate::links::LinkDetails;
use crate::links::LinkInterface;
use crate::links::NetfilterFamily;
use crate::links::NetfilterHook;
use crate::links::SharedHook;
use crate::managed::Link;

const XDP: SharedHook = SharedHook::Xdp {
    mode: XdpMode::Auto,
};

pub(super) fn tcx_link(id: u32) -> Link {
    Link {
        id: LinkId(id),
        program: ProgramId(101),
        kernel: Some(KernelLinkId(50 + id)),
        pin_path: Some(layout().link_pin(LinkId(id))),
        details: LinkDetails::Tcx(links::Tcx {
            at: LinkInterface {
                interface: InterfaceName::parse("eth0").unwrap(),
                ifindex: IfIndex(2),
                netns: None,
                nsid: NetnsId(7),
            },
            direction: Direction::Ingress,
            priority: Priority::new(5).unwrap(),
        }),
        metadata: BTreeMap::new(),
        created_at: UnixTime(1),
    }
}

pub(super) fn at_its_pin(link: &Link) -> Option<PinState> {
    Some(PinState::Link(kernel::Link {
        id: link.kernel.unwrap(),
        program: link.program,
        link_type: KernelLinkType(11),
        place: LinkPlace::Unsaid,
        facts: kernel::LinkFacts::default(),
    }))
}

/// Program 101 is to be replaced by 201.
pub(super) fn snapshot_of(pin: &str) -> ReplaceSnapshot {
    let mut old = managed(101, None, &[]);
    old.pin_path = path(pin);
    let new = managed(201, None, &[]);
    ReplaceSnapshot {
        old: UnloadSnapshot {
            pin: PinState::Program(observed(old.identity)),
            pin_root: path("/sys/fs/bpf"),
            sharing: Vec::new(),
            links: Vec::new(),
            points: Vec::new(),
            program: old,
        },
        new,
        points: Vec::new(),
        links: Vec::new(),
    }
}

fn swapped(link: Link, pin: Option<PinState>) -> LinkToReplace {
    LinkToReplace {
        link,
        pin,
        again: None,
    }
}

fn planned(snapshot: &ReplaceSnapshot) -> Vec<String> {
    let plan = plan_replace(snapshot, Handover::Swap, JoinedAs::Inlined, &layout()).unwrap();
    check(&plan);
    lines(&plan)
}

#[test]
fn links_that_the_kernel_gives_no_other_program_are_named_before_anything_is_loaded() {
    let probe = |id, details| Link {
        details,
        ..tcx_link(id)
    };
    let fixed = LinkDetails::Tracepoint(links::Tracepoint {
        group: "sched".to_owned(),
        name: "sched_switch".to_owned(),
    });
    let fentry = LinkDetails::Fentry(links::BoundFunction {
        fn_name: "f".to_owned(),
    });
    let shared = member_of(XDP, 4, 5, "p").link;
    check_replace(&[tcx_link(1), shared], Handover::Swap).unwrap();
    let links = [probe(1, fixed), tcx_link(2), probe(3, fentry)];
    let refusal = check_replace(&links, Handover::Swap).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "link 1 is of kind tracepoint, link 3 is of kind fentry: the kernel cannot give such links another program"
    );
    check_replace(&links, Handover::Overlap).unwrap();
    check_replace(&links, Handover::Gap).unwrap();
    let map = LinkDetails::StructOps(links::StructOps {
        map: "m".to_owned(),
        map_id: MapId(1),
        struct_name: "s".to_owned(),
    });
    for handover in [Handover::Swap, Handover::Overlap, Handover::Gap] {
        let refusal = check_replace(&[probe(4, map.clone())], handover).unwrap_err();
        assert!(refusal.to_string().contains("link 4 is of kind struct_ops"));
    }
    let function = LinkDetails::Freplace(links::BoundFunction {
        fn_name: "f".to_owned(),
    });
    let netfilter = LinkDetails::Netfilter(links::Netfilter {
        family: NetfilterFamily::Ipv4,
        hook: NetfilterHook::LocalIn,
        priority: 0,
        defragment: false,
        netns: None,
        nsid: NetnsId(7),
    });
    for details in [function, netfilter] {
        let links = [probe(5, details)];
        check_replace(&links, Handover::Overlap).unwrap_err();
        check_replace(&links, Handover::Gap).unwrap();
    }
}

#[test]
fn every_link_gets_the_new_version_before_the_old_one_goes() {
    let mut snapshot = snapshot_of("/run/bpfman/fs/prog_101");
    let change = Change::Exchange {
        from: ProgramId(101),
        to: Box::new(snapshot.new.clone()),
        kept: Some(Box::new(kept("p"))),
        facts: MemberFacts::default(),
    };
    let members = vec![member_of(XDP, 1, 5, "p"), member_of(XDP, 2, 6, "q")];
    snapshot.points = vec![(running(XDP, members), change)];
    let link = tcx_link(8);
    snapshot.links = vec![swapped(link.clone(), at_its_pin(&link))];
    let plan = planned(&snapshot);
    let order = [
        "kernel  load the chain of xdp of eth0",
        "bpffs   make directory /run/bpfman/fs/xdp/dispatcher_7_2_4",
        "bpffs   pin program <id of the chain of xdp of eth0> at /run/bpfman/fs/xdp/dispatcher_7_2_4/dispatcher",
        "kernel  swap program 900 of link 70",
        "kernel  swap program 101 of link 58",
        "store   record link 1, record attach point xdp/7/2, record link 8, delete program 101",
        "bpffs   unpin program 900 from /run/bpfman/fs/xdp/dispatcher_7_2_3/dispatcher",
        "bpffs   remove directory /run/bpfman/fs/xdp/dispatcher_7_2_3 if empty",
        "bpffs   unpin program 101 from /run/bpfman/fs/prog_101",
        "files   remove directory /run/bpfman/programs/101 and its files",
    ];
    assert_eq!(plan.len(), order.len(), "{plan:?}");
    for (line, start) in plan.iter().zip(order) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn the_pin_that_a_user_chose_is_that_of_the_new_version_from_then_on() {
    let snapshot = snapshot_of("/sys/fs/bpf/a/mine");
    let expected = [
        "store   record program 201, delete program 101",
        "bpffs   unpin program 101 from /sys/fs/bpf/a/mine",
        "kernel  hold program 201 (/run/bpfman/fs/prog_201)",
        "bpffs   pin program 201 at /sys/fs/bpf/a/mine",
        "bpffs   unpin program 201 from /run/bpfman/fs/prog_201",
        "files   keep the record of 201 in /run/bpfman/programs/201/record.json",
        "bpffs   remove directory /sys/fs/bpf/a if empty",
        "files   remove directory /run/bpfman/programs/101 and its files",
    ];
    assert_eq!(planned(&snapshot), expected);
}

#[test]
fn a_link_that_lost_its_pin_and_an_attach_point_that_does_not_run_are_refused() {
    let mut snapshot = snapshot_of("/run/bpfman/fs/prog_101");
    let free = PinState::Free {
        ancestor: path("/run"),
        on_bpffs: true,
    };
    snapshot.links = vec![swapped(tcx_link(8), Some(free))];
    let refusal =
        plan_replace(&snapshot, Handover::Swap, JoinedAs::Inlined, &layout()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "link 8 is no longer at its pin; detach it first"
    );
    snapshot.links.clear();
    let mut facts = running(XDP, vec![member_of(XDP, 1, 5, "p")]);
    facts.state = PointState::Defunct;
    let change = Change::Exchange {
        from: ProgramId(101),
        to: Box::new(snapshot.new.clone()),
        kept: None,
        facts: MemberFacts::default(),
    };
    snapshot.points = vec![(facts, change)];
    let refusal = plan_replace(&snapshot, Handover::Swap, JoinedAs::Inlined, &layout())
        .unwrap_err()
        .to_string();
    assert!(refusal.starts_with("link 1 is not attached"), "{refusal}");
}

#[test]
fn a_new_version_is_loaded_as_the_old_one_was_with_its_maps() {
    let mut old = managed(101, None, &[(7, "m", Some("/run/bpfman/fs/maps/101/m"))]);
    old.load.engine = Engine::Extension;
    old.load
        .global_data
        .insert("g".to_owned(), Base64Bytes(vec![1]));
    old.metadata
        .insert("owner".to_owned(), "somebody".to_owned());
    let spec = new_version(&old, path("/tmp/new.o").into(), None, vec!["n".to_owned()]);
    assert_eq!(spec.map_owner_id, Some(ProgramId(101)));
    assert_eq!(spec.other_maps, ["n"]);
    assert_eq!(spec.engine, Engine::Extension);
    assert_eq!(spec.programs[0].name, "p");
    assert_eq!(spec.programs[0].program_type, Some(ProgramType::Xdp));
    assert_eq!(spec.global_data["g"], [1]);
    assert_eq!(spec.metadata, old.metadata);
    assert_eq!(spec.pin_path, None);
}

/// A snapshot with a link of a tracepoint, which the kernel gives no other program.
fn traced() -> ReplaceSnapshot {
    let mut snapshot = snapshot_of("/run/bpfman/fs/prog_101");
    for program in [&mut snapshot.old.program, &mut snapshot.new] {
        program.load.program_type = ProgramType::Tracepoint;
    }
    let link = Link {
        details: LinkDetails::Tracepoint(links::Tracepoint {
            group: "sched".to_owned(),
            name: "sched_switch".to_owned(),
        }),
        ..tcx_link(8)
    };
    let request = link.details.request(None).unwrap();
    snapshot.links = vec![LinkToReplace {
        pin: at_its_pin(&link),
        again: Some((request, AttachFacts::Tracepoint(77))),
        link,
    }];
    snapshot
}

fn assert_begins(plan: &Plan, order: &[&str]) {
    check(plan);
    let plan = lines(plan);
    assert_eq!(plan.len(), order.len(), "{plan:?}");
    for (line, start) in plan.iter().zip(order) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn an_overlap_attaches_the_new_version_before_the_old_one_ends() {
    let plan = plan_replace(&traced(), Handover::Overlap, JoinedAs::Inlined, &layout()).unwrap();
    assert_begins(
        &plan,
        &[
            "kernel  attach program 201 (/run/bpfman/fs/prog_201) to tracepoint 77",
            "bpffs   move the pin of link 58 from /run/bpfman/fs/links/8 to /run/bpfman/fs/links/8_old",
            "bpffs   pin link <kernel id of link 8> at /run/bpfman/fs/links/8",
            "store   record link 8, delete program 101",
            "bpffs   unpin program 101",
            "kernel  detach link 58 and unpin it from /run/bpfman/fs/links/8_old",
            "files   remove directory",
        ],
    );
}

#[test]
fn a_gap_ends_the_old_version_before_the_new_one_is_attached() {
    let plan = plan_replace(&traced(), Handover::Gap, JoinedAs::Inlined, &layout()).unwrap();
    assert_begins(
        &plan,
        &[
            "kernel  detach link 58 and unpin it from /run/bpfman/fs/links/8",
            "kernel  wait until link 58 is gone",
            "kernel  attach program 201 (/run/bpfman/fs/prog_201) to tracepoint 77",
            "bpffs   pin link <kernel id of link 8> at /run/bpfman/fs/links/8",
            "store   record link 8, delete program 101",
            "bpffs   unpin program 101",
            "files   remove directory",
        ],
    );
    let Undo::By(undo) = &plan.steps[0].undo else {
        panic!("{plan}");
    };
    assert_eq!(
        undo.to_string(),
        "kernel  attach program 101 to tracepoint 77 again, pinned at /run/bpfman/fs/links/8"
    );
}
