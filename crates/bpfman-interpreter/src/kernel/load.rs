//! Loading programs of one object.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::FunctionInfo;
use bpfman_core::action::KeptInstructions;
use bpfman_core::action::LoadObject;
use bpfman_core::action::LoadedMap;
use bpfman_core::action::LoadedObject;
use bpfman_core::action::LoadedProgram;
use bpfman_core::action::MapSource;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::MapShape;
use bpfman_core::kernel::MapType;
use bpfman_core::object::inspect;
use bpfman_core::object::prune;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::MapId;
use bpfman_core::types::section_match;
use libbpf_rs::MapCore;
use libbpf_rs::Object;
use libbpf_rs::OpenMapMut;
use libbpf_rs::OpenObject;
use libbpf_rs::OpenProgramMut;
use libbpf_rs::Program;
use libbpf_rs::libbpf_sys::bpf_func_info;

use super::HeldPrograms;
use super::errors;
use super::errors::bad_request;
use super::errors::refused;
use super::info;
use super::instructions;
use super::map_sizes;
use super::map_sizes::machine;
use super::map_sizes::section_or_name;
use super::sys;
use super::sys::LoadedWith;
use super::sys::Loading;
use crate::interfaces::Detail;

/// What a load made, with the descriptors that keep it alive, in the same order.
pub(super) struct Loaded {
    pub(super) object: LoadedObject,
    pub(super) programs: Vec<OwnedFd>,
    pub(super) maps: Vec<OwnedFd>,
}

/// Loads; a failure leaves nothing.
pub(super) fn load(request: &LoadObject, held: &HeldPrograms) -> Result<Loaded, KernelError> {
    let keeps = request.programs.iter().any(|p| p.keep_instructions);
    // A verifier that is asked for statistics says less about a refusal: then the load without them is the one to hear.
    if keeps && let Ok(loaded) = load_once(request, held, true) {
        return Ok(loaded);
    }
    load_once(request, held, false)
}

fn load_once(
    request: &LoadObject,
    held: &HeldPrograms,
    statistics: bool,
) -> Result<Loaded, KernelError> {
    errors::take_warnings();
    let mut loading = open(request)?;
    // Open until the load: libbpf keeps only their numbers.
    let targets = prepare_programs(loading.object_mut(), request, held)?;
    let templates = map_sizes::set(loading.object_mut(), request)?;
    prepare_maps(loading.object_mut(), request)?;
    set_globals(loading.object_mut(), request)?;
    let kept = request.programs.iter().filter(|p| p.keep_instructions);
    for program in kept.filter(|_| statistics) {
        loading.want_statistics(program.name.clone());
    }
    let loaded = load_open(loading, |symbol| user_of(symbol, request))?;
    drop((targets, templates));
    check_loaded(&loaded.object, request)?;
    collect(loaded, request)
}

/// Opens the object; without what no program of the load uses, for libbpf resolves and fills everything.
fn open(request: &LoadObject) -> Result<Loading, KernelError> {
    let (name, path) = (&request.object_name, request.object.as_str());
    let opened = match request.unneeded_symbols.is_empty() && request.skip_maps.is_empty() {
        true => Loading::open(name, path),
        false => {
            let bytes = fs::read(path).map_err(|error| refused(path, &error))?;
            let pruned = prune(&bytes, &request.unneeded_symbols, &request.skip_maps);
            let pruned = pruned.map_err(|error| {
                KernelError::new(KernelErrorKind::InvalidObject, format!("{path}: {error}"))
            })?;
            Loading::open_bytes(name, &pruned.bytes, &pruned.configuration)
        }
    };
    opened.map_err(|error| errors::open_refused(path, &error))
}

/// The program that uses a symbol: libbpf does not say which.
fn user_of(symbol: &str, request: &LoadObject) -> Option<String> {
    let bytes = fs::read(request.object.as_str()).ok()?;
    let references = inspect(&bytes).ok()?.references;
    let uses = |program: &&ProgramToLoad| {
        let externs = references.reach(&[&program.name]).externs.into_iter();
        let mut found = externs.filter_map(|at| references.externs.get(at));
        found.any(|found| found.name == symbol)
    };
    // A program in an array first: who calls it reaches all that it uses.
    let mut programs = request.held_programs.iter().chain(&request.programs);
    programs.find(uses).map(|program| program.name.clone())
}

