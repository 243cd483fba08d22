//! The model is checked against what it models: the same actions, asked of the simulated and of the real kernel,
//! must be answered alike.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use bpfman_core::action::AttachTarget;
use bpfman_core::action::CreateLink;
use bpfman_core::action::InstructionMap;
use bpfman_core::action::KeptInstructions;
use bpfman_core::action::KernelAction;
use bpfman_core::action::LinkName;
use bpfman_core::action::LinkReference;
use bpfman_core::action::LoadDispatcher;
use bpfman_core::action::LoadObject;
use bpfman_core::action::LoadProgram;
use bpfman_core::action::LoadedMap;
use bpfman_core::action::LoadedObject;
use bpfman_core::action::MakeMap;
use bpfman_core::action::MapPlace;
use bpfman_core::action::MapReference;
use bpfman_core::action::MapSource;
use bpfman_core::action::OrderedPlace;
use bpfman_core::action::Outcome;
use bpfman_core::action::PinnedProgram;
use bpfman_core::action::ProgramReference;
use bpfman_core::action::ProgramSource;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::action::ProgramTypes;
use bpfman_core::action::ReplacedFunction;
use bpfman_core::action::RestoreLink;
use bpfman_core::chain;
use bpfman_core::dispatcher::DispatcherConfig;
use bpfman_core::dispatcher::Slot;
use bpfman_core::kernel::Counter;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::KernelLinkType;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::kernel::PinState;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::Direction;
use bpfman_core::types::Family;
use bpfman_core::types::IfIndex;
use bpfman_core::types::InterfaceName;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::KernelTime;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_core::types::XdpMode;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::Kernel;
use bpfman_interpreter::kernel::LibbpfKernel;
use bpfman_interpreter::targets::SystemTargets;
use bpfman_interpreter::targets::Targets;
use bpfman_model::World;

/// The objects that the scenarios load.
const OBJECTS: [&str; 7] = [
    "xdp_pass.bpf.o",
    "tc_count.bpf.o",
    "trace_exec.bpf.o",
    "maps.bpf.o",
    "map_owner.bpf.o",
    "struct_ops.bpf.o",
    "not_elf.o",
];

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::parse(text).unwrap()
}

fn objects() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bpf");
    let directory = env::var_os("BPFMAN_TEST_OBJECTS").map_or_else(built, PathBuf::from);
    directory.canonicalize().unwrap()
}

/// A directory with a bpffs mounted at `fs` in it, and a file beside that; all of it goes when this is dropped.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let bpffs = place.0.path().join("fs");
        fs::create_dir(&bpffs).unwrap();
        fs::write(place.0.path().join("file"), "").unwrap();
        fs::create_dir(place.0.path().join("mounted")).unwrap();
        bpfman_testing::mount("bpf", &bpffs);
        place
    }

    fn path(&self) -> AbsolutePath {
        path(self.0.path().to_str().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for mount in ["fs/nested", "mounted", "fs"] {
            bpfman_testing::unmount(&self.0.path().join(mount));
        }
    }
}

/// The simulated twin of a [`Place`].
fn simulated(place: &AbsolutePath) -> World {
    let world = World::new();
    world.mount_bpffs(&place.join("fs")).unwrap();
    world.put_file(&place.join("file"), b"").unwrap();
    world.make_directories(&place.join("mounted")).unwrap();
    let directory = objects();
    world
        .make_directories(&path(directory.to_str().unwrap()))
        .unwrap();
    for name in OBJECTS {
        let file = directory.join(name);
        let bytes = fs::read(&file).unwrap();
        world
            .put_file(&path(file.to_str().unwrap()), &bytes)
            .unwrap();
    }
    world
}

/// What the scenarios change besides what they ask of the kernel.
trait Surroundings {
    /// Removes `veth0`.
    fn remove_interface(&self);
    /// Removes the namespace, and makes another one in its place.
    fn replace_namespace(&self);
}

/// A namespace of `ip netns` with a veth pair; it goes when this is dropped.
struct RealNetwork(String);

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .status()
        .unwrap()
        .success()
}

impl RealNetwork {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bpfman-model-{}-{number}", std::process::id());
        assert!(ip(&["netns", "add", &name]), "needs root");
        let network = Self(name);
        let veth = [
            "link", "add", "veth0", "type", "veth", "peer", "name", "veth1",
        ];
        assert!(ip(&[&["-n", &network.0][..], &veth[..]].concat()));
        network
    }

    fn path(&self) -> AbsolutePath {
        path(&format!("/run/netns/{}", self.0))
    }
}

impl Surroundings for RealNetwork {
    fn remove_interface(&self) {
        assert!(ip(&["-n", &self.0, "link", "del", "veth0"]));
    }

    fn replace_namespace(&self) {
        assert!(ip(&["netns", "del", &self.0]));
        // The kernel gives inodes away again: somebody takes that of the old one.
        let between = format!("{}-between", self.0);
        assert!(ip(&["netns", "add", &between]));
        assert!(ip(&["netns", "add", &self.0]));
        assert!(ip(&["netns", "del", &between]));
    }
}

impl Drop for RealNetwork {
    fn drop(&mut self) {
        // Best effort: this may run while a test panics.
        for name in [self.0.clone(), format!("{}-between", self.0)] {
            let mut remove = Command::new("ip");
            let _ = remove.args(["netns", "del", &name]).output();
        }
    }
}

/// The simulated twin of a [`RealNetwork`].
struct SimulatedNetwork<'a> {
    world: &'a World,
    netns: AbsolutePath,
}

impl<'a> SimulatedNetwork<'a> {
    fn new(world: &'a World, netns: AbsolutePath) -> Self {
        world.add_namespace(&netns);
        world.add_interface(Some(&netns), &veth0()).unwrap();
        world.add_tracepoint("syscalls", "sys_enter_execve", 700);
        world.add_function("do_unlinkat", true);
        Self { world, netns }
    }
}

impl Surroundings for SimulatedNetwork<'_> {
    fn remove_interface(&self) {
        self.world
            .remove_interface(Some(&self.netns), &veth0())
            .unwrap();
    }

    fn replace_namespace(&self) {
        self.world.remove_namespace(&self.netns).unwrap();
        self.world.add_namespace(&self.netns);
    }
}

fn veth0() -> InterfaceName {
    InterfaceName::parse("veth0").unwrap()
}

/// An answer without what differs from kernel to kernel: ids, times, texts.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Unchanged,
    /// Programs and maps by name.
    Loaded(Vec<String>, Vec<String>),
    Refused(KernelErrorKind),
    Free {
        ancestor: AbsolutePath,
        on_bpffs: bool,
    },
    Program,
    Map,
    Link,
    Other,
    Linked,
    LetGo,
    /// A link's type, and whether it says where it is.
    IsLink(KernelLinkType, bool),
    Gone,
    /// The revision, and the members by the order in which programs were loaded and links made.
    Order(u64, Vec<(usize, Option<usize>)>),
    /// Programs in the order in which they were loaded.
    Filter(Option<usize>),
    /// Pins with what is there.
    Pins(Vec<(AbsolutePath, &'static str)>),
}

/// One kernel, and what it answered so far.
struct Session<'a> {
    kernel: &'a mut dyn Kernel,
    place: AbsolutePath,
    answers: Vec<(String, Answer)>,
    /// The links that were made, in their order.
    made: Vec<KernelLinkId>,
    /// The programs that were loaded, in their order.
    loaded: Vec<ProgramId>,
    /// A namespace with the interface `veth0`.
    netns: AbsolutePath,
    targets: &'a dyn Targets,
    surroundings: &'a dyn Surroundings,
}

