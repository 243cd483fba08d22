//! Attach points that several programs share, as users see and change them.

use bpfman_core::action::Plan;
use bpfman_core::chain::makes_tail_calls;
use bpfman_core::compute::Change;
use bpfman_core::compute::JoinedAs;
use bpfman_core::compute::Joining;
use bpfman_core::compute::PointFacts;
use bpfman_core::compute::PointState;
use bpfman_core::compute::Whereabouts;
use bpfman_core::compute::plan_change;
use bpfman_core::links::AttachPoint;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::store::StoreError;

use crate::Manager;
use crate::ManagerError;
use crate::links::show_holder;
use crate::whereabouts::Networks;

/// What runs at an attach point.
#[derive(Debug)]
pub struct DispatcherStatus {
    /// The record.
    pub dispatcher: Dispatcher,
    /// What the kernel has of it.
    pub state: PointState,
    /// Where its interface is now; `None` when what runs there is attached to none any more.
    pub whereabouts: Option<Whereabouts>,
    /// The members in the order in which they run, with their programs.
    pub members: Vec<(Link, Program)>,
    /// Those that share the tail calls of one run ([`bpfman_core::chain::MAX_TAIL_CALLS`]); empty where no two members do.
    pub share_tail_calls: Vec<LinkId>,
}

/// Another place for a link among those of its attach point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUpdate {
    /// The link.
    pub link: LinkId,
    /// Its new priority.
    pub priority: Option<Priority>,
    /// The verdicts after which the next program runs now.
    pub proceed_on: Option<Vec<i32>>,
}

