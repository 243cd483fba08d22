//! What a refusal means: from error numbers, verifier logs and libbpf's warnings to a [`KernelError`].

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;

use bpfman_core::kernel::Cause;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PermissionFacts;
use bpfman_core::types::KernelProgramType;
use libbpf_rs::PrintLevel;
use rustix::io::Errno;

use super::capabilities::permission_facts;
use super::causes;

/// How many warnings of one load are kept; what libbpf says last matters most.
const MAX_WARNINGS: usize = 256;
/// The first error number of libbpf's own (`enum libbpf_errno`).
const LIBBPF_ERRNO_START: i32 = 4000;
/// The kernel's own number for what it does not support; it has no name outside.
const ENOTSUPP: i32 = 524;
/// What each of libbpf's own numbers means, from 4000 on (`libbpf.h`).
const LIBBPF_ERRNOS: [&str; 14] = [
    "unknown libbpf error",
    "not an ELF object that libbpf can read",
    "it has no kernel version where one is needed",
    "its byte order is not this machine's",
    "libbpf failed inside",
    "a relocation failed",
    "the program could not be loaded",
    "a program is too big for this kernel",
    "the kernel version does not match",
    "a program has the wrong type",
    "wrong netlink process id",
    "invalid netlink sequence",
    "netlink parsing failed",
    "the program refused the load",
];

thread_local! {
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Makes libbpf hand its warnings to us instead of printing them.
pub(super) fn capture_warnings() {
    libbpf_rs::set_print(Some((PrintLevel::Warn, |_, line| {
        WARNINGS.with_borrow_mut(|warnings| {
            if warnings.len() >= MAX_WARNINGS {
                warnings.remove(0);
            }
            warnings.push(line);
        });
    })));
}

/// The warnings since the last call.
pub(super) fn take_warnings() -> Vec<String> {
    WARNINGS.with_borrow_mut(std::mem::take)
}

/// A refusal of a call on one thing.
pub(super) fn refused(what: &str, error: &io::Error) -> KernelError {
    refused_for(what, error, &[])
}

/// A refusal of a call that needs the capabilities which loading programs of these types needs.
pub(super) fn refused_for(
    what: &str,
    error: &io::Error,
    types: &[KernelProgramType],
) -> KernelError {
    match causes::of_errno(error) {
        Some(cause) => refused_by(what, error, cause),
        None => unexplained(what, error, types),
    }
}

/// A refusal whose cause is known.
pub(super) fn refused_by(what: &str, error: &io::Error, cause: Cause) -> KernelError {
    KernelError {
        errno: error.raw_os_error(),
        ..KernelError::new(cause.kind(), format!("{what}: {cause}"))
    }
    .because(cause)
}

fn unexplained(what: &str, error: &io::Error, types: &[KernelProgramType]) -> KernelError {
    let errno = error.raw_os_error();
    let kind = errno.map_or(KernelErrorKind::Other, errno_kind);
    let mut refusal = KernelError::new(kind, format!("{what}: {}", errno_text(error)));
    refusal.errno = errno;
    if kind == KernelErrorKind::Permission {
        let facts = permission_facts(types);
        refusal.message = format!("{what}: {}", permission_text(&facts));
        refusal.permission = Some(facts);
    }
    refusal
}

/// A request that makes no sense.
pub(super) fn bad_request(message: impl Into<String>) -> KernelError {
    KernelError::new(KernelErrorKind::BadRequest, message.into())
}

fn errno_kind(errno: i32) -> KernelErrorKind {
    if errno >= LIBBPF_ERRNO_START {
        return KernelErrorKind::InvalidObject;
    }
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => KernelErrorKind::Permission,
        Errno::NOENT | Errno::NOTDIR | Errno::SRCH => KernelErrorKind::NotFound,
        Errno::EXIST => KernelErrorKind::Exists,
        Errno::NOSPC | Errno::NOMEM | Errno::MFILE | Errno::NFILE => KernelErrorKind::NoSpace,
        Errno::OPNOTSUPP | Errno::NOSYS => KernelErrorKind::Unsupported,
        _ if errno == ENOTSUPP => KernelErrorKind::Unsupported,
        _ => KernelErrorKind::Other,
    }
}

