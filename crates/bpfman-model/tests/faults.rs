//! Every step of an operation fails once, and then its undos fail too.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::action::Plan;
use bpfman_core::action::Undo;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::managed::AttachPoint;
use bpfman_core::managed::AttachSpec;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Engine;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::executor::FailedUndo;
use bpfman_interpreter::runtime::Runtime;
use bpfman_manager::LinkUpdate;
use bpfman_manager::ManagerError;
use bpfman_model::EffectResult;
use bpfman_model::Errno;
use bpfman_model::Faults;
use bpfman_model::Node;
use bpfman_model::Places;
use bpfman_model::link_types;

use self::common::Machine;
use self::common::PROGRAMS;
use self::common::among_others;
use self::common::name;
use self::common::pinned_at;
use self::common::shared::assert_consistent;
use self::common::shared::only_dispatcher;
use self::common::spec;
use self::common::taking_maps_of;
use self::common::tc;
use self::common::tcx;
use self::common::tracepoint;
use self::common::with_priority;
use self::common::xdp;

/// What is about to happen on a machine.
enum Operation {
    Load(LoadSpec),
    Unload(ProgramId),
    Attach(AttachSpec),
    Detach(LinkId),
    Alter(LinkUpdate),
    Clear(AttachPoint),
}

/// A machine and what is about to happen on it. Made anew for each attempt, always the same.
struct Scene {
    machine: Machine,
    operation: Operation,
}

impl Scene {
    fn load(machine: Machine, spec: LoadSpec) -> Self {
        Self {
            machine,
            operation: Operation::Load(spec),
        }
    }

    fn unload(machine: Machine, id: ProgramId) -> Self {
        Self {
            machine,
            operation: Operation::Unload(id),
        }
    }

    fn attach(machine: Machine, spec: AttachSpec) -> Self {
        Self {
            machine,
            operation: Operation::Attach(spec),
        }
    }

    fn detach(machine: Machine, id: LinkId) -> Self {
        Self {
            machine,
            operation: Operation::Detach(id),
        }
    }

    /// A priority of 35, or verdicts that no bare attach has.
    fn alter(machine: Machine, link: LinkId, moves: bool) -> Self {
        let update = LinkUpdate {
            link,
            priority: moves.then(|| Priority::new(35).unwrap()),
            proceed_on: (!moves).then(|| vec![1]),
        };
        Self {
            machine,
            operation: Operation::Alter(update),
        }
    }

    fn clear(machine: Machine) -> Self {
        let point = only_dispatcher(&machine.world).point();
        Self {
            machine,
            operation: Operation::Clear(point),
        }
    }

    fn plan(&self) -> Plan {
        let before = self.machine.world.places();
        let plan = self.machine.manage(|manager| match &self.operation {
            Operation::Load(spec) => manager.plan_load(spec, PROGRAMS, UnixTime(1)),
            Operation::Unload(id) => manager.plan_unload(*id),
            Operation::Attach(spec) => manager.plan_attach(spec, UnixTime(1)),
            Operation::Detach(id) => manager.plan_detach(*id),
            Operation::Alter(update) => manager.plan_update_link(update),
            Operation::Clear(point) => manager.plan_delete_dispatcher(*point),
        });
        assert_eq!(self.machine.world.places(), before, "a plan is no effect");
        plan.unwrap()
    }

    /// Makes the runtime directory and the database, which are made before any plan.
    fn make_runtime(&self) {
        let mut process = self.machine.world.process(&self.machine.layout);
        process.runtime.writer().unwrap();
    }

    fn run(&self, faults: Faults) -> Result<(), ExecutionError> {
        self.machine.world.inject(faults);
        let done = match &self.operation {
            Operation::Load(spec) => self.machine.try_load(spec).map(drop),
            Operation::Unload(id) => self.machine.unload(*id),
            Operation::Attach(spec) => self.machine.try_attach(spec).map(drop),
            Operation::Detach(id) => self.machine.detach(*id),
            Operation::Alter(update) => self.machine.manage(|manager| manager.update_link(update)),
            Operation::Clear(point) => self.machine.delete_dispatcher(*point),
        };
        match done {
            // The plan has run; that others hold the link is no failure of a step.
            Ok(()) | Err(ManagerError::StillAttached(_)) => Ok(()),
            Err(ManagerError::Execution(error)) => Err(error),
            Err(other) => panic!("the plan did not run: {other}"),
        }
    }

