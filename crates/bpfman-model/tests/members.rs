//! Members of attach points: who they are after interfaces, namespaces and pins went, and what they keep.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_core::action::AttachTarget;
use bpfman_core::action::KernelAction;
use bpfman_core::compute::PointRefusal;
use bpfman_core::compute::PointState;
use bpfman_core::compute::Repairs;
use bpfman_core::compute::ReplaceRefusal;
use bpfman_core::compute::Rule;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::AttachRequest;
use bpfman_core::links::AttachSpec;
use bpfman_core::links::InterfaceRequest;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::Namespace;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::managed::Link;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Engine;
use bpfman_core::types::IfIndex;
use bpfman_core::types::LinkId;
use bpfman_core::types::NetnsId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::XdpMode;
use bpfman_interpreter::executor::ActionError;
use bpfman_manager::LinkStatus;
use bpfman_manager::ManagerError;
use bpfman_model::Faults;
use bpfman_model::World;

use self::common::Machine;
use self::common::among_others;
use self::common::name;
use self::common::path;
use self::common::shared::assert_consistent;
use self::common::shared::only_dispatcher;
use self::common::shared::runs_at;
use self::common::spec;
use self::common::tc;
use self::common::with_priority;
use self::common::xdp;

/// Members at `eth0` of these priorities, in the order in which they came.
fn members(engine: Engine, priorities: &[u32]) -> (Machine, Vec<Link>) {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let attach = |priority: &u32| {
        let program = machine.load_for(engine, "pass", None);
        machine.attach(&with_priority(xdp(&program, "eth0"), *priority))
    };
    let links = priorities.iter().map(attach).collect();
    (machine, links)
}

fn next(machine: &Machine) -> Program {
    machine.load_to_attach("pass", None)
}

fn status(machine: &Machine, id: LinkId) -> LinkStatus {
    machine.manage(|manager| manager.get_link(id)).unwrap()
}

/// The programs that run, as the links that they are of.
fn runs(machine: &Machine) -> Vec<LinkId> {
    let records = machine.world.places().link_records();
    let ran = runs_at(&machine.world, &only_dispatcher(&machine.world));
    let link = |program| records.iter().find(|link| link.program == program).unwrap();
    ran.into_iter().map(|program| link(program).id).collect()
}

/// Removes `eth0` and makes another interface that gets the same index in the same namespace.
fn recycle(machine: &Machine) {
    let index = only_dispatcher(&machine.world).at.ifindex;
    machine.world.remove_interface(None, &name("eth0")).unwrap();
    machine.world.set_next_interface(index);
    let new = machine.world.add_interface(None, &name("eth9")).unwrap();
    assert_eq!(new, index);
}

#[test]
fn members_run_by_priority_and_new_ones_before_their_equals() {
    for engine in [Engine::Auto, Engine::Extension] {
        let (machine, links) = members(engine, &[20, 10, 20, 30, 10, 0]);
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|at| links[at].id);
        assert_eq!(runs(&machine), [f, e, b, c, a, d]);
        for (place, link) in runs(&machine).into_iter().enumerate() {
            assert_eq!(status(&machine, link).position, Some(place));
        }
        assert_consistent(&machine.world);
    }
}

#[test]
fn a_member_that_ends_the_chain_keeps_packets_from_those_behind_it() {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let [first, second] = [next(&machine), next(&machine)];
    machine.attach(&among_others(xdp(&first, "eth0"), 1, Some(&[1]), false));
    machine.attach(&with_priority(xdp(&second, "eth0"), 2));
    let dispatcher = only_dispatcher(&machine.world);
    let passes = machine.world.run(dispatcher.program, |_| 2);
    assert_eq!((passes.programs, passes.verdict), (vec![first.id()], 2));
    let drops = |program| if program == first.id() { 1 } else { 2 };
    let dropped = machine.world.run(dispatcher.program, drops);
    assert_eq!(dropped.programs, [first.id(), second.id()]);
    assert_consistent(&machine.world);
}