/// The system's text of an error, without the number that `io::Error` adds.
fn errno_text(error: &io::Error) -> String {
    let errno = error.raw_os_error().unwrap_or_default();
    let own = usize::try_from(errno - LIBBPF_ERRNO_START).ok();
    if let Some(text) = own.and_then(|at| LIBBPF_ERRNOS.get(at)) {
        return (*text).to_owned();
    }
    if errno == ENOTSUPP {
        return "this kernel does not support it".to_owned();
    }
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// An object that libbpf could not open.
pub(super) fn open_refused(path: &str, error: &io::Error) -> KernelError {
    let warnings = take_warnings();
    let mut refusal = refused(path, error);
    if matches!(
        refusal.kind,
        KernelErrorKind::Other | KernelErrorKind::Unsupported
    ) {
        refusal.kind = KernelErrorKind::InvalidObject;
    }
    if let Some(hint) = last_warning(&warnings) {
        refusal.message = format!("{}: {hint}", refusal.message);
    }
    refusal
}

/// A load that was refused: `types` are those of the programs.
/// `user` names the program that uses a symbol which is missing.
pub(super) fn load_refused(
    errno: i32,
    log: &str,
    types: &[KernelProgramType],
    user: impl Fn(&str) -> Option<String>,
) -> KernelError {
    let warnings = take_warnings();
    match unresolved(&warnings) {
        Some((symbol, message)) => {
            let program = symbol.and_then(user);
            let whose = program.map_or_else(String::new, |name| format!("program `{name}`: "));
            let message = format!("{whose}{message}");
            KernelError::new(KernelErrorKind::Unsupported, message)
        }
        None => classify(errno, log, &warnings, || permission_facts(types)),
    }
}

/// A load of one program that libbpf knows nothing of.
pub(super) fn program_refused(
    name: &str,
    errno: i32,
    log: &str,
    kind: KernelProgramType,
) -> KernelError {
    let facts = || permission_facts(&[kind]);
    explain(Some(name), errno, log, None, facts)
}

fn classify(
    errno: i32,
    log: &str,
    warnings: &[String],
    facts: impl FnOnce() -> PermissionFacts,
) -> KernelError {
    let program = refused_program(warnings);
    explain(program, errno, log, last_warning(warnings), facts)
}

fn explain(
    program: Option<&str>,
    errno: i32,
    log: &str,
    mut advice: Option<String>,
    facts: impl FnOnce() -> PermissionFacts,
) -> KernelError {
    let whose = program.map_or_else(String::new, |name| format!("program `{name}`: "));
    let reason = last_reason(log);
    if let Some(reason) = reason.filter(|reason| saw_instructions(log, reason)) {
        let source = source_of(log, reason);
        let source = source.map_or_else(String::new, |source| format!(" ({source})"));
        let message = format!("{whose}{reason}{source}");
        let mut refusal = KernelError::new(KernelErrorKind::Verifier, message);
        refusal.errno = Some(errno);
        refusal.verifier_log = Some(log.to_owned());
        return refusal;
    }
    let error = io::Error::from_raw_os_error(errno);
    let mut kind = errno_kind(errno);
    let cause = causes::of_errno(&error);
    if let Some(cause) = cause {
        let what = program.map_or_else(|| "loading".to_owned(), |name| format!("program `{name}`"));
        return refused_by(&what, &error, cause);
    }
    let mut text = errno_text(&error);
    let mut permission = None;
    match kind {
        KernelErrorKind::Permission => {
            let facts = facts();
            text = permission_text(&facts);
            // libbpf guesses at memory limits and kernel options.
            advice = None;
            permission = Some(facts);
        }
        KernelErrorKind::NotFound => {
            kind = KernelErrorKind::Unsupported;
            "this kernel has no such function or hook".clone_into(&mut text);
        }
        KernelErrorKind::Other if Errno::from_raw_os_error(errno) == Errno::INVAL => {
            kind = KernelErrorKind::Unsupported;
            "this kernel does not know this program type, hook or kind of map"
                .clone_into(&mut text);
        }
        _ => {}
    }
    // The kernel's own words need no guess of ours beside them.
    if let (KernelErrorKind::Unsupported, Some(reason)) = (kind, reason) {
        return KernelError {
            errno: Some(errno),
            ..KernelError::new(kind, format!("{whose}{reason}"))
        };
    }
    let hint = reason.map(str::to_owned).or(advice);
    let hint = hint.map_or_else(String::new, |text| format!(" ({text})"));
    KernelError {
        errno: Some(errno),
        permission,
        ..KernelError::new(kind, format!("{whose}{text}{hint}"))
    }
}

/// Whether a log is of a verifier that looked at the program itself. The kernel writes its doubts about types
/// and hooks, which come first, into the same log, with the same statistics under them.
fn saw_instructions(log: &str, reason: &str) -> bool {
    // What the checks before the first instruction say about the program's own make.
    const ABOUT_THE_PROGRAM: [&str; 6] = [
        "insn",
        "instruction",
        "subprog",
        "func_info",
        "line_info",
        "func#",
    ];
    let processed = |line: &str| {
        let rest = line.strip_prefix("processed ")?;
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    let numbered = |line: &str| {
        let after = line.trim_start_matches(|digit: char| digit.is_ascii_digit());
        after.len() < line.len() && after.starts_with(": ")
    };
    ABOUT_THE_PROGRAM.iter().any(|word| reason.contains(word))
        || log
            .lines()
            .any(|line| numbered(line) || processed(line).is_some_and(|count| count > 0))
}

/// Types that the kernel refused.
pub(super) fn types_refused(name: &str, errno: i32, log: &str) -> KernelError {
    let error = io::Error::from_raw_os_error(errno);
    let mut refusal = refused(&format!("types of program `{name}`"), &error);
    if refusal.kind == KernelErrorKind::Other {
        refusal.kind = KernelErrorKind::InvalidObject;
    }
    if let Some(reason) = last_reason(log) {
        refusal.message = format!("{} ({reason})", refusal.message);
    }
    refusal
}

/// The line of a log that says why: the last one before its statistics and the states that it compares. That a global
/// function was found safe is none either.
fn last_reason(log: &str) -> Option<&str> {
    const NO_REASON: [&str; 10] = [
        "Validating ",
        "Func#",
        "verification time ",
        "stack depth ",
        "max_states",
        "peak_states",
        "processed ",
        "cur state:",
        "old state:",
        "-- ",
    ];
    log.lines()
        .rev()
        .map(|line| without_statistics(line).trim())
        .find(|line| !line.is_empty() && !NO_REASON.iter().any(|start| line.starts_with(start)))
}

/// A line without the statistics. A few reasons of the kernel lack the newline in front of those.
fn without_statistics(line: &str) -> &str {
    let is_statistics = |at: &usize| {
        let rest = line[*at..].trim_start_matches("processed ");
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains(" insns (limit ")
    };
    let found = line.match_indices("processed ").map(|(at, _)| at);
    let mut found = found.filter(is_statistics);
    found.next().map_or(line, |at| &line[..at])
}

/// Where in the source the instruction is that a reason names: the last line of the source that the log shows before it
/// (`; TEXT @ FILE:LINE`, since Linux 6.8).
fn source_of<'log>(log: &'log str, reason: &str) -> Option<&'log str> {
    let (_, number) = reason.rsplit_once(" at insn ")?;
    let number = number.split(|c: char| !c.is_ascii_digit()).next()?;
    let start = format!("{number}: (");
    let mut source = None;
    for line in log.lines() {
        if line.starts_with("; ") {
            source = line.rsplit_once(" @ ").map(|(_, place)| place.trim());
        } else if line.starts_with(&start) {
            return source;
        }
    }
    None
}

