//! What this process may do.

use std::fs;

use bpfman_core::kernel::PermissionFacts;
use bpfman_core::types::KernelProgramType;

/// `CAP_*` numbers of `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What explains a refusal of these types to this process.
pub(crate) fn permission_facts(types: &[KernelProgramType]) -> PermissionFacts {
    let read = |path: &str| fs::read_to_string(path).ok();
    let security = |name: &str| {
        let text = read(&format!("/sys/kernel/security/{name}"))?;
        Some(text.trim().to_owned())
    };
    let status = read("/proc/self/status").unwrap_or_default();
    let mut facts = PermissionFacts {
        missing_capabilities: Vec::new(),
        lockdown: security("lockdown"),
        security_modules: security("lsm"),
        seccomp_filter: status_field(&status, "Seccomp:") == Some("2"),
    };
    let Some(held) = effective_capabilities(&status) else {
        return facts;
    };
    let has = |capability: u32| held & (1 << capability) != 0;
    if has(CAP_SYS_ADMIN) {
        return facts;
    }
    let mut need = |capability: u32, name: &str| {
        if !has(capability) {
            facts.missing_capabilities.push(name.to_owned());
        }
    };
    need(CAP_BPF, "CAP_BPF");
    if types.iter().copied().any(is_network) {
        need(CAP_NET_ADMIN, "CAP_NET_ADMIN");
    }
    if types.iter().copied().any(is_tracing) {
        need(CAP_PERFMON, "CAP_PERFMON");
    }
    facts
}

fn effective_capabilities(status: &str) -> Option<u64> {
    u64::from_str_radix(status_field(status, "CapEff:")?, 16).ok()
}

/// Whether this process has the capability; `None` without `/proc`.
pub(super) fn has_sys_admin() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(effective_capabilities(&status)? & (1 << CAP_SYS_ADMIN) != 0)
}

/// A field of `/proc/PID/status` (proc_pid_status(5)).
fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.map(str::trim)
}

/// What is not listed here needs CAP_BPF alone (`is_net_admin_prog_type`, `is_perfmon_prog_type` of the kernel).
fn is_tracing(kind: KernelProgramType) -> bool {
    use KernelProgramType as T;
    matches!(
        kind,
        T::KPROBE
            | T::TRACEPOINT
            | T::PERF_EVENT
            | T::RAW_TRACEPOINT
            | T::RAW_TRACEPOINT_WRITABLE
            | T::TRACING
            | T::LSM
            | T::STRUCT_OPS
            | T::EXTENSION
    )
}

fn is_network(kind: KernelProgramType) -> bool {
    use KernelProgramType as T;
    !is_tracing(kind)
        && !matches!(
            kind,
            T::SOCKET_FILTER | T::CGROUP_SKB | T::SYSCALL | T::SK_REUSEPORT
        )
        || kind == T::EXTENSION
}
