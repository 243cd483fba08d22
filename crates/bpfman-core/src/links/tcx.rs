//! `tcx`: the traffic control of an interface, in an order that the kernel keeps.

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
use crate::types::Direction;
use crate::types::Priority;

/// An interface's TCX hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcxRequest {
    /// The interface.
    pub interface: InterfaceRequest,
    /// Which way packets go.
    pub direction: Direction,
    /// The program's place.
    pub priority: Priority,
}

/// A program at a TCX hook of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcx {
    /// The interface.
    #[serde(flatten)]
    pub at: LinkInterface,
    /// Which way packets go.
    pub direction: Direction,
    /// The program's place.
    pub priority: Priority,
}

impl Tcx {
    pub(super) fn asked(&self) -> Option<TcxRequest> {
        Some(TcxRequest {
            interface: self.at.asked(),
            direction: self.direction,
            priority: self.priority,
        })
    }
}

impl Recorded for Tcx {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.at.interface);
        words.add(&self.direction);
        words.option("--priority", &self.priority);
        words.namespace(self.at.netns.as_ref());
    }

    fn reads(&self, interface: &str) -> String {
        format!("{interface} {}, priority {}", self.direction, self.priority)
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Interface(&self.at)
    }

    fn order(&self) -> Option<(Hook, Priority)> {
        Some((Hook::Tcx(self.direction), self.priority))
    }

    fn interface_mut(&mut self) -> Option<&mut LinkInterface> {
        Some(&mut self.at)
    }
}
