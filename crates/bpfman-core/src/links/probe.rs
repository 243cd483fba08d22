//! What probes have in common.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::words::Words;

/// A file whose instructions are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedFile {
    /// An absolute path, or the name of a library.
    pub target: String,
    /// Only in this process.
    pub pid: Option<u32>,
    /// Found in the mount namespace of this process.
    pub container_pid: Option<u32>,
}

/// One instruction of a file that is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSite {
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// The file offset of the counter that switches it on; 0 for none.
    pub counter_offset: u64,
    /// What `bpf_get_attach_cookie` answers there.
    pub cookie: u64,
}

/// When a probe of several places calls its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeWhen {
    /// On entry.
    Entry,
    /// On return.
    Return,
    /// On both (`BPF_TRACE_KPROBE_SESSION`, `BPF_TRACE_UPROBE_SESSION`).
    Session,
}

/// A function and an offset in it.
pub(super) fn plus(name: &str, offset: u64) -> String {
    match offset {
        0 => name.to_owned(),
        _ => format!("{name}+{offset:#x}"),
    }
}

/// The first of several names.
pub(super) fn several(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => String::new(),
    }
}

pub(super) fn add_processes(words: &mut Words, pid: Option<u32>, container_pid: Option<u32>) {
    words.optional("--pid", pid.as_ref());
    words.optional("--container-pid", container_pid.as_ref());
}
