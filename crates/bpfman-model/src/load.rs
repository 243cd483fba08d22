//! Loading programs of one object. The object is a real one; what would run is made up.

use bpfman_core::action::LoadObject;
use bpfman_core::action::LoadedMap;
use bpfman_core::action::LoadedObject;
use bpfman_core::action::LoadedProgram;
use bpfman_core::action::Outcome;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::MapType;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::object::CONFIGURATION;
use bpfman_core::object::ExternKind;
use bpfman_core::object::ObjectFacts;
use bpfman_core::object::ObjectMapKind;
use bpfman_core::object::ObjectProgram;
use bpfman_core::object::inspect;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::MapId;
use bpfman_core::types::section_match;

use crate::Errno;
use crate::code::Code;
use crate::errno::bad_request;
use crate::known::known_program;
use crate::objects::Objects;
use crate::objects::ProcessId;
use crate::objects::kernel_name;
use crate::objects::program_facts;
use crate::objects::tag_of;
use crate::program;
use crate::state::State;
use crate::tree::Content;
use crate::tree::Node;
use crate::tree::Tree;

/// `BPF_MAP_TYPE_*` of `linux/bpf.h`: the three types there are in this world.
const HASH: MapType = MapType(1);
const ARRAY: MapType = MapType(2);
const STRUCT_OPS: MapType = MapType(26);

/// The BTF of every object's programs: what it says is not looked at.
const OBJECT_TYPES: u32 = 1;

/// A map that the object declares and the load needs.
struct Declared {
    name: String,
    map_type: MapType,
    /// The map that is taken instead of making one.
    reused: Option<MapId>,
}

/// Loads; a failure leaves nothing.
pub(crate) fn load(
    state: &mut State,
    process: ProcessId,
    request: &LoadObject,
) -> Result<Outcome, KernelError> {
    let Content(bytes) = open(&state.tree, &request.object)?;
    let facts = inspect(&bytes).map_err(|error| {
        let message = format!("{}: {error}", request.object);
        KernelError::new(KernelErrorKind::InvalidObject, message)
    })?;
    let programs = find_programs(&state.objects, &facts, request)?;
    for (wanted, kernel_type) in &programs {
        program::check_lockdown(state, &wanted.name, *kernel_type)?;
    }
    let maps = declared_maps(state, &facts, request)?;
    check_globals(&facts, request)?;
    check_struct_ops(&facts, request)?;
    for (wanted, kernel_type) in &programs {
        if *kernel_type == KernelProgramType::UNSPEC {
            let message = format!("program `{}`: unknown type", wanted.name);
            return Err(KernelError::new(KernelErrorKind::Unsupported, message));
        }
    }
    // From here on nothing fails.
    let objects = &mut state.objects;
    let made: Vec<LoadedMap> = maps.iter().map(|map| make_map(objects, map)).collect();
    let map_ids: Vec<MapId> = made.iter().map(|map| map.id).collect();
    let gpl = facts.license.is_some_and(|license| license.contains("GPL"));
    let mut loaded = LoadedObject {
        programs: Vec::new(),
        maps: made,
    };
    for (wanted, kernel_type) in programs {
        let identity = ProgramIdentity {
            id: objects.new_program_id(),
            tag: tag_of(&bytes, &wanted.name),
            load_time: objects.now(),
        };
        let program = kernel::Program {
            btf_id: OBJECT_TYPES,
            map_ids: map_ids.clone(),
            gpl_compatible: gpl,
            ..program_facts(identity, &wanted.name, kernel_type)
        };
        let code = Code::of_object(wanted, kernel_type);
        let kept = wanted
            .keep_instructions
            .then(|| code.kept(wanted, identity.id, &loaded.maps));
        objects.add_program(process, program, code);
        loaded.programs.push(LoadedProgram {
            name: wanted.name.clone(),
            identity,
            instructions: kept,
        });
    }
    objects.held(process).maps.extend(map_ids);
    Ok(Outcome::Loaded(loaded))
}

fn open(tree: &Tree, path: &AbsolutePath) -> Result<Content, KernelError> {
    match tree.lookup(path) {
        Ok(Node::File(content)) => Ok(content),
        Ok(_) => {
            let message = format!("{path}: not an object file");
            Err(KernelError::new(KernelErrorKind::InvalidObject, message))
        }
        Err(errno) => Err(errno.refusal(path)),
    }
}

/// The programs in the order asked for, with the type each is loaded as.
fn find_programs<'request>(
    objects: &Objects,
    facts: &ObjectFacts,
    request: &'request LoadObject,
) -> Result<Vec<(&'request ProgramToLoad, KernelProgramType)>, KernelError> {
    let mut found: Vec<(&ProgramToLoad, KernelProgramType)> = Vec::new();
    for wanted in &request.programs {
        let program = facts.programs.iter().find(|p| p.name == wanted.name);
        let program = program.ok_or_else(|| {
            let message = format!("{} has no program `{}`", request.object, wanted.name);
            KernelError::new(KernelErrorKind::NotFound, message)
        })?;
        if found.iter().any(|(other, _)| other.name == wanted.name) {
            return Err(bad_request("a program is named twice"));
        }
        let kernel_type = kernel_type(wanted, program);
        check_target(objects, wanted, kernel_type)?;
        found.push((wanted, kernel_type));
    }
    Ok(found)
}

