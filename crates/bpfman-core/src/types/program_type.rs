//! The one table of program types: names, what the kernel calls them, and which sections mean them.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error;
use strum::Display;

/// `BPF_F_SLEEPABLE` of `linux/bpf.h`: a load flag, taken from a `.s` section.
pub const F_SLEEPABLE: u32 = 1 << 4;
/// `BPF_F_XDP_HAS_FRAGS` of `linux/bpf.h`: a load flag, taken from an `xdp.frags` section.
pub const F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// Whether a load names the kernel function or hook that the program binds to (`TYPE:NAME:ATTACH_FUNC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachFunctionRule {
    /// It must (contract: fentry, fexit, lsm).
    Required,
    /// It may; otherwise the section names it.
    Optional,
    /// The type has no such thing.
    Refused,
}

use AttachFunctionRule::Optional;
use AttachFunctionRule::Refused;
use AttachFunctionRule::Required;

/// A program type as the kernel numbers it: `enum bpf_prog_type` of `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelProgramType(pub u32);

macro_rules! kernel_program_types {
    ($($number:literal $constant:ident $name:literal)*) => {
        impl KernelProgramType {
            $(#[doc = concat!("`BPF_PROG_TYPE_", stringify!($constant), "`.")]
            pub const $constant: Self = Self($number);)*

            /// The name in the JSON output (contract: section 1); `None` for a type newer than this table.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

kernel_program_types! {
    0 UNSPEC "unspecified"
    1 SOCKET_FILTER "socketfilter"
    2 KPROBE "kprobe"
    3 SCHED_CLS "schedcls"
    4 SCHED_ACT "schedact"
    5 TRACEPOINT "tracepoint"
    6 XDP "xdp"
    7 PERF_EVENT "perfevent"
    8 CGROUP_SKB "cgroupskb"
    9 CGROUP_SOCK "cgroupsock"
    10 LWT_IN "lwtin"
    11 LWT_OUT "lwtout"
    12 LWT_XMIT "lwtxmit"
    13 SOCK_OPS "sockops"
    14 SK_SKB "skskb"
    15 CGROUP_DEVICE "cgroupdevice"
    16 SK_MSG "skmsg"
    17 RAW_TRACEPOINT "rawtracepoint"
    18 CGROUP_SOCK_ADDR "cgroupsockaddr"
    19 LWT_SEG6LOCAL "lwtseg6local"
    20 LIRC_MODE2 "lircmode2"
    21 SK_REUSEPORT "skreuseport"
    22 FLOW_DISSECTOR "flowdissector"
    23 CGROUP_SYSCTL "cgroupsysctl"
    24 RAW_TRACEPOINT_WRITABLE "rawtracepointwritable"
    25 CGROUP_SOCKOPT "cgroupsockopt"
    26 TRACING "tracing"
    27 STRUCT_OPS "structops"
    28 EXTENSION "extension"
    29 LSM "lsm"
    30 SK_LOOKUP "sklookup"
    31 SYSCALL "syscall"
    32 NETFILTER "netfilter"
}

impl fmt::Display for KernelProgramType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown({})", self.0),
        }
    }
}

/// A `TYPE` that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown program type `{0}`")]
pub struct UnknownProgramType(pub String);

