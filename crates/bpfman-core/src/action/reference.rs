//! How a later step names what an earlier step will answer.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::CreatedLink;
use super::KeptInstructions;
use super::LoadedMap;
use super::LoadedProgram;
use super::Outcome;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::LinkId;
use crate::types::MapId;
use crate::types::PathError;
use crate::types::ProgramId;

/// A program: one that is known, or one that a step of this plan loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProgramReference {
    /// Its id.
    Known(ProgramId),
    /// The program of this name out of the plan's load.
    Loaded {
        /// Its function in the object.
        program: String,
    },
}

impl From<ProgramId> for ProgramReference {
    fn from(id: ProgramId) -> Self {
        Self::Known(id)
    }
}

/// A map: one that is known, or one that a step of this plan makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MapReference {
    /// Its id.
    Known(MapId),
    /// The map of this name out of the plan's load.
    Loaded {
        /// Its name in the object.
        map: String,
    },
}

/// A link: one that is known, or one that a step of this plan makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LinkReference {
    /// Its id in the kernel.
    Known(KernelLinkId),
    /// The kernel's link of this name, out of the plan.
    Made {
        /// Its name.
        link: LinkName,
    },
}

/// What a plan calls a link that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkName {
    /// That of this record.
    Of(LinkId),
    /// That of the attach point, which its members share.
    AttachPoint,
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(link) => write!(f, "link {link}"),
            Self::AttachPoint => f.write_str("the attach point"),
        }
    }
}

/// A path that may hold the id of a program still to be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathTemplate {
    /// A path.
    Literal(AbsolutePath),
    /// `before`, the program's id, `after`.
    WithId {
        /// The text before the id.
        before: String,
        /// The program.
        id: ProgramReference,
        /// The text after it.
        after: String,
    },
}

impl From<AbsolutePath> for PathTemplate {
    fn from(path: AbsolutePath) -> Self {
        Self::Literal(path)
    }
}

impl PathTemplate {
    /// A path that holds a program's id between `before` and `after`.
    #[must_use]
    pub fn with_id(before: String, id: ProgramReference, after: String) -> Self {
        Self::WithId { before, id, after }
    }
}

impl fmt::Display for ProgramReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(id) => id.fmt(f),
            Self::Loaded { program } => write!(f, "<id of {program}>"),
        }
    }
}

impl fmt::Display for MapReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(id) => id.fmt(f),
            Self::Loaded { map } => f.write_str(map),
        }
    }
}

impl fmt::Display for LinkReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(id) => id.fmt(f),
            Self::Made { link } => write!(f, "<kernel id of {link}>"),
        }
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(path) => path.fmt(f),
            Self::WithId { before, id, after } => write!(f, "{before}{id}{after}"),
        }
    }
}

/// A reference to something that no earlier step of the plan answered: the plan is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnresolvedReference {
    /// No step loaded this program.
    #[error("no earlier step loads program `{0}`")]
    Program(String),
    /// No step made this map.
    #[error("no earlier step makes map `{0}`")]
    Map(String),
    /// No step made this link.
    #[error("no earlier step makes the link of {0}")]
    Link(LinkName),
    /// Changes of records that happen together hold others that do.
    #[error("a batch of records holds another batch")]
    Nested,
    /// The finished text is not a path.
    #[error(transparent)]
    Path(PathError),
}

/// What the steps of a plan have answered so far.
#[derive(Clone, Debug, Default)]
pub struct Results {
    programs: Vec<LoadedProgram>,
    maps: Vec<LoadedMap>,
    links: Vec<CreatedLink>,
}

impl Results {
    /// Takes in what a step answered.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done | Outcome::Unchanged | Outcome::LetGo { .. } => {}
            Outcome::Loaded(object) => {
                self.programs.extend(object.programs.iter().cloned());
                self.maps.extend(object.maps.iter().cloned());
            }
            Outcome::Linked(link) => self.links.push(*link),
        }
    }

    /// The kernel id of a link.
    ///
    /// # Errors
    /// [`UnresolvedReference::Link`] when no step made it.
    pub fn link(&self, reference: LinkReference) -> Result<KernelLinkId, UnresolvedReference> {
        match reference {
            LinkReference::Known(id) => Ok(id),
            LinkReference::Made { link } => self
                .links
                .iter()
                .find(|made| made.link == link)
                .map(|made| made.id)
                .ok_or(UnresolvedReference::Link(link)),
        }
    }

    /// The id of a program.
    ///
    /// # Errors
    /// [`UnresolvedReference::Program`] when no step loaded it.
    pub fn program(&self, reference: &ProgramReference) -> Result<ProgramId, UnresolvedReference> {
        match reference {
            ProgramReference::Known(id) => Ok(*id),
            ProgramReference::Loaded { program } => {
                self.loaded_program(program).map(|p| p.identity.id)
            }
        }
    }

    /// The id of a map.
    ///
    /// # Errors
    /// [`UnresolvedReference::Map`] when no step made it.
    pub fn map(&self, reference: &MapReference) -> Result<MapId, UnresolvedReference> {
        match reference {
            MapReference::Known(id) => Ok(*id),
            MapReference::Loaded { map } => self
                .maps
                .iter()
                .find(|made| made.name == *map)
                .map(|made| made.id)
                .ok_or_else(|| UnresolvedReference::Map(map.clone())),
        }
    }

    /// A finished path.
    ///
    /// # Errors
    /// When the program in it is unknown, or the finished text is not a path.
    pub fn path(&self, template: &PathTemplate) -> Result<AbsolutePath, UnresolvedReference> {
        match template {
            PathTemplate::Literal(path) => Ok(path.clone()),
            PathTemplate::WithId { before, id, after } => {
                let text = format!("{before}{}{after}", self.program(id)?);
                AbsolutePath::parse(&text).map_err(UnresolvedReference::Path)
            }
        }
    }

    /// A program that a step loaded.
    ///
    /// # Errors
    /// [`UnresolvedReference::Program`] when none did.
    pub fn loaded_program(&self, name: &str) -> Result<&LoadedProgram, UnresolvedReference> {
        self.programs
            .iter()
            .find(|program| program.name == name)
            .ok_or_else(|| UnresolvedReference::Program(name.into()))
    }

    /// The instructions that the load of a program kept.
    ///
    /// # Errors
    /// [`UnresolvedReference::Program`] when no step loaded it, or its instructions were not asked for.
    pub fn instructions(&self, id: ProgramId) -> Result<&KeptInstructions, UnresolvedReference> {
        let loaded = self
            .programs
            .iter()
            .find(|program| program.identity.id == id);
        loaded
            .and_then(|program| program.instructions.as_ref())
            .ok_or_else(|| UnresolvedReference::Program(format!("{id}")))
    }

    /// All maps that a step made.
    #[must_use]
    pub fn maps(&self) -> &[LoadedMap] {
        &self.maps
    }
}
