//! List and get of links: read only, as for programs.

use std::collections::BTreeMap;
use std::rc::Rc;

use bpfman_core::compute::PointState;
use bpfman_core::compute::Whereabouts;
use bpfman_core::compute::is_ours;
use bpfman_core::compute::position;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PinState;
use bpfman_core::links::AttachPoint;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::LinkReader;
use bpfman_interpreter::runtime::ReaderStore;

use crate::Manager;
use crate::ManagerError;
use crate::inspect::known;
use crate::link_status::LinkStatus;
use crate::whereabouts::Networks;

/// One link of a listing.
#[derive(Debug)]
pub struct ListedLink {
    /// Its record.
    pub record: Link,
    /// Its place among the links of its attach point, first is 0.
    pub position: Option<usize>,
    /// What runs at its attach point, where it is one of several that may share it.
    pub dispatcher: Option<Rc<Dispatcher>>,
    /// Where its interface is now; `None` for what has none, or is attached to none any more, or may not be looked at.
    pub whereabouts: Option<Whereabouts>,
}

/// A member's attach point, its place there, and where that is now.
type ListedMember = (Rc<Dispatcher>, Option<usize>, Option<Whereabouts>);

/// A link that stands at its attach point.
pub(crate) struct FoundLink {
    /// Its record, with its interface as it is now.
    pub(crate) link: Link,
    /// Where that is.
    pub(crate) whereabouts: Option<Whereabouts>,
}

/// The managed links.
#[derive(Debug, Default)]
pub struct LinkListing {
    /// In the order of ids.
    pub links: Vec<ListedLink>,
    /// The programs of the links.
    pub programs: BTreeMap<ProgramId, Program>,
}