macro_rules! program_types {
    ($($(#[$doc:meta])* $variant:ident $name:literal $kernel:ident $attach:expr, $family:ident $function:ident [$($section:literal)*])*) => {
        /// A program type as users name it. Finer than the kernel's: what is loaded the same way but
        /// attached differently (kprobe and uprobe, say) has two names here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, Serialize)]
        pub enum ProgramType {
            $($(#[$doc])*
            #[strum(serialize = $name)]
            #[serde(rename = $name)]
            #[doc = concat!("`", $name, "`: `BPF_PROG_TYPE_", stringify!($kernel), "`, sections", $(" `", $section, "`",)* ".")]
            $variant,)*
        }

        impl ProgramType {
            /// Every type, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the command line and in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the kernel calls it.
            #[must_use]
            pub fn kernel_type(self) -> KernelProgramType {
                match self {
                    $(Self::$variant => KernelProgramType::$kernel,)*
                }
            }

            /// The expected attach type of the load (`enum bpf_attach_type`); `None` where the loader
            /// finds it (struct_ops) or the type has none.
            #[must_use]
            pub fn expected_attach_type(self) -> Option<u32> {
                match self {
                    $(Self::$variant => $attach,)*
                }
            }

            /// Whether a load names an attach function.
            #[must_use]
            pub fn attach_function_rule(self) -> AttachFunctionRule {
                match self {
                    $(Self::$variant => $function,)*
                }
            }

            /// The section names that mean this type, as libbpf spells them: `+` at the end stands
            /// for nothing or `/` and anything.
            #[must_use]
            pub fn sections(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($section,)*],)*
                }
            }

            /// The type whose name stands for the family: a declaration may move a program within it.
            fn family(self) -> Self {
                match self {
                    $(Self::$variant => Self::$family,)*
                }
            }
        }
    };
}

