//! What the programs of a load reach, and what of their object is therefore left out.
//!
//! A program array that is filled where it is declared holds programs that nobody may have named. They are loaded along:
//! a tail call into an empty slot silently goes on, and who loads a program means it to run as it is written. They
//! belong to the array alone, and end with it; whoever wants to manage one names it.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::LoadRefusal;
use super::request::CheckedProgram;
use super::request::check_program;
use crate::links::LinkKind;
use crate::managed::MAX_PROGRAMS_PER_LOAD;
use crate::managed::ProgramRequest;
use crate::object::CONFIGURATION;
use crate::object::Extern;
use crate::object::ExternKind;
use crate::object::ObjectFacts;
use crate::object::ObjectMapKind;
use crate::object::Reach;
use crate::object::References;
use crate::types::section_match;

/// What follows from what the programs reach.
#[derive(Default)]
pub(super) struct Reached {
    pub(super) skip_maps: Vec<String>,
    pub(super) held: Vec<CheckedProgram>,
    pub(super) unneeded_symbols: Vec<String>,
    pub(super) needed_symbols: Vec<Extern>,
}

/// # Errors
/// [`LoadRefusal::HeldProgram`], and [`LoadRefusal::MissingSymbol`] for a symbol that nobody can define.
pub(super) fn reached(
    programs: &[CheckedProgram],
    object: &ObjectFacts,
) -> Result<Reached, LoadRefusal> {
    let references = &object.references;
    let names: Vec<&str> = programs.iter().map(|p| p.load.name.as_str()).collect();
    let reach = references.reach(&names);
    let mut reached = Reached {
        held: held(programs, &reach, object)?,
        ..Reached::default()
    };
    if !is_known(&names, references) {
        return Ok(reached);
    }
    // Programs of a socket map are attached to it, and need not name it.
    let of_socket_map = programs
        .iter()
        .any(|program| LinkKind::Sockmap.takes(program.program_type));
    let made_if_used = |kind: &ObjectMapKind| !matches!(kind, ObjectMapKind::StructOps { .. });
    let maps = object.maps.iter().filter(|map| made_if_used(&map.kind));
    let maps = maps.filter(|map| !of_socket_map && !reach.maps.contains(&map.name));
    reached.skip_maps = maps.map(|map| map.name.clone()).collect();
    if only_others_are_configured(&reach, references) {
        reached.skip_maps.push(CONFIGURATION.to_owned());
    }
    for (number, symbol) in references.externs.iter().enumerate() {
        match symbol.kind {
            _ if !reach.externs.contains(&number) => {
                reached.unneeded_symbols.push(symbol.name.clone());
            }
            ExternKind::Undefined => return Err(missing_symbol(&names, object, symbol)),
            _ if symbol.weak => {}
            _ => reached.needed_symbols.push(symbol.clone()),
        }
    }
    Ok(reached)
}

/// Whether values of the kernel's configuration, which libbpf keeps in a map, are there for other programs only.
fn only_others_are_configured(reach: &Reach, references: &References) -> bool {
    let externs = references.externs.iter().enumerate();
    let mut configured = externs
        .filter(|(_, symbol)| matches!(symbol.kind, ExternKind::Configuration(_)))
        .peekable();
    configured.peek().is_some() && configured.all(|(number, _)| !reach.externs.contains(&number))
}

/// Whether all that these programs refer to is known.
fn is_known(names: &[&str], references: &References) -> bool {
    let functions = references.functions.iter();
    let known: BTreeSet<&str> = functions.filter_map(|f| f.program.as_deref()).collect();
    !references.incomplete && names.iter().all(|name| known.contains(name))
}

/// The refusal of a load whose programs need a symbol that nobody defines. It names the one that does: of these or, when
/// it is reached through an array only, the one in that.
#[must_use]
pub fn missing_symbol(names: &[&str], object: &ObjectFacts, symbol: &Extern) -> LoadRefusal {
    let references = &object.references;
    let held = references.reach(names).held;
    let users = held.keys().map(String::as_str).chain(names.iter().copied());
    let mut users = users.filter(|name| {
        let externs = references.reach(&[name]).externs;
        let mut found = externs.iter().filter_map(|at| references.externs.get(*at));
        found.any(|found| found == symbol)
    });
    let program = users.next().or(names.first().copied());
    LoadRefusal::MissingSymbol {
        program: program.unwrap_or_default().to_owned(),
        symbol: symbol.clone(),
    }
}

/// The programs that the arrays of the named ones hold.
fn held(
    programs: &[CheckedProgram],
    reach: &Reach,
    object: &ObjectFacts,
) -> Result<Vec<CheckedProgram>, LoadRefusal> {
    let given = programs.len() + reach.held.len();
    if !reach.held.is_empty() && given > MAX_PROGRAMS_PER_LOAD {
        let limit = MAX_PROGRAMS_PER_LOAD;
        return Err(LoadRefusal::TooManyPrograms { given, limit });
    }
    let mut holders: BTreeMap<String, &CheckedProgram> = BTreeMap::new();
    for holder in programs.iter().filter(|_| !reach.held.is_empty()) {
        let own = object.references.reach(&[&holder.load.name]).held;
        for name in own.into_keys() {
            holders.entry(name).or_insert(holder);
        }
    }
    let mut found = Vec::new();
    for (name, array) in &reach.held {
        let Some(holder) = holders.get(name) else {
            continue;
        };
        let checked = check_held(name, holder, object);
        found.push(checked.map_err(|why| LoadRefusal::HeldProgram {
            array: array.clone(),
            holder: holder.load.name.clone(),
            program: name.clone(),
            why: Box::new(why),
            named: programs.iter().map(as_asked).collect(),
        })?);
    }
    Ok(found)
}

/// A program in an array is of the type of the program that calls it: its section may leave it open.
fn check_held(
    name: &str,
    holder: &CheckedProgram,
    object: &ObjectFacts,
) -> Result<CheckedProgram, LoadRefusal> {
    let program = object.programs.iter().find(|program| program.name == name);
    let program = program.ok_or_else(|| LoadRefusal::NoSuchProgram {
        name: name.to_owned(),
        available: Vec::new(),
    })?;
    let own = section_match(&program.section).is_some();
    let request = ProgramRequest {
        name: name.to_owned(),
        program_type: (!own).then_some(holder.program_type),
        attach_function: None,
    };
    let mut checked = check_program(&request, program)?;
    if !own {
        checked.load.flags = holder.load.flags;
    }
    checked.load.keep_instructions = false;
    Ok(checked)
}

/// A program as `--programs` takes it.
pub(super) fn as_asked(program: &CheckedProgram) -> String {
    let (kind, name) = (program.program_type, &program.load.name);
    match &program.attach_function {
        Some(function) => format!("{kind}:{name}:{function}"),
        None => format!("{kind}:{name}"),
    }
}
