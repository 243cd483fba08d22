//! What runs at an attach point that several programs share.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use crate::action::LinkReference;
use crate::action::ProgramReference;
use crate::action::Results;
use crate::action::UnresolvedReference;
use crate::links::AttachPoint;
use crate::links::FilterPlace;
use crate::links::LinkInterface;
use crate::links::SharedHook;
use crate::links::TcFilter;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::LinkId;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;

/// The record of an attach point that has members: of XDP or TC (contract: section 1, `dispatcher`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatcher {
    /// The hook.
    pub hook: SharedHook,
    /// The interface.
    #[serde(flatten)]
    pub at: LinkInterface,
    /// How often its members have changed; the first is 1.
    pub revision: u32,
    /// How its members run.
    pub form: DispatcherForm,
    /// What the kernel calls with each packet.
    pub program: ProgramId,
    /// What holds that program at the hook.
    pub holder: Holder,
    /// Its links, in the order in which their programs run.
    pub members: Vec<LinkId>,
    /// Its links whose programs do not run, as they could not be joined with the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A link of an attach point whose program does not run there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The link.
    pub link: LinkId,
    /// Why it could not be joined with the others.
    pub reason: String,
}

/// How the members of an attach point run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispatcherForm {
    /// The only member is attached itself.
    Direct,
    /// As one program that was compiled of all of them.
    Chain,
    /// As extensions of a program with a slot for each.
    Extension {
        /// The directory of this revision's pins.
        directory: AbsolutePath,
    },
}

/// What holds a program at a shared hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A link at a pin.
    Link {
        /// The kernel's link.
        id: KernelLinkId,
        /// Its pin.
        pin_path: AbsolutePath,
    },
    /// A filter, on a kernel without TCX.
    Filter(FilterPlace),
}

impl DispatcherForm {
    /// Its name in lists.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Chain => "chain",
            Self::Extension { .. } => "extension",
        }
    }
}

impl Dispatcher {
    /// Its attach point.
    #[must_use]
    pub fn point(&self) -> AttachPoint {
        AttachPoint {
            hook: self.hook.hook(),
            nsid: self.at.nsid,
            ifindex: self.at.ifindex,
        }
    }

    /// The link that holds it; `None` where a filter does.
    #[must_use]
    pub fn link(&self) -> Option<(KernelLinkId, &AbsolutePath)> {
        match &self.holder {
            Holder::Link { id, pin_path } => Some((*id, pin_path)),
            Holder::Filter(_) => None,
        }
    }

    /// The filter that holds it; `None` where a link does.
    #[must_use]
    pub fn filter(&self) -> Option<TcFilter> {
        let (Holder::Filter(place), SharedHook::Tc { direction }) = (&self.holder, self.hook)
        else {
            return None;
        };
        Some(place.at(self.at.target(), direction))
    }

    /// The directory of its pins; `None` when it has none but that of its holder.
    #[must_use]
    pub fn directory(&self, layout: &RuntimeLayout) -> Option<AbsolutePath> {
        match &self.form {
            DispatcherForm::Direct => None,
            DispatcherForm::Chain => {
                let (hook, at) = (self.hook.hook().name(), &self.at);
                Some(layout.dispatcher_revision(hook, at.nsid, at.ifindex, self.revision))
            }
            DispatcherForm::Extension { directory } => Some(directory.clone()),
        }
    }

    /// Why the program of a link does not run there; `None` where it does, or is none of its links.
    #[must_use]
    pub fn left_out(&self, link: LinkId) -> Option<&str> {
        let mut left_out = self.left_out.iter();
        let found = left_out.find(|left_out| left_out.link == link)?;
        Some(&found.reason)
    }

    /// The place of a link among its members; the first is 0.
    #[must_use]
    pub fn position(&self, link: LinkId) -> Option<usize> {
        self.members.iter().position(|member| *member == link)
    }
}

/// The record before the kernel has spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DispatcherDraft {
    /// The record but for what the kernel will say.
    pub dispatcher: Dispatcher,
    /// What is attached.
    pub program: ProgramReference,
    /// The link that holds it; `None` where a filter does.
    pub link: Option<LinkReference>,
}

impl DispatcherDraft {
    /// The whole record, once program and link are there.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when they are not.
    pub fn complete(&self, results: &Results) -> Result<Dispatcher, UnresolvedReference> {
        let program = results.program(&self.program)?;
        let link = self.link.map(|link| results.link(link)).transpose()?;
        let holder = match (&self.dispatcher.holder, link) {
            (Holder::Link { pin_path, .. }, Some(id)) => Holder::Link {
                id,
                pin_path: pin_path.clone(),
            },
            (holder, _) => holder.clone(),
        };
        Ok(Dispatcher {
            program,
            holder,
            ..self.dispatcher.clone()
        })
    }
}
