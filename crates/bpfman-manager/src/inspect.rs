//! List and get: read only. No lock, no mount, no migration.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::compute::PointState;
use bpfman_core::compute::Sharer;
use bpfman_core::compute::map_users;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::PinState;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::ManagedMap;
use bpfman_core::managed::Program;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::store::StoreError;

use crate::Attachment;
use crate::Manager;
use crate::ManagerError;
use crate::link_status::LinkStatus;
use crate::whereabouts::Networks;

/// Programs as the store and the kernel see them.
#[derive(Debug, Default)]
pub struct Listing {
    /// In the order of ids. A record without a kernel program is one that the kernel no longer has, or one that
    /// it refused to tell of.
    pub programs: Vec<(Option<Program>, Option<kernel::Program>)>,
    /// The links of the programs that have any.
    pub links: BTreeMap<ProgramId, Vec<LinkId>>,
    /// The places of links that run together with others.
    pub places: BTreeMap<LinkId, Place>,
    /// What programs are attached to that we do not manage.
    pub attachments: BTreeMap<ProgramId, Vec<Attachment>>,
    /// What the kernel refused to tell; empty when the list is whole.
    pub refused: Vec<KernelError>,
}

/// The place of a link among those that it runs together with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many run before it.
    pub position: usize,
    /// How many there are.
    pub of: usize,
}

/// All there is to say about one managed program.
#[derive(Debug)]
pub struct ProgramStatus {
    /// Its record.
    pub record: Program,
    /// The kernel's description; `None` when the kernel no longer has it, or did not tell.
    pub kernel: Option<kernel::Program>,
    /// Why something that the kernel was asked is not known; all the rest is.
    pub unread: Option<KernelError>,
    /// Whether its pin is there and is its own.
    pub pin_present: bool,
    /// Whether its map directory is there.
    pub map_directory_present: bool,
    /// Whether our copy of its object is there.
    pub object_present: bool,
    /// Its maps, in the kernel's order: those that it uses, of all that were made for its object.
    pub maps: Vec<ProgramMap>,
    /// The programs that use its map set, with itself, in the order of their ids.
    pub map_users: Vec<ProgramId>,
    /// Its links.
    pub links: Vec<LinkStatus>,
}

/// One map of a program.
#[derive(Debug)]
pub struct ProgramMap {
    /// Its id.
    pub id: MapId,
    /// What is recorded of it.
    pub record: Option<ManagedMap>,
    /// What the kernel says of it; `None` when it is gone, or not known.
    pub observed: Option<kernel::Map>,
    /// Whether the program, which the kernel told of, uses it: then it is there, whatever is known of it.
    pub in_use: bool,
}

