//! Checks a load against its object: what is asked for, in the object's own terms.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::LoadRefusal;
use super::map_sizes;
use super::reached::as_asked;
use super::reached::reached;
use crate::action::GlobalValue;
use crate::action::ProgramReference;
use crate::action::ProgramToLoad;
use crate::managed::LoadSpec;
use crate::managed::MAX_METADATA_ENTRIES;
use crate::managed::MAX_PROGRAMS_PER_LOAD;
use crate::managed::ProgramRequest;
use crate::object::Extern;
use crate::object::ObjectFacts;
use crate::object::ObjectMapKind;
use crate::object::ObjectProgram;
use crate::types::AttachFunctionRule;
use crate::types::Base64Bytes;
use crate::types::ProgramId;
use crate::types::ProgramType;
use crate::types::section_match;

/// A load whose names, types and globals the object confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedLoad {
    /// The programs, in the order asked for.
    pub programs: Vec<CheckedProgram>,
    /// The globals to set.
    pub globals: Vec<GlobalValue>,
    /// The maps not to make.
    pub skip_maps: Vec<String>,
    /// Programs that nobody named and that program arrays of the named ones hold.
    pub held: Vec<CheckedProgram>,
    /// The symbols that no program needs.
    pub unneeded_symbols: Vec<String>,
    /// The symbols of the kernel that must be there.
    pub needed_symbols: Vec<Extern>,
}

/// One program of a [`CheckedLoad`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedProgram {
    /// Its type.
    pub program_type: ProgramType,
    /// The attach function as the user or the section names it.
    pub attach_function: Option<String>,
    /// What the loader is told.
    pub load: ProgramToLoad,
}

/// Checks a request against the facts of its object.
///
/// # Errors
/// The first [`LoadRefusal`] that the object alone can tell.
pub fn check_load(spec: &LoadSpec, object: &ObjectFacts) -> Result<CheckedLoad, LoadRefusal> {
    check_counts(spec)?;
    let sections: BTreeMap<&str, &ObjectProgram> = object
        .programs
        .iter()
        .map(|p| (p.name.as_str(), p))
        .collect();
    if sections.is_empty() {
        return Err(LoadRefusal::NoProgram);
    }
    let mut programs: Vec<CheckedProgram> = Vec::new();
    for request in &spec.programs {
        if programs.iter().any(|p| p.load.name == request.name) {
            return Err(LoadRefusal::NamedTwice(request.name.clone()));
        }
        let found =
            sections
                .get(request.name.as_str())
                .ok_or_else(|| LoadRefusal::NoSuchProgram {
                    name: request.name.clone(),
                    available: object.programs.iter().map(|p| p.name.clone()).collect(),
                })?;
        programs.push(check_program(request, found)?);
    }
    check_engine(spec, &programs)?;
    map_sizes::check(&spec.map_sizes, object)?;
    let reached = reached(&programs, object)?;
    let skip_maps = [unneeded_struct_ops(&programs, object)?, reached.skip_maps].concat();
    // A replacement keeps the sizes of a load that may have named more programs.
    if !spec.replaces_owner {
        map_sizes::check_used(&spec.map_sizes, object, &skip_maps)?;
    }
    Ok(CheckedLoad {
        globals: check_globals(spec, object)?,
        skip_maps,
        held: reached.held,
        unneeded_symbols: reached.unneeded_symbols,
        needed_symbols: reached.needed_symbols,
        programs,
    })
}

/// An engine that was asked for must matter to a program: it says how programs share an interface.
fn check_engine(spec: &LoadSpec, programs: &[CheckedProgram]) -> Result<(), LoadRefusal> {
    let shares = |program: &CheckedProgram| program.program_type.keeps_instructions();
    match programs.first() {
        Some(first) if spec.engine_asked && !programs.iter().any(shares) => {
            Err(LoadRefusal::EngineWithoutEffect {
                engine: spec.engine,
                program: first.load.name.clone(),
                program_type: first.program_type,
            })
        }
        _ => Ok(()),
    }
}

fn check_counts(spec: &LoadSpec) -> Result<(), LoadRefusal> {
    let given = spec.programs.len();
    if given == 0 {
        return Err(LoadRefusal::NothingNamed);
    }
    if given > MAX_PROGRAMS_PER_LOAD {
        let limit = MAX_PROGRAMS_PER_LOAD;
        return Err(LoadRefusal::TooManyPrograms { given, limit });
    }
    if spec.metadata.len() > MAX_METADATA_ENTRIES {
        return Err(LoadRefusal::TooMuchMetadata {
            given: spec.metadata.len(),
            limit: MAX_METADATA_ENTRIES,
        });
    }
    match &spec.pin_path {
        Some(_) if given > 1 => Err(LoadRefusal::OnePinPathForMany(given)),
        _ => Ok(()),
    }
}

