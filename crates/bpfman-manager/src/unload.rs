//! Unload.

use bpfman_core::action::Plan;
use bpfman_core::compute::UnloadSnapshot;
use bpfman_core::compute::plan_unload;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::executor::Executor;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;

use crate::Manager;
use crate::ManagerError;

impl Manager<'_> {
    /// Unloads a program.
    ///
    /// # Errors
    /// [`ManagerError`]; everything is as it was, unless the error says what could not be undone.
    pub fn unload(&mut self, id: ProgramId) -> Result<(), ManagerError> {
        // Nothing is made for a program that nobody recorded.
        let known = self
            .runtime
            .reader()?
            .ok_or(ManagerError::NoSuchProgram(id))?;
        known.get(id)?;
        drop(known);
        let (mut store, _lock) = self.runtime.writer()?;
        let plan = self.unload_plan(id, &*store)?;
        let mut executor = Executor {
            kernel: &mut *self.kernel,
            files: &mut *self.files,
            store: &mut *store,
            object: &[],
        };
        let let_go = executor.run(&plan)?.let_go;
        match self.left_after(&let_go)?.first() {
            None => Ok(()),
            Some(link) => Err(ManagerError::StillAttached(*link)),
        }
    }

    /// The plan of an unload, without any effect.
    ///
    /// # Errors
    /// As [`Self::unload`], as far as a plan can tell.
    pub fn plan_unload(&mut self, id: ProgramId) -> Result<Plan, ManagerError> {
        let store = self
            .runtime
            .reader()?
            .ok_or(ManagerError::NoSuchProgram(id))?;
        self.unload_plan(id, &*store)
    }

    fn unload_plan<S: ReaderStore + ?Sized>(
        &mut self,
        id: ProgramId,
        store: &S,
    ) -> Result<Plan, ManagerError> {
        let program = store.get(id)?;
        let sharing = self.observe_sharers(store.sharing(&program)?)?;
        let pin = self.kernel.pin_state(&program.pin_path, Detail::Info)?;
        let pin_root = self.bpffs_root_of(&program.pin_path)?;
        let links = store.links_of(id)?.into_iter();
        let links: Result<_, ManagerError> = links
            .map(|link| self.detach_snapshot(link, program.pin_path.clone(), store))
            .collect();
        let snapshot = UnloadSnapshot {
            program,
            pin,
            pin_root,
            sharing,
            links: links?,
        };
        Ok(plan_unload(&snapshot, &self.layout)?)
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
