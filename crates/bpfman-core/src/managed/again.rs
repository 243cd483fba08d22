//! From a record back to the request that it came from.

use super::AttachRequest;
use super::InterfaceRequest;
use super::LinkDetails;
use super::LinkInterface;
use super::PERF_EVENTS;
use super::ProbedFile;
use super::UprobeDetails;
use crate::types::Direction;

/// `BPF_CGROUP_INET_INGRESS` and `BPF_CGROUP_INET_EGRESS` of `linux/bpf.h`.
const CGROUP_INET_INGRESS: u32 = 0;
const CGROUP_INET_EGRESS: u32 = 1;

impl LinkDetails {
    /// What was asked for, in today's words: its interface, if it has one, is `now`. `None` for a perf event that has no
    /// name any more.
    #[must_use]
    pub fn request(&self, now: Option<&LinkInterface>) -> Option<AttachRequest> {
        if let Some(at) = self.interface() {
            return self.of_interface(now.unwrap_or(at));
        }
        Some(match self {
            Self::Tracepoint { group, name } => AttachRequest::Tracepoint {
                group: group.clone(),
                name: name.clone(),
            },
            Self::RawTracepoint { name } => AttachRequest::RawTracepoint { name: name.clone() },
            Self::Kprobe {
                fn_name, offset, ..
            }
            | Self::Kretprobe {
                fn_name, offset, ..
            } => AttachRequest::Kprobe {
                function: fn_name.clone(),
                offset: *offset,
            },
            Self::KprobeMulti { functions, .. } => AttachRequest::KprobeMulti {
                functions: functions.clone(),
            },
            Self::Uprobe(_) | Self::Uretprobe(_) | Self::UprobeMulti { .. } | Self::Usdt { .. } => {
                return self.of_file();
            }
            Self::PerfEvent {
                event,
                sampling,
                cpu,
                pid,
            } => AttachRequest::PerfEvent {
                event: *PERF_EVENTS.iter().find(|known| known.name == *event)?,
                sampling: *sampling,
                cpu: *cpu,
                pid: *pid,
            },
            Self::Cgroup { .. }
            | Self::SkLookup { .. }
            | Self::FlowDissector { .. }
            | Self::Netfilter { .. } => return self.of_place(),
            Self::Iter { map, .. } => AttachRequest::Iter { map: map.clone() },
            Self::StructOps { map, .. } => AttachRequest::StructOps {
                map: Some(map.clone()),
            },
            Self::Sockmap { map, .. } => AttachRequest::Sockmap { map: map.clone() },
            Self::TpBtf { .. }
            | Self::Fentry { .. }
            | Self::Fexit { .. }
            | Self::FmodRet { .. }
            | Self::Fsession { .. }
            | Self::Lsm { .. }
            | Self::Freplace { .. } => AttachRequest::Bound { kind: self.kind() },
            Self::Xdp { .. } | Self::Tc { .. } | Self::Tcx { .. } | Self::Netkit { .. } => {
                return None;
            }
        })
    }

    fn of_interface(&self, now: &LinkInterface) -> Option<AttachRequest> {
        let interface = InterfaceRequest {
            name: now.interface.clone().into(),
            netns: now.netns.clone(),
        };
        Some(match self {
            Self::Xdp {
                priority,
                proceed_on,
                mode,
                counter,
                ..
            } => AttachRequest::Xdp {
                interface,
                priority: *priority,
                proceed_on: Some(proceed_on.clone()),
                mode: *mode,
                count: counter.is_some(),
            },
            Self::Tc {
                direction,
                priority,
                proceed_on,
                counter,
                ..
            } => AttachRequest::Tc {
                interface,
                direction: *direction,
                priority: *priority,
                proceed_on: Some(proceed_on.clone()),
                count: counter.is_some(),
            },
            Self::Tcx {
                direction,
                priority,
                ..
            } => AttachRequest::Tcx {
                interface,
                direction: *direction,
                priority: *priority,
            },
            Self::Netkit { priority, .. } => AttachRequest::Netkit {
                interface,
                priority: *priority,
            },
            _ => return None,
        })
    }

    fn of_place(&self) -> Option<AttachRequest> {
        Some(match self {
            Self::Cgroup {
                path, attach_type, ..
            } => AttachRequest::Cgroup {
                path: path.clone(),
                direction: match *attach_type {
                    CGROUP_INET_INGRESS => Some(Direction::Ingress),
                    CGROUP_INET_EGRESS => Some(Direction::Egress),
                    _ => None,
                },
            },
            Self::SkLookup { netns, .. } | Self::FlowDissector { netns, .. } => {
                AttachRequest::Namespace {
                    kind: self.kind(),
                    netns: netns.clone(),
                }
            }
            Self::Netfilter {
                family,
                hook,
                priority,
                defragment,
                netns,
                ..
            } => AttachRequest::Netfilter {
                family: *family,
                hook: *hook,
                priority: *priority,
                defragment: *defragment,
                netns: netns.clone(),
            },
            _ => return None,
        })
    }

    fn of_file(&self) -> Option<AttachRequest> {
        Some(match self {
            Self::Uprobe(probe) | Self::Uretprobe(probe) => uprobe(probe),
            Self::UprobeMulti {
                target,
                functions,
                pid,
                container_pid,
                ..
            } => AttachRequest::UprobeMulti {
                file: file(target, *pid, *container_pid),
                functions: functions.clone(),
            },
            Self::Usdt {
                target,
                provider,
                name,
                pid,
                container_pid,
                ..
            } => AttachRequest::Usdt {
                file: file(target, *pid, *container_pid),
                provider: provider.clone(),
                name: name.clone(),
            },
            _ => return None,
        })
    }
}

fn file(target: &str, pid: Option<u32>, container_pid: Option<u32>) -> ProbedFile {
    ProbedFile {
        target: target.into(),
        pid,
        container_pid,
    }
}

fn uprobe(probe: &UprobeDetails) -> AttachRequest {
    AttachRequest::Uprobe {
        file: file(&probe.target, probe.pid, probe.container_pid),
        function: probe.fn_name.clone(),
        offset: probe.offset,
    }
}
