//! `uprobe` and `uretprobe`: an instruction of a file; the type of the program says whether on return.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::ProbedFile;
use super::Recorded;
use super::probe::add_processes;
use super::probe::plus;
use super::words::Words;

/// A function or an offset of a file; the program's type says whether on return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UprobeRequest {
    /// The file.
    pub file: ProbedFile,
    /// The function.
    pub function: Option<String>,
    /// The offset in it, or in the file, in bytes.
    pub offset: u64,
}

/// A program at an instruction of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uprobe {
    /// The file as the user named it.
    pub target: String,
    /// The function.
    pub fn_name: Option<String>,
    /// The offset in it, or in the file, in bytes.
    pub offset: u64,
    /// Only in this process.
    pub pid: Option<u32>,
    /// On return instead of on entry.
    pub retprobe: bool,
    /// In the mount namespace of this process.
    pub container_pid: Option<u32>,
}

impl Uprobe {
    pub(super) fn asked(&self) -> Option<UprobeRequest> {
        Some(UprobeRequest {
            file: ProbedFile {
                target: self.target.clone(),
                pid: self.pid,
                container_pid: self.container_pid,
            },
            function: self.fn_name.clone(),
            offset: self.offset,
        })
    }
}

impl Recorded for Uprobe {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.target);
        words.optional("--fn-name", self.fn_name.as_ref());
        words.offset(self.offset);
        add_processes(words, self.pid, self.container_pid);
    }

    fn reads(&self, _: &str) -> String {
        match &self.fn_name {
            Some(name) => format!("{}:{}", self.target, plus(name, self.offset)),
            None => format!("{}:{:#x}", self.target, self.offset),
        }
    }
}