pub(super) fn check_program(
    request: &ProgramRequest,
    found: &ObjectProgram,
) -> Result<CheckedProgram, LoadRefusal> {
    let section = section_match(&found.section);
    let program_type = match (request.program_type, section) {
        (Some(declared), Some(section)) if !section.program_type.may_be_declared(declared) => {
            return Err(LoadRefusal::TypeMismatch {
                program: request.name.clone(),
                section: found.section.clone(),
                found: section.program_type,
                declared,
            });
        }
        (Some(declared), _) => declared,
        (None, Some(section)) => section.program_type,
        (None, None) => {
            return Err(LoadRefusal::UnknownType {
                program: request.name.clone(),
                section: found.section.clone(),
            });
        }
    };
    let section_target = section.and_then(|section| section.target);
    let function = attach_function(request, program_type, section_target)?;
    let (target_program, attach_to) = match (&function, program_type) {
        (Some(given), ProgramType::Freplace) => {
            let (id, name) = extension_target(&request.name, given)?;
            (Some(ProgramReference::Known(id)), Some(name))
        }
        // The section says the same: libbpf reads it there.
        (Some(name), _) if section_target != Some(name.as_str()) => (None, Some(name.clone())),
        _ => (None, None),
    };
    Ok(CheckedProgram {
        program_type,
        attach_function: function,
        load: ProgramToLoad {
            name: request.name.clone(),
            kernel_type: program_type.kernel_type(),
            attach_type: program_type.expected_attach_type(),
            flags: section.map_or(0, |section| section.flags),
            attach_function: attach_to,
            target_program,
            keep_instructions: program_type.keeps_instructions(),
        },
    })
}

/// The function a program binds to. A declared type must name it where the contract says so; a type read
/// from the section may leave it to the section.
fn attach_function(
    request: &ProgramRequest,
    program_type: ProgramType,
    section_target: Option<&str>,
) -> Result<Option<String>, LoadRefusal> {
    let rule = program_type.attach_function_rule();
    let missing = || match program_type {
        ProgramType::Freplace => LoadRefusal::ExtensionTargetMissing(request.name.clone()),
        _ => LoadRefusal::AttachFunctionMissing {
            program: request.name.clone(),
            program_type,
        },
    };
    match (rule, &request.attach_function) {
        (AttachFunctionRule::Refused, Some(_)) => Err(LoadRefusal::AttachFunctionRefused {
            program: request.name.clone(),
            program_type,
        }),
        (AttachFunctionRule::Refused, None) => Ok(None),
        (_, Some(given)) => Ok(Some(given.clone())),
        (AttachFunctionRule::Required, None) if request.program_type.is_some() => Err(missing()),
        (_, None) => section_target
            .map(|target| Some(target.to_owned()))
            .ok_or_else(missing),
    }
}

fn extension_target(program: &str, given: &str) -> Result<(ProgramId, String), LoadRefusal> {
    given
        .split_once('/')
        .and_then(|(id, function)| Some((ProgramId(id.parse().ok()?), function.to_owned())))
        .filter(|(_, function)| !function.is_empty())
        .ok_or_else(|| LoadRefusal::BadExtensionTarget {
            program: program.to_owned(),
            given: given.to_owned(),
        })
}

fn check_globals(spec: &LoadSpec, object: &ObjectFacts) -> Result<Vec<GlobalValue>, LoadRefusal> {
    let check = |(name, value): (&String, &Vec<u8>)| {
        let global = object.globals.iter().find(|global| global.name == *name);
        let global = global.ok_or_else(|| LoadRefusal::NoSuchGlobal {
            name: name.clone(),
            available: object
                .globals
                .iter()
                .map(|global| global.name.clone())
                .collect(),
        })?;
        let given = value.len() as u64;
        if given != global.size {
            return Err(LoadRefusal::GlobalSize {
                name: name.clone(),
                expected: global.size,
                given,
            });
        }
        Ok(GlobalValue {
            section: global.section.clone(),
            offset: global.offset,
            value: Base64Bytes(value.clone()),
        })
    };
    spec.global_data.iter().map(check).collect()
}

/// libbpf loads the programs of every struct_ops map it makes. So a map none of whose programs is named is
/// not made, and one that is made needs all its programs named: none is loaded behind the user's back.
fn unneeded_struct_ops(
    programs: &[CheckedProgram],
    object: &ObjectFacts,
) -> Result<Vec<String>, LoadRefusal> {
    let mut skip = Vec::new();
    for map in &object.maps {
        let ObjectMapKind::StructOps { programs: members } = &map.kind else {
            continue;
        };
        let named = |name: &&String| programs.iter().any(|program| program.load.name == **name);
        let missing: Vec<String> = members
            .iter()
            .filter(|name| !named(name))
            .cloned()
            .collect();
        if missing.len() == members.len() {
            skip.push(map.name.clone());
        } else if !missing.is_empty() {
            return Err(LoadRefusal::IncompleteStructOps {
                map: map.name.clone(),
                missing,
                named: programs.iter().map(as_asked).collect(),
            });
        }
    }
    Ok(skip)
}
