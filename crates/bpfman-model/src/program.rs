//! Loading without an object: programs out of instructions, dispatchers and maps.

use std::collections::BTreeMap;

use bpfman_core::action::LoadDispatcher;
use bpfman_core::action::LoadProgram;
use bpfman_core::action::LoadedMap;
use bpfman_core::action::LoadedObject;
use bpfman_core::action::LoadedProgram;
use bpfman_core::action::MakeMap;
use bpfman_core::action::MapPlace;
use bpfman_core::action::Outcome;
use bpfman_core::action::PinnedProgram;
use bpfman_core::dispatcher::CONFIG_SECTION;
use bpfman_core::dispatcher::DispatcherConfig;
use bpfman_core::dispatcher::SLOT_FUNCTIONS;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::MapType;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Family;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;

use crate::Errno;
use crate::code::Body;
use crate::code::Code;
use crate::code::LOAD_MAP;
use crate::code::XDP_ATTACH_TYPE;
use crate::errno::bad_request;
use crate::known::known_program;
use crate::objects::ProcessId;
use crate::objects::kernel_name;
use crate::objects::program_facts;
use crate::objects::tag_of;
use crate::pins::expect_pin;
use crate::state::State;
use crate::tree::Node;

/// `BPF_MAP_TYPE_ARRAY` of `linux/bpf.h`: what libbpf makes of constants.
const ARRAY: MapType = MapType(2);
/// The longest name in the kernel.
const LONGEST_NAME: usize = 15;
/// `sizeof(struct bpf_insn)`.
const INSTRUCTION_BYTES: usize = 8;

/// What a lockdown refuses.
pub(crate) fn check_lockdown(
    state: &State,
    name: &str,
    kernel_type: KernelProgramType,
) -> Result<(), KernelError> {
    match state.locked_down && kernel_type == KernelProgramType::EXTENSION {
        true => Err(Errno::Permission.refusal(format!("program `{name}`"))),
        false => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), KernelError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    match (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(bad_request(format!(
            "`{name}` cannot be a name in the kernel"
        ))),
    }
}

/// Loads out of instructions; a failure leaves nothing.
pub(crate) fn load(
    state: &mut State,
    process: ProcessId,
    request: &LoadProgram,
) -> Result<Outcome, KernelError> {
    check_request(request)?;
    for PinnedProgram { program, path } in &request.programs {
        expect_pin(state, path, &Node::Program(*program))?;
    }
    let maps = open_maps(state, request)?;
    check_references(request, &maps)?;
    check_types(state, request)?;
    check_replaced(state, process, request)?;
    check_lockdown(state, &request.name, request.kernel_type)?;
    check_verifier(state, request)?;
    let instructions = &request.instructions.0;
    let objects = &mut state.objects;
    let identity = ProgramIdentity {
        id: objects.new_program_id(),
        tag: tag_of(instructions, &request.kernel_name),
        load_time: objects.now(),
    };
    let mut map_ids: Vec<MapId> = Vec::new();
    for id in maps.into_values() {
        if !map_ids.contains(&id) {
            map_ids.push(id);
        }
    }
    let program = kernel::Program {
        map_ids,
        gpl_compatible: request.license.contains("GPL"),
        ..program_facts(identity, &request.kernel_name, request.kernel_type)
    };
    let code = Code {
        attach_type: request.attach_type,
        body: Body::Instructions(instructions.clone()),
    };
    objects.add_program(process, program, code);
    Ok(loaded(&request.name, identity))
}

fn loaded(name: &str, identity: ProgramIdentity) -> Outcome {
    Outcome::Loaded(LoadedObject {
        programs: vec![LoadedProgram {
            name: name.to_owned(),
            identity,
            instructions: None,
        }],
        maps: Vec::new(),
    })
}

fn check_request(request: &LoadProgram) -> Result<(), KernelError> {
    check_name(&request.kernel_name)?;
    let length = request.instructions.0.len();
    if length == 0 || !length.is_multiple_of(INSTRUCTION_BYTES) {
        return Err(bad_request(format!(
            "{length} bytes are not whole instructions"
        )));
    }
    match request.license.contains('\0') {
        true => Err(bad_request("a license holds no NUL")),
        false => Ok(()),
    }
}

fn open_maps(state: &State, request: &LoadProgram) -> Result<BTreeMap<u32, MapId>, KernelError> {
    let sources = request.programs.iter();
    let sources = sources.filter_map(|source| state.objects.programs.get(&source.program));
    let in_use: Vec<MapId> = sources
        .flat_map(|program| program.map_ids.clone())
        .collect();
    let mut opened = BTreeMap::new();
    for reference in &request.maps {
        let id = match &reference.map {
            MapPlace::InUse(id) if in_use.contains(id) => *id,
            MapPlace::InUse(id) => {
                let message = format!("map {id} is of none of the programs");
                return Err(KernelError::new(KernelErrorKind::NotFound, message));
            }
            MapPlace::Pinned(path) => pinned_map(state, path)?,
        };
        if opened.insert(reference.instruction, id).is_some() {
            return Err(bad_request("an instruction has two maps"));
        }
    }
    Ok(opened)
}

fn pinned_map(state: &State, path: &AbsolutePath) -> Result<MapId, KernelError> {
    match state.tree.lookup(path) {
        Ok(Node::Map(id)) => Ok(id),
        Ok(found) => {
            let message = format!("{path} is {found:?}, not a map");
            Err(KernelError::new(KernelErrorKind::NotOurs, message))
        }
        Err(errno) => Err(errno.refusal(path)),
    }
}

