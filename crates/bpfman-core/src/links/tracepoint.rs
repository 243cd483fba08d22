//! `tracepoint`: a tracepoint of tracefs.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::Recorded;
use super::words::Words;

/// A program at a tracepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracepoint {
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
}

impl Tracepoint {
    pub(super) fn asked(&self) -> Option<Tracepoint> {
        Some(self.clone())
    }
}

impl Recorded for Tracepoint {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.reads(""));
    }

    fn reads(&self, _: &str) -> String {
        format!("{}/{}", self.group, self.name)
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("tracepoint {}/{}", self.group, self.name))
    }
}