impl Session<'_> {
    /// A path below the place.
    fn at(&self, names: &str) -> AbsolutePath {
        path(&format!("{}/{names}", self.place))
    }

    fn execute(&mut self, action: &KernelAction) -> Option<LoadedObject> {
        let (answer, loaded) = match self.kernel.execute(action) {
            Ok(Outcome::Done) => (Answer::Done, None),
            Ok(Outcome::Unchanged) => (Answer::Unchanged, None),
            Ok(Outcome::LetGo { .. }) => (Answer::LetGo, None),
            Ok(Outcome::Linked(made)) => {
                self.made.push(made.id);
                (Answer::Linked, None)
            }
            Ok(Outcome::Loaded(loaded)) => {
                let programs = loaded.programs.iter().map(|p| p.name.clone());
                let maps = loaded.maps.iter().map(|map| map.name.clone());
                let answer = Answer::Loaded(programs.collect(), maps.collect());
                let ids = loaded.programs.iter().map(|p| p.identity.id);
                self.loaded.extend(ids);
                (answer, Some(loaded))
            }
            Err(error) => (Answer::Refused(error.kind), None),
        };
        // Ids are numbers of the one kernel only: the line numbers say which question it was.
        let question = match action {
            KernelAction::LoadObject(load) => format!("load {}", load.object.file_name()),
            other => self.without_ids(other),
        };
        self.answers.push((question, answer));
        loaded
    }

    fn without_ids(&self, action: &KernelAction) -> String {
        let text = action.to_string();
        let words = text.split(' ').map(|word| {
            if word.parse::<u32>().is_ok() {
                "ID"
            } else {
                word
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// What the kernel says is at a path.
    fn look(&mut self, names: &str) {
        let path = self.at(names);
        let answer = match self.kernel.pin_state(&path, Detail::Info) {
            Ok(PinState::Free { ancestor, on_bpffs }) => Answer::Free { ancestor, on_bpffs },
            Ok(PinState::Program(_)) => Answer::Program,
            Ok(PinState::Map(_)) => Answer::Map,
            Ok(PinState::Link(_)) => Answer::Link,
            Ok(PinState::Other) => Answer::Other,
            Err(KernelError { kind, .. }) => Answer::Refused(kind),
        };
        self.answers.push((format!("look at {names}"), answer));
    }

    /// What the kernel says is pinned below a path.
    fn look_below(&mut self, names: &str) {
        let kind = |pin| match pin {
            PinState::Program(_) => "program",
            PinState::Map(_) => "map",
            PinState::Link(_) => "link",
            PinState::Free { .. } | PinState::Other => "other",
        };
        let answer = match self.kernel.pins_below(&self.at(names)) {
            Ok(pins) => Answer::Pins(
                pins.into_iter()
                    .map(|(path, pin)| (path, kind(pin)))
                    .collect(),
            ),
            Err(error) => Answer::Refused(error.kind),
        };
        self.answers.push((format!("look below {names}"), answer));
    }

    fn adopt(&mut self, program: ProgramIdentity) {
        self.execute(&KernelAction::AdoptProgram { program });
    }

    fn adopt_link(&mut self, number: usize, program: ProgramId) {
        let link = self.made[number];
        self.execute(&KernelAction::AdoptLink { link, program });
    }

    fn assert_map_goes(&mut self, id: MapId) {
        goes(|| self.kernel.map(id).unwrap().is_none());
    }

    fn assert_program_lives(&mut self, id: ProgramId) {
        assert!(self.kernel.program(id, Detail::Info).unwrap().is_some());
    }

    /// A real kernel takes namespaces down some time later.
    fn assert_link_loses_its_place(&mut self, number: usize) {
        let id = self.made[number];
        let lost = LinkPlace::Interface { ifindex: None };
        goes(|| self.kernel.link(id).unwrap().unwrap().place == lost);
    }

    fn assert_program_goes(&mut self, id: ProgramId) {
        goes(|| self.kernel.program(id, Detail::Info).unwrap().is_none());
    }

    fn load(&mut self, object: &str, programs: &[&str]) -> Option<LoadedObject> {
        self.load_with(object, programs, |_| {})
    }

    fn load_with(
        &mut self,
        object: &str,
        programs: &[&str],
        change: impl FnOnce(&mut LoadObject),
    ) -> Option<LoadedObject> {
        let program = |name: &&str| ProgramToLoad {
            name: (*name).to_owned(),
            kernel_type: KernelProgramType::UNSPEC,
            attach_type: None,
            flags: 0,
            attach_function: None,
            target_program: None,
            keep_instructions: false,
        };
        let mut load = LoadObject {
            object: path(objects().join(object).to_str().unwrap()),
            object_name: object.split('.').next().unwrap().to_owned(),
            programs: programs.iter().map(program).collect(),
            globals: Vec::new(),
            reuse_maps: Vec::new(),
            skip_maps: Vec::new(),
            unneeded_symbols: Vec::new(),
            held_programs: Vec::new(),
            map_sizes: Vec::new(),
        };
        change(&mut load);
        self.execute(&KernelAction::LoadObject(load))
    }

    fn pin(&mut self, program: ProgramId, names: &str) {
        let program = ProgramReference::Known(program);
        let path = self.at(names).into();
        self.execute(&KernelAction::PinProgram { program, path });
    }

    fn unpin(&mut self, program: ProgramId, names: &str) {
        let program = ProgramReference::Known(program);
        let path = self.at(names).into();
        self.execute(&KernelAction::UnpinProgram { program, path });
    }

    fn pin_map(&mut self, map: MapId, names: &str) {
        let map = MapReference::Known(map);
        let path = self.at(names).into();
        self.execute(&KernelAction::PinMap { map, path });
    }

    fn unpin_map(&mut self, map: MapId, names: &str) {
        let map = MapReference::Known(map);
        let path = self.at(names).into();
        self.execute(&KernelAction::UnpinMap { map, path });
    }

    /// Loads a program that can be attached to an interface's XDP or TCX hook, or to a tracepoint.
    fn load_one(&mut self, object: &str, program: &str) -> ProgramId {
        let loaded = self.load(object, &[program]).unwrap();
        loaded.programs[0].identity.id
    }

    /// Loads a program and pins it; answers what a chain of it is made of.
    fn load_part(&mut self, object: &str, program: &str, pin: &str) -> Part {
        let loaded = self.load_with(object, &[program], |load| {
            load.programs[0].keep_instructions = true;
        });
        let loaded = loaded.unwrap();
        let id = loaded.programs[0].identity.id;
        self.pin(id, pin);
        Part {
            program: id,
            path: self.at(pin),
            kept: loaded.programs[0].instructions.clone().unwrap(),
            maps: loaded.maps,
        }
    }

    fn load_program(&mut self, load: LoadProgram) -> Option<ProgramId> {
        let loaded = self.execute(&KernelAction::LoadProgram(load))?;
        Some(loaded.programs[0].identity.id)
    }

    /// Gives the link of this number, at this pin, another program.
    fn update(&mut self, number: usize, pin: &str, from: ProgramId, to: ProgramSource) {
        self.execute(&KernelAction::UpdateLink {
            link: LinkReference::Known(self.made[number]),
            path: self.at(pin),
            from: from.into(),
            to,
        });
    }

    /// Which of the loaded programs a link has.
    fn ask_program(&mut self, number: usize) {
        let link = self.kernel.link(self.made[number]).unwrap();
        let program = link.map(|link| link.program);
        let loaded = |id| self.loaded.iter().position(|loaded| *loaded == id).unwrap();
        let answer = Answer::Filter(program.map(loaded));
        self.answers
            .push((format!("program of link {number}"), answer));
    }

    fn ask_counter(&mut self, names: &str) {
        let path = self.at(names);
        let answer = match self.kernel.counter(&path) {
            Ok(Some(counter)) => {
                assert_eq!(counter, Counter::default());
                Answer::Map
            }
            Ok(None) => Answer::Gone,
            Err(error) => Answer::Refused(error.kind),
        };
        self.answers.push((format!("counter {names}"), answer));
    }

    /// The interface as the session's world numbers it.
    fn interface(&self) -> InterfaceTarget {
        let found = self.targets.interface(Some(&self.netns), &veth0().into());
        found.unwrap().target()
    }

    fn create(&mut self, program: ProgramId, target: &AttachTarget) {
        let program = ProgramSource::Held {
            program: ProgramReference::Known(program),
        };
        self.create_from(program, target);
    }

    fn create_from(&mut self, program: ProgramSource, target: &AttachTarget) {
        self.execute(&KernelAction::CreateLink(CreateLink {
            link: LinkName::Of(LinkId(1)),
            program,
            target: target.clone(),
        }));
    }

    fn known_link(&self, number: usize) -> LinkReference {
        LinkReference::Known(self.made[number])
    }

    fn pin_link(&mut self, number: usize, names: &str) {
        let (link, path) = (self.known_link(number), self.at(names));
        self.execute(&KernelAction::PinLink { link, path });
    }

    fn unpin_link(&mut self, number: usize, names: &str) {
        let (link, path) = (self.known_link(number), self.at(names));
        self.execute(&KernelAction::UnpinLink { link, path });
    }

    fn move_pin(&mut self, number: usize, from: &str, to: &str) {
        let (link, from, to) = (self.made[number], self.at(from), self.at(to));
        self.execute(&KernelAction::MovePin { link, from, to });
    }

    fn release(&mut self, number: usize) {
        let link = self.known_link(number);
        self.execute(&KernelAction::ReleaseLink { link });
    }

    fn detach(&mut self, number: usize) {
        let link = self.made[number];
        self.execute(&KernelAction::DetachLink { link, pin: None });
    }

    fn detach_at(&mut self, number: usize, names: &str) {
        let (link, pin) = (self.made[number], Some(self.at(names)));
        self.execute(&KernelAction::DetachLink { link, pin });
    }

    /// What the kernel says of a link that was made.
    fn ask(&mut self, number: usize) {
        let answer = match self.kernel.link(self.made[number]).unwrap() {
            None => Answer::Gone,
            Some(link) => {
                assert!(self.loaded.contains(&link.program));
                let lost = LinkPlace::Interface { ifindex: None };
                Answer::IsLink(link.link_type, link.place != lost)
            }
        };
        self.answers.push((format!("link {number}"), answer));
    }

    fn assert_link_goes(&mut self, number: usize) {
        let id = self.made[number];
        goes(|| self.kernel.link(id).unwrap().is_none());
        assert_eq!(self.kernel.await_links_gone(&[id]), Ok(Vec::new()));
    }

    /// What the kernel says is at a hook.
    fn ask_attached(&mut self, interface: &InterfaceTarget, hook: Hook) {
        let number = |id| self.made.iter().position(|made| *made == id).unwrap();
        let loaded = |id| self.loaded.iter().position(|loaded| *loaded == id).unwrap();
        let answer = match self.kernel.attached(interface, hook) {
            Err(error) => Answer::Refused(error.kind),
            Ok(order) => {
                let members = order.members.iter();
                let members =
                    members.map(|member| (loaded(member.program), member.link.map(number)));
                Answer::Order(order.revision, members.collect())
            }
        };
        self.answers.push((format!("at {hook:?}"), answer));
    }

    fn ask_filter(&mut self, filter: &TcFilter) {
        let loaded = |id| self.loaded.iter().position(|loaded| *loaded == id).unwrap();
        let answer = match self.kernel.tc_filter(filter) {
            Err(error) => Answer::Refused(error.kind),
            Ok(program) => Answer::Filter(program.map(loaded)),
        };
        self.answers.push(("filter".to_owned(), answer));
    }

    fn make(&mut self, names: &str) {
        let path = self.at(names).into();
        self.execute(&KernelAction::MakePinDirectory { path });
    }

    fn remove(&mut self, names: &str) {
        let path = self.at(names).into();
        self.execute(&KernelAction::RemoveEmptyPinDirectory { path });
    }

    fn mount(&mut self, names: &str) {
        let path = self.at(names);
        self.execute(&KernelAction::MountBpffs { path });
    }

    fn unmount(&mut self, names: &str) {
        let path = self.at(names);
        self.execute(&KernelAction::UnmountBpffs { path });
    }
}

/// Waits for an object to go: a real kernel frees what nobody holds some time later.
fn goes(mut gone: impl FnMut() -> bool) {
    let start = Instant::now();
    while !gone() {
        assert!(start.elapsed() < Duration::from_secs(10), "it lives");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a scenario in both worlds; answers what both said.
fn in_both_worlds(scenario: impl Fn(&mut Session<'_>)) -> Vec<Answer> {
    in_both_worlds_after(scenario, |_, _| {})
}

/// The same, where the simulated one is told something by what the real one answered.
fn in_both_worlds_after(
    scenario: impl Fn(&mut Session<'_>),
    prepare: impl Fn(&World, &[(String, Answer)]),
) -> Vec<Answer> {
    let real_place = Place::new();
    let place = real_place.path();
    let real_network = RealNetwork::new();
    let run = |kernel: &mut dyn Kernel, targets: &dyn Targets, surroundings: &dyn Surroundings| {
        let mut session = Session {
            kernel,
            place: place.clone(),
            answers: Vec::new(),
            made: Vec::new(),
            loaded: Vec::new(),
            netns: real_network.path(),
            targets,
            surroundings,
        };
        scenario(&mut session);
        session.answers
    };
    let real = run(&mut LibbpfKernel::new(), &SystemTargets, &real_network);
    let world = simulated(&place);
    prepare(&world, &real);
    let network = SimulatedNetwork::new(&world, real_network.path());
    let layout = RuntimeLayout::new(place.join("run"));
    let mut process = world.process(&layout);
    let modelled = run(&mut process.kernel, &process.targets, &network);
    for (number, (real, modelled)) in real.iter().zip(&modelled).enumerate() {
        assert_eq!(real, modelled, "question {number}: real, then modelled");
    }
    assert_eq!(real.len(), modelled.len());
    real.into_iter().map(|(_, answer)| answer).collect()
}

#[test]
fn pins_are_made_and_removed_alike() {
    let answers = in_both_worlds(|s| {
        let loaded = s.load("xdp_pass.bpf.o", &["xdp_pass"]).unwrap();
        let (program, map) = (loaded.programs[0].identity.id, loaded.maps[0].id);
        s.pin(program, "fs/program");
        s.pin(program, "fs/second");
        s.pin(program, "fs/program");
        s.pin_map(map, "fs/program");
        s.pin_map(map, "fs/map");
        s.unpin(ProgramId(u32::MAX), "fs/program");
        s.unpin_map(map, "fs/program");
        s.unpin(program, "fs/map");
        s.unpin(program, "fs/missing");
        s.unpin(program, "fs/missing/below");
        s.unpin(program, "fs/program/below");
        s.unpin(program, "fs");
        s.unpin(program, "file");
        for names in [
            "fs/program",
            "fs/map",
            "fs/missing/below",
            "fs/program/below",
        ] {
            s.look(names);
        }
        s.unpin(program, "fs/second");
        s.unpin(program, "fs/second");
        s.unpin(program, "fs/program");
        s.unpin_map(map, "fs/map");
        s.pin(program, "fs/again");
        s.pin_map(map, "fs/map");
    });
    assert_eq!(answers[1], Answer::Done);
    assert_eq!(answers[3], Answer::Refused(KernelErrorKind::Exists));
}

#[test]
fn what_is_not_held_is_not_pinned_and_what_is_not_pinned_is_gone() {
    in_both_worlds(|s| {
        let loaded = s.load("xdp_pass.bpf.o", &["xdp_pass"]).unwrap();
        let (program, map) = (loaded.programs[0].identity.id, loaded.maps[0].id);
        s.pin_map(map, "fs/map");
        s.execute(&KernelAction::Release);
        s.assert_program_goes(program);
        assert!(s.kernel.map(map).unwrap().is_some());
        s.pin(program, "fs/program");
        s.pin_map(map, "fs/second");
        s.unpin_map(map, "fs/map");
        s.pin_map(map, "fs/second");
        s.kernel.finish();
        s.pin_map(map, "fs/third");
        s.unpin_map(map, "fs/second");
        s.kernel.finish();
        s.assert_map_goes(map);
    });
}

#[test]
fn a_pinned_program_keeps_its_maps() {
    in_both_worlds(|s| {
        let loaded = s.load("xdp_pass.bpf.o", &["xdp_pass"]).unwrap();
        let (program, map) = (loaded.programs[0].identity.id, loaded.maps[0].id);
        s.pin(program, "fs/program");
        s.kernel.finish();
        let found = s.kernel.program(program, Detail::Info).unwrap().unwrap();
        assert_eq!(found.identity, loaded.programs[0].identity);
        assert_eq!(found.map_ids, [map]);
        assert!(s.kernel.map(map).unwrap().is_some());
        let listed = s.kernel.programs().map(Result::unwrap);
        assert!(listed.into_iter().any(|p| p.identity == found.identity));
        s.unpin(program, "fs/program");
        s.kernel.finish();
        s.assert_program_goes(program);
        s.assert_map_goes(map);
    });
}

#[test]
fn directories_are_made_and_removed_alike() {
    in_both_worlds(|s| {
        let loaded = s.load("xdp_pass.bpf.o", &["xdp_pass"]).unwrap();
        let program = loaded.programs[0].identity.id;
        s.make("fs/a");
        s.make("fs/a");
        s.make("fs/a/b");
        s.make("fs/missing/b");
        s.remove("fs/a");
        s.pin(program, "fs/a/b/program");
        s.pin(program, "fs/missing/program");
        s.make("fs/a/b/program");
        s.make("fs/a/b/program/below");
        s.remove("fs/a/b/program");
        s.remove("fs/a/b");
        s.unpin(program, "fs/a/b/program");
        for names in ["fs/a/b", "fs/a", "fs/a", "fs/missing/b", "fs", "missing"] {
            s.remove(names);
        }
        s.look("fs/a");
        s.look("fs");
    });
}

#[test]
fn a_path_outside_a_bpffs_or_with_a_dot_is_refused_alike() {
    in_both_worlds(|s| {
        let loaded = s.load("xdp_pass.bpf.o", &["xdp_pass"]).unwrap();
        let (program, map) = (loaded.programs[0].identity.id, loaded.maps[0].id);
        for names in [
            "program",
            "missing/program",
            "file/program",
            "fs/a.b",
            "fs/a.b/c",
        ] {
            s.pin(program, names);
            s.pin_map(map, names);
            s.unpin(program, names);
            s.make(names);
            s.remove(names);
            s.look(names);
        }
        s.make("fs");
        s.remove("file");
        s.look("file");
    });
}

#[test]
fn loads_are_answered_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_F_LINK"));
    let answers = in_both_worlds(|s| {
        s.load("maps.bpf.o", &["first", "second"]);
        s.load("maps.bpf.o", &["second"]);
        s.load("maps.bpf.o", &["missing"]);
        s.load("maps.bpf.o", &["first", "missing"]);
        s.load("maps.bpf.o", &["first", "first"]);
        s.load("missing.o", &["first"]);
        s.load("not_elf.o", &["first"]);
        s.load_with("maps.bpf.o", &["first"], |load| load.object = path("/"));
        let skip = |load: &mut LoadObject| load.skip_maps = vec!["missing".to_owned()];
        s.load_with("maps.bpf.o", &["first"], skip);
        s.load_with("maps.bpf.o", &["first"], |load| {
            load.programs[0].target_program = Some(ProgramId(u32::MAX).into());
        });
        s.load("struct_ops.bpf.o", &[]);
    });
    assert!(matches!(&answers[0], Answer::Loaded(programs, _) if programs.len() == 2));
    assert_eq!(answers[2], Answer::Refused(KernelErrorKind::NotFound));
}

#[test]
fn maps_are_taken_over_alike() {
    in_both_worlds(|s| {
        let owner = s.load("map_owner.bpf.o", &["owner"]).unwrap();
        let flows = owner
            .maps
            .iter()
            .find(|map| map.name == "flows")
            .unwrap()
            .id;
        s.pin_map(flows, "fs/flows");
        s.pin(owner.programs[0].identity.id, "fs/program");
        s.make("fs/directory");
        let mut take = |name: &str, from: &str| {
            let source = MapSource {
                name: name.to_owned(),
                path: s.at(from),
            };
            s.load_with("map_owner.bpf.o", &["owner"], |load| {
                load.reuse_maps = vec![source];
            })
        };
        let user = take("flows", "fs/flows").unwrap();
        assert!(user.maps.iter().any(|map| map.id == flows));
        for from in [
            "fs/program",
            "fs/missing",
            "fs/directory",
            "file",
            "missing/flows",
        ] {
            take("flows", from);
        }
        take("missing", "fs/flows");
        take("flows", "fs/a.b");
    });
}

#[test]
fn a_bpffs_is_mounted_and_unmounted_alike() {
    in_both_worlds(|s| {
        let roots = ["", "fs", "mounted", "file", "missing/mounted"];
        let ask = |s: &mut Session<'_>| {
            for names in roots {
                let path = path(&format!("{}/{names}", s.place));
                let answer = match s.kernel.is_bpffs_root(&path) {
                    Ok(true) => Answer::Done,
                    Ok(false) => Answer::Unchanged,
                    Err(error) => Answer::Refused(error.kind),
                };
                s.answers.push((format!("bpffs at {path}"), answer));
            }
        };
        ask(s);
        for names in [
            "mounted",
            "mounted",
            "fs",
            "file",
            "missing",
            "missing/mounted",
        ] {
            s.mount(names);
        }
        ask(s);
        s.mount("fs/nested");
        s.make("fs/nested");
        s.mount("fs/nested");
        s.unmount("fs");
        for names in ["fs/nested", "mounted", "mounted", "missing", "file"] {
            s.unmount(names);
        }
        ask(s);
        s.look("mounted");
        s.look("fs/nested");
    });
}

fn tcx(interface: &InterfaceTarget, before: Option<KernelLinkId>, revision: u64) -> AttachTarget {
    AttachTarget::Tcx {
        interface: interface.clone(),
        direction: Direction::Ingress,
        place: OrderedPlace { before, revision },
    }
}

fn xdp(interface: &InterfaceTarget, mode: XdpMode) -> AttachTarget {
    AttachTarget::Xdp {
        interface: interface.clone(),
        mode,
    }
}

const INGRESS: Hook = Hook::Tcx(Direction::Ingress);

#[test]
fn links_are_made_pinned_and_let_go_of_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let program = s.load_one("tc_count.bpf.o", "tc_count");
        let other = s.load_one("tc_count.bpf.o", "tc_count");
        let at = tcx(&s.interface(), None, 0);
        s.create(program, &at);
        s.ask(0);
        s.release(0);
        s.assert_link_goes(0);
        s.pin_link(0, "fs/link");
        s.create(program, &at);
        s.create(other, &at);
        s.pin_link(1, "fs/link");
        s.pin_link(2, "fs/link");
        s.pin_link(2, "fs/a.b");
        s.pin_link(2, "outside");
        s.pin_link(2, "fs/missing/link");
        s.look("fs/link");
        s.move_pin(2, "fs/link", "fs/moved");
        s.move_pin(1, "fs/missing", "fs/moved");
        s.move_pin(1, "fs/link", "fs/missing/link");
        s.move_pin(1, "fs/link", "outside");
        s.move_pin(1, "fs/link", "fs/moved");
        s.look("fs/moved");
        s.look("fs/link");
        s.pin_link(2, "fs/link");
        s.move_pin(1, "fs/moved", "fs/link");
        s.unpin_link(2, "fs/link");
        s.move_pin(1, "fs/moved", "fs/link");
        s.unpin_link(2, "fs/link");
        s.unpin_link(1, "fs/missing");
        s.unpin(program, "fs/link");
        s.pin(program, "fs/program");
        s.unpin_link(1, "fs/program");
        s.release(1);
        s.pin_link(1, "fs/second");
        s.ask(1);
        s.unpin_link(1, "fs/link");
        s.look("fs/link");
        s.pin_link(1, "fs/link");
        s.kernel.finish();
        s.assert_link_goes(2);
        s.ask(1);
        s.detach_at(1, "fs/program");
        s.detach_at(2, "fs/link");
        s.detach_at(1, "fs/missing");
        s.detach_at(1, "file");
        s.ask(1);
        s.detach_at(1, "fs/link");
        s.look("fs/link");
        s.assert_link_goes(1);
        s.detach_at(1, "fs/link");
        s.detach(1);
        let interface = s.interface();
        s.ask_attached(&interface, INGRESS);
    });
    assert_eq!(answers.last(), Some(&Answer::Order(1, Vec::new())));
}

#[test]
fn a_pinned_link_that_is_detached_by_its_id_stays_without_a_place() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    in_both_worlds(|s| {
        let program = s.load_one("tc_count.bpf.o", "tc_count");
        let at = tcx(&s.interface(), None, 0);
        s.create(program, &at);
        s.pin_link(0, "fs/link");
        s.kernel.finish();
        s.assert_program_lives(program);
        s.detach(0);
        s.ask(0);
        s.look("fs/link");
        let interface = s.interface();
        s.ask_attached(&interface, INGRESS);
        s.detach_at(0, "fs/link");
        s.assert_link_goes(0);
        s.assert_program_goes(program);
    });
}

#[test]
fn a_link_is_restored_at_its_pin_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let first = s.load_one("tc_count.bpf.o", "tc_count");
        let second = s.load_one("tc_count.bpf.o", "tc_count");
        s.pin(first, "fs/first");
        s.pin(second, "fs/second");
        s.kernel.finish();
        let target = tcx(&s.interface(), None, 0);
        let restore = |s: &Session<'_>, program, names: &str, path: &str| {
            KernelAction::RestoreLink(RestoreLink {
                program: PinnedProgram {
                    program,
                    path: s.at(names),
                },
                target: target.clone(),
                path: s.at(path),
            })
        };
        for (program, names, path) in [
            (first, "fs/missing", "fs/link"),
            (first, "fs/first", "fs/link"),
            (first, "fs/first", "fs/link"),
            (second, "fs/second", "fs/link"),
            (second, "fs/second", "fs/first"),
        ] {
            let action = restore(s, program, names, path);
            s.execute(&action);
        }
        s.assert_program_lives(first);
    });
    assert!(answers.contains(&Answer::Refused(KernelErrorKind::NotOurs)));
}

