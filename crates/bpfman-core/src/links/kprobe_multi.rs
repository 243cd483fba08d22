//! `kprobe_multi`: several functions of the kernel.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::AttachRequest;
use super::LinkKind;
use super::ProbeWhen;
use super::Recorded;
use super::probe::several;
use super::words::Words;

/// A program at several functions of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KprobeMulti {
    /// The functions.
    pub functions: Vec<String>,
    /// When.
    pub when: ProbeWhen,
}

impl Recorded for KprobeMulti {
    fn request(&self, _: LinkKind) -> Option<AttachRequest> {
        Some(AttachRequest::KprobeMulti {
            functions: self.functions.clone(),
        })
    }

    fn add_words(&self, words: &mut Words, _: bool) {
        for function in &self.functions {
            words.add(function);
        }
    }

    fn reads(&self, _: &str) -> String {
        several(&self.functions)
    }
}
