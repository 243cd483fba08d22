//! The table of the kinds, out of which everything that lists them is made.

/// Calls a macro with every kind: its name in code, its name in words, what is recorded of it, and the types of the
/// programs that it takes.
macro_rules! for_each_kind {
    ($with:ident) => {
        $with! {
            Xdp "xdp" (Xdp) [T::Xdp]
            Tc "tc" (Tc) [T::Tc | T::Tcx]
            Tcx "tcx" (Tcx) [T::Tc | T::Tcx]
            Netkit "netkit" (Netkit) [T::NetkitPrimary | T::NetkitPeer]
            Tracepoint "tracepoint" (Tracepoint) [T::Tracepoint]
            RawTracepoint "raw_tracepoint" (RawTracepoint) [T::RawTracepoint | T::RawTracepointWritable]
            TpBtf "tp_btf" (BoundTracepoint) [T::TpBtf]
            Kprobe "kprobe" (Kprobe) [T::Kprobe | T::Ksyscall]
            Kretprobe "kretprobe" (Kprobe) [T::Kretprobe | T::Kretsyscall]
            KprobeMulti "kprobe_multi" (KprobeMulti) [T::KprobeMulti | T::KretprobeMulti | T::KprobeSession]
            Uprobe "uprobe" (Uprobe) [T::Uprobe]
            Uretprobe "uretprobe" (Uprobe) [T::Uretprobe]
            UprobeMulti "uprobe_multi" (UprobeMulti) [T::UprobeMulti | T::UretprobeMulti | T::UprobeSession]
            Usdt "usdt" (Usdt) [T::Usdt]
            Fentry "fentry" (BoundFunction) [T::Fentry]
            Fexit "fexit" (BoundFunction) [T::Fexit]
            FmodRet "fmod_ret" (BoundFunction) [T::FmodRet]
            Fsession "fsession" (BoundFunction) [T::Fsession]
            Lsm "lsm" (BoundHook) [T::Lsm]
            Freplace "freplace" (BoundFunction) [T::Freplace]
            PerfEvent "perf_event" (SampledEvent) [T::PerfEvent]
            Cgroup "cgroup" (Cgroup) [
                T::CgroupSkb | T::CgroupSkbIngress | T::CgroupSkbEgress | T::CgroupSockCreate | T::CgroupSockRelease
                | T::CgroupPostBind4 | T::CgroupPostBind6 | T::CgroupBind4 | T::CgroupBind6 | T::CgroupConnect4
                | T::CgroupConnect6 | T::CgroupConnectUnix | T::CgroupSendmsg4 | T::CgroupSendmsg6
                | T::CgroupSendmsgUnix | T::CgroupRecvmsg4 | T::CgroupRecvmsg6 | T::CgroupRecvmsgUnix
                | T::CgroupGetpeername4 | T::CgroupGetpeername6 | T::CgroupGetpeernameUnix | T::CgroupGetsockname4
                | T::CgroupGetsockname6 | T::CgroupGetsocknameUnix | T::CgroupSysctl | T::CgroupGetsockopt
                | T::CgroupSetsockopt | T::CgroupDevice | T::LsmCgroup | T::SockOps
            ]
            SkLookup "sk_lookup" (WholeNamespace) [T::SkLookup]
            FlowDissector "flow_dissector" (WholeNamespace) [T::FlowDissector]
            Netfilter "netfilter" (Netfilter) [T::Netfilter]
            Iter "iter" (Iter) [T::Iter]
            StructOps "struct_ops" (StructOps) [T::StructOps]
            Sockmap "sockmap" (Sockmap) [
                T::SkMsg | T::SkSkb | T::SkSkbStreamParser | T::SkSkbStreamVerdict | T::SkSkbVerdict
            ]
        }
    };
}

pub(super) use for_each_kind;
