//! Links among those of others: the order of a hook, interfaces that go, ids that come round.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;

use bpfman_core::action::AttachTarget;
use bpfman_core::action::KernelAction;
use bpfman_core::action::OrderedPlace;
use bpfman_core::compute::AttachRefusal;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::links;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::AttachRequest;
use bpfman_core::links::AttachSpec;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceRequest;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::Namespace;
use bpfman_core::managed::Link;
use bpfman_core::types::Direction;
use bpfman_core::types::Engine;
use bpfman_core::types::IfIndex;
use bpfman_core::types::InterfaceName;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;
use bpfman_core::types::XdpMode;
use bpfman_interpreter::executor::ActionError;
use bpfman_manager::LinkStatus;
use bpfman_manager::ManagerError;
use bpfman_model::Faults;
use bpfman_model::World;
use bpfman_model::link_types;
use proptest::prelude::*;

use self::common::Machine;
use self::common::name;
use self::common::path;
use self::common::tcx;
use self::common::tcx_in;
use self::common::tracepoint;

/// How often an attach is planned, as the manager has it.
const TRIES: usize = 16;

/// The ingress TCX hook of the only interface of `eth0`'s namespace.
fn hook_of(link: &Link) -> AttachPoint {
    link.details.attach_point().unwrap()
}

/// Where somebody else attaches.
fn foreign_target(point: AttachPoint, before: Option<KernelLinkId>) -> AttachTarget {
    let interface = InterfaceTarget {
        netns: Namespace {
            path: None,
            id: point.nsid,
        },
        ifindex: point.ifindex,
    };
    match point.hook {
        Hook::Xdp => AttachTarget::Xdp {
            interface,
            mode: XdpMode::Auto,
        },
        _ => AttachTarget::Tcx {
            interface,
            direction: Direction::Ingress,
            place: OrderedPlace {
                before,
                revision: 0,
            },
        },
    }
}

fn attach_foreign(world: &World, point: AttachPoint, before: Option<KernelLinkId>) -> KernelLinkId {
    let program = world.load_foreign_as("foreign", KernelProgramType::SCHED_CLS);
    let target = foreign_target(point, before);
    world.attach_foreign(program, &target).unwrap()
}

fn status(machine: &Machine, id: LinkId) -> LinkStatus {
    machine.manage(|manager| manager.get_link(id)).unwrap()
}

fn listed_positions(machine: &Machine) -> BTreeMap<LinkId, Option<usize>> {
    let listing = machine.manage(|manager| manager.list_links()).unwrap();
    let links = listing.links.into_iter();
    links.map(|link| (link.record.id, link.position)).collect()
}

/// Our links at the only hook there is, in the kernel's order.
fn ours_in_order(machine: &Machine) -> Vec<Link> {
    let places = machine.world.places();
    let records = places.link_records();
    let order = places.hooks.into_values().flatten();
    let ours = |id| {
        records
            .iter()
            .find(|record| record.kernel == Some(id))
            .cloned()
    };
    order.filter_map(ours).collect()
}

/// What happens next at the hook.
#[derive(Clone, Debug)]
enum Event {
    Attach {
        priority: u32,
    },
    /// Of ours, by its place.
    Detach {
        nth: usize,
    },
    /// Somebody else attaches before one of ours, or last.
    ForeignAttach {
        nth: usize,
    },
    /// Somebody else detaches one of the whole order, ours or not.
    ForeignDetach {
        nth: usize,
    },
    /// Somebody else does this between the next attach's plan and its execution, so often.
    Meddling {
        times: usize,
        attaches: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4u32).prop_map(|priority| Event::Attach { priority }),
        2 => any::<usize>().prop_map(|nth| Event::Detach { nth }),
        2 => any::<usize>().prop_map(|nth| Event::ForeignAttach { nth }),
        1 => any::<usize>().prop_map(|nth| Event::ForeignDetach { nth }),
        1 => (1..TRIES, any::<bool>()).prop_map(|(times, attaches)| Event::Meddling { times, attaches }),
    ]
}

/// The members of the only hook there is.
fn members(world: &World) -> Vec<KernelLinkId> {
    world.places().hooks.into_values().flatten().collect()
}

/// Lets somebody else change the order before the next attaches of ours.
fn meddle(world: &World, point: AttachPoint, times: usize, attaches: bool) {
    let left = Cell::new(times);
    world.meddle(move |world, action| {
        if left.get() == 0 || !matches!(action, KernelAction::CreateLink(_)) {
            return;
        }
        left.set(left.get() - 1);
        match (attaches, members(world).last()) {
            (false, Some(last)) => world.detach_foreign(*last),
            _ => drop(attach_foreign(world, point, None)),
        }
    });
}

