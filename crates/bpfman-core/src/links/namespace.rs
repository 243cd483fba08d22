//! `sk_lookup` and `flow_dissector`: a network namespace.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use core::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::AttachedTo;
use super::Recorded;
use super::words::Words;
use crate::types::AbsolutePath;
use crate::types::NetnsId;

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRequest {
    /// Its file; `None` for the process's own.
    pub netns: Option<AbsolutePath>,
}

/// A program for a whole network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeNamespace {
    /// The file of the namespace; `None` for the process's own.
    pub netns: Option<AbsolutePath>,
    /// The namespace.
    pub nsid: NetnsId,
}

/// A network namespace to act in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its file; `None` for the process's own.
    pub path: Option<AbsolutePath>,
    /// Which one must be found there.
    pub id: NetnsId,
}

impl fmt::Display for Namespace {
    /// Nothing for the process's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, " of namespace {path}"),
            None => Ok(()),
        }
    }
}

impl WholeNamespace {
    pub(super) fn asked(&self) -> Option<NamespaceRequest> {
        Some(NamespaceRequest {
            netns: self.netns.clone(),
        })
    }
}

impl Recorded for WholeNamespace {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.namespace(self.netns.as_ref());
    }

    fn reads(&self, _: &str) -> String {
        match &self.netns {
            Some(path) => path.to_string(),
            None => "this network namespace".to_owned(),
        }
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Namespace {
            netns: self.netns.as_ref(),
            nsid: self.nsid,
        }
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("network namespace {}", self.nsid))
    }
}
