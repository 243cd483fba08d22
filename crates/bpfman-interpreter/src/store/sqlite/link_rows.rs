//! Links to rows and back. What the details say already stands in columns of its own, to search by; a row whose
//! columns and details disagree is damage.

use bpfman_core::links::AttachPoint;
use bpfman_core::links::LinkDetails;
use bpfman_core::links::LinkKind;
use bpfman_core::managed::Link;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;

use super::cells::Cells;
use super::cells::Subject;
use super::cells::json;
use super::fault::Fault;
use crate::store::stored_link_time;

/// The columns that [`link`] reads, in its order.
macro_rules! link_columns {
    () => {
        "links.id, programs.kernel_id AS program, links.kernel_id, links.kind, links.attach_point, links.pin_path, \
         links.details, links.metadata, links.created_at"
    };
}
pub(super) use link_columns;

/// Reads [`link_columns`].
pub(super) fn link(row: &Row<'_>) -> Result<Link, Fault> {
    let table = Cells {
        row,
        subject: Subject::LinkRow(row.get(0)?),
    };
    let id = LinkId(table.integer(0)?);
    let cells = Cells {
        row,
        subject: Subject::Link(id),
    };
    Ok(Link {
        id,
        program: ProgramId(cells.integer(1)?),
        kernel: cells.optional(2, Cells::integer)?.map(KernelLinkId),
        details: details(&cells)?,
        pin_path: cells.optional(5, Cells::path)?,
        metadata: cells.json(7)?,
        created_at: UnixTime(cells.integer(8)?),
    })
}

/// Reads the details and the columns that repeat them.
fn details(cells: &Cells<'_>) -> Result<LinkDetails, Fault> {
    let details: LinkDetails = cells.json(6)?;
    let kind = cells.parsed(3, LinkKind::parse)?;
    if kind != details.kind() {
        let reason = format!("{kind}, but the details say {}", details.kind());
        return Err(cells.complaint(3, reason));
    }
    cells.repeats(4, attach_point(&details).as_deref())?;
    Ok(details)
}

fn attach_point(details: &LinkDetails) -> Option<String> {
    details.attach_point().as_ref().map(AttachPoint::to_string)
}

/// Writes a link of the program in row `program_row`, into its row if it has one.
pub(super) fn save(connection: &Connection, program_row: i64, link: &Link) -> Result<(), Fault> {
    let created_at = stored_link_time(link)?;
    let mut statement = connection.prepare(
        "INSERT INTO links (id, program_id, kernel_id, kind, attach_point, pin_path, details, metadata, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT (id) DO UPDATE SET program_id = excluded.program_id, kernel_id = excluded.kernel_id, \
         kind = excluded.kind, attach_point = excluded.attach_point, pin_path = excluded.pin_path, \
         details = excluded.details, metadata = excluded.metadata, created_at = excluded.created_at",
    )?;
    statement.execute(params![
        link.id.0,
        program_row,
        link.kernel.map(|kernel| kernel.0),
        link.kind().name(),
        attach_point(&link.details),
        link.pin_path.as_ref().map(AbsolutePath::as_str),
        json(&link.details)?,
        json(&link.metadata)?,
        created_at,
    ])?;
    Ok(())
}
