//! Dispatchers to rows and back. Like that of a link, a row whose columns and details disagree is damage.

use bpfman_core::links::FilterPlace;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::SharedHook;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::managed::Holder;
use bpfman_core::managed::LeftOut;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::ProgramId;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;
use serde::Deserialize;
use serde::Serialize;

use super::cells::Cells;
use super::cells::Subject;
use super::cells::json;
use super::fault::Fault;

/// The columns that [`dispatcher`] reads, in its order.
macro_rules! dispatcher_columns {
    () => {
        "attach_point, revision, form, kernel_program_id, kernel_link_id, pin_path, members, details"
    };
}
pub(super) use dispatcher_columns;

/// What stands in no column of its own.
#[derive(Serialize, Deserialize)]
struct Details {
    hook: SharedHook,
    #[serde(flatten)]
    at: LinkInterface,
    form: DispatcherForm,
    /// What holds the program; `None` where a link does.
    filter: Option<FilterPlace>,
    /// The links whose programs do not run there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
}

/// Reads [`dispatcher_columns`].
pub(super) fn dispatcher(row: &Row<'_>) -> Result<Dispatcher, Fault> {
    let table = Cells {
        row,
        subject: Subject::DispatcherRow,
    };
    let key = table.text(0)?;
    let cells = Cells {
        row,
        subject: Subject::Dispatcher(key),
    };
    let details: Details = cells.json(7)?;
    let dispatcher = Dispatcher {
        revision: cells.integer(1)?,
        program: ProgramId(cells.integer(3)?),
        holder: holder(&cells, &details)?,
        members: cells.json(6)?,
        hook: details.hook,
        at: details.at,
        form: details.form,
        left_out: details.left_out,
    };
    cells.repeats(0, Some(&dispatcher.point().to_string()))?;
    cells.repeats(2, Some(dispatcher.form.name()))?;
    Ok(dispatcher)
}

/// Reads who holds the program: a link, with its id and its pin, or a filter, and never both.
fn holder(cells: &Cells<'_>, details: &Details) -> Result<Holder, Fault> {
    let id = cells.optional(4, Cells::integer)?.map(KernelLinkId);
    let pin_path = cells.optional(5, Cells::path)?;
    match (id, pin_path, details.filter, details.hook) {
        (Some(id), Some(pin_path), None, _) => Ok(Holder::Link { id, pin_path }),
        (None, None, Some(place), SharedHook::Tc { .. }) => Ok(Holder::Filter(place)),
        (None, None, Some(_), SharedHook::Xdp { .. }) => {
            Err(cells.complaint(7, "no filter holds an XDP program"))
        }
        (None, None, None, _) => Err(cells.complaint(4, "none, and the details have no filter")),
        (Some(_), None, None, _) => Err(cells.complaint(5, "none, but there is a link")),
        (None, Some(_), None, _) => Err(cells.complaint(4, "none, but there is its pin")),
        (_, _, Some(_), _) => Err(cells.complaint(7, "a filter, but there is a link, too")),
    }
}

/// Writes a dispatcher, into the row of its attach point if there is one.
pub(super) fn save(connection: &Connection, dispatcher: &Dispatcher) -> Result<(), Fault> {
    let (link, filter) = match &dispatcher.holder {
        Holder::Link { id, pin_path } => (Some((id.0, pin_path.as_str())), None),
        Holder::Filter(place) => (None, Some(*place)),
    };
    let details = Details {
        hook: dispatcher.hook,
        at: dispatcher.at.clone(),
        form: dispatcher.form.clone(),
        filter,
        left_out: dispatcher.left_out.clone(),
    };
    let mut statement = connection.prepare(concat!(
        "INSERT OR REPLACE INTO dispatchers (",
        dispatcher_columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    ))?;
    statement.execute(params![
        dispatcher.point().to_string(),
        dispatcher.revision,
        dispatcher.form.name(),
        dispatcher.program.0,
        link.map(|(id, _)| id),
        link.map(|(_, pin_path)| pin_path),
        json(&dispatcher.members)?,
        json(&details)?,
    ])?;
    Ok(())
}
