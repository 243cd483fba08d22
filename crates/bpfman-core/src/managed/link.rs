//! The record of one managed link.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use crate::action::LinkReference;
use crate::action::Results;
use crate::action::UnresolvedReference;
use crate::links::LinkDetails;
use crate::links::LinkInterface;
use crate::links::LinkKind;
use crate::links::shell_line;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::LinkId;
use crate::types::ProgramId;
use crate::types::ProgramType;
use crate::types::UnixTime;

/// One link that we made and keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id, ours: never used twice.
    pub id: LinkId,
    /// Its program.
    pub program: ProgramId,
    /// The kernel's link; `None` where the kernel has none for it (a TC filter).
    pub kernel: Option<KernelLinkId>,
    /// The pin that keeps it; `None` where there is no kernel link.
    pub pin_path: Option<AbsolutePath>,
    /// What it is attached to.
    pub details: LinkDetails,
    /// The user's metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it was recorded.
    pub created_at: UnixTime,
}

impl Link {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> LinkKind {
        self.details.kind()
    }

    /// The words of the command that attaches its program again as it was attached: by a new link, where its interface is
    /// `now`. The program's type says whether a direction has to be named.
    #[must_use]
    pub fn attach_words(
        &self,
        now: Option<&LinkInterface>,
        program_type: Option<ProgramType>,
    ) -> Vec<String> {
        let mut words = vec!["bpfman".to_owned(), "attach".to_owned()];
        words.extend(self.details.words(now, self.program, program_type));
        for (key, value) in &self.metadata {
            words.push("--metadata".to_owned());
            words.push(format!("{key}={value}"));
        }
        words
    }

    /// The same as one line for a shell.
    #[must_use]
    pub fn attach_command(
        &self,
        now: Option<&LinkInterface>,
        program_type: Option<ProgramType>,
    ) -> String {
        shell_line(&self.attach_words(now, program_type))
    }
}

/// A link's record before the kernel has spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDraft {
    /// The record but for the kernel's id.
    pub link: Link,
    /// The kernel's link, when there is one.
    pub kernel: Option<LinkReference>,
}

impl LinkDraft {
    /// The whole record, once the link is made.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when it is not.
    pub fn complete(&self, results: &Results) -> Result<Link, UnresolvedReference> {
        let kernel = self.kernel.map(|link| results.link(link)).transpose()?;
        Ok(Link {
            kernel,
            ..self.link.clone()
        })
    }
}
