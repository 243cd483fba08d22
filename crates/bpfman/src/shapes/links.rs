//! The shapes of links.

use std::collections::BTreeMap;

use bpfman_core::compute::Whereabouts;
use bpfman_core::kernel;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::links::LinkDetails;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::LinkKind;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::managed::Link;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
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
    stats: Option<LinkStatsShape>,
    /// Why its program does not run, where it could not be joined with the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'a str>,
}

/// Runs of a program through one link, where they are counted.
#[derive(Serialize)]
struct LinkStatsShape {
    run_count: u64,
    /// In nanoseconds.
    runtime: u64,
}

#[derive(Serialize)]
struct KernelLinkShape<'a> {
    id: KernelLinkId,
    /// None for a struct_ops link, whose map holds several.
    program_id: Option<ProgramId>,
    link_type: String,
    /// `enum bpf_attach_type`, in decimal; empty for types of links that have none.
    attach_type: String,
    ifindex: u32,
    cgroup_id: u64,
    netns_ino: u64,
    target_obj_id: u32,
    target_btf_id: u32,
    netfilter_pf: u32,
    netfilter_hooknum: u32,
    netfilter_priority: i32,
    netfilter_flags: u32,
    kprobe_multi_count: u32,
    kprobe_multi_flags: u32,
    kprobe_multi_missed: u64,
    kprobe_address: u64,
    kprobe_missed: u64,
    place: &'a LinkPlace,
}

fn kernel(link: &kernel::Link) -> KernelLinkShape<'_> {
    let facts = &link.facts;
    let attach_type = facts.attach_type.map(|number| number.to_string());
    KernelLinkShape {
        id: link.id,
        program_id: (link.program != ProgramId(0)).then_some(link.program),
        link_type: link.link_type.to_string(),
        attach_type: attach_type.unwrap_or_default(),
        ifindex: match link.place {
            LinkPlace::Interface { ifindex } => ifindex.map_or(0, |index| index.0),
            _ => 0,
        },
        cgroup_id: match link.place {
            LinkPlace::Cgroup { cgroup } => cgroup,
            _ => 0,
        },
        netns_ino: match link.place {
            LinkPlace::Namespace { netns } => netns.0,
            _ => 0,
        },
        target_obj_id: facts.target_obj_id,
        target_btf_id: facts.target_btf_id,
        netfilter_pf: facts.netfilter_pf,
        netfilter_hooknum: facts.netfilter_hooknum,
        netfilter_priority: facts.netfilter_priority,
        netfilter_flags: facts.netfilter_flags,
        kprobe_multi_count: facts.kprobe_multi_count,
        kprobe_multi_flags: facts.kprobe_multi_flags,
        kprobe_multi_missed: facts.kprobe_multi_missed,
        kprobe_address: facts.kprobe_address,
        kprobe_missed: facts.kprobe_missed,
        place: &link.place,
    }
}

/// A link's record; `position` is its place among the links of its attach point, where this dispatcher is, and where its
/// interface is now.
pub(crate) fn record<'a>(
    link: &'a Link,
    position: Option<usize>,
    dispatcher: Option<&Dispatcher>,
    whereabouts: Option<&Whereabouts>,
) -> LinkRecordShape<'a> {
    LinkRecordShape {
        id: link.id,
        program_id: link.program,
        kernel_link_id: link.kernel,
        kind: link.kind(),
        pin_path: link.pin_path.as_ref().map(|path| path.as_str()),
        details: details(&link.details, position, dispatcher, whereabouts),
        created_at: rfc3339(link.created_at),
        metadata: (!link.metadata.is_empty()).then_some(&link.metadata),
    }
}

pub(crate) fn link(status: &LinkStatus) -> LinkShape<'_> {
    LinkShape {
        record: record(
            &status.record,
            status.position,
            status.dispatcher.as_ref(),
            status.whereabouts.as_ref(),
        ),
        status: LinkStatusShape {
            kernel: status.kernel.as_ref().map(kernel),
            kernel_seen: status.attached,
            pin_present: status.pin_present,
            stats: status.counter.map(|counter| LinkStatsShape {
                run_count: counter.runs,
                runtime: counter.nanoseconds,
            }),
            left_out: status.left_out.as_deref(),
        },
    }
}

/// The details without the kind, which stands beside them, with what is known only when they are shown, and with texts
/// empty where they are absent.
fn details(
    details: &LinkDetails,
    position: Option<usize>,
    dispatcher: Option<&Dispatcher>,
    whereabouts: Option<&Whereabouts>,
) -> Value {
    let mut value = serde_json::to_value(details).unwrap_or(Value::Null);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("kind");
        for text in ["netns", "fn_name"] {
            if let Some(absent @ Value::Null) = fields.get_mut(text) {
                *absent = Value::from("");
            }
        }
        if details.attach_point().is_some() {
            fields.insert("position".to_owned(), position.into());
            let now = whereabouts.and_then(Whereabouts::now);
            let now = now.and_then(|now| serde_json::to_value(now).ok());
            fields.insert("current".to_owned(), now.unwrap_or(Value::Null));
        }
        if details.membership().is_some() {
            // Nothing is between a program that is attached itself and its interface.
            let between = dispatcher.filter(|found| found.form != DispatcherForm::Direct);
            let id = between.map(|found| found.program.0);
            let revision = between.map(|found| found.revision);
            fields.insert("dispatcher_id".to_owned(), id.into());
            fields.insert("revision".to_owned(), revision.into());
        }
    }
    value
}

/// What a link is attached to, for people.
pub(crate) fn attachment(details: &LinkDetails, whereabouts: Option<&Whereabouts>) -> String {
    let interface = details.interface().map(|at| interface(at, whereabouts));
    details.reads(&interface.unwrap_or_default())
}

/// An interface as it was called when a program was attached to it, and as it is called now, where that is another name or
/// place: `eth0, now eth0old`.
pub(crate) fn interface(at: &LinkInterface, whereabouts: Option<&Whereabouts>) -> String {
    let place = |at: &LinkInterface, nsid| match &at.netns {
        Some(path) if Some(at.nsid) != nsid => format!("{} in {path}", at.interface),
        _ => at.interface.to_string(),
    };
    let recorded = place(at, None);
    match whereabouts {
        Some(Whereabouts::Hidden(_)) => {
            format!("{recorded}, now in a network namespace that nothing shows")
        }
        Some(Whereabouts::Here(now)) if now.interface != at.interface => {
            format!("{recorded}, now {}", now.interface)
        }
        Some(Whereabouts::Moved(now)) if now.nsid != at.nsid && now.netns.is_none() => {
            format!("{recorded}, now {} in this namespace", now.interface)
        }
        Some(Whereabouts::Moved(now)) => {
            format!("{recorded}, now {}", place(now, Some(at.nsid)))
        }
        Some(Whereabouts::Here(_)) | None => recorded,
    }
}
