//! An operation as a value.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::Action;

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
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
