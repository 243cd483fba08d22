//! What this kernel can do, found out by trying it.
//!
//! A kernel that knows a program type by name may still refuse every program of it, so names say too little. What a
//! try makes ends before the next one begins, and what attaches does so in a network namespace of its own.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::AttachTarget;
use bpfman_core::action::LoadDispatcher;
use bpfman_core::dispatcher::DispatcherConfig;
use bpfman_core::dispatcher::SLOT_FUNCTIONS;
use bpfman_core::dispatcher::Slot;
use bpfman_core::kernel::FeatureState;
use bpfman_core::kernel::KernelError;
use bpfman_core::links::ProbeWhen;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::Family;
use bpfman_core::types::KernelProgramType;
use libbpf_rs::libbpf_sys;
use libbpf_rs::libbpf_sys::bpf_func_info;
use rustix::io::Errno;
use serde::Serialize;

use super::info;
use super::probe;
use super::program::function_type;
use super::slots;
use super::sys;
use super::sys::LinkOptions;
use super::sys::RawProgram;
use crate::interfaces::Detail;
use crate::namespace;
use crate::vmlinux;

const KPROBE_MULTI: &str = "kprobe.multi links (Linux 5.18 has)";
const KPROBE_SESSION: &str = "kprobe.session links (Linux 6.10 has)";
const UPROBE_MULTI: &str = "uprobe.multi links (Linux 6.6 has)";
const UPROBE_SESSION: &str = "uprobe.session links (Linux 6.13 has)";
/// `lo` is the first interface of every network namespace.
const LOOPBACK: u32 = 1;
/// No function of any kernel.
const NO_FUNCTION: &str = "bpfman_no_such_function";
/// No descriptor: what looks at it ends with `EBADF`.
const NOWHERE: u32 = u32::MAX;
/// The name of the programs that are loaded to try something.
const NAME: &str = "bpfman_try";
/// `NFPROTO_IPV4`, `NF_INET_LOCAL_IN` (`linux/netfilter.h`).
const IPV4: u32 = 2;
const LOCAL_IN: u32 = 1;

/// Something that not every kernel can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// What.
    pub name: &'static str,
    /// Whether a program may count on it.
    pub there: bool,
    /// What the try showed.
    pub state: FeatureState,
}

/// Tries every feature. `types` is what the kernel publishes of its types, and may be empty.
pub(crate) fn features(types: &[u8]) -> Vec<Feature> {
    let tracing = refusable(types, "BPF_TRACE_FENTRY", KernelProgramType::TRACING);
    let networked = in_new_namespace(attach_in_namespace);
    let networked = networked.unwrap_or([FeatureState::Unknown; 4]);
    let [xdp, tcx, netkit, netfilter] = networked;
    let all = [
        ("links of xdp", xdp),
        ("links of tracepoints and probes", perf_links()),
        ("fentry and fexit", tracing),
        ("fsession", fsession(types, tracing)),
        (
            "lsm",
            refusable(types, "BPF_LSM_MAC", KernelProgramType::LSM),
        ),
        ("extension programs", extensions()),
        ("kprobe.multi", kprobe_multi(false)),
        ("uprobe.multi", uprobe_multi(false)),
        ("tcx", tcx),
        ("netkit", netkit),
        ("netfilter", netfilter),
        // A try would have to register something under a name that others see.
        (
            "links of struct_ops",
            declared(types, "BPF_LINK_TYPE_STRUCT_OPS"),
        ),
        ("links of socket maps", socket_map_links()),
        ("tokens", tried(sys::create_token(NOWHERE), &[Errno::BADF])),
    ];
    let feature = |(name, state): (&'static str, FeatureState)| Feature {
        name,
        there: state.is_there(),
        state,
    };
    all.map(feature).to_vec()
}

/// What an attach needs and this kernel does not have, found out by trying it; `None` when it is not that.
pub(super) fn lacking(target: &AttachTarget) -> Option<&'static str> {
    let networked = || in_new_namespace(attach_in_namespace).ok();
    let (state, what) = match target {
        AttachTarget::Tcx { .. } => (networked()?[1], "TCX hooks (Linux 6.6 has)"),
        AttachTarget::Netkit { .. } => (networked()?[2], "netkit devices (Linux 6.7 has)"),
        AttachTarget::Netfilter { .. } => (networked()?[3], "netfilter links (Linux 6.4 has)"),
        AttachTarget::KprobeMulti { when, .. } => {
            several(*when, kprobe_multi, KPROBE_MULTI, KPROBE_SESSION)
        }
        AttachTarget::UprobeMulti { when, .. } => {
            several(*when, uprobe_multi, UPROBE_MULTI, UPROBE_SESSION)
        }
        AttachTarget::Sockmap { .. } => {
            (socket_map_links(), "links of socket maps (Linux 6.10 has)")
        }
        AttachTarget::StructOps { .. } => (
            declared(
                &vmlinux::read().unwrap_or_default(),
                "BPF_LINK_TYPE_STRUCT_OPS",
            ),
            "links of struct_ops maps (Linux 6.4 has)",
        ),
        AttachTarget::Slot { .. } => (extensions(), "extension programs"),
        AttachTarget::Kprobe { .. } => (probe::has_source("kprobe"), "kprobes (CONFIG_KPROBES)"),
        AttachTarget::Uprobe { .. } => (probe::has_source("uprobe"), "uprobes (CONFIG_UPROBES)"),
        _ => return None,
    };
    (state == FeatureState::Missing).then_some(what)
}

