//! Prints results: tables for people, the shapes for programs.

pub(crate) mod dispatchers;
pub(crate) mod health;
pub(crate) mod links;

use std::collections::BTreeSet;
use std::io;
use std::io::Write;

use bpfman_core::action::Plan;
use bpfman_core::compute::MapAnew;
use bpfman_core::kernel::KernelError;
use bpfman_core::managed::LeftOut;
use bpfman_core::managed::Program;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_core::types::UnixTime;
use bpfman_manager::Listing;
use bpfman_manager::ProgramStatus;
use serde::Serialize;
use tabwriter::TabWriter;

use crate::args::Format;
use crate::report::Failure;
use crate::report::Kind;
use crate::shapes;

/// Prints any shape: JSON with two spaces and one final newline, or YAML.
fn print_shape<T: Serialize>(format: Format, shape: &T) -> Result<(), Failure> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(shape).map_err(|error| internal(&error))?,
        Format::Json | Format::Text => {
            let mut text = serde_json::to_string_pretty(shape).map_err(|error| internal(&error))?;
            text.push('\n');
            text
        }
    };
    print_text(&text)
}

fn internal(error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Failed, format!("cannot print the result: {error}"))
}

/// Prints text; a reader that has gone away is no failure of ours.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(internal(&error)),
        _ => Ok(()),
    }
}

fn table(rows: &str) -> Result<String, Failure> {
    let mut writer = TabWriter::new(Vec::with_capacity(rows.len() * 2)).padding(2);
    writer
        .write_all(rows.as_bytes())
        .and_then(|()| writer.flush())
        .map_err(|error| internal(&error))?;
    let bytes = writer.into_inner().map_err(|error| internal(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The plan of a dry run.
pub(crate) fn plan(format: Format, plan: &Plan) -> Result<(), Failure> {
    match format {
        Format::Text => print_text(&plan.to_string()),
        _ => print_shape(format, plan),
    }
}

/// The plans of a dry run of several items, as data.
pub(crate) fn plan_list(format: Format, plans: &[Plan]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shape<'a> {
        plans: &'a [Plan],
    }
    print_shape(format, &Shape { plans })
}

/// Whose programs do not run any more after a removal: on stderr for people, as data for programs. Prints nothing when
/// all others run.
pub(crate) fn left_out(format: Format, left_out: &[LeftOut]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shape<'a> {
        left_out: Vec<shapes::dispatchers::LeftOutShape<'a>>,
    }
    for LeftOut { link, reason } in left_out {
        eprintln!("bpfman: warning: the program of link {link} does not run any more: {reason}");
        eprintln!(
            "  hint: `bpfman detach {link}`, or take another out; `bpfman doctor --explain link-left-out` says more"
        );
    }
    if left_out.is_empty() || format == Format::Text {
        return Ok(());
    }
    let left_out = shapes::dispatchers::left_out(left_out);
    print_shape(format, &Shape { left_out })
}

/// A failure as data, where data was asked for and none is printed that tells of it.
pub(crate) fn failure(format: Format, failure: &Failure) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shape<'a> {
        error: shapes::ErrorShape<'a>,
    }
    if format == Format::Text || failure.in_result {
        return Ok(());
    }
    let error = shapes::error(failure);
    print_shape(format, &Shape { error })
}

/// The programs that a load has just made.
pub(crate) fn loaded(
    format: Format,
    programs: &[ProgramStatus],
    boot: UnixTime,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shape<'a> {
        programs: Vec<shapes::ProgramShape<'a>>,
    }
    match format {
        Format::Text => programs
            .iter()
            .try_for_each(|status| program(format, status, boot)),
        _ => {
            let programs = programs
                .iter()
                .map(|status| shapes::program(status, boot))
                .collect();
            print_shape(format, &Shape { programs })
        }
    }
}

