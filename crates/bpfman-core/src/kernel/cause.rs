//! Why a call failed, where facts that were looked up after the refusal tell.
//!
//! An error number has many causes, so none is named after the number alone. What decides is here, apart from the
//! looking-up; the words stand beside it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::KernelErrorKind;
use crate::types::AbsolutePath;
use crate::types::ProgramId;

/// What is known to have refused a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process has as many open files as it may have (`RLIMIT_NOFILE`).
    ProcessFiles {
        /// How many it may have.
        limit: u64,
    },
    /// The machine has as many open files as it may have (`fs.file-max`).
    SystemFiles {
        /// How many it may have.
        limit: u64,
    },
    /// The process runs in a user namespace, whose capabilities do not reach the kernel's own objects
    /// (`capable` asks the first one).
    UserNamespace,
    /// Kernel lockdown at `confidentiality` refuses kprobes (`LOCKDOWN_KPROBES` of `linux/security.h`).
    LockdownOfProbes,
    /// `kernel.perf_event_paranoid` is above 2, where kernels of Debian and others ask for `CAP_SYS_ADMIN`.
    PerfParanoid {
        /// What it is.
        level: u64,
    },
    /// A cgroup, or one above it, has a program that admits no other (`hierarchy_allows_attach` of
    /// `kernel/bpf/cgroup.c`).
    AttachedAlone {
        /// Where that program is attached.
        cgroup: AbsolutePath,
        /// The programs there.
        programs: Vec<ProgramId>,
    },
    /// There is no such processor, or it is not online.
    NoSuchCpu {
        /// The one asked for.
        cpu: u32,
        /// Those online, as `/sys/devices/system/cpu/online` lists them.
        online: String,
    },
    /// More samples a second than `kernel.perf_event_max_sample_rate` allows.
    SampleRate {
        /// How many were asked for.
        asked: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// No processor of this machine has counters that the kernel can use.
    NoHardwareCounters,
    /// There are counters, but none for this event.
    EventNotCounted,
}

/// What `BPF_PROG_QUERY` says of one cgroup and attach type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPrograms {
    /// The cgroup.
    pub cgroup: AbsolutePath,
    /// How its programs were attached: `BPF_F_ALLOW_OVERRIDE`, `BPF_F_ALLOW_MULTI` or neither.
    pub flags: u32,
    /// The programs.
    pub programs: Vec<ProgramId>,
}

/// `linux/bpf.h`.
const BPF_F_ALLOW_OVERRIDE: u32 = 1;
const BPF_F_ALLOW_MULTI: u32 = 2;

impl Cause {
    /// Which cgroup refuses a link, as the kernel decides it: a link is attached like `BPF_F_ALLOW_MULTI`. `path` is the
    /// cgroup and those above it, the nearest first.
    #[must_use]
    pub fn of_cgroup(path: &[CgroupPrograms]) -> Option<Self> {
        let (own, above) = path.split_first()?;
        let blames = |there: &CgroupPrograms| Self::AttachedAlone {
            cgroup: there.cgroup.clone(),
            programs: there.programs.clone(),
        };
        if !own.programs.is_empty() && own.flags & BPF_F_ALLOW_MULTI == 0 {
            return Some(blames(own));
        }
        let nearest = above
            .iter()
            .find(|there| there.flags & BPF_F_ALLOW_MULTI != 0 || !there.programs.is_empty())?;
        let admits = nearest.flags & (BPF_F_ALLOW_MULTI | BPF_F_ALLOW_OVERRIDE) != 0;
        (!admits).then(|| blames(nearest))
    }

