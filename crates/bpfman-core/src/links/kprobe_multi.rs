//! `kprobe_multi`: several functions of the kernel.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::ProbeWhen;
use super::Recorded;
use super::probe::several;
use super::words::Words;

/// Several functions of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KprobeMultiRequest {
    /// Their names, or patterns with `*`.
    pub functions: Vec<String>,
}

/// A program at several functions of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KprobeMulti {
    /// The functions.
    pub functions: Vec<String>,
    /// When.
    pub when: ProbeWhen,
}

impl KprobeMulti {
    pub(super) fn asked(&self) -> Option<KprobeMultiRequest> {
        Some(KprobeMultiRequest {
            functions: self.functions.clone(),
        })
    }
}

impl Recorded for KprobeMulti {
    fn add_words(&self, words: &mut Words, _: bool) {
        for function in &self.functions {
            words.add(function);
        }
    }

    fn reads(&self, _: &str) -> String {
        several(&self.functions)
    }
}
