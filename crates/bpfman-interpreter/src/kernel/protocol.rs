//! The protocol of the `bpfman-kernel` helper: one JSON object a line in each direction.
//!
//! A request has a field `op`: that of a [`KernelAction`], or one of [`Query`]. An answer is
//! `{"ok":true,...}` or `{"ok":false,"error":KernelError}`. A request with a field that nobody reads is refused.

use std::collections::BTreeMap;
use std::io;
use std::io::BufRead;
use std::io::Read;
use std::io::Write;
use std::path::Path;

use bpfman_core::action::KernelAction;
use bpfman_core::action::LoadObject;
use bpfman_core::action::Outcome;
use bpfman_core::action::PathTemplate;
use bpfman_core::action::ProgramReference;
use bpfman_core::compute::LoadRefusal;
use bpfman_core::compute::check_load;
use bpfman_core::compute::map_sizes;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::ProgramRequest;
use bpfman_core::object::inspect;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::Engine;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::json;

use super::LibbpfKernel;
use super::errors::bad_request;
use super::errors::refused;
use super::pins;
use crate::files::ReadObjectError;
use crate::files::read_object;
use crate::interfaces::Detail;
use crate::interfaces::KernelExecutor;
use crate::interfaces::KernelReader;
use crate::interfaces::KernelSource;

/// The longest request line, in bytes without its newline. The largest requests carry global variables.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;

/// The largest object file that [`Query::Load`] reads, in bytes.
const MAX_OBJECT_BYTES: u64 = 16 << 20;

/// The requests that are not a [`KernelAction`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Query {
    /// Loads one program and pins it; nothing stays held, and a failure leaves nothing.
    Load(LoadAndPin),
    /// All programs.
    Programs,
    /// What is at a path.
    PinState {
        /// The path.
        path: AbsolutePath,
        /// How much to ask.
        #[serde(default = "full")]
        detail: Detail,
    },
    /// A program by id.
    Program {
        /// The id.
        id: ProgramId,
        /// How much to ask.
        #[serde(default = "full")]
        detail: Detail,
    },
    /// A map by id.
    Map {
        /// The id.
        id: MapId,
    },
    /// A BTF by id.
    Types {
        /// The id.
        btf_id: u32,
    },
    /// All links.
    Links,
    /// A link by id.
    Link {
        /// The id.
        id: KernelLinkId,
    },
    /// What is attached to programs themselves.
    ProgramHooks {
        /// The programs.
        programs: Vec<ProgramId>,
    },
    /// What is attached to a cgroup.
    CgroupPrograms {
        /// Its directory.
        cgroup: AbsolutePath,
        /// `enum bpf_attach_type` of `linux/bpf.h`.
        attach_type: u32,
    },
    /// What is attached at a hook of an interface.
    Attached {
        /// The interface.
        interface: InterfaceTarget,
        /// The hook.
        hook: Hook,
    },
    /// The program of a filter.
    TcFilter {
        /// The filter.
        filter: TcFilter,
    },
    /// What a pinned counter has counted.
    Counter {
        /// Its pin.
        path: AbsolutePath,
    },
    /// Waits until links are gone; answers which are left.
    AwaitLinksGone {
        /// The links.
        links: Vec<KernelLinkId>,
    },
    /// Every pin below a directory of a bpffs.
    PinsBelow {
        /// The directory.
        path: AbsolutePath,
    },
    /// Whether a bpffs is mounted at exactly this directory.
    IsBpffsRoot {
        /// The directory.
        path: AbsolutePath,
    },
    /// What there is of a bpffs at exactly this directory, and whether a mount would last.
    BpffsMount {
        /// The directory.
        path: AbsolutePath,
    },
    /// Lets go of what is held.
    Finish,
}

/// What [`Query::Load`] loads and where it pins it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadAndPin {
    /// The object file.
    pub object: AbsolutePath,
    /// The program's function; its section says its type.
    pub program: String,
    /// The function or hook it binds to, for an extension `PROGRAM_ID/FUNCTION`; by default the section's.
    #[serde(default)]
    pub attach_function: Option<String>,
    /// The new pin; missing directories above it are made.
    pub pin_path: AbsolutePath,
    /// The name that the maps of data sections carry; by default the file's.
    #[serde(default)]
    pub object_name: Option<String>,
}

fn full() -> Detail {
    Detail::Full
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Carries an action out.
    Action(KernelAction),
    /// Anything else.
    Query(Query),
}

/// The ops of [`Query`].
const QUERIES: [&str; 18] = [
    "load",
    "programs",
    "pin_state",
    "program",
    "map",
    "types",
    "links",
    "link",
    "program_hooks",
    "cgroup_programs",
    "attached",
    "tc_filter",
    "counter",
    "await_links_gone",
    "pins_below",
    "is_bpffs_root",
    "bpffs_mount",
    "finish",
];