    /// Whether a processor is among those online, a list like `0-3,8` (`cpu_list` of the kernel's documentation).
    #[must_use]
    pub fn of_cpu(cpu: u32, online: &str) -> Option<Self> {
        let within = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = first.trim().parse().ok().zip(last.trim().parse().ok());
            bounds.is_some_and(|(first, last): (u32, u32)| (first..=last).contains(&cpu))
        };
        let online = online.trim();
        (!online.is_empty() && !online.split(',').any(within)).then(|| Self::NoSuchCpu {
            cpu,
            online: online.into(),
        })
    }

    /// Whether a frequency is beyond the limit.
    #[must_use]
    pub fn of_rate(asked: u64, limit: u64) -> Option<Self> {
        (asked > limit).then_some(Self::SampleRate { asked, limit })
    }

    /// Whether a refused perf event may be one that kernels of distributions keep for `CAP_SYS_ADMIN`.
    #[must_use]
    pub fn of_paranoia(level: u64, has_sys_admin: bool) -> Option<Self> {
        (level > 2 && !has_sys_admin).then_some(Self::PerfParanoid { level })
    }

    /// What kind of refusal it makes.
    #[must_use]
    pub fn kind(&self) -> KernelErrorKind {
        match self {
            Self::ProcessFiles { .. } | Self::SystemFiles { .. } => KernelErrorKind::NoSpace,
            Self::UserNamespace | Self::LockdownOfProbes | Self::PerfParanoid { .. } => {
                KernelErrorKind::Permission
            }
            Self::AttachedAlone { .. } => KernelErrorKind::Taken,
            Self::NoSuchCpu { .. } | Self::SampleRate { .. } => KernelErrorKind::BadRequest,
            Self::NoHardwareCounters | Self::EventNotCounted => KernelErrorKind::Unsupported,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::ProcessFiles { .. } => "raise it with `ulimit -n`".into(),
            Self::SystemFiles { .. } => "raise fs.file-max with `sysctl`".into(),
            Self::UserNamespace => "run it in the first user namespace".into(),
            Self::LockdownOfProbes => {
                "boot with lockdown at `integrity` or `none`, or use a tracepoint".into()
            }
            Self::PerfParanoid { .. } => {
                "give it CAP_SYS_ADMIN, or `sysctl kernel.perf_event_paranoid=2`".into()
            }
            Self::AttachedAlone { cgroup, .. } => {
                format!(
                    "`bpftool cgroup show {cgroup}` shows it; detach it, or attach it with `multi`"
                )
            }
            Self::NoSuchCpu { online, .. } => format!("--cpu takes one of {online}"),
            Self::SampleRate { limit, .. } => {
                format!(
                    "--frequency takes at most {limit}; `sysctl kernel.perf_event_max_sample_rate` changes that"
                )
            }
            Self::NoHardwareCounters => "use a software event such as cpu-clock".into(),
            Self::EventNotCounted => "`perf list` shows the events of this machine".into(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcessFiles { limit } => {
                write!(f, "this process may open no more than {limit} files")
            }
            Self::SystemFiles { limit } => {
                write!(f, "this machine may open no more than {limit} files")
            }
            Self::UserNamespace => {
                f.write_str("not permitted: this process runs in a user namespace of its own")
            }
            Self::LockdownOfProbes => {
                f.write_str("not permitted: kernel lockdown at `confidentiality` refuses kprobes")
            }
            Self::PerfParanoid { level } => write!(
                f,
                "not permitted: this process lacks CAP_SYS_ADMIN, which a kernel may ask for \
                 where kernel.perf_event_paranoid is above 2 (it is {level})"
            ),
            Self::AttachedAlone { cgroup, programs } => {
                let numbers = Numbers(programs);
                write!(
                    f,
                    "program {numbers} at {cgroup} is attached without ALLOW_MULTI and admits no other"
                )
            }
            Self::NoSuchCpu { cpu, online } => {
                write!(f, "processor {cpu} is not online (online: {online})")
            }
            Self::SampleRate { asked, limit } => write!(
                f,
                "{asked} samples a second are more than kernel.perf_event_max_sample_rate allows ({limit})"
            ),
            Self::NoHardwareCounters => f.write_str(
                "the processors of this machine have no counters that the kernel can use",
            ),
            Self::EventNotCounted => {
                f.write_str("the processors of this machine do not count this event")
            }
        }
    }
}

/// Ids with commas between them.
struct Numbers<'a>(&'a [ProgramId]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, id) in self.0.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{id}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn at(name: &str, flags: u32, programs: &[u32]) -> CgroupPrograms {
        CgroupPrograms {
            cgroup: AbsolutePath::parse(&format!("/sys/fs/cgroup{name}")).unwrap(),
            flags,
            programs: programs.iter().copied().map(ProgramId).collect(),
        }
    }

    #[test]
    fn a_cgroup_is_blamed_as_the_kernel_decides() {
        let (multi, overridable) = (BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE);
        let table = [
            (vec![], None),
            (vec![at("/a/b", 0, &[]), at("/a", 0, &[])], None),
            (vec![at("/a/b", 0, &[7]), at("/a", 0, &[])], Some("/a/b")),
            (vec![at("/a/b", overridable, &[7])], Some("/a/b")),
            (vec![at("/a/b", multi, &[7, 8])], None),
            (vec![at("/a/b", 0, &[]), at("/a", 0, &[7])], Some("/a")),
            (vec![at("/a/b", 0, &[]), at("/a", overridable, &[7])], None),
            // The nearest with programs decides.
            (
                vec![at("/a/b", 0, &[]), at("/a", multi, &[7]), at("", 0, &[8])],
                None,
            ),
            (
                vec![at("/a/b", 0, &[]), at("/a", 0, &[]), at("", 0, &[8])],
                Some(""),
            ),
        ];
        for (path, blamed) in table {
            let found = Cause::of_cgroup(&path).map(|cause| match cause {
                Cause::AttachedAlone { cgroup, .. } => cgroup,
                other => panic!("{other}"),
            });
            let blamed =
                blamed.map(|name| AbsolutePath::parse(&format!("/sys/fs/cgroup{name}")).unwrap());
            assert_eq!(found, blamed, "{path:?}");
        }
    }

    #[test]
    fn a_processor_is_looked_up_in_the_list_of_those_online() {
        let table = [
            (0, "0-1\n", true),
            (1, "0-1\n", true),
            (2, "0-1\n", false),
            (8, "0-3,8", true),
            (7, "0-3,8", false),
            // What cannot be read blames nobody.
            (7, "", true),
        ];
        for (cpu, online, there) in table {
            assert_eq!(
                Cause::of_cpu(cpu, online).is_none(),
                there,
                "{cpu} {online}"
            );
        }
    }

    #[test]
    fn a_rate_is_held_against_its_limit() {
        assert_eq!(Cause::of_rate(100_000, 100_000), None);
        let beyond = Cause::of_rate(100_001, 100_000);
        assert_eq!(
            beyond,
            Some(Cause::SampleRate {
                asked: 100_001,
                limit: 100_000
            })
        );
    }
}
