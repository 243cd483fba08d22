//! The plan of a load.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::CheckedLoad;
use super::CheckedProgram;
use super::LoadRefusal;
use super::map_sizes;
use super::pins::make_parents;
use super::pins::make_pin_directory;
use super::pins::pin_map;
use super::pins::pin_program;
use super::records::batch;
use crate::action::Action;
use crate::action::FileAction;
use crate::action::KernelAction;
use crate::action::LoadDispatcher;
use crate::action::LoadObject;
use crate::action::MapReference;
use crate::action::MapSize;
use crate::action::MapSource;
use crate::action::PathTemplate;
use crate::action::Plan;
use crate::action::ProgramReference;
use crate::action::ProgramToLoad;
use crate::action::StoreAction;
use crate::dispatcher::DispatcherConfig;
use crate::dispatcher::SLOT_FUNCTIONS;
use crate::dispatcher::Slot;
use crate::kernel::PinState;
use crate::managed::LoadSpec;
use crate::managed::Program;
use crate::managed::ProgramDraft;
use crate::object::ObjectFacts;
use crate::object::ObjectMapKind;
use crate::types::AbsolutePath;
use crate::types::Base64Bytes;
use crate::types::Engine;
use crate::types::Family;
use crate::types::KernelProgramType;
use crate::types::PinName;
use crate::types::ProgramType;
use crate::types::RuntimeLayout;
use crate::types::UnixTime;

/// What the world looks like before a load, gathered once.
#[derive(Clone, Debug)]
pub struct LoadSnapshot {
    /// What the object says about itself.
    pub object: ObjectFacts,
    /// Its size in bytes.
    pub object_bytes: u64,
    /// Whether our bpffs is mounted.
    pub bpffs_mounted: bool,
    /// What is at the user's pin path, when there is one.
    pub pin: Option<PinState>,
    /// The record of the map owner, when one was asked for and exists.
    pub map_owner: Option<Program>,
    /// The names of the object's maps that are pinned in the owner's map set.
    pub owner_set: Vec<String>,
    /// The names of the maps that are pinned in the shared directory, of those the object pins by name.
    pub shared_maps: Vec<String>,
    /// The time of the operation.
    pub now: UnixTime,
}

/// Plans a load.
///
/// The order, and why: the object is written first, so that the bytes the kernel gets are the bytes we keep,
/// whatever happens to the user's file meanwhile. Loading comes next: it is the step most likely to fail, and
/// what it makes dies with the process until it is pinned. Then the object gets its place under the new id,
/// maps are pinned before the programs that use them, and the record comes last: a record never names
/// something that is not there, and there is nothing left to fail once it is written.
///
/// # Errors
/// A [`LoadRefusal`] that the snapshot tells.
pub fn plan_load(
    spec: &LoadSpec,
    checked: &CheckedLoad,
    snapshot: &LoadSnapshot,
    layout: &RuntimeLayout,
) -> Result<Plan, LoadRefusal> {
    if let (Some(path), Some(state)) = (&spec.pin_path, &snapshot.pin) {
        check_pin(path, state)?;
    }
    check_owner(spec, snapshot.map_owner.as_ref())?;
    let maps = map_places(spec, checked, snapshot, layout)?;
    let reused = maps.iter().filter_map(|(name, place)| match place {
        MapPlace::Reused(_) => Some(name.as_str()),
        _ => None,
    });
    let map_sizes = map_sizes(
        &spec.map_sizes,
        &snapshot.object,
        &checked.skip_maps,
        &reused.collect::<Vec<_>>(),
    )?;
    let builder = Builder {
        spec,
        checked,
        snapshot,
        layout,
        maps,
        map_sizes,
    };
    Ok(builder.plan())
}

/// The maps come from a program that has them of its own (contract: section 1).
fn check_owner(spec: &LoadSpec, owner: Option<&Program>) -> Result<(), LoadRefusal> {
    let Some(id) = spec.map_owner_id else {
        return Ok(());
    };
    match owner.map(|owner| owner.load.map_owner_id) {
        None => Err(LoadRefusal::NoSuchMapOwner(id)),
        Some(Some(from)) if !spec.replaces_owner => Err(LoadRefusal::MapOwnerBorrows { id, from }),
        Some(_) => Ok(()),
    }
}