/// A symbol that the object leaves to the kernel and libbpf could not resolve (`bpf_object__resolve_externs`), and why.
fn unresolved(warnings: &[String]) -> Option<(Option<&str>, String)> {
    let lines = warnings.iter().flat_map(|text| text.lines());
    let mut lines = lines.map(|line| line.trim().trim_start_matches("libbpf: "));
    let line = lines.find(|line| {
        line.starts_with("extern ") || line.contains("failed to open system Kconfig")
    })?;
    let symbol = line.split('\'').nth(1);
    let name = symbol.unwrap_or_default();
    let message = if line.contains("failed to open system Kconfig") {
        "the object asks for the kernel's configuration, which is neither in /boot nor at /proc/config.gz".to_owned()
    } else if line.contains("incompatible") {
        format!("the kernel's `{name}` has other types than the object declares ({line})")
    } else if line.contains("ambiguous") {
        format!("the kernel has more than one symbol `{name}`")
    } else if line.contains("not found") {
        format!("neither this kernel nor its modules have `{name}`")
    } else if line.contains("not resolved") {
        format!("this kernel has no `{name}`, or its configuration does not set it")
    } else {
        line.to_owned()
    };
    Some((symbol, message))
}

/// The program that libbpf says could not be loaded.
fn refused_program(warnings: &[String]) -> Option<&str> {
    let line = warnings.iter().find(|line| line.contains("prog '"))?;
    let (_, rest) = line.split_once("prog '")?;
    rest.split_once('\'').map(|(name, _)| name)
}

/// What libbpf said that is of use: not that a program failed, which the caller says better.
fn last_warning(warnings: &[String]) -> Option<String> {
    const REPEATS: [&str; 3] = [
        "failed to load object",
        "failed to load BPF skeleton",
        "-- ",
    ];
    let repeats = |line: &str| {
        REPEATS.iter().any(|start| line.starts_with(start))
            || line.contains("': failed to load: ")
            || line.contains("': BPF program load failed: ")
    };
    let lines = warnings.iter().rev().flat_map(|text| text.lines().rev());
    lines
        .map(|line| line.trim().trim_start_matches("libbpf: "))
        .find(|line| !line.is_empty() && !repeats(line))
        .map(str::to_owned)
}

fn permission_text(facts: &PermissionFacts) -> String {
    match facts.missing_capabilities.as_slice() {
        [] => "not permitted, though no capability is missing".to_owned(),
        missing => format!("not permitted: this process lacks {}", missing.join(", ")),
    }
}
