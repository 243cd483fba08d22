//! Unload.

use std::collections::BTreeMap;

use bpfman_core::action::Plan;
use bpfman_core::compute::Joining;
use bpfman_core::compute::UnloadSnapshot;
use bpfman_core::compute::dependants;
use bpfman_core::compute::plan_unload;
use bpfman_core::compute::remaining;
use bpfman_core::links::AttachPoint;
use bpfman_core::managed::LeftOut;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::store::StoreError;

use crate::Manager;
use crate::ManagerError;

/// Links in groups of one attach point each.
pub(crate) fn by_point(links: Vec<Link>) -> Vec<Vec<Link>> {
    let mut groups: BTreeMap<Option<AttachPoint>, Vec<Link>> = BTreeMap::new();
    for link in links {
        groups
            .entry(link.details.attach_point())
            .or_default()
            .push(link);
    }
    groups.into_values().collect()
}

impl Manager<'_> {
    /// Unloads a program. Answers the links of others that do not run any more.
    ///
    /// # Errors
    /// [`ManagerError`]; everything is as it was, unless the error says what could not be undone.
    pub fn unload(&mut self, id: ProgramId) -> Result<Vec<LeftOut>, ManagerError> {
        let _operation = begin!(self, "unload");
        self.with_reserve(|manager| manager.unload_once(id))
    }

    fn unload_once(&mut self, id: ProgramId) -> Result<Vec<LeftOut>, ManagerError> {
        // Nothing is made for a program that nobody recorded.
        self.managed(id)?;
        self.as_writer(|manager, store| {
            let done = manager.until_settled(store, |manager, store| {
                let snapshot = manager.unload_snapshot(store.get(id)?, store)?;
                tracing::debug!(target: "manager", "has gathered the facts");
                let plan = |joining: Joining<'_>, layout: &RuntimeLayout| {
                    Ok(plan_unload(&snapshot, joining, layout)?)
                };
                let points = snapshot.points.iter();
                let stay = points.flat_map(|(facts, change)| remaining(facts, change));
                manager.take_out(plan, &stay.collect::<Vec<_>>(), store)
            })?;
            match manager.left_after(&done.let_go).first() {
                None => Ok(done.left_out),
                Some(link) => Err(ManagerError::StillAttached(*link)),
            }
        })
    }

    /// The plan of an unload, without any effect.
    ///
    /// # Errors
    /// As [`Self::unload`], as far as a plan can tell.
    pub fn plan_unload(&mut self, id: ProgramId) -> Result<Plan, ManagerError> {
        let (store, program) = self.managed(id)?;
        let snapshot = self.unload_snapshot(program, &*store)?;
        let plan =
            self.removal_plan(|joining, layout| Ok(plan_unload(&snapshot, joining, layout)?))?;
        self.lasting(plan)
    }

    /// These programs in an order for deleting them, each once: those that were loaded with the maps of another go
    /// before it, also when only the other one is named.
    ///
    /// # Errors
    /// When store or kernel cannot be read.
    pub fn with_dependants(&mut self, ids: &[ProgramId]) -> Result<Vec<ProgramId>, ManagerError> {
        let Some(store) = self.runtime.reader()? else {
            return Ok(ids.to_vec());
        };
        let mut order = Vec::new();
        let mut add = |id: ProgramId| {
            if !order.contains(&id) {
                order.push(id);
            }
        };
        for id in ids {
            match store.get(*id) {
                Ok(program) => {
                    let sharing = self.observe_sharers(store.sharing(&program)?)?;
                    dependants(&program, &sharing)
                        .into_iter()
                        .for_each(&mut add);
                }
                // Whoever unloads it says so.
                Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
            add(*id);
        }
        Ok(order)
    }

    /// What there is of a program and its links.
    pub(crate) fn unload_snapshot<S: ReaderStore + ?Sized>(
        &mut self,
        program: Program,
        store: &S,
    ) -> Result<UnloadSnapshot, ManagerError> {
        let links = store.links_of(program.id())?.into_iter();
        let (shared, own): (Vec<Link>, Vec<Link>) =
            links.partition(|link| link.details.membership().is_some());
        let links: Result<_, ManagerError> = own
            .into_iter()
            .map(|link| self.detach_snapshot(link, store))
            .collect();
        let mut points = Vec::new();
        for links in by_point(shared) {
            points.extend(self.leave(&links, store)?);
        }
        Ok(UnloadSnapshot {
            links: links?,
            points,
            ..self.unlinked_snapshot(program, store)?
        })
    }

    /// The same without its links.
    pub(crate) fn unlinked_snapshot<S: ReaderStore + ?Sized>(
        &mut self,
        program: Program,
        store: &S,
    ) -> Result<UnloadSnapshot, ManagerError> {
        Ok(UnloadSnapshot {
            sharing: self.observe_sharers(store.sharing(&program)?)?,
            pin: self.kernel.pin_state(&program.pin_path, Detail::Info)?,
            pin_root: self.bpffs_root_of(&program.pin_path)?,
            links: Vec::new(),
            points: Vec::new(),
            program,
        })
    }

    /// The nearest directory above `path` where a bpffs is mounted; the path's own parent when there is none.
    fn bpffs_root_of(&mut self, path: &AbsolutePath) -> Result<AbsolutePath, ManagerError> {
        let ours = self.layout.bpffs();
        if path.is_below(&ours) {
            return Ok(ours);
        }
        let parents: Vec<AbsolutePath> =
            std::iter::successors(path.parent(), AbsolutePath::parent).collect();
        for parent in &parents {
            if self.kernel.is_bpffs_root(parent)? {
                return Ok(parent.clone());
            }
        }
        Ok(parents.into_iter().next().unwrap_or(ours))
    }
}