#[test]
fn what_has_lost_its_pin_is_held_by_its_id_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let loaded = s.load("tc_count.bpf.o", &["tc_count"]).unwrap();
        let program = loaded.programs[0].identity;
        s.pin(program.id, "fs/program");
        s.pin_map(loaded.maps[0].id, "fs/map");
        let at = tcx(&s.interface(), None, 0);
        s.create(program.id, &at);
        s.pin_link(0, "fs/link");
        s.kernel.finish();
        let stranger = ProgramIdentity {
            load_time: KernelTime(program.load_time.0 + 1),
            ..program
        };
        s.adopt(stranger);
        s.adopt(program);
        s.unpin(program.id, "fs/program");
        s.pin(program.id, "fs/again");
        s.adopt_link(0, ProgramId(program.id.0 + 1));
        s.adopt_link(0, program.id);
        s.unpin_link(0, "fs/link");
        s.make("fs/links");
        s.pin_link(0, "fs/links/again");
        s.look_below("fs");
        s.look_below("fs/links");
        s.look_below("fs/missing");
        s.look_below("file");
        s.kernel.finish();
        s.ask(0);
        s.unpin_link(0, "fs/links/again");
        s.kernel.finish();
        s.assert_link_goes(0);
        s.adopt_link(0, program.id);
        s.unpin(program.id, "fs/again");
        s.kernel.finish();
        s.assert_program_goes(program.id);
        s.adopt(program);
    });
    assert!(answers.contains(&Answer::Refused(KernelErrorKind::NotFound)));
}

