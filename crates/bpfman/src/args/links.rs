//! The words of the link commands.

use std::path::PathBuf;

use bpfman_core::links::LinkKind;
use bpfman_core::links::NetfilterFamily;
use bpfman_core::links::NetfilterHook;
use bpfman_core::links::PERF_EVENTS;
use bpfman_core::links::PerfEvent;
use bpfman_core::links::Sampling;
use bpfman_core::types::Direction;
use bpfman_core::types::InterfaceWord;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramType;
use bpfman_core::types::TC_VERDICTS;
use bpfman_core::types::XDP_VERDICTS;
use bpfman_core::types::XdpMode;
use bpfman_core::types::verdict_codes;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use super::Output;
use super::Pairs;
use super::program_type;
use crate::report::Failure;

// `bpfman link ...`
#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Attach a managed program
    Attach(AttachArgs),
    /// Detach links
    Detach(DetachArgs),
    /// List links
    List(LinkListArgs),
    /// Show one link
    Get(GetLinkArgs),
    /// Give a link of XDP or TC another place among those of its interface, without a gap
    Update(LinkUpdateArgs),
    /// Detach links; with -r also unload the programs that are left without any
    Delete(LinkDeleteArgs),
}

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

// An interface.
#[derive(Debug, Args)]
pub(crate) struct InterfaceArgs {
    /// The interface's name, or one of its alternative names
    #[arg(value_name = "INTERFACE", value_parser = interface_name)]
    pub(crate) interface: InterfaceWord,
    /// The interface's network namespace: a path, or a name that `ip netns` knows
    #[arg(short, long, value_name = "NETNS")]
    pub(crate) netns: Option<String>,
}

// `xdp`
#[derive(Debug, Args)]
pub(crate) struct XdpArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
    /// The verdicts after which the next program runs, of aborted, drop, pass, tx, redirect and dispatcher_return
    /// [default: pass,dispatcher_return]
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    proceed_on: Vec<String>,
    /// How the program meets its packets [default: `[dispatcher] xdp_mode` of the configuration, else auto]
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) mode: Option<Mode>,
    /// Count the program's runs through this link; `link get` shows them
    #[arg(long)]
    pub(crate) stats: bool,
}

// `tc`
#[derive(Debug, Args)]
pub(crate) struct TcArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// Which way packets go
    #[arg(value_enum, ignore_case = true)]
    pub(crate) direction: Way,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
    /// The verdicts after which the next program runs, of unspec, ok, reclassify, shot, pipe, stolen, queued, repeat,
    /// redirect, trap and dispatcher_return [default: pipe,dispatcher_return]
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    proceed_on: Vec<String>,
    /// Count the program's runs through this link; `link get` shows them
    #[arg(long)]
    pub(crate) stats: bool,
}

// `tcx`
#[derive(Debug, Args)]
pub(crate) struct TcxArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// Which way packets go
    #[arg(value_enum, ignore_case = true)]
    pub(crate) direction: Way,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
}

// `netkit`
#[derive(Debug, Args)]
pub(crate) struct NetkitArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", default_value = "0", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
}

// `tracepoint`
#[derive(Debug, Args)]
pub(crate) struct TracepointArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The tracepoint, such as syscalls/sys_enter_openat
    #[arg(value_name = "GROUP/NAME", value_parser = tracepoint)]
    pub(crate) tracepoint: (String, String),
}

// `raw_tracepoint`
#[derive(Debug, Args)]
pub(crate) struct RawTracepointArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The raw tracepoint, such as sys_enter
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

// `kprobe`
#[derive(Debug, Args)]
pub(crate) struct KprobeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The function
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,
    /// The offset in it, in bytes: decimal, or hexadecimal after 0x
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = offset)]
    pub(crate) offset: u64,
}

// `kprobe_multi`
#[derive(Debug, Args)]
pub(crate) struct KprobeMultiArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The functions; `*` stands for any characters
    #[arg(required = true, value_name = "FUNCTION")]
    pub(crate) functions: Vec<String>,
}

// A file that is probed.
#[derive(Debug, Args)]
pub(crate) struct ProbedFileArgs {
    /// An absolute path, or the name of a library, such as libc
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// Only in this process
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Look the target up in the container of this process
    #[arg(long)]
    pub(crate) container_pid: Option<u32>,
}

// `uprobe`
#[derive(Debug, Args)]
pub(crate) struct UprobeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) file: ProbedFileArgs,
    /// The function
    #[arg(short, long = "fn-name", value_name = "FUNCTION")]
    pub(crate) function: Option<String>,
    /// The offset in the function, or in the file, in bytes: decimal, or hexadecimal after 0x
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = offset)]
    pub(crate) offset: u64,
}

// `uprobe_multi`
#[derive(Debug, Args)]
pub(crate) struct UprobeMultiArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) file: ProbedFileArgs,
    /// The functions
    #[arg(
        short,
        long = "fn-name",
        required = true,
        value_delimiter = ',',
        value_name = "FUNCTION,..."
    )]
    pub(crate) functions: Vec<String>,
}