fn check_pin(path: &AbsolutePath, state: &PinState) -> Result<(), LoadRefusal> {
    match state {
        PinState::Free {
            on_bpffs: false,
            ancestor,
        } => Err(LoadRefusal::PinOutsideBpffs {
            path: path.clone(),
            ancestor: ancestor.clone(),
        }),
        PinState::Free { ancestor, .. } => {
            let new = path
                .as_str()
                .strip_prefix(ancestor.as_str())
                .unwrap_or_default();
            let names = new.split('/').filter(|name| !name.is_empty());
            names
                .map(PinName::parse)
                .collect::<Result<Vec<_>, _>>()
                .map_err(LoadRefusal::UnsafePinPath)?;
            Ok(())
        }
        _ => Err(LoadRefusal::PinTaken(path.clone())),
    }
}

/// Where one map of the object comes from and goes to.
enum MapPlace {
    /// It is taken from a pin that exists.
    Reused(AbsolutePath),
    /// It is made, and pinned in the load's own map set.
    OwnSet(PathTemplate),
    /// It is made, and pinned under its name for everybody.
    Shared(PathTemplate),
}

fn map_places(
    spec: &LoadSpec,
    checked: &CheckedLoad,
    snapshot: &LoadSnapshot,
    layout: &RuntimeLayout,
) -> Result<Vec<(String, MapPlace)>, LoadRefusal> {
    let mut places = Vec::new();
    for map in &snapshot.object.maps {
        // A name with a dot in front stays unpinned (contract: section 5).
        if map.name.starts_with('.') && PinName::parse(map.name.trim_start_matches('.')).is_ok()
            || checked.skip_maps.contains(&map.name)
        {
            continue;
        }
        let name = PinName::parse(&map.name).map_err(LoadRefusal::UnsafeMapName)?;
        let anew = spec.other_maps.contains(&map.name);
        let shared = layout.shared_maps().join(name.as_str());
        let own_set = || {
            MapPlace::OwnSet(PathTemplate::with_id(
                format!("{}/", layout.map_sets()),
                map_set(spec, checked, snapshot),
                format!("/{name}"),
            ))
        };
        let by_name = map.kind == ObjectMapKind::PinnedByName;
        let place = match owned(&map.name, snapshot) {
            // Those who share it keep it.
            _ if anew => own_set(),
            Some(pin) => MapPlace::Reused(pin),
            None if by_name && snapshot.shared_maps.contains(&map.name) => MapPlace::Reused(shared),
            None if by_name => MapPlace::Shared(shared.into()),
            None => own_set(),
        };
        places.push((map.name.clone(), place));
    }
    Ok(places)
}

/// The pin of a map that the owner has, or another user of its map set.
fn owned(name: &str, snapshot: &LoadSnapshot) -> Option<AbsolutePath> {
    let owner = snapshot.map_owner.as_ref()?;
    let of_owner = owner.maps.iter().filter(|map| map.name == name);
    let of_set = snapshot.owner_set.iter().find(|other| *other == name);
    of_owner
        .filter_map(|map| map.pin_path.clone())
        .next()
        .or(of_set.map(|name| owner.map_directory.join(name)))
}

/// The program whose id names the map set: the owner's set, or that of the first program of the call. A set has one map
/// of a name.
fn map_set(spec: &LoadSpec, checked: &CheckedLoad, snapshot: &LoadSnapshot) -> ProgramReference {
    match (&snapshot.map_owner, checked.programs.first()) {
        (Some(owner), _) if spec.other_maps.is_empty() => ProgramReference::Known(owner.map_set()),
        (_, first) => ProgramReference::Loaded {
            program: first
                .map(|first| first.load.name.clone())
                .unwrap_or_default(),
        },
    }
}

struct Builder<'a> {
    spec: &'a LoadSpec,
    checked: &'a CheckedLoad,
    snapshot: &'a LoadSnapshot,
    layout: &'a RuntimeLayout,
    maps: Vec<(String, MapPlace)>,
    map_sizes: Vec<MapSize>,
}