/// That each instruction that loads a map has one, and no other.
fn check_references(request: &LoadProgram, maps: &BTreeMap<u32, MapId>) -> Result<(), KernelError> {
    let (whole, _) = request.instructions.0.as_chunks::<INSTRUCTION_BYTES>();
    let source = |registers: u8| match cfg!(target_endian = "little") {
        true => registers >> 4,
        false => registers & 0xf,
    };
    let loads = (0_u32..).zip(whole).filter(|(_, bytes)| {
        let [opcode, registers, ..] = **bytes;
        opcode == LOAD_MAP && matches!(source(registers), 1 | 2)
    });
    let loads: Vec<u32> = loads.map(|(at, _)| at).collect();
    match maps.keys().copied().eq(loads) {
        true => Ok(()),
        false => Err(bad_request("the maps are not those of the instructions")),
    }
}

fn check_types(state: &State, request: &LoadProgram) -> Result<(), KernelError> {
    let Some(types) = request.types.as_ref().filter(|types| types.btf.is_none()) else {
        return Ok(());
    };
    let first = request.programs.first();
    let first = first.and_then(|first| state.objects.programs.get(&first.program));
    let first = first.ok_or_else(|| bad_request("types of nobody"))?;
    if first.btf_id == 0 || types.functions.is_empty() {
        let message = format!("program {} has no types", first.identity.id);
        return Err(KernelError::new(KernelErrorKind::NotFound, message));
    }
    Ok(())
}

fn check_replaced(
    state: &mut State,
    process: ProcessId,
    request: &LoadProgram,
) -> Result<(), KernelError> {
    match &request.replaces {
        Some(slot) => {
            let dispatcher = known_program(&slot.program)?;
            check_slot(state, process, dispatcher, &slot.function)
        }
        None => Ok(()),
    }
}

/// That a process holds a program with this function to replace.
pub(crate) fn check_slot(
    state: &mut State,
    process: ProcessId,
    dispatcher: ProgramId,
    function: &str,
) -> Result<(), KernelError> {
    if !state.objects.held(process).programs.contains(&dispatcher) {
        return Err(bad_request(format!("program {dispatcher} is not held")));
    }
    let code = state.objects.codes.get(&dispatcher).map(|code| &code.body);
    match matches!(code, Some(Body::Dispatcher(..))) && SLOT_FUNCTIONS.contains(&function) {
        true => Ok(()),
        false => {
            let message = format!("program {dispatcher} has no function `{function}`");
            Err(KernelError::new(KernelErrorKind::NotFound, message))
        }
    }
}

fn check_verifier(state: &State, request: &LoadProgram) -> Result<(), KernelError> {
    let count = request.instructions.0.len() / INSTRUCTION_BYTES;
    match state.most_instructions.is_some_and(|most| count > most) {
        true => {
            let message = format!("program `{}`: too large", request.name);
            Err(KernelError::new(KernelErrorKind::Verifier, message))
        }
        false => Ok(()),
    }
}

/// Loads a dispatcher, which holds the map of its constants itself.
pub(crate) fn load_dispatcher(
    state: &mut State,
    process: ProcessId,
    request: &LoadDispatcher,
) -> Result<Outcome, KernelError> {
    let family = request.family;
    if request.frags && family != Family::Xdp {
        return Err(bad_request("only XDP programs take packets in fragments"));
    }
    let config = DispatcherConfig::decode(family, &request.config.0);
    let config = config.map_err(|error| bad_request(error.to_string()))?;
    let (kernel_type, attach_type) = match family {
        Family::Xdp => (KernelProgramType::XDP, XDP_ATTACH_TYPE),
        Family::Tc => (KernelProgramType::SCHED_CLS, 0),
    };
    let objects = &mut state.objects;
    let identity = ProgramIdentity {
        id: objects.new_program_id(),
        tag: tag_of(b"dispatcher", family.dispatcher()),
        load_time: objects.now(),
    };
    let constants = objects.new_map_id();
    let map = map_facts(constants, CONFIG_SECTION, ARRAY, request.config.0.len());
    objects.maps.insert(constants, map);
    let program = kernel::Program {
        btf_id: 1,
        map_ids: vec![constants],
        gpl_compatible: true,
        ..program_facts(identity, family.dispatcher(), kernel_type)
    };
    let body = Body::Dispatcher(family, config);
    objects.add_program(process, program, Code { attach_type, body });
    Ok(loaded(&request.name, identity))
}

fn map_facts(id: MapId, name: &str, map_type: MapType, value_bytes: usize) -> kernel::Map {
    kernel::Map {
        id,
        name: kernel_name(name),
        map_type,
        key_size: 4,
        value_size: u32::try_from(value_bytes).unwrap_or(u32::MAX),
        max_entries: 1,
        flags: 0,
        btf_id: 0,
        map_extra: 0,
        memlock: None,
        frozen: Some(false),
    }
}

pub(crate) fn make_map(
    state: &mut State,
    process: ProcessId,
    request: &MakeMap,
) -> Result<Outcome, KernelError> {
    check_name(&request.kernel_name)?;
    if [request.key_size, request.value_size, request.max_entries].contains(&0) {
        let message = format!("map `{}`: this kernel makes no such map", request.name);
        return Err(KernelError::new(KernelErrorKind::Unsupported, message));
    }
    let id = state.objects.new_map_id();
    let map = kernel::Map {
        key_size: request.key_size,
        max_entries: request.max_entries,
        value_size: request.value_size,
        ..map_facts(id, &request.kernel_name, MapType(request.map_type), 0)
    };
    state.objects.maps.insert(id, map);
    state.objects.held(process).maps.insert(id);
    Ok(Outcome::Loaded(LoadedObject {
        programs: Vec::new(),
        maps: vec![LoadedMap {
            name: request.name.clone(),
            id,
        }],
    }))
}
