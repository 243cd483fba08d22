//! How a link that stands alone goes from the old version of a program to the new one.

use alloc::boxed::Box;

use super::AttachFacts;
use super::attach::add_specs;
use super::attach::create_link;
use super::attach_target::attachment;
use super::attachment::Attachment;
use super::ending::AttachedLink;
use super::ending::Ending;
use super::is_ours;
use super::pins;
use super::replace_refusal::ReplaceRefusal;
use crate::action::Action;
use crate::action::KernelAction;
use crate::action::LinkName;
use crate::action::LinkReference;
use crate::action::PinnedProgram;
use crate::action::Plan;
use crate::action::ProgramSource;
use crate::action::RestoreLink;
use crate::action::StoreAction;
use crate::kernel::PinState;
use crate::links::AttachRequest;
use crate::links::AttachSpec;
use crate::links::LinkDetails;
use crate::managed::Link;
use crate::managed::LinkDraft;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::RuntimeLayout;

/// How links are replaced that the kernel cannot give another program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// Not at all.
    #[default]
    Swap,
    /// The new program is attached before the old one is detached: for a moment both run.
    Overlap,
    /// The old program is detached before the new one is attached: for a moment neither runs.
    Gap,
}

/// A link that stands alone.
#[derive(Clone, Debug)]
pub struct LinkToReplace {
    /// Its record.
    pub link: Link,
    /// What is at its pin.
    pub pin: Option<PinState>,
    /// What it was asked for and what that means now, where the kernel cannot give it another program.
    pub again: Option<(AttachRequest, AttachFacts)>,
}

/// A link that is at its pin, and its programs.
pub(super) struct Replaced<'a> {
    link: &'a Link,
    path: &'a AbsolutePath,
    kernel: KernelLinkId,
    old: &'a Program,
    new: &'a Program,
}

impl<'a> Replaced<'a> {
    pub(super) fn new(
        replaced: &'a LinkToReplace,
        old: &'a Program,
        new: &'a Program,
    ) -> Result<Self, ReplaceRefusal> {
        let link = &replaced.link;
        match (&replaced.pin, &link.pin_path, link.kernel) {
            (Some(PinState::Link(found)), Some(path), Some(kernel)) if is_ours(link, found) => {
                Ok(Self {
                    link,
                    path,
                    kernel,
                    old,
                    new,
                })
            }
            _ => Err(ReplaceRefusal::LinkGone(link.id)),
        }
    }

    /// Gives the link the new version, between two events.
    pub(super) fn swap(&self, plan: &mut Plan, ending: &mut Ending) {
        let update = |from: &Program, to: &Program| {
            Action::Kernel(KernelAction::UpdateLink {
                link: LinkReference::Known(self.kernel),
                path: self.path.clone(),
                from: from.id().into(),
                to: pinned(to),
            })
        };
        plan.push(update(self.old, self.new), update(self.new, self.old));
        let record = Link {
            program: self.new.id(),
            ..self.link.clone()
        };
        ending.records.push(
            StoreAction::SaveLink {
                link: Box::new(record),
            },
            self.put_back(),
        );
    }

    /// Attaches the new version, then detaches the old one.
    pub(super) fn overlap(
        &self,
        plan: &mut Plan,
        ending: &mut Ending,
        again: &(AttachRequest, AttachFacts),
        layout: &RuntimeLayout,
    ) -> Result<(), ReplaceRefusal> {
        let attachment = self.attachment(self.new, again)?;
        if let (_, AttachFacts::Usdt(facts)) = again {
            add_specs(plan, self.new, facts)?;
        }
        let aside = layout.link_pin_aside(self.link.id);
        let name = LinkName::Of(self.link.id);
        let made = create_link(plan, name, pinned(self.new), attachment.target);
        pins::move_pin(plan, self.kernel, self.path, &aside);
        pins::pin_link(plan, made, self.path);
        self.record(ending, made, attachment.details);
        ending.links.push(AttachedLink {
            link: self.kernel,
            pin: Some(aside),
        });
        Ok(())
    }

    /// Detaches the old version, then attaches the new one.
    pub(super) fn gap(
        &self,
        plan: &mut Plan,
        ending: &mut Ending,
        again: &(AttachRequest, AttachFacts),
    ) -> Result<(), ReplaceRefusal> {
        let attachment = self.attachment(self.new, again)?;
        let restore = RestoreLink {
            program: PinnedProgram {
                program: self.old.id(),
                path: self.old.pin_path.clone(),
            },
            target: self.attachment(self.old, again)?.target,
            path: self.path.clone(),
        };
        plan.push(
            Action::Kernel(KernelAction::DetachLink {
                link: self.kernel,
                pin: Some(self.path.clone()),
            }),
            Action::Kernel(KernelAction::RestoreLink(restore)),
        );
        plan.push_final(
            Action::Kernel(KernelAction::AwaitLinkGone { link: self.kernel }),
            "it only waits",
        );
        let name = LinkName::Of(self.link.id);
        let made = create_link(plan, name, pinned(self.new), attachment.target);
        pins::pin_link(plan, made, self.path);
        self.record(ending, made, attachment.details);
        Ok(())
    }

    fn attachment(
        &self,
        program: &Program,
        (request, facts): &(AttachRequest, AttachFacts),
    ) -> Result<Attachment, ReplaceRefusal> {
        let spec = AttachSpec {
            program: program.id(),
            request: request.clone(),
            metadata: self.link.metadata.clone(),
        };
        Ok(attachment(&spec, program, facts)?)
    }

    fn record(&self, ending: &mut Ending, made: LinkReference, details: LinkDetails) {
        let link = Link {
            program: self.new.id(),
            details,
            ..self.link.clone()
        };
        ending.records.push(
            StoreAction::RecordLink {
                link: Box::new(LinkDraft {
                    link,
                    kernel: Some(made),
                }),
            },
            self.put_back(),
        );
    }

    fn put_back(&self) -> StoreAction {
        StoreAction::SaveLink {
            link: Box::new(self.link.clone()),
        }
    }
}

fn pinned(program: &Program) -> ProgramSource {
    ProgramSource::Pinned {
        program: program.id(),
        path: program.pin_path.clone(),
    }
}
