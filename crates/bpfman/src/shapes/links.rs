//! The shapes of links.

use std::collections::BTreeMap;

use bpfman_core::kernel;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::managed::Link;
use bpfman_core::managed::LinkDetails;
use bpfman_core::managed::LinkInterface;
use bpfman_core::managed::UprobeDetails;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::LinkKind;
use bpfman_core::types::ProgramId;
use bpfman_manager::LinkStatus;
use serde::Serialize;
use serde_json::Value;

use super::rfc3339;

/// A link and its status.
#[derive(Serialize)]
pub(crate) struct LinkShape<'a> {
    record: LinkRecordShape<'a>,
    status: LinkStatusShape<'a>,
}

#[derive(Serialize)]
pub(crate) struct LinkRecordShape<'a> {
    id: LinkId,
    program_id: ProgramId,
    kernel_link_id: Option<KernelLinkId>,
    kind: LinkKind,
    pin_path: Option<&'a str>,
    details: Value,
    created_at: String,
    metadata: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct LinkStatusShape<'a> {
    kernel: Option<KernelLinkShape<'a>>,
    kernel_seen: bool,
    pin_present: bool,
}

#[derive(Serialize)]
struct KernelLinkShape<'a> {
    id: KernelLinkId,
    /// None for a struct_ops link, whose map holds several.
    program_id: Option<ProgramId>,
    link_type: String,
    place: &'a LinkPlace,
}

fn kernel(link: &kernel::Link) -> KernelLinkShape<'_> {
    KernelLinkShape {
        id: link.id,
        program_id: (link.program != ProgramId(0)).then_some(link.program),
        link_type: link.link_type.to_string(),
        place: &link.place,
    }
}

/// A link's record; `position` is its place among the links of its attach point.
pub(crate) fn record(link: &Link, position: Option<usize>) -> LinkRecordShape<'_> {
    LinkRecordShape {
        id: link.id,
        program_id: link.program,
        kernel_link_id: link.kernel,
        kind: link.kind(),
        pin_path: link.pin_path.as_ref().map(|path| path.as_str()),
        details: details(&link.details, position),
        created_at: rfc3339(link.created_at),
        metadata: (!link.metadata.is_empty()).then_some(&link.metadata),
    }
}

pub(crate) fn link(status: &LinkStatus) -> LinkShape<'_> {
    LinkShape {
        record: record(&status.record, status.position),
        status: LinkStatusShape {
            kernel: status.kernel.as_ref().map(kernel),
            kernel_seen: status.attached,
            pin_present: status.pin_present,
        },
    }
}

/// The details without the kind, which stands beside them, and with what is known only when they are shown.
fn details(details: &LinkDetails, position: Option<usize>) -> Value {
    let mut value = serde_json::to_value(details).unwrap_or(Value::Null);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("kind");
        if let Some(position) = position {
            fields.insert("position".to_owned(), position.into());
        }
        if matches!(details, LinkDetails::Xdp { .. } | LinkDetails::Tc { .. }) {
            // No dispatcher is between the program and its interface.
            fields.insert("dispatcher_id".to_owned(), Value::Null);
            fields.insert("revision".to_owned(), Value::Null);
        }
    }
    value
}

/// What a link is attached to, for people.
pub(crate) fn attachment(details: &LinkDetails) -> String {
    use LinkDetails as D;
    match details {
        D::Xdp { at, priority, .. } => format!("{}, priority {priority}", interface(at)),
        D::Tc {
            at,
            direction,
            priority,
            ..
        }
        | D::Tcx {
            at,
            direction,
            priority,
        } => format!("{} {direction}, priority {priority}", interface(at)),
        D::Netkit { at, peer, priority } => {
            let end = if *peer { "peer" } else { "primary" };
            format!("{} {end}, priority {priority}", interface(at))
        }
        D::Tracepoint { group, name } => format!("{group}/{name}"),
        D::RawTracepoint { name } | D::TpBtf { name } => name.clone(),
        D::Kprobe {
            fn_name, offset, ..
        }
        | D::Kretprobe {
            fn_name, offset, ..
        } => plus(fn_name, *offset),
        D::KprobeMulti { functions, .. } => several(functions),
        D::Uprobe(probe) | D::Uretprobe(probe) => uprobe(probe),
        D::UprobeMulti {
            target, functions, ..
        } => format!("{target}:{}", several(functions)),
        D::Usdt {
            target,
            provider,
            name,
            ..
        } => format!("{target}:{provider}:{name}"),
        D::Fentry { fn_name }
        | D::Fexit { fn_name }
        | D::FmodRet { fn_name }
        | D::Fsession { fn_name }
        | D::Freplace { fn_name } => fn_name.clone(),
        D::Lsm { hook_name } => hook_name.clone(),
        D::PerfEvent { event, .. } => event.clone(),
        D::Cgroup { path, .. } => path.to_string(),
        D::SkLookup { netns, .. } | D::FlowDissector { netns, .. } => match netns {
            Some(path) => path.to_string(),
            None => "this network namespace".to_owned(),
        },
        D::Netfilter {
            family,
            hook,
            priority,
            ..
        } => format!("{family} {hook}, priority {priority}"),
        D::Iter { target, .. } => target.clone(),
        D::StructOps {
            map, struct_name, ..
        } => format!("{struct_name} {map}"),
        D::Sockmap { map, .. } => map.to_string(),
    }
}

fn interface(at: &LinkInterface) -> String {
    match &at.netns {
        Some(path) => format!("{} in {path}", at.interface),
        None => at.interface.to_string(),
    }
}

fn uprobe(probe: &UprobeDetails) -> String {
    let place = probe
        .fn_name
        .as_deref()
        .map(|name| plus(name, probe.offset));
    let place = place.unwrap_or_else(|| format!("{:#x}", probe.offset));
    format!("{}:{place}", probe.target)
}

fn plus(name: &str, offset: u64) -> String {
    match offset {
        0 => name.to_owned(),
        _ => format!("{name}+{offset:#x}"),
    }
}

fn several(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => String::new(),
    }
}