#[test]
fn links_keep_what_they_are_while_what_runs_is_made_anew() {
    let (machine, links) = members(Engine::Auto, &[20, 30, 10]);
    let kept = |except: &[LinkId]| {
        let records = machine.world.places().link_records();
        for link in links.iter().filter(|link| !except.contains(&link.id)) {
            let record = records.iter().find(|record| record.id == link.id);
            assert_eq!(record, Some(link));
        }
    };
    let revision = || only_dispatcher(&machine.world).revision;
    let pin = only_dispatcher(&machine.world).holder;
    assert_eq!(revision(), 3);
    let extension = machine.load_for(Engine::Extension, "pass", None);
    let fourth = machine.attach(&xdp(&extension, "eth0"));
    // Their own links come and go; what users know of them stays.
    for link in &links {
        let record = status(&machine, link.id).record;
        assert_eq!(
            (record.id, &record.metadata, record.created_at),
            (link.id, &link.metadata, link.created_at)
        );
    }
    machine.detach(fourth.id).unwrap();
    assert_eq!(revision(), 5);
    machine.detach(links[0].id).unwrap();
    machine.detach(links[1].id).unwrap();
    assert_eq!(revision(), 7);
    kept(&[links[0].id, links[1].id]);
    assert_eq!(only_dispatcher(&machine.world).holder, pin);
    let new = machine.attach(&xdp(&next(&machine), "eth0"));
    assert!(new.id > fourth.id);
    assert_consistent(&machine.world);
}

#[test]
fn a_program_of_somebody_else_is_named_whoever_was_faster() {
    let (machine, links) = members(Engine::Auto, &[10]);
    let point = only_dispatcher(&machine.world).point();
    machine.detach(links[0].id).unwrap();
    let program = next(&machine);
    let foreign = machine.world.load_foreign("theirs");
    machine.world.meddle(move |world, action| {
        if matches!(action, KernelAction::CreateLink(_)) {
            // It is refused when they are there already.
            let _ = attach_theirs(world, point, foreign.id);
        }
    });
    let before = machine.world.places().link_records();
    let refused = machine.try_attach(&xdp(&program, "eth0")).unwrap_err();
    assert_eq!(cause_of(&refused), Some(KernelErrorKind::Taken));
    let refused = machine.try_attach(&xdp(&program, "eth0")).unwrap_err();
    assert!(refused.to_string().contains("(`theirs`)"), "{refused}");
    assert_eq!(machine.world.places().link_records(), before);
}