#[test]
fn a_program_is_attached_from_its_pin_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    in_both_worlds(|s| {
        let program = s.load_one("tc_count.bpf.o", "tc_count");
        let other = s.load_one("tc_count.bpf.o", "tc_count");
        let at = tcx(&s.interface(), None, 0);
        s.pin(program, "fs/program");
        let pinned = |s: &Session<'_>, program, names: &str| ProgramSource::Pinned {
            program,
            path: s.at(names),
        };
        for names in [
            "fs/missing",
            "fs/missing/below",
            "fs/program/below",
            "file",
            "fs",
        ] {
            let from = pinned(s, program, names);
            s.create_from(from, &at);
        }
        let from = pinned(s, other, "fs/program");
        s.create_from(from, &at);
        s.kernel.finish();
        s.create(program, &at);
        let from = pinned(s, program, "fs/program");
        s.create_from(from, &at);
        s.ask(0);
    });
}

#[test]
fn xdp_takes_one_program_an_interface_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let first = s.load_one("xdp_pass.bpf.o", "xdp_pass");
        let second = s.load_one("xdp_pass.bpf.o", "xdp_pass");
        let filter = s.load_one("tc_count.bpf.o", "tc_count");
        let interface = s.interface();
        let at = xdp(&interface, XdpMode::Generic);
        s.ask_attached(&interface, Hook::Xdp);
        s.create(filter, &at);
        s.create(second, &tcx(&interface, None, 0));
        s.create(first, &xdp(&interface, XdpMode::Offload));
        s.create(first, &at);
        s.create(second, &at);
        s.create(first, &at);
        s.create(second, &xdp(&interface, XdpMode::Native));
        s.ask_attached(&interface, Hook::Xdp);
        s.detach(0);
        s.ask(0);
        s.create(second, &at);
        s.ask_attached(&interface, Hook::Xdp);
        s.release(0);
        s.assert_link_goes(0);
        let nowhere = InterfaceTarget {
            ifindex: IfIndex(999_999),
            ..interface
        };
        s.ask_attached(&nowhere, Hook::Xdp);
        s.create(first, &xdp(&nowhere, XdpMode::Auto));
    });
    assert!(answers.contains(&Answer::Refused(KernelErrorKind::Taken)));
    assert_eq!(
        answers.last(),
        Some(&Answer::Refused(KernelErrorKind::NotFound))
    );
}

