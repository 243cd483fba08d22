//! `usdt`: a probe that the author of a file placed.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::ProbedFile;
use super::Recorded;
use super::probe::add_processes;
use super::words::Words;

/// A probe that the file's author placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtRequest {
    /// The file.
    pub file: ProbedFile,
    /// The probe's provider.
    pub provider: String,
    /// The probe.
    pub name: String,
}

/// A program at a static probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usdt {
    /// The file as the user named it.
    pub target: String,
    /// The probe's provider.
    pub provider: String,
    /// The probe.
    pub name: String,
    /// Only in this process.
    pub pid: Option<u32>,
    /// In the mount namespace of this process.
    pub container_pid: Option<u32>,
    /// Which elements of `__bpf_usdt_specs` describe its arguments: the first.
    pub first_spec: u32,
    /// How many do.
    pub specs: u32,
}

impl Usdt {
    pub(super) fn asked(&self) -> Option<UsdtRequest> {
        Some(UsdtRequest {
            file: ProbedFile {
                target: self.target.clone(),
                pid: self.pid,
                container_pid: self.container_pid,
            },
            provider: self.provider.clone(),
            name: self.name.clone(),
        })
    }
}

impl Recorded for Usdt {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.target);
        words.add(&format!("{}:{}", self.provider, self.name));
        add_processes(words, self.pid, self.container_pid);
    }

    fn reads(&self, _: &str) -> String {
        format!("{}:{}:{}", self.target, self.provider, self.name)
    }
}
