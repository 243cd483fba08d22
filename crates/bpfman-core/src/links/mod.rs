//! The kinds of links: one file for each, with what is recorded of it, how it is asked for, and how it reads.
//!
//! A new kind is a file here and a row in `registry.rs`.

mod bound;
mod cgroup;
mod interface;
mod iter;
mod kind;
mod kprobe;
mod kprobe_multi;
mod namespace;
mod netfilter;
mod netkit;
mod perf_event;
mod probe;
mod raw_tracepoint;
mod registry;
mod request;
mod sockmap;
mod struct_ops;
mod tc;
mod tcx;
mod tracepoint;
mod uprobe;
mod uprobe_multi;
mod usdt;
mod words;
mod xdp;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

pub use bound::BoundFunction;
pub use bound::BoundHook;
pub use bound::BoundRequest;
pub use bound::BoundTracepoint;
pub use cgroup::Cgroup;
pub use cgroup::CgroupRequest;
pub use interface::AttachPoint;
pub use interface::FilterPlace;
pub use interface::Hook;
pub use interface::InterfaceRequest;
pub use interface::InterfaceTarget;
pub use interface::LinkInterface;
pub use interface::Membership;
pub use interface::SharedHook;
pub use interface::TcFilter;
pub use iter::Iter;
pub use iter::IterRequest;
pub use kind::LinkKind;
pub use kind::UnknownLinkKind;
pub use kprobe::Kprobe;
pub use kprobe::KprobeRequest;
pub use kprobe_multi::KprobeMulti;
pub use kprobe_multi::KprobeMultiRequest;
pub use namespace::Namespace;
pub use namespace::NamespaceRequest;
pub use namespace::WholeNamespace;
pub use netfilter::Netfilter;
pub use netfilter::NetfilterFamily;
pub use netfilter::NetfilterHook;
pub use netfilter::NetfilterRequest;
pub use netkit::Netkit;
pub use netkit::NetkitRequest;
pub use perf_event::PERF_EVENTS;
pub use perf_event::PerfEvent;
pub use perf_event::PerfEventRequest;
pub use perf_event::SampledEvent;
pub use perf_event::Sampling;
pub use probe::ProbeSite;
pub use probe::ProbeWhen;
pub use probe::ProbedFile;
pub use raw_tracepoint::RawTracepoint;
pub use request::AttachSpec;
pub use sockmap::Sockmap;
pub use sockmap::SockmapRequest;
pub use struct_ops::StructOps;
pub use struct_ops::StructOpsRequest;
pub use tc::Tc;
pub use tc::TcRequest;
pub use tcx::Tcx;
pub use tcx::TcxRequest;
pub use tracepoint::Tracepoint;
pub use uprobe::Uprobe;
pub use uprobe::UprobeRequest;
pub use uprobe_multi::UprobeMulti;
pub use uprobe_multi::UprobeMultiRequest;
pub use usdt::Usdt;
pub use usdt::UsdtRequest;
pub use words::shell_line;
pub use xdp::Xdp;
pub use xdp::XdpRequest;

use registry::for_each_kind;
use words::Words;
use words::verdict_names;

use crate::types::AbsolutePath;
use crate::types::NetnsId;
use crate::types::Priority;
use crate::types::ProgramId;
use crate::types::ProgramType;
use crate::types::TC_VERDICTS;
use crate::types::XDP_VERDICTS;

/// What a record of each kind tells.
trait Recorded {
    /// The words that follow kind and program on the command line; `directed` programs leave the direction open.
    fn add_words(&self, words: &mut Words, directed: bool);

    /// What it is attached to, for people; its interface, if it has one, reads so.
    fn reads(&self, interface: &str) -> String;

    /// What it is attached to.
    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Unnamed
    }

    /// What it is called where a second link of the same program would do the same twice each time; `None` for the kinds whose
    /// attach points have rules of their own, and for those where a second link is of use.
    fn once_at(&self) -> Option<String> {
        None
    }

    /// Its hook, and its place among the links there; `None` where every link stands alone.
    fn order(&self) -> Option<(Hook, Priority)> {
        let own = self.membership()?;
        Some((own.hook.hook(), own.priority))
    }

    /// How it shares its attach point, for the kinds whose programs share one attachment.
    fn membership(&self) -> Option<Membership<'_>> {
        None
    }

    /// The interface, to be written anew when it has moved.
    fn interface_mut(&mut self) -> Option<&mut LinkInterface> {
        None
    }
}

