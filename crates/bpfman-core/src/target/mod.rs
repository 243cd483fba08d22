//! What files and lists say about the things a program can be attached to.
//!
//! A user names a function, a probe or a library; the kernel wants offsets and paths. [`Executable`] answers from
//! an ELF file, [`loader_cache`] and [`process_maps`] find the file, and [`Suggestions`] collects what may have been
//! meant when nothing was found. Nothing here is trusted: every range is checked and every table has a limit.

mod arguments;
mod executable;
pub mod library;
pub mod loader_cache;
pub mod mountinfo;
mod pattern;
pub mod process_maps;
mod suggest;
mod symbols;
#[cfg(test)]
mod testing;
mod usdt;
mod versions;

pub use arguments::Argument;
pub use arguments::ArgumentError;
pub use arguments::ArgumentMachine;
pub use arguments::ArgumentPlace;
pub use arguments::MAX_USDT_ARGUMENTS;
pub use arguments::SpecLayout;
pub use arguments::SpecLayoutError;
pub use arguments::UsdtSpec;
pub use executable::Executable;
pub use executable::ExecutableError;
pub use pattern::is_pattern;
pub use pattern::matches_pattern;
pub use suggest::MAX_SUGGESTIONS;
pub use suggest::Suggestions;
pub use suggest::suggest;
pub use symbols::Function;
pub use symbols::FunctionError;
pub use usdt::MAX_PROBE_SITES;
pub use usdt::USDT_SPECS;
pub use usdt::UsdtError;
pub use usdt::UsdtProbe;
