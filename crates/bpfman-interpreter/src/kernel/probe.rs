//! Attaching to functions and events.

use std::ffi::CString;
use std::ffi::c_ulong;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::AttachTarget;
use bpfman_core::kernel::FeatureState;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links::ProbeSite;
use bpfman_core::links::ProbeWhen;
use bpfman_core::links::Sampling;
use bpfman_core::types::AbsolutePath;
use libbpf_rs::libbpf_sys;
use rustix::io::Errno;

use super::link::is_invalid;
use super::link::refusal;
use super::sys;
use super::sys::LinkOptions;
use super::sys::PerfEventRequest;

/// Where the kernel numbers the kinds of perf events that have no number of their own.
const EVENT_SOURCES: &str = "/sys/bus/event_source/devices";
/// The bit of `perf_event_attr.config` that asks for a return probe, where `format/retprobe` does not say.
const RETURN_BIT: u64 = 0;
/// Where a uprobe's `config` holds the offset of its counter (`format/ref_ctr_offset`: 32-63).
const COUNTER_SHIFT: u32 = 32;

/// Attaches to several instructions of a file. One alone needs no link of several, which kernels before 6.6 do not
/// have.
pub(super) fn several_places(
    program: BorrowedFd<'_>,
    path: &AbsolutePath,
    sites: &[ProbeSite],
    pid: Option<u32>,
    when: ProbeWhen,
) -> Result<OwnedFd, KernelError> {
    let target = || AttachTarget::UprobeMulti {
        path: path.clone(),
        sites: sites.to_vec(),
        pid,
        when,
    };
    match (uprobe_multi(program, path, sites, pid, when), sites) {
        (Err(error), [site]) if is_invalid(&error) && when != ProbeWhen::Session => {
            let single = AttachTarget::Uprobe {
                path: path.clone(),
                site: *site,
                pid,
                on_return: when == ProbeWhen::Return,
            };
            perf_link(program, &single)
        }
        (made, _) => made.map_err(|error| refusal(&target(), &error)),
    }
}

pub(super) fn kprobe_multi(
    program: BorrowedFd<'_>,
    functions: &[String],
    when: ProbeWhen,
) -> io::Result<OwnedFd> {
    let names: Result<Vec<CString>, _> = functions
        .iter()
        .map(|name| CString::new(name.as_str()))
        .collect();
    let names = names.map_err(|_| io::Error::from(Errno::INVAL))?;
    let (attach_type, flags) = match when {
        ProbeWhen::Entry => (libbpf_sys::BPF_TRACE_KPROBE_MULTI, 0),
        ProbeWhen::Return => (
            libbpf_sys::BPF_TRACE_KPROBE_MULTI,
            libbpf_sys::BPF_F_KPROBE_MULTI_RETURN,
        ),
        ProbeWhen::Session => (libbpf_sys::BPF_TRACE_KPROBE_SESSION, 0),
    };
    let options = LinkOptions::KprobeMulti {
        functions: &names,
        flags,
    };
    sys::create_link(program, 0, attach_type, &options)
}

fn uprobe_multi(
    program: BorrowedFd<'_>,
    path: &AbsolutePath,
    sites: &[ProbeSite],
    pid: Option<u32>,
    when: ProbeWhen,
) -> io::Result<OwnedFd> {
    let (attach_type, flags) = match when {
        ProbeWhen::Entry => (libbpf_sys::BPF_TRACE_UPROBE_MULTI, 0),
        ProbeWhen::Return => (
            libbpf_sys::BPF_TRACE_UPROBE_MULTI,
            libbpf_sys::BPF_F_UPROBE_MULTI_RETURN,
        ),
        ProbeWhen::Session => (libbpf_sys::BPF_TRACE_UPROBE_SESSION, 0),
    };
    let offsets: Vec<c_ulong> = sites.iter().map(|site| site.offset as c_ulong).collect();
    let counters: Vec<c_ulong> = sites
        .iter()
        .map(|site| site.counter_offset as c_ulong)
        .collect();
    let cookies: Vec<u64> = sites.iter().map(|site| site.cookie).collect();
    let options = LinkOptions::UprobeMulti {
        path: path.as_str(),
        offsets: &offsets,
        counters: &counters,
        cookies: &cookies,
        pid: pid.unwrap_or(0),
        flags,
    };
    sys::create_link(program, 0, attach_type, &options)
}

