//! The one interpreter of plans. It decides nothing: it carries steps out in order, and when one fails it
//! carries the undos of those before it out in reverse.

use std::fmt;

use bpfman_core::action::Action;
use bpfman_core::action::FileAction;
use bpfman_core::action::Outcome;
use bpfman_core::action::Plan;
use bpfman_core::action::Results;
use bpfman_core::action::Step;
use bpfman_core::action::StoreAction;
use bpfman_core::action::Undo;
use bpfman_core::action::UnresolvedReference;
use bpfman_core::kernel::KernelError;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::KernelLinkId;

use crate::interfaces::FileError;
use crate::interfaces::Files;
use crate::interfaces::KernelExecutor;
use crate::interfaces::StoreChange;
use crate::interfaces::StoreWriter;
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
    /// Nothing undoes it.
    #[error("{reason}")]
    Irreversible {
        /// Why.
        reason: String,
    },
    /// The plan names what none of its steps makes.
    #[error("the plan is wrong: {0}")]
    Plan(#[from] UnresolvedReference),
}

/// An undo that failed, or a step that nothing undoes: what is left behind.
#[derive(Debug)]
pub struct FailedUndo {
    /// The undo, or that step, printed.
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

/// What is left of a plan that was carried out.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The programs it loaded.
    pub programs: Vec<Program>,
    /// The links it made.
    pub links: Vec<Link>,
    /// The links it let go of, which end when nobody else holds them.
    pub let_go: Vec<KernelLinkId>,
}

/// The parts of the world that a plan changes.
pub struct Executor<'a> {
    /// The kernel and its bpffs.
    pub kernel: &'a mut dyn KernelExecutor,
    /// Ordinary files.
    pub files: &'a mut dyn Files,
    /// The store.
    pub store: &'a mut dyn StoreWriter,
    /// The object file of the operation; empty where it has none.
    pub object: &'a [u8],
}

impl Executor<'_> {
    /// Carries a plan out; returns what it recorded.
    ///
    /// # Errors
    /// [`ExecutionError`] with the cause and every undo that failed.
    pub fn run(&mut self, plan: &Plan) -> Result<Recorded, ExecutionError> {
        let mut results = Results::default();
        let mut recorded = Recorded::default();
        let mut done: Vec<&Step> = Vec::new();
        for step in &plan.steps {
            tracing::debug!(target: "executor", "{}", step.action);
            match self.execute(&step.action, &results, &mut recorded) {
                Ok(Outcome::Unchanged) => {}
                Ok(outcome) => {
                    results.add(&outcome);
                    if let Outcome::LetGo { link } = outcome {
                        recorded.let_go.push(link);
                    }
                    done.push(step);
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

    fn undo(&mut self, done: &[&Step], results: &Results) -> Vec<FailedUndo> {
        let mut failed = Vec::new();
        for step in done.iter().rev() {
            let (action, undone) = match &step.undo {
                Undo::Nothing { .. } => continue,
                Undo::Impossible { reason } => {
                    let reason = reason.clone();
                    (&step.action, Err(ActionError::Irreversible { reason }))
                }
                Undo::By(action) => {
                    tracing::debug!(target: "executor", "undo: {action}");
                    let undone = self.execute(action, results, &mut Recorded::default());
                    (&**action, undone)
                }
            };
            if let Err(cause) = undone {
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
        recorded: &mut Recorded,
    ) -> Result<Outcome, ActionError> {
        match action {
            Action::Kernel(action) => Ok(self.kernel.execute(&action.resolve(results)?)?),
            Action::Files(action) => self.execute_files(action, results),
            Action::Store(action) => self.execute_store(action, results, recorded),
        }
    }

    fn execute_store(
        &mut self,
        action: &StoreAction,
        results: &Results,
        recorded: &mut Recorded,
    ) -> Result<Outcome, ActionError> {
        let mut news = Recorded::default();
        let actions = match action {
            StoreAction::Together { actions } => actions.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut changes = Vec::new();
        for action in actions {
            changes.push(change(action, results, &mut news)?);
        }
        match changes.as_slice() {
            [one] => one.apply(&mut *self.store)?,
            several => self.store.together(several)?,
        }
        recorded.programs.append(&mut news.programs);
        recorded.links.append(&mut news.links);
        Ok(Outcome::Done)
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

/// A store action with every reference in it known; what it records is added to `news`.
fn change(
    action: &StoreAction,
    results: &Results,
    news: &mut Recorded,
) -> Result<StoreChange, UnresolvedReference> {
    Ok(match action {
        StoreAction::Together { .. } => return Err(UnresolvedReference::Nested),
        StoreAction::RecordPrograms { programs } => {
            let complete: Result<Vec<Program>, _> = programs
                .iter()
                .map(|draft| draft.complete(results))
                .collect();
            let complete = complete?;
            news.programs.extend(complete.iter().cloned());
            StoreChange::SavePrograms(complete)
        }
        StoreAction::SaveProgram { program } => {
            StoreChange::SavePrograms(vec![(**program).clone()])
        }
        StoreAction::DeleteProgram { id } => StoreChange::DeleteProgram(*id),
        StoreAction::RecordLink { link } => {
            let complete = link.complete(results)?;
            news.links.push(complete.clone());
            StoreChange::SaveLink(complete)
        }
        StoreAction::SaveLink { link } => StoreChange::SaveLink((**link).clone()),
        StoreAction::DeleteLink { id } => StoreChange::DeleteLink(*id),
        StoreAction::RecordDispatcher { dispatcher } => {
            StoreChange::SaveDispatcher(dispatcher.complete(results)?)
        }
        StoreAction::SaveDispatcher { dispatcher } => {
            StoreChange::SaveDispatcher((**dispatcher).clone())
        }
        StoreAction::DeleteDispatcher { point } => StoreChange::DeleteDispatcher(*point),
    })
}