#[test]
fn the_order_of_tcx_is_kept_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let programs = [0; 4].map(|_| s.load_one("tc_count.bpf.o", "tc_count"));
        let interface = s.interface();
        let at = |before, revision| tcx(&interface, before, revision);
        s.ask_attached(&interface, INGRESS);
        s.create(programs[0], &at(None, 1));
        s.create(programs[1], &at(None, 1));
        s.create(programs[1], &at(None, 2));
        s.create(programs[1], &at(None, 3));
        s.create(programs[2], &at(Some(s.made[1]), 3));
        s.ask_attached(&interface, INGRESS);
        s.create(programs[3], &at(Some(s.made[0]), 3));
        s.create(programs[3], &at(Some(s.made[0]), 4));
        s.ask_attached(&interface, INGRESS);
        s.detach(0);
        s.ask_attached(&interface, INGRESS);
        s.create(programs[0], &at(Some(s.made[0]), 6));
        s.release(0);
        s.assert_link_goes(0);
        s.create(programs[0], &at(Some(s.made[0]), 6));
        s.create(programs[0], &at(Some(KernelLinkId(u32::MAX)), 0));
        s.ask_attached(&interface, Hook::Tc(Direction::Ingress));
        s.ask_attached(&interface, Hook::Tcx(Direction::Egress));
        s.kernel.finish();
        for number in 1..4 {
            s.assert_link_goes(number);
        }
        s.ask_attached(&interface, INGRESS);
        let nowhere = InterfaceTarget {
            ifindex: IfIndex(999_999),
            ..interface.clone()
        };
        s.ask_attached(&nowhere, INGRESS);
    });
    assert!(answers.contains(&Answer::Refused(KernelErrorKind::Stale)));
    let order = vec![(3, Some(3)), (0, Some(0)), (2, Some(2)), (1, Some(1))];
    assert!(answers.contains(&Answer::Order(5, order)), "{answers:?}");
}

