//! From what a user asks for and what it means here to what the kernel is told and what the record says.

use alloc::borrow::ToOwned;
use alloc::format;

use super::attach_facts::AttachFacts;
use super::attach_facts::UsdtFacts;
use super::attach_network::network;
use super::attach_refusal::AttachRefusal;
use super::attachment::Attachment;
use super::struct_ops::struct_ops;
use super::usdt::first_spec;
use super::usdt::spec_count;
use crate::action::AttachTarget;
use crate::links;
use crate::links::AttachRequest;
use crate::links::AttachSpec;
use crate::links::Cgroup;
use crate::links::LinkDetails;
use crate::links::LinkKind;
use crate::links::Namespace;
use crate::links::ProbeSite;
use crate::links::ProbeWhen;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::NetnsId;
use crate::types::ProgramType;

/// What a system call's function is called in this kernel, before its name (`SYSCALL_PREFIX` of `asm/syscall_wrapper.h`).
const SYSCALL_PREFIX: &str = if cfg!(target_arch = "x86_64") {
    "__x64_sys_"
} else if cfg!(target_arch = "aarch64") {
    "__arm64_sys_"
} else if cfg!(target_arch = "riscv64") {
    "__riscv_sys_"
} else if cfg!(target_arch = "s390x") {
    "__s390x_sys_"
} else {
    "sys_"
};

/// Works out an attachment.
pub(super) fn attachment(
    spec: &AttachSpec,
    program: &Program,
    facts: &AttachFacts,
) -> Result<Attachment, AttachRefusal> {
    let program_type = program.load.program_type;
    let kind = check_attach(&spec.request, program)?;
    if let Some(details) = bound(&spec.request, program) {
        let target = AttachTarget::Bound;
        return Ok(Attachment { target, details });
    }
    match (&spec.request, facts) {
        (request, AttachFacts::Interface(facts)) => network(request, program, facts),
        (request, AttachFacts::Cgroup(id)) => cgroup(request, *id, program_type),
        (request, AttachFacts::Namespace(nsid)) => namespace(request, *nsid),
        (AttachRequest::Sockmap(links::SockmapRequest { map }), _) => sockmap(map, program_type),
        (request, AttachFacts::Usdt(facts)) => usdt(request, program, facts),
        (_, AttachFacts::StructOps(facts)) => struct_ops(program, facts),
        (request, facts) => probe(request, kind, program, facts),
    }
}

/// What a request for what the program was loaded for means; `None` for any other.
fn bound(request: &AttachRequest, program: &Program) -> Option<LinkDetails> {
    let name = program.load.attach_function.clone().unwrap_or_default();
    let function = |name| links::BoundFunction { fn_name: name };
    Some(match request {
        AttachRequest::TpBtf(_) => LinkDetails::TpBtf(links::BoundTracepoint { name }),
        AttachRequest::Fentry(_) => LinkDetails::Fentry(function(name)),
        AttachRequest::Fexit(_) => LinkDetails::Fexit(function(name)),
        AttachRequest::FmodRet(_) => LinkDetails::FmodRet(function(name)),
        AttachRequest::Fsession(_) => LinkDetails::Fsession(function(name)),
        AttachRequest::Freplace(_) => LinkDetails::Freplace(function(name)),
        AttachRequest::Lsm(_) => LinkDetails::Lsm(links::BoundHook { hook_name: name }),
        _ => return None,
    })
}

fn cgroup(
    request: &AttachRequest,
    cgroup_id: u64,
    program_type: ProgramType,
) -> Result<Attachment, AttachRefusal> {
    let AttachRequest::Cgroup(links::CgroupRequest { path, direction }) = request else {
        unreachable!("only a request for a cgroup has the facts of one");
    };
    let attach_type = match (program_type.expected_attach_type(), direction) {
        (Some(known), _) => known,
        (None, Some(Direction::Ingress)) => Cgroup::attach_type_of(Direction::Ingress),
        (None, Some(Direction::Egress)) => Cgroup::attach_type_of(Direction::Egress),
        (None, None) => return Err(AttachRefusal::DirectionMissing(program_type)),
    };
    Ok(Attachment {
        target: AttachTarget::Cgroup {
            path: path.clone(),
            attach_type,
        },
        details: LinkDetails::Cgroup(links::Cgroup {
            path: path.clone(),
            cgroup_id,
            attach_type,
        }),
    })
}

