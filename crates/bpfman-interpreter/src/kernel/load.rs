//! Loading programs of one object.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::InstructionReference;
use bpfman_core::action::KeptInstructions;
use bpfman_core::action::LoadObject;
use bpfman_core::action::LoadedMap;
use bpfman_core::action::LoadedObject;
use bpfman_core::action::LoadedProgram;
use bpfman_core::action::MapSource;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::MapType;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::MapId;
use bpfman_core::types::section_match;
use libbpf_rs::MapCore;
use libbpf_rs::Object;
use libbpf_rs::OpenMapMut;
use libbpf_rs::OpenObject;
use libbpf_rs::OpenProgramMut;

use super::errors;
use super::errors::bad_request;
use super::errors::refused;
use super::info;
use super::sys;
use super::sys::Loading;
use crate::interfaces::Detail;

/// `BPF_PSEUDO_MAP_FD` and `BPF_PSEUDO_MAP_VALUE` of `linux/bpf.h`: an `ld_imm64` that loads a map.
const MAP_REFERENCES: [u8; 2] = [1, 2];
/// The opcode of `ld_imm64`: `BPF_LD | BPF_DW | BPF_IMM`.
const LD_IMM64: u8 = 0x18;
const INSTRUCTION_BYTES: usize = 8;

/// What a load made, with the descriptors that keep it alive, in the same order.
pub(super) struct Loaded {
    pub(super) object: LoadedObject,
    pub(super) programs: Vec<OwnedFd>,
    pub(super) maps: Vec<OwnedFd>,
}

/// Loads; a failure leaves nothing.
pub(super) fn load(request: &LoadObject) -> Result<Loaded, KernelError> {
    errors::take_warnings();
    let path = request.object.as_str();
    let mut loading = Loading::open(&request.object_name, path)
        .map_err(|error| errors::open_refused(path, &error))?;
    // Open until the load: libbpf keeps only their numbers.
    let targets = prepare_programs(loading.object_mut(), request)?;
    prepare_maps(loading.object_mut(), request)?;
    set_globals(loading.object_mut(), request)?;
    let types: Vec<KernelProgramType> = loading
        .object()
        .progs()
        .filter(libbpf_rs::OpenProgram::autoload)
        .map(|program| KernelProgramType(sys::program_type(&program)))
        .collect();
    let object = loading
        .load()
        .map_err(|error| errors::load_refused(error.errno, &error.log, &types))?;
    drop(targets);
    check_loaded(&object, request)?;
    collect(object, request)
}

fn prepare_programs(
    object: &mut OpenObject,
    request: &LoadObject,
) -> Result<Vec<OwnedFd>, KernelError> {
    let mut targets = Vec::new();
    let mut found = 0;
    for mut program in object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let wanted = request.programs.iter().find(|wanted| wanted.name == name);
        // libbpf decides on struct_ops programs by their maps, and refuses a load that disagrees.
        program.set_autoload(wanted.is_some());
        let Some(wanted) = wanted else { continue };
        found += 1;
        let what = format!("program `{name}`");
        check_extension(&what, &program, wanted)?;
        prepare_program(&mut program, wanted, &mut targets)
            .map_err(|error| attach_refused(&what, wanted, &error))?;
    }
    if found == request.programs.len() {
        return Ok(targets);
    }
    let has = |name: &str| object.progs().any(|program| program.name() == name);
    let missing: Vec<&str> = request
        .programs
        .iter()
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
    targets: &mut Vec<OwnedFd>,
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
    let target = wanted.target_program.map(|id| sys::program_by_id(id.0));
    let target = target.transpose()?;
    if target.is_some() || wanted.attach_function.is_some() {
        let function = wanted.attach_function.as_deref();
        sys::set_attach_target(program, target.as_ref().map(AsFd::as_fd), function)?;
    }
    targets.extend(target);
    Ok(())
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
        let place = match wanted.target_program {
            Some(id) => format!("program {id}"),
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
    let kind = sys::open_map_type(map);
    let entries = map.max_entries();
    let same = there.map_type.0 == kind
        && there.key_size == map.key_size()
        && there.value_size == map.value_size()
        && (entries == 0 || there.max_entries == entries)
        && there.flags == map.map_flags();
    if !same {
        let message = format!(
            "map `{}` is declared as {}, but map {} at {path} is {}",
            source.name,
            shape(
                kind,
                map.key_size(),
                map.value_size(),
                entries,
                map.map_flags()
            ),
            there.id,
            shape(
                there.map_type.0,
                there.key_size,
                there.value_size,
                there.max_entries,
                there.flags
            ),
        );
        return Err(KernelError::new(KernelErrorKind::MapMismatch, message));
    }
    sys::reuse_map(map, fd.as_fd()).map_err(|error| refused(path, &error))
}

fn shape(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> String {
    let kind = MapType(kind);
    format!("{kind} (key {key} bytes, value {value} bytes, {entries} entries, flags {flags:#x})")
}

/// The name of a map in its object; for the map of a data section, which libbpf may call `OBJECT.rodata`,
/// that of the section. Names of C hold no dot.
fn section_or_name(name: &str) -> String {
    const SECTIONS: [&str; 4] = [".rodata", ".data", ".bss", ".kconfig"];
    let section = SECTIONS.iter().find(|section| name.ends_with(**section));
    match section {
        Some(section) if !name.starts_with('.') => (*section).to_owned(),
        _ => name.to_owned(),
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
        let wanted = request.programs.iter().any(|wanted| wanted.name == name);
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

fn collect(mut object: Object, request: &LoadObject) -> Result<Loaded, KernelError> {
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
        let bytes = || sys::instruction_bytes(&program);
        let instructions = wanted
            .keep_instructions
            .then(|| keep(&wanted.name, bytes(), &map_numbers));
        loaded.object.programs.push(LoadedProgram {
            name: wanted.name.clone(),
            identity: facts.identity,
            instructions,
        });
    }
    Ok(loaded)
}

fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// Replaces the map descriptors in instructions, which mean nothing to another process, by names.
fn keep(program: &str, mut bytes: Vec<u8>, maps: &[(i32, String)]) -> KeptInstructions {
    let mut references = Vec::new();
    for (at, instruction) in (0_u32..).zip(bytes.chunks_exact_mut(INSTRUCTION_BYTES)) {
        // The register byte holds the source in its upper half, on big-endian machines in its lower.
        let source = if cfg!(target_endian = "little") {
            instruction[1] >> 4
        } else {
            instruction[1] & 0xf
        };
        if instruction[0] != LD_IMM64 || !MAP_REFERENCES.contains(&source) {
            continue;
        }
        let imm = [
            instruction[4],
            instruction[5],
            instruction[6],
            instruction[7],
        ];
        let number = i32::from_ne_bytes(imm);
        if let Some((_, name)) = maps.iter().find(|(fd, _)| *fd == number) {
            instruction[4..].fill(0);
            references.push(InstructionReference {
                instruction: at,
                map: name.clone(),
            });
        }
    }
    KeptInstructions {
        version: KeptInstructions::VERSION,
        program: program.to_owned(),
        instructions: Base64Bytes(bytes),
        references,
    }
}
