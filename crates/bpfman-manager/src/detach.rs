//! Detach.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::action::Plan;
use bpfman_core::compute::Change;
use bpfman_core::compute::DetachSnapshot;
use bpfman_core::compute::Member;
use bpfman_core::compute::PointFacts;
use bpfman_core::compute::plan_change;
use bpfman_core::compute::plan_detach;
use bpfman_core::kernel;
use bpfman_core::kernel::PinState;
use bpfman_core::managed::LeftOut;
use bpfman_core::managed::Link;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_interpreter::executor::Recorded;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::LinkReader;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::runtime::WriterStore;

use crate::Manager;
use crate::ManagerError;
use crate::full_disk::lacks_space;

/// What became of one link of a batch: whose programs do not run any more without it, or why it was not detached.
pub type Detached = (LinkId, Result<Vec<LeftOut>, ManagerError>);

impl Manager<'_> {
    /// Detaches links, each for itself: one failure does not keep the others. Returns when none is attached any more;
    /// what the kernel ends later is waited for together, for some kinds take tens of milliseconds.
    ///
    /// # Errors
    /// When the writer cannot begin. What went wrong with a link is with its id.
    pub fn detach(&mut self, ids: &[LinkId]) -> Result<Vec<Detached>, ManagerError> {
        let _operation = begin!(self, "detach");
        let mut results = self.with_reserve(|manager| manager.detach_all(ids))?;
        let lacking = |(_, result): &&mut Detached| result.as_ref().is_err_and(lacks_space);
        let mut failed: Vec<&mut Detached> = results.iter_mut().filter(lacking).collect();
        if !failed.is_empty() && self.runtime.release_reserve() {
            let ids: Vec<LinkId> = failed.iter().map(|(id, _)| *id).collect();
            for (old, new) in failed.iter_mut().zip(self.detach_all(&ids)?) {
                **old = new;
            }
        }
        Ok(results)
    }

    fn detach_all(&mut self, ids: &[LinkId]) -> Result<Vec<Detached>, ManagerError> {
        // Nothing is made for links that nobody recorded.
        if self.runtime.reader()?.is_none() {
            let missing = |id: &LinkId| (*id, Err(ManagerError::NoSuchLink(*id)));
            return Ok(ids.iter().map(missing).collect());
        }
        self.as_writer(|manager, store| Ok(manager.detach_each(ids, store)))
    }

    fn detach_each(&mut self, ids: &[LinkId], store: &mut dyn WriterStore) -> Vec<Detached> {
        let mut ending: BTreeMap<KernelLinkId, LinkId> = BTreeMap::new();
        let mut results: Vec<Detached> = Vec::new();
        let mut recorded = BTreeSet::new();
        for id in ids {
            if store.link(*id).is_ok() {
                recorded.insert(*id);
            }
        }
        for id in ids {
            let done = match self.detach_one(*id, store) {
                // It went with an earlier one: a dead attach point goes as a whole.
                Err(ManagerError::NoSuchLink(_)) if recorded.remove(id) => Ok(Recorded::default()),
                done => {
                    recorded.remove(id);
                    done
                }
            };
            let done = done.map(|done| {
                ending.extend(done.let_go.into_iter().map(|link| (link, *id)));
                done.left_out
            });
            results.push((*id, done));
        }
        let waited: Vec<KernelLinkId> = ending.keys().copied().collect();
        for left in self.left_after(&waited) {
            let late = results
                .iter_mut()
                .find(|(id, _)| Some(id) == ending.get(&left));
            if let Some((_, result)) = late {
                *result = Err(ManagerError::StillAttached(left));
            }
        }
        results
    }

    /// Waits for the end of links; answers which somebody else keeps, as far as the kernel tells. We have let go of
    /// them: that it does not tell undoes nothing.
    pub(crate) fn left_after(&mut self, links: &[KernelLinkId]) -> Vec<KernelLinkId> {
        if links.is_empty() {
            return Vec::new();
        }
        self.kernel.await_links_gone(links).unwrap_or_else(|error| {
            tracing::warn!(
                target: "manager",
                "it is not known whether somebody else keeps what was detached: {error}"
            );
            Vec::new()
        })
    }

    /// The plan of a detach, without any effect.
    ///
    /// # Errors
    /// As for each link of [`Self::detach`], as far as a plan can tell.
    pub fn plan_detach(&mut self, id: LinkId) -> Result<Plan, ManagerError> {
        let store = self.runtime.reader()?.ok_or(ManagerError::NoSuchLink(id))?;
        let link = store.link(id)?;
        match self.leave(std::slice::from_ref(&link), &*store)? {
            Some((facts, change)) => {
                let plan = self.removal_plan(|joining, layout| {
                    Ok(plan_change(&facts, &change, joining, layout)?)
                })?;
                self.lasting(plan)
            }
            None => self.detach_plan(link, &*store),
        }
    }

    /// What there is of the attach point that links leave; `None` when theirs is no shared one.
    pub(crate) fn leave<S: ReaderStore + ?Sized>(
        &mut self,
        links: &[Link],
        store: &S,
    ) -> Result<Option<(PointFacts, Change)>, ManagerError> {
        let Some(membership) = links.first().and_then(|link| link.details.membership()) else {
            return Ok(None);
        };
        let facts = self.point_facts(membership.hook, membership.at.clone(), None, store)?;
        let leaving = links
            .iter()
            .map(|link| self.member(link.clone(), false, store));
        let leaving: Result<Vec<Member>, ManagerError> = leaving.collect();
        Ok(Some((facts, Change::Leave(leaving?))))
    }

    fn detach_one(
        &mut self,
        id: LinkId,
        store: &mut dyn WriterStore,
    ) -> Result<Recorded, ManagerError> {
        let link = store.link(id)?;
        self.until_settled(store, |manager, store| {
            if let Some((facts, change)) = manager.leave(std::slice::from_ref(&link), store)? {
                return manager.change_point(&facts, &change, store);
            }
            let plan = manager.detach_plan(link.clone(), store)?;
            Ok(manager.run(&plan, store)?)
        })
    }

    fn detach_plan<S: ReaderStore + ?Sized>(
        &mut self,
        link: Link,
        store: &S,
    ) -> Result<Plan, ManagerError> {
        let snapshot = self.detach_snapshot(link, store)?;
        tracing::debug!(target: "manager", "has gathered the facts");
        Ok(plan_detach(&snapshot)?)
    }

    /// What there is of a link. The kernel is asked by id only when the pin does not answer.
    pub(crate) fn detach_snapshot<S: LinkReader + ?Sized>(
        &mut self,
        link: Link,
        store: &S,
    ) -> Result<DetachSnapshot, ManagerError> {
        let pin = match &link.pin_path {
            Some(path) => Some(self.kernel.pin_state(path, Detail::Info)?),
            None => None,
        };
        let unpinned = match &pin {
            Some(PinState::Free { .. }) | None => self.unpinned(&link, store)?,
            _ => None,
        };
        Ok(DetachSnapshot {
            link,
            pin,
            unpinned,
        })
    }

    /// A link without a pin. One whose pin was removed a moment ago may be about to end.
    fn unpinned<S: LinkReader + ?Sized>(
        &mut self,
        link: &Link,
        store: &S,
    ) -> Result<Option<kernel::Link>, ManagerError> {
        match self.kernel_link(link, store)? {
            Some(found) if !found.link_type.can_be_detached() => {
                self.kernel.await_links_gone(&[found.id])?;
                self.kernel_link(link, store)
            }
            found => Ok(found),
        }
    }
}
