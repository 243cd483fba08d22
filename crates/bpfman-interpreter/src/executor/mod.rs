//! The one interpreter of plans. It decides nothing: it carries steps out in order, and when one fails it
//! carries the undos of those before it out in reverse.

mod actions;
mod error;
mod run;

use bpfman_core::action::Action;
use bpfman_core::action::Journal;
use bpfman_core::action::Outcome;
use bpfman_core::action::Plan;
use bpfman_core::action::Step;
use bpfman_core::action::StoreAction;
use bpfman_core::action::Undo;
use bpfman_core::action::Way;
use bpfman_core::compute::loads_chain;
use bpfman_core::managed::LeftOut;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::UnixTime;

use self::run::Run;
use crate::interfaces::Files;
use crate::interfaces::KernelExecutor;
use crate::interfaces::StoreChange;
use crate::interfaces::StoreWriter;
use crate::operation::Stopwatch;

pub use error::ActionError;
pub use error::ExecutionError;
pub use error::FailedUndo;

/// What is left of a plan that was carried out.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The programs it loaded.
    pub programs: Vec<Program>,
    /// The links it made.
    pub links: Vec<Link>,
    /// The links it let go of, which end when nobody else holds them.
    pub let_go: Vec<KernelLinkId>,
    /// The links whose programs do not run any more, though nobody asked for that.
    pub left_out: Vec<LeftOut>,
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

impl<'a> Executor<'a> {
    /// The same with an object file.
    #[must_use]
    pub fn of(self, object: &'a [u8]) -> Self {
        Self { object, ..self }
    }

    /// Carries a plan out; returns what it recorded.
    ///
    /// # Errors
    /// [`ExecutionError`] with the cause and every undo that failed.
    pub fn run(&mut self, plan: &Plan) -> Result<Recorded, ExecutionError> {
        self.run_after(&[], plan)
    }

