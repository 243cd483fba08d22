//! Attaching and detaching.

use super::shared::check;
use super::*;
use crate::action::Plan;
use crate::kernel::AttachOrder;
use crate::kernel::AttachedProgram;
use crate::kernel::KernelLinkType;
use crate::kernel::LinkPlace;
use crate::links;
use crate::links::AttachRequest;
use crate::links::AttachSpec;
use crate::links::InterfaceRequest;
use crate::links::LinkDetails;
use crate::links::LinkInterface;
use crate::links::ProbeSite;
use crate::links::ProbedFile;
use crate::managed::Link;
use crate::target::USDT_SPECS;
use crate::target::UsdtProbe;
use crate::target::UsdtSpec;

/// `enum bpf_link_type` of `linux/bpf.h`.
const PERF_EVENT: KernelLinkType = KernelLinkType(7);
const TCX: KernelLinkType = KernelLinkType(11);

pub(super) fn program(program_type: ProgramType) -> Program {
    let mut program = managed(5, None, &[]);
    program.load.program_type = program_type;
    program
}

fn cgroup(direction: Option<Direction>) -> AttachRequest {
    AttachRequest::Cgroup(links::CgroupRequest {
        path: path("/c"),
        direction,
    })
}

fn interface() -> InterfaceRequest {
    InterfaceRequest {
        name: InterfaceName::parse("eth0").unwrap().into(),
        netns: None,
    }
}

fn priority(number: i64) -> Priority {
    Priority::new(number).unwrap()
}

pub(super) fn tcx(number: i64) -> AttachRequest {
    AttachRequest::Tcx(links::TcxRequest {
        interface: interface(),
        direction: Direction::Ingress,
        priority: priority(number),
    })
}

fn at() -> LinkInterface {
    LinkInterface {
        interface: InterfaceName::parse("eth0").unwrap(),
        ifindex: IfIndex(2),
        netns: None,
        nsid: NetnsId(7),
    }
}

fn link(id: u32, program: u32, kernel: Option<u32>, details: LinkDetails) -> Link {
    Link {
        id: LinkId(id),
        program: ProgramId(program),
        kernel: kernel.map(KernelLinkId),
        pin_path: kernel.map(|_| layout().link_pin(LinkId(id))),
        details,
        metadata: BTreeMap::new(),
        created_at: UnixTime(1),
    }
}

fn tcx_link(id: u32, kernel: u32, number: i64) -> Link {
    let details = LinkDetails::Tcx(links::Tcx {
        at: at(),
        direction: Direction::Ingress,
        priority: priority(number),
    });
    link(id, 100 + id, Some(kernel), details)
}

/// The kernel's order: (program, link) pairs, a link of 0 is none.
fn order(members: &[(u32, u32)]) -> AttachOrder {
    let member = |(program, link): &(u32, u32)| AttachedProgram {
        program: ProgramId(*program),
        link: (*link != 0).then_some(KernelLinkId(*link)),
    };
    AttachOrder {
        revision: 9,
        members: members.iter().map(member).collect(),
    }
}

pub(super) fn at_interface(
    members: &[(u32, u32)],
    neighbours: Vec<Link>,
    tc: Option<u32>,
) -> AttachFacts {
    AttachFacts::Interface(InterfaceFacts {
        tcx_pin_taken: false,
        at: LinkInterface {
            interface: InterfaceName::parse("eth0").unwrap(),
            ifindex: IfIndex(2),
            netns: None,
            nsid: NetnsId(7),
        },
        attached: order(members),
        neighbours,
        tc: tc.map(KernelLinkId),
    })
}

