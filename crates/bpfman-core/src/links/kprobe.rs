//! `kprobe` and `kretprobe`: a function of the kernel; the type of the program says whether on return.

use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::Recorded;
use super::probe::plus;
use super::words::Words;

/// A function of the kernel; the program's type says whether on return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KprobeRequest {
    /// Its name.
    pub function: String,
    /// The offset in it, in bytes.
    pub offset: u64,
}

/// A program at a function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kprobe {
    /// The function.
    pub fn_name: String,
    /// The offset in it, in bytes.
    pub offset: u64,
    /// On return instead of on entry.
    pub retprobe: bool,
}

impl Kprobe {
    pub(super) fn asked(&self) -> Option<KprobeRequest> {
        Some(KprobeRequest {
            function: self.fn_name.clone(),
            offset: self.offset,
        })
    }
}

impl Recorded for Kprobe {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.fn_name);
        words.offset(self.offset);
    }

    fn reads(&self, _: &str) -> String {
        plus(&self.fn_name, self.offset)
    }
}