fn attach_theirs(world: &World, point: AttachPoint, program: ProgramId) -> Result<(), KernelError> {
    let target = AttachTarget::Xdp {
        interface: InterfaceTarget {
            netns: Namespace {
                path: None,
                id: point.nsid,
            },
            ifindex: point.ifindex,
        },
        mode: XdpMode::Auto,
    };
    let identity = world.places().programs[&program].identity;
    world.attach_foreign(identity, &target).map(drop)
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

#[test]
fn a_swap_that_somebody_else_made_meanwhile_is_not_overwritten() {
    let (machine, _) = members(Engine::Auto, &[10, 20]);
    let pin = only_dispatcher(&machine.world).link().unwrap().1.clone();
    machine.world.meddle(move |world, action| {
        if matches!(action, KernelAction::UpdateLink { .. }) {
            let _ = world.unlink(&pin);
        }
    });
    let program = next(&machine);
    let records = machine.world.places().link_records();
    let refused = machine.try_attach(&xdp(&program, "eth0")).unwrap_err();
    assert_eq!(cause_of(&refused), Some(KernelErrorKind::NotFound));
    assert_eq!(machine.world.places().link_records(), records);
}

#[test]
fn a_swap_that_was_not_recorded_does_not_make_our_link_a_strangers() {
    let interrupted = || {
        let (machine, links) = members(Engine::Auto, &[10]);
        let second = next(&machine);
        // The chain is loaded, pinned and runs, and then nothing works any more.
        machine.world.inject(Faults::none().from(4));
        machine.try_attach(&xdp(&second, "eth0")).unwrap_err();
        let swapped = machine.world.effects()[3].action.contains("swap");
        assert!(swapped, "{:?}", machine.world.effects());
        machine.world.inject(Faults::none());
        (machine, links, second)
    };
    let (machine, links, second) = interrupted();
    machine.attach(&xdp(&second, "eth0"));
    assert_eq!(runs(&machine).len(), 2);
    assert_consistent(&machine.world);
    machine.detach(links[0].id).unwrap();
    assert_consistent(&machine.world);
    let (machine, links, _) = interrupted();
    machine.detach(links[0].id).unwrap();
    assert!(machine.world.places().links.is_empty());
    assert_consistent(&machine.world);
}

#[test]
fn extensions_leave_after_a_swap_that_was_not_recorded() {
    let (machine, links) = members(Engine::Extension, &[10]);
    let second = machine.load_for(Engine::Extension, "pass", None);
    machine.world.inject(Faults::none());
    machine.try_attach(&xdp(&second, "eth0")).unwrap();
    let effects = machine.world.effects();
    let swap = effects
        .iter()
        .position(|effect| effect.action.contains("swap"));
    let swap = swap.unwrap();
    for last in swap..swap + 3 {
        let (machine, links_here) = members(Engine::Extension, &[10]);
        assert_eq!(links_here, links);
        let second = machine.load_for(Engine::Extension, "pass", None);
        machine.world.inject(Faults::none().from(last + 1));
        machine.try_attach(&xdp(&second, "eth0")).unwrap_err();
        machine.world.inject(Faults::none());
        machine.detach(links[0].id).unwrap();
        // From its record on the swap stands.
        let stands = last > swap;
        assert_eq!(machine.world.places().hooks.is_empty(), !stands);
        if stands {
            machine.detach(LinkId(2)).unwrap();
        }
        assert!(machine.world.places().hooks.is_empty());
        assert_consistent(&machine.world);
    }
}

#[test]
fn members_of_an_interface_that_went_are_detached_one_by_one_or_together() {
    for engine in [Engine::Auto, Engine::Extension] {
        for together in [true, false] {
            let (machine, links) = members(engine, &[20, 10, 30]);
            machine.world.remove_interface(None, &name("eth0")).unwrap();
            for link in &links {
                let status = status(&machine, link.id);
                assert_eq!(status.position, None);
            }
            let dispatcher = only_dispatcher(&machine.world);
            let points = machine.manage(|manager| manager.dispatchers()).unwrap();
            assert_eq!(points[0].state, PointState::Defunct);
            match together {
                true => machine.delete_dispatcher(dispatcher.point()).unwrap(),
                false => {
                    for link in &links {
                        machine.detach(link.id).unwrap();
                    }
                }
            }
            assert_consistent(&machine.world);
            assert!(machine.world.places().links.is_empty());
        }
    }
}

#[test]
fn members_of_an_interface_that_went_never_run_on_the_next_with_its_numbers() {
    for engine in [Engine::Auto, Engine::Extension] {
        let (machine, links) = members(engine, &[20, 10]);
        recycle(&machine);
        let program = machine.load_for(engine, "pass", None);
        let new = machine.attach(&xdp(&program, "eth9"));
        assert_eq!(runs(&machine), [new.id]);
        let dispatcher = only_dispatcher(&machine.world);
        assert_eq!(dispatcher.at.interface, name("eth9"));
        assert_eq!((dispatcher.revision, dispatcher.members.len()), (3, 1));
        for link in &links {
            assert!(!status(&machine, link.id).attached);
        }
        let second = machine.attach(&xdp(&next(&machine), "eth9"));
        assert_eq!(runs(&machine), [second.id, new.id]);
        let before = only_dispatcher(&machine.world);
        for link in &links {
            machine.detach(link.id).unwrap();
        }
        assert_eq!(only_dispatcher(&machine.world), before);
        assert_consistent(&machine.world);
    }
}

#[test]
fn what_is_left_of_a_dead_extension_does_not_keep_its_record() {
    let (machine, links) = members(Engine::Extension, &[20]);
    recycle(&machine);
    let program = machine.load_for(Engine::Extension, "pass", None);
    let new = machine.attach(&xdp(&program, "eth9"));
    machine.detach(new.id).unwrap();
    // The first revision again, whose pins are called as those of the dead one.
    machine.attach(&xdp(&program, "eth9"));
    machine.detach(links[0].id).unwrap();
    assert_consistent(&machine.world);
}

#[test]
fn a_program_with_a_member_that_no_longer_runs_is_unloaded_but_not_replaced() {
    let (machine, links) = members(Engine::Auto, &[20]);
    recycle(&machine);
    let running = machine.attach(&xdp(&next(&machine), "eth9"));
    let before = machine.world.places();
    let refused = machine.replace(links[0].program).unwrap_err();
    let stale = links[0].id;
    assert!(
        matches!(&refused, ManagerError::ReplaceRefused(ReplaceRefusal::Point(PointRefusal::NotAttached { link, .. })) if *link == stale),
        "{refused:?}"
    );
    assert_eq!(machine.world.places(), before);
    machine.unload(links[0].program).unwrap();
    assert_eq!(runs(&machine), [running.id]);
    assert_consistent(&machine.world);
}

/// An attach to `eth0` of the namespace of a file.
fn in_namespace(file: &AbsolutePath, program: &Program) -> AttachSpec {
    let mut spec = xdp(program, "eth0");
    if let AttachRequest::Xdp(links::XdpRequest { interface, .. }) = &mut spec.request {
        *interface = InterfaceRequest {
            name: name("eth0").into(),
            netns: Some(file.clone()),
        };
    }
    spec
}

#[test]
fn a_namespace_that_went_keeps_nobody_and_the_next_with_its_inode_starts_anew() {
    let machine = Machine::new();
    let (blue, green) = (path("/run/netns/blue"), path("/run/netns/green"));
    let id = machine.world.add_namespace(&blue);
    let index = machine
        .world
        .add_interface(Some(&blue), &name("eth0"))
        .unwrap();
    let programs = [next(&machine), next(&machine), next(&machine)];
    let old = [0, 1].map(|at| machine.attach(&in_namespace(&blue, &programs[at])));
    machine.world.remove_namespace(&blue).unwrap();
    machine.world.set_next_namespace(NetnsId(id.0));
    assert_eq!(machine.world.add_namespace(&green), id);
    machine.world.set_next_interface(IfIndex(index.0));
    machine
        .world
        .add_interface(Some(&green), &name("eth0"))
        .unwrap();
    // The new one is reached by its own file, for that of the old one is gone.
    let new = machine.attach(&in_namespace(&green, &programs[2]));
    assert_eq!(runs(&machine), [new.id]);
    assert_eq!(
        only_dispatcher(&machine.world).at.netns,
        Some(green.clone())
    );
    machine.detach(old[0].id).unwrap();
    machine.unload(programs[1].id()).unwrap();
    assert_consistent(&machine.world);
    machine.world.remove_namespace(&green).unwrap();
    machine.detach(new.id).unwrap();
    assert_consistent(&machine.world);
    assert!(machine.world.places().links.is_empty());
}

#[test]
fn a_shared_link_whose_pin_was_removed_takes_its_members_with_it() {
    for engine in [Engine::Auto, Engine::Extension] {
        let (machine, links) = members(engine, &[20, 10]);
        let dispatcher = only_dispatcher(&machine.world);
        machine.world.unlink(dispatcher.link().unwrap().1).unwrap();
        for link in &links {
            assert!(!status(&machine, link.id).attached);
        }
        let new = machine.attach(&xdp(&next(&machine), "eth0"));
        assert_eq!(runs(&machine), [new.id]);
        for link in &links {
            machine.detach(link.id).unwrap();
        }
        assert_consistent(&machine.world);
    }
}

#[test]
fn a_shared_link_that_somebody_else_keeps_is_said_and_detached() {
    let (machine, links) = members(Engine::Auto, &[20, 10]);
    let dispatcher = only_dispatcher(&machine.world);
    let (id, pin) = dispatcher.link().unwrap();
    machine.world.hold_foreign(id);
    machine.world.unlink(pin).unwrap();
    let refused = machine
        .try_attach(&xdp(&next(&machine), "eth0"))
        .unwrap_err();
    assert!(
        matches!(&refused, ManagerError::PointRefused(PointRefusal::PinLost { path, .. }) if path == pin),
        "{refused:?}"
    );
    for link in &links {
        machine.detach(link.id).unwrap();
    }
    assert!(machine.world.places().hooks.is_empty());
    machine.world.release_foreign(id);
    machine.attach(&xdp(&next(&machine), "eth0"));
    assert_consistent(&machine.world);
}

#[test]
fn a_member_without_its_program_or_its_instructions_is_named_and_can_leave() {
    let (machine, links) = members(Engine::Auto, &[10, 20]);
    let records = machine.world.places().records();
    let pin = records[1].pin_path.clone();
    machine.world.unlink(&pin).unwrap();
    let third = next(&machine);
    let before = machine.world.places();
    let refused = machine
        .try_attach(&xdp(&third, "eth0"))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains(&format!("detach link {} first", links[1].id)),
        "{refused}"
    );
    assert_eq!(machine.world.places(), before);
    machine.detach(links[1].id).unwrap();
    assert_eq!(runs(&machine), [links[0].id]);
    machine.world.unlink(&third.instructions_path()).unwrap();
    let refused = machine
        .try_attach(&xdp(&third, "eth0"))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("load it again"), "{refused}");
    assert_eq!(runs(&machine), [links[0].id]);
}

