//! What is broken from outside is found by name, and repaired once and for all.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_core::compute::Finding;
use bpfman_core::compute::Repairs;
use bpfman_core::compute::Rule;
use bpfman_core::links;
use bpfman_core::links::AttachRequest;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Engine;
use bpfman_core::types::IfIndex;
use bpfman_core::types::LinkId;
use bpfman_manager::ManagerError;
use bpfman_model::Crash;
use bpfman_model::Errno;
use bpfman_model::Faults;
use bpfman_model::link_types;

use self::common::Machine;
use self::common::name;
use self::common::shared::assert_consistent;
use self::common::shared::only_dispatcher;
use self::common::tc;
use self::common::tcx;
use self::common::with_priority;
use self::common::xdp;

/// A machine that somebody has broken, and what is wrong with it.
struct Broken {
    machine: Machine,
    repaired: Vec<Rule>,
    left: Vec<Rule>,
    /// How far it is repaired.
    repairs: Repairs,
    /// Whether programs of others are about.
    strangers: bool,
}

fn broken(machine: Machine, repaired: &[Rule]) -> Broken {
    Broken {
        machine,
        repaired: repaired.to_vec(),
        left: Vec::new(),
        repairs: Repairs::default(),
        strangers: false,
    }
}

fn prune() -> Repairs {
    Repairs {
        prune: true,
        ..Repairs::default()
    }
}

fn reattach(broken: Broken) -> Broken {
    Broken {
        repairs: Repairs {
            reattach: true,
            ..broken.repairs
        },
        ..broken
    }
}

fn a_link_that_somebody_detached() -> Broken {
    let (machine, _, link) = attached();
    machine.world.detach_foreign(link.kernel.unwrap());
    reattach(broken(machine, &[Rule::LinkDetached]))
}

fn a_link_that_ended_with_its_pin_and_is_wanted() -> Broken {
    reattach(a_link_that_ended_with_its_pin())
}

fn a_link_that_was_given_another_program() -> Broken {
    let (machine, _, link) = attached();
    let other = machine.load_to_attach("filter", None);
    machine
        .world
        .swap_foreign(link.kernel.unwrap(), other.identity);
    broken(machine, &[Rule::LinkChanged])
}

fn a_chain_that_somebody_detached() -> Broken {
    let (machine, _) = chained(3);
    machine.world.detach_foreign(holder(&machine).0);
    reattach(broken(machine, &[Rule::PointDetached]))
}

fn a_chain_that_ended_with_its_pin_and_is_wanted() -> Broken {
    reattach(a_chain_that_ended_with_its_pin())
}

fn a_dispatcher_that_somebody_detached() -> Broken {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    for number in 1..3 {
        let program = machine.load_for(Engine::Extension, "pass", None);
        machine.attach(&with_priority(xdp(&program, "eth0"), number * 10));
    }
    machine.world.detach_foreign(holder(&machine).0);
    reattach(broken(machine, &[Rule::PointDetached]))
}

fn a_filter_that_somebody_removed() -> Broken {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    machine.world.lack(link_types::TCX);
    for _ in 0..2 {
        let program = machine.load_to_attach("filter", None);
        machine.attach(&tc(&program, "eth0"));
    }
    for (filter, _) in machine.world.places().filters {
        machine.world.remove_filter(&filter);
    }
    reattach(broken(machine, &[Rule::PointDetached]))
}

fn blue(machine: &Machine) -> AbsolutePath {
    let file = AbsolutePath::parse("/run/netns/blue").unwrap();
    machine.world.add_namespace(&file);
    file
}

fn links_whose_interface_moved() -> Broken {
    let (machine, _) = chained(2);
    let program = machine.load_to_attach("filter", None);
    machine.attach(&tcx(&program, "eth0", 10));
    let blue = blue(&machine);
    // Its index is taken there.
    machine
        .world
        .set_next_interface(only_dispatcher(&machine.world).at.ifindex);
    machine
        .world
        .add_interface(Some(&blue), &name("lo"))
        .unwrap();
    let world = &machine.world;
    world
        .move_interface(None, &name("eth0"), Some(&blue))
        .unwrap();
    broken(machine, &[Rule::LinkMoved, Rule::PointMoved])
}

