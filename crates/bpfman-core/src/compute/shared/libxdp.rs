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
use crate::links::SharedHook;
use crate::managed::Dispatcher;
use crate::managed::DispatcherForm;
use crate::managed::Link;
use crate::types::AbsolutePath;
use crate::types::IfIndex;
use crate::types::LIBXDP_BPFFS;
use crate::types::ProgramId;

fn shows(facts: &PointFacts) -> bool {
    facts.libxdp && matches!(facts.hook, SharedHook::Xdp { .. })
}

/// A path in the directory of a dispatcher.
fn path(facts: &PointFacts, dispatcher: &ProgramReference, rest: String) -> PathTemplate {
    PathTemplate::with_id(directory_start(facts.at.ifindex), dispatcher.clone(), rest)
}

fn pin(facts: &PointFacts, dispatcher: &ProgramReference, slot: usize) -> PathTemplate {
    path(facts, dispatcher, format!("/{}", member_file(slot)))
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
fn slot(link: &Link) -> Option<usize> {
    let pin = link.pin_path.as_ref()?;
    pin.file_name().strip_prefix("link_")?.parse().ok()
}

/// The path of a dispatcher's directory, up to the dispatcher's id.
fn directory_start(ifindex: IfIndex) -> String {
    format!("{LIBXDP_BPFFS}/xdp/dispatch-{ifindex}-")
}

/// How the name of a dispatcher's directory ends; what it begins with says the interface.
pub(in crate::compute) fn directory_end(dispatcher: ProgramId) -> String {
    format!("-{dispatcher}")
}

fn member_file(slot: usize) -> String {
    format!("prog{slot}-prog")
}

fn directory(dispatcher: &Dispatcher) -> Option<AbsolutePath> {
    let (SharedHook::Xdp { .. }, DispatcherForm::Extension { .. }) =
        (dispatcher.hook, &dispatcher.form)
    else {
        return None;
    };
    let start = directory_start(dispatcher.at.ifindex);
    AbsolutePath::parse(&format!("{start}{}", dispatcher.program)).ok()
}

/// The pin that shows a member of a dispatcher; `None` for what is never shown.
#[must_use]
pub fn shown_pin(dispatcher: &Dispatcher, link: &Link) -> Option<AbsolutePath> {
    let name = member_file(slot(link)?);
    Some(directory(dispatcher)?.join(&name))
}

/// Takes away what shows a member of a dispatcher.
pub(super) fn hide(plan: &mut Plan, facts: &PointFacts, old: &Dispatcher, member: &Member) {
    let shown = facts.shown.get(&member.link.id);
    if let (Some(program), Some(path)) = (shown, shown_pin(old, &member.link)) {
        unpin_program(plan, *program, path);
    }
}

/// Takes away the directory of a dispatcher that ends.
pub(super) fn remove_directory(plan: &mut Plan, facts: &PointFacts, old: &Dispatcher) {
    if let (true, Some(directory)) = (facts.libxdp, directory(old)) {
        remove_pin_directory(plan, directory);
    }
}
