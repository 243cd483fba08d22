//! The words of an attach: for each kind of link what it takes, and what that asks for.

mod interfaces;
mod places;
mod probes;
mod words;

use bpfman_core::links::AttachRequest;
use clap::Args;
use clap::Subcommand;

use super::Output;
use super::Pairs;
use crate::config::Config;
use crate::report::Failure;
use interfaces::NetkitArgs;
use interfaces::TcArgs;
use interfaces::TcxArgs;
use interfaces::XdpArgs;
use places::CgroupArgs;
use places::IterArgs;
use places::NamespaceArgs;
use places::NetfilterArgs;
use places::SockmapArgs;
use places::StructOpsArgs;
use probes::BoundArgs;
use probes::KprobeArgs;
use probes::KprobeMultiArgs;
use probes::PerfEventArgs;
use probes::RawTracepointArgs;
use probes::TracepointArgs;
use probes::UprobeArgs;
use probes::UprobeMultiArgs;
use probes::UsdtArgs;

pub(super) use words::codes;
pub(super) use words::priority;

// `bpfman link attach KIND PROGRAM ...`
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// What to attach to
    #[command(subcommand)]
    pub(crate) kind: AttachKind,
}

// What every kind takes.
#[derive(Debug, Args)]
pub(crate) struct LinkOptions {
    /// Metadata of the link, pairs with commas between; `\,` is a comma in a value. May be given several times
    #[arg(short, long = "metadata", value_name = "KEY=VALUE,...", value_parser = Pairs::parse)]
    pub(crate) metadata: Vec<Pairs>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// The program and the options of every kind.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The program's id
    #[arg(value_name = "PROGRAM")]
    pub(crate) program: u32,
    #[command(flatten)]
    pub(crate) options: LinkOptions,
}

/// What the words of a kind ask for.
trait Asks {
    /// What asks for a link of the kind.
    type Request;

    fn request(&self, config: &Config) -> Result<Self::Request, Failure>;
}

macro_rules! attach_kinds {
    ($($(#[$attribute:meta])* $variant:ident($args:ty),)*) => {
        // The kinds of links.
        #[derive(Debug, Subcommand)]
        #[command(rename_all = "snake_case", defer = true)]
        pub(crate) enum AttachKind {
            $($(#[$attribute])* $variant($args),)*
        }

        impl AttachKind {
            /// The program and the options that every kind has.
            pub(crate) fn common(&self) -> (u32, &LinkOptions) {
                match self {
                    $(Self::$variant(args) => (args.common.program, &args.common.options),)*
                }
            }

            /// What is asked for.
            pub(crate) fn request(&self, config: &Config) -> Result<AttachRequest, Failure> {
                match self {
                    $(Self::$variant(args) => args.request(config).map(AttachRequest::$variant),)*
                }
            }
        }
    };
}

attach_kinds! {
    /// An interface, before the kernel looks at the packet
    Xdp(XdpArgs),
    /// An interface's traffic control
    Tc(TcArgs),
    /// An interface's traffic control, in the kernel's own order (Linux 6.6)
    Tcx(TcxArgs),
    /// A netkit device (Linux 6.7)
    Netkit(NetkitArgs),
    /// A tracepoint
    Tracepoint(TracepointArgs),
    /// A raw tracepoint
    #[command(alias = "raw-tracepoint", alias = "raw_tp")]
    RawTracepoint(RawTracepointArgs),
    /// A function of the kernel; on return for a program loaded as kretprobe
    Kprobe(KprobeArgs),
    /// Several functions of the kernel (Linux 5.18)
    #[command(alias = "kprobe-multi", alias = "kprobe.multi")]
    KprobeMulti(KprobeMultiArgs),
    /// A function of a file; on return for a program loaded as uretprobe
    Uprobe(UprobeArgs),
    /// Several functions of a file (Linux 6.6)
    #[command(alias = "uprobe-multi", alias = "uprobe.multi")]
    UprobeMulti(UprobeMultiArgs),
    /// A probe that a file's author placed
    Usdt(UsdtArgs),
    /// The entry of the function that the program was loaded for
    Fentry(BoundArgs),
    /// The return of the function that the program was loaded for
    Fexit(BoundArgs),
    /// The function that the program was loaded for, which may change what it returns
    #[command(alias = "fmod-ret")]
    FmodRet(BoundArgs),
    /// Entry and return of the function that the program was loaded for
    Fsession(BoundArgs),
    /// The security hook that the program was loaded for
    Lsm(BoundArgs),
    /// The tracepoint that the program was loaded for
    #[command(alias = "tp-btf")]
    TpBtf(BoundArgs),
    /// The program and function that the program was loaded to replace
    Freplace(BoundArgs),
    /// A perf event, on one processor or in one process
    #[command(alias = "perf-event")]
    PerfEvent(PerfEventArgs),
    /// A cgroup (version 2)
    Cgroup(CgroupArgs),
    /// The socket lookup of a network namespace
    #[command(alias = "sk-lookup")]
    SkLookup(NamespaceArgs),
    /// The flow dissector of a network namespace
    #[command(alias = "flow-dissector")]
    FlowDissector(NamespaceArgs),
    /// A netfilter hook (Linux 6.4)
    Netfilter(NetfilterArgs),
    /// An iterator: reading the pin of its link runs the program
    Iter(IterArgs),
    /// What a struct_ops map of the program's object implements, such as a congestion control (Linux 6.4)
    #[command(alias = "struct-ops")]
    StructOps(StructOpsArgs),
    /// A map of sockets (Linux 6.10)
    Sockmap(SockmapArgs),
}