    /// Whether records have outlived their interface: others' are tidied up with the last of them.
    fn is_stale(&self) -> bool {
        let places = self.places();
        let gone = LinkPlace::Interface { ifindex: None };
        let dead = places.links.values().any(|link| link.place == gone);
        let links = places.link_records().into_iter();
        let links = links.filter(|link| link.details.membership().is_some());
        let dispatchers = places.dispatchers();
        let members: usize = dispatchers.iter().map(|one| one.members.len()).sum();
        dead || links.count() != members
    }

    fn places(&self) -> Places {
        self.machine.world.places()
    }
}

fn first_ever_load() -> Scene {
    Scene::load(Machine::new(), spec(&["pass"]))
}

fn first_load_with_a_pin_path() -> Scene {
    Scene::load(Machine::new(), pinned_at("/sys/fs/bpf/a/b/pass"))
}

fn load_where_our_bpffs_was_unmounted_by_hand() -> Scene {
    let machine = Machine::new();
    let directory = machine.layout.bpffs();
    machine.world.make_directories(&directory).unwrap();
    Scene::load(machine, spec(&["pass"]))
}

fn load_with_a_pin_path() -> Scene {
    let machine = Machine::new();
    machine.load(&pinned_at("/sys/fs/bpf/a/first"));
    Scene::load(machine, pinned_at("/sys/fs/bpf/a/b/c/second"))
}

fn load_of_several_programs() -> Scene {
    let mut several = spec(&["count", "pass"]);
    several
        .global_data
        .insert("limit".to_owned(), vec![1, 0, 0, 0]);
    Scene::load(Machine::new(), several)
}

fn load_that_takes_the_maps_of_an_owner() -> Scene {
    let machine = Machine::new();
    let owner = machine.load_pass();
    Scene::load(machine, taking_maps_of(owner.id()))
}

fn load_that_finds_a_map_by_its_name() -> Scene {
    let machine = Machine::new();
    machine.load_pass();
    let spec = spec(&["count", "pass"]);
    Scene::load(machine, spec)
}

fn unload_of_the_only_program() -> Scene {
    let machine = Machine::new();
    let program = machine.load_pass();
    Scene::unload(machine, program.id())
}

fn unload_of_a_program_with_a_pin_path() -> Scene {
    let machine = Machine::new();
    let program = machine.load(&pinned_at("/sys/fs/bpf/a/b/pass")).remove(0);
    Scene::unload(machine, program.id())
}

fn unload_of_an_owner_while_its_maps_are_used() -> Scene {
    let machine = Machine::new();
    let owner = machine.load_pass();
    machine.load_user_of(owner.id());
    Scene::unload(machine, owner.id())
}

fn unload_of_the_last_user_of_a_map_set() -> Scene {
    let machine = Machine::new();
    let owner = machine.load_pass();
    let user = machine.load_user_of(owner.id());
    machine.unload(owner.id()).unwrap();
    Scene::unload(machine, user.id())
}

fn unload_of_a_program_that_was_unpinned_by_hand() -> Scene {
    let machine = Machine::new();
    let program = machine.load_pass();
    machine.world.unlink(&program.pin_path).unwrap();
    Scene::unload(machine, program.id())
}

fn unload_of_one_program_of_two() -> Scene {
    let machine = Machine::new();
    let programs = machine.load(&spec(&["count", "pass"]));
    Scene::unload(machine, programs[0].id())
}

fn attach_to_xdp() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let program = machine.load_to_attach("pass", None);
    machine.attach(&xdp(&program, "eth1"));
    Scene::attach(machine, xdp(&program, "eth0"))
}

fn attach_to_tcx_between_two() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    for priority in [10, 30] {
        let program = machine.load_to_attach("filter", None);
        machine.attach(&tcx(&program, "eth0", priority));
    }
    let program = machine.load_to_attach("filter", None);
    Scene::attach(machine, tcx(&program, "eth0", 20))
}

fn first_ever_attach() -> Scene {
    let machine = Machine::new();
    machine
        .world
        .add_tracepoint("sched", "sched_process_exec", 300);
    let program = machine.load_to_attach("trace", None);
    Scene::attach(machine, tracepoint(&program))
}

fn attach_where_our_bpffs_was_never_mounted() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let program = machine.load_to_attach("pass", Some("/sys/fs/bpf/pass"));
    Scene::attach(machine, xdp(&program, "eth0"))
}

fn attach_where_our_bpffs_was_unmounted_by_hand() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let program = machine.load_to_attach("pass", Some("/sys/fs/bpf/pass"));
    let other = machine.load_pass();
    machine.unload(other.id()).unwrap();
    let bpffs = machine.layout.bpffs();
    machine.world.unmount_bpffs(&bpffs).unwrap();
    Scene::attach(machine, xdp(&program, "eth0"))
}