impl Manager<'_> {
    /// The managed links, as the store has them; their places are those in the kernel, as far as it lets us look.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list_links(&mut self) -> Result<LinkListing, ManagerError> {
        let _operation = begin!(self, "list_links");
        let Some(store) = self.runtime.reader()? else {
            return Ok(LinkListing::default());
        };
        let programs = store.list()?.into_iter();
        let links = store.links()?;
        let mut networks = Networks::of(&*store)?;
        let mut members = self.members(store.dispatchers()?, &mut networks);
        let alone = links
            .iter()
            .filter(|link| link.details.membership().is_none());
        let alone: Vec<Link> = alone.cloned().collect();
        let found_links = self.found_links(alone.clone(), &mut networks);
        let found_links =
            found_links.unwrap_or_else(|_| alone.into_iter().map(as_recorded).collect());
        let points = at_points(&found_links);
        let mut found_links: BTreeMap<LinkId, FoundLink> = found_links
            .into_iter()
            .map(|found| (found.link.id, found))
            .collect();
        let listed = |mut record: Link| match members.remove(&record.id) {
            Some((dispatcher, position, whereabouts)) => {
                show_holder(&mut record, &dispatcher);
                ListedLink {
                    record,
                    position,
                    dispatcher: Some(dispatcher),
                    whereabouts,
                }
            }
            None => {
                let found = found_links.remove(&record.id);
                let link = found.as_ref().map(|found| &found.link);
                ListedLink {
                    position: link.and_then(|link| position_among(link, &points)),
                    record,
                    dispatcher: None,
                    whereabouts: found.and_then(|found| found.whereabouts),
                }
            }
        };
        Ok(LinkListing {
            links: links.into_iter().map(listed).collect(),
            programs: programs.map(|program| (program.id(), program)).collect(),
        })
    }

    /// The members of attach points, with their places where these run as recorded, or the kernel does not let us look.
    fn members(
        &mut self,
        dispatchers: Vec<Dispatcher>,
        networks: &mut Networks,
    ) -> BTreeMap<LinkId, ListedMember> {
        let mut members = BTreeMap::new();
        for dispatcher in dispatchers {
            let found_links = self.state_of(&dispatcher, networks);
            let runs = matches!(found_links, Ok(PointState::Attached) | Err(_));
            // A list is not refused because a namespace may not be entered.
            let whereabouts = self.whereabouts_of_point(&dispatcher, networks);
            let whereabouts = whereabouts.unwrap_or_default();
            let dispatcher = Rc::new(dispatcher);
            for (position, link) in dispatcher.members.iter().enumerate() {
                let position = runs.then_some(position);
                let member = (Rc::clone(&dispatcher), position, whereabouts.clone());
                members.insert(*link, member);
            }
        }
        members
    }

    /// One managed link.
    ///
    /// # Errors
    /// [`ManagerError::NoSuchLink`]; others when the store cannot be read. What the kernel does not tell is unknown.
    pub fn get_link(&mut self, id: LinkId) -> Result<LinkStatus, ManagerError> {
        let _operation = begin!(self, "get_link");
        let store = self.runtime.reader()?.ok_or(ManagerError::NoSuchLink(id))?;
        self.status_of_link(store.link(id)?, &*store)
    }

    /// The status of a link whose record is at hand.
    pub(crate) fn status_of_link<S: ReaderStore + ?Sized>(
        &mut self,
        record: Link,
        store: &S,
    ) -> Result<LinkStatus, ManagerError> {
        if record.details.membership().is_some() {
            return self.status_of_member(record, store);
        }
        let mut networks = Networks::of(store)?;
        let (place, unread) = seen(self.place_of(&record, store, &mut networks));
        let (position, whereabouts) = place.unwrap_or_default();
        let newer = store.links_of(record.program)?;
        let (observed, unread_link) = known(self.observe_link(&record, &newer));
        let (kernel, pin_present) = observed.unwrap_or_default();
        Ok(LinkStatus {
            attached: kernel.is_some(),
            record,
            position,
            kernel,
            unread: unread_link.or(unread),
            pin_present,
            dispatcher: None,
            counter: None,
            whereabouts,
            left_out: None,
        })
    }

    /// The place of a link among those that stand where it does now, and where that is.
    fn place_of<S: ReaderStore + ?Sized>(
        &mut self,
        record: &Link,
        store: &S,
        networks: &mut Networks,
    ) -> Result<(Option<usize>, Option<Whereabouts>), ManagerError> {
        let Some(point) = record.details.attach_point() else {
            return Ok((None, None));
        };
        let same_hook =
            |link: &Link| link.details.attach_point().map(|at| at.hook) == Some(point.hook);
        let links = store.links()?.into_iter().filter(same_hook).collect();
        let found_links = self.found_links(links, networks)?;
        let points = at_points(&found_links);
        let found = found_links
            .into_iter()
            .find(|found| found.link.id == record.id);
        Ok(match found {
            Some(found) => (position_among(&found.link, &points), found.whereabouts),
            None => (None, None),
        })
    }

    /// The kernel's link of a record, and whether it is at its pin.
    fn observe_link(
        &mut self,
        record: &Link,
        links: &[Link],
    ) -> Result<(Option<kernel::Link>, bool), KernelError> {
        if let Some(path) = &record.pin_path
            && let PinState::Link(found) = self.kernel.pin_state(path, Detail::Info)?
            && is_ours(record, &found)
        {
            return Ok((Some(found), true));
        }
        Ok((self.link_by_id(record, links)?, false))
    }

    /// The status of a link that may share its attach point: what holds all of its members is what it has.
    fn status_of_member<S: ReaderStore + ?Sized>(
        &mut self,
        mut record: Link,
        store: &S,
    ) -> Result<LinkStatus, ManagerError> {
        let point = record.details.attach_point();
        let dispatcher = match point {
            Some(point) => store.dispatcher(&point)?,
            None => None,
        };
        let left_out = dispatcher
            .as_ref()
            .and_then(|found| found.left_out(record.id).map(str::to_owned));
        let dispatcher = dispatcher.filter(|found| found.members.contains(&record.id));
        let mut networks = Networks::of(store)?;
        let (found_links, mut unread) = match &dispatcher {
            Some(dispatcher) => seen(self.state_of(dispatcher, &mut networks)),
            None => (Some(PointState::Missing), None),
        };
        let whereabouts = match &dispatcher {
            Some(dispatcher) => seen(self.whereabouts_of_point(dispatcher, &mut networks)),
            None => (None, None),
        };
        if let Some(dispatcher) = &dispatcher {
            show_holder(&mut record, dispatcher);
        }
        let holder = match (record.kernel, found_links) {
            (_, Some(PointState::Missing)) | (None, _) => (None, None),
            (Some(id), _) => known(self.link_at(id, record.pin_path.as_ref())),
        };
        let (kernel, pin_present) = holder.0.unwrap_or_default();
        let counter = record.details.membership().and_then(|own| own.counter);
        let counter = match counter {
            Some(path) => known(self.kernel.counter(path)),
            None => (None, None),
        };
        unread = unread.or(holder.1).or(counter.1).or(whereabouts.1);
        let position = dispatcher
            .as_ref()
            .and_then(|found| found.position(record.id));
        Ok(LinkStatus {
            attached: found_links.is_some_and(|found_links| {
                matches!(found_links, PointState::Attached | PointState::Unpinned)
            }),
            position: position.filter(|_| found_links == Some(PointState::Attached)),
            pin_present,
            record,
            kernel,
            unread,
            dispatcher,
            counter: counter.0.flatten(),
            whereabouts: whereabouts.0.flatten(),
            left_out,
        })
    }

    /// A link of the kernel: at its pin, which asks for no more rights than the attach did, or by its id. Answers
    /// whether it is at the pin.
    fn link_at(
        &mut self,
        id: KernelLinkId,
        pin: Option<&AbsolutePath>,
    ) -> Result<(Option<kernel::Link>, bool), KernelError> {
        if let Some(path) = pin
            && let PinState::Link(found) = self.kernel.pin_state(path, Detail::Info)?
            && found.id == id
        {
            return Ok((Some(found), true));
        }
        Ok((self.kernel.link(id)?, false))
    }

    /// The kernel's link of a record that has lost its pin. The kernel gives the id of a link that is gone to
    /// another: when that is a newer one of ours, both may hold the same program, but only the newer one has it.
    pub(crate) fn kernel_link<S: LinkReader + ?Sized>(
        &mut self,
        link: &Link,
        store: &S,
    ) -> Result<Option<kernel::Link>, ManagerError> {
        Ok(self.link_by_id(link, &store.links_of(link.program)?)?)
    }

    fn link_by_id(
        &mut self,
        link: &Link,
        links: &[Link],
    ) -> Result<Option<kernel::Link>, KernelError> {
        let Some(id) = link.kernel else {
            return Ok(None);
        };
        if given_away(link, links) {
            return Ok(None);
        }
        let found = self.kernel.link(id)?;
        Ok(found.filter(|found| is_ours(link, found)))
    }

    /// Of recorded links, those that stand at an attach point. Others are of an interface that is gone, whose index
    /// the next one may have, or somebody else detached them.
    pub(crate) fn found_links(
        &mut self,
        links: Vec<Link>,
        networks: &mut Networks,
    ) -> Result<Vec<FoundLink>, ManagerError> {
        let mut newest: BTreeMap<KernelLinkId, LinkId> = BTreeMap::new();
        for link in &links {
            if let Some(id) = link.kernel {
                let newest = newest.entry(id).or_insert(link.id);
                *newest = link.id.max(*newest);
            }
        }
        let mut found_links = Vec::new();
        for link in links {
            let newest = link.kernel.and_then(|id| newest.get(&id));
            if newest.is_none_or(|newest| *newest == link.id) {
                found_links.extend(self.stands(link, networks)?);
            }
        }
        Ok(found_links)
    }

    fn stands(
        &mut self,
        link: Link,
        networks: &mut Networks,
    ) -> Result<Option<FoundLink>, ManagerError> {
        let (Some(id), Some(_)) = (link.kernel, link.details.attach_point()) else {
            return Ok(Some(as_recorded(link)));
        };
        let (found, _) = self.link_at(id, link.pin_path.as_ref())?;
        let Some(found) = found.filter(|found| is_ours(&link, found)) else {
            return Ok(None);
        };
        let Some(whereabouts) = self.whereabouts_of_link(&link, &found, networks)? else {
            return Ok(None);
        };
        let details = match whereabouts.now() {
            Some(now) => link.details.clone().moved_to(now),
            None => link.details.clone(),
        };
        Ok(Some(FoundLink {
            link: Link { details, ..link },
            whereabouts: Some(whereabouts),
        }))
    }
}