/// What a link is attached to, as far as it can be looked up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedTo<'a> {
    /// An interface.
    Interface(&'a LinkInterface),
    /// A network namespace.
    Namespace {
        /// Its file; `None` for the process's own.
        netns: Option<&'a AbsolutePath>,
        /// The namespace.
        nsid: NetnsId,
    },
    /// A cgroup.
    Cgroup {
        /// Its directory.
        path: &'a AbsolutePath,
        /// Its id.
        id: u64,
    },
    /// The map at a pin.
    Pin(&'a AbsolutePath),
    /// A map of the program, by its name.
    Map(&'a str),
    /// A part of the kernel or of a file, which is there as long as the link is.
    Unnamed,
}

macro_rules! details {
    ($($variant:ident $name:literal ($recorded:ident) as $to:ident $(($asked:ident))? [$($program:pat_param)|+])*) => {
        /// What a link is attached to, as its record keeps it and JSON shows it (contract: section 1).
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum LinkDetails {
            $(#[doc = concat!("`", $name, "`.")] $variant($recorded),)*
        }

        /// What to attach to.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum AttachRequest {
            $($(#[doc = concat!("`", $name, "`.")] $to($asked),)?)*
        }

        impl AttachRequest {
            /// The kind that is asked for.
            #[must_use]
            pub fn kind(&self) -> LinkKind {
                match self {
                    $($(Self::$to($asked { .. }) => LinkKind::$to,)?)*
                }
            }
        }

        impl LinkDetails {
            /// What asks for it, in today's words; `None` for what cannot be asked for any more.
            fn asked(&self) -> Option<AttachRequest> {
                match self {
                    $(Self::$variant(recorded) => recorded.asked().map(AttachRequest::$to),)*
                }
            }

            /// The kind.
            #[must_use]
            pub fn kind(&self) -> LinkKind {
                match self {
                    $(Self::$variant(_) => LinkKind::$variant,)*
                }
            }

            fn recorded(&self) -> &dyn Recorded {
                match self {
                    $(Self::$variant(recorded) => recorded,)*
                }
            }

            fn recorded_mut(&mut self) -> &mut dyn Recorded {
                match self {
                    $(Self::$variant(recorded) => recorded,)*
                }
            }
        }
    };
}

for_each_kind!(details);

impl LinkDetails {
    /// What it is attached to.
    #[must_use]
    pub fn attached_to(&self) -> AttachedTo<'_> {
        self.recorded().attached_to()
    }

    /// The interface it is attached to; `None` for what is no interface.
    #[must_use]
    pub fn interface(&self) -> Option<&LinkInterface> {
        match self.attached_to() {
            AttachedTo::Interface(at) => Some(at),
            _ => None,
        }
    }

    /// The network namespace that it is attached to itself.
    #[must_use]
    pub fn namespace(&self) -> Option<NetnsId> {
        match self.attached_to() {
            AttachedTo::Namespace { nsid, .. } => Some(nsid),
            _ => None,
        }
    }

    /// The attach point that it shares with others; `None` where every link stands alone.
    #[must_use]
    pub fn attach_point(&self) -> Option<AttachPoint> {
        let (hook, _) = self.recorded().order()?;
        Some(self.interface()?.point(hook))
    }

    /// The place among the programs of its attach point; `None` where there is none.
    #[must_use]
    pub fn priority(&self) -> Option<Priority> {
        self.recorded().order().map(|(_, priority)| priority)
    }

    /// How it shares its attach point, for the kinds whose programs share one attachment.
    #[must_use]
    pub fn membership(&self) -> Option<Membership<'_>> {
        self.recorded().membership()
    }

    /// Where a second link of the same program would do the same twice each time; `None` where that is of use, or is
    /// refused by other rules.
    #[must_use]
    pub fn once_at(&self) -> Option<String> {
        self.recorded().once_at()
    }

    /// What it is attached to, for people; its interface, if it has one, reads so.
    #[must_use]
    pub fn reads(&self, interface: &str) -> String {
        self.recorded().reads(interface)
    }

    /// The names of the verdicts after which the next program runs, for the kinds that have them.
    #[must_use]
    pub fn proceed_on(&self) -> Option<String> {
        let membership = self.membership()?;
        let table = match membership.hook {
            SharedHook::Xdp { .. } => XDP_VERDICTS,
            SharedHook::Tc { .. } => TC_VERDICTS,
        };
        Some(verdict_names(table, membership.proceed_on))
    }

    /// What was asked for, in today's words, where its interface, if it has one, is `now`. `None` for a perf event that has
    /// no name any more.
    #[must_use]
    pub fn request(&self, now: Option<&LinkInterface>) -> Option<AttachRequest> {
        let details = self.where_it_is(now);
        details.asked()
    }

    /// The words of a command line that ask for it: the kind, the program and what follows. The program's type says
    /// whether a direction has to be named.
    pub(crate) fn words(
        &self,
        now: Option<&LinkInterface>,
        program: ProgramId,
        program_type: Option<ProgramType>,
    ) -> Vec<String> {
        let directed =
            program_type.is_some_and(|program_type| program_type.expected_attach_type().is_none());
        let mut words = Words::default();
        words.add(self.kind().asked_as().name());
        words.add(&program);
        let details = self.where_it_is(now);
        details.recorded().add_words(&mut words, directed);
        words.into_inner()
    }

    fn where_it_is(&self, now: Option<&LinkInterface>) -> Cow<'_, Self> {
        match now {
            Some(now) => Cow::Owned(self.clone().at_exactly(now)),
            None => Cow::Borrowed(self),
        }
    }

    /// The same at another place, under the name that is recorded; for what is no interface, the same.
    #[must_use]
    pub fn moved_to(self, now: &LinkInterface) -> Self {
        let name = self.interface().map(|at| at.interface.clone());
        match name {
            Some(name) => self.at_exactly(&now.recorded_as(&name)),
            None => self,
        }
    }

    fn at_exactly(mut self, now: &LinkInterface) -> Self {
        if let Some(at) = self.recorded_mut().interface_mut() {
            at.clone_from(now);
        }
        self
    }
}