#[test]
fn where_no_chain_can_be_made_members_become_extensions_if_the_kernel_lets_them() {
    let (machine, links) = members(Engine::Auto, &[10]);
    machine.world.limit_instructions(8);
    let second = machine.attach(&xdp(&next(&machine), "eth0"));
    let form = only_dispatcher(&machine.world).form;
    assert!(matches!(form, DispatcherForm::Extension { .. }), "{form:?}");
    assert_consistent(&machine.world);
    machine.detach(second.id).unwrap();
    assert_eq!(only_dispatcher(&machine.world).form, DispatcherForm::Direct);
    machine.world.lock_down();
    let third = next(&machine);
    let before = machine.world.places();
    let refused = machine.try_attach(&xdp(&third, "eth0")).unwrap_err();
    assert!(
        matches!(refused, ManagerError::NotJoined { .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("too large"), "{refused}");
    assert_eq!(machine.world.places(), before);
    assert_eq!(runs(&machine), [links[0].id]);
}

#[test]
fn a_lockdown_refuses_extensions_when_they_are_loaded_and_leaves_chains_alone() {
    let (machine, _) = members(Engine::Auto, &[10]);
    machine.world.lock_down();
    machine.attach(&xdp(&next(&machine), "eth0"));
    let before = machine.world.places();
    machine.world.inject(Faults::none());
    let extension = LoadSpec {
        engine: Engine::Extension,
        ..spec(&["pass"])
    };
    let refused = machine.try_load(&extension).unwrap_err();
    assert_eq!(cause_of(&refused), Some(KernelErrorKind::Permission));
    assert_eq!(machine.world.places(), before);
    assert_consistent(&machine.world);
}

#[test]
fn the_eleventh_extension_is_refused_and_the_eleventh_of_a_chain_is_not() {
    let tens = [10; 10];
    let (machine, _) = members(Engine::Extension, &tens);
    let eleventh = machine.load_for(Engine::Extension, "pass", None);
    let before = machine.world.places();
    let refused = machine.try_attach(&xdp(&eleventh, "eth0")).unwrap_err();
    assert!(
        refused.to_string().starts_with("no free dispatcher slots"),
        "{refused}"
    );
    assert_eq!(machine.world.places(), before);
    assert_consistent(&machine.world);
    let (machine, _) = members(Engine::Auto, &tens);
    machine.attach(&xdp(&next(&machine), "eth0"));
    assert_eq!(runs(&machine).len(), 11);
    assert_consistent(&machine.world);
}

#[test]
fn hooks_of_one_interface_share_nothing() {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    for interface in ["eth0", "eth1"] {
        for _ in 0..2 {
            machine.attach(&xdp(&next(&machine), interface));
            let filter = machine.load_to_attach("filter", None);
            machine.attach(&tc(&filter, interface));
        }
    }
    assert_eq!(machine.world.places().dispatchers().len(), 4);
    assert_consistent(&machine.world);
}

/// How many instructions a chain of so many members of [`members`] has.
fn chain_of(count: u32) -> usize {
    let priorities: Vec<u32> = (0..count).collect();
    let (machine, _) = members(Engine::Auto, &priorities);
    // Extensions would be a way out.
    machine.world.lock_down();
    let fits = |most: &usize| {
        machine.world.limit_instructions(*most);
        machine.alter(LinkId(1), Some(0), None).is_ok()
    };
    (1..1000).find(fits).unwrap()
}

/// Detaches a link; answers who does not run any more.
fn detach(machine: &Machine, id: LinkId) -> Vec<LinkId> {
    let detached = machine.manage(|manager| manager.detach(&[id])).unwrap();
    let left_out = detached.into_iter().next().unwrap().1.unwrap();
    left_out.into_iter().map(|left_out| left_out.link).collect()
}

fn findings(machine: &Machine) -> Vec<Rule> {
    let diagnosis = machine
        .manage(|manager| manager.diagnose(Repairs::default()))
        .unwrap();
    let found = diagnosis.findings.into_iter();
    found.map(|finding| finding.rule).collect()
}

/// Four members on a kernel that joins two, and has no extensions.
fn four_where_two_fit() -> (Machine, [LinkId; 4], usize) {
    let two = chain_of(2);
    let (machine, links) = members(Engine::Auto, &[10, 20, 30, 40]);
    machine.world.limit_instructions(two);
    machine.world.lock_down();
    (machine, [0, 1, 2, 3].map(|at| links[at].id), two)
}

#[test]
fn a_removal_leaves_out_who_cannot_be_joined_and_takes_them_back_when_they_can() {
    let (machine, [a, b, c, d], _) = four_where_two_fit();
    let record = status(&machine, d).record;
    assert_eq!(detach(&machine, b), [d]);
    assert_eq!(runs(&machine), [a, c]);
    let left_out = status(&machine, d);
    assert!(!left_out.attached && left_out.position.is_none());
    assert!(left_out.left_out.unwrap().contains("too large"));
    assert_eq!(left_out.record.metadata, record.metadata);
    assert_consistent(&machine.world);
    assert_eq!(findings(&machine), [Rule::LinkLeftOut]);
    let reconciled = machine
        .manage(|manager| manager.reconcile(Repairs::default()))
        .unwrap();
    assert!(reconciled.repaired.is_empty());
    assert_eq!(runs(&machine), [a, c]);
    // It is tried again when it is asked for, or when somebody makes room; and it is not said twice.
    machine.alter(d, Some(41), None).unwrap_err();
    assert_eq!(runs(&machine), [a, c]);
    assert_eq!(detach(&machine, a), []);
    assert_eq!(runs(&machine), [c, d]);
    assert_eq!(findings(&machine), []);
    assert_consistent(&machine.world);
}

#[test]
fn who_was_left_out_stays_so_when_others_come_and_can_be_detached_and_unloaded() {
    let (machine, [a, b, c, d], two) = four_where_two_fit();
    let program = status(&machine, d).record.program;
    assert_eq!(detach(&machine, b), [d]);
    machine.world.limit_instructions(two * 2);
    let e = machine
        .attach(&with_priority(xdp(&next(&machine), "eth0"), 5))
        .id;
    assert_eq!(runs(&machine), [e, a, c]);
    assert!(status(&machine, d).left_out.is_some());
    machine.alter(d, Some(7), None).unwrap();
    assert_eq!(runs(&machine), [e, d, a, c]);
    machine.world.limit_instructions(two);
    assert_eq!(detach(&machine, e), [c]);
    assert_eq!(runs(&machine), [d, a]);
    // Whether it runs or not, its program is unloaded.
    machine.unload(status(&machine, c).record.program).unwrap();
    assert_eq!(runs(&machine), [d, a]);
    machine.unload(program).unwrap();
    assert_eq!(runs(&machine), [a]);
    assert_eq!(findings(&machine), []);
    assert_consistent(&machine.world);
}

#[test]
fn an_attach_point_is_cleared_of_those_who_do_not_run_too() {
    let (machine, [_, b, ..], _) = four_where_two_fit();
    detach(&machine, b);
    let point = only_dispatcher(&machine.world).point();
    machine.delete_dispatcher(point).unwrap();
    let places = machine.world.places();
    assert!(places.link_records().is_empty() && places.links.is_empty());
    assert_consistent(&machine.world);
}

#[test]
fn a_removal_keeps_the_order_by_extensions_where_the_kernel_has_them() {
    let two = chain_of(2);
    let (machine, links) = members(Engine::Auto, &[10, 20, 30, 40]);
    machine.world.limit_instructions(two);
    assert_eq!(detach(&machine, links[1].id), []);
    assert_eq!(runs(&machine), [0, 2, 3].map(|at| links[at].id));
    assert_consistent(&machine.world);
}

/// Members that have lost what they would be joined from: each refusal named another link to detach first.
#[test]
fn members_without_their_pins_keep_nobody_in() {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let programs = [0; 4].map(|_| next(&machine));
    let attach = |(priority, program): (u32, &Program)| {
        machine
            .attach(&with_priority(xdp(program, "eth0"), priority))
            .id
    };
    let links: Vec<LinkId> = (10..).zip(&programs).map(attach).collect();
    for lost in [1, 3] {
        machine.world.unlink(&programs[lost].pin_path).unwrap();
    }
    assert_eq!(detach(&machine, links[0]), [links[1], links[3]]);
    assert_eq!(runs(&machine), [links[2]]);
    let reason = status(&machine, links[3]).left_out.unwrap();
    assert!(reason.contains("no longer at its pin"), "{reason}");
    assert_eq!(detach(&machine, links[3]), []);
    assert_eq!(detach(&machine, links[2]), []);
    assert_eq!(detach(&machine, links[1]), []);
    assert_consistent(&machine.world);
}