// Attach type numbers: `enum bpf_attach_type` of linux/bpf.h. Sections: libbpf 1.7, `section_defs`; a
// test of the interpreter compares every row with libbpf's own answer.
program_types! {
    Xdp "xdp" XDP Some(37), Xdp Refused ["xdp" "xdp.frags"]
    XdpDevmap "xdp_devmap" XDP Some(33), XdpDevmap Refused ["xdp/devmap" "xdp.frags/devmap"]
    XdpCpumap "xdp_cpumap" XDP Some(35), XdpCpumap Refused ["xdp/cpumap" "xdp.frags/cpumap"]
    Tc "tc" SCHED_CLS None, Tc Refused ["tc" "classifier"]
    TcAction "tc_action" SCHED_ACT None, Tc Refused ["action"]
    /// Loaded without a direction: attaching decides between ingress and egress.
    Tcx "tcx" SCHED_CLS None, Tc Refused ["tcx/ingress" "tcx/egress" "tc/ingress" "tc/egress"]
    NetkitPrimary "netkit_primary" SCHED_CLS Some(54), NetkitPrimary Refused ["netkit/primary"]
    NetkitPeer "netkit_peer" SCHED_CLS Some(55), NetkitPeer Refused ["netkit/peer"]
    Tracepoint "tracepoint" TRACEPOINT None, Tracepoint Refused ["tracepoint+" "tp+"]
    RawTracepoint "raw_tracepoint" RAW_TRACEPOINT None, RawTracepoint Refused ["raw_tracepoint+" "raw_tp+"]
    RawTracepointWritable "raw_tracepoint_writable" RAW_TRACEPOINT_WRITABLE None, RawTracepointWritable Refused ["raw_tracepoint.w+" "raw_tp.w+"]
    Kprobe "kprobe" KPROBE None, Kprobe Refused ["kprobe+"]
    Kretprobe "kretprobe" KPROBE None, Kprobe Refused ["kretprobe+"]
    KprobeMulti "kprobe_multi" KPROBE Some(42), KprobeMulti Refused ["kprobe.multi+"]
    KretprobeMulti "kretprobe_multi" KPROBE Some(42), KprobeMulti Refused ["kretprobe.multi+"]
    KprobeSession "kprobe_session" KPROBE Some(56), KprobeSession Refused ["kprobe.session+"]
    Ksyscall "ksyscall" KPROBE None, Ksyscall Refused ["ksyscall+"]
    Kretsyscall "kretsyscall" KPROBE None, Ksyscall Refused ["kretsyscall+"]
    Uprobe "uprobe" KPROBE None, Uprobe Refused ["uprobe+" "uprobe.s+"]
    Uretprobe "uretprobe" KPROBE None, Uprobe Refused ["uretprobe+" "uretprobe.s+"]
    UprobeMulti "uprobe_multi" KPROBE Some(48), UprobeMulti Refused ["uprobe.multi+" "uprobe.multi.s+"]
    UretprobeMulti "uretprobe_multi" KPROBE Some(48), UprobeMulti Refused ["uretprobe.multi+" "uretprobe.multi.s+"]
    UprobeSession "uprobe_session" KPROBE Some(57), UprobeSession Refused ["uprobe.session+" "uprobe.session.s+"]
    Usdt "usdt" KPROBE None, Usdt Refused ["usdt+" "usdt.s+"]
    Fentry "fentry" TRACING Some(24), Fentry Required ["fentry+" "fentry.s+"]
    Fexit "fexit" TRACING Some(25), Fexit Required ["fexit+" "fexit.s+"]
    FmodRet "fmod_ret" TRACING Some(26), FmodRet Optional ["fmod_ret+" "fmod_ret.s+"]
    Fsession "fsession" TRACING Some(58), Fsession Optional ["fsession+" "fsession.s+"]
    TpBtf "tp_btf" TRACING Some(23), TpBtf Optional ["tp_btf+"]
    Iter "iter" TRACING Some(28), Iter Optional ["iter+" "iter.s+"]
    Lsm "lsm" LSM Some(27), Lsm Required ["lsm+" "lsm.s+"]
    LsmCgroup "lsm_cgroup" LSM Some(43), LsmCgroup Optional ["lsm_cgroup+"]
    /// Its attach function is `PROGRAM_ID/FUNCTION`: the program and the function that it replaces.
    Freplace "freplace" EXTENSION None, Freplace Required ["freplace+"]
    PerfEvent "perf_event" PERF_EVENT None, PerfEvent Refused ["perf_event"]
    SocketFilter "socket_filter" SOCKET_FILTER None, SocketFilter Refused ["socket"]
    SkLookup "sk_lookup" SK_LOOKUP Some(36), SkLookup Refused ["sk_lookup"]
    SkReuseport "sk_reuseport" SK_REUSEPORT Some(39), SkReuseport Refused ["sk_reuseport"]
    SkReuseportMigrate "sk_reuseport_migrate" SK_REUSEPORT Some(40), SkReuseport Refused ["sk_reuseport/migrate"]
    SockOps "sockops" SOCK_OPS Some(3), SockOps Refused ["sockops"]
    SkMsg "sk_msg" SK_MSG Some(7), SkMsg Refused ["sk_msg"]
    SkSkb "sk_skb" SK_SKB None, SkSkb Refused ["sk_skb"]
    SkSkbStreamParser "sk_skb_stream_parser" SK_SKB Some(4), SkSkb Refused ["sk_skb/stream_parser"]
    SkSkbStreamVerdict "sk_skb_stream_verdict" SK_SKB Some(5), SkSkb Refused ["sk_skb/stream_verdict"]
    SkSkbVerdict "sk_skb_verdict" SK_SKB Some(38), SkSkb Refused ["sk_skb/verdict"]
    FlowDissector "flow_dissector" FLOW_DISSECTOR Some(17), FlowDissector Refused ["flow_dissector"]
    Netfilter "netfilter" NETFILTER Some(45), Netfilter Refused ["netfilter"]
    StructOps "struct_ops" STRUCT_OPS None, StructOps Refused ["struct_ops+" "struct_ops.s+"]
    Syscall "syscall" SYSCALL None, Syscall Refused ["syscall"]
    LircMode2 "lirc_mode2" LIRC_MODE2 Some(16), LircMode2 Refused ["lirc_mode2"]
    LwtIn "lwt_in" LWT_IN None, LwtIn Refused ["lwt_in"]
    LwtOut "lwt_out" LWT_OUT None, LwtOut Refused ["lwt_out"]
    LwtXmit "lwt_xmit" LWT_XMIT None, LwtXmit Refused ["lwt_xmit"]
    LwtSeg6local "lwt_seg6local" LWT_SEG6LOCAL None, LwtSeg6local Refused ["lwt_seg6local"]
    CgroupSkb "cgroup_skb" CGROUP_SKB None, CgroupSkb Refused ["cgroup/skb"]
    CgroupSkbIngress "cgroup_skb_ingress" CGROUP_SKB Some(0), CgroupSkb Refused ["cgroup_skb/ingress"]
    CgroupSkbEgress "cgroup_skb_egress" CGROUP_SKB Some(1), CgroupSkb Refused ["cgroup_skb/egress"]
    CgroupSockCreate "cgroup_sock_create" CGROUP_SOCK Some(2), CgroupSockCreate Refused ["cgroup/sock_create" "cgroup/sock"]
    CgroupSockRelease "cgroup_sock_release" CGROUP_SOCK Some(34), CgroupSockRelease Refused ["cgroup/sock_release"]
    CgroupPostBind4 "cgroup_post_bind4" CGROUP_SOCK Some(12), CgroupPostBind4 Refused ["cgroup/post_bind4"]
    CgroupPostBind6 "cgroup_post_bind6" CGROUP_SOCK Some(13), CgroupPostBind6 Refused ["cgroup/post_bind6"]
    CgroupBind4 "cgroup_bind4" CGROUP_SOCK_ADDR Some(8), CgroupBind4 Refused ["cgroup/bind4"]
    CgroupBind6 "cgroup_bind6" CGROUP_SOCK_ADDR Some(9), CgroupBind6 Refused ["cgroup/bind6"]
    CgroupConnect4 "cgroup_connect4" CGROUP_SOCK_ADDR Some(10), CgroupConnect4 Refused ["cgroup/connect4"]
    CgroupConnect6 "cgroup_connect6" CGROUP_SOCK_ADDR Some(11), CgroupConnect6 Refused ["cgroup/connect6"]
    CgroupConnectUnix "cgroup_connect_unix" CGROUP_SOCK_ADDR Some(49), CgroupConnectUnix Refused ["cgroup/connect_unix"]
    CgroupSendmsg4 "cgroup_sendmsg4" CGROUP_SOCK_ADDR Some(14), CgroupSendmsg4 Refused ["cgroup/sendmsg4"]
    CgroupSendmsg6 "cgroup_sendmsg6" CGROUP_SOCK_ADDR Some(15), CgroupSendmsg6 Refused ["cgroup/sendmsg6"]
    CgroupSendmsgUnix "cgroup_sendmsg_unix" CGROUP_SOCK_ADDR Some(50), CgroupSendmsgUnix Refused ["cgroup/sendmsg_unix"]
    CgroupRecvmsg4 "cgroup_recvmsg4" CGROUP_SOCK_ADDR Some(19), CgroupRecvmsg4 Refused ["cgroup/recvmsg4"]
    CgroupRecvmsg6 "cgroup_recvmsg6" CGROUP_SOCK_ADDR Some(20), CgroupRecvmsg6 Refused ["cgroup/recvmsg6"]
    CgroupRecvmsgUnix "cgroup_recvmsg_unix" CGROUP_SOCK_ADDR Some(51), CgroupRecvmsgUnix Refused ["cgroup/recvmsg_unix"]
    CgroupGetpeername4 "cgroup_getpeername4" CGROUP_SOCK_ADDR Some(29), CgroupGetpeername4 Refused ["cgroup/getpeername4"]
    CgroupGetpeername6 "cgroup_getpeername6" CGROUP_SOCK_ADDR Some(30), CgroupGetpeername6 Refused ["cgroup/getpeername6"]
    CgroupGetpeernameUnix "cgroup_getpeername_unix" CGROUP_SOCK_ADDR Some(52), CgroupGetpeernameUnix Refused ["cgroup/getpeername_unix"]
    CgroupGetsockname4 "cgroup_getsockname4" CGROUP_SOCK_ADDR Some(31), CgroupGetsockname4 Refused ["cgroup/getsockname4"]
    CgroupGetsockname6 "cgroup_getsockname6" CGROUP_SOCK_ADDR Some(32), CgroupGetsockname6 Refused ["cgroup/getsockname6"]
    CgroupGetsocknameUnix "cgroup_getsockname_unix" CGROUP_SOCK_ADDR Some(53), CgroupGetsocknameUnix Refused ["cgroup/getsockname_unix"]
    CgroupSysctl "cgroup_sysctl" CGROUP_SYSCTL Some(18), CgroupSysctl Refused ["cgroup/sysctl"]
    CgroupGetsockopt "cgroup_getsockopt" CGROUP_SOCKOPT Some(21), CgroupGetsockopt Refused ["cgroup/getsockopt"]
    CgroupSetsockopt "cgroup_setsockopt" CGROUP_SOCKOPT Some(22), CgroupSetsockopt Refused ["cgroup/setsockopt"]
    CgroupDevice "cgroup_device" CGROUP_DEVICE Some(6), CgroupDevice Refused ["cgroup/dev"]
}

