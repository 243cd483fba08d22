//! Prints links.

use bpfman_core::managed::DispatcherForm;
use bpfman_manager::LinkListing;
use bpfman_manager::LinkStatus;
use bpfman_manager::ListedLink;
use serde::Serialize;

use super::print_shape;
use super::print_text;
use super::table;
use crate::args::Format;
use crate::report::Failure;
use crate::shapes;
use crate::shapes::links;

pub(crate) fn link(format: Format, status: &LinkStatus) -> Result<(), Failure> {
    match format {
        Format::Text => print_text(&link_text(status)?),
        _ => print_shape(format, &links::link(status)),
    }
}

fn link_text(status: &LinkStatus) -> Result<String, Failure> {
    let record = &status.record;
    let mut rows = String::new();
    let mut row = |name: &str, value: &str| rows.push_str(&format!("{name}:\t{value}\n"));
    row("Link ID", &record.id.to_string());
    row("Kind", record.kind().name());
    row("Program ID", &record.program.to_string());
    let whereabouts = status.whereabouts.as_ref();
    row(
        "Attached to",
        &links::attachment(&record.details, whereabouts),
    );
    if let Some(position) = status.position {
        row("Position", &position.to_string());
    }
    if let Some(verdicts) = record.details.proceed_on() {
        row("Proceeds on", &verdicts);
    }
    // One that is attached itself has nothing to say here that does not stand above or below.
    let dispatcher = status.dispatcher.as_ref();
    if let Some(found) = dispatcher.filter(|found| found.form != DispatcherForm::Direct) {
        let (engine, count) = (found.form.name(), found.members.len());
        let (program, revision) = (found.program, found.revision);
        row(
            "Dispatcher",
            &format!("{engine} of {count}, program {program}, revision {revision}"),
        );
    }
    let kernel = match (&status.kernel, record.kernel) {
        (Some(kernel), _) if kernel.is_attached() => {
            format!("{} ({})", kernel.id, kernel.link_type)
        }
        (Some(kernel), _) => format!("{} ({}, attached to nothing)", kernel.id, kernel.link_type),
        (None, id) if let Some(error) = &status.unread => {
            let id = id.map_or_else(|| "a filter".to_owned(), |id| id.to_string());
            format!("{id} (unknown: {error})")
        }
        (None, Some(id)) => format!("{id} (the kernel no longer has it)"),
        (None, None) if status.attached => "none (a filter)".to_owned(),
        (None, None) => "none (the filter is gone)".to_owned(),
    };
    match &status.left_out {
        Some(reason) => row("Does not run", reason),
        None => row("Kernel link", &kernel),
    }
    if let Some(path) = &record.pin_path {
        let missing = if status.pin_present { "" } else { " (missing)" };
        row("Pin", &format!("{path}{missing}"));
    }
    if let Some(counter) = status.counter {
        row(
            "Runs",
            &format!("{}, {} ns in all", counter.runs, counter.nanoseconds),
        );
    }
    for (key, value) in &record.metadata {
        row("Metadata", &format!("{key}={value}"));
    }
    row("Attached at", &shapes::rfc3339(record.created_at));
    table(&rows)
}

pub(crate) fn listing(format: Format, listing: &LinkListing) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shape<'a> {
        links: Vec<links::LinkRecordShape<'a>>,
    }
    if format != Format::Text {
        let links = listing.links.iter().map(|link| {
            let dispatcher = link.dispatcher.as_deref();
            let whereabouts = link.whereabouts.as_ref();
            links::record(&link.record, link.position, dispatcher, whereabouts)
        });
        return print_shape(
            format,
            &Shape {
                links: links.collect(),
            },
        );
    }
    if listing.links.is_empty() {
        return Ok(());
    }
    let program = |link: &bpfman_core::managed::Link| listing.programs.get(&link.program);
    let application = |link| program(link).and_then(shapes::application);
    let applications = listing
        .links
        .iter()
        .any(|link| application(&link.record).is_some());
    let mut rows = String::from("LINK ID\tKERNEL LINK ID\tKIND\tPROGRAM ID");
    rows.push_str(if applications { "\tAPPLICATION" } else { "" });
    rows.push_str("\tFUNCTION NAME\tATTACHMENT\n");
    for ListedLink {
        record: link,
        whereabouts,
        ..
    } in &listing.links
    {
        let kernel = link
            .kernel
            .map_or_else(|| "none".to_owned(), |id| id.to_string());
        rows.push_str(&format!(
            "{}\t{kernel}\t{}\t{}",
            link.id,
            link.kind(),
            link.program
        ));
        if applications {
            rows.push('\t');
            rows.push_str(application(link).unwrap_or(""));
        }
        let function = program(link).map_or("", |program| &program.load.program_name);
        let attachment = links::attachment(&link.details, whereabouts.as_ref());
        rows.push_str(&format!("\t{function}\t{attachment}\n"));
    }
    print_text(&table(&rows)?)
}
