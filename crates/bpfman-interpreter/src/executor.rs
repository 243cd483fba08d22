//! The one interpreter of plans. It decides nothing: it carries steps out in order, and when one fails it
//! carries the undos of those before it out in reverse.

use std::fmt;

use bpfman_core::action::Action;
use bpfman_core::action::FileAction;
use bpfman_core::action::Outcome;
use bpfman_core::action::Plan;
use bpfman_core::action::Results;
use bpfman_core::action::StoreAction;
use bpfman_core::action::Undo;
use bpfman_core::action::UnresolvedReference;
use bpfman_core::kernel::KernelError;
use bpfman_core::managed::Program;

use crate::interfaces::FileError;
use crate::interfaces::Files;
use crate::interfaces::KernelExecutor;
use crate::interfaces::ProgramWriter;
use crate::store::StoreError;

/// Why one action failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The kernel, a bpffs or the loader refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file could not be changed.
    #[error(transparent)]
    Files(#[from] FileError),
    /// The store could not be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan names what none of its steps makes.
    #[error("the plan is wrong: {0}")]
    Plan(#[from] UnresolvedReference),
}

/// An undo that failed: what it should have done is left behind.
#[derive(Debug)]
pub struct FailedUndo {
    /// The undo, printed.
    pub action: String,
    /// Why it failed.
    pub cause: ActionError,
}

/// A plan that failed and was undone.
#[derive(Debug)]
pub struct ExecutionError {
    /// The action that failed, printed.
    pub action: String,
    /// Why.
    pub cause: ActionError,
    /// The undos that failed too; empty when the world is as it was.
    pub failed_undos: Vec<FailedUndo>,
}

impl fmt::Display for ExecutionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        for failed in &self.failed_undos {
            write!(f, "; undoing failed: {}: {}", failed.action, failed.cause)?;
        }
        Ok(())
    }
}

impl std::error::Error for ExecutionError {}

/// The parts of the world that a plan changes.
pub struct Executor<'a> {
    /// The kernel and its bpffs.
    pub kernel: &'a mut dyn KernelExecutor,
    /// Ordinary files.
    pub files: &'a mut dyn Files,
    /// The store.
    pub store: &'a mut dyn ProgramWriter,
    /// The object file of the operation; empty where it has none.
    pub object: &'a [u8],
}

impl Executor<'_> {
    /// Carries a plan out; returns the programs it recorded.
    ///
    /// # Errors
    /// [`ExecutionError`] with the cause and every undo that failed.
    pub fn run(&mut self, plan: &Plan) -> Result<Vec<Program>, ExecutionError> {
        let mut results = Results::default();
        let mut recorded = Vec::new();
        let mut done: Vec<&Undo> = Vec::new();
        for step in &plan.steps {
            tracing::debug!(target: "executor", "{}", step.action);
            match self.execute(&step.action, &results, &mut recorded) {
                Ok(Outcome::Unchanged) => {}
                Ok(outcome) => {
                    results.add(&outcome);
                    done.push(&step.undo);
                }
                Err(cause) => {
                    let failed_undos = self.undo(&done, &results);
                    self.kernel.finish();
                    let action = step.action.to_string();
                    return Err(ExecutionError {
                        action,
                        cause,
                        failed_undos,
                    });
                }
            }
        }
        self.kernel.finish();
        Ok(recorded)
    }

    fn undo(&mut self, done: &[&Undo], results: &Results) -> Vec<FailedUndo> {
        let mut failed = Vec::new();
        for undo in done.iter().rev() {
            let Undo::By(action) = undo else { continue };
            tracing::debug!(target: "executor", "undo: {action}");
            if let Err(cause) = self.execute(action, results, &mut Vec::new()) {
                failed.push(FailedUndo {
                    action: action.to_string(),
                    cause,
                });
            }
        }
        failed
    }

    fn execute(
        &mut self,
        action: &Action,
        results: &Results,
        recorded: &mut Vec<Program>,
    ) -> Result<Outcome, ActionError> {
        match action {
            Action::Kernel(action) => Ok(self.kernel.execute(&action.resolve(results)?)?),
            Action::Files(action) => self.execute_files(action, results),
            Action::Store(StoreAction::RecordPrograms { programs }) => {
                let complete: Result<Vec<Program>, _> = programs
                    .iter()
                    .map(|draft| draft.complete(results))
                    .collect();
                *recorded = complete?;
                self.store.save(recorded)?;
                Ok(Outcome::Done)
            }
            Action::Store(StoreAction::SaveProgram { program }) => {
                self.store.save(std::slice::from_ref(&**program))?;
                Ok(Outcome::Done)
            }
            Action::Store(StoreAction::DeleteProgram { id }) => {
                self.store.delete(*id)?;
                Ok(Outcome::Done)
            }
        }
    }

    fn execute_files(
        &mut self,
        action: &FileAction,
        results: &Results,
    ) -> Result<Outcome, ActionError> {
        let changed = match action {
            FileAction::MakeDirectory { path } => {
                self.files.make_directory(&results.path(path)?)?
            }
            FileAction::RemoveEmptyDirectory { path } => {
                self.files.remove_empty_directory(&results.path(path)?)?
            }
            FileAction::WriteObject { path, .. } => {
                self.files.write(&results.path(path)?, self.object)?;
                true
            }
            FileAction::Link { from, to } => {
                self.files.link(&results.path(from)?, &results.path(to)?)?;
                true
            }
            FileAction::KeepInstructions { program, path } => {
                let id = results.program(program)?;
                let kept = results.instructions(id)?;
                self.files.write_instructions(&results.path(path)?, kept)?;
                true
            }
            FileAction::RemoveFile { path } => self.files.remove_file(&results.path(path)?)?,
            FileAction::RemoveTree { path } => self.files.remove_tree(&results.path(path)?)?,
        };
        Ok(if changed {
            Outcome::Done
        } else {
            Outcome::Unchanged
        })
    }
}
