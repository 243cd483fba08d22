//! What is said of one link.

use bpfman_core::compute::Whereabouts;
use bpfman_core::kernel;
use bpfman_core::kernel::Counter;
use bpfman_core::kernel::KernelError;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;

/// All there is to say about one link.
#[derive(Debug)]
pub struct LinkStatus {
    /// Its record.
    pub record: Link,
    /// Its place among the links of its attach point, first is 0.
    pub position: Option<usize>,
    /// The kernel's description; `None` when the kernel no longer has it, or did not tell.
    pub kernel: Option<kernel::Link>,
    /// Why something that the kernel was asked is not known; all the rest is.
    pub unread: Option<KernelError>,
    /// Whether the kernel has it: the link, or the filter that stands for one.
    pub attached: bool,
    /// Whether its pin is there and is its own.
    pub pin_present: bool,
    /// What runs at its attach point, where it is one of several that may share it.
    pub dispatcher: Option<Dispatcher>,
    /// Its runs, where they are counted.
    pub counter: Option<Counter>,
    /// Where its interface is now; `None` for what has none, or is attached to none any more.
    pub whereabouts: Option<Whereabouts>,
    /// Why its program does not run at its attach point, where it could not be joined with the others.
    pub left_out: Option<String>,
}
