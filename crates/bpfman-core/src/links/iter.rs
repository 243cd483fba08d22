//! `iter`: an iterator, which runs when the pin of its link is read.

use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::Recorded;
use super::words::Words;
use crate::types::AbsolutePath;

/// An iterator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IterRequest {
    /// The map it walks through, by its pin.
    pub map: Option<AbsolutePath>,
}

/// A program that walks through objects of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iter {
    /// What it walks through.
    pub target: String,
    /// The map it walks through.
    pub map: Option<AbsolutePath>,
}

impl Iter {
    pub(super) fn asked(&self) -> Option<IterRequest> {
        Some(IterRequest {
            map: self.map.clone(),
        })
    }
}

impl Recorded for Iter {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.optional("--map", self.map.as_ref());
    }

    fn reads(&self, _: &str) -> String {
        self.target.clone()
    }
}
