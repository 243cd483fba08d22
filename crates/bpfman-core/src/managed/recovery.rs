//! The record of an operation that was killed.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use crate::action::Way;
use crate::types::UnixTime;

/// An operation that was killed, and that another one brought to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// What it was: `the unload of program 7`.
    pub operation: String,
    /// Whether it was undone, or done.
    pub way: Way,
    /// When.
    pub at: UnixTime,
    /// What somebody else had changed meanwhile and was left alone, one line each.
    pub left: Vec<String>,
}
