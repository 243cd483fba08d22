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
use bpfman_core::managed::AttachSpec;
use bpfman_core::managed::LoadSpec;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::executor::FailedUndo;
use bpfman_interpreter::runtime::Runtime;
use bpfman_manager::ManagerError;
use bpfman_model::EffectResult;
use bpfman_model::Errno;
use bpfman_model::Faults;
use bpfman_model::Node;
use bpfman_model::Places;
use bpfman_model::link_types;

use self::common::Machine;
use self::common::PROGRAMS;
use self::common::pinned_at;
use self::common::spec;
use self::common::taking_maps_of;
use self::common::tc;
use self::common::tcx;
use self::common::tracepoint;
use self::common::xdp;

/// What is about to happen on a machine.
enum Operation {
    Load(LoadSpec),
    Unload(ProgramId),
    Attach(AttachSpec),
    Detach(LinkId),
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

    fn plan(&self) -> Plan {
        let before = self.machine.world.places();
        let plan = self.machine.manage(|manager| match &self.operation {
            Operation::Load(spec) => manager.plan_load(spec, PROGRAMS, UnixTime(1)),
            Operation::Unload(id) => manager.plan_unload(*id),
            Operation::Attach(spec) => manager.plan_attach(spec, UnixTime(1)),
            Operation::Detach(id) => manager.plan_detach(*id),
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
        };
        match done {
            // The plan has run; that others hold the link is no failure of a step.
            Ok(()) | Err(ManagerError::StillAttached(_)) => Ok(()),
            Err(ManagerError::Execution(error)) => Err(error),
            Err(other) => panic!("the plan did not run: {other}"),
        }
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

/// A scene's name and how it is set.
type Setting = (&'static str, fn() -> Scene);

const SCENES: [Setting; 25] = [
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
    let records = |places: &Places| (places.records(), places.link_records());
    assert_ne!(records(&after), records(before));
    for record in after.records() {
        assert!(after.programs.contains_key(&record.id()));
    }
    for record in after.link_records() {
        let program = match record.kernel {
            Some(id) => after.links[&id].program,
            None => *after.filters.values().next().unwrap(),
        };
        assert_eq!(program, record.program);
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
            for (nth, undo) in undos.iter().enumerate() {
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
        let line = format!("store   record program {}", record.id());
        assert!(after.records().contains(&record) || failed.contains(&line));
    }
    for record in after.records() {
        assert!(before.records().contains(&record), "{name}: a new record");
    }
    assert_links_left_are_named(name, before, &after, &failed);
    for id in before.programs.keys() {
        let line = format!("pin program {id} ");
        let named = failed.iter().any(|failed| failed.contains(&line));
        assert!(after.programs.contains_key(id) || named, "{name}: {id}");
    }
    // What is not pinned is gone with the process, whatever else failed.
    for id in after.programs.keys() {
        let attached = after.links.values().any(|link| link.program == *id);
        assert!(
            attached || pinned(&after, &Node::Program(*id)),
            "{name}: {id} is held"
        );
    }
}

fn pinned(places: &Places, pin: &Node) -> bool {
    let mut pins = places.bpffs.values().flat_map(BTreeMap::values);
    pins.any(|node| node == pin)
}

fn assert_links_left_are_named(name: &str, before: &Places, after: &Places, failed: &[String]) {
    for record in before.link_records() {
        let line = format!("store   record link {}", record.id);
        assert!(after.link_records().contains(&record) || failed.contains(&line));
    }
    for record in after.link_records() {
        assert!(
            before.link_records().contains(&record),
            "{name}: a new record"
        );
    }
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
