//! Symbols that an object leaves to others.

use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

/// A symbol that the object does not define.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extern {
    /// Its name.
    pub name: String,
    /// Whether it may be missing.
    pub weak: bool,
    /// Who defines it.
    pub kind: ExternKind,
}

/// Who defines a symbol that the object does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExternKind {
    /// The kernel: a function (`__ksym`).
    Function,
    /// The kernel: a variable with a type.
    Variable,
    /// The kernel: the address of whatever has this name.
    Address,
    /// The configuration of the kernel (`__kconfig`), with a type of this kind.
    Configuration(ConfigurationKind),
    /// Nobody: the declaration says neither.
    Undefined,
}

/// The type of a value of the kernel's configuration, as far as its spelling depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigurationKind {
    /// `y`, `m` or `n`.
    Choice,
    /// A number.
    Number,
    /// A text in quotes.
    Text,
}
