//! The kinds that say nothing more than what their program was loaded for.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::Recorded;
use super::words::Words;

/// What the program was bound to when it was loaded: nothing more is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundRequest;

/// A program at the tracepoint that it was loaded for: `tp_btf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundTracepoint {
    /// The tracepoint.
    pub name: String,
}

impl BoundTracepoint {
    pub(super) fn asked(&self) -> Option<BoundRequest> {
        Some(BoundRequest)
    }
}

impl Recorded for BoundTracepoint {
    fn add_words(&self, _: &mut Words, _: bool) {}

    fn reads(&self, _: &str) -> String {
        self.name.clone()
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("tracepoint {}", self.name))
    }
}

/// A program at the function that it was loaded for: `fentry`, `fexit`, `fmod_ret`, `fsession`, `freplace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundFunction {
    /// The function; for `freplace` after the id of its program and a slash.
    pub fn_name: String,
}

impl BoundFunction {
    pub(super) fn asked(&self) -> Option<BoundRequest> {
        Some(BoundRequest)
    }
}

impl Recorded for BoundFunction {
    fn add_words(&self, _: &mut Words, _: bool) {}

    fn reads(&self, _: &str) -> String {
        self.fn_name.clone()
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("function {}", self.fn_name))
    }
}

/// A program at the security hook that it was loaded for: `lsm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundHook {
    /// The hook.
    pub hook_name: String,
}

impl BoundHook {
    pub(super) fn asked(&self) -> Option<BoundRequest> {
        Some(BoundRequest)
    }
}

impl Recorded for BoundHook {
    fn add_words(&self, _: &mut Words, _: bool) {}

    fn reads(&self, _: &str) -> String {
        self.hook_name.clone()
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("hook {}", self.hook_name))
    }
}
