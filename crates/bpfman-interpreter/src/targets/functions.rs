//! Functions of the kernel: which there are, and which can be traced.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bpfman_core::target::Suggestions;
use bpfman_core::target::matches_pattern;

use super::TargetError;
use super::tracefs;
use super::tracefs::for_each_line;

/// How many functions one pattern may name.
pub const MAX_FUNCTIONS: usize = 10_000;

const SYMBOLS: &str = "/proc/kallsyms";
/// Of tracefs: what ftrace can trace, which fentry and `kprobe.multi` need.
const TRACEABLE: &str = "available_filter_functions";
/// Of debugfs: `0xSTART-0xEND NAME`, what no probe may touch (`Documentation/trace/kprobes.rst`).
const FORBIDDEN: &str = "/sys/kernel/debug/kprobes/blacklist";

/// What is known of a function that the kernel refused to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionVerdict {
    /// It can be traced: the refusal has another cause.
    Traceable,
    /// It exists, but ftrace cannot trace it (`notrace`, or inlined everywhere else): no fentry, no `kprobe.multi`.
    NotTraceable,
    /// It is on the list of functions that kprobes must not touch.
    Forbidden,
    /// It exists; whether it can be traced, this kernel does not say.
    Exists,
    /// There is none of this name.
    Unknown {
        /// Names that may have been meant.
        similar: Vec<String>,
    },
}

/// What the lists say about one name; `None` for a list that cannot be read.
#[derive(Clone, Copy, Debug)]
struct Listed {
    exists: bool,
    traceable: Option<bool>,
    forbidden: Option<bool>,
}

pub(super) fn verdict(name: &str) -> Result<FunctionVerdict, TargetError> {
    let mut exists = false;
    let mut suggestions = Suggestions::new(name);
    let read = for_each_line(Path::new(SYMBOLS), |line| {
        if let Some(function) = function_of_symbols(line) {
            exists |= function == name;
            suggestions.offer(function);
        }
    });
    read.map_err(|source| TargetError::system(SYMBOLS, source))?;
    let traceable = tracefs::root().ok().and_then(|root| {
        let list = root.join(TRACEABLE);
        contains(&list, |line| first_word(line) == name).ok()
    });
    let forbidden = contains(Path::new(FORBIDDEN), |line| last_word(line) == name).ok();
    let listed = Listed {
        exists,
        traceable,
        forbidden,
    };
    Ok(judge(listed, suggestions))
}

fn judge(listed: Listed, suggestions: Suggestions) -> FunctionVerdict {
    match listed {
        Listed {
            forbidden: Some(true),
            ..
        } => FunctionVerdict::Forbidden,
        Listed {
            traceable: Some(true),
            ..
        } => FunctionVerdict::Traceable,
        Listed { exists: false, .. } => FunctionVerdict::Unknown {
            similar: suggestions.into_names(),
        },
        Listed {
            traceable: Some(false),
            ..
        } => FunctionVerdict::NotTraceable,
        Listed {
            traceable: None, ..
        } => FunctionVerdict::Exists,
    }
}

pub(super) fn matching(pattern: &str) -> Result<Vec<String>, TargetError> {
    let list = tracefs::root()?.join(TRACEABLE);
    let mut found = Matching::new(pattern);
    let read = for_each_line(&list, |line| found.offer(first_word(line)));
    read.map_err(|source| TargetError::system(list.display(), source))?;
    found.into_names()
}

/// The functions that match; not more than one beyond the limit is kept.
struct Matching<'p> {
    pattern: &'p str,
    /// The kernel lists static functions of one name several times, and refuses to be asked for a name twice.
    names: BTreeSet<String>,
}

impl<'p> Matching<'p> {
    fn new(pattern: &'p str) -> Self {
        Self {
            pattern,
            names: BTreeSet::new(),
        }
    }

    fn offer(&mut self, name: &str) {
        // What is left of functions of a discarded section.
        let invalid = name.starts_with("__ftrace_invalid_address___");
        if self.names.len() <= MAX_FUNCTIONS && !invalid && matches_pattern(self.pattern, name) {
            self.names.insert(name.to_owned());
        }
    }