impl Request {
    /// Reads a request line.
    ///
    /// # Errors
    /// [`KernelErrorKind::BadRequest`], saying what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, KernelError> {
        let wrong = |error: serde_json::Error| bad_request(format!("bad request: {error}"));
        if line.len() > MAX_REQUEST_BYTES {
            return Err(too_long());
        }
        let value: Value = serde_json::from_slice(line).map_err(wrong)?;
        let op = value.get("op").and_then(Value::as_str);
        let op = op.ok_or_else(|| bad_request("bad request: no field `op` that is a string"))?;
        if QUERIES.contains(&op) {
            return read_whole(&value).map(Self::Query);
        }
        read_whole(&value).map(Self::Action)
    }
}

/// Reads a request of which every field must be known. `deny_unknown_fields` does not do: serde lets fields of
/// variants without any and of untagged enums pass.
fn read_whole<T: DeserializeOwned + Serialize>(given: &Value) -> Result<T, KernelError> {
    let wrong = |error: serde_json::Error| bad_request(format!("bad request: {error}"));
    let request = T::deserialize(given).map_err(wrong)?;
    let understood = serde_json::to_value(&request).map_err(wrong)?;
    match unknown_field(given, &understood) {
        Some(field) => Err(bad_request(format!("bad request: unknown field `{field}`"))),
        None => Ok(request),
    }
}

/// The first field of `given` that `understood` lacks, with the way to it.
fn unknown_field(given: &Value, understood: &Value) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.iter().find_map(|(name, value)| {
                let Some(known) = understood.get(name) else {
                    return Some(name.clone());
                };
                let field = unknown_field(value, known)?;
                Some(if field.starts_with('[') {
                    format!("{name}{field}")
                } else {
                    format!("{name}.{field}")
                })
            })
        }
        (Value::Array(given), Value::Array(understood)) => {
            let mut pairs = given.iter().zip(understood).enumerate();
            pairs.find_map(|(at, (given, understood))| {
                let field = unknown_field(given, understood)?;
                Some(format!("[{at}].{field}"))
            })
        }
        _ => None,
    }
}

fn too_long() -> KernelError {
    bad_request(format!(
        "bad request: longer than {MAX_REQUEST_BYTES} bytes"
    ))
}

/// Answers one request line; the answer has no newline.
pub fn answer(kernel: &mut LibbpfKernel, line: &[u8]) -> String {
    let answer = Request::parse(line).and_then(|request| match request {
        Request::Action(action) => kernel.execute(&action).and_then(to_value),
        Request::Query(query) => query_answer(kernel, query),
    });
    render(answer)
}

fn render(answer: Result<Value, KernelError>) -> String {
    let value = match answer {
        Ok(mut value) => {
            if let Some(fields) = value.as_object_mut() {
                fields.insert("ok".to_owned(), Value::Bool(true));
            }
            value
        }
        Err(error) => json!({"ok": false, "error": error}),
    };
    value.to_string()
}

fn to_value(outcome: Outcome) -> Result<Value, KernelError> {
    serde_json::to_value(outcome)
        .map_err(|error| KernelError::new(KernelErrorKind::Other, error.to_string()))
}

fn query_answer(kernel: &mut LibbpfKernel, query: Query) -> Result<Value, KernelError> {
    Ok(match query {
        Query::Load(request) => load_and_pin(&request)?,
        Query::Programs => {
            let mut programs = Vec::new();
            let mut errors = Vec::new();
            for item in kernel.programs() {
                match item {
                    Ok(program) => programs.push(program),
                    Err(error) => errors.push(error),
                }
            }
            json!({"programs": programs, "errors": errors})
        }
        Query::PinState { path, detail } => json!({"state": kernel.pin_state(&path, detail)?}),
        Query::Program { id, detail } => json!({"program": kernel.program(id, detail)?}),
        Query::Map { id } => json!({"map": kernel.map(id)?}),
        Query::Types { btf_id } => {
            json!({"types": kernel.types(btf_id)?.map(Base64Bytes)})
        }
        Query::Links => json!({"links": kernel.links()?}),
        Query::Link { id } => json!({"link": kernel.link(id)?}),
        Query::ProgramHooks { programs } => {
            json!({"hooks": kernel.program_hooks(&programs)?})
        }
        Query::CgroupPrograms {
            cgroup,
            attach_type,
        } => json!({"programs": kernel.cgroup_programs(&cgroup, attach_type)?}),
        Query::Attached { interface, hook } => {
            json!({"attached": kernel.attached(&interface, hook)?})
        }
        Query::TcFilter { filter } => json!({"program": kernel.tc_filter(&filter)?}),
        Query::Counter { path } => json!({"counter": kernel.counter(&path)?}),
        Query::AwaitLinksGone { links } => json!({"left": kernel.await_links_gone(&links)?}),
        Query::PinsBelow { path } => json!({"pins": kernel.pins_below(&path)?}),
        Query::IsBpffsRoot { path } => json!({"is_bpffs_root": kernel.is_bpffs_root(&path)?}),
        Query::BpffsMount { path } => json!({"mount": kernel.bpffs_mount(&path)?}),
        Query::Finish => {
            kernel.finish();
            json!({})
        }
    })
}