fn namespace(request: &AttachRequest, nsid: NetnsId) -> Result<Attachment, AttachRefusal> {
    let whole = |asked: &links::NamespaceRequest, program_type: ProgramType| {
        let netns = asked.netns.clone();
        let attach_type = program_type.expected_attach_type();
        let target = AttachTarget::Namespace {
            netns: Namespace {
                path: netns.clone(),
                id: nsid,
            },
            attach_type: attach_type.expect("both types have an attach type in the table"),
        };
        (target, links::WholeNamespace { netns, nsid })
    };
    let (target, details) = match request {
        AttachRequest::SkLookup(asked) => {
            let (target, details) = whole(asked, ProgramType::SkLookup);
            (target, LinkDetails::SkLookup(details))
        }
        AttachRequest::FlowDissector(asked) => {
            let (target, details) = whole(asked, ProgramType::FlowDissector);
            (target, LinkDetails::FlowDissector(details))
        }
        AttachRequest::Netfilter(asked) => netfilter(asked, nsid),
        _ => unreachable!("only requests for a namespace have the facts of one"),
    };
    Ok(Attachment { target, details })
}

fn netfilter(asked: &links::NetfilterRequest, nsid: NetnsId) -> (AttachTarget, LinkDetails) {
    let target = AttachTarget::Netfilter {
        netns: Namespace {
            path: asked.netns.clone(),
            id: nsid,
        },
        family: asked.family as u32,
        hook: asked.hook as u32,
        priority: asked.priority,
        defragment: asked.defragment,
    };
    let details = LinkDetails::Netfilter(links::Netfilter {
        family: asked.family,
        hook: asked.hook,
        priority: asked.priority,
        defragment: asked.defragment,
        netns: asked.netns.clone(),
        nsid,
    });
    (target, details)
}

fn sockmap(map: &AbsolutePath, program_type: ProgramType) -> Result<Attachment, AttachRefusal> {
    let attach_type = program_type.expected_attach_type();
    let attach_type = attach_type.ok_or(AttachRefusal::TypeTooVague(
        program_type,
        "sk_skb_stream_parser, sk_skb_stream_verdict, sk_skb_verdict",
    ))?;
    Ok(Attachment {
        target: AttachTarget::Sockmap {
            map: map.clone(),
            attach_type,
        },
        details: LinkDetails::Sockmap(links::Sockmap {
            map: map.clone(),
            attach_type,
        }),
    })
}

fn when(program_type: ProgramType) -> ProbeWhen {
    match program_type {
        ProgramType::KretprobeMulti | ProgramType::UretprobeMulti => ProbeWhen::Return,
        ProgramType::KprobeSession | ProgramType::UprobeSession => ProbeWhen::Session,
        _ => ProbeWhen::Entry,
    }
}