/// Calls `call` on a thread that moves into a network namespace of its own, which ends with it.
fn in_new_namespace<T: Send>(call: impl FnOnce() -> T + Send) -> io::Result<T> {
    namespace::on_a_thread(|| {
        sys::leave_network_namespace()?;
        Ok(call())
    })
}

fn tried<T>(made: io::Result<T>, reached: &[Errno]) -> FeatureState {
    let errno = made
        .err()
        .map(|error| error.raw_os_error().unwrap_or_default());
    let reached: Vec<i32> = reached.iter().map(|errno| errno.raw_os_error()).collect();
    FeatureState::of_try(errno, &reached)
}

/// Loads a program of two instructions: it answers a constant.
fn load(kernel_type: KernelProgramType, attach_type: u32, answer: i32) -> io::Result<OwnedFd> {
    let instructions = answering(answer);
    let program = RawProgram {
        name: NAME,
        license: "GPL",
        kernel_type: kernel_type.0,
        attach_type,
        flags: 0,
        instructions: &instructions,
        types: None,
        replaces: None,
    };
    sys::load_program(&program).map_err(|refused| io::Error::from_raw_os_error(refused.errno))
}

/// `r0 = answer; exit` (`linux/bpf.h`, `linux/bpf_common.h`).
fn answering(answer: i32) -> Vec<u8> {
    const SET_R0: [u8; 4] = [0xb7, 0, 0, 0];
    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
    [&SET_R0[..], &answer.to_ne_bytes(), &EXIT].concat()
}

/// What attaches to an interface or a hook of a network namespace: XDP, TCX, netkit, netfilter.
fn attach_in_namespace() -> [FeatureState; 4] {
    let link = |kind, attach_type, answer, target, options: &LinkOptions<'_>| {
        load(kind, attach_type, answer)
            .and_then(|program| sys::create_link(program.as_fd(), target, attach_type, options))
    };
    let ordered = LinkOptions::Ordered {
        before: None,
        revision: 0,
    };
    let xdp_flags = LinkOptions::Flags(libbpf_sys::XDP_FLAGS_SKB_MODE);
    let xdp = load(KernelProgramType::XDP, 0, 2).and_then(|program| {
        sys::create_link(program.as_fd(), LOOPBACK, libbpf_sys::BPF_XDP, &xdp_flags)
    });
    let classifier = KernelProgramType::SCHED_CLS;
    let tcx = link(
        classifier,
        libbpf_sys::BPF_TCX_INGRESS,
        0,
        LOOPBACK,
        &ordered,
    );
    // `lo` is no netkit device, which only a kernel that knows those can say (ENXIO).
    let netkit = link(
        classifier,
        libbpf_sys::BPF_NETKIT_PRIMARY,
        0,
        LOOPBACK,
        &ordered,
    );
    let hook = LinkOptions::Netfilter {
        family: IPV4,
        hook: LOCAL_IN,
        priority: 1,
        flags: 0,
    };
    let netfilter = link(
        KernelProgramType::NETFILTER,
        libbpf_sys::BPF_NETFILTER,
        1,
        0,
        &hook,
    );
    [
        tried(xdp, &[]),
        tried(tcx, &[]),
        tried(netkit, &[Errno::NXIO]),
        tried(netfilter, &[]),
    ]
}

fn perf_links() -> FeatureState {
    match load(KernelProgramType::TRACEPOINT, 0, 0) {
        Ok(program) if probe::has_perf_links(program.as_fd()) => FeatureState::Works,
        Ok(_) => FeatureState::Missing,
        refused => tried(refused, &[]),
    }
}

/// A session needs a newer kernel than a link of several places does.
fn several(
    when: ProbeWhen,
    try_it: fn(bool) -> FeatureState,
    links: &'static str,
    sessions: &'static str,
) -> (FeatureState, &'static str) {
    let state = try_it(false);
    match (state, when) {
        (FeatureState::Missing, _) | (_, ProbeWhen::Entry | ProbeWhen::Return) => (state, links),
        (_, ProbeWhen::Session) => (try_it(true), sessions),
    }
}

fn kprobe_multi(session: bool) -> FeatureState {
    let attach_type = match session {
        true => libbpf_sys::BPF_TRACE_KPROBE_SESSION,
        false => libbpf_sys::BPF_TRACE_KPROBE_MULTI,
    };
    let functions = [CString::new(NO_FUNCTION).unwrap_or_default()];
    let options = LinkOptions::KprobeMulti {
        functions: &functions,
        flags: 0,
    };
    let made = load(KernelProgramType::KPROBE, attach_type, 0)
        .and_then(|program| sys::create_link(program.as_fd(), 0, attach_type, &options));
    // The names are looked up last.
    tried(made, &[Errno::SRCH, Errno::NOENT])
}

