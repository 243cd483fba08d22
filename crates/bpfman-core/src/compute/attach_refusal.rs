//! Why an attach is refused.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::object::StructOpsError;
use crate::target::USDT_SPECS;
use crate::types::AbsolutePath;
use crate::types::Direction;
use crate::types::LinkId;
use crate::types::ProgramId;
use crate::types::ProgramType;

/// Why an attach is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachRefusal {
    /// The program is of a type that cannot be attached so.
    #[error("program {program} is a {program_type} program; it cannot be attached as {asked}")]
    WrongKind {
        /// The program.
        program: ProgramId,
        /// Its type.
        program_type: ProgramType,
        /// What was asked for.
        asked: &'static str,
    },
    /// The program's pin is gone, or holds something else.
    #[error("program {program} is no longer at its pin {path}")]
    ProgramGone {
        /// The program.
        program: ProgramId,
        /// Its recorded pin.
        path: AbsolutePath,
    },
    /// A uprobe without a place.
    #[error("a uprobe needs a function name or an offset that is not 0")]
    NothingToProbe,
    /// A program of a type that leaves the direction open, without one.
    #[error("a {0} program can be attached either way: say ingress or egress")]
    DirectionMissing(ProgramType),
    /// A direction for a program of a type that knows none.
    #[error("program {program} is a {program_type} program, which has no direction")]
    NoDirection {
        /// The program.
        program: ProgramId,
        /// Its type.
        program_type: ProgramType,
    },
    /// A direction other than the one of the program's type.
    #[error(
        "program {program} is a {program_type} program; it can be attached for {own} only, not for {asked}"
    )]
    OtherDirection {
        /// The program.
        program: ProgramId,
        /// Its type.
        program_type: ProgramType,
        /// The direction of the type.
        own: Direction,
        /// The direction that was asked for.
        asked: Direction,
    },
    /// A map for an iterator that does not walk through one.
    #[error("program {program} iterates over `{target}`, not over the elements of a map")]
    IteratorWithoutMap {
        /// The program.
        program: ProgramId,
        /// What it iterates over.
        target: String,
    },
    /// An iterator over the elements of a map, without the map.
    #[error("program {program} iterates over `{target}`: it needs a map")]
    IteratorNeedsMap {
        /// The program.
        program: ProgramId,
        /// What it iterates over.
        target: String,
    },
    /// A program of a type that leaves the attach type open.
    #[error("{0} is ambiguous: declare the type as one of {1}")]
    TypeTooVague(ProgramType, &'static str),
    /// The program was built without the map that describes arguments.
    #[error("program {0} has no pinned map `{USDT_SPECS}`, which tells it where arguments are")]
    NoSpecMap(ProgramId),
    /// The map that describes arguments has no room, or a layout that we do not know.
    #[error("map `{USDT_SPECS}` of program {program}: {reason}")]
    SpecMap {
        /// The program.
        program: ProgramId,
        /// What is wrong.
        reason: String,
    },
    /// No struct_ops map of the program, or none of that name.
    #[error("no struct_ops map {}uses program {program}", .map.as_ref().map(|map| alloc::format!("`{map}` ")).unwrap_or_default())]
    NoStructOpsMap {
        /// The program.
        program: ProgramId,
        /// The name that was asked for.
        map: Option<String>,
        /// The maps that use the program.
        available: Vec<String>,
    },
    /// Several struct_ops maps use the program, and none was named.
    #[error("program {program} is used by several struct_ops maps: {}", .maps.join(", "))]
    SeveralStructOpsMaps {
        /// The program.
        program: ProgramId,
        /// Their names.
        maps: Vec<String>,
    },
    /// The struct_ops map has lost its pin.
    #[error("map `{map}` of program {program} is no longer at its pin")]
    StructOpsMapGone {
        /// The program.
        program: ProgramId,
        /// The map.
        map: String,
    },
    /// The struct_ops map was declared for what no link holds.
    #[error("struct_ops map `{0}` cannot be attached by a link: it is in section `.struct_ops`")]
    StructOpsWithoutLink(String),
    /// Another program of the map is gone.
    #[error(
        "struct_ops map `{map}` calls program `{program}`, which is not managed or no longer at its pin"
    )]
    StructOpsProgramGone {
        /// The map.
        map: String,
        /// The program's function.
        program: String,
    },
    /// What the map is to hold cannot be worked out.
    #[error("struct_ops map `{map}`: {cause}")]
    StructOpsValue {
        /// The map.
        map: String,
        /// Why.
        cause: StructOpsError,
    },
    /// The same program is there already.
    #[error("program {program} is already attached to {place}{}", .link.map(|link| format!(" as link {link}")).unwrap_or_default())]
    AttachedAlready {
        /// The hook.
        place: String,
        /// The program.
        program: ProgramId,
        /// Our link of it, when it is ours.
        link: Option<LinkId>,
    },
}
