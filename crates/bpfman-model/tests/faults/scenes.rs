//! Operations, each on a machine of its own.

use crate::common::Machine;
use crate::common::PROGRAMS;
use crate::common::among_others;
use crate::common::name;
use crate::common::pinned_at;
use crate::common::shared::assert_consistent;
use crate::common::shared::only_dispatcher;
use crate::common::spec;
use crate::common::taking_maps_of;
use crate::common::tc;
use crate::common::tcx;
use crate::common::tracepoint;
use crate::common::with_priority;
use crate::common::xdp;
use bpfman_core::action::Plan;
use bpfman_core::compute::Handover;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::AttachSpec;
use bpfman_core::managed::Link;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::Program;
use bpfman_core::types::Engine;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::runtime::Runtime;
use bpfman_manager::LinkUpdate;
use bpfman_manager::ManagerError;
use bpfman_model::Faults;
use bpfman_model::Places;
use bpfman_model::link_types;

/// What is about to happen on a machine.
pub(crate) enum Operation {
    Load(LoadSpec),
    Unload(ProgramId),
    Attach(AttachSpec),
    Detach(LinkId),
    Alter(LinkUpdate),
    Clear(AttachPoint),
    Replace(ProgramId, Handover),
}

/// A machine and what is about to happen on it. Made anew for each attempt, always the same.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) operation: Operation,
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

    pub(crate) fn plan(&self) -> Plan {
        let before = self.machine.world.places();
        let plan = self.machine.manage(|manager| match &self.operation {
            Operation::Load(spec) => manager.plan_load(spec, PROGRAMS),
            Operation::Unload(id) => manager.plan_unload(*id),
            Operation::Attach(spec) => manager.plan_attach(spec),
            Operation::Detach(id) => manager.plan_detach(*id),
            Operation::Alter(update) => manager.plan_update_link(update),
            Operation::Clear(point) => manager.plan_delete_dispatcher(*point),
            Operation::Replace(..) => panic!("a replacement is two plans"),
        });
        assert_eq!(self.machine.world.places(), before, "a plan is no effect");
        plan.unwrap()
    }

    /// Makes the runtime directory and the database, which are made before any plan.
    pub(crate) fn make_runtime(&self) {
        let mut process = self.machine.world.process(&self.machine.layout);
        process.runtime.writer().unwrap();
    }

    /// Another process changes nothing but what was killed.
    pub(crate) fn recover(&self) {
        self.machine.world.inject(Faults::none());
        self.machine.manage(|manager| manager.recover()).unwrap();
    }

    pub(crate) fn try_run(&self, faults: Faults) -> Result<(), ManagerError> {
        self.machine.world.inject(faults);
        match &self.operation {
            Operation::Load(spec) => self.machine.try_load(spec).map(drop),
            Operation::Unload(id) => self.machine.unload(*id),
            Operation::Attach(spec) => self.machine.try_attach(spec).map(drop),
            Operation::Detach(id) => self.machine.detach(*id),
            Operation::Alter(update) => self.machine.manage(|manager| manager.update_link(update)),
            Operation::Clear(point) => self.machine.delete_dispatcher(*point),
            Operation::Replace(id, handover) => self.machine.replace_with(*id, *handover).map(drop),
        }
    }

    pub(crate) fn run(&self, faults: Faults) -> Result<(), ExecutionError> {
        match self.try_run(faults) {
            // The plan has run; that others hold the link is no failure of a step.
            Ok(()) | Err(ManagerError::StillAttached(_)) => Ok(()),
            Err(ManagerError::Execution(error)) => Err(error),
            Err(other) => panic!("the plan did not run: {other}"),
        }
    }

    /// Whether records have outlived their interface: others' are tidied up with the last of them.
    pub(crate) fn is_stale(&self) -> bool {
        let places = self.places();
        let gone = LinkPlace::Interface { ifindex: None };
        let dead = places.links.values().any(|link| link.place == gone);
        let links = places.link_records().into_iter();
        let links = links.filter(|link| link.details.membership().is_some());
        let dispatchers = places.dispatchers();
        let members: usize = dispatchers.iter().map(|one| one.members.len()).sum();
        dead || links.count() != members
    }

    pub(crate) fn places(&self) -> Places {
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
    let records = machine.world.places().link_records();
    let record = records.into_iter().find(|record| record.id == link);
    let pin = record.and_then(|record| record.pin_path).unwrap();
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

/// The first of four leaves, and the last cannot be joined any more.
fn leave_that_leaves_another_out(hook: Joining) -> Scene {
    let (machine, links, _) = members(Engine::Auto, hook, 4);
    let records = machine.world.places().records();
    let last = records
        .iter()
        .find(|record| record.id() == links[3].program);
    let lost = last.unwrap().instructions_path();
    machine.world.unlink(&lost).unwrap();
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
    machine.attach(&with_priority(xdp(&records[0], "eth0"), 60));
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

/// A program at two attach points and at a link of its own, which is to be replaced.
pub(crate) fn to_replace(engine: Engine, pin: Option<&str>) -> (Machine, ProgramId) {
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

fn replace(engine: Engine, pin: Option<&str>) -> Scene {
    let (machine, id) = to_replace(engine, pin);
    Scene {
        machine,
        operation: Operation::Replace(id, Handover::Swap),
    }
}

/// A program with a link that the kernel cannot give another program.
pub(crate) fn traced() -> (Machine, ProgramId) {
    let machine = Machine::new();
    machine
        .world
        .add_tracepoint("sched", "sched_process_exec", 300);
    let program = machine.load_to_attach("trace", None);
    machine.attach(&tracepoint(&program));
    (machine, program.id())
}

fn replace_traced(handover: Handover) -> Scene {
    let (machine, id) = traced();
    Scene {
        machine,
        operation: Operation::Replace(id, handover),
    }
}

/// Operations of two plans.
pub(crate) const REPLACEMENTS: [Setting; 4] = [
    ("replacement with an overlap", || {
        replace_traced(Handover::Overlap)
    }),
    ("replacement", || replace(Engine::Auto, None)),
    ("replacement with a pin path", || {
        replace(Engine::Auto, Some("/sys/fs/bpf/a/b/filter"))
    }),
    ("replacement of an extension", || {
        replace(Engine::Extension, None)
    }),
];

/// A scene's name and how it is set.
pub(crate) type Setting = (&'static str, fn() -> Scene);

pub(crate) const SCENES: [Setting; 57] = [
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
    ("leave that leaves another out", || {
        leave_that_leaves_another_out(Joining::Xdp)
    }),
    ("leave by a filter that leaves another out", || {
        leave_that_leaves_another_out(Joining::Filter)
    }),
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
pub(crate) fn in_every_scene(test: impl Fn(&str, fn() -> Scene, &Plan, &Places)) {
    for (name, scene) in SCENES {
        let prepared = scene();
        let plan = prepared.plan();
        prepared.make_runtime();
        test(name, scene, &plan, &prepared.places());
    }
}

/// What every plan is for: an object or a record that was not there, or is there no more.
pub(crate) fn assert_succeeds(scene: &Scene, before: &Places) {
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