    /// The same for the last plan of an operation that began with others. When it fails, what undoes those is still to
    /// be done.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_after(
        &mut self,
        earlier: &[Action],
        plan: &Plan,
    ) -> Result<Recorded, ExecutionError> {
        let mut run = Run::new(plan, earlier);
        self.carry_out(&mut run)?;
        run.recorded.left_out.clone_from(&plan.left_out);
        if run.journal.is_some() {
            self.end();
        }
        Ok(run.recorded)
    }

    /// Carries out a plan that others of the same operation follow, without a commit point. Answers what undoes
    /// it, for [`Self::run_after`] and [`Self::roll_back`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn open(&mut self, plan: &Plan) -> Result<(Recorded, Vec<Action>), ExecutionError> {
        let plan = &Plan {
            commit: None,
            ..plan.clone()
        };
        let mut run = Run::new(plan, &[]);
        self.carry_out(&mut run)?;
        Ok((
            run.recorded,
            run.journal.map_or_else(Vec::new, |journal| journal.actions),
        ))
    }

    fn carry_out(&mut self, run: &mut Run<'_>) -> Result<(), ExecutionError> {
        let Plan {
            operation, steps, ..
        } = run.plan;
        tracing::debug!(target: "executor", "plan of {} steps: {operation}", steps.len());
        for (number, step) in steps.iter().enumerate() {
            tracing::debug!(target: "executor", "{}", step.action);
            let watch = stopwatch();
            match self.step(run, number, step) {
                Ok(Outcome::Unchanged) => {
                    tracing::debug!(target: "executor", "unchanged after {watch}");
                    run.unchanged.push(number);
                }
                Ok(outcome) => {
                    tracing::debug!(target: "executor", "done after {watch}");
                    run.take(number, &outcome);
                }
                Err(cause) => {
                    tracing::debug!(target: "executor", "failed after {watch}: {cause}");
                    let (failed_undos, unfinished) = match cause.is_unheard() {
                        true => match self.end_unheard(run) {
                            Some(left) => left,
                            None => return Ok(()),
                        },
                        false => self.give_up(run),
                    };
                    self.kernel.finish();
                    return Err(ExecutionError {
                        action: step.action.to_string(),
                        loads_chain: loads_chain(&step.action),
                        cause,
                        failed_undos,
                        unfinished,
                    });
                }
            }
        }
        self.kernel.finish();
        Ok(())
    }

    fn step(
        &mut self,
        run: &mut Run<'_>,
        number: usize,
        step: &Step,
    ) -> Result<Outcome, ActionError> {
        if let (Action::Store(records), true) = (&step.action, run.plan.commit == Some(number)) {
            let left = Journal::forward(run.plan, &run.results)?;
            let journal = (!left.actions.is_empty()).then_some(left);
            // Nothing was written down, and nothing will have to be.
            let silent = journal.is_none() && run.journal.is_none();
            let change = StoreChange::SaveJournal(journal.clone().map(Box::new));
            self.execute_store(records, run, (!silent).then_some(change))?;
            let steps = journal.as_ref().map_or(0, |left| left.actions.len());
            tracing::debug!(target: "executor", "commit point: {steps} steps are left");
            run.journal = journal;
            return Ok(Outcome::Done);
        }
        if run.is_undone_by_others(number, step) {
            self.write_down(run)?;
        }
        self.execute(&step.action, run)
    }

    /// Writes down what undoes the plan, before an effect that outlives this process.
    fn write_down(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        let journal = run.way_back();
        if run.journal.as_ref() != Some(&journal) {
            self.store.save_journal(Some(&journal))?;
            tracing::debug!(target: "executor", "journal: {} undos", journal.actions.len());
            run.journal = Some(journal);
        }
        run.answered = false;
        Ok(())
    }

    /// Undoes a plan that failed, as far as it can be. Answers the undos that failed, and whether the operation stands
    /// and is still to be finished.
    fn give_up(&mut self, run: &mut Run<'_>) -> (Vec<FailedUndo>, bool) {
        let mut failed = Vec::new();
        let is_final =
            |number: &usize| matches!(run.plan.steps[*number].undo, Undo::Impossible { .. });
        if run.is_committed() && run.done.iter().any(is_final) {
            return (failed, true);
        }
        for number in std::mem::take(&mut run.done).into_iter().rev() {
            let Undo::By(undo) = &run.plan.steps[number].undo else {
                continue;
            };
            tracing::debug!(target: "executor", "undo: {undo}");
            let watch = stopwatch();
            let commit = run.plan.commit == Some(number);
            let undone = match &**undo {
                Action::Store(records) if commit => self.take_records_back(run, records),
                undo => self.execute(undo, run).map(drop),
            };
            if undone.is_ok() {
                tracing::debug!(target: "executor", "undone after {watch}");
            }
            if let Err(cause) = undone {
                tracing::debug!(target: "executor", "not undone after {watch}: {cause}");
                let action = undo.to_string();
                failed.push(FailedUndo { action, cause });
                // The records say that it has happened: what is left of it can be done, and this way there is no back.
                if run.plan.commit.is_some_and(|commit| commit <= number) {
                    return (failed, true);
                }
            }
        }
        if failed.is_empty() && run.journal.is_some() {
            self.forget(run);
        }
        (failed, false)
    }

    /// Empties the journal. When that fails, it says what is done: whoever finds it does it again, which changes nothing.
    fn end(&mut self) {
        let _ = self.store.save_journal(None);
    }

    /// Leaves of the journal what the operation did before this plan. When that fails it says too much, as above.
    fn forget(&mut self, run: &Run<'_>) {
        let earlier = run.before();
        let _ = self.store.save_journal(earlier.as_ref());
    }

    /// Ends a plan whose step may have happened or not, and whose process of the kernel has let go of everything: as
    /// somebody else would who finds it killed. Answers as [`Self::give_up`] does; `None` when it was done.
    fn end_unheard(&mut self, run: &mut Run<'_>) -> Option<(Vec<FailedUndo>, bool)> {
        let Some(journal) = run.journal.take() else {
            // Nothing was done that outlives the process that did it.
            return Some((Vec::new(), false));
        };
        let forward = journal.way == Way::Forward;
        if let Err(cause) = self.settle(&journal.actions) {
            let action = journal.operation;
            return Some((vec![FailedUndo { action, cause }], forward));
        }
        if forward {
            self.end();
            return None;
        }
        self.forget(run);
        Some((Vec::new(), false))
    }

    /// Undoes the change of the records; from then on the way is back.
    fn take_records_back(
        &mut self,
        run: &mut Run<'_>,
        records: &StoreAction,
    ) -> Result<(), ActionError> {
        let journal = run.way_back();
        let change = StoreChange::SaveJournal(Some(Box::new(journal.clone())));
        self.execute_store(records, run, Some(change))?;
        run.journal = Some(journal);
        Ok(())
    }

    /// Undoes what [`Self::open`] did.
    ///
    /// # Errors
    /// That of the first undo that failed; the journal keeps all of them.
    pub fn roll_back(&mut self, undos: &[Action]) -> Result<(), ActionError> {
        self.settle(undos)?;
        self.end();
        Ok(())
    }

    /// Brings an operation to its end that another process began. What somebody else has changed since is left alone.
    ///
    /// # Errors
    /// That of the first action that failed; the journal stays as it is.
    pub fn recover(&mut self, journal: &Journal, now: UnixTime) -> Result<Recovery, ActionError> {
        let recovery = Recovery {
            operation: journal.operation.clone(),
            way: journal.way,
            at: now,
            left: self.settle(&journal.actions)?,
        };
        self.store.save_recovery(&recovery)?;
        Ok(recovery)
    }

    /// Carries actions out that may have happened already; answers what was left alone.
    fn settle(&mut self, actions: &[Action]) -> Result<Vec<String>, ActionError> {
        let mut left = Vec::new();
        let mut failed = None;
        let nothing = Plan::default();
        let mut run = Run::new(&nothing, &[]);
        for action in actions {
            tracing::debug!(target: "executor", "recover: {action}");
            let watch = stopwatch();
            match self.execute(action, &mut run) {
                Ok(_) => tracing::debug!(target: "executor", "done after {watch}"),
                Err(error) if error.is_settled() => left.push(error.to_string()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.kernel.finish();
        failed.map_or(Ok(left), Err)
    }
}

fn stopwatch() -> Stopwatch {
    Stopwatch::start(tracing::enabled!(target: "executor", tracing::Level::DEBUG))
}
