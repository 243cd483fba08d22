//! Looks up what a refused call may have met. [`Cause`] decides whether it was that.

use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use bpfman_core::action::AttachTarget;
use bpfman_core::kernel::Cause;
use bpfman_core::kernel::CgroupPrograms;
use bpfman_core::links::Sampling;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramId;
use rustix::io::Errno;
use rustix::process::Resource;
use rustix::process::getrlimit;

use super::sys;

/// The inode of the first user namespace (`PROC_USER_INIT_INO` of `linux/proc_ns.h`).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
/// The event sources of processors: `cpu` of most, `cpu_core` and `cpu_atom` of hybrid x86, `armv8_...` of Arm.
const EVENT_SOURCES: &str = "/sys/bus/event_source/devices";
const PROCESSOR_SOURCES: [&str; 2] = ["cpu", "armv"];
/// How many cgroups are looked at upwards; the kernel nests no deeper without being told to (`cgroup.max.depth`).
const MAX_DEPTH: usize = 256;
/// `PERF_TYPE_HARDWARE`, `PERF_TYPE_HW_CACHE` and `PERF_TYPE_RAW` of `linux/perf_event.h`.
const COUNTED_BY_PROCESSORS: [u32; 3] = [0, 3, 4];

/// What an error number of any call says, together with the limits of this process and machine.
pub(super) fn of_errno(error: &io::Error) -> Option<Cause> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => {
            let limit = getrlimit(Resource::Nofile).current?;
            Some(Cause::ProcessFiles { limit })
        }
        Errno::NFILE => {
            let limit = number("/proc/sys/fs/file-max")?;
            Some(Cause::SystemFiles { limit })
        }
        Errno::PERM => {
            let namespace = fs::metadata("/proc/self/ns/user").ok()?.ino();
            (namespace != FIRST_USER_NAMESPACE).then_some(Cause::UserNamespace)
        }
        _ => None,
    }
}

/// What refused an attach to this target.
pub(super) fn of_attach(target: &AttachTarget, error: &io::Error) -> Option<Cause> {
    let errno = Errno::from_io_error(error)?;
    match target {
        AttachTarget::Cgroup { path, attach_type } if errno == Errno::PERM => {
            of_cgroup(path, *attach_type)
        }
        AttachTarget::Kprobe { .. } | AttachTarget::KprobeMulti { .. }
            if errno == Errno::PERM && lockdown_refuses_probes() =>
        {
            Some(Cause::LockdownOfProbes)
        }
        AttachTarget::Tracepoint { .. }
        | AttachTarget::Kprobe { .. }
        | AttachTarget::Uprobe { .. }
        | AttachTarget::PerfEvent { .. }
            if matches!(errno, Errno::PERM | Errno::ACCESS) =>
        {
            let level = number("/proc/sys/kernel/perf_event_paranoid")?;
            Cause::of_paranoia(level, super::capabilities::has_sys_admin()?)
        }
        AttachTarget::PerfEvent {
            event_type,
            sampling,
            cpu,
            ..
        } => of_perf_event(errno, *event_type, *sampling, *cpu),
        _ => None,
    }
}

fn lockdown_refuses_probes() -> bool {
    let state = fs::read_to_string("/sys/kernel/security/lockdown");
    state.is_ok_and(|state| state.contains("[confidentiality]"))
}

fn of_perf_event(
    errno: Errno,
    event_type: u32,
    sampling: Sampling,
    cpu: Option<u32>,
) -> Option<Cause> {
    let of_cpu = || {
        let online = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
        Cause::of_cpu(cpu?, &online)
    };
    let of_rate = || match sampling {
        Sampling::Frequency(asked) => Cause::of_rate(
            asked,
            number("/proc/sys/kernel/perf_event_max_sample_rate")?,
        ),
        Sampling::Period(_) => None,
    };
    match errno {
        Errno::INVAL | Errno::NODEV => of_cpu().or_else(of_rate),
        Errno::NOENT | Errno::OPNOTSUPP if COUNTED_BY_PROCESSORS.contains(&event_type) => {
            Some(match has_processor_source()? {
                true => Cause::EventNotCounted,
                false => Cause::NoHardwareCounters,
            })
        }
        _ => None,
    }
}

/// Whether the kernel has an event source of a processor; `None` when that cannot be read.
fn has_processor_source() -> Option<bool> {
    let entries = fs::read_dir(EVENT_SOURCES).ok()?;
    let mut names = entries.flatten().map(|entry| entry.file_name());
    Some(names.any(|name| {
        let name = name.to_string_lossy();
        PROCESSOR_SOURCES
            .iter()
            .any(|start| name.starts_with(start))
    }))
}

fn of_cgroup(path: &AbsolutePath, attach_type: u32) -> Option<Cause> {
    let mut upwards = Vec::new();
    let mut next = Some(path.clone());
    while let Some(cgroup) = next.filter(|_| upwards.len() < MAX_DEPTH) {
        // The first directory that is no cgroup is above the root of the hierarchy.
        let asked = File::open(cgroup.as_str())
            .and_then(|directory| sys::cgroup_programs(directory.as_fd(), attach_type));
        let Ok((flags, programs)) = asked else { break };
        next = cgroup.parent();
        upwards.push(CgroupPrograms {
            cgroup,
            flags,
            programs: programs.into_iter().map(ProgramId).collect(),
        });
    }
    Cause::of_cgroup(&upwards)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
