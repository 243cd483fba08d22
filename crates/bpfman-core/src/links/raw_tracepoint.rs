//! `raw_tracepoint`: a tracepoint, with its arguments as they are.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::AttachRequest;
use super::LinkKind;
use super::Recorded;
use super::words::Words;

/// A program at a raw tracepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTracepoint {
    /// Its name.
    pub name: String,
}

impl Recorded for RawTracepoint {
    fn request(&self, _: LinkKind) -> Option<AttachRequest> {
        Some(AttachRequest::RawTracepoint {
            name: self.name.clone(),
        })
    }

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
