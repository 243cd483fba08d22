//! An attach, worked out.

use crate::action::AttachTarget;
use crate::links::LinkDetails;

/// What the kernel is told, and what the record says.
pub(super) struct Attachment {
    pub(super) target: AttachTarget,
    pub(super) details: LinkDetails,
}
