//! What the words of a request mean on this machine.

use alloc::string::String;
use alloc::vec::Vec;

use super::struct_ops::StructOpsFacts;
use crate::kernel;
use crate::kernel::AttachOrder;
use crate::links::LinkInterface;
use crate::links::ProbeSite;
use crate::managed::Link;
use crate::target::UsdtProbe;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::NetnsId;

/// What the words of an [`crate::links::AttachRequest`] mean on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachFacts {
    /// There was nothing to look up.
    Nothing,
    /// An interface.
    Interface(InterfaceFacts),
    /// The id of a tracepoint.
    Tracepoint(u64),
    /// Functions of the kernel.
    Functions(Vec<String>),
    /// Places of a file.
    Sites {
        /// The file as the kernel is told.
        path: AbsolutePath,
        /// The places.
        sites: Vec<ProbeSite>,
    },
    /// A probe that a file's author placed.
    Usdt(UsdtFacts),
    /// The id of a cgroup.
    Cgroup(u64),
    /// A network namespace.
    Namespace(NetnsId),
    /// A struct_ops map.
    StructOps(StructOpsFacts),
}

/// An interface and what is attached to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// The interface, as it is called now.
    pub at: LinkInterface,
    /// What the kernel has at the hook.
    pub attached: AttachOrder,
    /// Our links at the hook.
    pub neighbours: Vec<Link>,
    /// The link that holds the programs of TC, which stands in the same order.
    pub tc: Option<KernelLinkId>,
    /// Whether something is at [`super::tcx_pin`] of the program, or a record says so: the link of an interface that is gone,
    /// whose numbers this one has now, or one that has lost its pin.
    pub tcx_pin_taken: bool,
}

/// A probe that a file's author placed, and where its arguments can be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtFacts {
    /// The file as the kernel is told.
    pub path: AbsolutePath,
    /// The probe.
    pub probe: UsdtProbe,
    /// The map [`crate::target::USDT_SPECS`] of the program, as the kernel knows it; `None` when the program has none.
    pub specs: Option<kernel::Map>,
    /// The links of the programs that use the same map.
    pub neighbours: Vec<Link>,
}