fn a_dispatcher_whose_interface_moved_and_another_has_its_index() -> Broken {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    for number in 1..3 {
        let program = machine.load_for(Engine::Extension, "pass", None);
        machine.attach(&with_priority(xdp(&program, "eth0"), number * 10));
    }
    let world = &machine.world;
    let blue = blue(&machine);
    let index = only_dispatcher(world).at.ifindex;
    world
        .move_interface(None, &name("eth0"), Some(&blue))
        .unwrap();
    world.set_next_interface(index);
    world.add_interface(None, &name("eth0")).unwrap();
    broken(machine, &[Rule::PointMoved])
}

fn links_whose_interface_has_another_name() -> Broken {
    let (machine, _) = chained(2);
    let world = &machine.world;
    world
        .rename_interface(None, &name("eth0"), &name("eth0old"))
        .unwrap();
    world.add_interface(None, &name("eth0")).unwrap();
    broken(machine, &[])
}

fn unpin(machine: &Machine, pin: &AbsolutePath) {
    machine.world.unlink(pin).unwrap();
}

fn pin_of(link: &Link) -> AbsolutePath {
    link.pin_path.clone().unwrap()
}

/// A program attached by TCX.
fn attached() -> (Machine, Program, Link) {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let program = machine.load_to_attach("filter", None);
    let link = machine.attach(&tcx(&program, "eth0", 10));
    (machine, program, link)
}

/// So many programs in a chain of XDP.
fn chained(count: u32) -> (Machine, Vec<Program>) {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let join = |number: u32| {
        let program = machine.load_to_attach("pass", None);
        machine.attach(&with_priority(xdp(&program, "eth0"), number * 10));
        program
    };
    let programs = (1..=count).map(join).collect();
    (machine, programs)
}

fn holder(machine: &Machine) -> (bpfman_core::types::KernelLinkId, AbsolutePath) {
    let dispatcher = only_dispatcher(&machine.world);
    let (id, pin) = dispatcher.link().unwrap();
    (id, pin.clone())
}

fn a_program_without_its_pin() -> Broken {
    let (machine, program, _) = attached();
    unpin(&machine, &program.pin_path);
    broken(machine, &[Rule::ProgramUnpinned])
}

fn a_program_that_was_unpinned_and_unloaded() -> Broken {
    let machine = Machine::new();
    let program = machine.load_pass();
    unpin(&machine, &program.pin_path);
    broken(machine, &[Rule::ProgramGone])
}

fn a_program_whose_pin_is_a_strangers() -> Broken {
    let (machine, program, _) = attached();
    unpin(&machine, &program.pin_path);
    let stranger = machine.world.load_foreign("stranger");
    machine
        .world
        .pin_foreign(stranger, &program.pin_path)
        .unwrap();
    Broken {
        left: vec![Rule::ProgramPinTaken],
        strangers: true,
        ..broken(machine, &[])
    }
}

fn a_program_whose_id_is_a_strangers() -> Broken {
    let machine = Machine::new();
    let program = machine.load_pass();
    unpin(&machine, &program.pin_path);
    machine.world.set_next_program_id(program.id().0);
    let stranger = machine.world.load_foreign("stranger");
    assert_eq!(stranger.id, program.id());
    Broken {
        strangers: true,
        ..broken(machine, &[Rule::ProgramGone])
    }
}

fn a_link_that_somebody_holds_without_its_pin() -> Broken {
    let (machine, _, link) = attached();
    machine.world.hold_foreign(link.kernel.unwrap());
    unpin(&machine, &pin_of(&link));
    broken(machine, &[Rule::LinkUnpinned])
}

fn a_link_that_ended_with_its_pin() -> Broken {
    let (machine, _, link) = attached();
    unpin(&machine, &pin_of(&link));
    broken(machine, &[Rule::LinkGone])
}

fn a_link_whose_interface_is_gone() -> Broken {
    let (machine, ..) = attached();
    machine.world.remove_interface(None, &name("eth0")).unwrap();
    broken(machine, &[Rule::LinkDead])
}

fn a_link_of_a_program_that_is_gone() -> Broken {
    let (machine, program, link) = attached();
    unpin(&machine, &pin_of(&link));
    unpin(&machine, &program.pin_path);
    broken(machine, &[Rule::ProgramGone])
}

