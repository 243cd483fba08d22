//! The shapes of what runs at an attach point (contract: section 1, `dispatcher`).

use std::collections::BTreeMap;

use bpfman_core::chain::MAX_TAIL_CALLS;
use bpfman_core::compute::PointState;
use bpfman_core::dispatcher::mask;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::Hook;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::LeftOut;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::IfIndex;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::NetnsId;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramId;
use bpfman_manager::DispatcherStatus;
use serde::Serialize;

use super::text;

/// What runs at an attach point, with its members.
#[derive(Serialize)]
pub(crate) struct DispatcherShape<'a> {
    key: KeyShape,
    revision: u32,
    engine: &'static str,
    #[serde(rename = "standing")]
    state: &'static str,
    runtime: RuntimeShape<'a>,
    members: Vec<MemberShape<'a>>,
    shared_tail_calls: Option<SharedTailCallsShape<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOutShape<'a>>,
}

/// A link whose program does not run.
#[derive(Serialize)]
pub(crate) struct LeftOutShape<'a> {
    link_id: LinkId,
    reason: &'a str,
}

/// The members whose tail calls count together, and how many they may make for one packet.
#[derive(Serialize)]
struct SharedTailCallsShape<'a> {
    limit: u32,
    link_ids: &'a [LinkId],
}

/// One row of a listing.
#[derive(Serialize)]
pub(crate) struct DispatcherRowShape<'a> {
    key: KeyShape,
    revision: u32,
    engine: &'static str,
    #[serde(rename = "standing")]
    state: &'static str,
    runtime: RuntimeShape<'a>,
    member_count: usize,
}

#[derive(Serialize)]
struct KeyShape {
    r#type: Hook,
    nsid: NetnsId,
    ifindex: IfIndex,
}

#[derive(Serialize)]
struct RuntimeShape<'a> {
    program_id: ProgramId,
    kernel_link_id: Option<KernelLinkId>,
    filter_priority: Option<u32>,
    filter_handle: Option<u32>,
    /// Empty for the process's own namespace.
    netns_path: &'a str,
}

#[derive(Serialize)]
struct MemberShape<'a> {
    program_id: ProgramId,
    program_name: &'a str,
    prog_pin_path: &'a str,
    link_id: LinkId,
    kernel_link_id: Option<KernelLinkId>,
    /// Empty for a member that has no link of its own.
    link_pin_path: &'a str,
    position: Option<usize>,
    priority: Option<Priority>,
    proceed_on: u32,
    ifname: &'a str,
    metadata: Option<&'a BTreeMap<String, String>>,
}

pub(crate) fn dispatcher(status: &DispatcherStatus) -> DispatcherShape<'_> {
    let found = &status.dispatcher;
    let members = status.members.iter();
    DispatcherShape {
        key: key(found.point()),
        revision: found.revision,
        engine: found.form.name(),
        state: state(status.state),
        runtime: runtime(found),
        members: members
            .map(|(link, program)| member(found, link, program))
            .collect(),
        shared_tail_calls: match status.share_tail_calls.as_slice() {
            [] => None,
            link_ids => Some(SharedTailCallsShape {
                limit: MAX_TAIL_CALLS,
                link_ids,
            }),
        },
        left_out: left_out(&found.left_out),
    }
}

pub(crate) fn left_out(links: &[LeftOut]) -> Vec<LeftOutShape<'_>> {
    let links = links.iter();
    links
        .map(|left_out| LeftOutShape {
            link_id: left_out.link,
            reason: &left_out.reason,
        })
        .collect()
}

pub(crate) fn row(status: &DispatcherStatus) -> DispatcherRowShape<'_> {
    let found = &status.dispatcher;
    DispatcherRowShape {
        key: key(found.point()),
        revision: found.revision,
        engine: found.form.name(),
        state: state(status.state),
        runtime: runtime(found),
        member_count: found.members.len(),
    }
}

/// What the kernel has of a recorded attach point, in a word.
pub(crate) fn state(state: PointState) -> &'static str {
    match state {
        PointState::Attached => "runs",
        PointState::Detached => "detached",
        PointState::Defunct => "dead",
        PointState::Unpinned => "unpinned",
        PointState::Missing => "gone",
    }
}

fn key(point: AttachPoint) -> KeyShape {
    KeyShape {
        r#type: point.hook,
        nsid: point.nsid,
        ifindex: point.ifindex,
    }
}

fn runtime(found: &Dispatcher) -> RuntimeShape<'_> {
    let filter = found.filter();
    RuntimeShape {
        program_id: found.program,
        kernel_link_id: found.link().map(|(id, _)| id),
        filter_priority: filter.as_ref().map(|filter| filter.preference),
        filter_handle: filter.as_ref().map(|filter| filter.handle),
        netns_path: text(found.at.netns.as_ref()),
    }
}

fn member<'a>(found: &'a Dispatcher, link: &'a Link, program: &'a Program) -> MemberShape<'a> {
    let family = found.hook.family();
    let membership = link.details.membership();
    MemberShape {
        program_id: link.program,
        program_name: &program.load.program_name,
        prog_pin_path: program.pin_path.as_str(),
        link_id: link.id,
        kernel_link_id: link.kernel,
        link_pin_path: text(link.pin_path.as_ref()),
        position: found.position(link.id),
        priority: link.details.priority(),
        proceed_on: membership.map_or(0, |own| mask(family, own.proceed_on)),
        ifname: found.at.interface.as_str(),
        metadata: (!link.metadata.is_empty()).then_some(&link.metadata),
    }
}
