//! `sockmap`: a map of sockets.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;

use serde::Deserialize;
use serde::Serialize;

use super::AttachRequest;
use super::AttachedTo;
use super::LinkKind;
use super::Recorded;
use super::words::Words;
use crate::types::AbsolutePath;

/// A program at a map of sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockmap {
    /// The map's pin.
    pub map: AbsolutePath,
    /// `enum bpf_attach_type` of `linux/bpf.h`.
    pub attach_type: u32,
}

impl Recorded for Sockmap {
    fn request(&self, _: LinkKind) -> Option<AttachRequest> {
        Some(AttachRequest::Sockmap {
            map: self.map.clone(),
        })
    }

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