fn attach_by_a_filter() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    machine.world.lack(link_types::TCX);
    let program = machine.load_to_attach("filter", None);
    Scene::attach(machine, tc(&program, "eth0"))
}

fn detach_of_a_filter() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    machine.world.lack(link_types::TCX);
    let program = machine.load_to_attach("filter", None);
    let link = machine.attach(&tc(&program, "eth0"));
    Scene::detach(machine, link.id)
}

/// A link between two others, which are of the same hook.
fn link_between_two() -> (Machine, LinkId) {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    let mut links = Vec::new();
    for priority in [30, 20, 10] {
        let program = machine.load_to_attach("filter", None);
        links.push(machine.attach(&tcx(&program, "eth0", priority)));
    }
    (machine, links[1].id)
}

fn detach_of_a_link_between_two() -> Scene {
    let (machine, link) = link_between_two();
    Scene::detach(machine, link)
}

fn detach_of_a_link_that_only_somebody_else_holds() -> Scene {
    let (machine, link) = link_between_two();
    let records = machine.world.places().link_records();
    let record = records
        .into_iter()
        .find(|record| record.id == link)
        .unwrap();
    machine.world.hold_foreign(record.kernel.unwrap());
    machine.world.unlink(&record.pin_path.unwrap()).unwrap();
    Scene::detach(machine, link)
}

fn detach_of_a_link_that_is_gone() -> Scene {
    let (machine, link) = link_between_two();
    let pin = machine.layout.link_pin(link);
    machine.world.unlink(&pin).unwrap();
    Scene::detach(machine, link)
}

fn unload_of_a_program_with_two_links() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let program = machine.load_to_attach("filter", Some("/sys/fs/bpf/a/filter"));
    let other = machine.load_to_attach("filter", None);
    for interface in ["eth0", "eth1"] {
        machine.attach(&tcx(&program, interface, 20));
        machine.attach(&tcx(&other, interface, 10));
    }
    Scene::unload(machine, program.id())
}

fn unload_of_a_program_with_a_filter() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    machine.world.lack(link_types::TCX);
    let program = machine.load_to_attach("filter", None);
    for interface in ["eth0", "eth1"] {
        machine.attach(&tc(&program, interface));
    }
    Scene::unload(machine, program.id())
}

/// Links at `eth0`, by the engine and the hook, of priorities 10, 20 and so on, and who is to come.
fn members(engine: Engine, hook: Joining, count: u32) -> (Machine, Vec<Link>, Program) {
    let machine = Machine::new().with_interfaces(&["eth0"]);
    if let Joining::Filter = hook {
        machine.world.lack(link_types::TCX);
    }
    let load = || match hook {
        Joining::Xdp => machine.load_for(engine, "pass", None),
        Joining::Tcx | Joining::Filter => machine.load_for(engine, "filter", None),
    };
    let links = (1..=count).map(|number| {
        let program = load();
        machine.attach(&with_priority(hook.of(&program), number * 10))
    });
    let links = links.collect();
    let next = load();
    (machine, links, next)
}

/// How a program joins others.
#[derive(Clone, Copy)]
enum Joining {
    Xdp,
    Tcx,
    Filter,
}

impl Joining {
    fn of(self, program: &Program) -> AttachSpec {
        match self {
            Self::Xdp => xdp(program, "eth0"),
            Self::Tcx | Self::Filter => tc(program, "eth0"),
        }
    }
}

/// A program joins so many others, between the first and the second.
fn join(engine: Engine, hook: Joining, count: u32) -> Scene {
    let (machine, _, program) = members(engine, hook, count);
    Scene::attach(machine, with_priority(hook.of(&program), 15))
}

/// The first of so many leaves.
fn leave(engine: Engine, hook: Joining, count: u32) -> Scene {
    let (machine, links, _) = members(engine, hook, count);
    Scene::detach(machine, links[0].id)
}

fn join_with_a_counter() -> Scene {
    let (machine, _, program) = members(Engine::Auto, Joining::Xdp, 1);
    let spec = among_others(xdp(&program, "eth0"), 5, None, true);
    Scene::attach(machine, spec)
}

fn leave_with_a_counter() -> Scene {
    let (machine, _, program) = members(Engine::Auto, Joining::Xdp, 1);
    let spec = among_others(xdp(&program, "eth0"), 5, None, true);
    let link = machine.attach(&spec).id;
    Scene::detach(machine, link)
}

fn unload_of_a_member_on_two_interfaces() -> Scene {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let program = machine.load_to_attach("pass", None);
    let other = machine.load_to_attach("pass", None);
    for interface in ["eth0", "eth1"] {
        machine.attach(&xdp(&program, interface));
        machine.attach(&xdp(&other, interface));
    }
    machine.attach(&tc(&machine.load_to_attach("filter", None), "eth0"));
    Scene::unload(machine, program.id())
}

