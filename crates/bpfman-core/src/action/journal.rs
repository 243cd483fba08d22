//! What another process needs to know to bring an interrupted plan to its end.
//!
//! Not the plan: most of it is of no use to a process that holds nothing of what was loaded. Before the records change
//! it is what undoes the steps so far, afterwards it is the steps that are left. All of it can be carried out whether
//! or not the effect in question ever happened, so that no step needs a mark of its own: between an effect and its mark
//! a process can be killed, too.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::Action;
use super::FileAction;
use super::KernelAction;
use super::PathTemplate;
use super::Plan;
use super::Results;
use super::StoreAction;
use super::Undo;
use super::UnresolvedReference;

/// An operation that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// What it is, as its plan says.
    pub operation: String,
    /// Which way it comes to its end.
    pub way: Way,
    /// What is to be done for that, in this order. Every reference in it is known.
    pub actions: Vec<Action>,
}

/// Which way an interrupted plan comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is undone: the records have not changed yet.
    Back,
    /// What is left of it is done: the records have changed.
    Forward,
}

impl Journal {
    /// What undoes a plan up to its commit, wherever it is interrupted from here on. `unchanged` are the steps so far
    /// that changed nothing; `earlier` undoes what the operation did before this plan.
    ///
    /// What names things that no step has answered yet is left out: nothing has happened to those.
    #[must_use]
    pub fn back(plan: &Plan, results: &Results, unchanged: &[usize], earlier: &[Action]) -> Self {
        let steps = plan.steps.iter().enumerate();
        let until = plan.commit.unwrap_or(plan.steps.len());
        let changed = steps
            .take(until)
            .filter(|(number, _)| !unchanged.contains(number));
        let undos = changed.rev().filter_map(|(_, step)| match &step.undo {
            Undo::By(undo) if undo.can_be_done_by_another() => undo.resolve(results).ok(),
            _ => None,
        });
        Self {
            operation: plan.operation.clone(),
            way: Way::Back,
            actions: undos.chain(earlier.iter().cloned()).collect(),
        }
    }

    /// What is left of a plan behind its commit.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when a step names what none before the commit answers.
    pub fn forward(plan: &Plan, results: &Results) -> Result<Self, UnresolvedReference> {
        let left = plan.commit.map_or(plan.steps.len(), |commit| commit + 1);
        let actions = plan.steps[left..]
            .iter()
            .map(|step| step.action.resolve(results));
        Ok(Self {
            operation: plan.operation.clone(),
            way: Way::Forward,
            actions: actions.collect::<Result<_, _>>()?,
        })
    }
}

impl Action {
    /// Whether the effect is still there when the process that caused it is gone.
    #[must_use]
    pub fn outlives_its_process(&self) -> bool {
        !matches!(
            self,
            Self::Kernel(
                KernelAction::LoadObject(_)
                    | KernelAction::LoadProgram(_)
                    | KernelAction::LoadDispatcher(_)
                    | KernelAction::MakeMap(_)
                    | KernelAction::HoldProgram(_)
                    | KernelAction::AdoptProgram { .. }
                    | KernelAction::AdoptLink { .. }
                    | KernelAction::Release
                    | KernelAction::CreateLink(_)
                    | KernelAction::ReleaseLink { .. }
            )
        )
    }

    /// Whether a process that holds nothing can carry it out, as an undo of what it did not do itself.
    fn can_be_done_by_another(&self) -> bool {
        match self {
            // What it speaks of died with the process that held it.
            Self::Kernel(
                KernelAction::PinProgram { .. }
                | KernelAction::PinMap { .. }
                | KernelAction::PinLink { .. },
            ) => false,
            // Others may use them by now: whether the plan or somebody else made them, only the dead process knew. They
            // belong to no operation, like the runtime directory.
            Self::Kernel(KernelAction::RemoveClsact { .. } | KernelAction::UnmountBpffs { .. }) => {
                false
            }
            _ => self.outlives_its_process(),
        }
    }

    /// This action with every reference replaced by what earlier steps answered.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when no earlier step answered it.
    pub fn resolve(&self, results: &Results) -> Result<Self, UnresolvedReference> {
        Ok(match self {
            Self::Kernel(action) => Self::Kernel(action.resolve(results)?),
            Self::Files(action) => Self::Files(action.resolve(results)?),
            Self::Store(action) => Self::Store(action.resolve(results)?),
        })
    }
}

impl FileAction {
    fn resolve(&self, results: &Results) -> Result<Self, UnresolvedReference> {
        let known = |path: &PathTemplate| results.path(path).map(PathTemplate::from);
        Ok(match self {
            Self::MakeDirectory { path } => Self::MakeDirectory { path: known(path)? },
            Self::RemoveEmptyDirectory { path } => {
                Self::RemoveEmptyDirectory { path: known(path)? }
            }
            Self::WriteObject { path, bytes } => Self::WriteObject {
                path: known(path)?,
                bytes: *bytes,
            },
            Self::Link { from, to } => Self::Link {
                from: known(from)?,
                to: known(to)?,
            },
            Self::KeepInstructions { program, path } => Self::KeepInstructions {
                program: results.program(program)?.into(),
                path: known(path)?,
            },
            Self::KeepRecord { program, path } => Self::SaveRecord {
                program: Box::new(program.complete(results)?),
                path: results.path(path)?,
            },
            Self::SaveRecord { .. } => self.clone(),
            Self::RemoveFile { path } => Self::RemoveFile { path: known(path)? },
            Self::RemoveTree { path } => Self::RemoveTree { path: known(path)? },
        })
    }
}

impl StoreAction {
    /// Drafts stay drafts: what fills them in is told to the store when they are recorded.
    fn resolve(&self, results: &Results) -> Result<Self, UnresolvedReference> {
        Ok(match self {
            Self::DeleteProgram { program } => Self::DeleteProgram {
                program: results.program(program)?.into(),
            },
            Self::Batch { actions } => {
                let actions = actions.iter().map(|action| action.resolve(results));
                Self::Batch {
                    actions: actions.collect::<Result<_, _>>()?,
                }
            }
            other => other.clone(),
        })
    }
}
