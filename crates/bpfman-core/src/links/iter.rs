//! `iter`: an iterator, which runs when the pin of its link is read.

use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::AttachRequest;
use super::LinkKind;
use super::Recorded;
use super::words::Words;
use crate::types::AbsolutePath;

/// A program that walks through objects of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iter {
    /// What it walks through.
    pub target: String,
    /// The map it walks through.
    pub map: Option<AbsolutePath>,
}

impl Recorded for Iter {
    fn request(&self, _: LinkKind) -> Option<AttachRequest> {
        Some(AttachRequest::Iter {
            map: self.map.clone(),
        })
    }

    fn add_words(&self, words: &mut Words, _: bool) {
        words.optional("--map", self.map.as_ref());
    }

    fn reads(&self, _: &str) -> String {
        self.target.clone()
    }
}
