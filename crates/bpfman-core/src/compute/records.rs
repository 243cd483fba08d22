//! The records that a plan changes, in one step: its commit point.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::action::Plan;
use crate::action::StoreAction;
use crate::managed::Link;

/// Changes of records, and what undoes each.
#[derive(Default)]
pub(super) struct Records {
    changes: Vec<(StoreAction, StoreAction)>,
}

impl Records {
    pub(super) fn push(&mut self, change: StoreAction, undo: StoreAction) {
        self.changes.push((change, undo));
    }

    /// Deletes the record of a link.
    pub(super) fn delete_link(&mut self, link: &Link) {
        self.push(
            StoreAction::DeleteLink { id: link.id },
            StoreAction::SaveLink {
                link: Box::new(link.clone()),
            },
        );
    }

    /// Takes over others, behind its own.
    pub(super) fn append(&mut self, mut others: Self) {
        self.changes.append(&mut others.changes);
    }

    /// Appends them to a plan as one step; nothing when there are none.
    pub(super) fn commit(self, plan: &mut Plan) {
        let (actions, undos): (Vec<_>, Vec<_>) = self.changes.into_iter().unzip();
        let undos = undos.into_iter().rev().collect();
        if let (Some(action), Some(undo)) = (batch(actions), batch(undos)) {
            plan.commit(action, undo);
        }
    }
}

pub(super) fn batch(mut actions: Vec<StoreAction>) -> Option<StoreAction> {
    match actions.len() {
        0 | 1 => actions.pop(),
        _ => Some(StoreAction::Batch { actions }),
    }
}
