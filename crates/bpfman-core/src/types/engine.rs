//! How several programs of one hook are made to run.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use strum::Display;

use super::TC_DISPATCHER_RETURN;
use super::TC_OK;
use super::XDP_DISPATCHER_RETURN;
use super::XDP_PASS;

/// How the programs of an attach point are made to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Engine {
    /// One alone is attached itself; several run as one compiled program.
    #[default]
    Auto,
    /// Each is an extension of a dispatcher, also one alone (contract: section 4).
    Extension,
}

/// An engine that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown engine `{}` (expected auto or extension)", .0.escape_debug())]
pub struct UnknownEngine(pub String);

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text {
            "auto" => Ok(Self::Auto),
            "extension" => Ok(Self::Extension),
            other => Err(UnknownEngine(other.to_owned())),
        }
    }
}

/// The programs that can run one after the other on one hook.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Family {
    /// XDP programs.
    Xdp,
    /// TC programs.
    Tc,
}

impl Family {
    /// The structure that the kernel gives its programs.
    pub(crate) fn context(self) -> &'static str {
        match self {
            Self::Xdp => "xdp_md",
            Self::Tc => "__sk_buff",
        }
    }

    /// The name of the dispatcher's program, by which libxdp knows one.
    #[must_use]
    pub fn dispatcher(self) -> &'static str {
        match self {
            Self::Xdp => "xdp_dispatcher",
            Self::Tc => "tc_dispatcher",
        }
    }

    /// What an empty slot of a dispatcher answers.
    #[must_use]
    pub fn empty_slot(self) -> i32 {
        match self {
            Self::Xdp => XDP_DISPATCHER_RETURN,
            Self::Tc => TC_DISPATCHER_RETURN,
        }
    }

    /// What is answered when the last program lets a packet go on (contract: section 4).
    #[must_use]
    pub fn end(self) -> i32 {
        match self {
            Self::Xdp => XDP_PASS,
            Self::Tc => TC_OK,
        }
    }
}
