//! How far a plan has come.

use bpfman_core::action::Action;
use bpfman_core::action::Journal;
use bpfman_core::action::Outcome;
use bpfman_core::action::Plan;
use bpfman_core::action::Results;
use bpfman_core::action::Step;
use bpfman_core::action::Way;

use super::Recorded;

/// A plan that is being carried out.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    /// What undoes what the operation did before this plan.
    pub(super) earlier: &'a [Action],
    pub(super) results: Results,
    pub(super) recorded: Recorded,
    /// The steps that changed something.
    pub(super) done: Vec<usize>,
    /// Those that found the world as it should be.
    pub(super) unchanged: Vec<usize>,
    /// What the journal says.
    pub(super) journal: Option<Journal>,
    /// Whether a step has answered something since the journal was written.
    pub(super) answered: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(plan: &'a Plan, earlier: &'a [Action]) -> Self {
        let mut run = Self {
            plan,
            earlier,
            results: Results::default(),
            recorded: Recorded::default(),
            done: Vec::new(),
            unchanged: Vec::new(),
            journal: None,
            answered: true,
        };
        run.journal = run.before();
        run
    }

    /// What the journal says before the plan begins.
    pub(super) fn before(&self) -> Option<Journal> {
        (!self.earlier.is_empty()).then(|| Journal {
            operation: self.plan.operation.clone(),
            way: Way::Back,
            actions: self.earlier.to_vec(),
        })
    }

    pub(super) fn is_committed(&self) -> bool {
        self.plan
            .commit
            .is_some_and(|commit| self.done.contains(&commit))
    }

    pub(super) fn take(&mut self, number: usize, outcome: &Outcome) {
        self.results.add(outcome);
        match outcome {
            Outcome::LetGo { link } => self.recorded.let_go.push(*link),
            Outcome::Loaded(_) | Outcome::Linked(_) => self.answered = true,
            Outcome::Done | Outcome::Unchanged => {}
        }
        self.done.push(number);
    }

    /// Whether a step has an effect that another process would have to undo, and that the journal may not know of.
    pub(super) fn is_undone_by_others(&self, number: usize, step: &Step) -> bool {
        let before_commit = self.plan.commit.is_none_or(|commit| number < commit);
        before_commit && self.answered && step.action.outlives_its_process()
    }

    pub(super) fn way_back(&self) -> Journal {
        Journal::back(self.plan, &self.results, &self.unchanged, self.earlier)
    }
}
