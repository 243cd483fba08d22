//! An operation as a value.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::Action;
use super::StoreAction;
use crate::managed::LeftOut;

/// What undoes a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// This action.
    By(Box<Action>),
    /// Nothing needs to.
    Nothing {
        /// Why.
        reason: String,
    },
    /// Nothing does: when a later step fails, it is said.
    Impossible {
        /// Why.
        reason: String,
    },
}

/// One effect and its undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The effect.
    pub action: Action,
    /// What undoes it.
    pub undo: Undo,
}

/// An ordered list of steps. They are carried out in order; when one fails, the undos of those before it
/// are carried out in reverse.
///
/// One step changes the records: it is the commit point. Whatever happens to the process, what came before it can be
/// undone by another one, and what comes after it carried out by another one (see [`super::Journal`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is: `the unload of program 7`.
    pub operation: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// The index of the step that changes the records; `None` where there is none.
    pub commit: Option<usize>,
    /// The links whose programs will not run any more, though nobody asked for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl Plan {
    /// A plan without steps. `operation` completes the sentence "bpfman was killed during".
    #[must_use]
    pub fn new(operation: String) -> Self {
        Self {
            operation,
            ..Self::default()
        }
    }

    /// Appends the step that changes the records, which `undo` puts back.
    pub fn commit(&mut self, action: StoreAction, undo: StoreAction) {
        self.commit = Some(self.steps.len());
        self.push(Action::Store(action), Action::Store(undo));
    }

    /// Appends a commit point that changes no records: what follows is never undone, but finished.
    pub fn commit_point(&mut self) {
        let nothing = || StoreAction::Batch {
            actions: Vec::new(),
        };
        self.commit(nothing(), nothing());
    }

    /// Appends steps.
    pub fn extend(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.steps.extend(steps);
    }

    /// Appends a step that `undo` undoes.
    pub fn push(&mut self, action: Action, undo: Action) {
        self.steps.push(Step {
            action,
            undo: Undo::By(Box::new(undo)),
        });
    }

    /// Appends a step that cannot be undone, for the reason given.
    pub fn push_irreversible(&mut self, action: Action, reason: &str) {
        self.steps.push(Step {
            action,
            undo: Undo::Impossible {
                reason: reason.to_owned(),
            },
        });
    }

    /// Appends a step that needs no undo, for the reason given.
    pub fn push_final(&mut self, action: Action, reason: &str) {
        self.steps.push(Step {
            action,
            undo: Undo::Nothing {
                reason: reason.to_owned(),
            },
        });
    }
}
