//! `tc`: the traffic control of an interface, whose programs share one attachment.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::AttachedTo;
use super::InterfaceRequest;
use super::LinkInterface;
use super::Membership;
use super::Recorded;
use super::SharedHook;
use super::words::Words;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::Priority;
use crate::types::TC_DEFAULT;
use crate::types::TC_VERDICTS;

/// An interface's TC hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcRequest {
    /// The interface.
    pub interface: InterfaceRequest,
    /// Which way packets go.
    pub direction: Direction,
    /// The program's place.
    pub priority: Priority,
    /// The verdicts after which the chain goes on; `None` for the default.
    pub proceed_on: Option<Vec<i32>>,
    /// Whether its runs are counted.
    pub count: bool,
}

/// A program at a TC hook of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tc {
    /// The interface.
    #[serde(flatten)]
    pub at: LinkInterface,
    /// Which way packets go.
    pub direction: Direction,
    /// The program's place.
    pub priority: Priority,
    /// The verdicts after which the chain goes on.
    pub proceed_on: Vec<i32>,
    /// The pin of the map that counts its runs, where that was asked for.
    #[serde(default)]
    pub counter: Option<AbsolutePath>,
}

impl Tc {
    pub(super) fn asked(&self) -> Option<TcRequest> {
        Some(TcRequest {
            interface: self.at.asked(),
            direction: self.direction,
            priority: self.priority,
            proceed_on: Some(self.proceed_on.clone()),
            count: self.counter.is_some(),
        })
    }
}

impl Recorded for Tc {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.at.interface);
        words.add(&self.direction);
        words.option("--priority", &self.priority);
        words.verdicts(TC_VERDICTS, TC_DEFAULT, &self.proceed_on);
        words.flag("--stats", self.counter.is_some());
        words.namespace(self.at.netns.as_ref());
    }

    fn reads(&self, interface: &str) -> String {
        format!("{interface} {}, priority {}", self.direction, self.priority)
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Interface(&self.at)
    }

    fn membership(&self) -> Option<Membership<'_>> {
        Some(Membership {
            hook: SharedHook::Tc {
                direction: self.direction,
            },
            at: &self.at,
            priority: self.priority,
            proceed_on: &self.proceed_on,
            counter: self.counter.as_ref(),
        })
    }

    fn interface_mut(&mut self) -> Option<&mut LinkInterface> {
        Some(&mut self.at)
    }
}