// `usdt`
#[derive(Debug, Args)]
pub(crate) struct UsdtArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) file: ProbedFileArgs,
    /// The probe
    #[arg(value_name = "PROVIDER:NAME", value_parser = usdt_probe)]
    pub(crate) probe: (String, String),
}

// The kinds that a program was bound to when it was loaded.
#[derive(Debug, Args)]
pub(crate) struct BoundArgs {
    #[command(flatten)]
    pub(crate) common: Common,
}

// `perf_event`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("sampling").required(true).args(["period", "frequency"]))]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(true).args(["cpu", "pid"]))]
pub(crate) struct PerfEventArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The event, such as cpu-clock or cache-misses
    #[arg(value_name = "EVENT", value_parser = perf_event)]
    pub(crate) event: PerfEvent,
    /// Run every so many events
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    period: Option<u64>,
    /// Run so many times a second
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u64).range(1..))]
    frequency: Option<u64>,
    /// Only on this processor
    #[arg(long)]
    pub(crate) cpu: Option<u32>,
    /// Only in this process
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

// `cgroup`
#[derive(Debug, Args)]
pub(crate) struct CgroupArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The cgroup's directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Which way packets go, for a cgroup_skb program whose section does not say
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) direction: Option<Way>,
}

// `sk_lookup`, `flow_dissector`
#[derive(Debug, Args)]
pub(crate) struct NamespaceArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The network namespace: a path, or a name that `ip netns` knows [default: this one]
    #[arg(short, long, value_name = "NETNS")]
    pub(crate) netns: Option<String>,
}

// `netfilter`
#[derive(Debug, Args)]
pub(crate) struct NetfilterArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The protocol family
    #[arg(value_enum, ignore_case = true)]
    pub(crate) family: Family,
    /// The hook
    #[arg(value_enum, ignore_case = true)]
    pub(crate) hook: FilterHook,
    /// The place among other hooks: the smaller, the earlier
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) priority: i32,
    /// Put fragments together first
    #[arg(long)]
    pub(crate) defragment: bool,
    /// The network namespace: a path, or a name that `ip netns` knows [default: this one]
    #[arg(short, long, value_name = "NETNS")]
    pub(crate) netns: Option<String>,
}

// `iter`
#[derive(Debug, Args)]
pub(crate) struct IterArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The pin of the map to walk through, for an iterator over a map's elements
    #[arg(long, value_name = "PIN")]
    pub(crate) map: Option<PathBuf>,
}

// `struct_ops`
#[derive(Debug, Args)]
pub(crate) struct StructOpsArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The map, by its name in the object [default: the only one that uses the program]
    #[arg(long, value_name = "NAME")]
    pub(crate) map: Option<String>,
}

// `sockmap`
#[derive(Debug, Args)]
pub(crate) struct SockmapArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The pin of the map
    #[arg(value_name = "PIN")]
    pub(crate) map: PathBuf,
}

