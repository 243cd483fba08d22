//! Why a target was not found.

use std::fmt::Display;
use std::io;

use bpfman_core::target::ExecutableError;
use bpfman_core::target::FunctionError;
use bpfman_core::target::UsdtError;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::InterfaceWord;

/// Why a target was not found. `similar` holds up to three names that may have been meant, the closest first.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The system refused.
    #[error("cannot read {what}: {source}")]
    System {
        /// What was looked at.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{path} is not a network namespace")]
    NotANamespace {
        /// The file.
        path: AbsolutePath,
    },
    /// The namespace has no such interface.
    #[error("interface {name} does not exist{}", of_namespace(netns.as_ref()))]
    UnknownInterface {
        /// Its name.
        name: InterfaceWord,
        /// The namespace's file; `None` for the process's own.
        netns: Option<AbsolutePath>,
        /// Interfaces of that namespace.
        similar: Vec<String>,
    },
    /// The text cannot name a tracepoint.
    #[error("`{}` cannot be a tracepoint: group and name are two plain words", text.escape_debug())]
    NotATracepoint {
        /// Group and name as they were given.
        text: String,
    },
    /// This kernel has no such tracepoint.
    #[error("tracepoint {group}/{name} does not exist")]
    UnknownTracepoint {
        /// Its group.
        group: String,
        /// Its name.
        name: String,
        /// Tracepoints as `GROUP/NAME`.
        similar: Vec<String>,
    },
    /// No event has this name.
    #[error("raw tracepoint `{}` is not among the kernel's events", name.escape_debug())]
    UnknownRawTracepoint {
        /// Its name.
        name: String,
        /// Names of events.
        similar: Vec<String>,
    },
    /// Tracepoints cannot be looked up.
    #[error("tracefs is mounted neither at /sys/kernel/tracing nor at /sys/kernel/debug/tracing")]
    NoTracefs,
    /// A pattern describes nothing.
    #[error("no traceable function of the kernel matches `{}`", pattern.escape_debug())]
    NoFunctionMatches {
        /// The pattern.
        pattern: String,
    },
    /// A pattern describes too much.
    #[error("more than {limit} functions of the kernel match `{}`", pattern.escape_debug())]
    TooManyFunctions {
        /// The pattern.
        pattern: String,
        /// How many it may describe.
        limit: usize,
    },
    /// The process has ended, or never was.
    #[error("process {pid} does not exist")]
    UnknownProcess {
        /// Its id.
        pid: u32,
    },
    /// A relative path, or nothing.
    #[error("`{}` is neither an absolute path nor the name of a library", target.escape_debug())]
    NeitherPathNorLibrary {
        /// The text as it was given.
        target: String,
    },
    /// The loader has no such library.
    #[error("library `{}` was not found{}", name.escape_debug(), of_process(*container_pid))]
    UnknownLibrary {
        /// Its name.
        name: String,
        /// The process in whose container it was looked for.
        container_pid: Option<u32>,
        /// Libraries, in the form of the given name.
        similar: Vec<String>,
    },
    /// A probe in the file that is there now would never fire in that process.
    #[error("process {pid} has `{}` mapped, but that file was removed or replaced since", path.escape_debug())]
    ReplacedLibrary {
        /// The process.
        pid: u32,
        /// The path at which the file was.
        path: String,
    },
    /// Nothing is at the path.
    #[error("`{}` does not exist{}", path.escape_debug(), of_process(*container_pid))]
    NoSuchFile {
        /// The path.
        path: String,
        /// The process in whose container it was looked for.
        container_pid: Option<u32>,
    },
    /// It is a directory, a device or a pipe.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The path.
        path: AbsolutePath,
    },
    /// The path cannot be stored and printed.
    #[error("`{}` cannot be used: {reason}", path.escape_debug())]
    UnusablePath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something was renamed in the way of the path.
    #[error("{path} changed while it was looked up")]
    Changed {
        /// The path.
        path: AbsolutePath,
    },
    /// The file is no program.
    #[error("cannot probe {path}: {source}")]
    File {
        /// The file.
        path: AbsolutePath,
        /// What is wrong with it.
        source: ExecutableError,
    },
    /// The function cannot be probed.
    #[error("cannot probe `{}` in {path}: {source}", function.escape_debug())]
    Function {
        /// The file.
        path: AbsolutePath,
        /// The function's name.
        function: String,
        /// Why not.
        source: FunctionError,
        /// Functions of the file.
        similar: Vec<String>,
    },
    /// There is no instruction.
    #[error("offset {offset:#x} is beyond the end of {path}, which has {size:#x} bytes")]
    BeyondFile {
        /// The file.
        path: AbsolutePath,
        /// The offset from its start.
        offset: u64,
        /// Its size.
        size: u64,
    },
    /// The USDT probe cannot be used.
    #[error("cannot probe `{}` in {path}: {source}", probe.escape_debug())]
    Probe {
        /// The file.
        path: AbsolutePath,
        /// The probe as `PROVIDER:NAME`.
        probe: String,
        /// Why not.
        source: UsdtError,
        /// Probes of the file as `PROVIDER:NAME`.
        similar: Vec<String>,
    },
    /// The file holds no instructions that could be used.
    #[error("the kept instructions {path} cannot be used: {reason}")]
    KeptInstructions {
        /// The file.
        path: AbsolutePath,
        /// What is wrong with it.
        reason: String,
    },
    /// The path is no directory of a cgroup2 file system.
    #[error("{path} is not a cgroup{}", of_version_1(*version_1))]
    NotACgroup {
        /// The path.
        path: AbsolutePath,
        /// Whether it is one of cgroup version 1.
        version_1: bool,
    },
}

impl TargetError {
    pub(super) fn system(what: impl Display, source: impl Into<io::Error>) -> Self {
        Self::System {
            what: what.to_string(),
            source: source.into(),
        }
    }

    /// Whether nothing is at the path that was looked at.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The names that may have been meant, the closest first.
    #[must_use]
    pub fn similar(&self) -> &[String] {
        match self {
            Self::UnknownInterface { similar, .. }
            | Self::UnknownTracepoint { similar, .. }
            | Self::UnknownRawTracepoint { similar, .. }
            | Self::UnknownLibrary { similar, .. }
            | Self::Function { similar, .. }
            | Self::Probe { similar, .. } => similar,
            _ => &[],
        }
    }
}

fn of_namespace(netns: Option<&AbsolutePath>) -> String {
    netns.map_or_else(String::new, |path| format!(" in namespace {path}"))
}

fn of_process(container_pid: Option<u32>) -> String {
    container_pid.map_or_else(String::new, |pid| {
        format!(" in the container of process {pid}")
    })
}

fn of_version_1(version_1: bool) -> &'static str {
    if version_1 {
        " of version 2, which is what programs attach to"
    } else {
        ""
    }
}