impl Manager<'_> {
    /// What runs at every attach point that can have several programs.
    ///
    /// # Errors
    /// When store or kernel cannot be read.
    pub fn dispatchers(&mut self) -> Result<Vec<DispatcherStatus>, ManagerError> {
        let _operation = begin!(self, "list_dispatchers");
        let Some(store) = self.runtime.reader()? else {
            return Ok(Vec::new());
        };
        let mut networks = Networks::of(&*store)?;
        let dispatchers = store.dispatchers()?.into_iter();
        dispatchers
            .map(|dispatcher| self.dispatcher_status(dispatcher, &*store, &mut networks))
            .collect()
    }

    /// What runs at one attach point.
    ///
    /// # Errors
    /// [`ManagerError::NothingThere`] when nothing of ours does; others when store or kernel cannot be read.
    pub fn dispatcher(&mut self, point: AttachPoint) -> Result<DispatcherStatus, ManagerError> {
        let _operation = begin!(self, "get_dispatcher");
        let missing = || ManagerError::NothingThere(point);
        let store = self.runtime.reader()?.ok_or_else(missing)?;
        let dispatcher = store.dispatcher(&point)?.ok_or_else(missing)?;
        let mut networks = Networks::of(&*store)?;
        self.dispatcher_status(dispatcher, &*store, &mut networks)
    }

    /// Detaches every link of an attach point.
    ///
    /// # Errors
    /// [`ManagerError`]; everything is as it was, unless the error says what could not be undone.
    pub fn delete_dispatcher(&mut self, point: AttachPoint) -> Result<(), ManagerError> {
        let _operation = begin!(self, "delete_dispatcher");
        self.with_reserve(|manager| manager.delete_dispatcher_once(point))
    }

    fn delete_dispatcher_once(&mut self, point: AttachPoint) -> Result<(), ManagerError> {
        // Nothing is made for an attach point that nobody recorded.
        let missing = || ManagerError::NothingThere(point);
        let known = self.runtime.reader()?.ok_or_else(missing)?;
        known.dispatcher(&point)?.ok_or_else(missing)?;
        drop(known);
        self.as_writer(|manager, store| {
            let let_go = manager.until_settled(store, |manager, store| {
                let (facts, change) = manager.clear(point, store)?;
                Ok(manager.change_point(&facts, &change, store)?.let_go)
            })?;
            match manager.left_after(&let_go).first() {
                None => Ok(()),
                Some(link) => Err(ManagerError::StillAttached(*link)),
            }
        })
    }

    /// The plan of [`Self::delete_dispatcher`], without any effect.
    ///
    /// # Errors
    /// As there, as far as a plan can tell.
    pub fn plan_delete_dispatcher(&mut self, point: AttachPoint) -> Result<Plan, ManagerError> {
        let missing = || ManagerError::NothingThere(point);
        let store = self.runtime.reader()?.ok_or_else(missing)?;
        let (facts, change) = self.clear(point, &*store)?;
        let plan = plan_change(
            &facts,
            &change,
            Joining::All(JoinedAs::Inlined),
            &self.layout,
        )?;
        self.lasting(plan)
    }

    /// Gives a link another place among those of its attach point; it stays the same link.
    ///
    /// # Errors
    /// [`ManagerError`]; everything is as it was, unless the error says what could not be undone.
    pub fn update_link(&mut self, update: &LinkUpdate) -> Result<(), ManagerError> {
        let _operation = begin!(self, "update_link");
        let id = update.link;
        let known = self.runtime.reader()?.ok_or(ManagerError::NoSuchLink(id))?;
        known.link(id)?;
        drop(known);
        self.as_writer(|manager, store| {
            manager.until_settled(store, |manager, store| {
                let (facts, change) = manager.alter(update, store)?;
                manager.change_point(&facts, &change, store)
            })?;
            Ok(())
        })
    }

    /// The plan of [`Self::update_link`], without any effect.
    ///
    /// # Errors
    /// As there, as far as a plan can tell.
    pub fn plan_update_link(&mut self, update: &LinkUpdate) -> Result<Plan, ManagerError> {
        let missing = ManagerError::NoSuchLink(update.link);
        let store = self.runtime.reader()?.ok_or(missing)?;
        let (facts, change) = self.alter(update, &*store)?;
        let plan = plan_change(
            &facts,
            &change,
            Joining::All(JoinedAs::Inlined),
            &self.layout,
        )?;
        self.lasting(plan)
    }

    fn alter<S: ReaderStore + ?Sized>(
        &mut self,
        update: &LinkUpdate,
        store: &S,
    ) -> Result<(PointFacts, Change), ManagerError> {
        let link = store.link(update.link)?;
        let Some(membership) = link.details.membership() else {
            return Err(ManagerError::NoPlaceToChange(link.id, link.kind()));
        };
        let mut facts = self.point_facts(membership.hook, membership.at.clone(), None, store)?;
        self.note_extensions(&mut facts, None)?;
        let change = Change::Alter {
            link: update.link,
            priority: update.priority,
            proceed_on: update.proceed_on.clone(),
        };
        Ok((facts, change))
    }

    fn clear<S: ReaderStore + ?Sized>(
        &mut self,
        point: AttachPoint,
        store: &S,
    ) -> Result<(PointFacts, Change), ManagerError> {
        let dispatcher = store.dispatcher(&point)?;
        let dispatcher = dispatcher.ok_or(ManagerError::NothingThere(point))?;
        let facts = self.point_facts(dispatcher.hook, dispatcher.at, None, store)?;
        let change = Change::Leave(facts.links().cloned().collect());
        Ok((facts, change))
    }

    fn dispatcher_status<S: ReaderStore + ?Sized>(
        &mut self,
        dispatcher: Dispatcher,
        store: &S,
        networks: &mut Networks,
    ) -> Result<DispatcherStatus, ManagerError> {
        let mut members = Vec::new();
        for id in &dispatcher.members {
            // A writer may take a link away between two questions.
            let found = store.link(*id).and_then(|link| {
                let program = store.get(link.program)?;
                Ok((link, program))
            });
            match found {
                Ok((mut link, program)) => {
                    show_holder(&mut link, &dispatcher);
                    members.push((link, program));
                }
                Err(StoreError::LinkNotFound(_) | StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(DispatcherStatus {
            state: self.state_of(&dispatcher, networks)?,
            whereabouts: self.whereabouts_of_point(&dispatcher, networks)?,
            share_tail_calls: self.share_tail_calls(&dispatcher, &members),
            dispatcher,
            members,
        })
    }

    /// The kernel counts tail calls by the program that was called first: in a chain that is one for all members.
    fn share_tail_calls(
        &self,
        dispatcher: &Dispatcher,
        members: &[(Link, Program)],
    ) -> Vec<LinkId> {
        if dispatcher.form != DispatcherForm::Chain {
            return Vec::new();
        }
        let calls = |program: &Program| {
            let kept = self.targets.kept_instructions(&program.instructions_path());
            kept.is_ok_and(|kept| makes_tail_calls(&kept.instructions.0))
        };
        let callers = members.iter().filter(|(_, program)| calls(program));
        let callers: Vec<LinkId> = callers.map(|(link, _)| link.id).collect();
        match callers.len() {
            0 | 1 => Vec::new(),
            _ => callers,
        }
    }
}