/// The programs of a load: those asked for, then those that their arrays hold.
fn wanted(request: &LoadObject) -> impl Iterator<Item = &ProgramToLoad> {
    request.programs.iter().chain(&request.held_programs)
}

/// Loads what is prepared; `user` names the program that uses a symbol.
pub(super) fn load_open(
    loading: Loading,
    user: impl Fn(&str) -> Option<String>,
) -> Result<LoadedWith, KernelError> {
    let programs = loading.object().progs();
    let types: Vec<KernelProgramType> = programs
        .filter(libbpf_rs::OpenProgram::autoload)
        .map(|program| KernelProgramType(sys::program_type(&program)))
        .collect();
    loading
        .load()
        .map_err(|error| errors::load_refused(error.errno, &error.log, &types, user))
}

fn prepare_programs(
    object: &mut OpenObject,
    request: &LoadObject,
    held: &HeldPrograms,
) -> Result<Vec<OwnedFd>, KernelError> {
    let mut targets = Vec::new();
    let mut found = 0;
    for mut program in object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let wanted = wanted(request).find(|wanted| wanted.name == name);
        // libbpf decides on struct_ops programs by their maps, and refuses a load that disagrees.
        program.set_autoload(wanted.is_some());
        let Some(wanted) = wanted else { continue };
        found += 1;
        let what = format!("program `{name}`");
        check_extension(&what, &program, wanted)?;
        let target = open_target(&what, wanted, held)?;
        prepare_program(&mut program, wanted, target.as_ref())
            .map_err(|error| attach_refused(&what, wanted, &error))?;
        targets.extend(target);
    }
    if found == wanted(request).count() {
        return Ok(targets);
    }
    let has = |name: &str| object.progs().any(|program| program.name() == name);
    let missing: Vec<&str> = wanted(request)
        .map(|program| program.name.as_str())
        .filter(|name| !has(name))
        .collect();
    let kind = KernelErrorKind::NotFound;
    let message = format!(
        "{} has no program `{}`",
        request.object,
        missing.join("`, `")
    );
    Err(if missing.is_empty() {
        bad_request("a program is named twice")
    } else {
        KernelError::new(kind, message)
    })
}

/// The kernel would say of an extension without its target only that something is invalid.
fn check_extension(
    what: &str,
    program: &OpenProgramMut<'_>,
    wanted: &ProgramToLoad,
) -> Result<(), KernelError> {
    let kind = match wanted.kernel_type {
        KernelProgramType::UNSPEC => KernelProgramType(sys::program_type(program)),
        known => known,
    };
    if kind == KernelProgramType::EXTENSION && wanted.target_program.is_none() {
        return Err(bad_request(format!(
            "{what} is an extension: `target_program` and `attach_function` must name what it replaces"
        )));
    }
    Ok(())
}

fn prepare_program(
    program: &mut OpenProgramMut<'_>,
    wanted: &ProgramToLoad,
    target: Option<&OwnedFd>,
) -> io::Result<()> {
    let derived = sys::program_type(program);
    let mut kernel_type = wanted.kernel_type;
    let mut attach_type = wanted.attach_type;
    let mut flags = wanted.flags;
    if kernel_type == KernelProgramType::UNSPEC {
        // The section decides: as libbpf reads it or, where it cannot, as we do.
        kernel_type = KernelProgramType(derived);
        let section = program.section().to_string_lossy();
        if let (0, Some(found)) = (derived, section_match(&section)) {
            kernel_type = found.program_type.kernel_type();
            attach_type = found.program_type.expected_attach_type();
            flags |= found.flags;
        }
    }
    // Setting a type makes libbpf forget what else the section says, so only where it must change.
    if kernel_type.0 != derived {
        sys::set_program_type(program, kernel_type.0)?;
        sys::set_attach_type(program, attach_type.unwrap_or_default())?;
    } else if let Some(attach_type) = attach_type
        && attach_type != sys::attach_type(program)
    {
        sys::set_attach_type(program, attach_type)?;
    }
    if flags != sys::flags(program) {
        sys::set_flags(program, flags)?;
    }
    if target.is_some() || wanted.attach_function.is_some() {
        let function = wanted.attach_function.as_deref();
        sys::set_attach_target(program, target.map(AsFd::as_fd), function)?;
    }
    Ok(())
}