fn probe(
    request: &AttachRequest,
    kind: LinkKind,
    program: &Program,
    facts: &AttachFacts,
) -> Result<Attachment, AttachRefusal> {
    let program_type = program.load.program_type;
    Ok(match (request, facts) {
        (
            AttachRequest::Tracepoint(links::Tracepoint { group, name }),
            AttachFacts::Tracepoint(id),
        ) => Attachment {
            target: AttachTarget::Tracepoint { id: *id },
            details: LinkDetails::Tracepoint(links::Tracepoint {
                group: group.clone(),
                name: name.clone(),
            }),
        },
        (AttachRequest::RawTracepoint(links::RawTracepoint { name }), _) => Attachment {
            target: AttachTarget::RawTracepoint { name: name.clone() },
            details: LinkDetails::RawTracepoint(links::RawTracepoint { name: name.clone() }),
        },
        (AttachRequest::Kprobe(links::KprobeRequest { function, offset }), _) => {
            kprobe(kind, function, *offset, program_type)
        }
        (AttachRequest::KprobeMulti(_), AttachFacts::Functions(functions)) => Attachment {
            target: AttachTarget::KprobeMulti {
                functions: functions.clone(),
                when: when(program_type),
            },
            details: LinkDetails::KprobeMulti(links::KprobeMulti {
                functions: functions.clone(),
                when: when(program_type),
            }),
        },
        (request, AttachFacts::Sites { path, sites }) => {
            file_probe(request, kind, program_type, path, sites)?
        }
        (
            AttachRequest::PerfEvent(links::PerfEventRequest {
                event,
                sampling,
                cpu,
                pid,
            }),
            _,
        ) => Attachment {
            target: AttachTarget::PerfEvent {
                event_type: event.event_type,
                config: event.config,
                sampling: *sampling,
                cpu: *cpu,
                pid: *pid,
            },
            details: LinkDetails::PerfEvent(links::SampledEvent {
                event: event.name.to_owned(),
                sampling: *sampling,
                cpu: *cpu,
                pid: *pid,
            }),
        },
        (AttachRequest::Iter(links::IterRequest { map }), _) => Attachment {
            target: AttachTarget::Iter { map: map.clone() },
            details: LinkDetails::Iter(links::Iter {
                target: program.load.attach_function.clone().unwrap_or_default(),
                map: map.clone(),
            }),
        },
        _ => unreachable!("every request comes with the facts it asks for"),
    })
}

fn kprobe(kind: LinkKind, function: &str, offset: u64, program_type: ProgramType) -> Attachment {
    let of_syscall = matches!(
        program_type,
        ProgramType::Ksyscall | ProgramType::Kretsyscall
    );
    let in_kernel = match of_syscall {
        true => format!("{SYSCALL_PREFIX}{function}"),
        false => function.to_owned(),
    };
    let fn_name = function.to_owned();
    let retprobe = kind == LinkKind::Kretprobe;
    Attachment {
        target: AttachTarget::Kprobe {
            function: in_kernel,
            offset,
            on_return: retprobe,
        },
        details: match retprobe {
            true => LinkDetails::Kretprobe(links::Kprobe {
                fn_name,
                offset,
                retprobe,
            }),
            false => LinkDetails::Kprobe(links::Kprobe {
                fn_name,
                offset,
                retprobe,
            }),
        },
    }
}

fn file_probe(
    request: &AttachRequest,
    kind: LinkKind,
    program_type: ProgramType,
    path: &AbsolutePath,
    sites: &[ProbeSite],
) -> Result<Attachment, AttachRefusal> {
    let several = |pid: Option<u32>, when| AttachTarget::UprobeMulti {
        path: path.clone(),
        sites: sites.to_vec(),
        pid,
        when,
    };
    Ok(match request {
        AttachRequest::Uprobe(links::UprobeRequest {
            file,
            function,
            offset,
        }) => {
            let site = *sites.first().ok_or(AttachRefusal::NothingToProbe)?;
            let retprobe = kind == LinkKind::Uretprobe;
            let details = links::Uprobe {
                target: file.target.clone(),
                fn_name: function.clone(),
                offset: *offset,
                pid: file.pid,
                retprobe,
                container_pid: file.container_pid,
            };
            Attachment {
                target: AttachTarget::Uprobe {
                    path: path.clone(),
                    site,
                    pid: file.pid,
                    on_return: retprobe,
                },
                details: match retprobe {
                    true => LinkDetails::Uretprobe(details),
                    false => LinkDetails::Uprobe(details),
                },
            }
        }
        AttachRequest::UprobeMulti(links::UprobeMultiRequest { file, functions }) => Attachment {
            target: several(file.pid, when(program_type)),
            details: LinkDetails::UprobeMulti(links::UprobeMulti {
                target: file.target.clone(),
                functions: functions.clone(),
                pid: file.pid,
                container_pid: file.container_pid,
                when: when(program_type),
            }),
        },
        _ => unreachable!("only requests for a file have the facts of one"),
    })
}