pub(super) fn attach(
    program: Program,
    request: AttachRequest,
    facts: AttachFacts,
) -> Result<Plan, AttachRefusal> {
    let spec = AttachSpec {
        program: program.id(),
        request,
        metadata: BTreeMap::new(),
    };
    let snapshot = AttachSnapshot {
        pin: PinState::Program(observed(program.identity)),
        program,
        link: LinkId(3),
        bpffs_mounted: true,
        facts,
        now: UnixTime(1),
    };
    plan_attach(&spec, &snapshot, &layout()).inspect(check)
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn a_link_is_made_pinned_and_recorded_in_this_order() {
    let request = AttachRequest::Tracepoint(links::Tracepoint {
        group: "sched".to_owned(),
        name: "sched_switch".to_owned(),
    });
    let plan = attach(
        program(ProgramType::Tracepoint),
        request,
        AttachFacts::Tracepoint(77),
    )
    .unwrap();
    let expected = [
        "kernel  attach program 5 (/run/bpfman/fs/prog_5) to tracepoint 77",
        "bpffs   make directory /run/bpfman/fs/links",
        "bpffs   pin link <kernel id of link 3> at /run/bpfman/fs/links/3",
        "store   record link 3",
    ];
    assert_eq!(lines(&plan), expected);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

/// The kernel's order, our new priority, and the link to stand before.
type Case = (&'static [(u32, u32)], i64, Option<u32>);

#[test]
fn tcx_stands_before_the_first_larger_priority_that_is_alive() {
    let ours = || {
        vec![
            tcx_link(1, 11, 10),
            tcx_link(2, 12, 20),
            tcx_link(4, 14, 20),
        ]
    };
    let table: [Case; 7] = [
        (&[(101, 11), (102, 12), (104, 14)], 5, Some(11)),
        (&[(101, 11), (102, 12), (104, 14)], 10, Some(12)),
        (&[(101, 11), (102, 12), (104, 14)], 20, None),
        // What the kernel no longer has is no anchor.
        (&[(101, 11), (104, 14)], 10, Some(14)),
        (&[], 5, None),
        // Others keep their places.
        (&[(900, 90), (101, 11), (901, 0), (102, 12)], 15, Some(12)),
        (&[(900, 90)], 5, None),
    ];
    for (members, number, before) in table {
        let facts = at_interface(members, ours(), None);
        let plan = attach(program(ProgramType::Tcx), tcx(number), facts).unwrap();
        let place = before.map_or(", last".to_owned(), |link| {
            alloc::format!(", before link {link}")
        });
        let line = lines(&plan).remove(0);
        assert!(line.ends_with(&place), "{members:?} {number}: {line}");
    }
}

#[test]
fn tcx_stands_before_the_programs_of_tc() {
    let table = [
        (&[(5, 20)][..], Some(20), ", before link 20"),
        (&[(101, 11), (5, 20)], Some(20), ", before link 20"),
        // Their record outlived them: the kernel has no such link at the hook.
        (&[(101, 11)], Some(20), ", last"),
        (&[(5, 20)], None, ", last"),
    ];
    for (members, tc, place) in table {
        let facts = at_interface(members, vec![tcx_link(1, 11, 10)], tc);
        let mut other = program(ProgramType::Tcx);
        other.identity.id = ProgramId(6);
        let plan = attach(other, tcx(1_000), facts).unwrap();
        assert!(lines(&plan)[0].ends_with(place), "{members:?}: {plan}");
    }
}

#[test]
fn a_link_of_tcx_is_pinned_where_clients_look_unless_that_is_taken() {
    for (taken, pin) in [
        (false, "/run/bpfman/fs/tcx-ingress/link_7_2_5"),
        (true, "/run/bpfman/fs/links/3"),
    ] {
        let AttachFacts::Interface(facts) = at_interface(&[], Vec::new(), None) else {
            panic!("an interface has its facts");
        };
        let facts = AttachFacts::Interface(InterfaceFacts {
            tcx_pin_taken: taken,
            ..facts
        });
        let plan = attach(program(ProgramType::Tcx), tcx(1), facts).unwrap();
        let at = alloc::format!(" at {pin}");
        assert!(
            lines(&plan).iter().any(|line| line.ends_with(&at)),
            "{plan}"
        );
    }
}

#[test]
fn the_same_program_twice_at_one_hook_is_refused() {
    let twice = at_interface(&[(5, 11)], vec![tcx_link(1, 11, 10)], None);
    let refusal = attach(program(ProgramType::Tcx), tcx(1), twice).unwrap_err();
    assert!(
        refusal
            .to_string()
            .ends_with("attached to tcx ingress of eth0 as link 1"),
        "{refusal}"
    );
}

#[test]
fn only_kinds_that_fit_the_type_are_attached() {
    let kprobe = |function: &str| {
        AttachRequest::Kprobe(links::KprobeRequest {
            function: function.to_owned(),
            offset: 0,
        })
    };
    let table = [
        (ProgramType::Kprobe, kprobe("f"), Ok(" to f+0")),
        (
            ProgramType::Kretprobe,
            kprobe("f"),
            Ok(" to the return of f+0"),
        ),
        (
            ProgramType::Uprobe,
            kprobe("f"),
            Err("is a uprobe program; it cannot be attached as kprobe"),
        ),
        (
            ProgramType::Lsm,
            AttachRequest::Lsm(links::BoundRequest),
            Ok(" to what it was loaded for"),
        ),
        (
            ProgramType::Xdp,
            AttachRequest::Fentry(links::BoundRequest),
            Err("is a xdp program; it cannot be attached as fentry"),
        ),
        (
            ProgramType::Fexit,
            AttachRequest::Fentry(links::BoundRequest),
            Err("is a fexit program; it cannot be attached as fentry"),
        ),
        (
            ProgramType::FlowDissector,
            AttachRequest::SkLookup(links::NamespaceRequest { netns: None }),
            Err("is a flow_dissector program; it cannot be attached as sk_lookup"),
        ),
    ];
    for (program_type, request, expected) in table {
        check_request(program_type, request, expected);
    }
}

#[test]
fn a_direction_is_taken_only_where_the_type_leaves_it_open() {
    let table = [
        (
            ProgramType::CgroupSkbEgress,
            cgroup(Some(Direction::Egress)),
            Ok(" to cgroup /c"),
        ),
        (
            ProgramType::CgroupSkbEgress,
            cgroup(Some(Direction::Ingress)),
            Err("for egress only, not for ingress"),
        ),
        (
            ProgramType::CgroupSkbIngress,
            cgroup(Some(Direction::Egress)),
            Err("for ingress only, not for egress"),
        ),
        (
            ProgramType::CgroupConnect4,
            cgroup(Some(Direction::Egress)),
            Err("which has no direction"),
        ),
        (
            ProgramType::SockOps,
            cgroup(Some(Direction::Ingress)),
            Err("which has no direction"),
        ),
        (
            ProgramType::CgroupSkb,
            cgroup(None),
            Err("say ingress or egress"),
        ),
    ];
    for (program_type, request, expected) in table {
        check_request(program_type, request, expected);
    }
}

/// The end of the first step, or words of the refusal.
fn check_request(program_type: ProgramType, request: AttachRequest, expected: Result<&str, &str>) {
    let facts = match request {
        AttachRequest::Cgroup(_) => AttachFacts::Cgroup(1),
        _ => AttachFacts::Nothing,
    };
    match (attach(program(program_type), request, facts), expected) {
        (Ok(plan), Ok(end)) => assert!(lines(&plan)[0].ends_with(end), "{plan}"),
        (Err(refusal), Err(words)) => {
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
        (answer, _) => panic!("{program_type}: {answer:?}"),
    }
}

fn usdt_facts(neighbours: Vec<Link>, max_entries: u32) -> AttachFacts {
    let spec = UsdtSpec {
        arguments: Vec::new(),
    };
    let site = |cookie| ProbeSite {
        offset: 64,
        counter_offset: 0,
        cookie,
    };
    AttachFacts::Usdt(UsdtFacts {
        path: path("/bin/probed"),
        probe: UsdtProbe {
            sites: vec![site(0), site(1)],
            specs: vec![spec.clone(), spec],
        },
        specs: Some(kernel::Map {
            id: MapId(40),
            name: USDT_SPECS.to_owned(),
            map_type: kernel::MapType(2),
            key_size: 4,
            value_size: 208,
            max_entries,
            flags: 0,
            btf_id: 0,
            map_extra: 0,
            memlock: None,
            frozen: Some(false),
        }),
        neighbours,
    })
}

fn usdt_link(id: u32, first_spec: u32, specs: u32) -> Link {
    let details = LinkDetails::Usdt(links::Usdt {
        target: "/bin/probed".to_owned(),
        provider: "p".to_owned(),
        name: "n".to_owned(),
        pid: None,
        container_pid: None,
        first_spec,
        specs,
    });
    link(id, 5, Some(id), details)
}

#[test]
fn static_probes_take_elements_that_no_other_link_refers_to() {
    let request = || {
        AttachRequest::Usdt(links::UsdtRequest {
            file: ProbedFile {
                target: "/bin/probed".to_owned(),
                pid: None,
                container_pid: None,
            },
            provider: "p".to_owned(),
            name: "n".to_owned(),
        })
    };
    let probed = || {
        let mut program = managed(
            5,
            None,
            &[(40, USDT_SPECS, Some("/run/bpfman/fs/maps/5/specs"))],
        );
        program.load.program_type = ProgramType::Usdt;
        program
    };
    // What is taken, and the first of the two elements taken next.
    let table: [(&[(u32, u32)], u32); 4] = [
        (&[], 0),
        (&[(0, 2)], 2),
        (&[(2, 3)], 0),
        (&[(0, 1), (2, 2)], 4),
    ];
    for (taken, first) in table {
        let neighbours = (1..)
            .zip(taken)
            .map(|(id, (start, count))| usdt_link(id, *start, *count));
        let facts = usdt_facts(neighbours.collect(), 256);
        let plan = attach(probed(), request(), facts).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert!(
            text.contains(&alloc::format!("\"first_spec\":{first},\"specs\":2")),
            "{text}"
        );
        assert!(
            text.contains(&alloc::format!("\"cookie\":{}", first + 1)),
            "{text}"
        );
        assert_eq!(
            lines(&plan)
                .iter()
                .filter(|line| line.contains("write an element"))
                .count(),
            2
        );
    }
    let full = usdt_facts(vec![usdt_link(1, 0, 3)], 4);
    let refusal = attach(probed(), request(), full).unwrap_err();
    assert!(
        refusal
            .to_string()
            .contains("no room for 2 more of 4 elements"),
        "{refusal}"
    );
    let none = attach(
        program(ProgramType::Usdt),
        request(),
        usdt_facts(Vec::new(), 4),
    )
    .unwrap_err();
    assert_eq!(none, AttachRefusal::NoSpecMap(ProgramId(5)));
}

fn kernel_link(id: u32, program: u32, link_type: KernelLinkType) -> kernel::Link {
    kernel::Link {
        id: KernelLinkId(id),
        program: ProgramId(program),
        link_type,
        place: LinkPlace::Unsaid,
        facts: kernel::LinkFacts::default(),
    }
}

pub(super) fn detach(
    link: Link,
    pin: Option<PinState>,
    unpinned: Option<kernel::Link>,
) -> Result<Plan, DetachRefusal> {
    let snapshot = DetachSnapshot {
        link,
        pin,
        unpinned,
    };
    plan_detach(&snapshot).inspect(check)
}

#[test]
fn the_record_goes_before_what_nothing_brings_back() {
    let ours = PinState::Link(kernel_link(11, 101, TCX));
    let plan = detach(tcx_link(1, 11, 10), Some(ours), None).unwrap();
    let expected = [
        "store   delete link 1",
        "kernel  detach link 11 and unpin it from /run/bpfman/fs/links/1",
    ];
    assert_eq!(lines(&plan), expected);
}

#[test]
fn a_link_without_its_pin_is_detached_where_its_type_can_be() {
    let free = || {
        Some(PinState::Free {
            ancestor: path("/run"),
            on_bpffs: true,
        })
    };
    let gone = detach(tcx_link(1, 11, 10), free(), None).unwrap();
    assert_eq!(lines(&gone), ["store   delete link 1"]);
    let alive = detach(tcx_link(1, 11, 10), free(), Some(kernel_link(11, 101, TCX))).unwrap();
    assert_eq!(lines(&alive)[1], "kernel  detach link 11");
    let held = detach(
        tcx_link(1, 11, 10),
        free(),
        Some(kernel_link(11, 101, PERF_EVENT)),
    );
    assert!(
        matches!(held, Err(DetachRefusal::HeldElsewhere { .. })),
        "{held:?}"
    );
    // The kernel gave the id to a link of another program.
    let recycled = detach(tcx_link(1, 11, 10), free(), Some(kernel_link(11, 102, TCX))).unwrap();
    assert_eq!(lines(&recycled), ["store   delete link 1"]);
    let foreign = PinState::Link(kernel_link(12, 101, TCX));
    let refused = detach(tcx_link(1, 11, 10), Some(foreign), None);
    assert!(
        matches!(refused, Err(DetachRefusal::PinIsNotOurs { .. })),
        "{refused:?}"
    );
}

#[test]
fn positions_follow_priorities_and_then_arrival() {
    let links = vec![
        tcx_link(1, 11, 20),
        tcx_link(2, 12, 10),
        tcx_link(3, 13, 20),
    ];
    let places: Vec<_> = links.iter().map(|link| position(link, &links)).collect();
    assert_eq!(places, [Some(1), Some(0), Some(2)]);
    assert_eq!(position(&usdt_link(5, 0, 1), &links), None);
}