#[test]
fn links_of_a_deleted_interface_are_detached_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let filter = s.load_one("tc_count.bpf.o", "tc_count");
        let program = s.load_one("xdp_pass.bpf.o", "xdp_pass");
        let interface = s.interface();
        s.create(filter, &tcx(&interface, None, 0));
        s.create(program, &xdp(&interface, XdpMode::Auto));
        s.pin_link(0, "fs/filter");
        s.pin_link(1, "fs/program");
        s.surroundings.remove_interface();
        s.create(filter, &tcx(&interface, None, 0));
        s.create(program, &xdp(&interface, XdpMode::Auto));
        for (number, pin) in [(0, "fs/filter"), (1, "fs/program")] {
            s.ask(number);
            s.look(pin);
            s.release(number);
            s.detach_at(number, pin);
            s.assert_link_goes(number);
        }
    });
    let gone = Answer::Refused(KernelErrorKind::NotFound);
    assert_eq!(answers.iter().filter(|answer| **answer == gone).count(), 2);
}

#[test]
fn a_namespace_that_was_replaced_is_refused_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let filter = s.load_one("tc_count.bpf.o", "tc_count");
        let interface = s.interface();
        s.create(filter, &tcx(&interface, None, 0));
        s.pin_link(0, "fs/filter");
        s.surroundings.replace_namespace();
        s.create(filter, &tcx(&interface, None, 0));
        s.ask_attached(&interface, INGRESS);
        s.ask_attached(&interface, Hook::Xdp);
        s.execute(&KernelAction::MakeClsact {
            interface: interface.clone(),
        });
        s.assert_link_loses_its_place(0);
        s.release(0);
        s.detach_at(0, "fs/filter");
        s.assert_link_goes(0);
    });
    let gone = Answer::Refused(KernelErrorKind::NotFound);
    assert_eq!(answers.iter().filter(|answer| **answer == gone).count(), 4);
}

#[test]
fn probes_are_attached_and_let_go_of_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_LINK_TYPE_PERF_EVENT"));
    let answers = in_both_worlds(|s| {
        let program = s.load_one("trace_exec.bpf.o", "trace_exec");
        let filter = s.load_one("tc_count.bpf.o", "tc_count");
        let id = s
            .targets
            .tracepoint("syscalls", "sys_enter_execve")
            .unwrap();
        let at = AttachTarget::Tracepoint { id };
        let other = s.load_one("trace_exec.bpf.o", "trace_exec");
        s.create(program, &at);
        s.create(program, &at);
        s.create(filter, &at);
        s.create(other, &at);
        s.ask(0);
        s.pin_link(0, "fs/link");
        s.detach_at(1, "fs/link");
        s.detach(1);
        s.release(1);
        s.assert_link_goes(1);
        s.detach(0);
        s.ask(0);
        s.release(0);
        s.detach_at(0, "fs/link");
        s.assert_link_goes(0);
        s.detach(0);
        s.create(program, &AttachTarget::Tracepoint { id: 999_999 });
    });
    assert!(answers.contains(&Answer::LetGo));
}

