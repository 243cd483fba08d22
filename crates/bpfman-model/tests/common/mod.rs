//! What the scenarios share: a simulated machine and the manager on it.

#![allow(dead_code, reason = "no test file uses all of it")]

pub(crate) mod shared;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::compute::Handover;
use bpfman_core::links;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::AttachRequest;
use bpfman_core::links::AttachSpec;
use bpfman_core::links::InterfaceRequest;
use bpfman_core::managed::Link;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::Program;
use bpfman_core::managed::ProgramRequest;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::Engine;
use bpfman_core::types::InterfaceName;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_core::types::RuntimeLayout;
use bpfman_core::types::UnixTime;
use bpfman_core::types::XdpMode;
use bpfman_manager::LinkUpdate;
use bpfman_manager::Manager;
use bpfman_manager::ManagerError;
use bpfman_manager::ReplaceSpec;
use bpfman_model::Node;
use bpfman_model::Places;
use bpfman_model::World;

/// Programs `pass` (XDP) and `count` (kprobe); maps `counters`, and `shared`, which is pinned by name.
pub(crate) const PROGRAMS: &[u8] =
    include_bytes!("../../../bpfman-core/src/object/fixtures/programs.o");

/// Programs `pass` (XDP), `filter` (TC) and `trace` (a tracepoint's), without maps.
pub(crate) const LINKS: &[u8] = include_bytes!("../fixtures/links.o");

pub(crate) fn path(text: &str) -> AbsolutePath {
    AbsolutePath::parse(text).unwrap()
}

/// A machine whose bpfman works under `/run/bpfman`.
pub(crate) struct Machine {
    pub(crate) world: World,
    pub(crate) layout: RuntimeLayout,
}

impl Machine {
    /// Nothing was ever loaded on it; a bpffs is mounted where the system mounts one.
    pub(crate) fn new() -> Self {
        let world = World::new();
        world.make_directories(&path("/run")).unwrap();
        world.mount_bpffs(&path("/sys/fs/bpf")).unwrap();
        Self {
            world,
            layout: RuntimeLayout::new(path("/run/bpfman")),
        }
    }