/// The action of a [`LoadAndPin`]: what the object and the request say together, as in a manager's plan.
fn load_action(request: &LoadAndPin) -> Result<KernelAction, KernelError> {
    let path = &request.object;
    let invalid = |why: String| KernelError::new(KernelErrorKind::InvalidObject, why);
    let bytes =
        read_object(Path::new(path.as_str()), MAX_OBJECT_BYTES).map_err(|error| match &error {
            ReadObjectError::System { source, .. } => refused(path.as_str(), source),
            _ => invalid(error.to_string()),
        })?;
    let facts = inspect(&bytes).map_err(|error| invalid(format!("{path}: {error}")))?;
    let spec = LoadSpec {
        source: path.clone().into(),
        programs: vec![ProgramRequest {
            name: request.program.clone(),
            program_type: None,
            attach_function: request.attach_function.clone(),
        }],
        global_data: BTreeMap::new(),
        map_sizes: BTreeMap::new(),
        metadata: BTreeMap::new(),
        map_owner_id: None,
        replaces_owner: false,
        other_maps: Vec::new(),
        pin_path: Some(request.pin_path.clone()),
        engine: Engine::default(),
        engine_asked: false,
    };
    let refused = |refusal| {
        let kind = match refusal {
            LoadRefusal::NoProgram | LoadRefusal::NoSuchProgram { .. } => KernelErrorKind::NotFound,
            _ => KernelErrorKind::BadRequest,
        };
        KernelError::new(kind, format!("{path}: {refusal}"))
    };
    let checked = check_load(&spec, &facts).map_err(refused)?;
    let map_sizes = map_sizes(&spec.map_sizes, &facts, &checked.skip_maps, &[]).map_err(refused)?;
    let stem = path.file_name().split('.').next();
    let object_name = request.object_name.as_deref().or(stem).unwrap_or_default();
    let programs = checked.programs.into_iter();
    Ok(KernelAction::LoadObject(LoadObject {
        object: path.clone(),
        object_name: object_name.to_owned(),
        programs: programs.map(|program| program.load).collect(),
        globals: Vec::new(),
        reuse_maps: Vec::new(),
        skip_maps: checked.skip_maps,
        unneeded_symbols: checked.unneeded_symbols,
        held_programs: checked
            .held
            .into_iter()
            .map(|program| program.load)
            .collect(),
        map_sizes,
    }))
}

/// Loads and pins with a kernel of its own, so that what a plan holds stays as it is.
fn load_and_pin(request: &LoadAndPin) -> Result<Value, KernelError> {
    let action = load_action(request)?;
    let mut kernel = LibbpfKernel::new();
    let outcome = kernel.execute(&action)?;
    let loaded = match outcome {
        Outcome::Loaded(object) => object.programs.into_iter().next(),
        _ => None,
    };
    let loaded = loaded.ok_or_else(|| bad_request("nothing was loaded"))?;
    let id = loaded.identity.id;
    let facts = kernel.program(id, Detail::Info)?;
    let made = make_directories(&request.pin_path)?;
    let pin = KernelAction::PinProgram {
        program: ProgramReference::Known(id),
        path: PathTemplate::Literal(request.pin_path.clone()),
    };
    if let Err(error) = kernel.execute(&pin) {
        remove_directories(&made);
        return Err(error);
    }
    Ok(json!({
        "program_id": id,
        "tag": loaded.identity.tag,
        "map_ids": facts.map_or_else(Vec::new, |facts| facts.map_ids),
        "pinned": [request.pin_path],
    }))
}

/// Makes the missing directories above a pin, those of a bpffs only; answers which it made, outermost first.
fn make_directories(pin: &AbsolutePath) -> Result<Vec<AbsolutePath>, KernelError> {
    let ancestor = pins::nearest_directory(pin);
    let mut missing = Vec::new();
    let mut at = pin.parent();
    while let Some(directory) = at.filter(|directory| *directory != ancestor) {
        at = directory.parent();
        missing.push(directory);
    }
    let mut made = Vec::new();
    for directory in missing.into_iter().rev() {
        if let Err(error) = pins::make_directory(&directory) {
            remove_directories(&made);
            return Err(error);
        }
        made.push(directory);
    }
    Ok(made)
}

fn remove_directories(made: &[AbsolutePath]) {
    for directory in made.iter().rev() {
        // Best effort: the refusal that led here is what the caller must hear.
        let _ = pins::remove_empty_directory(directory);
    }
}

/// Answers requests until the input ends.
///
/// # Errors
/// When the input cannot be read or the output cannot be written.
pub fn serve(
    kernel: &mut LibbpfKernel,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = MAX_REQUEST_BYTES as u64 + 1;
        if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let ended = line.last() == Some(&b'\n');
        let text = if ended {
            line.pop();
            answer(kernel, &line)
        } else if line.len() > MAX_REQUEST_BYTES {
            skip_line(&mut input)?;
            render(Err(too_long()))
        } else {
            answer(kernel, &line)
        };
        output.write_all(text.as_bytes())?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
}

/// Skips to the end of a line without keeping it.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(chunk.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}