/// Attaches to a perf event: opens the event, links it, and switches it on.
pub(super) fn perf_link(
    program: BorrowedFd<'_>,
    target: &AttachTarget,
) -> Result<OwnedFd, KernelError> {
    let cookie = match target {
        AttachTarget::Uprobe { site, .. } => site.cookie,
        _ => 0,
    };
    let failed = |error: io::Error| refusal(target, &error);
    let event = open_event(target).map_err(failed)?;
    let number = event.as_raw_fd().cast_unsigned();
    let options = LinkOptions::PerfEvent { cookie };
    let link = sys::create_link(program, number, libbpf_sys::BPF_PERF_EVENT, &options);
    let link = link.map_err(|error| match has_perf_links(program) {
        true => refusal(target, &error),
        false => no_perf_links(),
    })?;
    sys::enable_perf_event(event.as_fd()).map_err(failed)?;
    Ok(link)
}

/// A kernel that has links of perf events complains about the descriptor, an older one about the attach type.
pub(super) fn has_perf_links(program: BorrowedFd<'_>) -> bool {
    let nowhere = u32::MAX;
    let options = LinkOptions::PerfEvent { cookie: 0 };
    let tried = sys::create_link(program, nowhere, libbpf_sys::BPF_PERF_EVENT, &options);
    tried.is_err_and(|error| error.raw_os_error() == Some(Errno::BADF.raw_os_error()))
}

fn no_perf_links() -> KernelError {
    KernelError::new(
        KernelErrorKind::Unsupported,
        "this kernel has no pinnable link for tracepoints, kprobes, uprobes and perf events (Linux 5.15 has): \
         the program would be detached as soon as this command ends"
            .to_owned(),
    )
}

fn open_event(target: &AttachTarget) -> io::Result<OwnedFd> {
    let everywhere = |event_type, config| PerfEventRequest {
        event_type,
        config,
        name: None,
        offset: 0,
        sample: 0,
        frequency: false,
        pid: -1,
        cpu: 0,
    };
    match target {
        AttachTarget::Tracepoint { id } => {
            sys::open_perf_event(&everywhere(libbpf_sys::PERF_TYPE_TRACEPOINT, *id))
        }
        AttachTarget::Kprobe {
            function,
            offset,
            on_return,
        } => sys::open_perf_event(&PerfEventRequest {
            name: Some(function),
            offset: *offset,
            ..everywhere(
                event_source("kprobe")?,
                return_config("kprobe", *on_return)?,
            )
        }),
        AttachTarget::Uprobe {
            path,
            site,
            pid,
            on_return,
        } => {
            let config =
                return_config("uprobe", *on_return)? | site.counter_offset << COUNTER_SHIFT;
            let process = pid.map(|pid| pid.cast_signed());
            sys::open_perf_event(&PerfEventRequest {
                name: Some(path.as_str()),
                offset: site.offset,
                pid: process.unwrap_or(-1),
                // A process is followed to every processor; without one the event needs one to live on.
                cpu: if process.is_some() { -1 } else { 0 },
                ..everywhere(event_source("uprobe")?, config)
            })
        }
        AttachTarget::PerfEvent {
            event_type,
            config,
            sampling,
            cpu,
            pid,
        } => {
            let (sample, frequency) = match sampling {
                Sampling::Period(period) => (*period, false),
                Sampling::Frequency(frequency) => (*frequency, true),
            };
            sys::open_perf_event(&PerfEventRequest {
                sample,
                frequency,
                pid: pid.map_or(-1, u32::cast_signed),
                cpu: cpu.map_or(-1, u32::cast_signed),
                ..everywhere(*event_type, *config)
            })
        }
        _ => Err(Errno::INVAL.into()),
    }
}

/// Whether this kernel has a kind of perf event.
pub(super) fn has_source(kind: &str) -> FeatureState {
    match fs::exists(format!("{EVENT_SOURCES}/{kind}")) {
        Ok(true) => FeatureState::Works,
        Ok(false) => FeatureState::Missing,
        Err(_) => FeatureState::Unknown,
    }
}

/// The number that this kernel gave to a kind of perf event.
fn event_source(kind: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("{EVENT_SOURCES}/{kind}/type"));
    // A kernel without this file has no such probes.
    let text = text.map_err(|_| io::Error::from(Errno::OPNOTSUPP))?;
    text.trim().parse().map_err(|_| Errno::INVAL.into())
}

fn return_config(kind: &str, on_return: bool) -> io::Result<u64> {
    if !on_return {
        return Ok(0);
    }
    let text = fs::read_to_string(format!("{EVENT_SOURCES}/{kind}/format/retprobe"))?;
    let bit = text
        .trim()
        .strip_prefix("config:")
        .and_then(|bit| bit.parse().ok());
    Ok(1 << bit.unwrap_or(RETURN_BIT))
}