#[test]
fn filters_are_added_and_removed_alike() {
    in_both_worlds(|s| {
        let program = s.load_one("tc_count.bpf.o", "tc_count");
        let other = s.load_one("tc_count.bpf.o", "tc_count");
        let interface = s.interface();
        let filter = TcFilter {
            interface: interface.clone(),
            direction: Direction::Ingress,
            preference: 50,
            handle: 1,
        };
        let held = |program| KernelAction::AddTcFilter {
            program: ProgramSource::Held {
                program: ProgramReference::Known(program),
            },
            filter: filter.clone(),
        };
        let remove = |program| KernelAction::RemoveTcFilter {
            program: ProgramReference::Known(program),
            filter: filter.clone(),
        };
        s.ask_filter(&filter);
        s.execute(&remove(program));
        s.execute(&held(program));
        for _ in 0..2 {
            let interface = interface.clone();
            s.execute(&KernelAction::MakeClsact { interface });
        }
        s.ask_filter(&filter);
        s.execute(&held(program));
        s.execute(&held(other));
        s.ask_filter(&filter);
        s.execute(&remove(other));
        s.kernel.finish();
        s.assert_program_lives(program);
        s.execute(&remove(program));
        s.execute(&remove(program));
        s.assert_program_lives(program);
        s.execute(&held(program));
        s.ask_filter(&filter);
        s.execute(&remove(program));
        s.kernel.finish();
        s.assert_program_goes(program);
        for _ in 0..2 {
            let interface = interface.clone();
            s.execute(&KernelAction::RemoveClsact { interface });
        }
        s.surroundings.remove_interface();
        s.ask_filter(&filter);
        s.execute(&remove(program));
        s.execute(&KernelAction::RemoveClsact {
            interface: interface.clone(),
        });
        s.execute(&KernelAction::MakeClsact { interface });
    });
}

/// A program that a chain can be made of.
struct Part {
    program: ProgramId,
    path: AbsolutePath,
    kept: KeptInstructions,
    maps: Vec<LoadedMap>,
}

impl Part {
    fn pinned(&self) -> ProgramSource {
        ProgramSource::Pinned {
            program: self.program,
            path: self.path.clone(),
        }
    }
}

fn known(program: ProgramId) -> ProgramSource {
    ProgramSource::Held {
        program: program.into(),
    }
}

/// The load of a chain of these, as it is planned.
fn chain_of(family: Family, parts: &[&Part]) -> LoadProgram {
    let references: Vec<Vec<chain::MapReference<MapId>>> = parts
        .iter()
        .map(|part| {
            let map = |name: &str| part.maps.iter().find(|map| map.name == name).unwrap().id;
            let references = part.kept.references.iter();
            let reference = references.map(|reference| chain::MapReference {
                instruction: reference.instruction,
                map: map(&reference.map),
            });
            reference.collect()
        })
        .collect();
    let none = BTreeMap::new();
    let members = parts.iter().zip(&references).enumerate();
    let members: Vec<chain::Member<'_, usize, MapId>> = members
        .map(|(id, (part, references))| chain::Member {
            id,
            instructions: &part.kept.instructions.0,
            references,
            stack_depths: &part.kept.stack_depths,
            called: false,
            kernel_functions: &none,
            types: chain::MemberTypes::default(),
            proceed_on: &[0, 2],
            counter: None,
        })
        .collect();
    let chain = chain::compile(family, chain::Frames::Of32, &members).unwrap();
    let (kernel_type, attach_type) = match family {
        Family::Xdp => (KernelProgramType::XDP, parts[0].kept.attach_type),
        Family::Tc => (KernelProgramType::SCHED_CLS, 0),
    };
    LoadProgram {
        name: "a chain".to_owned(),
        kernel_name: "chain".to_owned(),
        kernel_type,
        attach_type,
        flags: 0,
        license: "GPL".to_owned(),
        instructions: Base64Bytes(chain.instructions),
        maps: chain
            .references
            .iter()
            .map(|reference| InstructionMap {
                instruction: reference.instruction,
                map: MapPlace::InUse(reference.map),
            })
            .collect(),
        programs: parts
            .iter()
            .map(|part| PinnedProgram {
                program: part.program,
                path: part.path.clone(),
            })
            .collect(),
        types: None,
        replaces: None,
    }
}

#[test]
fn programs_of_a_link_of_xdp_are_swapped_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let answers = in_both_worlds(|s| {
        let first = s.load_part("xdp_pass.bpf.o", "xdp_pass", "fs/first");
        let second = s.load_part("xdp_pass.bpf.o", "xdp_pass", "fs/second");
        let filter = s.load_part("tc_count.bpf.o", "tc_count", "fs/filter");
        let interface = s.interface();
        s.create(first.program, &xdp(&interface, XdpMode::Generic));
        s.pin_link(0, "fs/link");
        let chain = s.load_program(chain_of(Family::Xdp, &[&first, &second]));
        let chain = chain.unwrap();
        s.update(0, "fs/link", chain, second.pinned());
        s.update(0, "fs/missing", first.program, known(chain));
        s.update(0, "fs/first", first.program, known(chain));
        s.update(0, "fs/link", first.program, known(ProgramId(u32::MAX)));
        s.update(0, "fs/link", first.program, filter.pinned());
        s.ask_program(0);
        s.update(0, "fs/link", first.program, known(chain));
        s.ask_program(0);
        s.ask_attached(&interface, Hook::Xdp);
        s.update(0, "fs/link", first.program, known(chain));
        s.update(0, "fs/link", chain, known(chain));
        s.kernel.finish();
        s.assert_program_lives(chain);
        s.update(0, "fs/link", chain, second.pinned());
        s.ask_program(0);
        // It was held nowhere else, and now by who swapped it.
        s.update(0, "fs/link", second.program, known(chain));
        s.update(0, "fs/link", chain, first.pinned());
        s.kernel.finish();
        s.assert_program_goes(chain);
        s.surroundings.remove_interface();
        s.update(0, "fs/link", first.program, second.pinned());
        s.ask_program(0);
    });
    assert!(answers.contains(&Answer::Refused(KernelErrorKind::Stale)));
    assert_eq!(answers.last(), Some(&Answer::Filter(Some(0))));
}

#[test]
fn programs_of_a_link_of_tcx_are_swapped_alike() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    in_both_worlds(|s| {
        let first = s.load_part("tc_count.bpf.o", "tc_count", "fs/first");
        let second = s.load_part("tc_count.bpf.o", "tc_count", "fs/second");
        let other = s.load_part("tc_count.bpf.o", "tc_count", "fs/other");
        let program = s.load_part("xdp_pass.bpf.o", "xdp_pass", "fs/program");
        let interface = s.interface();
        s.create(first.program, &tcx(&interface, None, 0));
        s.pin_link(0, "fs/link");
        s.create(other.program, &tcx(&interface, None, 0));
        let chain = s.load_program(chain_of(Family::Tc, &[&first, &second]));
        let chain = chain.unwrap();
        s.update(0, "fs/link", chain, second.pinned());
        s.update(0, "fs/link", first.program, program.pinned());
        s.update(0, "fs/link", first.program, other.pinned());
        s.ask_attached(&interface, INGRESS);
        s.update(0, "fs/link", first.program, known(chain));
        s.ask_attached(&interface, INGRESS);
        s.update(0, "fs/link", chain, known(chain));
        s.ask_attached(&interface, INGRESS);
        s.update(0, "fs/link", chain, second.pinned());
        s.ask_attached(&interface, INGRESS);
        s.surroundings.remove_interface();
        s.update(0, "fs/link", second.program, known(chain));
    });
}