// `bpfman link detach`
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// The links' ids
    #[arg(required = true, value_name = "LINK")]
    pub(crate) ids: Vec<u32>,
    /// A link that does not exist is no failure
    #[arg(long)]
    pub(crate) ignore_missing: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link get`
#[derive(Debug, Args)]
pub(crate) struct GetLinkArgs {
    /// The link's id
    #[arg(value_name = "LINK")]
    pub(crate) id: u32,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link list`
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct LinkListArgs {
    /// Print only ids
    #[arg(short, long, conflicts_with = "output")]
    pub(crate) quiet: bool,
    /// Only links of this program
    #[arg(long, value_name = "ID")]
    pub(crate) program_id: Option<u32>,
    /// Only links of these kinds
    #[arg(long = "kind", value_delimiter = ',', value_name = "KIND", value_parser = link_kind)]
    pub(crate) kinds: Vec<LinkKind>,
    /// Only links of programs of these types
    #[arg(short = 'p', long = "program-type", value_delimiter = ',', value_name = "TYPE", value_parser = program_type)]
    pub(crate) program_types: Vec<ProgramType>,
    /// Only links of programs of this application
    #[arg(long, value_name = "APP")]
    pub(crate) application: Option<String>,
    /// Only links of programs with this metadata; may be given several times
    #[arg(short, long = "metadata-selector", value_name = "KEY=VALUE,...", value_parser = Pairs::parse)]
    pub(crate) metadata_selector: Vec<Pairs>,
    /// Only links with this metadata of their own; may be given several times
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = Pairs::parse)]
    pub(crate) metadata: Vec<Pairs>,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link update LINK [--priority N] [--proceed-on VERDICT,...]`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["priority", "proceed_on"]))]
pub(crate) struct LinkUpdateArgs {
    /// The link's id; it stays the same
    #[arg(value_name = "LINK")]
    pub(crate) id: u32,
    /// Its program's new place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// The verdicts after which the next program runs now; `link attach xdp --help` and `tc --help` name them
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    proceed_on: Vec<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link delete`
#[derive(Debug, Args)]
pub(crate) struct LinkDeleteArgs {
    /// The links' ids
    #[arg(required = true, value_name = "LINK")]
    pub(crate) ids: Vec<u32>,
    /// Also unload the programs that are left without a link, and before them those that were loaded with their maps
    #[arg(short, long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Declares an enumeration of the command line that stands for one of the core.
macro_rules! words {
    ($(#[$attribute:meta])* $name:ident for $core:ident { $($(#[$variant_attribute:meta])* $variant:ident,)* }) => {
        #[derive(Clone, Copy, Debug, ValueEnum)]
        $(#[$attribute])*
        pub(crate) enum $name {
            $($(#[$variant_attribute])* $variant,)*
        }

        impl From<$name> for $core {
            fn from(word: $name) -> Self {
                match word {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }
    };
}

words! {
    /// A direction.
    Way for Direction {
        /// Into the interface
        Ingress,
        /// Out of the interface
        Egress,
    }
}

words! {
    /// An XDP mode.
    Mode for XdpMode {
        /// In the driver where it can, else generic
        Auto,
        /// In the driver
        Native,
        /// After the kernel has made a socket buffer
        Generic,
        /// On the card
        Offload,
    }
}

words! {
    /// A protocol family.
    Family for NetfilterFamily {
        /// IPv4
        Ipv4,
        /// IPv6
        Ipv6,
    }
}

words! {
    /// A netfilter hook.
    #[value(rename_all = "snake_case")]
    FilterHook for NetfilterHook {
        /// Before routing
        #[value(aliases = ["prerouting", "pre-routing"])]
        PreRouting,
        /// Into this host
        #[value(aliases = ["localin", "local-in", "input"])]
        LocalIn,
        /// Through this host
        Forward,
        /// Out of this host
        #[value(aliases = ["localout", "local-out", "output"])]
        LocalOut,
        /// After routing
        #[value(aliases = ["postrouting", "post-routing"])]
        PostRouting,
    }
}

impl XdpArgs {
    pub(crate) fn proceed_on(&self) -> Result<Option<Vec<i32>>, Failure> {
        codes(XDP_VERDICTS, &self.proceed_on)
    }
}

impl TcArgs {
    pub(crate) fn proceed_on(&self) -> Result<Option<Vec<i32>>, Failure> {
        codes(TC_VERDICTS, &self.proceed_on)
    }
}

impl LinkUpdateArgs {
    /// Whether the verdicts change, which have names of their own for each kind of link.
    pub(crate) fn names_verdicts(&self) -> bool {
        !self.proceed_on.is_empty()
    }

    /// The verdicts, of a link of this kind; none for a kind that knows none.
    pub(crate) fn proceed_on(&self, kind: LinkKind) -> Result<Option<Vec<i32>>, Failure> {
        match kind {
            LinkKind::Xdp => codes(XDP_VERDICTS, &self.proceed_on),
            LinkKind::Tc => codes(TC_VERDICTS, &self.proceed_on),
            _ => Ok(None),
        }
    }
}

impl PerfEventArgs {
    pub(crate) fn sampling(&self) -> Sampling {
        match (self.period, self.frequency) {
            (Some(period), _) => Sampling::Period(period),
            (None, frequency) => Sampling::Frequency(frequency.unwrap_or(1)),
        }
    }
}

fn codes(
    table: &[bpfman_core::types::Verdict],
    names: &[String],
) -> Result<Option<Vec<i32>>, Failure> {
    if names.is_empty() {
        return Ok(None);
    }
    let codes = verdict_codes(table, names.iter().map(String::as_str));
    codes.map(Some).map_err(|error| {
        Failure::input(error.to_string())
            .hint("`link attach xdp --help` and `link attach tc --help` list them")
    })
}

fn interface_name(text: &str) -> Result<InterfaceWord, String> {
    InterfaceWord::parse(text).map_err(|error| error.to_string())
}

fn priority(text: &str) -> Result<Priority, String> {
    let number: i64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    Priority::new(number).map_err(|error| error.to_string())
}

/// As `nm` and `objdump` print offsets, and as we do.
fn offset(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    // A sign is no digit, though `from_str_radix` takes one.
    let parsed = match digits {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| "expected a number of bytes, such as 16 or 0x10".to_owned())
}

fn tracepoint(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((group, name)) if !group.is_empty() && !name.is_empty() => {
            Ok((group.to_owned(), name.to_owned()))
        }
        _ => Err("expected GROUP/NAME".to_owned()),
    }
}

fn usdt_probe(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((provider, name)) if !provider.is_empty() && !name.is_empty() => {
            Ok((provider.to_owned(), name.to_owned()))
        }
        _ => Err("expected PROVIDER:NAME".to_owned()),
    }
}

fn perf_event(text: &str) -> Result<PerfEvent, String> {
    let found = PERF_EVENTS.iter().find(|event| event.name == text).copied();
    let names = || {
        PERF_EVENTS
            .iter()
            .map(|event| event.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    found.ok_or_else(|| format!("there are: {}", names()))
}

fn link_kind(text: &str) -> Result<LinkKind, String> {
    LinkKind::parse(text).map_err(|error| error.to_string())
}