/// What could be seen, or why it could not.
fn seen<T>(answer: Result<T, ManagerError>) -> (Option<T>, Option<KernelError>) {
    known(answer.map_err(|error| match error {
        ManagerError::Kernel(error) => error,
        other => KernelError::new(KernelErrorKind::Other, other.to_string()),
    }))
}

fn as_recorded(link: Link) -> FoundLink {
    FoundLink {
        link,
        whereabouts: None,
    }
}

/// Shows a member that has no link of its own with the one that holds its attach point.
pub(crate) fn show_holder(link: &mut Link, dispatcher: &Dispatcher) {
    if let (None, Some((id, path))) = (link.kernel, dispatcher.link()) {
        link.kernel = Some(id);
        link.pin_path = Some(path.clone());
    }
}

/// Whether a newer link has the kernel's id of this one, which is gone then.
fn given_away(link: &Link, links: &[Link]) -> bool {
    let newer = |other: &Link| other.kernel == link.kernel && other.id > link.id;
    link.kernel.is_some() && links.iter().any(newer)
}

/// Links by the attach points that they stand at.
fn at_points(found_links: &[FoundLink]) -> BTreeMap<AttachPoint, Vec<Link>> {
    let mut points: BTreeMap<AttachPoint, Vec<Link>> = BTreeMap::new();
    for FoundLink { link, .. } in found_links {
        if let Some(point) = link.details.attach_point() {
            points.entry(point).or_default().push(link.clone());
        }
    }
    points
}

/// The place of a link among those that stand at its attach point.
fn position_among(link: &Link, points: &BTreeMap<AttachPoint, Vec<Link>>) -> Option<usize> {
    position(link, points.get(&link.details.attach_point()?)?)
}
