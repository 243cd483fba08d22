//! `sockmap`: a map of sockets.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;

use serde::Deserialize;
use serde::Serialize;

use super::AttachedTo;
use super::Recorded;
use super::words::Words;
use crate::types::AbsolutePath;

/// A map of sockets, by its pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SockmapRequest {
    /// The pin.
    pub map: AbsolutePath,
}

/// A program at a map of sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockmap {
    /// The map's pin.
    pub map: AbsolutePath,
    /// `enum bpf_attach_type` of `linux/bpf.h`.
    pub attach_type: u32,
}

impl Sockmap {
    pub(super) fn asked(&self) -> Option<SockmapRequest> {
        Some(SockmapRequest {
            map: self.map.clone(),
        })
    }
}

impl Recorded for Sockmap {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.map);
    }

    fn reads(&self, _: &str) -> String {
        self.map.to_string()
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Pin(&self.map)
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("map {}", self.map))
    }
}