/// Opens the program that an extension replaces a function of: one that is held, or any by its id.
fn open_target(
    what: &str,
    wanted: &ProgramToLoad,
    held: &HeldPrograms,
) -> Result<Option<OwnedFd>, KernelError> {
    let Some(target) = &wanted.target_program else {
        return Ok(None);
    };
    let id = super::known_program(target)?;
    let opened = match held.get(&id) {
        Some(fd) => duplicate(fd.as_fd()),
        None => sys::program_by_id(id.0),
    };
    opened
        .map(Some)
        .map_err(|error| refused(&format!("{what}: program {id}"), &error))
}

/// A program that cannot be bound to its function.
fn attach_refused(what: &str, wanted: &ProgramToLoad, error: &io::Error) -> KernelError {
    let mut refusal = refused(what, error);
    let missing = matches!(
        refusal.kind,
        KernelErrorKind::NotFound | KernelErrorKind::Other
    );
    if missing && let Some(function) = &wanted.attach_function {
        refusal.kind = KernelErrorKind::NotFound;
        let place = match &wanted.target_program {
            Some(target) => format!("program {target}"),
            None => "this kernel".to_owned(),
        };
        refusal.message = format!("{what}: {place} has no function or hook `{function}`");
    }
    refusal
}

fn prepare_maps(object: &mut OpenObject, request: &LoadObject) -> Result<(), KernelError> {
    let mut reused = Vec::new();
    let mut skipped = Vec::new();
    for mut map in object.maps_mut() {
        let name = section_or_name(&map.name().to_string_lossy());
        let what = format!("map `{name}`");
        // Pinning is a step of its own, with an undo of its own.
        sys::clear_pin_path(&mut map).map_err(|error| refused(&what, &error))?;
        if request.skip_maps.contains(&name) {
            sys::set_autocreate(&mut map, false).map_err(|error| refused(&what, &error))?;
            skipped.push(name);
        } else if let Some(source) = request.reuse_maps.iter().find(|s| s.name == name) {
            reuse(&mut map, source)?;
            reused.push(name);
        }
    }
    let sources = request.reuse_maps.iter().map(|source| &source.name);
    let unknown = sources
        .filter(|name| !reused.contains(name))
        .chain(
            request
                .skip_maps
                .iter()
                .filter(|name| !skipped.contains(name)),
        )
        .next();
    match unknown {
        Some(name) => Err(bad_request(format!(
            "{} has no map `{name}`",
            request.object
        ))),
        None => Ok(()),
    }
}

fn reuse(map: &mut OpenMapMut<'_>, source: &MapSource) -> Result<(), KernelError> {
    let path = source.path.as_str();
    let fd = sys::open_pin(path).map_err(|error| refused(path, &error))?;
    if super::object_kind(fd.as_fd()) != super::ObjectKind::Map {
        let message = format!("{path} is not the pin of a map");
        return Err(KernelError::new(KernelErrorKind::MapMismatch, message));
    }
    let there = info::map(fd.as_fd(), Detail::Info).map_err(|error| refused(path, &error))?;
    let declared = declared(map);
    let existing = there.shape();
    let machine = machine().map_err(|error| refused(path, &error))?;
    if !declared.accepts(&existing, machine) {
        let name = &source.name;
        let id = there.id;
        let message =
            format!("map `{name}` is declared as {declared}, but map {id} at {path} is {existing}");
        return Err(KernelError {
            map: Some(name.clone()),
            ..KernelError::new(KernelErrorKind::MapMismatch, message)
        });
    }
    sys::reuse_map(map, fd.as_fd()).map_err(|error| refused(path, &error))
}

/// What libbpf would make of a declaration.
fn declared(map: &OpenMapMut<'_>) -> MapShape {
    MapShape {
        map_type: MapType(sys::open_map_type(map)),
        key_size: map.key_size(),
        value_size: map.value_size(),
        max_entries: map.max_entries(),
        flags: map.map_flags(),
        map_extra: sys::open_map_extra(map),
    }
}