impl ProgramType {
    /// The attach types that the programs of a kernel's type can have at a cgroup; none for what is attached elsewhere, and
    /// for `lsm_cgroup`, whose programs share the type of those that are not.
    pub fn cgroup_attach_types(kernel_type: KernelProgramType) -> impl Iterator<Item = u32> {
        let at_cgroups = [
            KernelProgramType::CGROUP_SKB,
            KernelProgramType::CGROUP_SOCK,
            KernelProgramType::CGROUP_DEVICE,
            KernelProgramType::CGROUP_SOCK_ADDR,
            KernelProgramType::CGROUP_SYSCTL,
            KernelProgramType::CGROUP_SOCKOPT,
            KernelProgramType::SOCK_OPS,
        ];
        let of_type = Self::ALL.iter().filter(move |one| {
            one.kernel_type() == kernel_type && at_cgroups.contains(&kernel_type)
        });
        of_type.filter_map(|one| one.expected_attach_type())
    }

    /// Reads a `TYPE`: our name, or any section name of the table (`cgroup/bind4`, `kprobe.multi`).
    ///
    /// # Errors
    /// [`UnknownProgramType`] for any other text.
    pub fn parse(text: &str) -> Result<Self, UnknownProgramType> {
        let named = |kind: &&Self| kind.name().eq_ignore_ascii_case(text);
        let by_name = Self::ALL.iter().find(named).copied();
        let by_section = || {
            let matches =
                |pattern: &&'static str| pattern.trim_end_matches('+').eq_ignore_ascii_case(text);
            let owns = |kind: &&Self| kind.sections().iter().any(&matches);
            Self::ALL.iter().find(owns).copied()
        };
        by_name
            .or_else(by_section)
            .ok_or_else(|| UnknownProgramType(text.to_owned()))
    }