pub(crate) fn program(
    format: Format,
    status: &ProgramStatus,
    boot: UnixTime,
) -> Result<(), Failure> {
    match format {
        Format::Text => print_text(&program_text(status, boot)?),
        _ => print_shape(format, &shapes::program(status, boot)),
    }
}

/// The program that took over from another, and the maps that started anew.
pub(crate) fn replaced(
    format: Format,
    old: ProgramId,
    object: &str,
    status: &ProgramStatus,
    maps_anew: &[MapAnew],
    boot: UnixTime,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct ReplacedShape {
        old_program_id: ProgramId,
        new_program_id: ProgramId,
    }
    #[derive(Serialize)]
    struct Shape<'a> {
        #[serde(flatten)]
        program: shapes::ProgramShape<'a>,
        replaced: ReplacedShape,
        maps_anew: Vec<shapes::MapAnewShape<'a>>,
    }
    let new = status.record.id();
    if format == Format::Text {
        let anew: String = maps_anew.iter().map(anew_text).collect();
        print_text(&format!("Replaced:     {old} -> {new}\n{anew}"))?;
        apart(object, new, maps_anew);
        return program(format, status, boot);
    }
    let shape = Shape {
        program: shapes::program(status, boot),
        replaced: ReplacedShape {
            old_program_id: old,
            new_program_id: new,
        },
        maps_anew: maps_anew.iter().map(shapes::map_anew).collect(),
    };
    print_shape(format, &shape)
}

/// Says on stderr which programs no longer share maps with the new version, and how they come to.
fn apart(object: &str, new: ProgramId, maps_anew: &[MapAnew]) {
    let keepers: BTreeSet<ProgramId> = maps_anew
        .iter()
        .flat_map(|map| map.kept_by.iter().copied())
        .collect();
    for keeper in keepers {
        eprintln!(
            "bpfman: warning: program {keeper} keeps the old maps\n  hint: `bpfman program replace {keeper} {object} \
             --map-owner-id {new}` gives it those of program {new}"
        );
    }
}

fn anew_text(map: &MapAnew) -> String {
    let MapAnew {
        name,
        old,
        new,
        changes,
        kept_by: _,
    } = map;
    let changes = match changes.as_slice() {
        [] => String::new(),
        changes => format!(" ({})", changes.join(", ")),
    };
    format!("Starts anew:  map {name}, {old} -> {new}{changes}\n")
}

fn program_text(status: &ProgramStatus, boot: UnixTime) -> Result<String, Failure> {
    let record = &status.record;
    let mut rows = String::new();
    let mut row = |name: &str, value: &str| rows.push_str(&format!("{name}:\t{value}\n"));
    row("Program ID", &record.id().to_string());
    row("Name", &record.load.program_name);
    row("Type", record.load.program_type.name());
    if let Some(function) = &record.load.attach_function {
        row("Attach function", function);
    }
    if matches!(record.load.program_type, ProgramType::Xdp | ProgramType::Tc) {
        row("Engine", &record.load.engine.to_string());
    }
    match &status.kernel {
        Some(kernel) => {
            row("Kernel type", &kernel.program_type.to_string());
            row("Tag", &kernel.identity.tag.to_string());
            row(
                "Loaded at",
                &shapes::loaded_at(kernel.identity.load_time, boot),
            );
            let sizes = format!(
                "{} bytes translated, {} compiled",
                kernel.xlated_size, kernel.jited_size
            );
            row("Size", &sizes);
        }
        None => match &status.unread {
            Some(error) => row("Kernel", &format!("unknown: {error}")),
            None => row("Kernel", "the kernel no longer has this program"),
        },
    }
    let links = status.links.iter().map(|link| link.record.id.to_string());
    row("Links", &several(&links.collect::<Vec<_>>()));
    let pin = if status.pin_present { "" } else { " (missing)" };
    row("Pin", &format!("{}{pin}", record.pin_path));
    row("License", record.license.as_deref().unwrap_or("none"));
    for (key, value) in &record.metadata {
        row("Metadata", &format!("{key}={value}"));
    }
    for map in &status.maps {
        let recorded = map.record.as_ref();
        let pin = recorded.and_then(|recorded| recorded.pin_path.as_ref());
        let pin = pin.map_or("not pinned", |path| path.as_str());
        let name = match (recorded, &map.observed) {
            (Some(recorded), _) => recorded.name.as_str(),
            (None, Some(observed)) => observed.name.as_str(),
            (None, None) => "",
        };
        row("Map", &format!("{} {name} ({pin})", map.id));
    }
    if let Some(source) = &record.load.source_path {
        row("Loaded from", source.as_str());
    }
    row("Object", record.load.object_path.as_str());
    table(&rows)
}

