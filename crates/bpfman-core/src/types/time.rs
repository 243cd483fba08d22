//! Points in time. Core never reads a clock: every value comes in as an argument.

use serde::Deserialize;
use serde::Serialize;

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

/// Nanoseconds since this kernel booted, as `bpf_prog_info.load_time` (CLOCK_BOOTTIME).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelTime(pub u64);

impl KernelTime {
    /// The wall-clock time of this instant, given the wall-clock time of the boot.
    #[must_use]
    pub fn at_boot(self, boot: UnixTime) -> UnixTime {
        UnixTime(boot.0.saturating_add(self.0))
    }
}