fn nth<T: Copy>(of: &[T], nth: usize) -> Option<T> {
    of.get(nth.checked_rem(of.len())?).copied()
}

fn happen(machine: &Machine, point: AttachPoint, event: &Event) {
    let world = &machine.world;
    let ours: Vec<LinkId> = ours_in_order(machine).iter().map(|link| link.id).collect();
    match event {
        Event::Attach { priority } => {
            let program = machine.load_to_attach("filter", None);
            machine.attach(&tcx(&program, "eth0", *priority));
        }
        Event::Detach { nth: at } => {
            if let Some(link) = nth(&ours, *at) {
                machine.detach(link).unwrap();
            }
        }
        Event::ForeignAttach { nth: at } => {
            let before = nth(&members(world), *at);
            attach_foreign(world, point, before);
        }
        Event::ForeignDetach { nth: at } => {
            if let Some(link) = nth(&members(world), *at) {
                world.detach_foreign(link);
            }
        }
        Event::Meddling { times, attaches } => meddle(world, point, *times, *attaches),
    }
}

fn assert_in_order(machine: &Machine) {
    let ours = ours_in_order(machine);
    let rank = |link: &Link| (link.details.priority(), link.id);
    assert!(ours.is_sorted_by_key(rank), "{ours:?}");
    for (at, link) in ours.iter().enumerate() {
        assert_eq!(status(machine, link.id).position, Some(at), "{link:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn our_links_stand_in_the_order_of_priority_and_arrival_whatever_others_do(
        events in proptest::collection::vec(event(), 1..24),
    ) {
        let machine = Machine::new().with_interfaces(&["eth0"]);
        let program = machine.load_to_attach("filter", None);
        let link = machine.attach(&tcx(&program, "eth0", 2));
        let point = hook_of(&link);
        for event in &events {
            happen(&machine, point, event);
            assert_in_order(&machine);
        }
    }
}

#[test]
fn a_link_goes_before_the_first_of_larger_priority_and_after_its_equals() {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let priorities = [20, 10, 20, 30, 10, 0];
    let links = priorities.map(|priority| {
        let program = machine.load_to_attach("filter", None);
        machine.attach(&tcx(&program, "eth0", priority)).id.0
    });
    let order: Vec<u32> = ours_in_order(&machine)
        .iter()
        .map(|link| link.id.0)
        .collect();
    let [a, b, c, d, e, f] = links;
    assert_eq!(order, [f, b, e, a, c, d]);
    let positions = listed_positions(&machine);
    for (at, id) in order.iter().enumerate() {
        assert_eq!(positions[&LinkId(*id)], Some(at));
    }
}

#[test]
fn an_attach_that_others_overtake_is_planned_anew_but_not_for_ever() {
    for (times, succeeds) in [(1, true), (TRIES - 1, true), (TRIES, false), (1000, false)] {
        let machine = Machine::new().with_interfaces(&["eth0"]);
        let first = machine.load_to_attach("filter", None);
        let point = hook_of(&machine.attach(&tcx(&first, "eth0", 10)));
        let second = machine.load_to_attach("filter", None);
        meddle(&machine.world, point, times, true);
        machine.world.inject(Faults::none());
        let result = machine.try_attach(&tcx(&second, "eth0", 5));
        let effects = machine.world.effects();
        let tries = effects
            .iter()
            .filter(|effect| effect.action.contains("attach program"));
        assert_eq!(tries.count(), (times + 1).min(TRIES));
        assert_eq!(result.is_ok(), succeeds, "{result:?}");
        if let Err(error) = result {
            assert!(is_stale(&error), "{error}");
            assert_eq!(machine.world.places().link_records().len(), 1);
        }
    }
}

fn cause_of(error: &ManagerError) -> Option<KernelErrorKind> {
    match error {
        ManagerError::Execution(error) => match &error.cause {
            ActionError::Kernel(cause) => Some(cause.kind),
            _ => None,
        },
        _ => None,
    }
}

fn is_stale(error: &ManagerError) -> bool {
    cause_of(error) == Some(KernelErrorKind::Stale)
}

#[test]
fn the_same_program_is_refused_twice_at_one_hook_by_plan_or_by_kernel() {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let program = machine.load_to_attach("filter", None);
    let link = machine.attach(&tcx(&program, "eth0", 10));
    machine.attach(&tcx(&program, "eth1", 10));
    let again = machine.try_attach(&tcx(&program, "eth0", 20)).unwrap_err();
    assert!(
        matches!(&again, ManagerError::AttachRefused(AttachRefusal::AttachedAlready { link: found, .. }) if *found == Some(link.id)),
        "{again:?}"
    );
    assert_eq!(machine.world.places().link_records().len(), 2);
}

/// Three links at one hook, the records as they were made, and how the interface is called.
fn three_links() -> (Machine, Vec<Link>) {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let attach = |priority| {
        let program = machine.load_to_attach("filter", None);
        machine.attach(&tcx(&program, "eth0", priority))
    };
    let links = [20, 30, 10].map(attach).to_vec();
    (machine, links)
}

#[test]
fn a_link_keeps_what_it_is_through_failures_and_changes_of_its_neighbours() {
    let (machine, links) = three_links();
    let kept = |machine: &Machine, except: &[LinkId]| {
        for link in links.iter().filter(|link| !except.contains(&link.id)) {
            let record = status(machine, link.id).record;
            assert_eq!(record, *link);
        }
    };
    let program = machine.load_to_attach("filter", None);
    for step in 0..4 {
        machine.world.inject(Faults::none().at(step));
        machine.try_attach(&tcx(&program, "eth0", 15)).unwrap_err();
        kept(&machine, &[]);
    }
    for step in 0..2 {
        machine.world.inject(Faults::none().at(step));
        machine.detach(links[0].id).unwrap_err();
        kept(&machine, &[]);
    }
    machine.world.inject(Faults::none());
    let new = machine.attach(&tcx(&program, "eth0", 15));
    assert!(links.iter().all(|link| link.id < new.id));
    kept(&machine, &[]);
    machine.detach(links[0].id).unwrap();
    kept(&machine, &[links[0].id]);
    machine.unload(links[1].program).unwrap();
    kept(&machine, &[links[0].id, links[1].id]);
    assert_eq!(status(&machine, new.id).record, new);
    // An id is never used twice, not even that of the last link.
    machine.detach(new.id).unwrap();
    let newer = machine.attach(&tcx(&program, "eth0", 15));
    assert!(newer.id > new.id);
}

#[test]
fn links_of_an_interface_that_went_are_listed_without_a_place_and_detached() {
    let (machine, links) = three_links();
    machine.world.remove_interface(None, &name("eth0")).unwrap();
    for link in &links {
        let status = status(&machine, link.id);
        assert!(status.pin_present);
        let kernel = status.kernel.unwrap();
        assert_eq!(kernel.place, LinkPlace::Interface { ifindex: None });
    }
    for link in &links {
        machine.detach(link.id).unwrap();
    }
    let left = machine.world.places();
    assert!(left.links.is_empty());
    assert!(left.link_records().is_empty());
}

/// Removes the interface of the links and makes another that gets the same index in the same namespace.
fn recycle_interface(machine: &Machine, index: IfIndex) {
    machine.world.remove_interface(None, &name("eth0")).unwrap();
    machine.world.set_next_interface(index);
    let new = machine.world.add_interface(None, &name("eth9")).unwrap();
    assert_eq!(new, index);
}

#[test]
fn records_of_an_interface_that_went_are_no_neighbours_of_the_next_with_its_index() {
    let (machine, links) = three_links();
    recycle_interface(&machine, hook_of(&links[0]).ifindex);
    let program = machine.load_to_attach("filter", None);
    let plan = machine.manage(|manager| manager.plan_attach(&tcx(&program, "eth9", 15)));
    let text = plan.unwrap().to_string();
    assert!(text.contains(", last"), "{text}");
    let new = machine.attach(&tcx(&program, "eth9", 15));
    assert_eq!(status(&machine, new.id).position, Some(0));
    // The same program as a dead link's is attached, too.
    let old = LinkId(links[2].id.0);
    let spec = AttachSpec {
        program: links[2].program,
        ..tcx(&program, "eth9", 5)
    };
    let again = machine.attach(&spec);
    assert_eq!(status(&machine, again.id).position, Some(0));
    assert_eq!(status(&machine, new.id).position, Some(1));
    machine.detach(old).unwrap();
    assert!(status(&machine, again.id).kernel.is_some());
    assert_eq!(machine.world.places().hooks[&hook_of(&new)].len(), 2);
}

#[test]
fn a_strangers_link_at_the_next_interface_with_the_id_of_ours_is_no_anchor() {
    let (machine, links) = three_links();
    let point = hook_of(&links[1]);
    recycle_interface(&machine, point.ifindex);
    let dead = links[1].kernel.unwrap();
    machine
        .world
        .unlink(links[1].pin_path.as_ref().unwrap())
        .unwrap();
    machine.world.set_next_link_id(dead);
    assert_eq!(attach_foreign(&machine.world, point, None), dead);
    let program = machine.load_to_attach("filter", None);
    let new = machine.attach(&tcx(&program, "eth9", 0));
    let order = &machine.world.places().hooks[&point];
    assert_eq!(order.as_slice(), [dead, new.kernel.unwrap()]);
}

#[test]
fn a_namespace_that_is_another_one_by_now_is_not_entered() {
    let machine = Machine::new();
    let file = path("/run/netns/blue");
    machine.world.add_namespace(&file);
    machine
        .world
        .add_interface(Some(&file), &name("eth0"))
        .unwrap();
    let program = machine.load_to_attach("filter", None);
    let interface = InterfaceRequest {
        name: name("eth0").into(),
        netns: Some(file.clone()),
    };
    let link = machine.attach(&tcx_in(&program, interface.clone(), 10));
    let replaced = file;
    machine.world.meddle(move |world, action| {
        if matches!(action, KernelAction::CreateLink(_)) {
            world.remove_namespace(&replaced).unwrap();
            world.add_namespace(&replaced);
        }
    });
    let second = machine.load_to_attach("filter", None);
    let error = machine
        .try_attach(&tcx_in(&second, interface, 20))
        .unwrap_err();
    assert_eq!(cause_of(&error), Some(KernelErrorKind::NotFound));
    assert!(error.to_string().contains("is now another one"), "{error}");
    let left = status(&machine, link.id);
    assert_eq!(left.record, link);
    machine.detach(link.id).unwrap();
}

/// A link that died with its pin, and whose id another link has by now.
fn recycled_link_id(
    stranger: impl FnOnce(&Machine, KernelLinkId) -> KernelLinkId,
) -> (Machine, Link) {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let program = machine.load_to_attach("filter", None);
    let link = machine.attach(&tcx(&program, "eth0", 10));
    machine
        .world
        .unlink(link.pin_path.as_ref().unwrap())
        .unwrap();
    let id = link.kernel.unwrap();
    machine.world.set_next_link_id(id);
    assert_eq!(stranger(&machine, id), id);
    (machine, link)
}

fn assert_left_alone(machine: &Machine, link: &Link) {
    let id = link.kernel.unwrap();
    let before = machine.world.places().links[&id].clone();
    let status = status(machine, link.id);
    assert_eq!(status.kernel, None);
    assert!(!status.pin_present);
    machine.detach(link.id).unwrap();
    assert_eq!(machine.world.places().links.get(&id), Some(&before));
}

#[test]
fn a_strangers_link_with_the_id_of_ours_is_left_alone() {
    let (machine, link) = recycled_link_id(|machine, _| {
        let point = AttachPoint {
            ifindex: IfIndex(1),
            ..machine
                .world
                .places()
                .link_records()
                .iter()
                .map(hook_of)
                .next()
                .unwrap()
        };
        attach_foreign(&machine.world, point, None)
    });
    assert_left_alone(&machine, &link);
}

#[test]
fn a_link_of_the_same_program_elsewhere_with_the_id_of_ours_is_left_alone() {
    let (machine, link) = recycled_link_id(|machine, _| {
        let places = machine.world.places();
        let record = &places.link_records()[0];
        let spec = AttachSpec {
            program: record.program,
            ..tcx(&places.records()[0], "eth1", 10)
        };
        machine.attach(&spec).kernel.unwrap()
    });
    assert_left_alone(&machine, &link);
}

#[test]
fn a_newer_link_of_ours_at_the_same_hook_with_the_same_id_is_left_alone() {
    let (machine, link) = recycled_link_id(|machine, _| {
        let program = machine.world.places().records().remove(0);
        machine.attach(&tcx(&program, "eth0", 20)).kernel.unwrap()
    });
    assert_left_alone(&machine, &link);
}

#[test]
fn a_link_that_fails_to_be_detached_does_not_keep_the_others() {
    let (machine, links) = three_links();
    let ids: Vec<LinkId> = links.iter().map(|link| link.id).collect();
    // The second of three detaches of two steps each.
    for step in 2..4 {
        let (machine, _) = three_links();
        machine.world.inject(Faults::none().at(step));
        let results = machine.manage(|manager| manager.detach(&ids)).unwrap();
        let done: Vec<_> = results
            .iter()
            .map(|(id, done)| (*id, done.is_ok()))
            .collect();
        assert_eq!(done, [(ids[0], true), (ids[1], false), (ids[2], true)]);
        let left = machine.world.places();
        let records: Vec<LinkId> = left.link_records().iter().map(|link| link.id).collect();
        assert_eq!(records, [ids[1]]);
        assert!(status(&machine, ids[1]).pin_present);
    }
    let missing = LinkId(99);
    let asked = [missing, ids[0], ids[0], ids[1]];
    let results = machine.manage(|manager| manager.detach(&asked)).unwrap();
    assert!(matches!(results[0].1, Err(ManagerError::NoSuchLink(id)) if id == missing));
    assert!(results[1].1.is_ok());
    assert!(matches!(results[2].1, Err(ManagerError::NoSuchLink(id)) if id == ids[0]));
    assert!(results[3].1.is_ok());
}

#[test]
fn a_link_that_somebody_else_holds_is_detached_all_the_same() {
    let (machine, links) = three_links();
    let id = links[0].kernel.unwrap();
    machine.world.hold_foreign(id);
    let ids: Vec<LinkId> = links.iter().map(|link| link.id).collect();
    let results = machine.manage(|manager| manager.detach(&ids)).unwrap();
    assert!(results.iter().all(|(_, done)| done.is_ok()), "{results:?}");
    let left = machine.world.places();
    assert!(left.hooks.is_empty() && left.link_records().is_empty());
    let place = &left.links[&id].place;
    assert_eq!(*place, LinkPlace::Interface { ifindex: None });
    machine.world.release_foreign(id);
    assert!(machine.world.places().links.is_empty());
}

#[test]
fn a_link_that_cannot_be_detached_while_somebody_else_holds_it_is_said_to_be_attached() {
    let machine = Machine::new();
    machine
        .world
        .add_tracepoint("sched", "sched_process_exec", 300);
    let attach = || {
        let program = machine.load_to_attach("trace", None);
        machine.attach(&tracepoint(&program))
    };
    let (held, other) = (attach(), attach());
    let id = held.kernel.unwrap();
    machine.world.hold_foreign(id);
    let asked = [held.id, other.id];
    let results = machine.manage(|manager| manager.detach(&asked)).unwrap();
    assert!(matches!(results[0].1, Err(ManagerError::StillAttached(left)) if left == id));
    assert!(results[1].1.is_ok());
    let left = machine.world.places();
    assert_eq!(left.links.keys().collect::<Vec<_>>(), [&id]);
    assert!(left.link_records().is_empty());
    machine.world.release_foreign(id);
    assert!(machine.world.places().links.is_empty());
}

#[test]
fn a_qdisc_in_the_place_of_clsact_is_refused_for_both_directions() {
    for engine in [Engine::Auto, Engine::Extension] {
        for direction in [Direction::Ingress, Direction::Egress] {
            let machine = Machine::new().with_interfaces(&["eth0"]);
            // The kernels on which every engine needs a filter.
            machine.world.lack(link_types::TCX);
            let interface = InterfaceName::parse("eth0").unwrap();
            machine.world.add_ingress_qdisc(None, &interface).unwrap();
            let program = machine.load_for(engine, "filter", None);
            let before = machine.world.places();
            let request = AttachRequest::Tc(links::TcRequest {
                interface: InterfaceRequest {
                    name: interface.into(),
                    netns: None,
                },
                direction,
                priority: Priority::new(50).unwrap(),
                proceed_on: None,
                count: false,
            });
            let spec = AttachSpec {
                program: program.id(),
                request,
                metadata: BTreeMap::new(),
            };
            let error = machine.try_attach(&spec).unwrap_err();
            assert_eq!(cause_of(&error), Some(KernelErrorKind::OtherQdisc));
            assert!(error.to_string().contains("qdisc `ingress`"), "{error}");
            assert_eq!(machine.world.places(), before);
        }
    }
}

#[test]
fn a_kind_of_link_that_the_kernel_lacks_is_refused_without_a_trace() {
    let machine = Machine::new();
    machine
        .world
        .add_tracepoint("sched", "sched_process_exec", 300);
    machine.world.lack(link_types::PERF_EVENT);
    let program = machine.load_to_attach("trace", None);
    let before = machine.world.places();
    let error = machine.try_attach(&tracepoint(&program)).unwrap_err();
    assert_eq!(cause_of(&error), Some(KernelErrorKind::Unsupported));
    assert_eq!(machine.world.places(), before);
}

#[test]
fn a_link_keeps_its_program_when_that_has_lost_its_pin() {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let program = machine.load_to_attach("filter", None);
    let link = machine.attach(&tcx(&program, "eth0", 10));
    machine.world.unlink(&program.pin_path).unwrap();
    assert!(machine.world.places().programs.contains_key(&program.id()));
    machine.detach(link.id).unwrap();
    assert!(!machine.world.places().programs.contains_key(&program.id()));
}
