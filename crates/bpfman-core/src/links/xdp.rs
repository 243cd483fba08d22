//! `xdp`: an interface, before the kernel makes a socket buffer.

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
use crate::types::Priority;
use crate::types::XDP_DEFAULT;
use crate::types::XDP_VERDICTS;
use crate::types::XdpMode;

/// An interface's XDP hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpRequest {
    /// The interface.
    pub interface: InterfaceRequest,
    /// The program's place.
    pub priority: Priority,
    /// The verdicts after which the chain goes on; `None` for the default.
    pub proceed_on: Option<Vec<i32>>,
    /// How it meets its packets.
    pub mode: XdpMode,
    /// Whether its runs are counted.
    pub count: bool,
}

/// A program at the XDP hook of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xdp {
    /// The interface.
    #[serde(flatten)]
    pub at: LinkInterface,
    /// The program's place.
    pub priority: Priority,
    /// The verdicts after which the chain goes on.
    pub proceed_on: Vec<i32>,
    /// How it meets its packets.
    pub mode: XdpMode,
    /// The pin of the map that counts its runs, where that was asked for.
    #[serde(default)]
    pub counter: Option<AbsolutePath>,
}

impl Xdp {
    pub(super) fn asked(&self) -> Option<XdpRequest> {
        Some(XdpRequest {
            interface: self.at.asked(),
            priority: self.priority,
            proceed_on: Some(self.proceed_on.clone()),
            mode: self.mode,
            count: self.counter.is_some(),
        })
    }
}

impl Recorded for Xdp {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.at.interface);
        words.option("--priority", &self.priority);
        words.verdicts(XDP_VERDICTS, XDP_DEFAULT, &self.proceed_on);
        if self.mode != XdpMode::Auto {
            words.option("--mode", &self.mode);
        }
        words.flag("--stats", self.counter.is_some());
        words.namespace(self.at.netns.as_ref());
    }

    fn reads(&self, interface: &str) -> String {
        format!("{interface}, priority {}", self.priority)
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Interface(&self.at)
    }

    fn membership(&self) -> Option<Membership<'_>> {
        Some(Membership {
            hook: SharedHook::Xdp { mode: self.mode },
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
