//! `raw_tracepoint`: a tracepoint, with its arguments as they are.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::Recorded;
use super::words::Words;

/// A program at a raw tracepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTracepoint {
    /// Its name.
    pub name: String,
}

impl RawTracepoint {
    pub(super) fn asked(&self) -> Option<RawTracepoint> {
        Some(self.clone())
    }
}

impl Recorded for RawTracepoint {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.name);
    }

    fn reads(&self, _: &str) -> String {
        self.name.clone()
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("raw tracepoint {}", self.name))
    }
}
