//! Loading a program out of instructions.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::FunctionInfo;
use bpfman_core::action::InstructionMap;
use bpfman_core::action::LoadProgram;
use bpfman_core::action::LoadedProgram;
use bpfman_core::action::MapPlace;
use bpfman_core::action::PinnedProgram;
use bpfman_core::action::ProgramTypes;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::MapId;
use libbpf_rs::libbpf_sys::bpf_func_info;

use super::HeldPrograms;
use super::ObjectKind;
use super::check_name;
use super::errors;
use super::errors::bad_request;
use super::errors::refused;
use super::held;
use super::info;
use super::instructions;
use super::known_program;
use super::open_expected;
use super::open_program;
use super::sys;
use super::sys::INSTRUCTION_BYTES;
use super::sys::RawProgram;
use crate::interfaces::Detail;

/// A program whose maps and types are used; its descriptor keeps them alive until the load is done.
struct Source {
    _fd: OwnedFd,
    facts: kernel::Program,
}

/// Loads; answers the program with its descriptor.
pub(super) fn load(
    request: &LoadProgram,
    programs: &HeldPrograms,
) -> Result<(LoadedProgram, OwnedFd), KernelError> {
    let name = &request.name;
    check_request(request)?;
    let sources = open_sources(request)?;
    let mut bytes = request.instructions.0.clone();
    // Open until the load: the instructions hold only their numbers.
    let maps = open_maps(request, &sources)?;
    let numbers = maps.iter().map(|(at, fd)| (*at, fd.as_raw_fd())).collect();
    instructions::put_maps(&mut bytes, numbers).map_err(|at| {
        bad_request(format!(
            "program `{name}`: instruction {at} loads a map that is not named, or is named and loads none"
        ))
    })?;
    let types = request.types.as_ref();
    let functions = types.map_or_else(Vec::new, function_records);
    let types = types
        .map(|types| open_types(name, types, &sources))
        .transpose()?;
    let replaces = replaced_function(request, programs)?;
    let raw = RawProgram {
        name: &request.kernel_name,
        license: &request.license,
        kernel_type: request.kernel_type.0,
        attach_type: request.attach_type,
        flags: request.flags,
        instructions: &bytes,
        types: types.as_ref().map(|fd| (fd.as_fd(), functions.as_slice())),
        replaces,
    };
    let fd = sys::load_program(&raw).map_err(|error| {
        errors::program_refused(name, error.errno, &error.log, request.kernel_type)
    })?;
    let facts = info::program(fd.as_fd(), Detail::Info)
        .map_err(|error| refused(&format!("program `{name}`"), &error))?;
    let loaded = LoadedProgram {
        name: name.clone(),
        identity: facts.identity,
        instructions: None,
    };
    Ok((loaded, fd))
}

/// What the kernel would only call invalid.
fn check_request(request: &LoadProgram) -> Result<(), KernelError> {
    check_name(&request.kernel_name)?;
    let length = request.instructions.0.len();
    if length == 0 || !length.is_multiple_of(INSTRUCTION_BYTES) {
        let message = format!(
            "program `{}`: {length} bytes are not whole instructions",
            request.name
        );
        return Err(bad_request(message));
    }
    if request.license.contains('\0') {
        return Err(bad_request("a license holds no NUL"));
    }
    Ok(())
}

fn open_sources(request: &LoadProgram) -> Result<Vec<Source>, KernelError> {
    let open = |pinned: &PinnedProgram| {
        let fd = open_program(pinned.program, &pinned.path)?;
        let facts = info::program(fd.as_fd(), Detail::Info)
            .map_err(|error| refused(pinned.path.as_str(), &error))?;
        Ok(Source { _fd: fd, facts })
    };
    request.programs.iter().map(open).collect()
}

fn open_maps(
    request: &LoadProgram,
    sources: &[Source],
) -> Result<BTreeMap<u32, OwnedFd>, KernelError> {
    let ids = sources.iter().flat_map(|source| &source.facts.map_ids);
    let ids: HashSet<MapId> = ids.copied().collect();
    let mut opened = BTreeMap::new();
    for InstructionMap { instruction, map } in &request.maps {
        let fd = match map {
            MapPlace::InUse(id) if ids.contains(id) => {
                sys::map_by_id(id.0).map_err(|error| refused(&format!("map {id}"), &error))?
            }
            MapPlace::InUse(id) => {
                let message = format!(
                    "program `{}`: map {id} is of none of the programs that it is made of",
                    request.name
                );
                return Err(KernelError::new(KernelErrorKind::NotFound, message));
            }
            MapPlace::Pinned(path) => pinned_map(path)?,
        };
        if opened.insert(*instruction, fd).is_some() {
            let message = format!(
                "program `{}`: instruction {instruction} has two maps",
                request.name
            );
            return Err(bad_request(message));
        }
    }
    Ok(opened)
}

fn pinned_map(path: &AbsolutePath) -> Result<OwnedFd, KernelError> {
    open_expected(path, ObjectKind::Map)?.ok_or_else(|| {
        let message = format!("nothing is pinned at {path}");
        KernelError::new(KernelErrorKind::NotFound, message)
    })
}

fn function_records(types: &ProgramTypes) -> Vec<bpf_func_info> {
    let functions = types.functions.iter();
    let record = |function: &FunctionInfo| bpf_func_info {
        insn_off: function.instruction,
        type_id: function.type_id,
    };
    functions.map(record).collect()
}

fn open_types(
    name: &str,
    types: &ProgramTypes,
    sources: &[Source],
) -> Result<OwnedFd, KernelError> {
    if let Some(bytes) = &types.btf {
        return sys::load_types(&bytes.0)
            .map_err(|error| errors::types_refused(name, error.errno, &error.log));
    }
    let first = sources.first();
    let first =
        first.ok_or_else(|| bad_request(format!("program `{name}` has types of nobody")))?;
    let (id, types) = (first.facts.identity.id, first.facts.btf_id);
    if types == 0 {
        let message = format!("program {id} has no types that program `{name}` could use");
        return Err(KernelError::new(KernelErrorKind::NotFound, message));
    }
    sys::types_by_id(types).map_err(|error| refused(&format!("types of program {id}"), &error))
}

/// The program and the type of the function that an extension replaces.
fn replaced_function<'held>(
    request: &LoadProgram,
    programs: &'held HeldPrograms,
) -> Result<Option<(BorrowedFd<'held>, u32)>, KernelError> {
    let Some(slot) = &request.replaces else {
        return Ok(None);
    };
    let target = held(programs, known_program(&slot.program)?)?;
    let function = function_type(target, &slot.function)?;
    Ok(Some((target, function)))
}

/// The type of a function of a program.
pub(super) fn function_type(program: BorrowedFd<'_>, function: &str) -> Result<u32, KernelError> {
    let facts = info::program(program, Detail::Info)
        .map_err(|error| refused("the program that is extended", &error))?;
    let id = facts.identity.id;
    let missing = || {
        let message = format!("program {id} has no function `{}`", function.escape_debug());
        KernelError::new(KernelErrorKind::NotFound, message)
    };
    if facts.btf_id == 0 || function.contains('\0') {
        return Err(missing());
    }
    sys::function_type(facts.btf_id, function).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => refused(&format!("types of program {id}"), &error),
    })
}