impl Manager<'_> {
    /// The managed programs. The kernel is asked about each, for an id alone proves nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&mut self, detail: Detail) -> Result<Listing, ManagerError> {
        let _operation = begin!(self, "list");
        let mut listing = Listing::default();
        let Some(store) = self.runtime.reader()? else {
            return Ok(listing);
        };
        listing.links = link_ids(store.links()?);
        listing.places = self.places(store.dispatchers()?);
        for record in store.list()? {
            let kernel = match self.observe(&record, detail) {
                Ok((kernel, _)) => kernel,
                Err(error) => {
                    listing.refuse(error);
                    None
                }
            };
            listing.programs.push((Some(record), kernel));
        }
        Ok(listing)
    }

    /// Every program in the kernel, and the records of those that are ours.
    ///
    /// # Errors
    /// When the store cannot be read. What the kernel refuses is part of the answer.
    pub fn list_all(&mut self) -> Result<Listing, ManagerError> {
        let _operation = begin!(self, "list_all");
        let mut listing = Listing::default();
        let stored = match self.runtime.reader()? {
            Some(store) => {
                listing.links = link_ids(store.links()?);
                listing.places = self.places(store.dispatchers()?);
                store.list()?
            }
            None => Vec::new(),
        };
        let mut stored: BTreeMap<ProgramId, Program> =
            stored.into_iter().map(|p| (p.id(), p)).collect();
        for observed in self.kernel.programs() {
            match observed {
                Ok(program) => {
                    let id = program.identity.id;
                    let ours = stored
                        .get(&id)
                        .is_some_and(|record| record.identity == program.identity);
                    let record = if ours { stored.remove(&id) } else { None };
                    listing.programs.push((record, Some(program)));
                }
                Err(error) => listing.refuse(error),
            }
        }
        listing
            .programs
            .extend(stored.into_values().map(|record| (Some(record), None)));
        listing.programs.sort_by_key(|(record, kernel)| {
            let observed = kernel.as_ref().map(|program| program.identity.id);
            observed.or_else(|| record.as_ref().map(Program::id))
        });
        let foreign = listing.programs.iter().filter_map(|entry| match entry {
            (None, Some(found)) => Some(found),
            _ => None,
        });
        let types: BTreeSet<KernelProgramType> =
            foreign.clone().map(|found| found.program_type).collect();
        let foreign: BTreeSet<ProgramId> = foreign.map(|found| found.identity.id).collect();
        let found = self.attachments(&foreign, &types);
        listing.attachments = found.attachments;
        for error in found.refused {
            listing.refuse(error);
        }
        Ok(listing)
    }

    /// One managed program.
    ///
    /// # Errors
    /// [`ManagerError::NoSuchProgram`]; others when the store cannot be read. What the kernel does not tell is unknown.
    pub fn get(&mut self, id: ProgramId) -> Result<ProgramStatus, ManagerError> {
        let _operation = begin!(self, "get");
        let (store, record) = self.managed(id)?;
        let sharing = store.sharing(&record)?;
        let sharing = match self.observe_sharers(sharing.clone()) {
            Ok(sharing) => sharing,
            // Who cannot be looked at is not gone.
            Err(_) => sharing.into_iter().map(Sharer::living).collect(),
        };
        let mut status = self.status(record, &sharing);
        for link in store.links_of(id)? {
            status.links.push(self.status_of_link(link, &*store)?);
        }
        Ok(status)
    }

    /// The record of a program, which exists before anything is made for it.
    ///
    /// # Errors
    /// [`ManagerError::NoSuchProgram`]; [`ManagerError::NotManaged`] for a program that only the kernel has.
    pub(crate) fn managed(
        &mut self,
        id: ProgramId,
    ) -> Result<(Box<dyn ReaderStore>, Program), ManagerError> {
        if let Some(store) = self.runtime.reader()? {
            match store.get(id) {
                Ok(record) => return Ok((store, record)),
                Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match self.kernel.lasting_program(id)? {
            None => Err(ManagerError::NoSuchProgram(id)),
            Some(found) => {
                let what = match found.name.as_str() {
                    "" => found.program_type.to_string(),
                    name => format!("{} `{}`", found.program_type, name.escape_debug()),
                };
                Err(ManagerError::NotManaged { id, what })
            }
        }
    }

    /// The status of a program whose record is at hand, without its links. What the kernel does not tell is unknown:
    /// that an operation has taken effect does not depend on it.
    pub fn status(&mut self, record: Program, sharing: &[Sharer]) -> ProgramStatus {
        let (observed, mut unread) = known(self.observe(&record, Detail::Full));
        let (kernel, pin_present) = observed.unwrap_or_default();
        let mut map_users = map_users(&record, sharing);
        if kernel.is_some() || unread.is_some() {
            map_users.push(record.id());
        }
        map_users.sort_unstable();
        let maps = match &kernel {
            Some(program) => self.maps_of(program, &record, &mut unread),
            None => record.maps.iter().cloned().map(ProgramMap::gone).collect(),
        };
        ProgramStatus {
            kernel,
            unread,
            pin_present,
            map_directory_present: self.files.exists(&record.map_directory),
            object_present: self.files.exists(&record.load.object_path),
            maps,
            map_users,
            links: Vec::new(),
            record,
        }
    }

    /// The kernel's map of a record: at its pin, which asks for no more rights than the load did, or by its id.
    pub(crate) fn observe_map(
        &mut self,
        map: &ManagedMap,
    ) -> Result<Option<kernel::Map>, KernelError> {
        if let Some(path) = &map.pin_path
            && let PinState::Map(found) = self.kernel.pin_state(path, Detail::Full)?
            && found.id == map.id
        {
            return Ok(Some(found));
        }
        self.kernel.map(map.id)
    }

    /// The maps that a program uses. `unread` takes the first refusal to tell of one.
    fn maps_of(
        &mut self,
        program: &kernel::Program,
        record: &Program,
        unread: &mut Option<KernelError>,
    ) -> Vec<ProgramMap> {
        let mut maps = Vec::with_capacity(program.map_ids.len());
        for id in &program.map_ids {
            let recorded = record.maps.iter().find(|map| map.id == *id);
            let (observed, refusal) = known(match recorded {
                Some(map) => self.observe_map(map),
                None => self.kernel.map(*id),
            });
            if unread.is_none() {
                *unread = refusal;
            }
            maps.push(ProgramMap {
                id: *id,
                record: recorded.cloned(),
                observed: observed.flatten(),
                in_use: true,
            });
        }
        maps
    }

    /// The places at attach points where several run. The kernel is not asked about the others, of which there may be
    /// many.
    fn places(&mut self, dispatchers: Vec<Dispatcher>) -> BTreeMap<LinkId, Place> {
        let mut networks = Networks::default();
        let mut places = BTreeMap::new();
        for dispatcher in dispatchers {
            let of = dispatcher.members.len();
            let runs = |state| matches!(state, Ok(PointState::Attached) | Err(_));
            if of > 1 && runs(self.state_of(&dispatcher, &mut networks)) {
                let links = dispatcher.members.iter().enumerate();
                places.extend(links.map(|(position, link)| (*link, Place { position, of })));
            }
        }
        places
    }

    /// What the kernel has of records that may share maps with another.
    pub(crate) fn observe_sharers(
        &mut self,
        records: Vec<Program>,
    ) -> Result<Vec<Sharer>, KernelError> {
        let observe = |record| {
            let (kernel, _) = self.observe(&record, Detail::Info)?;
            Ok(Sharer {
                observed: kernel.map(|program| program.identity),
                record,
            })
        };
        records.into_iter().map(observe).collect()
    }

    /// The kernel's program of a record, and whether it is at its pin: id, tag and load time must agree.
    fn observe(
        &mut self,
        record: &Program,
        detail: Detail,
    ) -> Result<(Option<kernel::Program>, bool), KernelError> {
        match self.kernel.pin_state(&record.pin_path, detail)? {
            PinState::Program(found) if found.identity == record.identity => {
                Ok((Some(found), true))
            }
            _ => {
                let found = self.kernel.program(record.id(), detail)?;
                Ok((
                    found.filter(|found| found.identity == record.identity),
                    false,
                ))
            }
        }
    }
}

impl ProgramMap {
    /// A map of a program that the kernel no longer has.
    fn gone(record: ManagedMap) -> Self {
        Self {
            id: record.id,
            record: Some(record),
            observed: None,
            in_use: false,
        }
    }
}

impl Listing {
    /// Keeps a refusal, once: the same one a thousand times says no more.
    fn refuse(&mut self, error: KernelError) {
        if !self.refused.contains(&error) {
            self.refused.push(error);
        }
    }
}

/// What the kernel said, or why it did not.
pub(crate) fn known<T>(answer: Result<T, KernelError>) -> (Option<T>, Option<KernelError>) {
    match answer {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(error)),
    }
}

/// The ids of links by their programs.
fn link_ids(links: Vec<Link>) -> BTreeMap<ProgramId, Vec<LinkId>> {
    let mut ids: BTreeMap<ProgramId, Vec<LinkId>> = BTreeMap::new();
    for link in links {
        ids.entry(link.program).or_default().push(link.id);
    }
    ids
}