fn unload_of_a_member_that_is_there_twice() -> Scene {
    let (machine, links, _) = members(Engine::Extension, Joining::Xdp, 2);
    let records = machine.world.places().records();
    machine.attach(&xdp(&records[0], "eth0"));
    Scene::unload(machine, links[0].program)
}

fn clear_of_a_dispatcher() -> Scene {
    let (machine, _, _) = members(Engine::Extension, Joining::Xdp, 3);
    Scene::clear(machine)
}

fn clear_of_a_chain() -> Scene {
    let (machine, _, _) = members(Engine::Auto, Joining::Filter, 3);
    Scene::clear(machine)
}

fn move_in(engine: Engine, moves: bool, count: u32) -> Scene {
    let (machine, links, _) = members(engine, Joining::Xdp, count);
    Scene::alter(machine, links[0].id, moves)
}

/// An interface that went with these links, and another one with its numbers.
fn stale(engine: Engine) -> (Machine, Vec<Link>, Program) {
    let (machine, links, program) = members(engine, Joining::Xdp, 2);
    let name = name("eth0");
    let index = only_dispatcher(&machine.world).at.ifindex;
    machine.world.remove_interface(None, &name).unwrap();
    machine.world.set_next_interface(index);
    machine.world.add_interface(None, &name).unwrap();
    (machine, links, program)
}

fn join_after_an_interface_that_went(engine: Engine) -> Scene {
    let (machine, _, program) = stale(engine);
    Scene::attach(machine, xdp(&program, "eth0"))
}

fn leave_after_an_interface_that_went(engine: Engine, links_left: usize) -> Scene {
    let (machine, links, _) = stale(engine);
    for link in &links[links_left..] {
        machine.detach(link.id).unwrap();
    }
    Scene::detach(machine, links[0].id)
}

