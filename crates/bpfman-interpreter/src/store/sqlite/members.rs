//! The rows of migration 3: a link of XDP or TC, which held its point alone, becomes the only member of a dispatcher.
//!
//! This speaks of rows as versions 2 and 3 have them, not of the records of today: it stays when those change.

use bpfman_core::links::AttachPoint;
use bpfman_core::links::FilterPlace;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::SharedHook;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;
use bpfman_core::types::XdpMode;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;
use serde::Deserialize;
use serde::Serialize;

use super::cells::Cells;
use super::cells::Subject;
use super::cells::json;
use super::fault::Fault;

/// The links in question, in the order of their ids.
const LINKS: &str = "SELECT links.id, programs.kernel_id AS program, links.kernel_id, links.kind, links.attach_point, \
     links.pin_path, links.details \
     FROM links LEFT JOIN programs ON programs.id = links.program_id \
     WHERE links.kind IN ('xdp', 'tc') ORDER BY links.id";

/// The details of such a link. Written back, they are those of version 3, which has no filter in them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum LinkDetails {
    Xdp {
        #[serde(flatten)]
        at: LinkInterface,
        priority: Priority,
        proceed_on: Vec<i32>,
        mode: XdpMode,
    },
    Tc {
        #[serde(flatten)]
        at: LinkInterface,
        direction: Direction,
        priority: Priority,
        proceed_on: Vec<i32>,
        #[serde(skip_serializing)]
        filter: Option<FilterPlace>,
    },
}

/// The details of its dispatcher.
#[derive(Serialize)]
struct Details {
    hook: SharedHook,
    #[serde(flatten)]
    at: LinkInterface,
    form: &'static str,
    filter: Option<FilterPlace>,
}

/// One link.
struct Former {
    id: LinkId,
    program: u32,
    kernel: Option<u32>,
    pin_path: Option<AbsolutePath>,
    details: LinkDetails,
}

/// Gives every link that holds a point a dispatcher, which holds the point from now on.
///
/// Two links of one point are not two members: the interface of the older one went away, and its number was given
/// to another. The older one keeps its kernel link and its pin, for no other row names them.
pub(super) fn migrate(connection: &Connection) -> Result<(), Fault> {
    for link in formers(connection)? {
        let details = json(&link.details)?;
        connection.execute(
            "UPDATE links SET details = ?2 WHERE id = ?1",
            params![link.id.0, details],
        )?;
        if link.pin_path.is_some() || link.details.filter().is_some() {
            add_dispatcher(connection, &link)?;
        }
    }
    connection.execute(
        "UPDATE links SET kernel_id = NULL, pin_path = NULL \
         WHERE id IN (SELECT value FROM dispatchers, json_each(dispatchers.members))",
        (),
    )?;
    Ok(())
}

fn formers(connection: &Connection) -> Result<Vec<Former>, Fault> {
    let mut formers = Vec::new();
    let mut statement = connection.prepare(LINKS)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        formers.push(former(row)?);
    }
    Ok(formers)
}

fn former(row: &Row<'_>) -> Result<Former, Fault> {
    let table = Cells {
        row,
        subject: Subject::LinkRow(row.get(0)?),
    };
    let id = LinkId(table.integer(0)?);
    let cells = Cells {
        row,
        subject: Subject::Link(id),
    };
    let details: LinkDetails = cells.json(6)?;
    cells.repeats(3, Some(details.kind()))?;
    cells.repeats(4, Some(&details.point()))?;
    let former = Former {
        id,
        program: cells.integer(1)?,
        kernel: cells.optional(2, Cells::integer)?,
        pin_path: cells.optional(5, Cells::path)?,
        details,
    };
    let (kernel, pin) = (former.kernel.is_some(), former.pin_path.is_some());
    if kernel != pin || (pin && former.details.filter().is_some()) {
        let reason = "a link has its kernel id and its pin, or a filter and neither";
        return Err(cells.complaint(5, reason));
    }
    Ok(former)
}

fn add_dispatcher(connection: &Connection, link: &Former) -> Result<(), Fault> {
    let form = "direct";
    let details = Details {
        hook: link.details.hook(),
        at: link.details.at().clone(),
        form,
        filter: link.details.filter(),
    };
    connection.execute(
        "INSERT OR REPLACE INTO dispatchers (attach_point, revision, form, kernel_program_id, kernel_link_id, \
         pin_path, members, details) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            link.details.point(),
            form,
            link.program,
            link.kernel,
            link.pin_path.as_ref().map(AbsolutePath::as_str),
            json(&[link.id])?,
            json(&details)?,
        ],
    )?;
    Ok(())
}

impl LinkDetails {
    fn kind(&self) -> &'static str {
        match self {
            Self::Xdp { .. } => "xdp",
            Self::Tc { .. } => "tc",
        }
    }

    fn hook(&self) -> SharedHook {
        match *self {
            Self::Xdp { mode, .. } => SharedHook::Xdp { mode },
            Self::Tc { direction, .. } => SharedHook::Tc { direction },
        }
    }

    fn at(&self) -> &LinkInterface {
        match self {
            Self::Xdp { at, .. } | Self::Tc { at, .. } => at,
        }
    }

    fn filter(&self) -> Option<FilterPlace> {
        match self {
            Self::Xdp { .. } => None,
            Self::Tc { filter, .. } => *filter,
        }
    }

    fn point(&self) -> String {
        let at = self.at();
        let point = AttachPoint {
            hook: self.hook().hook(),
            nsid: at.nsid,
            ifindex: at.ifindex,
        };
        point.to_string()
    }
}