    /// Whether a program found in a section of this type may be loaded as `declared`.
    #[must_use]
    pub fn may_be_declared(self, declared: Self) -> bool {
        self.family() == declared.family()
    }

    /// Whether the relocated instructions are kept, so that a later process can chain the program with others.
    #[must_use]
    pub fn keeps_instructions(self) -> bool {
        matches!(self, Self::Xdp | Self::Tc | Self::Tcx)
    }
}

impl<'de> Deserialize<'de> for ProgramType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// What a section name says about the program in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionMatch<'a> {
    /// The type it means.
    pub program_type: ProgramType,
    /// The load flags it means: [`F_SLEEPABLE`], [`F_XDP_HAS_FRAGS`].
    pub flags: u32,
    /// What follows the type: the function of `fentry/do_unlinkat`.
    pub target: Option<&'a str>,
}

/// Reads a section name; `None` when it names no type.
///
/// First as libbpf reads it. Other loaders allow any text after the type (`classifier/x`, `xdp/eth0`),
/// so a first component that names a type counts too.
#[must_use]
pub fn section_match(section: &str) -> Option<SectionMatch<'_>> {
    // A leading `?` tells libbpf not to load the program by default; we load what is named.
    let section = section.strip_prefix('?').unwrap_or(section);
    let first = section.split('/').next().unwrap_or(section);
    let rows = || {
        let patterns =
            |&kind: &ProgramType| kind.sections().iter().map(move |&pattern| (kind, pattern));
        ProgramType::ALL.iter().flat_map(patterns)
    };
    let exact = rows().find(|(_, pattern)| match pattern.strip_suffix('+') {
        Some(base) => first == base,
        None => section == *pattern,
    });
    let (program_type, pattern) =
        exact.or_else(|| rows().find(|(_, pattern)| first == *pattern))?;
    let base = pattern.strip_suffix('+').unwrap_or(pattern);
    let target = section
        .strip_prefix(base)
        .and_then(|rest| rest.strip_prefix('/'));
    let mut flags = 0;
    if base.ends_with(".s") || matches!(program_type, ProgramType::Syscall) {
        flags |= F_SLEEPABLE;
    }
    if base.starts_with("xdp.frags") {
        flags |= F_XDP_HAS_FRAGS;
    }
    Some(SectionMatch {
        program_type,
        flags,
        target: target.filter(|target| !target.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_from_its_name_and_from_its_sections() {
        for kind in ProgramType::ALL {
            assert_eq!(ProgramType::parse(kind.name()), Ok(*kind));
            for pattern in kind.sections() {
                let section = pattern.trim_end_matches('+');
                assert_eq!(
                    section_match(section).unwrap().program_type,
                    *kind,
                    "{section}"
                );
            }
        }
    }

    #[test]
    fn sections_say_type_target_and_flags() {
        let table = [
            ("xdp", ProgramType::Xdp, 0, None),
            ("xdp.frags", ProgramType::Xdp, F_XDP_HAS_FRAGS, None),
            ("xdp/eth0", ProgramType::Xdp, 0, Some("eth0")),
            (
                "xdp.frags/devmap",
                ProgramType::XdpDevmap,
                F_XDP_HAS_FRAGS,
                None,
            ),
            ("classifier/x", ProgramType::Tc, 0, Some("x")),
            ("action", ProgramType::TcAction, 0, None),
            ("tc/ingress", ProgramType::Tcx, 0, None),
            (
                "?tp/syscalls/sys_enter_kill",
                ProgramType::Tracepoint,
                0,
                Some("syscalls/sys_enter_kill"),
            ),
            (
                "uprobe.s//bin/sh:main",
                ProgramType::Uprobe,
                F_SLEEPABLE,
                Some("/bin/sh:main"),
            ),
            (
                "fentry/do_unlinkat",
                ProgramType::Fentry,
                0,
                Some("do_unlinkat"),
            ),
            ("cgroup/sock", ProgramType::CgroupSockCreate, 0, None),
            ("syscall", ProgramType::Syscall, F_SLEEPABLE, None),
        ];
        for (section, program_type, flags, target) in table {
            let found = section_match(section).unwrap();
            assert_eq!(
                found,
                SectionMatch {
                    program_type,
                    flags,
                    target
                },
                "{section}"
            );
        }
    }

    #[test]
    fn a_section_that_names_no_type_means_none() {
        for section in [".text", "xdp_prog", "prog", "", "cgroup/nothing", "maps"] {
            assert_eq!(section_match(section), None, "{section}");
        }
    }

    #[test]
    fn a_declaration_moves_a_program_only_within_its_family() {
        use ProgramType as T;
        assert!(T::Kprobe.may_be_declared(T::Kretprobe));
        assert!(T::Uretprobe.may_be_declared(T::Uprobe));
        assert!(T::Tc.may_be_declared(T::Tcx));
        assert!(T::TcAction.may_be_declared(T::Tc));
        assert!(!T::Kprobe.may_be_declared(T::Uprobe));
        assert!(!T::Xdp.may_be_declared(T::Tc));
        assert!(!T::Fentry.may_be_declared(T::Fexit));
    }
}