fn usdt(
    request: &AttachRequest,
    program: &Program,
    facts: &UsdtFacts,
) -> Result<Attachment, AttachRefusal> {
    let AttachRequest::Usdt(links::UsdtRequest {
        file,
        provider,
        name,
    }) = request
    else {
        unreachable!("only a request for a static probe has the facts of one");
    };
    let first_spec = first_spec(program, facts)?;
    let probe = facts.probe.clone().with_first_spec(first_spec);
    Ok(Attachment {
        target: AttachTarget::UprobeMulti {
            path: facts.path.clone(),
            sites: probe.sites,
            pid: file.pid,
            when: ProbeWhen::Entry,
        },
        details: LinkDetails::Usdt(links::Usdt {
            target: file.target.clone(),
            provider: provider.clone(),
            name: name.clone(),
            pid: file.pid,
            container_pid: file.container_pid,
            first_spec,
            specs: spec_count(facts),
        }),
    })
}

/// Checks what can be checked before anything is looked up; answers the kind of the new link.
///
/// # Errors
/// [`AttachRefusal`] of what program and request alone tell.
pub fn check_attach(request: &AttachRequest, program: &Program) -> Result<LinkKind, AttachRefusal> {
    let program_type = program.load.program_type;
    let asked = request.kind();
    let kind = asked
        .for_type(program_type)
        .ok_or(AttachRefusal::WrongKind {
            program: program.id(),
            program_type,
            asked: asked.name(),
        })?;
    match request {
        AttachRequest::Uprobe(links::UprobeRequest {
            function: None,
            offset: 0,
            ..
        }) => Err(AttachRefusal::NothingToProbe),
        AttachRequest::UprobeMulti(links::UprobeMultiRequest { functions, .. })
        | AttachRequest::KprobeMulti(links::KprobeMultiRequest { functions })
            if functions.is_empty() =>
        {
            Err(AttachRefusal::NothingToProbe)
        }
        AttachRequest::Cgroup(links::CgroupRequest { direction, .. }) => {
            check_direction(*direction, program).map(|()| kind)
        }
        AttachRequest::Iter(links::IterRequest { map }) => {
            check_iterator(map.as_ref(), program).map(|()| kind)
        }
        _ => Ok(kind),
    }
}

/// The direction of a cgroup's packets: a type that has its own takes no other.
fn check_direction(asked: Option<Direction>, program: &Program) -> Result<(), AttachRefusal> {
    let program_type = program.load.program_type;
    let own = match program_type {
        ProgramType::CgroupSkbIngress => Some(Direction::Ingress),
        ProgramType::CgroupSkbEgress => Some(Direction::Egress),
        _ => None,
    };
    match (asked, own) {
        (None, _) if program_type == ProgramType::CgroupSkb => {
            Err(AttachRefusal::DirectionMissing(program_type))
        }
        (Some(_), None) if program_type != ProgramType::CgroupSkb => {
            Err(AttachRefusal::NoDirection {
                program: program.id(),
                program_type,
            })
        }
        (Some(asked), Some(own)) if asked != own => Err(AttachRefusal::OtherDirection {
            program: program.id(),
            program_type,
            own,
            asked,
        }),
        _ => Ok(()),
    }
}

/// The iterators that walk through one map (`bpf_iter_reg` of the kernel whose `attach_target` reads `map.map_fd`). For
/// others the kernel takes the same field for something else, such as the id of a task.
const MAP_ITERATORS: [&str; 3] = ["bpf_map_elem", "bpf_sk_storage_map", "sockmap"];

fn check_iterator(map: Option<&AbsolutePath>, program: &Program) -> Result<(), AttachRefusal> {
    let target = program.load.attach_function.clone().unwrap_or_default();
    let takes_map = MAP_ITERATORS.contains(&target.as_str());
    let program = program.id();
    match map {
        Some(_) if !takes_map => Err(AttachRefusal::IteratorWithoutMap { program, target }),
        None if takes_map => Err(AttachRefusal::IteratorNeedsMap { program, target }),
        _ => Ok(()),
    }
}
