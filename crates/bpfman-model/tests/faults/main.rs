//! Every step of an operation fails once, and then its undos fail too; and at every step the process is killed once.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod killed;
mod left;
mod refused;
mod replaced;
mod scenes;
