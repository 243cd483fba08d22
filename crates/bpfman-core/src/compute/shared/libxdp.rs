//! The pins by which tools of libxdp find the members of a dispatcher.
//!
//! `/sys/fs/bpf/xdp/dispatch-IFINDEX-PROGRAM/progN-prog` for every member; without one of them `xdp-loader status` shows
//! none (`lib/libxdp/protocol.org` of xdp-tools). They are for showing only: `xdp-loader clean` may take them away.

use alloc::format;
use alloc::string::String;

use super::Member;
use super::PointFacts;
use crate::action::PathTemplate;
use crate::action::Plan;
use crate::action::ProgramReference;
use crate::compute::pins::make_pin_directory;
use crate::compute::pins::pin_program;
use crate::compute::pins::remove_pin_directory;
use crate::compute::pins::unpin_program;
use crate::managed::Dispatcher;
use crate::managed::SharedHook;
use crate::types::AbsolutePath;
use crate::types::LIBXDP_BPFFS;

fn shows(facts: &PointFacts) -> bool {
    facts.libxdp && matches!(facts.hook, SharedHook::Xdp { .. })
}

/// A path in the directory of a dispatcher.
fn path(facts: &PointFacts, dispatcher: &ProgramReference, rest: String) -> PathTemplate {
    let before = format!("{LIBXDP_BPFFS}/xdp/dispatch-{}-", facts.at.ifindex);
    PathTemplate::with_id(before, dispatcher.clone(), rest)
}

fn pin(facts: &PointFacts, dispatcher: &ProgramReference, slot: usize) -> PathTemplate {
    path(facts, dispatcher, format!("/prog{slot}-prog"))
}

/// Makes the directory of a dispatcher.
pub(super) fn make_directory(plan: &mut Plan, facts: &PointFacts, dispatcher: &ProgramReference) {
    if !shows(facts) {
        return;
    }
    let all = AbsolutePath::parse(LIBXDP_BPFFS).map(|root| root.join("xdp"));
    let own = path(facts, dispatcher, String::new());
    for path in all.ok().map(PathTemplate::from).into_iter().chain([own]) {
        make_pin_directory(plan, path);
    }
}

/// Shows a member, which this plan holds.
pub(super) fn show(
    plan: &mut Plan,
    facts: &PointFacts,
    dispatcher: &ProgramReference,
    slot: usize,
    program: &ProgramReference,
) {
    if !shows(facts) {
        return;
    }
    pin_program(plan, program.clone(), pin(facts, dispatcher, slot));
}

/// The slot of a member, as the pin of its own link says: who stays keeps it when others leave what no longer runs.
fn slot(member: &Member) -> Option<usize> {
    let pin = member.link.pin_path.as_ref()?;
    pin.file_name().strip_prefix("link_")?.parse().ok()
}

/// Takes away what shows a member of a dispatcher.
pub(super) fn hide(plan: &mut Plan, facts: &PointFacts, old: &Dispatcher, member: &Member) {
    let (Some(slot), Some(program), true) = (slot(member), member.runs, shows(facts)) else {
        return;
    };
    let path = pin(facts, &ProgramReference::Known(old.program), slot);
    unpin_program(plan, program, path);
}

/// Takes away the directory of a dispatcher that ends.
pub(super) fn remove_directory(plan: &mut Plan, facts: &PointFacts, old: &Dispatcher) {
    if !shows(facts) {
        return;
    }
    let own = path(facts, &ProgramReference::Known(old.program), String::new());
    remove_pin_directory(plan, own);
}