fn set_globals(object: &mut OpenObject, request: &LoadObject) -> Result<(), KernelError> {
    for global in &request.globals {
        let section = &global.section;
        let mut map = object
            .maps_mut()
            .find(|map| section_or_name(&map.name().to_string_lossy()) == *section)
            .ok_or_else(|| bad_request(format!("no data section `{section}`")))?;
        let data = map
            .initial_value_mut()
            .ok_or_else(|| bad_request(format!("section `{section}` holds no data")))?;
        let start = usize::try_from(global.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(global.value.0.len());
        data.get_mut(start..end)
            .ok_or_else(|| bad_request(format!("a global lies outside section `{section}`")))?
            .copy_from_slice(&global.value.0);
    }
    Ok(())
}

/// libbpf loads the programs of the struct_ops maps it makes, whatever was named: exactly the named ones
/// must be there.
fn check_loaded(object: &Object, request: &LoadObject) -> Result<(), KernelError> {
    for program in object.progs() {
        let name = program.name().to_string_lossy();
        let wanted = wanted(request).any(|wanted| wanted.name == name);
        match (wanted, sys::loaded_program(&program).is_some()) {
            (true, false) => {
                return Err(bad_request(format!(
                    "program `{name}` is not loaded: no struct_ops map that uses it is made"
                )));
            }
            (false, true) => {
                return Err(bad_request(format!(
                    "program `{name}` would be loaded too: a struct_ops map that uses it is made"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

fn collect(made: LoadedWith, request: &LoadObject) -> Result<Loaded, KernelError> {
    let LoadedWith {
        mut object,
        statistics,
    } = made;
    let mut loaded = Loaded {
        object: LoadedObject::default(),
        programs: Vec::new(),
        maps: Vec::new(),
    };
    let mut map_numbers = Vec::new();
    for map in object.maps_mut() {
        let name = section_or_name(&map.name().to_string_lossy());
        let Some(fd) = sys::loaded_map(&map).filter(|_| map.autocreate()) else {
            continue;
        };
        let failed = |error: io::Error| refused(&format!("map `{name}`"), &error);
        let id = MapId(sys::map_info(fd).map_err(failed)?.id);
        loaded.maps.push(duplicate(fd).map_err(failed)?);
        map_numbers.push((fd.as_raw_fd(), name.clone()));
        loaded.object.maps.push(LoadedMap { name, id });
    }
    for wanted in &request.programs {
        let failed = |error: io::Error| refused(&format!("program `{}`", wanted.name), &error);
        let program = object.progs().find(|p| p.name() == wanted.name.as_str());
        let gone = || bad_request(format!("program `{}` is not loaded", wanted.name));
        let program = program.ok_or_else(gone)?;
        let fd = sys::loaded_program(&program).ok_or_else(gone)?;
        let facts = info::program(fd, Detail::Info).map_err(failed)?;
        loaded.programs.push(duplicate(fd).map_err(failed)?);
        let kept = || keep(wanted, &program, &facts, &map_numbers, &statistics);
        let instructions = wanted.keep_instructions.then(kept);
        loaded.object.programs.push(LoadedProgram {
            name: wanted.name.clone(),
            identity: facts.identity,
            instructions,
        });
    }
    Ok(loaded)
}

pub(super) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// A program's instructions as libbpf left them, for another process to build a program from.
fn keep(
    wanted: &ProgramToLoad,
    program: &Program<'_>,
    facts: &kernel::Program,
    maps: &[(i32, String)],
    statistics: &[(String, String)],
) -> KeptInstructions {
    let mut bytes = sys::instruction_bytes(program);
    let log = statistics.iter().find(|(of, _)| *of == wanted.name);
    let stack_depths =
        log.map_or_else(Vec::new, |(_, log)| instructions::stack_depths(log, &bytes));
    let functions = sys::functions(program).into_iter();
    let function = |record: bpf_func_info| FunctionInfo {
        instruction: record.insn_off,
        type_id: record.type_id,
    };
    KeptInstructions {
        version: KeptInstructions::VERSION,
        program: wanted.name.clone(),
        references: instructions::take_maps(&mut bytes, maps),
        instructions: Base64Bytes(bytes),
        attach_type: sys::attach_type(program),
        flags: sys::flags(program) | section_flags(program, facts.program_type),
        stack_depths,
        // Their types are those of the program's BTF in the kernel.
        functions: match facts.btf_id {
            0 => Vec::new(),
            _ => functions.map(function).collect(),
        },
    }
}

/// The flags that libbpf adds by the section when it loads, unless the program was given another type.
fn section_flags(program: &Program<'_>, kernel_type: KernelProgramType) -> u32 {
    let section = program.section().to_string_lossy();
    let found =
        section_match(&section).filter(|found| found.program_type.kernel_type() == kernel_type);
    found.map_or(0, |found| found.flags)
}