#[test]
fn programs_of_a_filter_are_swapped_alike() {
    in_both_worlds(|s| {
        let first = s.load_part("tc_count.bpf.o", "tc_count", "fs/first");
        let second = s.load_part("tc_count.bpf.o", "tc_count", "fs/second");
        let program = s.load_part("xdp_pass.bpf.o", "xdp_pass", "fs/program");
        let interface = s.interface();
        let filter = TcFilter {
            interface: interface.clone(),
            direction: Direction::Ingress,
            preference: 50,
            handle: 1,
        };
        let replace = |from: ProgramId, to: ProgramSource| KernelAction::ReplaceTcFilter {
            filter: filter.clone(),
            from: from.into(),
            to,
        };
        let chain = s.load_program(chain_of(Family::Tc, &[&first, &second]));
        let chain = chain.unwrap();
        s.execute(&replace(first.program, known(chain)));
        s.execute(&KernelAction::MakeClsact { interface });
        s.execute(&KernelAction::AddTcFilter {
            program: first.pinned(),
            filter: filter.clone(),
        });
        s.execute(&replace(chain, second.pinned()));
        s.execute(&replace(first.program, known(ProgramId(u32::MAX))));
        s.execute(&replace(first.program, program.pinned()));
        s.ask_filter(&filter);
        s.execute(&replace(first.program, known(chain)));
        s.ask_filter(&filter);
        s.kernel.finish();
        s.assert_program_lives(chain);
        s.execute(&replace(chain, second.pinned()));
        s.execute(&replace(second.program, known(chain)));
        s.execute(&KernelAction::RemoveTcFilter {
            program: chain.into(),
            filter: filter.clone(),
        });
        s.assert_program_lives(chain);
        s.kernel.finish();
        s.assert_program_goes(chain);
        s.surroundings.remove_interface();
        s.execute(&replace(second.program, first.pinned()));
    });
}

#[test]
fn loads_out_of_instructions_and_maps_are_answered_alike() {
    in_both_worlds(|s| {
        let part = s.load_part("xdp_pass.bpf.o", "xdp_pass", "fs/part");
        let other = s.load_part("tc_count.bpf.o", "tc_count", "fs/other");
        let good = || chain_of(Family::Xdp, &[&part]);
        let with = |change: &dyn Fn(&mut LoadProgram)| {
            let mut load = good();
            change(&mut load);
            load
        };
        s.load_program(good());
        s.load_program(with(&|load| load.kernel_name = "a name too long".repeat(2)));
        s.load_program(with(&|load| load.instructions.0.truncate(12)));
        s.load_program(with(&|load| load.instructions.0.clear()));
        s.load_program(with(&|load| load.license = "G\0".to_owned()));
        s.load_program(with(&|load| load.programs[0].path = other.path.clone()));
        s.load_program(with(&|load| load.programs[0].path = path("/missing")));
        s.load_program(with(&|load| {
            load.maps.push(InstructionMap {
                instruction: 0,
                map: MapPlace::InUse(MapId(u32::MAX)),
            });
        }));
        let hold = |path: &AbsolutePath| {
            KernelAction::HoldProgram(PinnedProgram {
                program: part.program,
                path: path.clone(),
            })
        };
        for pin in ["fs/part", "fs/other", "fs/missing", "file"] {
            let path = s.at(pin);
            s.execute(&hold(&path));
        }
        let counter = MakeMap {
            name: "a counter".to_owned(),
            kernel_name: "counter".to_owned(),
            map_type: 6,
            key_size: 4,
            value_size: 16,
            max_entries: 1,
        };
        let made = s.execute(&KernelAction::MakeMap(counter.clone())).unwrap();
        s.pin_map(made.maps[0].id, "fs/counter");
        let broken = MakeMap {
            max_entries: 0,
            ..counter.clone()
        };
        s.execute(&KernelAction::MakeMap(broken));
        let plain = MakeMap {
            map_type: 2,
            ..counter
        };
        let made = s.execute(&KernelAction::MakeMap(plain)).unwrap();
        s.pin_map(made.maps[0].id, "fs/plain");
        for names in ["fs/counter", "fs/plain", "fs/part", "fs/missing"] {
            s.ask_counter(names);
        }
    });
}

/// The load of a program as an extension for a slot.
fn extension_of(part: &Part, dispatcher: ProgramId, function: &str) -> LoadProgram {
    let map = |name: &str| part.maps.iter().find(|map| map.name == name).unwrap().id;
    let references = part.kept.references.iter();
    let maps = references.map(|reference| InstructionMap {
        instruction: reference.instruction,
        map: MapPlace::InUse(map(&reference.map)),
    });
    LoadProgram {
        kernel_type: KernelProgramType::EXTENSION,
        attach_type: 0,
        instructions: part.kept.instructions.clone(),
        maps: maps.collect(),
        types: Some(ProgramTypes {
            btf: None,
            functions: part.kept.functions.clone(),
        }),
        replaces: Some(ReplacedFunction {
            program: dispatcher.into(),
            function: function.to_owned(),
        }),
        ..chain_of(Family::Xdp, &[part])
    }
}

#[test]
fn dispatchers_are_loaded_and_extended_alike_or_refused_by_a_lockdown() {
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_TCX_INGRESS"));
    let locks_down = |world: &World, real: &[(String, Answer)]| {
        if real
            .iter()
            .any(|(_, answer)| *answer == Answer::Refused(KernelErrorKind::Permission))
        {
            world.lock_down();
        }
    };
    let answers = in_both_worlds_after(
        |s| {
            let part = s.load_part("xdp_pass.bpf.o", "xdp_pass", "fs/part");
            let slot = Slot {
                proceed_on: 4,
                priority: 50,
                flags: 0,
            };
            let config = DispatcherConfig::new(Family::Xdp, vec![slot]).unwrap();
            let load = |family, config: Vec<u8>| {
                KernelAction::LoadDispatcher(LoadDispatcher {
                    name: "a dispatcher".to_owned(),
                    family,
                    config: Base64Bytes(config),
                    frags: false,
                })
            };
            s.execute(&load(Family::Xdp, vec![0; 3]));
            let loaded = s.execute(&load(Family::Xdp, config.encode())).unwrap();
            let dispatcher = loaded.programs[0].identity.id;
            let interface = s.interface();
            s.create(part.program, &xdp(&interface, XdpMode::Generic));
            s.pin_link(0, "fs/link");
            s.update(0, "fs/link", part.program, known(dispatcher));
            s.ask_program(0);
            let extension = |function: &str| extension_of(&part, dispatcher, function);
            s.load_program(extension("prog10"));
            let Some(extension) = s.load_program(extension("prog0")) else {
                return;
            };
            let at = |function: &str| AttachTarget::Slot {
                dispatcher: dispatcher.into(),
                function: function.to_owned(),
            };
            s.create(extension, &at("prog0"));
            s.create(extension, &at("prog10"));
            s.create(part.program, &at("prog1"));
            s.release(1);
            s.assert_link_goes(1);
        },
        locks_down,
    );
    assert!(answers.contains(&Answer::Filter(Some(1))), "{answers:?}");
}
