//! List and get of links: read only, as for programs.

use std::collections::BTreeMap;

use bpfman_core::compute::is_ours;
use bpfman_core::compute::position;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::kernel::PinState;
use bpfman_core::managed::AttachPoint;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::LinkReader;

use crate::Manager;
use crate::ManagerError;

/// All there is to say about one link.
#[derive(Debug)]
pub struct LinkStatus {
    /// Its record.
    pub record: Link,
    /// Its place among the links of its attach point, first is 0.
    pub position: Option<usize>,
    /// The kernel's description; `None` when the kernel no longer has it.
    pub kernel: Option<kernel::Link>,
    /// Whether the kernel has it: the link, or the filter that stands for one.
    pub attached: bool,
    /// Whether its pin is there and is its own.
    pub pin_present: bool,
}

/// The managed links.
#[derive(Debug, Default)]
pub struct LinkListing {
    /// In the order of ids, with the place among the links of the attach point.
    pub links: Vec<(Link, Option<usize>)>,
    /// The programs of the links.
    pub programs: BTreeMap<ProgramId, Program>,
}

impl Manager<'_> {
    /// The managed links, as the store has them; their places are those in the kernel, as far as it lets us look.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list_links(&mut self) -> Result<LinkListing, ManagerError> {
        let Some(store) = self.runtime.reader()? else {
            return Ok(LinkListing::default());
        };
        let programs = store.list()?.into_iter();
        let links = store.links()?;
        let standing = self.standing(links.clone());
        Ok(LinkListing {
            links: with_positions(&standing.unwrap_or_else(|_| links.clone()), links),
            programs: programs.map(|program| (program.id(), program)).collect(),
        })
    }

    /// One managed link.
    ///
    /// # Errors
    /// [`ManagerError::NoSuchLink`]; others when store or kernel cannot be read.
    pub fn get_link(&mut self, id: LinkId) -> Result<LinkStatus, ManagerError> {
        let store = self.runtime.reader()?.ok_or(ManagerError::NoSuchLink(id))?;
        self.status_of_link(store.link(id)?, &*store)
    }

    /// The status of a link whose record is at hand.
    pub(crate) fn status_of_link<S: LinkReader + ?Sized>(
        &mut self,
        record: Link,
        store: &S,
    ) -> Result<LinkStatus, ManagerError> {
        let neighbours = match record.details.attach_point() {
            Some(point) => store.links_at(&point)?,
            None => Vec::new(),
        };
        let position = position(&record, &self.standing(neighbours)?);
        let pin = match &record.pin_path {
            Some(path) => Some(self.kernel.pin_state(path, Detail::Info)?),
            None => None,
        };
        let (kernel, pin_present) = match pin {
            Some(PinState::Link(found)) if is_ours(&record, &found) => (Some(found), true),
            _ => (self.kernel_link(&record, store)?, false),
        };
        let attached = match record.details.tc_filter() {
            Some(filter) => self.kernel.tc_filter(&filter)? == Some(record.program),
            None => kernel.is_some(),
        };
        Ok(LinkStatus {
            attached,
            record,
            position,
            kernel,
            pin_present,
        })
    }

    /// The kernel's link of a record that has lost its pin. The kernel gives the id of a link that is gone to
    /// another: when that is a newer one of ours, both may hold the same program, but only the newer one has it.
    pub(crate) fn kernel_link<S: LinkReader + ?Sized>(
        &mut self,
        link: &Link,
        store: &S,
    ) -> Result<Option<kernel::Link>, ManagerError> {
        let Some(id) = link.kernel else {
            return Ok(None);
        };
        if given_away(link, &store.links_of(link.program)?) {
            return Ok(None);
        }
        let found = self.kernel.link(id)?;
        Ok(found.filter(|found| is_ours(link, found)))
    }

    /// Of recorded links, those that stand at their attach points. Others are of an interface that is gone, whose index
    /// the next one may have, or somebody else detached them.
    pub(crate) fn standing(&mut self, links: Vec<Link>) -> Result<Vec<Link>, KernelError> {
        let mut newest: BTreeMap<KernelLinkId, LinkId> = BTreeMap::new();
        for link in &links {
            if let Some(id) = link.kernel {
                let newest = newest.entry(id).or_insert(link.id);
                *newest = link.id.max(*newest);
            }
        }
        let mut standing = Vec::new();
        for link in links {
            let newest = link.kernel.and_then(|id| newest.get(&id));
            if newest.is_none_or(|newest| *newest == link.id) && self.stands(&link)? {
                standing.push(link);
            }
        }
        Ok(standing)
    }

    fn stands(&mut self, link: &Link) -> Result<bool, KernelError> {
        let (Some(id), Some(point)) = (link.kernel, link.details.attach_point()) else {
            return Ok(true);
        };
        let here = LinkPlace::Interface {
            ifindex: Some(point.ifindex),
        };
        let found = self.kernel.link(id)?;
        Ok(found.is_some_and(|found| is_ours(link, &found) && found.place == here))
    }
}

/// Whether a newer link has the kernel's id of this one, which is gone then.
fn given_away(link: &Link, links: &[Link]) -> bool {
    let newer = |other: &Link| other.kernel == link.kernel && other.id > link.id;
    link.kernel.is_some() && links.iter().any(newer)
}

/// Each link with its place among those that stand at its attach point.
fn with_positions(standing: &[Link], links: Vec<Link>) -> Vec<(Link, Option<usize>)> {
    let mut points: BTreeMap<AttachPoint, Vec<Link>> = BTreeMap::new();
    for link in standing {
        if let Some(point) = link.details.attach_point() {
            points.entry(point).or_default().push(link.clone());
        }
    }
    let place = |link: &Link| {
        let point = link.details.attach_point()?;
        position(link, points.get(&point).map_or(&[], Vec::as_slice))
    };
    links
        .into_iter()
        .map(|link| {
            let place = place(&link);
            (link, place)
        })
        .collect()
}
