//! Recovery: what a killed operation has begun comes to its end before another one begins.

use bpfman_core::action::Journal;
use bpfman_core::action::KernelAction;
use bpfman_core::action::Plan;
use bpfman_core::action::Way;
use bpfman_core::compute::Repairs;
use bpfman_core::compute::check_mount;
use bpfman_core::compute::mounts;
use bpfman_core::kernel::BpffsMount;
use bpfman_interpreter::executor::Executor;
use bpfman_interpreter::lock::WriterLock;
use bpfman_interpreter::runtime::RuntimeError;
use bpfman_interpreter::runtime::WriterStore;

use crate::Manager;
use crate::ManagerError;

impl Manager<'_> {
    /// Brings what was killed to its end, and does nothing else.
    ///
    /// # Errors
    /// [`ManagerError::Recovery`]; others when the writer cannot begin.
    pub fn recover(&mut self) -> Result<(), ManagerError> {
        let _operation = begin!(self, "recover");
        // Nothing is made where nothing was ever recorded.
        match self.runtime.reader()? {
            Some(_) => self.as_writer(|_, _| Ok(())),
            None => Ok(()),
        }
    }

    /// Becomes the writer for `work`. What a killed process has begun comes to its end first.
    ///
    /// Who works in another process holds the lock as long as that does, and ends before the lock is given back.
    pub(crate) fn as_writer<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut dyn WriterStore) -> Result<T, ManagerError>,
    ) -> Result<T, ManagerError> {
        let (mut store, lock) = self.runtime.writer()?;
        let shared = lock.as_ref().map(WriterLock::share).transpose();
        self.kernel.hold_lock(shared.map_err(RuntimeError::from)?);
        let done = self
            .catch_up(&mut *store)
            .and_then(|()| work(self, &mut *store));
        self.kernel.hold_lock(None);
        done
    }

    fn catch_up(&mut self, store: &mut dyn WriterStore) -> Result<(), ManagerError> {
        self.show_bpffs()?;
        if let Some(journal) = store.journal()? {
            self.end(&journal, store)?;
            // A killed `reconcile --reattach` is carried on by the next one.
            let repairs = Repairs {
                keep: true,
                ..Repairs::default()
            };
            // What somebody else changed meanwhile is another matter: the recovery stands without it.
            if let Err(error) = self.repair_all(repairs, store) {
                tracing::warn!(target: "manager", "reconciling after a recovery: {error}");
            }
        }
        Ok(())
    }

    /// Where process 1 has our bpffs mounted and this process does not see it, it is mounted here, too: what nobody sees
    /// would be taken for gone.
    fn show_bpffs(&mut self) -> Result<(), ManagerError> {
        let path = self.layout.bpffs();
        if self.kernel.is_bpffs_root(&path)? {
            return Ok(());
        }
        let found = self.kernel.bpffs_mount(&path)?;
        if let BpffsMount::Elsewhere { .. } = found {
            check_mount(&path, &found)?;
            self.kernel.execute(&KernelAction::MountBpffs { path })?;
        }
        Ok(())
    }

    /// Refuses a plan that would mount our bpffs where the mount does not last.
    pub(crate) fn lasting(&mut self, plan: Plan) -> Result<Plan, ManagerError> {
        if let Some(path) = mounts(&plan) {
            check_mount(path, &self.kernel.bpffs_mount(path)?)?;
        }
        Ok(plan)
    }

    fn end(&mut self, journal: &Journal, store: &mut dyn WriterStore) -> Result<(), ManagerError> {
        let Journal { operation, way, .. } = journal;
        let end = match way {
            Way::Back => "undone",
            Way::Forward => "carried on",
        };
        tracing::debug!(target: "manager", "journal: {operation} was killed and is {end}");
        let now = self.now;
        let recovered = self.executor(store).recover(journal, now);
        let recovery = recovered.map_err(|cause| ManagerError::Recovery {
            operation: operation.clone(),
            cause,
        })?;
        let left = recovery.left.len();
        tracing::debug!(target: "manager", "journal: {operation} is {end}; {left} actions were left alone");
        Ok(())
    }

    pub(crate) fn executor<'e>(&'e mut self, store: &'e mut dyn WriterStore) -> Executor<'e> {
        Executor {
            kernel: &mut *self.kernel,
            files: &mut *self.files,
            store,
            object: &[],
        }
    }
}
