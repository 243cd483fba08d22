//! What can be wrong, by name.

use serde::Serialize;
use strum::Display;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Something is left over, or not as safe as it should be; all that is managed works.
    Warning,
    /// Something that is managed does not work, or is lost.
    Error,
}

/// Declares the rules, in the order in which they are looked at: name, severity, what it means when one applies, and what
/// `bpfman reconcile` does about it.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal, $severity:ident, $meaning:literal, $repair:literal;)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display)]
        pub enum Rule {
            $($(#[$doc])* #[strum(serialize = $name)] $rule,)*
        }

        impl Rule {
            const ALL: &[Self] = &[$(Self::$rule),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }

            /// How bad it is when it applies.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$rule => Severity::$severity,)*
                }
            }

            /// What it means when it applies.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$rule => $meaning,)*
                }
            }

            /// What `bpfman reconcile` does about it.
            #[must_use]
            pub fn repair(self) -> &'static str {
                match self {
                    $(Self::$rule => $repair,)*
                }
            }
        }
    };
}

rules! {
    /// An operation was killed and has not come to its end.
    Interrupted = "interrupted", Error,
        "bpfman was killed during an operation, or could not undo one that failed",
        "the operation is undone, or finished where its records had changed; every command that changes \
                   something does the same";
    /// Records or objects on a file system that is mounted read-only.
    ReadOnly = "read-only", Warning,
        "records or objects are on a file system that is mounted read-only: what is managed works, and nothing can be \
                 changed",
        "nothing: mount it writable";
    /// No room for records or objects.
    DiskFull = "disk-full", Warning,
        "there is no room for records or objects: what is managed works, and what takes room is refused",
        "nothing: free space";
    /// Our bpffs in a mount namespace that ends.
    BpffsPrivate = "bpffs-private", Warning,
        "our bpffs is mounted only in a mount namespace of its own (a container, a service with PrivateMounts=, `unshare \
                 -m`), or could be mounted only there: the pins end with it, and so do programs and links",
        "nothing: mount it where it lasts";
    /// Our bpffs in the mount namespace of process 1 and not in this one.
    BpffsElsewhere = "bpffs-elsewhere", Warning,
        "our bpffs is mounted for process 1, and not in the mount namespace of this command, which sees no pin and can \
                 tell nothing else",
        "it is mounted here, too, as every command that changes something does; then the rest is looked at";
    /// A program of ours without its record.
    RecordLost = "record-lost", Error,
        "a program of ours is at its pin and its files are kept, but it has no record: the database was \
                      removed, or restored from an older one",
        "its record is written again; links have none that could be: `bpfman reconcile --prune` ends them, then \
                   attach anew";
    /// A record without a program in the kernel.
    ProgramGone = "program-gone", Error,
        "a record's program is no longer in the kernel: its pin was removed while nothing else held it, \
                      or its id belongs to another program now",
        "the record goes, with its links, its files and the maps that nobody else uses";
    /// A program without its pin.
    ProgramUnpinned = "program-unpinned", Warning,
        "a program has lost its pin and lives only while something else holds it",
        "it is pinned again, where it was";
    /// A program whose pin is something else.
    ProgramPinTaken = "program-pin-taken", Error,
        "a program has lost its pin, and something else is in its place",
        "nothing: move what is there away, and it is pinned again";
    /// A program without our copy of its object.
    ObjectLost = "object-lost", Warning,
        "our copy of a program's object is gone: it runs on, but can join no chain and attach no struct_ops \
                      map any more",
        "nothing: replace the program, or load it again";
    /// A record without a link in the kernel.
    LinkGone = "link-gone", Error,
        "a record's link is no longer in the kernel: the program is not attached there any more",
        "the record goes, and the command that attaches the program anew is told; with --reattach, it is attached again, \
                   by the same link";
    /// A link that somebody detached.
    LinkDetached = "link-detached", Error,
        "a link is attached to nothing, though what it was attached to is there: somebody detached it by force, and its \
                      program does not run there any more",
        "nothing, but the command that attaches the program anew is told; with --reattach, it is attached again, by the \
                   same link";
    /// A link that has another program than its record says.
    LinkChanged = "link-changed", Error,
        "somebody gave a link another program than its record says",
        "it gets ours again";
    /// A link whose interface, namespace or cgroup is gone.
    LinkDead = "link-dead", Warning,
        "a link has outlived the interface, namespace, cgroup or map that it was attached to",
        "it is detached";
    /// A link whose interface is somewhere else.
    LinkMoved = "link-moved", Warning,
        "the interface of a link has moved to another network namespace, or has another index now: the program runs there",
        "the record follows it, if a file or a process shows the namespace";
    /// A link that keeps a network namespace.
    NamespaceKept = "namespace-kept", Warning,
        "a pinned link keeps a network namespace alive that was deleted: no file and no process shows it",
        "nothing, or with --prune: it is detached, and the namespace ends";
    /// A link that was attached again.
    LinkRenewed = "link-renewed", Warning,
        "the program of a link was attached again, as a replacement does that is undone: the kernel's link is another one \
                 than recorded",
        "it is recorded";
    /// A link without its pin.
    LinkUnpinned = "link-unpinned", Warning,
        "a link has lost its pin and ends when the last process that holds it does",
        "it is pinned again, where it was";
    /// A link whose pin is something else.
    LinkPinTaken = "link-pin-taken", Error,
        "a link has lost its pin, and something else is in its place",
        "nothing: move what is there away, and it is pinned again";
    /// A record of a link that nothing runs.
    LinkWithoutPoint = "link-without-point", Error,
        "a link of xdp or tc is no member of its attach point: its program does not run there",
        "the record goes";
    /// A link whose program could not be joined with the others.
    LinkLeftOut = "link-left-out", Error,
        "a link of xdp or tc is recorded and its program does not run: when another was taken out, it could not be \
                      joined with those that stayed",
        "nothing: `bpfman detach` it, or take another out, or replace its program with one that fits; `bpfman link \
                   update LINK --priority N` tries to join it again";
    /// An attach point at which nothing of its record runs.
    PointGone = "point-gone", Error,
        "nothing runs at an attach point that has members: its link is no longer in the kernel",
        "the records of the attach point and its members go, and the commands that attach them anew are told; with \
                   --reattach, they are attached again, by the same links";
    /// An attach point that somebody detached.
    PointDetached = "point-detached", Error,
        "nothing of ours runs at an attach point that has members, though its interface is there: somebody detached its \
                      link by force, or removed or replaced its filter",
        "nothing, but the commands that attach its members anew are told; with --reattach, they are attached again, by \
                   the same links";
    /// An attach point whose interface is gone.
    PointDead = "point-dead", Warning,
        "the interface or namespace of an attach point is gone",
        "the records of the attach point and its members go, and its pins";
    /// An attach point whose interface is somewhere else.
    PointMoved = "point-moved", Warning,
        "the interface of an attach point has moved to another network namespace, or has another index now: its members \
                      run there",
        "its records and pins follow it, if a file or a process shows the namespace";
    /// An attach point whose holder has no pin.
    PointUnpinned = "point-unpinned", Warning,
        "the link that holds an attach point has lost its pin and ends when the last process that holds it \
                      does",
        "it is pinned again";
    /// An attach point that runs another program than its record says.
    PointChanged = "point-changed", Error,
        "somebody gave the link of an attach point another program than its record says",
        "it gets ours again";
    /// An attach point with members that have no record.
    PointMembersLost = "point-members-lost", Error,
        "an attach point runs programs whose records are lost",
        "it runs the others only";
    /// What runs at an attach point has no pin.
    PointProgramUnpinned = "point-program-unpinned", Warning,
        "what runs at an attach point has lost its pin: a change of its members could not be undone after \
                      a crash",
        "it is pinned again";
    /// A chain that its attach point does not run any more.
    ChainKept = "chain-kept", Warning,
        "a chain that its attach point does not run any more is still in the kernel: a timer that one of its programs \
                 has armed holds it, and runs its code, or a process or a pin of somebody else does",
        "nothing: it goes when the timers have ended (the unload of their program ends them) and nobody else holds it";
    /// Pins of a revision that no attach point has.
    RevisionLeft = "revision-left", Warning,
        "there are pins of another revision than that of their attach point",
        "they are removed";
    /// Pins of maps that no managed program uses.
    MapsLeft = "maps-left", Warning,
        "there are pins of maps that no managed program uses",
        "they are removed";
    /// A pin of a program or link that no record knows, or a filter that runs such a program.
    Orphan = "orphan", Warning,
        "no record knows a program or link that is pinned on our bpffs, or a filter of TC that runs one; it may be at \
                 work",
        "nothing, or with --prune: it is unpinned, and ends when nobody else holds it; a filter is removed";
    /// Files of a program that no record knows.
    FilesLeft = "files-left", Warning,
        "there are files of a program that no record knows",
        "they are removed";
}

impl Rule {
    /// All of them, in the order in which they are looked at.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    /// The rule of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::all().find(|rule| rule.name() == name)
    }
}
