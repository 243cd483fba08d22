//! `kprobe` and `kretprobe`: a function of the kernel; the type of the program says whether on return.

use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::AttachRequest;
use super::LinkKind;
use super::Recorded;
use super::probe::plus;
use super::words::Words;

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

impl Recorded for Kprobe {
    fn request(&self, _: LinkKind) -> Option<AttachRequest> {
        Some(AttachRequest::Kprobe {
            function: self.fn_name.clone(),
            offset: self.offset,
        })
    }

    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.fn_name);
        words.offset(self.offset);
    }

    fn reads(&self, _: &str) -> String {
        plus(&self.fn_name, self.offset)
    }
}