fn a_chain_whose_interface_is_gone() -> Broken {
    let (machine, _) = chained(3);
    machine.world.remove_interface(None, &name("eth0")).unwrap();
    broken(machine, &[Rule::PointDead])
}

fn a_chain_that_ended_with_its_pin() -> Broken {
    let (machine, _) = chained(2);
    unpin(&machine, &holder(&machine).1);
    broken(machine, &[Rule::PointGone])
}

fn a_chain_that_somebody_holds_without_its_pin() -> Broken {
    let (machine, _) = chained(2);
    let (link, pin) = holder(&machine);
    machine.world.hold_foreign(link);
    unpin(&machine, &pin);
    broken(machine, &[Rule::PointUnpinned])
}

fn a_chain_whose_program_has_no_pin() -> Broken {
    let (machine, _) = chained(2);
    let directory = only_dispatcher(&machine.world).directory(&machine.layout);
    unpin(&machine, &directory.unwrap().join("dispatcher"));
    broken(machine, &[Rule::PointProgramUnpinned])
}

fn two_members_that_are_gone() -> Broken {
    let (machine, programs) = chained(3);
    for program in &programs[..2] {
        unpin(&machine, &program.pin_path);
    }
    broken(machine, &[Rule::ProgramGone, Rule::ProgramGone])
}

fn pins_and_files_that_no_record_knows() -> Broken {
    let (machine, _) = chained(2);
    let stranger = machine.world.load_foreign("stranger");
    let fs = machine.layout.bpffs();
    let world = &machine.world;
    let at = only_dispatcher(world).at;
    let layout = &machine.layout;
    for revision in [
        layout.dispatcher_revision("xdp", at.nsid, at.ifindex, 9),
        layout.dispatcher_revision("xdp", at.nsid, IfIndex(99), 1),
    ] {
        world.make_directories(&revision).unwrap();
        let pin = revision.join("dispatcher");
        world.pin_foreign(stranger, &pin).unwrap();
    }
    world.pin_foreign(stranger, &fs.join("prog_999")).unwrap();
    let directory = machine.layout.programs().join("999");
    world.make_directories(&directory).unwrap();
    world
        .put_file(&directory.join("bytecode.o"), b"left")
        .unwrap();
    world
        .put_file(&machine.layout.staged_object(), b"left")
        .unwrap();
    Broken {
        left: vec![Rule::Orphan, Rule::Orphan],
        strangers: true,
        ..broken(
            machine,
            &[Rule::RevisionLeft, Rule::FilesLeft, Rule::FilesLeft],
        )
    }
}

fn a_bpffs_that_was_unmounted() -> Broken {
    let (machine, _) = chained(3);
    machine.load_pass();
    let bpffs = machine.layout.bpffs();
    machine.world.unmount_bpffs(&bpffs).unwrap();
    broken(machine, &[Rule::ProgramGone; 4])
}

fn an_object_that_was_removed() -> Broken {
    let machine = Machine::new();
    let program = machine.load_pass();
    machine.world.unlink(&program.load.object_path).unwrap();
    Broken {
        left: vec![Rule::ObjectLost],
        ..broken(machine, &[])
    }
}

const BROKEN: [fn() -> Broken; 26] = [
    a_link_that_was_given_another_program,
    a_link_that_somebody_detached,
    a_link_that_ended_with_its_pin_and_is_wanted,
    a_chain_that_somebody_detached,
    a_chain_that_ended_with_its_pin_and_is_wanted,
    a_dispatcher_that_somebody_detached,
    a_filter_that_somebody_removed,
    links_whose_interface_moved,
    a_dispatcher_whose_interface_moved_and_another_has_its_index,
    links_whose_interface_has_another_name,
    a_program_without_its_pin,
    a_program_that_was_unpinned_and_unloaded,
    a_program_whose_pin_is_a_strangers,
    a_program_whose_id_is_a_strangers,
    a_link_that_somebody_holds_without_its_pin,
    a_link_that_ended_with_its_pin,
    a_link_whose_interface_is_gone,
    a_link_of_a_program_that_is_gone,
    a_chain_whose_interface_is_gone,
    a_chain_that_ended_with_its_pin,
    a_chain_that_somebody_holds_without_its_pin,
    a_chain_whose_program_has_no_pin,
    two_members_that_are_gone,
    pins_and_files_that_no_record_knows,
    a_bpffs_that_was_unmounted,
    an_object_that_was_removed,
];