/// What an extension replaces must be there.
fn check_target(
    objects: &Objects,
    wanted: &ProgramToLoad,
    kernel_type: KernelProgramType,
) -> Result<(), KernelError> {
    let name = &wanted.name;
    let Some(reference) = &wanted.target_program else {
        return match kernel_type {
            KernelProgramType::EXTENSION => {
                let message = format!("program `{name}` is an extension: it needs its target");
                Err(bad_request(message))
            }
            _ => Ok(()),
        };
    };
    let target = known_program(reference)?;
    if !objects.programs.contains_key(&target) {
        let message = format!("program `{name}`: no program {target}");
        return Err(KernelError::new(KernelErrorKind::NotFound, message));
    }
    Ok(())
}

fn kernel_type(wanted: &ProgramToLoad, program: &ObjectProgram) -> KernelProgramType {
    if wanted.kernel_type != KernelProgramType::UNSPEC {
        return wanted.kernel_type;
    }
    let section = section_match(&program.section);
    section.map_or(KernelProgramType::UNSPEC, |found| {
        found.program_type.kernel_type()
    })
}

/// The maps of the load in libbpf's order: declared ones, data sections, struct_ops.
fn declared_maps(
    state: &State,
    facts: &ObjectFacts,
    request: &LoadObject,
) -> Result<Vec<Declared>, KernelError> {
    let is_struct_ops = |kind: &ObjectMapKind| matches!(kind, ObjectMapKind::StructOps { .. });
    let (struct_ops, plain): (Vec<_>, Vec<_>) =
        facts.maps.iter().partition(|map| is_struct_ops(&map.kind));
    let plain = plain.iter().map(|map| (&map.name, HASH));
    let sections = facts.data_sections.iter().map(|name| (name, ARRAY));
    let struct_ops = struct_ops.iter().map(|map| (&map.name, STRUCT_OPS));
    let configuration = CONFIGURATION.to_owned();
    let mut externs = facts.references.externs.iter();
    let configured = externs.any(|found| matches!(found.kind, ExternKind::Configuration(_)));
    let configured = configured.then_some((&configuration, ARRAY));
    let all: Vec<(&String, MapType)> = plain
        .chain(sections)
        .chain(configured)
        .chain(struct_ops)
        .collect();

    let reused = request.reuse_maps.iter().map(|source| &source.name);
    for name in reused.chain(&request.skip_maps) {
        if !all.iter().any(|(declared, _)| *declared == name) {
            let message = format!("{} has no map `{name}`", request.object);
            return Err(bad_request(message));
        }
    }
    let mut maps = Vec::new();
    for (name, map_type) in all {
        if request.skip_maps.contains(name) {
            continue;
        }
        let source = request
            .reuse_maps
            .iter()
            .find(|source| source.name == *name);
        let reused = source.map(|source| reuse(state, map_type, &source.path));
        maps.push(Declared {
            name: name.clone(),
            map_type,
            reused: reused.transpose()?,
        });
    }
    Ok(maps)
}

fn reuse(state: &State, map_type: MapType, path: &AbsolutePath) -> Result<MapId, KernelError> {
    let mismatch = |what: &str| {
        let message = format!("{path} is {what}");
        KernelError::new(KernelErrorKind::MapMismatch, message)
    };
    match state.tree.lookup(path) {
        Ok(Node::Map(id)) => match state.objects.maps.get(&id) {
            Some(map) if map.map_type == map_type => Ok(id),
            _ => Err(mismatch("the pin of another kind of map")),
        },
        Ok(Node::Program(_) | Node::Link(_)) => Err(mismatch("not the pin of a map")),
        // `bpf_inode_type` of the kernel: what is no pin cannot be opened as one.
        Ok(_) => Err(Errno::Access.refusal(path)),
        Err(errno) => Err(errno.refusal(path)),
    }
}

fn check_globals(facts: &ObjectFacts, request: &LoadObject) -> Result<(), KernelError> {
    for global in &request.globals {
        let section = &global.section;
        if !facts.data_sections.contains(section) {
            return Err(bad_request(format!("no data section `{section}`")));
        }
        let of_section = facts.globals.iter().filter(|g| g.section == *section);
        let bytes = of_section.map(|g| g.offset.saturating_add(g.size)).max();
        let end = global.offset.saturating_add(global.value.0.len() as u64);
        if bytes.is_none_or(|bytes| end > bytes) {
            let message = format!("a global lies outside section `{section}`");
            return Err(bad_request(message));
        }
    }
    Ok(())
}

/// libbpf loads the programs of the struct_ops maps it makes, whatever was named: exactly the named ones must be
/// there.
fn check_struct_ops(facts: &ObjectFacts, request: &LoadObject) -> Result<(), KernelError> {
    let mut members = Vec::new();
    for map in &facts.maps {
        if let ObjectMapKind::StructOps { programs } = &map.kind
            && !request.skip_maps.contains(&map.name)
        {
            members.extend(programs);
        }
    }
    for program in &facts.programs {
        let section = program.section.trim_start_matches('?');
        if !section.starts_with("struct_ops") {
            continue;
        }
        let name = &program.name;
        let wanted = request.programs.iter().any(|wanted| wanted.name == *name);
        if wanted != members.contains(&name) {
            let message = format!("program `{name}` and its struct_ops map go together");
            return Err(bad_request(message));
        }
    }
    Ok(())
}

fn make_map(objects: &mut Objects, declared: &Declared) -> LoadedMap {
    let name = declared.name.clone();
    if let Some(id) = declared.reused {
        return LoadedMap { name, id };
    }
    let id = objects.new_map_id();
    let map = kernel::Map {
        id,
        name: kernel_name(&name),
        map_type: declared.map_type,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        btf_id: 0,
        map_extra: 0,
        memlock: None,
        frozen: Some(false),
    };
    objects.maps.insert(id, map);
    LoadedMap { name, id }
}
