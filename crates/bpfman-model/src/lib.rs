//! The simulated world: a kernel with its BPF objects, the file systems, and the stores in them.
//!
//! A [`World`] satisfies the traits of [`bpfman_interpreter::interfaces`] with the outcomes and the kinds of
//! errors of the real adapters; `tests/real_kernel.rs` asks both the same questions. What it adds is what no real
//! kernel offers: any effect can be refused ([`Faults`]), ids can be recycled at will, all of what persists can be
//! compared at once ([`Places`]), and a process can die at any moment ([`World::crash`]).
//!
//! How it is put together, from the inside out: `tree` (file systems), `objects` (what the kernel holds, and for
//! whom), `network` and `catalogue` (what there is to attach to), `state` (all of it, and the admission of effects),
//! then one adapter a trait: `kernel` with `pins`, `load`, `program`, `attach`, `links`, `swap` and `filters`, `files`,
//! `runtime`, `targets`. `code` makes up what programs do and `run` follows it. `world` and `surroundings` are the tests'
//! way in.
//!
//! Where it is simpler than the kernel: the verifier only counts, there is no writer lock, an extension does not keep
//! the program that it was loaded for, every program of an object uses
//! all maps of the object, maps differ in type only and hold nothing, and only XDP, TCX, netkit, tracepoints and
//! what is bound at load know that something is taken.

mod attach;
mod catalogue;
mod code;
mod errno;
mod faults;
mod files;
mod filters;
mod kernel;
mod known;
pub mod link_types;
mod links;
mod load;
mod network;
mod objects;
mod pins;
mod places;
mod program;
mod run;
mod runtime;
mod state;
mod surroundings;
mod swap;
mod targets;
mod tree;
mod world;

pub use errno::Errno;
pub use faults::Crash;
pub use faults::Faults;
pub use files::SimulatedFiles;
pub use kernel::SimulatedKernel;
pub use network::FilterKey;
pub use places::Places;
pub use run::Run;
pub use runtime::SimulatedRuntime;
pub use state::Effect;
pub use state::EffectResult;
pub use targets::SimulatedTargets;
pub use tree::Content;
pub use tree::Kept;
pub use tree::KeptRecord;
pub use tree::Node;
pub use world::Process;
pub use world::World;
