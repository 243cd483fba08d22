//! The room that touches the world.
//!
//! Everything above it decides with values; this crate carries the values out: [`executor`] interprets plans,
//! [`store`] keeps records, and the traits of [`interfaces`] are what the manager needs of a world, no more.

pub mod environment;
pub mod executor;
pub mod files;
pub mod interfaces;

pub mod kernel;
pub mod lock;
mod namespace;
pub mod operation;
mod reserve;
pub mod runtime;
pub mod stack;
pub mod store;
pub mod targets;
mod vmlinux;