/// A listing; `all` marks ours.
pub(crate) fn listing(
    format: Format,
    listing: &Listing,
    all: bool,
    boot: UnixTime,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shape<'a> {
        programs: Vec<shapes::RowShape<'a>>,
        refused: &'a [KernelError],
    }
    if format != Format::Text {
        let rows = listing.programs.iter().filter_map(|(record, kernel)| {
            shapes::row(listing, record.as_ref(), kernel.as_ref(), boot)
        });
        return print_shape(
            format,
            &Shape {
                programs: rows.collect(),
                refused: &listing.refused,
            },
        );
    }
    if listing.programs.is_empty() {
        return Ok(());
    }
    let application = listing
        .programs
        .iter()
        .any(|(record, _)| record.as_ref().and_then(shapes::application).is_some());
    let mut rows = String::from("PROGRAM ID");
    rows.push_str(if all { "\tMANAGED" } else { "" });
    rows.push_str(if application { "\tAPPLICATION" } else { "" });
    rows.push_str("\tTYPE\tFUNCTION NAME");
    rows.push_str(if all {
        "\tLINK IDS OR ATTACHMENTS\n"
    } else {
        "\tLINK IDS\n"
    });
    for (record, kernel) in &listing.programs {
        let id = record
            .as_ref()
            .map(|record| record.id())
            .or(kernel.as_ref().map(|kernel| kernel.identity.id));
        let Some(id) = id else { continue };
        rows.push_str(&id.to_string());
        if all {
            rows.push_str(if record.is_some() { "\tyes" } else { "\tno" });
        }
        if application {
            rows.push('\t');
            rows.push_str(record.as_ref().and_then(shapes::application).unwrap_or(""));
        }
        rows.push('\t');
        rows.push_str(&shapes::type_name(record.as_ref(), kernel.as_ref()));
        rows.push('\t');
        rows.push_str(shapes::function_name(record.as_ref(), kernel.as_ref()));
        rows.push('\t');
        rows.push_str(&match record {
            Some(_) => link_places(listing, record.as_ref()),
            None => attachments(listing, id),
        });
        let gone = kernel.is_none() && listing.refused.is_empty();
        rows.push_str(if gone { " (not in the kernel)\n" } else { "\n" });
    }
    print_text(&table(&rows)?)
}

/// The links of a program of ours, with their places where they run together with others: `3 (2/5)`.
fn link_places(listing: &Listing, record: Option<&Program>) -> String {
    let links = shapes::links_of(listing, record).iter();
    let links = links.map(|link| match listing.places.get(link) {
        Some(place) => format!("{link} ({}/{})", place.position + 1, place.of),
        None => link.to_string(),
    });
    several(&links.collect::<Vec<_>>())
}

/// What one is attached to that is not ours. Not every attachment is in a list of the kernel.
fn attachments(listing: &Listing, program: ProgramId) -> String {
    match listing.attachments.get(&program) {
        Some(found) => {
            let words: Vec<String> = found.iter().map(shapes::attachments::words).collect();
            several(&words)
        }
        None => "none found".to_owned(),
    }
}

fn several(words: &[String]) -> String {
    match words {
        [] => "none".to_owned(),
        words => words.join(", "),
    }
}
