//! The model is checked against what it models: the same actions, asked of the simulated and of the real kernel,
//! must be answered alike.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use bpfman_core::action::KernelAction;
use bpfman_core::action::LoadObject;
use bpfman_core::action::LoadedObject;
use bpfman_core::action::MapReference;
use bpfman_core::action::MapSource;
use bpfman_core::action::Outcome;
use bpfman_core::action::ProgramReference;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PinState;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::Kernel;
use bpfman_interpreter::kernel::LibbpfKernel;
use bpfman_model::World;

/// The objects that the scenarios load.
const OBJECTS: [&str; 5] = [
    "xdp_pass.bpf.o",
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
        let mut mount = Command::new("mount");
        mount.args(["-t", "bpf", "bpf"]).arg(&bpffs);
        assert!(mount.status().unwrap().success(), "needs root");
        place
    }

    fn path(&self) -> AbsolutePath {
        path(self.0.path().to_str().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for mount in ["fs/nested", "mounted", "fs"] {
            // Best effort: this may run while a test panics, and most of these are not mounted.
            let mut unmount = Command::new("umount");
            let _ = unmount.arg("-lq").arg(self.0.path().join(mount)).output();
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
    Other,
}

/// One kernel, and what it answered so far.
struct Session<'a> {
    kernel: &'a mut dyn Kernel,
    place: AbsolutePath,
    answers: Vec<(String, Answer)>,
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
            Ok(Outcome::Loaded(loaded)) => {
                let programs = loaded.programs.iter().map(|p| p.name.clone());
                let maps = loaded.maps.iter().map(|map| map.name.clone());
                let answer = Answer::Loaded(programs.collect(), maps.collect());
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
            Ok(PinState::Other) => Answer::Other,
            Err(KernelError { kind, .. }) => Answer::Refused(kind),
        };
        self.answers.push((format!("look at {names}"), answer));
    }

    fn assert_map_goes(&mut self, id: MapId) {
        goes(|| self.kernel.map(id).unwrap().is_none());
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
    let real_place = Place::new();
    let place = real_place.path();
    let run = |kernel: &mut dyn Kernel| {
        let mut session = Session {
            kernel,
            place: place.clone(),
            answers: Vec::new(),
        };
        scenario(&mut session);
        session.answers
    };
    let real = run(&mut LibbpfKernel::new());
    let world = simulated(&place);
    let layout = RuntimeLayout::new(place.join("run"));
    let modelled = run(&mut world.process(&layout).kernel);
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
            load.programs[0].target_program = Some(ProgramId(u32::MAX));
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