    /// One command: a process of its own, which ends with it.
    pub(crate) fn manage<T>(&self, command: impl FnOnce(&mut Manager<'_>) -> T) -> T {
        self.manage_under(&self.layout, command)
    }

    /// As [`Self::manage`], by a bpfman with another runtime directory.
    pub(crate) fn manage_under<T>(
        &self,
        layout: &RuntimeLayout,
        command: impl FnOnce(&mut Manager<'_>) -> T,
    ) -> T {
        let mut process = self.world.process(layout);
        command(&mut Manager {
            layout: layout.clone(),
            runtime: &mut process.runtime,
            kernel: &mut process.kernel,
            files: &mut process.files,
            targets: &process.targets,
            now: UnixTime(1),
        })
    }

    /// A load that must succeed.
    pub(crate) fn load(&self, spec: &LoadSpec) -> Vec<Program> {
        self.try_load(spec).unwrap()
    }

    pub(crate) fn try_load(&self, spec: &LoadSpec) -> Result<Vec<Program>, ManagerError> {
        self.manage(|manager| manager.load(spec, PROGRAMS))
    }

    /// Loads `pass` and answers its record.
    pub(crate) fn load_pass(&self) -> Program {
        self.load(&spec(&["pass"])).remove(0)
    }

    /// Loads `count` with the maps of another program.
    pub(crate) fn load_user_of(&self, owner: ProgramId) -> Program {
        self.load(&taking_maps_of(owner)).remove(0)
    }

    /// Loads a program of [`LINKS`], pinned where it says or on our bpffs.
    pub(crate) fn load_to_attach(&self, name: &str, pin: Option<&str>) -> Program {
        self.load_for(Engine::Auto, name, pin)
    }

    /// The same, to share its attach point by an engine.
    pub(crate) fn load_for(&self, engine: Engine, name: &str, pin: Option<&str>) -> Program {
        self.try_load_for(engine, name, pin).unwrap()
    }

    pub(crate) fn try_load_for(
        &self,
        engine: Engine,
        name: &str,
        pin: Option<&str>,
    ) -> Result<Program, ManagerError> {
        let request = ProgramRequest {
            name: name.to_owned(),
            program_type: None,
            attach_function: None,
        };
        let spec = LoadSpec {
            source: path("/home/user/links.o").into(),
            programs: vec![request],
            pin_path: pin.map(path),
            engine,
            ..spec(&[])
        };
        let loaded = self.manage(|manager| manager.load(&spec, LINKS));
        loaded.map(|mut programs| programs.remove(0))
    }

    /// Adds interfaces to the namespace of every process.
    pub(crate) fn with_interfaces(self, names: &[&str]) -> Self {
        for interface in names {
            self.world.add_interface(None, &name(interface)).unwrap();
        }
        self
    }

    pub(crate) fn try_attach(&self, spec: &AttachSpec) -> Result<Link, ManagerError> {
        self.manage(|manager| manager.attach(spec))
    }

    /// An attach that must succeed.
    pub(crate) fn attach(&self, spec: &AttachSpec) -> Link {
        self.try_attach(spec).unwrap()
    }

    pub(crate) fn detach(&self, id: LinkId) -> Result<(), ManagerError> {
        let mut results = self.manage(|manager| manager.detach(&[id])).unwrap();
        results.remove(0).1.map(drop)
    }

    pub(crate) fn unload(&self, id: ProgramId) -> Result<(), ManagerError> {
        self.manage(|manager| manager.unload(id)).map(drop)
    }

    pub(crate) fn alter(
        &self,
        link: LinkId,
        priority: Option<u32>,
        proceed_on: Option<Vec<i32>>,
    ) -> Result<(), ManagerError> {
        let priority = priority.map(|number| Priority::new(number.into()).unwrap());
        let update = LinkUpdate {
            link,
            priority,
            proceed_on,
        };
        self.manage(|manager| manager.update_link(&update))
    }

    /// Replaces a program of [`LINKS`] by another load of the same.
    pub(crate) fn replace(&self, id: ProgramId) -> Result<Program, ManagerError> {
        self.replace_with(id, Handover::Swap)
    }

    /// The same, with a way for links that the kernel cannot give another program.
    pub(crate) fn replace_with(
        &self,
        program: ProgramId,
        handover: Handover,
    ) -> Result<Program, ManagerError> {
        let spec = ReplaceSpec {
            program,
            source: path("/home/user/links.o").into(),
            map_owner: None,
            map_sizes: BTreeMap::new(),
            handover,
        };
        self.manage(|manager| Ok(manager.replace(&spec, LINKS)?.program))
    }

    pub(crate) fn delete_dispatcher(&self, point: AttachPoint) -> Result<(), ManagerError> {
        self.manage(|manager| manager.delete_dispatcher(point))
    }
}

/// A load of programs of [`PROGRAMS`].
pub(crate) fn spec(programs: &[&str]) -> LoadSpec {
    let request = |name: &&str| ProgramRequest {
        name: (*name).to_owned(),
        program_type: (*name == "pass").then_some(ProgramType::Xdp),
        attach_function: None,
    };
    LoadSpec {
        source: path("/home/user/programs.o").into(),
        programs: programs.iter().map(request).collect(),
        global_data: BTreeMap::new(),
        map_sizes: BTreeMap::new(),
        metadata: BTreeMap::from([("owner".to_owned(), "tests".to_owned())]),
        map_owner_id: None,
        replaces_owner: false,
        other_maps: Vec::new(),
        engine: Engine::Auto,
        engine_asked: false,
        pin_path: None,
    }
}

/// A load of `count` with the maps of another program.
pub(crate) fn taking_maps_of(owner: ProgramId) -> LoadSpec {
    LoadSpec {
        map_owner_id: Some(owner),
        ..spec(&["pass"])
    }
}

/// A load of `pass` with a pin of its own.
pub(crate) fn pinned_at(pin: &str) -> LoadSpec {
    LoadSpec {
        pin_path: Some(path(pin)),
        ..spec(&["pass"])
    }
}

pub(crate) fn name(text: &str) -> InterfaceName {
    InterfaceName::parse(text).unwrap()
}

fn attach_of(program: ProgramId, request: AttachRequest) -> AttachSpec {
    AttachSpec {
        program,
        request,
        metadata: BTreeMap::from([("of".to_owned(), program.to_string())]),
    }
}

fn interface(text: &str) -> InterfaceRequest {
    InterfaceRequest {
        name: name(text).into(),
        netns: None,
    }
}

/// An attach to the XDP hook of an interface.
pub(crate) fn xdp(program: &Program, to: &str) -> AttachSpec {
    let request = AttachRequest::Xdp(links::XdpRequest {
        interface: interface(to),
        priority: Priority::new(50).unwrap(),
        proceed_on: None,
        mode: XdpMode::Auto,
        count: false,
    });
    attach_of(program.id(), request)
}

/// An attach to the ingress TC hook of an interface.
pub(crate) fn tc(program: &Program, to: &str) -> AttachSpec {
    let request = AttachRequest::Tc(links::TcRequest {
        interface: interface(to),
        direction: Direction::Ingress,
        priority: Priority::new(50).unwrap(),
        proceed_on: None,
        count: false,
    });
    attach_of(program.id(), request)
}

/// A request of TC or XDP with another place among the others.
pub(crate) fn among_others(
    mut spec: AttachSpec,
    place: u32,
    verdicts: Option<&[i32]>,
    counted: bool,
) -> AttachSpec {
    if let AttachRequest::Xdp(links::XdpRequest {
        priority,
        proceed_on,
        count,
        ..
    })
    | AttachRequest::Tc(links::TcRequest {
        priority,
        proceed_on,
        count,
        ..
    }) = &mut spec.request
    {
        *priority = Priority::new(place.into()).unwrap();
        *proceed_on = verdicts.map(<[i32]>::to_vec);
        *count = counted;
    }
    spec
}

/// The same with another priority only.
pub(crate) fn with_priority(spec: AttachSpec, place: u32) -> AttachSpec {
    among_others(spec, place, None, false)
}

/// An attach to the ingress TCX hook of an interface.
pub(crate) fn tcx(program: &Program, to: &str, priority: u32) -> AttachSpec {
    tcx_in(program, interface(to), priority)
}

/// An attach to the ingress TCX hook of an interface of a namespace.
pub(crate) fn tcx_in(program: &Program, interface: InterfaceRequest, priority: u32) -> AttachSpec {
    let request = AttachRequest::Tcx(links::TcxRequest {
        interface,
        direction: Direction::Ingress,
        priority: Priority::new(priority.into()).unwrap(),
    });
    attach_of(program.id(), request)
}

/// An attach to the tracepoint `sched/sched_process_exec`.
pub(crate) fn tracepoint(program: &Program) -> AttachSpec {
    let request = AttachRequest::Tracepoint(links::Tracepoint {
        group: "sched".to_owned(),
        name: "sched_process_exec".to_owned(),
    });
    attach_of(program.id(), request)
}

/// Places without what belongs to no operation, like the runtime directory: queueing disciplines without filters,
/// mounted bpffs without pins, and the directories of ours that every operation finds or makes, while they are empty.
pub(crate) fn essence(places: &Places) -> Places {
    let mut places = places.clone();
    let layout = RuntimeLayout::new(path("/run/bpfman"));
    places.clsact.clear();
    let hooks = [
        "xdp",
        "tc-ingress",
        "tc-egress",
        "tcx-ingress",
        "tcx-egress",
    ]
    .map(|hook| layout.dispatchers(hook));
    let mut shared = vec![layout.links(), layout.map_sets(), layout.shared_maps()];
    shared.extend(hooks);
    shared.push(path("/sys/fs/bpf/xdp"));
    for nodes in places.bpffs.values_mut() {
        let full = |path: &AbsolutePath| nodes.keys().any(|other| other.is_below(path));
        let empty: Vec<AbsolutePath> = shared.iter().filter(|path| !full(path)).cloned().collect();
        nodes.retain(|path, _| !empty.contains(path));
    }
    let mounts = places.bpffs.iter();
    let empty = mounts.filter(|(_, nodes)| nodes.is_empty());
    let mut gone: Vec<AbsolutePath> = empty.map(|(path, _)| path.clone()).collect();
    places.bpffs.retain(|path, _| !gone.contains(path));
    gone.push(layout.bpffs());
    let full = |path: &AbsolutePath| places.files.keys().any(|other| other.is_below(path));
    if !full(&layout.programs()) {
        gone.push(layout.programs());
    }
    places.files.retain(|path, _| !gone.contains(path));
    places
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
pub(crate) fn differences(before: &Places, after: &Places) -> Vec<AbsolutePath> {
    let (old, new) = (nodes(before), nodes(after));
    let all: BTreeSet<AbsolutePath> = old.keys().chain(new.keys()).cloned().collect();
    let differs = |path: &AbsolutePath| old.get(path) != new.get(path);
    all.into_iter().filter(differs).collect()
}
