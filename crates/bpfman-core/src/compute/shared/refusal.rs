//! Why the members of an attach point are left as they are.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::Change;
use super::JoinedAs;
use super::Member;
use super::PointFacts;
use super::PointState;
use super::choice;
use super::membership;
use super::program;
use super::program::Next;
use super::together;
use crate::chain::ChainError;
use crate::kernel::KernelError;
use crate::kernel::ProgramHook;
use crate::types::AbsolutePath;
use crate::types::InterfaceName;
use crate::types::LinkId;
use crate::types::ProgramId;

/// Why a change of an attach point is refused. What runs there runs on untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointRefusal {
    /// Another program is there, which is not ours.
    #[error(
        "{place} already has program {program} ({name}), which bpfman did not attach; it is left alone"
    )]
    Foreign {
        /// The hook.
        place: String,
        /// The program.
        program: ProgramId,
        /// What it is.
        name: String,
    },
    /// What runs there is ours and has lost its pin.
    #[error(
        "{place} still runs program {program} of links whose pin {path} is gone; detach them first"
    )]
    PinLost {
        /// The hook.
        place: String,
        /// The program.
        program: ProgramId,
        /// The pin.
        path: AbsolutePath,
    },
    /// A member that has to be rebuilt has lost its program.
    #[error(
        "program {program} of link {link} is no longer at its pin {path}; detach link {link} first"
    )]
    ProgramGone {
        /// The member.
        link: LinkId,
        /// Its program.
        program: ProgramId,
        /// The program's pin.
        path: AbsolutePath,
    },
    /// A member whose instructions are lost.
    #[error("the instructions of program {program} (link {link}) are lost; load it again")]
    NoInstructions {
        /// The member.
        link: LinkId,
        /// Its program.
        program: ProgramId,
    },
    /// A member that a chain cannot take.
    #[error("{0}")]
    Chain(ChainError<MemberName>),
    /// A member that is no extension and has no types, so that none can be made of it.
    #[error(
        "program {program} (link {link}) has no type information, so no extension can be made of it"
    )]
    NoTypes {
        /// The member.
        link: LinkId,
        /// Its program.
        program: ProgramId,
    },
    /// A member whose own program somebody has extended: joined, it would run without that.
    #[error(
        "{member} would lose a function that program {} (`{}`) replaces by kernel link {}: only the program itself is \
         extended, not what is made of its instructions",
        .extension.program, .extension.name, .extension.link
    )]
    Extended {
        /// The member.
        member: MemberName,
        /// What replaces its function.
        extension: ProgramHook,
    },
    /// A dispatcher has no slot left.
    #[error("no free dispatcher slots: {place} has {limit} programs already")]
    NoFreeSlot {
        /// The hook.
        place: String,
        /// How many slots there are.
        limit: usize,
    },
    /// The link is recorded, but nothing is attached.
    #[error("link {link} is not attached any more: {}", why(*.state))]
    NotAttached {
        /// The link.
        link: LinkId,
        /// What the kernel has of its attach point.
        state: PointState,
    },
    /// A record speaks of this place whose interface has moved away, or whose link is attached to nothing any more.
    #[error(
        "{interface} has the index of an interface that moved away: {} recorded there",
        recorded(.links)
    )]
    RecordInTheWay {
        /// The interface.
        interface: InterfaceName,
        /// The links of the record.
        links: Vec<LinkId>,
    },
    /// Extensions are counted by the kernel.
    #[error(
        "runs of programs of the extension engine are counted by the kernel (sysctl kernel.bpf_stats_enabled=1)"
    )]
    NoCounter,
    /// The same program is there already, at the same priority.
    #[error("program {program} is already attached to {place} at this priority as link {link}")]
    AttachedAlready {
        /// The hook.
        place: String,
        /// The program.
        program: ProgramId,
        /// Its link.
        link: LinkId,
    },
    /// Packets are met in another way there.
    #[error("{place} runs in mode {running}; a program cannot join it in mode {asked}")]
    OtherMode {
        /// The hook.
        place: String,
        /// As it is.
        running: String,
        /// As it was asked for.
        asked: String,
    },
}

/// How a member is called in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName {
    /// The link.
    pub link: LinkId,
    /// The name of its program.
    pub program: String,
}

impl MemberName {
    pub(super) fn of(member: &Member) -> Self {
        Self {
            link: member.link.id,
            program: member.program.load.program_name.clone(),
        }
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} (program {})", self.link, self.program)
    }
}

/// The member that explains why the kernel called a chain invalid without any log, if one does.
#[must_use]
pub fn why_invalid(facts: &PointFacts, change: &Change) -> Option<PointRefusal> {
    let members = membership::after(facts, change).ok()?;
    let attach_type = program::attach_type(facts.hook, &members);
    together::of_other_type(&members, attach_type).map(PointRefusal::Chain)
}

/// Whom to name when the kernel refuses a chain: one that is not for the GPL when the refusal is about licenses, the one
/// whose instruction the verifier was at last, else the member that a change brings or moves, or the first that is left.
/// `joined` says of which chain the verifier's log is.
#[must_use]
pub fn at_fault(
    facts: &PointFacts,
    change: &Change,
    joined: Option<JoinedAs>,
    error: &KernelError,
) -> Option<MemberName> {
    let members = membership::after(facts, change).ok()?;
    let restricts = members.iter().find(|member| !member.program.gpl_compatible);
    if let Some(member) = restricts.filter(|_| error.message.contains("GPL")) {
        return Some(MemberName::of(member));
    }
    let refused = joined.zip(error.verifier_log.as_deref());
    let refused = refused.and_then(|(joined, log)| owner(facts, &members, joined, log));
    let changed = choice::changed(change, &members);
    refused.or(changed).or(members.first()).map(MemberName::of)
}

/// The member whose instruction the verifier was at when it refused a chain. When it had walked too much, the last one
/// is at no more fault than those before.
fn owner<'a>(
    facts: &PointFacts,
    members: &'a [Member],
    joined: JoinedAs,
    log: &str,
) -> Option<&'a Member> {
    if ["too large", "too complex"]
        .iter()
        .any(|why| log.contains(why))
    {
        return None;
    }
    // Each instruction that is walked is a line, `12: (85) call bpf_map_lookup_elem#1`; of what was found right there is
    // none.
    let instruction = log.lines().rev().find_map(|line| {
        let (number, rest) = line.split_once(": ")?;
        rest.starts_with('(').then(|| number.parse().ok())?
    })?;
    let Ok(Some(Next::Chain(chain))) = program::next(facts, members, joined) else {
        return None;
    };
    members.get(chain.owner(instruction)?)
}

impl PointRefusal {
    /// How a program of somebody else is called.
    pub(in crate::compute) fn name_of(program: &crate::kernel::Program) -> String {
        match program.name.as_str() {
            "xdp_dispatcher" => "a dispatcher of xdp-loader or another user of libxdp".into(),
            "" => format!("{}", program.program_type),
            name => format!("`{name}`"),
        }
    }
}

fn why(state: PointState) -> &'static str {
    match state {
        PointState::Detached => "somebody else detached it",
        PointState::Defunct => "its interface is gone",
        PointState::Unpinned => "its attach point has lost its pin",
        PointState::Attached | PointState::Missing => "the kernel has nothing of its attach point",
    }
}

fn recorded(links: &[LinkId]) -> String {
    let ids: Vec<String> = links.iter().map(ToString::to_string).collect();
    match ids.as_slice() {
        [one] => format!("link {one} is"),
        ids => format!("links {} are", ids.join(", ")),
    }
}
