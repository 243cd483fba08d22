//! The words of the dispatcher commands.

use bpfman_core::links::AttachPoint;
use bpfman_core::links::Hook;
use bpfman_core::types::Direction;
use bpfman_core::types::IfIndex;
use bpfman_core::types::NetnsId;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use super::Output;

// `bpfman dispatcher ...`
#[derive(Debug, Subcommand)]
pub(crate) enum DispatcherCommand {
    /// List what runs where
    List(DispatcherListArgs),
    /// Show what runs at one hook of an interface, with its programs in order
    Get(DispatcherGetArgs),
    /// Detach every link of one hook of an interface
    Delete(DispatcherChangeArgs),
}

// `bpfman dispatcher list`
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct DispatcherListArgs {
    /// Only those of this hook
    #[arg(long = "type", value_name = "TYPE", value_enum, ignore_case = true)]
    hook: Option<DispatcherType>,
    /// Only those of this network namespace (the inode of its file)
    #[arg(long, value_name = "N")]
    nsid: Option<u64>,
    /// Only those of the interface with this index
    #[arg(long, value_name = "N")]
    ifindex: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `TYPE NSID IFINDEX`, as `dispatcher list` shows them.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PointArgs {
    /// The hook
    #[arg(value_name = "TYPE", value_enum, ignore_case = true)]
    hook: DispatcherType,
    /// The network namespace: the inode of its file
    nsid: u64,
    /// The interface's index
    ifindex: u32,
}

// `bpfman dispatcher get`
#[derive(Debug, Args)]
pub(crate) struct DispatcherGetArgs {
    #[command(flatten)]
    pub(crate) point: PointArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman dispatcher delete`
#[derive(Debug, Args)]
pub(crate) struct DispatcherChangeArgs {
    #[command(flatten)]
    pub(crate) point: PointArgs,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A hook whose programs share one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DispatcherType {
    /// XDP
    Xdp,
    /// Traffic control, into the interface
    TcIngress,
    /// Traffic control, out of the interface
    TcEgress,
}

impl DispatcherType {
    fn hook(self) -> Hook {
        match self {
            Self::Xdp => Hook::Xdp,
            Self::TcIngress => Hook::Tc(Direction::Ingress),
            Self::TcEgress => Hook::Tc(Direction::Egress),
        }
    }
}

impl DispatcherListArgs {
    /// Whether an attach point is to be shown.
    pub(crate) fn wants(&self, point: AttachPoint) -> bool {
        self.hook.is_none_or(|hook| point.hook == hook.hook())
            && self.nsid.is_none_or(|nsid| point.nsid == NetnsId(nsid))
            && self
                .ifindex
                .is_none_or(|ifindex| point.ifindex == IfIndex(ifindex))
    }
}

impl PointArgs {
    pub(crate) fn point(self) -> AttachPoint {
        AttachPoint {
            hook: self.hook.hook(),
            nsid: NetnsId(self.nsid),
            ifindex: IfIndex(self.ifindex),
        }
    }
}
