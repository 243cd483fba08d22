//! The kinds of links, and which program types each takes.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;

use super::registry::for_each_kind;
use crate::types::ProgramType;

macro_rules! kinds {
    ($($variant:ident $name:literal ($recorded:ident) as $to:ident $(($asked:ident))? [$($program:pat_param)|+])*) => {
        /// A kind of link.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LinkKind {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl LinkKind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the command line and in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The kind that is asked for: a probe on return is one whose program was loaded as such.
            #[must_use]
            pub fn asked_as(self) -> Self {
                match self {
                    $(Self::$variant => Self::$to,)*
                }
            }

            /// Whether a program of this type can have a link of this kind.
            #[must_use]
            pub fn takes(self, program_type: ProgramType) -> bool {
                use ProgramType as T;
                match self {
                    $(Self::$variant => matches!(program_type, $($program)|+),)*
                }
            }
        }
    };
}

for_each_kind!(kinds);

/// A kind that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown link kind `{0}`")]
pub struct UnknownLinkKind(pub String);

impl LinkKind {
    /// Reads a kind, in upper or lower case.
    ///
    /// # Errors
    /// [`UnknownLinkKind`] for a text that is no name of the table.
    pub fn parse(text: &str) -> Result<Self, UnknownLinkKind> {
        let found = Self::ALL
            .iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text));
        found
            .copied()
            .ok_or_else(|| UnknownLinkKind(text.to_owned()))
    }

    /// The kind of link that a program of this type gets where this kind is asked for.
    #[must_use]
    pub fn for_type(self, program_type: ProgramType) -> Option<Self> {
        let mut kinds = Self::ALL.iter().copied();
        kinds.find(|kind| kind.asked_as() == self && kind.takes(program_type))
    }

    /// Whether the kernel can give a link of this kind another program (`update_prog` of `bpf_link_ops`).
    #[must_use]
    pub fn can_be_updated(self) -> bool {
        matches!(
            self,
            Self::Tcx
                | Self::Netkit
                | Self::Cgroup
                | Self::SkLookup
                | Self::FlowDissector
                | Self::Iter
                | Self::Sockmap
        )
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for LinkKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for LinkKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The types that no link holds: others name them, call them or run them once.
    const WITHOUT_LINKS: &[ProgramType] = &[
        ProgramType::XdpDevmap,
        ProgramType::XdpCpumap,
        ProgramType::TcAction,
        ProgramType::SocketFilter,
        ProgramType::SkReuseport,
        ProgramType::SkReuseportMigrate,
        ProgramType::Syscall,
        ProgramType::LircMode2,
        ProgramType::LwtIn,
        ProgramType::LwtOut,
        ProgramType::LwtXmit,
        ProgramType::LwtSeg6local,
    ];

    #[test]
    fn every_program_type_has_a_link_kind_or_is_known_to_have_none() {
        for program_type in ProgramType::ALL {
            let kinds: Vec<_> = LinkKind::ALL
                .iter()
                .filter(|kind| kind.takes(*program_type))
                .collect();
            let none = WITHOUT_LINKS.contains(program_type);
            assert_eq!(kinds.is_empty(), none, "{program_type}: {kinds:?}");
        }
    }

    #[test]
    fn a_kind_is_read_back_from_its_name() {
        for kind in LinkKind::ALL {
            assert_eq!(LinkKind::parse(kind.name()), Ok(*kind));
            let upper = kind.name().to_ascii_uppercase();
            assert_eq!(LinkKind::parse(&upper), Ok(*kind));
        }
        assert!(LinkKind::parse("nosuch").is_err());
    }
}