/// A scene's name and how it is set.
type Setting = (&'static str, fn() -> Scene);

const SCENES: [Setting; 55] = [
    ("first ever load", first_ever_load),
    ("first load, with a pin path", first_load_with_a_pin_path),
    (
        "load where our bpffs was unmounted by hand",
        load_where_our_bpffs_was_unmounted_by_hand,
    ),
    ("load with a pin path", load_with_a_pin_path),
    ("load of several programs", load_of_several_programs),
    (
        "load that takes an owner's maps",
        load_that_takes_the_maps_of_an_owner,
    ),
    (
        "load that finds a map by its name",
        load_that_finds_a_map_by_its_name,
    ),
    ("unload of the only program", unload_of_the_only_program),
    (
        "unload of a program with a pin path",
        unload_of_a_program_with_a_pin_path,
    ),
    (
        "unload of an owner while its maps are used",
        unload_of_an_owner_while_its_maps_are_used,
    ),
    (
        "unload of the last user of a map set",
        unload_of_the_last_user_of_a_map_set,
    ),
    (
        "unload of a program that was unpinned by hand",
        unload_of_a_program_that_was_unpinned_by_hand,
    ),
    ("unload of one program of two", unload_of_one_program_of_two),
    ("attach to xdp", attach_to_xdp),
    ("attach to tcx between two", attach_to_tcx_between_two),
    ("first ever attach", first_ever_attach),
    (
        "attach where our bpffs was never mounted",
        attach_where_our_bpffs_was_never_mounted,
    ),
    (
        "attach where our bpffs was unmounted by hand",
        attach_where_our_bpffs_was_unmounted_by_hand,
    ),
    ("attach by a filter", attach_by_a_filter),
    ("detach of a filter", detach_of_a_filter),
    ("detach of a link between two", detach_of_a_link_between_two),
    (
        "detach of a link that only somebody else holds",
        detach_of_a_link_that_only_somebody_else_holds,
    ),
    (
        "detach of a link that is gone",
        detach_of_a_link_that_is_gone,
    ),
    (
        "unload of a program with two links",
        unload_of_a_program_with_two_links,
    ),
    (
        "unload of a program with a filter",
        unload_of_a_program_with_a_filter,
    ),
    ("join of a second one", || {
        join(Engine::Auto, Joining::Xdp, 1)
    }),
    ("join of a third one", || {
        join(Engine::Auto, Joining::Tcx, 2)
    }),
    ("join of a second one by a filter", || {
        join(Engine::Auto, Joining::Filter, 1)
    }),
    ("join with a counter", join_with_a_counter),
    ("first extension", || {
        join(Engine::Extension, Joining::Xdp, 0)
    }),
    ("join of a second extension", || {
        join(Engine::Extension, Joining::Xdp, 1)
    }),
    ("first extension by a filter", || {
        join(Engine::Extension, Joining::Filter, 0)
    }),
    ("join of a third extension by a filter", || {
        join(Engine::Extension, Joining::Filter, 2)
    }),
    ("leave of the only one", || {
        leave(Engine::Auto, Joining::Xdp, 1)
    }),
    ("leave of one of two", || {
        leave(Engine::Auto, Joining::Tcx, 2)
    }),
    ("leave of one of three", || {
        leave(Engine::Auto, Joining::Xdp, 3)
    }),
    ("leave of one of two by a filter", || {
        leave(Engine::Auto, Joining::Filter, 2)
    }),
    ("leave of the only one by a filter", || {
        leave(Engine::Auto, Joining::Filter, 1)
    }),
    ("leave with a counter", leave_with_a_counter),
    ("leave of the only extension", || {
        leave(Engine::Extension, Joining::Xdp, 1)
    }),
    ("leave of one extension of three", || {
        leave(Engine::Extension, Joining::Xdp, 3)
    }),
    ("leave of the only extension by a filter", || {
        leave(Engine::Extension, Joining::Filter, 1)
    }),
    ("move in a chain", || move_in(Engine::Auto, true, 4)),
    ("other verdicts alone", || move_in(Engine::Auto, false, 1)),
    ("move among extensions", || {
        move_in(Engine::Extension, true, 4)
    }),
    (
        "unload of a member on two interfaces",
        unload_of_a_member_on_two_interfaces,
    ),
    (
        "unload of a member that is there twice",
        unload_of_a_member_that_is_there_twice,
    ),
    ("clear of a dispatcher", clear_of_a_dispatcher),
    ("clear of a chain", clear_of_a_chain),
    ("join after an interface that went", || {
        join_after_an_interface_that_went(Engine::Auto)
    }),
    ("join of an extension after an interface that went", || {
        join_after_an_interface_that_went(Engine::Extension)
    }),
    ("first leave after an interface that went", || {
        leave_after_an_interface_that_went(Engine::Auto, 2)
    }),
    ("last leave after an interface that went", || {
        leave_after_an_interface_that_went(Engine::Auto, 1)
    }),
    (
        "first leave of extensions after an interface that went",
        || leave_after_an_interface_that_went(Engine::Extension, 2),
    ),
    (
        "last leave of extensions after an interface that went",
        || leave_after_an_interface_that_went(Engine::Extension, 1),
    ),
];

/// Each scene once, with its plan and what the places hold before the plan runs.
fn in_every_scene(test: impl Fn(&str, fn() -> Scene, &Plan, &Places)) {
    for (name, scene) in SCENES {
        let prepared = scene();
        let plan = prepared.plan();
        prepared.make_runtime();
        test(name, scene, &plan, &prepared.places());
    }
}

/// What every plan is for: an object or a record that was not there, or is there no more.
fn assert_succeeds(scene: &Scene, before: &Places) {
    scene.run(Faults::none()).unwrap();
    let after = scene.places();
    let records = |places: &Places| {
        let links = places.link_records();
        (places.records(), links, places.dispatchers())
    };
    assert_ne!(records(&after), records(before));
    for record in after.records() {
        assert!(after.programs.contains_key(&record.id()));
    }
    for record in after.link_records() {
        if let Some(id) = record.kernel
            && record.details.membership().is_none()
        {
            assert_eq!(after.links[&id].program, record.program);
        }
    }
    if !scene.is_stale() {
        assert_consistent(&scene.machine.world);
    }
}

#[test]
fn a_step_that_fails_leaves_everything_as_it_was() {
    in_every_scene(|name, scene, plan, before| {
        assert!(!plan.steps.is_empty());
        for (number, step) in plan.steps.iter().enumerate() {
            let scene = scene();
            let error = scene.run(Faults::none().at(number)).unwrap_err();
            assert_eq!(error.action, step.action.to_string(), "{name}");
            assert_names_the_cause(&error);
            let left: Vec<String> = printed(&error.failed_undos);
            let lost = lost_for_good(&scene, plan, number);
            assert_eq!(left, lost, "{name}: {}", error.action);
            if !lost.is_empty() {
                assert_all_left_is_named(name, before, &scene, &error);
                assert_succeeds(&scene, &scene.places());
                continue;
            }
            let differences = differences(before, &scene.places());
            assert_eq!(differences, [], "{name}: {}", error.action);
            assert_eq!(scene.places(), *before, "{name}: {}", error.action);
            let again = scene.places();
            assert_succeeds(&scene, &again);
        }
        let whole = scene();
        // One effect a step: beyond the last step there is nothing left to refuse.
        whole
            .run(Faults::none().at(plan.steps.len()))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(whole.machine.world.effects().len(), plan.steps.len());
        assert_succeeds(&scene(), before);
    });
}

/// The steps before `number` that nothing undoes, printed, the last one first.
fn lost_for_good(scene: &Scene, plan: &Plan, number: usize) -> Vec<String> {
    let effects = scene.machine.world.effects();
    let done = plan.steps[..number].iter().zip(&effects);
    let lost = done.filter(|(step, effect)| {
        matches!(step.undo, Undo::Impossible { .. }) && effect.result == EffectResult::Changed
    });
    lost.rev()
        .map(|(step, _)| step.action.to_string())
        .collect()
}

#[test]
fn a_cause_is_named_whatever_it_is() {
    for errno in [Errno::Permission, Errno::Busy, Errno::InputOutput] {
        in_every_scene(|name, scene, plan, before| {
            let last = plan.steps.len() - 1;
            let scene = scene();
            let error = scene.run(Faults::none().at(last).with(errno)).unwrap_err();
            let text = error.to_string().to_lowercase();
            let why = errno.to_string().to_lowercase();
            let why = why.split(" (").next().unwrap();
            assert!(
                text.contains(why) || text.contains("busy"),
                "{name}: {text}"
            );
            if lost_for_good(&scene, plan, last).is_empty() {
                assert_eq!(scene.places(), *before, "{name}");
            }
        });
    }
}

/// The undos of the steps before `number` that changed something, printed, in the order they are tried.
fn expected_undos(scene: &Scene, plan: &Plan, number: usize) -> Vec<String> {
    let effects = scene.machine.world.effects();
    let done = plan.steps[..number].iter().zip(&effects);
    let changed = done.filter(|(_, effect)| effect.result == EffectResult::Changed);
    let undo = |undo: &Undo| match undo {
        Undo::By(action) => Some(action.to_string()),
        Undo::Nothing { .. } | Undo::Impossible { .. } => None,
    };
    changed
        .rev()
        .filter_map(|(step, _)| undo(&step.undo))
        .collect()
}

fn printed(failed: &[FailedUndo]) -> Vec<String> {
    failed.iter().map(|undo| undo.action.clone()).collect()
}

fn assert_names_the_cause(error: &ExecutionError) {
    let cause = error.cause.to_string().to_lowercase();
    assert!(cause.contains("no space left"), "{cause}");
    assert!(error.to_string().starts_with(&error.cause.to_string()));
}

#[test]
fn when_every_undo_fails_too_each_is_reported() {
    in_every_scene(|name, scene, plan, before| {
        for number in 0..plan.steps.len() {
            let scene = scene();
            let error = scene.run(Faults::none().from(number)).unwrap_err();
            assert_names_the_cause(&error);
            // What nothing undoes comes last in every plan, so it is first among what is left.
            let mut expected = lost_for_good(&scene, plan, number);
            expected.extend(expected_undos(&scene, plan, number));
            assert_eq!(printed(&error.failed_undos), expected, "{name}");
            for undo in &error.failed_undos {
                let line = format!("undoing failed: {}: {}", undo.action, undo.cause);
                assert!(error.to_string().contains(&line), "{error}");
            }
            assert_all_left_is_named(name, before, &scene, &error);
        }
    });
}

#[test]
fn an_undo_that_fails_alone_is_reported_and_the_others_are_carried_out() {
    in_every_scene(|name, scene, plan, before| {
        for number in 0..plan.steps.len() {
            let first = scene();
            first.run(Faults::none().at(number)).unwrap_err();
            let undos = expected_undos(&first, plan, number);
            // Of long plans not all pairs, for there are hundreds.
            let chosen = |nth: usize| plan.steps.len() <= 12 || (number + nth).is_multiple_of(7);
            for (nth, undo) in undos.iter().enumerate().filter(|(nth, _)| chosen(*nth)) {
                let scene = scene();
                let refused = Faults::none().at(number).at(number + 1 + nth);
                let error = scene.run(refused).unwrap_err();
                assert_names_the_cause(&error);
                let failed = printed(&error.failed_undos);
                assert!(failed.contains(undo), "{name}: {failed:?}");
                assert_eq!(
                    scene.machine.world.effects().len(),
                    number + 1 + undos.len(),
                    "{name}: every undo is tried"
                );
                assert_all_left_is_named(name, before, &scene, &error);
            }
        }
    });
}

/// Every path with what is there, but for the records, which are compared apart.
fn nodes(places: &Places) -> BTreeMap<AbsolutePath, Option<Node>> {
    let mounted = places.bpffs.keys().map(|mount| (mount.clone(), None));
    let below = places.bpffs.values().flatten().chain(&places.files);
    let below = below.filter(|(_, node)| !matches!(node, Node::Database(_)));
    mounted
        .chain(below.map(|(path, node)| (path.clone(), Some(node.clone()))))
        .collect()
}

/// The paths at which something else is, or nothing any more.
fn differences(before: &Places, after: &Places) -> Vec<AbsolutePath> {
    let (old, new) = (nodes(before), nodes(after));
    let all: BTreeSet<AbsolutePath> = old.keys().chain(new.keys()).cloned().collect();
    let differs = |path: &AbsolutePath| old.get(path) != new.get(path);
    all.into_iter().filter(differs).collect()
}

/// That nothing is reported undone that is not: each difference is named by an undo that failed, or lies around
/// what it names.
fn assert_all_left_is_named(name: &str, before: &Places, scene: &Scene, error: &ExecutionError) {
    let after = scene.places();
    let failed = printed(&error.failed_undos);
    let named = paths_of_refused_undos(scene, &failed);
    for path in differences(before, &after) {
        assert!(
            named
                .iter()
                .any(|named| *named == path || named.is_below(&path)),
            "{name}: {}: {path} is not as it was, but only these are reported: {failed:?}",
            error.action
        );
    }
    for record in before.records() {
        let change = format!("record program {}", record.id());
        assert!(after.records().contains(&record) || names_change(&failed, &change));
    }
    for record in after.records() {
        assert!(before.records().contains(&record), "{name}: a new record");
    }
    assert_links_left_are_named(name, before, &after, &failed);
    for id in before.programs.keys() {
        let lines = [
            format!("pin program {id} "),
            format!("attach program {id} as filter "),
        ];
        let swap = format!(" for {id}");
        let named = failed.iter().any(|failed| {
            lines.iter().any(|line| failed.contains(line)) || failed.ends_with(&swap)
        }) || goes_with_its_link(before, &failed, *id);
        assert!(after.programs.contains_key(id) || named, "{name}: {id}");
    }
    // What is not pinned is gone with the process, whatever else failed.
    for id in after.programs.keys() {
        let mut attached = after.links.values().map(|link| link.program);
        let mut filters = after.filters.values();
        let extended = after.slots.keys().any(|(dispatcher, _)| dispatcher == id);
        let attached =
            extended || attached.any(|found| found == *id) || filters.any(|found| found == id);
        assert!(
            attached || pinned(&after, &Node::Program(*id)),
            "{name}: {id} is held"
        );
    }
}

/// Whether an undo that failed was to make this change of the records, alone or together with others.
fn names_change(failed: &[String], change: &str) -> bool {
    let changes = failed
        .iter()
        .filter_map(|line| line.strip_prefix("store   "));
    changes
        .flat_map(|line| line.split(", "))
        .any(|named| named == change)
}

/// Whether a program that only a link held went with the link, which is named.
fn goes_with_its_link(before: &Places, failed: &[String], program: ProgramId) -> bool {
    let links = before.links.values();
    let mut links = links.filter(|link| link.program == program);
    links.any(|link| {
        let line = format!("pin link {} at ", link.id);
        failed.iter().any(|failed| failed.contains(&line))
    })
}

fn pinned(places: &Places, pin: &Node) -> bool {
    let mut pins = places.bpffs.values().flat_map(BTreeMap::values);
    pins.any(|node| node == pin)
}

fn assert_links_left_are_named(name: &str, before: &Places, after: &Places, failed: &[String]) {
    for record in before.link_records() {
        let change = format!("record link {}", record.id);
        assert!(after.link_records().contains(&record) || names_change(failed, &change));
    }
    for record in after.link_records() {
        let mut verbs = ["record", "delete"].into_iter();
        let named = verbs.any(|verb| names_change(failed, &format!("{verb} link {}", record.id)));
        let known = before.link_records().contains(&record);
        assert!(known || named, "{name}: a new record");
    }
    assert_dispatchers_left_are_named(name, before, after, failed);
    for (id, link) in &before.links {
        let line = format!("link {id} ");
        let named = failed
            .iter()
            .any(|failed| format!("{failed} ").contains(&line));
        assert!(after.links.get(id) == Some(link) || named, "{name}: {id}");
    }
    for id in after.links.keys() {
        let held = before.links.contains_key(id) || pinned(after, &Node::Link(*id));
        assert!(held, "{name}: link {id} is held");
    }
}

fn assert_dispatchers_left_are_named(
    name: &str,
    before: &Places,
    after: &Places,
    failed: &[String],
) {
    let (old, new) = (before.dispatchers(), after.dispatchers());
    let differ = |one: &[Dispatcher], other: &[Dispatcher]| -> Vec<Dispatcher> {
        let gone = one.iter().filter(|record| !other.contains(record));
        gone.cloned().collect()
    };
    for record in [differ(&old, &new), differ(&new, &old)].concat() {
        let changes = ["record", "delete"];
        let changes = changes.map(|verb| format!("{verb} attach point {}", record.point()));
        assert!(
            changes.iter().any(|change| names_change(failed, change)),
            "{name}: {}: {failed:?}",
            record.point()
        );
    }
    if before.filters != after.filters {
        let mut lines = failed.iter();
        assert!(lines.any(|line| line.contains(" filter ")), "{name}");
    }
}

/// The paths that the undos which failed were about: the report has templates, the world knows what became of them.
fn paths_of_refused_undos(scene: &Scene, failed: &[String]) -> BTreeSet<AbsolutePath> {
    let effects = scene.machine.world.effects();
    let refused: Vec<_> = effects
        .iter()
        .filter(|effect| effect.result == EffectResult::Refused)
        // The first is the step that failed.
        .skip(1)
        .collect();
    let lost = failed
        .iter()
        .filter(|failed| failed.contains("detach link"));
    let lost: Vec<&String> = lost.collect();
    assert_eq!(
        refused.len() + lost.len(),
        failed.len(),
        "{refused:?}: {failed:?}"
    );
    let refused = refused.iter().map(|effect| &effect.action);
    let words = refused.chain(lost).flat_map(|action| action.split(' '));
    words
        .filter_map(|word| AbsolutePath::parse(word).ok())
        .collect()
}

/// A program at two attach points and at a link of its own, which is to be replaced.
fn to_replace(engine: Engine, pin: Option<&str>) -> (Machine, ProgramId) {
    let machine = Machine::new().with_interfaces(&["eth0", "eth1"]);
    let program = machine.load_for(engine, "filter", pin);
    let other = machine.load_to_attach("filter", None);
    machine.attach(&tc(&program, "eth0"));
    machine.attach(&tc(&other, "eth0"));
    machine.attach(&tc(&program, "eth1"));
    if engine == Engine::Auto {
        machine.attach(&tcx(&program, "eth0", 10));
    }
    (machine, program.id())
}

#[test]
fn a_replacement_that_fails_leaves_everything_as_it_was() {
    for (engine, pin) in [
        (Engine::Auto, None),
        (Engine::Auto, Some("/sys/fs/bpf/a/b/filter")),
        (Engine::Extension, None),
    ] {
        let mut fails_at = 0;
        loop {
            let (machine, id) = to_replace(engine, pin);
            let before = machine.world.places();
            machine.world.inject(Faults::none().at(fails_at));
            match machine.replace(id) {
                Err(ManagerError::Execution(error)) => {
                    assert_names_the_cause(&error);
                    assert!(error.failed_undos.is_empty());
                }
                Err(other) => panic!("{other}"),
                Ok(_) => {
                    let effects = machine.world.effects().len();
                    assert_eq!(fails_at, effects, "each has failed once");
                    break;
                }
            }
            let differences = differences(&before, &machine.world.places());
            assert_eq!(differences, [], "{fails_at}");
            assert_eq!(machine.world.places(), before, "{fails_at}");
            machine.world.inject(Faults::none());
            let new = machine.replace(id).unwrap();
            assert_consistent(&machine.world);
            assert_eq!(machine.world.places().records().len(), 2);
            assert_eq!(pin.is_some(), new.pin_path.as_str().ends_with("/filter"));
            fails_at += 1;
        }
        assert!(fails_at > 15, "{fails_at}");
    }
}

#[test]
fn a_replacement_whose_undo_fails_too_says_both() {
    let (machine, id) = to_replace(Engine::Auto, None);
    machine.world.inject(Faults::none());
    machine.replace(id).unwrap();
    let effects = machine.world.effects();
    let swap = effects
        .iter()
        .position(|effect| effect.action.contains("swap"));
    let swap = swap.unwrap();
    let (machine, id) = to_replace(Engine::Auto, None);
    machine.world.inject(Faults::none().from(swap));
    let error = machine.replace(id).unwrap_err();
    let ManagerError::ReplaceNotUndone { why, undo, .. } = &error else {
        panic!("{error}");
    };
    let ManagerError::Execution(why) = &**why else {
        panic!("{why}");
    };
    assert!(why.action.contains("swap"), "{}", why.action);
    assert!(undo.to_string().contains("unpin"), "{undo}");
}
