//! The plan of a detach.

use alloc::boxed::Box;
use alloc::format;

use super::ending::AttachedLink;
use super::ending::Ending;
use crate::action::Plan;
use crate::action::StoreAction;
use crate::kernel;
use crate::kernel::LinkPlace;
use crate::kernel::PinState;
use crate::links;
use crate::links::LinkDetails;
use crate::managed::Link;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::LinkId;

/// What the world looks like before a detach, gathered once.
#[derive(Clone, Debug)]
pub struct DetachSnapshot {
    /// The record.
    pub link: Link,
    /// What is at its pin; `None` where it has none.
    pub pin: Option<PinState>,
    /// What the kernel has under the link's id when the pin does not hold it.
    pub unpinned: Option<kernel::Link>,
}

/// Why a detach is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetachRefusal {
    /// Something else is at the link's pin.
    #[error("the pin {path} of link {id} now holds something else; it is left alone")]
    PinIsNotOurs {
        /// The link.
        id: LinkId,
        /// Its recorded pin.
        path: AbsolutePath,
    },
    /// Its pin is gone, somebody else holds it, and links of its type cannot be detached then.
    #[error(
        "link {id} has lost its pin and somebody else holds kernel link {kernel}, which stays attached until they let go"
    )]
    HeldElsewhere {
        /// The link.
        id: LinkId,
        /// The kernel's link.
        kernel: KernelLinkId,
    },
}

/// Plans a detach.
///
/// The order, and why: the record goes first, for a detached link cannot be put back.
///
/// # Errors
/// [`DetachRefusal::PinIsNotOurs`] when the pin holds another object, [`DetachRefusal::HeldElsewhere`] when it is gone
/// and nothing we can do detaches the link.
pub fn plan_detach(snapshot: &DetachSnapshot) -> Result<Plan, DetachRefusal> {
    let mut plan = Plan::new(format!("the detach of link {}", snapshot.link.id));
    let mut ending = Ending::default();
    add_detach(&mut ending, snapshot)?;
    ending.add(&mut plan);
    Ok(plan)
}

/// Adds the detach of a link to the end of a plan.
pub(super) fn add_detach(
    ending: &mut Ending,
    snapshot: &DetachSnapshot,
) -> Result<(), DetachRefusal> {
    let link = &snapshot.link;
    let at_pin = link.pin_path.as_ref().zip(snapshot.pin.as_ref());
    let attached = match at_pin {
        Some((path, PinState::Link(found))) if is_ours(link, found) => Some(AttachedLink {
            link: found.id,
            pin: Some(path.clone()),
        }),
        // Removed by hand: the link lives on when somebody else holds it.
        None | Some((_, PinState::Free { .. })) => unpinned(snapshot)?,
        Some((path, _)) => {
            return Err(DetachRefusal::PinIsNotOurs {
                id: link.id,
                path: path.clone(),
            });
        }
    };
    ending.records.delete_link(link);
    ending.links.extend(attached);
    Ok(())
}

fn unpinned(snapshot: &DetachSnapshot) -> Result<Option<AttachedLink>, DetachRefusal> {
    let link = &snapshot.link;
    match snapshot
        .unpinned
        .as_ref()
        .filter(|found| is_ours(link, found))
    {
        None => Ok(None),
        Some(found) if found.link_type.can_be_detached() => Ok(Some(AttachedLink {
            link: found.id,
            pin: None,
        })),
        Some(found) => Err(DetachRefusal::HeldElsewhere {
            id: link.id,
            kernel: found.id,
        }),
    }
}

/// Whether the kernel's link is that of a record. Links have neither tag nor load time: their id and what they hold must
/// agree, the program or, for struct_ops, the map.
#[must_use]
pub fn is_ours(link: &Link, found: &kernel::Link) -> bool {
    let holds = match (&link.details, &found.place) {
        (LinkDetails::StructOps(links::StructOps { map_id, .. }), LinkPlace::Map { map }) => {
            map.is_none_or(|map| map == *map_id)
        }
        _ => link.program == found.program,
    };
    link.kernel == Some(found.id) && holds
}

/// Whether what is at the pin of a link is another link of its program, which was attached there again.
#[must_use]
pub fn is_renewed(link: &Link, found: &kernel::Link) -> bool {
    link.kernel.is_some_and(|kernel| kernel != found.id)
        && link.program == found.program
        && found.is_attached()
}

/// Records the link that is at the pin now.
#[must_use]
pub fn plan_adopt(link: &Link, found: &kernel::Link) -> Plan {
    let mut plan = Plan::new(format!("recording link {} again", link.id));
    let record = |kernel| StoreAction::SaveLink {
        link: Box::new(Link {
            kernel,
            ..link.clone()
        }),
    };
    plan.commit(record(Some(found.id)), record(link.kernel));
    plan
}
