//! The protocol of the `bpfman-kernel` helper: one JSON object a line in each direction.
//!
//! A request has a field `op`: that of a [`KernelAction`], or one of [`Query`]. An answer is
//! `{"ok":true,...}` or `{"ok":false,"error":KernelError}`.

use std::io;
use std::io::BufRead;
use std::io::Read;
use std::io::Write;

use bpfman_core::action::KernelAction;
use bpfman_core::action::LoadObject;
use bpfman_core::action::Outcome;
use bpfman_core::action::PathTemplate;
use bpfman_core::action::ProgramReference;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::LibbpfKernel;
use super::errors::bad_request;
use super::pins;
use crate::interfaces::Detail;
use crate::interfaces::KernelExecutor;
use crate::interfaces::KernelReader;
use crate::interfaces::KernelSource;

/// The longest request line, in bytes without its newline. The largest requests carry global variables.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;

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
    /// Whether a bpffs is mounted at exactly this directory.
    IsBpffsRoot {
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
const QUERIES: [&str; 7] = [
    "load",
    "programs",
    "pin_state",
    "program",
    "map",
    "is_bpffs_root",
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
            return Query::deserialize(value).map(Self::Query).map_err(wrong);
        }
        KernelAction::deserialize(value)
            .map(Self::Action)
            .map_err(wrong)
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
        Query::IsBpffsRoot { path } => json!({"is_bpffs_root": kernel.is_bpffs_root(&path)?}),
        Query::Finish => {
            kernel.finish();
            json!({})
        }
    })
}

/// Loads and pins with a kernel of its own, so that what a plan holds stays as it is.
fn load_and_pin(request: &LoadAndPin) -> Result<Value, KernelError> {
    let mut kernel = LibbpfKernel::new();
    let stem = request.object.file_name().split('.').next();
    let object_name = request.object_name.as_deref().or(stem).unwrap_or_default();
    let action = KernelAction::LoadObject(LoadObject {
        object: request.object.clone(),
        object_name: object_name.to_owned(),
        programs: vec![ProgramToLoad {
            name: request.program.clone(),
            kernel_type: KernelProgramType::UNSPEC,
            attach_type: None,
            flags: 0,
            attach_function: None,
            target_program: None,
            keep_instructions: false,
        }],
        globals: Vec::new(),
        reuse_maps: Vec::new(),
        skip_maps: Vec::new(),
    });
    let outcome = kernel.execute(&action)?;
    let loaded = match outcome {
        Outcome::Loaded(object) => object.programs.into_iter().next(),
        Outcome::Done | Outcome::Unchanged => None,
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