fn rules(findings: &[Finding]) -> Vec<Rule> {
    findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn what_is_broken_is_found_and_repaired_and_the_second_time_there_is_nothing_to_do() {
    for (number, broken) in BROKEN.iter().enumerate() {
        let Broken {
            machine,
            repaired,
            left,
            repairs,
            strangers,
        } = broken();
        let before = machine.world.places();
        let found = machine.manage(|manager| manager.diagnose(repairs)).unwrap();
        assert_eq!(
            machine.world.places(),
            before,
            "{number}: a look is no effect"
        );
        let mut all = [repaired.clone(), left.clone()].concat();
        let mut seen = rules(&found.findings);
        all.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, all, "{number}");
        let done = machine
            .manage(|manager| manager.reconcile(repairs))
            .unwrap();
        assert_eq!(rules(&done.repaired), repaired, "{number}");
        assert_eq!(rules(&done.left), left, "{number}");
        if !strangers {
            assert_consistent(&machine.world);
        }
        let after = machine.world.places();
        let again = machine
            .manage(|manager| manager.reconcile(repairs))
            .unwrap();
        assert_eq!(rules(&again.repaired), [], "{number}");
        assert_eq!(machine.world.places(), after, "{number}");
    }
}

#[test]
fn what_is_healthy_is_left_alone() {
    for machine in [attached().0, chained(1).0, chained(3).0, Machine::new()] {
        let before = machine.world.places();
        let done = machine
            .manage(|manager| manager.reconcile(prune()))
            .unwrap();
        assert_eq!(rules(&done.repaired), []);
        assert_eq!(rules(&done.left), []);
        assert_eq!(machine.world.places(), before);
    }
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let program = machine.load_for(Engine::Extension, "pass", None);
    machine.attach(&xdp(&program, "eth0"));
    let before = machine.world.places();
    let done = machine
        .manage(|manager| manager.reconcile(prune()))
        .unwrap();
    assert_eq!(rules(&done.repaired), []);
    assert_eq!(machine.world.places(), before);
}

#[test]
fn orphans_are_removed_only_when_that_is_asked_for() {
    let Broken { machine, .. } = pins_and_files_that_no_record_knows();
    machine
        .manage(|manager| manager.reconcile(Repairs::default()))
        .unwrap();
    let pin = machine.layout.bpffs().join("prog_999");
    assert!(machine.world.places().paths().contains(&pin));
    let done = machine
        .manage(|manager| manager.reconcile(prune()))
        .unwrap();
    assert_eq!(rules(&done.repaired), [Rule::Orphan, Rule::Orphan]);
    assert!(!machine.world.places().paths().contains(&pin));
}

#[test]
fn what_cannot_be_looked_at_is_never_taken_for_gone() {
    for broken in BROKEN {
        let machine = broken().machine;
        let before = machine.world.places();
        let records = before.records();
        for record in &records {
            let blind = Faults::none()
                .looking_at(record.pin_path.clone())
                .with(Errno::Permission);
            machine.world.inject(blind);
            let refused = machine.manage(|manager| manager.reconcile(prune()));
            assert!(matches!(refused, Err(ManagerError::Kernel(_))));
            machine.world.inject(Faults::none());
            assert_eq!(machine.world.places(), before);
        }
    }
}

#[test]
fn what_somebody_detached_comes_back_as_it_was_or_waits_until_that_is_asked_for() {
    for broken in [
        a_link_that_somebody_detached,
        a_chain_that_somebody_detached,
        a_dispatcher_that_somebody_detached,
        a_filter_that_somebody_removed,
    ] {
        let Broken {
            machine,
            repaired,
            repairs,
            ..
        } = broken();
        let links = machine.world.places().link_records();
        let before = machine.world.places();
        let done = machine
            .manage(|manager| manager.reconcile(Repairs::default()))
            .unwrap();
        assert_eq!(rules(&done.left), repaired);
        assert_eq!(
            machine.world.places(),
            before,
            "nothing is attached unasked"
        );
        let told = done.left[0].notes.join("\n");
        for link in &links {
            let command = format!("bpfman attach {} {}", link.kind(), link.program);
            assert!(told.contains(&command), "{told}");
        }
        machine
            .manage(|manager| manager.reconcile(repairs))
            .unwrap();
        assert_consistent(&machine.world);
        let again = machine.world.places().link_records();
        let same = |one: &Link, other: &Link| {
            (
                one.id,
                one.program,
                &one.details,
                one.created_at,
                &one.metadata,
            ) == (
                other.id,
                other.program,
                &other.details,
                other.created_at,
                &other.metadata,
            )
        };
        assert_eq!(again.len(), links.len());
        assert!(
            links
                .iter()
                .zip(&again)
                .all(|(one, other)| same(one, other))
        );
    }
}