fn uprobe_multi(session: bool) -> FeatureState {
    let attach_type = match session {
        true => libbpf_sys::BPF_TRACE_UPROBE_SESSION,
        false => libbpf_sys::BPF_TRACE_UPROBE_MULTI,
    };
    let options = LinkOptions::UprobeMulti {
        path: "/",
        offsets: &[0],
        counters: &[0],
        cookies: &[0],
        pid: 0,
        flags: 0,
    };
    let made = load(KernelProgramType::KPROBE, attach_type, 0)
        .and_then(|program| sys::create_link(program.as_fd(), 0, attach_type, &options));
    // A directory is no file that can be probed; libbpf asks in the same way.
    tried(made, &[Errno::BADF])
}

fn socket_map_links() -> FeatureState {
    let attach_type = libbpf_sys::BPF_SK_MSG_VERDICT;
    let made = load(KernelProgramType::SK_MSG, attach_type, 1).and_then(|program| {
        sys::create_link(
            program.as_fd(),
            NOWHERE,
            attach_type,
            &LinkOptions::Flags(0),
        )
    });
    tried(made, &[Errno::BADF])
}

/// Loads an extension of a dispatcher, as a load with the extension engine does.
fn extensions() -> FeatureState {
    match extend() {
        Ok(_) => FeatureState::Works,
        Err(error) => FeatureState::of_try(Some(error.errno.unwrap_or_default()), &[]),
    }
}

fn extend() -> Result<OwnedFd, KernelError> {
    let slot = Slot {
        proceed_on: 0,
        priority: 0,
        flags: 0,
    };
    let config = DispatcherConfig::new(Family::Xdp, vec![slot]);
    let config = config.map_err(|error| super::bad_request(error.to_string()))?;
    let (_, dispatcher) = slots::load(&LoadDispatcher {
        name: NAME.to_owned(),
        family: Family::Xdp,
        config: Base64Bytes(config.encode()),
        frags: false,
    })?;
    let dispatcher = dispatcher.as_fd();
    let failed = |error: io::Error| super::refused("a dispatcher", &error);
    let facts = info::program(dispatcher, Detail::Info).map_err(failed)?;
    let types = sys::types_by_id(facts.btf_id).map_err(failed)?;
    let function = function_type(dispatcher, SLOT_FUNCTIONS[0])?;
    // The slot's own type is what an extension of it must have.
    let functions = [bpf_func_info {
        insn_off: 0,
        type_id: function,
    }];
    let instructions = answering(2);
    let program = RawProgram {
        name: NAME,
        license: "GPL",
        kernel_type: KernelProgramType::EXTENSION.0,
        attach_type: 0,
        flags: 0,
        instructions: &instructions,
        types: Some((types.as_fd(), &functions)),
        replaces: Some((dispatcher, function)),
    };
    sys::load_program(&program)
        .map_err(|refused| failed(io::Error::from_raw_os_error(refused.errno)))
}

/// A program type that libbpf can try, and that the kernel may know and refuse.
fn refusable(types: &[u8], enumerator: &str, kernel_type: KernelProgramType) -> FeatureState {
    let named = declared(types, enumerator);
    match (sys::accepts_program_type(kernel_type.0), named) {
        (Ok(true), _) => FeatureState::Works,
        (Ok(false), FeatureState::Declared) => FeatureState::Refused,
        (Ok(false), FeatureState::Missing) => FeatureState::Missing,
        _ => FeatureState::Unknown,
    }
}

/// It attaches to what fentry attaches to.
fn fsession(types: &[u8], tracing: FeatureState) -> FeatureState {
    match (declared(types, "BPF_TRACE_FSESSION"), tracing) {
        (FeatureState::Declared, FeatureState::Refused) => FeatureState::Refused,
        (state, _) => state,
    }
}

/// The strings of the types end with a zero each: a name between two of them is one of the kernel's.
fn declared(types: &[u8], enumerator: &str) -> FeatureState {
    if types.is_empty() {
        return FeatureState::Unknown;
    }
    let whole = [&[0], enumerator.as_bytes(), &[0]].concat();
    match memchr::memmem::find(types, &whole) {
        Some(_) => FeatureState::Declared,
        None => FeatureState::Missing,
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_declared_when_its_name_is_whole() {
        let types = b"\0BPF_LINK_TYPE_XDP\0BPF_LINK_TYPE_TCX_OTHER\0";
        let table = [
            ("BPF_LINK_TYPE_XDP", FeatureState::Declared),
            ("BPF_LINK_TYPE_TCX", FeatureState::Missing),
        ];
        for (name, state) in table {
            assert_eq!(declared(types, name), state, "{name}");
        }
        assert_eq!(declared(b"", "BPF_LINK_TYPE_XDP"), FeatureState::Unknown);
    }
}
