//! Dispatchers: the programs that run several others, each in one of their slots, on one hook.
//!
//! A dispatcher is told by its configuration, which is written into its object before the load, how many
//! slots are in use and after which answers the next one runs. That of XDP follows the protocol of libxdp
//! (`lib/libxdp/protocol.org` of xdp-tools), so that its tools and ours can read each other's; that of TC
//! is like it, without what only XDP needs.

mod config;
mod mask;

pub use config::ConfigError;
pub use config::DispatcherConfig;
pub use config::Layout;
pub use config::MAX_SLOTS;
pub use config::Slot;
pub use config::TC_CONFIG_BYTES;
pub use config::TooManySlots;
pub use config::XDP_CONFIG_BYTES;
pub use mask::mask;

/// The functions that members take the place of, by slot.
pub const SLOT_FUNCTIONS: [&str; MAX_SLOTS] = [
    "prog0", "prog1", "prog2", "prog3", "prog4", "prog5", "prog6", "prog7", "prog8", "prog9",
];
/// The variable of a dispatcher that holds its configuration, the only one in its section.
pub const CONFIG_VARIABLE: &str = "conf";
/// The section of [`CONFIG_VARIABLE`].
pub const CONFIG_SECTION: &str = ".rodata";