impl Builder<'_> {
    fn plan(&self) -> Plan {
        let names = self.checked.programs.iter();
        let names: Vec<&str> = names.map(|program| program.load.name.as_str()).collect();
        let mut plan = Plan::new(format!("the load of {}", names.join(", ")));
        self.load(&mut plan);
        self.publish(&mut plan);
        self.pin_maps(&mut plan);
        for program in &self.checked.programs {
            self.pin_program(&mut plan, program);
        }
        let programs = &self.checked.programs;
        let record = StoreAction::RecordPrograms {
            programs: programs.iter().map(|p| self.draft(p)).collect(),
        };
        let forget = |program| StoreAction::DeleteProgram {
            program: reference(program),
        };
        let forget = batch(programs.iter().rev().map(forget).collect());
        plan.commit(record, forget.expect("a load has a program"));
        plan
    }

    fn load(&self, plan: &mut Plan) {
        let staged = self.layout.staged_object();
        make_directory(plan, self.layout.programs().into());
        plan.push(
            Action::Files(FileAction::WriteObject {
                path: staged.clone().into(),
                bytes: self.snapshot.object_bytes,
            }),
            Action::Files(FileAction::RemoveFile {
                path: staged.clone().into(),
            }),
        );
        for family in self.extended() {
            self.load_target(plan, family);
        }
        let reused = |(name, place): &(String, MapPlace)| match place {
            MapPlace::Reused(path) => Some(MapSource {
                name: name.clone(),
                path: path.clone(),
            }),
            _ => None,
        };
        let source_name = self.spec.source.path.file_name();
        plan.push(
            Action::Kernel(KernelAction::LoadObject(LoadObject {
                object: staged,
                object_name: source_name
                    .split('.')
                    .next()
                    .unwrap_or(source_name)
                    .to_owned(),
                programs: self
                    .checked
                    .programs
                    .iter()
                    .map(|program| self.to_load(program))
                    .collect(),
                globals: self.checked.globals.clone(),
                reuse_maps: self.maps.iter().filter_map(reused).collect(),
                skip_maps: self.checked.skip_maps.clone(),
                unneeded_symbols: self.checked.unneeded_symbols.clone(),
                held_programs: self
                    .checked
                    .held
                    .iter()
                    .map(|program| self.to_load(program))
                    .collect(),
                map_sizes: self.map_sizes.clone(),
            })),
            Action::Kernel(KernelAction::Release),
        );
    }

    /// What kind of extension a program becomes; `None` for one that stays what it is.
    fn extension(&self, program: &CheckedProgram) -> Option<Family> {
        match (self.spec.engine, program.program_type) {
            (Engine::Extension, ProgramType::Xdp) => Some(Family::Xdp),
            (Engine::Extension, ProgramType::Tc) => Some(Family::Tc),
            _ => None,
        }
    }

    fn extended(&self) -> impl Iterator<Item = Family> {
        let some = |family: &Family| {
            let programs = self.checked.programs.iter();
            programs
                .chain(&self.checked.held)
                .any(|program| self.extension(program) == Some(*family))
        };
        [Family::Xdp, Family::Tc].into_iter().filter(some)
    }

    /// An extension is loaded for one function and can then take the place of any like it: a dispatcher that nothing
    /// ever runs lends its first slot.
    fn load_target(&self, plan: &mut Plan, family: Family) {
        let slot = Slot {
            proceed_on: 0,
            priority: 0,
            flags: 0,
        };
        let config = DispatcherConfig::new(family, [slot].to_vec());
        let config = config.expect("a dispatcher has a slot");
        plan.push_final(
            Action::Kernel(KernelAction::LoadDispatcher(LoadDispatcher {
                name: target_name(family),
                family,
                config: Base64Bytes(config.encode()),
                frags: false,
            })),
            "a program that nothing refers to is gone when the plan ends",
        );
    }

    fn to_load(&self, program: &CheckedProgram) -> ProgramToLoad {
        let Some(family) = self.extension(program) else {
            return program.load.clone();
        };
        ProgramToLoad {
            kernel_type: KernelProgramType::EXTENSION,
            attach_type: None,
            attach_function: Some(SLOT_FUNCTIONS[0].to_owned()),
            target_program: Some(ProgramReference::Loaded {
                program: target_name(family),
            }),
            ..program.load.clone()
        }
    }

    /// Gives the object its place under the id of every program: one file, several names.
    fn publish(&self, plan: &mut Plan) {
        let staged: PathTemplate = self.layout.staged_object().into();
        for program in &self.checked.programs {
            make_directory(plan, self.program_directory(program));
            let object = self.program_file(program, "bytecode.o");
            plan.push(
                Action::Files(FileAction::Link {
                    from: staged.clone(),
                    to: object.clone(),
                }),
                Action::Files(FileAction::RemoveFile { path: object }),
            );
            if program.load.keep_instructions {
                let path = self.program_file(program, Program::INSTRUCTIONS_FILE);
                plan.push(
                    Action::Files(FileAction::KeepInstructions {
                        program: reference(program),
                        path: path.clone(),
                    }),
                    Action::Files(FileAction::RemoveFile { path }),
                );
            }
        }
        for program in &self.checked.programs {
            let path = self.program_file(program, Program::RECORD_FILE);
            plan.push(
                Action::Files(FileAction::KeepRecord {
                    program: Box::new(self.draft(program)),
                    path: path.clone(),
                }),
                Action::Files(FileAction::RemoveFile { path }),
            );
        }
        plan.push_final(
            Action::Files(FileAction::RemoveFile { path: staged }),
            "the object has its name under the program's id",
        );
    }

    fn pin_maps(&self, plan: &mut Plan) {
        let ours = self.spec.pin_path.is_none();
        let pinned = |place: &MapPlace| !matches!(place, MapPlace::Reused(_));
        if !self.snapshot.bpffs_mounted
            && (ours || self.maps.iter().any(|(_, place)| pinned(place)))
        {
            mount_bpffs(plan, self.layout);
        }
        let mut made: Vec<PathTemplate> = Vec::new();
        for (name, place) in &self.maps {
            let (directories, path) = match place {
                MapPlace::Reused(_) => continue,
                MapPlace::OwnSet(path) => (
                    [self.layout.map_sets().into(), self.map_directory()].to_vec(),
                    path,
                ),
                MapPlace::Shared(path) => ([self.layout.shared_maps().into()].to_vec(), path),
            };
            for directory in directories {
                if !made.contains(&directory) {
                    make_pin_directory(plan, directory.clone());
                    made.push(directory);
                }
            }
            let map = MapReference::Loaded { map: name.clone() };
            pin_map(plan, map, path.clone());
        }
    }

    fn pin_program(&self, plan: &mut Plan, program: &CheckedProgram) {
        if let (Some(path), Some(pin)) = (&self.spec.pin_path, &self.snapshot.pin) {
            make_parents(plan, path, pin);
        }
        pin_program(plan, reference(program), self.pin_path(program));
    }

    fn draft(&self, program: &CheckedProgram) -> ProgramDraft {
        let pin = |(name, place): &(String, MapPlace)| {
            let path = match place {
                MapPlace::Reused(path) => path.clone().into(),
                MapPlace::OwnSet(path) | MapPlace::Shared(path) => path.clone(),
            };
            (name.clone(), path)
        };
        let globals = self.spec.global_data.iter();
        let globals: BTreeMap<_, _> = globals
            .map(|(k, v)| (k.clone(), Base64Bytes(v.clone())))
            .collect();
        ProgramDraft {
            program: reference(program),
            program_name: program.load.name.clone(),
            program_type: program.program_type,
            engine: self.spec.engine,
            object_path: self.program_file(program, "bytecode.o"),
            source_path: Some(self.spec.source.typed.clone()),
            global_data: globals,
            map_sizes: self.spec.map_sizes.clone(),
            attach_function: program.attach_function.clone(),
            map_owner_id: match &self.snapshot.map_owner {
                Some(old) if self.spec.replaces_owner => old.load.map_owner_id,
                _ => self.spec.map_owner_id,
            },
            license: self.snapshot.object.license.clone(),
            pin_path: self.pin_path(program),
            map_directory: self.map_directory(),
            map_owner: Some(self.map_set()),
            metadata: self.spec.metadata.clone(),
            map_pins: self.maps.iter().map(pin).collect(),
            created_at: self.snapshot.now,
        }
    }

    fn map_set(&self) -> ProgramReference {
        map_set(self.spec, self.checked, self.snapshot)
    }

    fn map_directory(&self) -> PathTemplate {
        PathTemplate::with_id(
            format!("{}/", self.layout.map_sets()),
            self.map_set(),
            String::new(),
        )
    }

    fn program_directory(&self, program: &CheckedProgram) -> PathTemplate {
        let before = format!("{}/", self.layout.programs());
        PathTemplate::with_id(before, reference(program), String::new())
    }

    fn program_file(&self, program: &CheckedProgram, name: &str) -> PathTemplate {
        let before = format!("{}/", self.layout.programs());
        PathTemplate::with_id(before, reference(program), format!("/{name}"))
    }

    fn pin_path(&self, program: &CheckedProgram) -> PathTemplate {
        match &self.spec.pin_path {
            Some(path) => path.clone().into(),
            None => PathTemplate::with_id(
                self.layout.program_pin_prefix(),
                reference(program),
                String::new(),
            ),
        }
    }
}

fn target_name(family: Family) -> String {
    format!("an {family} dispatcher")
}

fn reference(program: &CheckedProgram) -> ProgramReference {
    ProgramReference::Loaded {
        program: program.load.name.clone(),
    }
}

pub(super) fn mount_bpffs(plan: &mut Plan, layout: &RuntimeLayout) {
    let path = layout.bpffs();
    make_directory(plan, path.clone().into());
    plan.push(
        Action::Kernel(KernelAction::MountBpffs { path: path.clone() }),
        Action::Kernel(KernelAction::UnmountBpffs { path }),
    );
}

fn make_directory(plan: &mut Plan, path: PathTemplate) {
    plan.push(
        Action::Files(FileAction::MakeDirectory { path: path.clone() }),
        Action::Files(FileAction::RemoveEmptyDirectory { path }),
    );
}