#[test]
fn a_program_joins_what_has_moved_where_it_is_now() {
    for engine in [Engine::Auto, Engine::Extension] {
        let machine = Machine::new().with_interfaces(&["eth0"]);
        let first = machine.load_for(engine, "pass", None);
        let first = machine.attach(&with_priority(xdp(&first, "eth0"), 10));
        let blue = blue(&machine);
        let world = &machine.world;
        let index = only_dispatcher(world).at.ifindex;
        world
            .move_interface(None, &name("eth0"), Some(&blue))
            .unwrap();
        let second = machine.load_for(engine, "pass", None);
        let mut there = with_priority(xdp(&second, "eth0"), 20);
        if let AttachRequest::Xdp(links::XdpRequest { interface, .. }) = &mut there.request {
            interface.netns = Some(blue.clone());
        }
        let second = machine.attach(&there);
        assert_consistent(world);
        assert_eq!(only_dispatcher(world).members, [first.id, second.id]);
        // What has its old index now is another interface.
        world.set_next_interface(index);
        world.add_interface(None, &name("eth0")).unwrap();
        let third = machine.load_for(engine, "pass", None);
        let third = machine.attach(&xdp(&third, "eth0"));
        assert_consistent(world);
        for link in [first.id, third.id, second.id] {
            machine.detach(link).unwrap();
            assert_consistent(world);
        }
        assert!(world.places().links.is_empty());
    }
}

#[test]
fn a_record_that_is_in_the_way_of_another_interface_follows_its_own() {
    let Broken { machine, .. } = a_dispatcher_whose_interface_moved_and_another_has_its_index();
    let program = machine.load_to_attach("pass", None);
    machine.attach(&xdp(&program, "eth0"));
    assert_consistent(&machine.world);
    let members = machine.world.places().dispatchers().into_iter();
    let mut members: Vec<usize> = members.map(|one| one.members.len()).collect();
    members.sort_unstable();
    assert_eq!(members, [1, 2]);
}

/// The records, without what a rebuilt chain is called in the kernel.
fn records(machine: &Machine) -> (Vec<Program>, Vec<LinkId>, Vec<Vec<LinkId>>) {
    let places = machine.world.places();
    let links = places.link_records().into_iter();
    let dispatchers = places.dispatchers().into_iter();
    (
        places.records(),
        links.map(|link| link.id).collect(),
        dispatchers.map(|one| one.members).collect(),
    )
}

#[test]
fn a_reconciliation_that_fails_or_is_killed_is_made_up_for_by_the_next() {
    for (case, broken) in BROKEN.iter().enumerate() {
        let whole = broken();
        whole.machine.world.inject(Faults::none());
        whole
            .machine
            .manage(|manager| manager.reconcile(whole.repairs))
            .unwrap();
        for number in 0..whole.machine.world.effects().len() {
            for faults in [
                Faults::none().at(number),
                Faults::none().crashing(Crash::Before(number)),
                Faults::none().crashing(Crash::After(number)),
            ] {
                let machine = broken().machine;
                machine.world.inject(faults);
                // Nobody hears what became of it.
                let _ = machine.manage(|manager| manager.reconcile(whole.repairs));
                machine.world.inject(Faults::none());
                machine
                    .manage(|manager| manager.reconcile(whole.repairs))
                    .unwrap();
                assert_eq!(
                    records(&machine),
                    records(&whole.machine),
                    "{case}: {number}"
                );
                if !whole.strangers {
                    assert_consistent(&machine.world);
                }
                let again = machine
                    .manage(|manager| manager.reconcile(whole.repairs))
                    .unwrap();
                assert_eq!(rules(&again.repaired), [], "{case}: {number}");
            }
        }
    }
}
