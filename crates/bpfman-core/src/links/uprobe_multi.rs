//! `uprobe_multi`: several functions of a file.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::ProbeWhen;
use super::ProbedFile;
use super::Recorded;
use super::probe::add_processes;
use super::probe::several;
use super::words::Words;

/// Several functions of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UprobeMultiRequest {
    /// The file.
    pub file: ProbedFile,
    /// Their names.
    pub functions: Vec<String>,
}

/// A program at several functions of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UprobeMulti {
    /// The file as the user named it.
    pub target: String,
    /// The functions.
    pub functions: Vec<String>,
    /// Only in this process.
    pub pid: Option<u32>,
    /// In the mount namespace of this process.
    pub container_pid: Option<u32>,
    /// When.
    pub when: ProbeWhen,
}

impl UprobeMulti {
    pub(super) fn asked(&self) -> Option<UprobeMultiRequest> {
        Some(UprobeMultiRequest {
            file: ProbedFile {
                target: self.target.clone(),
                pid: self.pid,
                container_pid: self.container_pid,
            },
            functions: self.functions.clone(),
        })
    }
}

impl Recorded for UprobeMulti {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.target);
        words.option("--fn-name", &self.functions.join(","));
        add_processes(words, self.pid, self.container_pid);
    }

    fn reads(&self, _: &str) -> String {
        format!("{}:{}", self.target, several(&self.functions))
    }
}
