//! `netkit`: a netkit device; the type of the program says which of its ends is meant.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::AttachedTo;
use super::Hook;
use super::InterfaceRequest;
use super::LinkInterface;
use super::Recorded;
use super::words::Words;
use crate::types::Priority;

/// A netkit device; the program's type says which of its ends is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetkitRequest {
    /// The device's primary interface.
    pub interface: InterfaceRequest,
    /// The program's place.
    pub priority: Priority,
}

/// A program of a netkit device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netkit {
    /// The interface.
    #[serde(flatten)]
    pub at: LinkInterface,
    /// Whether packets of its peer are meant.
    pub peer: bool,
    /// The program's place.
    pub priority: Priority,
}

impl Netkit {
    pub(super) fn asked(&self) -> Option<NetkitRequest> {
        Some(NetkitRequest {
            interface: self.at.asked(),
            priority: self.priority,
        })
    }
}

impl Recorded for Netkit {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.at.interface);
        words.option("--priority", &self.priority);
        words.namespace(self.at.netns.as_ref());
    }

    fn reads(&self, interface: &str) -> String {
        let end = if self.peer { "peer" } else { "primary" };
        format!("{interface} {end}, priority {}", self.priority)
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Interface(&self.at)
    }

    fn order(&self) -> Option<(Hook, Priority)> {
        Some((Hook::Netkit { peer: self.peer }, self.priority))
    }

    fn interface_mut(&mut self) -> Option<&mut LinkInterface> {
        Some(&mut self.at)
    }
}
