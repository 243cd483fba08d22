//! Prints what runs at attach points that several programs share.

use bpfman_core::chain::MAX_TAIL_CALLS;
use bpfman_core::compute::PointState;
use bpfman_core::links::LinkInterface;
use bpfman_manager::DispatcherStatus;
use serde::Serialize;

use super::print_shape;
use super::print_text;
use super::table;
use crate::args::Format;
use crate::report::Failure;
use crate::shapes::dispatchers;
use crate::shapes::links;

pub(crate) fn listing(format: Format, found: &[DispatcherStatus]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shape<'a> {
        dispatchers: Vec<dispatchers::DispatcherRowShape<'a>>,
    }
    if format != Format::Text {
        let dispatchers = found.iter().map(dispatchers::row).collect();
        return print_shape(format, &Shape { dispatchers });
    }
    if found.is_empty() {
        return Ok(());
    }
    let mut rows = String::from("TYPE\tNSID\tIFINDEX\tINTERFACE\tENGINE\tPROGRAM\tMEMBERS\n");
    for status in found {
        let at = &status.dispatcher;
        // The namespace has a column of its own.
        let alone = LinkInterface {
            netns: None,
            ..at.at.clone()
        };
        rows.push_str(&format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}{}\n",
            at.hook.hook().name(),
            at.at.nsid,
            at.at.ifindex,
            links::interface(&alone, status.whereabouts.as_ref()),
            at.form.name(),
            at.program,
            at.members.len(),
            unless_it_runs(status.state),
        ));
    }
    print_text(&table(&rows)?)
}

/// Said only where something is wrong.
fn unless_it_runs(state: PointState) -> String {
    match state {
        PointState::Attached => String::new(),
        other => format!(" ({})", dispatchers::state(other)),
    }
}

/// One, with its members.
pub(crate) fn dispatcher(format: Format, status: &DispatcherStatus) -> Result<(), Failure> {
    match format {
        Format::Text => {
            print_text(&heading(status)?)?;
            print_text(&members(status)?)
        }
        _ => print_shape(format, &dispatchers::dispatcher(status)),
    }
}

fn heading(status: &DispatcherStatus) -> Result<String, Failure> {
    let found = &status.dispatcher;
    let mut rows = String::new();
    let mut row = |name: &str, value: &str| rows.push_str(&format!("{name}:\t{value}\n"));
    row("Attach point", &found.point().to_string());
    let interface = links::interface(&found.at, status.whereabouts.as_ref());
    row("Interface", &interface);
    row("Engine", found.form.name());
    row("Revision", &found.revision.to_string());
    let running = match status.state {
        PointState::Attached => "it runs",
        PointState::Detached => "somebody else detached it",
        PointState::Defunct => "its interface is gone",
        PointState::Unpinned => "it runs, but its pin is gone",
        PointState::Missing => "the kernel no longer has it",
    };
    row("State", running);
    row("Program ID", &found.program.to_string());
    if let Some((id, path)) = found.link() {
        row("Kernel link", &format!("{id}, pinned at {path}"));
    }
    if let Some(filter) = found.filter() {
        let (preference, handle) = (filter.preference, filter.handle);
        row(
            "Filter",
            &format!("preference {preference}, handle {handle:#x}"),
        );
    }
    if !status.share_tail_calls.is_empty() {
        row("Tail calls", &shared_tail_calls(status));
    }
    for left_out in &found.left_out {
        row(
            &format!("Link {} does not run", left_out.link),
            &left_out.reason,
        );
    }
    rows.push('\n');
    table(&rows)
}

/// Says which members share the tail calls of a packet.
pub(crate) fn shared_tail_calls(status: &DispatcherStatus) -> String {
    let links = status.share_tail_calls.iter().map(ToString::to_string);
    format!(
        "the programs of links {} share the {MAX_TAIL_CALLS} tail calls of a packet",
        links.collect::<Vec<_>>().join(", ")
    )
}

fn members(status: &DispatcherStatus) -> Result<String, Failure> {
    let found = &status.dispatcher;
    let mut rows =
        String::from("PLACE\tLINK ID\tPROGRAM ID\tPRIORITY\tFUNCTION NAME\tPROCEED ON\n");
    for (link, program) in &status.members {
        let place = found.position(link.id).map_or(0, |position| position + 1);
        let priority = link.details.priority();
        rows.push_str(&format!(
            "{place}/{}\t{}\t{}\t{}\t{}\t{}\n",
            found.members.len(),
            link.id,
            link.program,
            priority.map_or_else(String::new, |priority| priority.to_string()),
            program.load.program_name,
            link.details.proceed_on().unwrap_or_default(),
        ));
    }
    table(&rows)
}
