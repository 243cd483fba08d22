//! How a plan ends: the records change, and then goes what only the way back needed.

use alloc::vec::Vec;

use super::records::Records;
use crate::action::Action;
use crate::action::KernelAction;
use crate::action::Plan;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;

/// The end of a plan.
#[derive(Default)]
pub(super) struct Ending {
    /// The records that change.
    pub(super) records: Records,
    /// What goes when they have.
    pub(super) after: Plan,
    /// The links that end then, which nothing undoes.
    pub(super) links: Vec<AttachedLink>,
}

/// A kernel link that is to be detached.
pub(super) struct AttachedLink {
    pub(super) link: KernelLinkId,
    pub(super) pin: Option<AbsolutePath>,
}

impl Ending {
    /// Takes over another's, behind its own.
    pub(super) fn append(&mut self, other: Self) {
        self.records.append(other.records);
        self.after.extend(other.after.steps);
        self.links.extend(other.links);
    }

    /// Ends a plan.
    pub(super) fn add(self, plan: &mut Plan) {
        self.records.commit(plan);
        plan.extend(self.after.steps);
        for AttachedLink { link, pin } in self.links {
            plan.push_irreversible(
                Action::Kernel(KernelAction::DetachLink { link, pin }),
                "a detached link does not come back",
            );
        }
    }
}
