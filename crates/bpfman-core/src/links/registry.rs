//! The table of the kinds, out of which everything that lists them is made.

/// Calls a macro with every kind: its name in code, its name in words, what is recorded of it, the kind that
/// is asked for and what asks for it, and the types of the programs that it takes. A probe on return is asked for as one on
/// entry: the type of its program tells.
macro_rules! for_each_kind {
    ($with:ident) => {
        $with! {
            Xdp "xdp" (Xdp) as Xdp(XdpRequest) [T::Xdp]
            Tc "tc" (Tc) as Tc(TcRequest) [T::Tc | T::Tcx]
            Tcx "tcx" (Tcx) as Tcx(TcxRequest) [T::Tc | T::Tcx]
            Netkit "netkit" (Netkit) as Netkit(NetkitRequest) [T::NetkitPrimary | T::NetkitPeer]
            Tracepoint "tracepoint" (Tracepoint) as Tracepoint(Tracepoint) [T::Tracepoint]
            RawTracepoint "raw_tracepoint" (RawTracepoint) as RawTracepoint(RawTracepoint) [T::RawTracepoint | T::RawTracepointWritable]
            TpBtf "tp_btf" (BoundTracepoint) as TpBtf(BoundRequest) [T::TpBtf]
            Kprobe "kprobe" (Kprobe) as Kprobe(KprobeRequest) [T::Kprobe | T::Ksyscall]
            Kretprobe "kretprobe" (Kprobe) as Kprobe [T::Kretprobe | T::Kretsyscall]
            KprobeMulti "kprobe_multi" (KprobeMulti) as KprobeMulti(KprobeMultiRequest) [T::KprobeMulti | T::KretprobeMulti | T::KprobeSession]
            Uprobe "uprobe" (Uprobe) as Uprobe(UprobeRequest) [T::Uprobe]
            Uretprobe "uretprobe" (Uprobe) as Uprobe [T::Uretprobe]
            UprobeMulti "uprobe_multi" (UprobeMulti) as UprobeMulti(UprobeMultiRequest) [T::UprobeMulti | T::UretprobeMulti | T::UprobeSession]
            Usdt "usdt" (Usdt) as Usdt(UsdtRequest) [T::Usdt]
            Fentry "fentry" (BoundFunction) as Fentry(BoundRequest) [T::Fentry]
            Fexit "fexit" (BoundFunction) as Fexit(BoundRequest) [T::Fexit]
            FmodRet "fmod_ret" (BoundFunction) as FmodRet(BoundRequest) [T::FmodRet]
            Fsession "fsession" (BoundFunction) as Fsession(BoundRequest) [T::Fsession]
            Lsm "lsm" (BoundHook) as Lsm(BoundRequest) [T::Lsm]
            Freplace "freplace" (BoundFunction) as Freplace(BoundRequest) [T::Freplace]
            PerfEvent "perf_event" (SampledEvent) as PerfEvent(PerfEventRequest) [T::PerfEvent]
            Cgroup "cgroup" (Cgroup) as Cgroup(CgroupRequest) [
                T::CgroupSkb | T::CgroupSkbIngress | T::CgroupSkbEgress | T::CgroupSockCreate | T::CgroupSockRelease
                | T::CgroupPostBind4 | T::CgroupPostBind6 | T::CgroupBind4 | T::CgroupBind6 | T::CgroupConnect4
                | T::CgroupConnect6 | T::CgroupConnectUnix | T::CgroupSendmsg4 | T::CgroupSendmsg6
                | T::CgroupSendmsgUnix | T::CgroupRecvmsg4 | T::CgroupRecvmsg6 | T::CgroupRecvmsgUnix
                | T::CgroupGetpeername4 | T::CgroupGetpeername6 | T::CgroupGetpeernameUnix | T::CgroupGetsockname4
                | T::CgroupGetsockname6 | T::CgroupGetsocknameUnix | T::CgroupSysctl | T::CgroupGetsockopt
                | T::CgroupSetsockopt | T::CgroupDevice | T::LsmCgroup | T::SockOps
            ]
            SkLookup "sk_lookup" (WholeNamespace) as SkLookup(NamespaceRequest) [T::SkLookup]
            FlowDissector "flow_dissector" (WholeNamespace) as FlowDissector(NamespaceRequest) [T::FlowDissector]
            Netfilter "netfilter" (Netfilter) as Netfilter(NetfilterRequest) [T::Netfilter]
            Iter "iter" (Iter) as Iter(IterRequest) [T::Iter]
            StructOps "struct_ops" (StructOps) as StructOps(StructOpsRequest) [T::StructOps]
            Sockmap "sockmap" (Sockmap) as Sockmap(SockmapRequest) [
                T::SkMsg | T::SkSkb | T::SkSkbStreamParser | T::SkSkbStreamVerdict | T::SkSkbVerdict
            ]
        }
    };
}

pub(super) use for_each_kind;