    fn into_names(self) -> Result<Vec<String>, TargetError> {
        let pattern = self.pattern.to_owned();
        match self.names.len() {
            0 => Err(TargetError::NoFunctionMatches { pattern }),
            count if count > MAX_FUNCTIONS => Err(TargetError::TooManyFunctions {
                pattern,
                limit: MAX_FUNCTIONS,
            }),
            _ => Ok(self.names.into_iter().collect()),
        }
    }
}

/// `ADDRESS TYPE NAME [MODULE]`, where functions have the types `t`, `T`, `w` and `W`.
fn function_of_symbols(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let kind = words.nth(1)?;
    let name = words.next()?;
    ["t", "T", "w", "W"].contains(&kind).then_some(name)
}

fn first_word(line: &str) -> &str {
    line.split_ascii_whitespace().next().unwrap_or_default()
}

fn last_word(line: &str) -> &str {
    line.split_ascii_whitespace()
        .next_back()
        .unwrap_or_default()
}

fn contains(list: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<bool> {
    let mut found = false;
    for_each_line(list, |line| found |= wanted(line))?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(exists: bool, traceable: Option<bool>, forbidden: Option<bool>) -> FunctionVerdict {
        let listed = Listed {
            exists,
            traceable,
            forbidden,
        };
        let mut suggestions = Suggestions::new("vfs_rea");
        suggestions.offer("vfs_read");
        judge(listed, suggestions)
    }

    #[test]
    fn a_verdict_says_no_more_than_the_lists_do() {
        let unknown = FunctionVerdict::Unknown {
            similar: vec!["vfs_read".to_owned()],
        };
        assert_eq!(judged(false, None, None), unknown);
        assert_eq!(judged(false, Some(false), Some(false)), unknown);
        assert_eq!(judged(true, None, None), FunctionVerdict::Exists);
        assert_eq!(judged(true, None, Some(false)), FunctionVerdict::Exists);
        assert_eq!(
            judged(true, Some(false), None),
            FunctionVerdict::NotTraceable
        );
        assert_eq!(
            judged(true, Some(true), Some(false)),
            FunctionVerdict::Traceable
        );
        assert_eq!(
            judged(true, Some(true), Some(true)),
            FunctionVerdict::Forbidden
        );
    }

    #[test]
    fn lines_of_the_kernels_lists_are_understood() {
        assert_eq!(
            function_of_symbols("0000000000000000 T vfs_read"),
            Some("vfs_read")
        );
        assert_eq!(
            function_of_symbols("0000000000000000 t nf_hook\t[nf_tables]"),
            Some("nf_hook")
        );
        assert_eq!(function_of_symbols("0000000000000000 D jiffies"), None);
        assert_eq!(function_of_symbols("garbage"), None);
        assert_eq!(first_word("nf_hook [nf_tables]"), "nf_hook");
        assert_eq!(last_word("0xffff1000-0xffff1010\tdo_int3"), "do_int3");
    }

    #[test]
    fn matches_are_sorted_single_and_bounded() {
        let mut found = Matching::new("vfs_*");
        for name in [
            "vfs_write",
            "vfs_read",
            "tcp_connect",
            "vfs_read",
            "__ftrace_invalid_address___8",
        ] {
            found.offer(name);
        }
        assert_eq!(found.into_names().unwrap(), ["vfs_read", "vfs_write"]);
        assert!(matches!(
            Matching::new("a").into_names(),
            Err(TargetError::NoFunctionMatches { .. })
        ));
        let mut many = Matching::new("*");
        for i in 0..MAX_FUNCTIONS + 100 {
            many.offer(&format!("f{i}"));
        }
        assert!(many.names.len() == MAX_FUNCTIONS + 1);
        assert!(matches!(
            many.into_names(),
            Err(TargetError::TooManyFunctions { .. })
        ));
    }
}
