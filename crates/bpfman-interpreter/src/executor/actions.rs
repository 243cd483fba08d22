//! The one interpreter of actions.

use bpfman_core::action::Action;
use bpfman_core::action::FileAction;
use bpfman_core::action::Outcome;
use bpfman_core::action::Results;
use bpfman_core::action::StoreAction;
use bpfman_core::action::UnresolvedReference;
use bpfman_core::managed::Program;

use super::ActionError;
use super::Executor;
use super::Recorded;
use super::run::Run;
use crate::interfaces::StoreChange;

impl Executor<'_> {
    pub(super) fn execute(
        &mut self,
        action: &Action,
        run: &mut Run<'_>,
    ) -> Result<Outcome, ActionError> {
        match action {
            Action::Kernel(action) => Ok(self.kernel.execute(&action.resolve(&run.results)?)?),
            Action::Files(action) => self.execute_files(action, &run.results),
            Action::Store(action) => self.execute_store(action, run, None),
        }
    }

    /// Changes records, and the journal with them.
    pub(super) fn execute_store(
        &mut self,
        action: &StoreAction,
        run: &mut Run<'_>,
        journal: Option<StoreChange>,
    ) -> Result<Outcome, ActionError> {
        let mut news = Recorded::default();
        let actions = match action {
            StoreAction::Batch { actions } => actions.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut changes = Vec::new();
        for action in actions {
            changes.push(change(action, &run.results, &mut news)?);
        }
        changes.extend(journal);
        match changes.as_slice() {
            [one] => one.apply(&mut *self.store)?,
            several => self.store.batch(several)?,
        }
        run.recorded.programs.append(&mut news.programs);
        run.recorded.links.append(&mut news.links);
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
            FileAction::KeepRecord { program, path } => {
                let record = program.complete(results)?;
                self.files.write_record(&results.path(path)?, &record)?;
                true
            }
            FileAction::SaveRecord { program, path } => {
                self.files.write_record(path, program)?;
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
        StoreAction::Batch { .. } => return Err(UnresolvedReference::Nested),
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
        StoreAction::DeleteProgram { program } => {
            StoreChange::DeleteProgram(results.program(program)?)
        }
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
