//! The pure core of bpfman.
//!
//! Everything here takes values and returns values: no I/O, no clock, no environment. The compiler
//! holds the line: the crate is `no_std` and forbids unsafe code.
//!
//! An operation is read in this order: a [`managed::LoadSpec`] (what the user asked for) and a
//! [`compute::LoadSnapshot`] (what the world looks like) go into [`compute::plan_load`], which returns a
//! [`action::Plan`]; the interpreter carries the plan out.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod action;
pub mod chain;
pub mod compute;
pub mod dispatcher;
pub mod kernel;
pub mod links;
pub mod managed;
pub mod object;
pub mod target;
pub mod types;
