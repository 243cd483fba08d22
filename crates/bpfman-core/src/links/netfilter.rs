//! `netfilter`: a netfilter hook of a network namespace.

use alloc::format;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::AttachedTo;
use super::Recorded;
use super::words::Words;
use crate::types::AbsolutePath;
use crate::types::NetnsId;

/// A netfilter hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetfilterRequest {
    /// The protocol family.
    pub family: NetfilterFamily,
    /// The hook.
    pub hook: NetfilterHook,
    /// The place among other hooks.
    pub priority: i32,
    /// Whether fragments are put together first.
    pub defragment: bool,
    /// The file of the namespace; `None` for the process's own.
    pub netns: Option<AbsolutePath>,
}

/// A program at a netfilter hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netfilter {
    /// The protocol family.
    pub family: NetfilterFamily,
    /// The hook.
    pub hook: NetfilterHook,
    /// The place among other hooks.
    pub priority: i32,
    /// Whether fragments are put together first.
    pub defragment: bool,
    /// The file of the namespace; `None` for the process's own.
    pub netns: Option<AbsolutePath>,
    /// The namespace.
    pub nsid: NetnsId,
}

/// A protocol family with netfilter hooks: `NFPROTO_*` of `linux/netfilter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetfilterFamily {
    /// `NFPROTO_IPV4`.
    Ipv4 = 2,
    /// `NFPROTO_IPV6`.
    Ipv6 = 10,
}

/// A netfilter hook: `NF_INET_*` of `linux/netfilter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetfilterHook {
    /// `NF_INET_PRE_ROUTING`.
    PreRouting = 0,
    /// `NF_INET_LOCAL_IN`.
    LocalIn = 1,
    /// `NF_INET_FORWARD`.
    Forward = 2,
    /// `NF_INET_LOCAL_OUT`.
    LocalOut = 3,
    /// `NF_INET_POST_ROUTING`.
    PostRouting = 4,
}

impl fmt::Display for NetfilterFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

impl fmt::Display for NetfilterHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreRouting => "pre_routing",
            Self::LocalIn => "local_in",
            Self::Forward => "forward",
            Self::LocalOut => "local_out",
            Self::PostRouting => "post_routing",
        })
    }
}

impl Netfilter {
    pub(super) fn asked(&self) -> Option<NetfilterRequest> {
        Some(NetfilterRequest {
            family: self.family,
            hook: self.hook,
            priority: self.priority,
            defragment: self.defragment,
            netns: self.netns.clone(),
        })
    }
}

impl Recorded for Netfilter {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.family);
        words.add(&self.hook);
        // A negative number after a space would be an option.
        words.add(&format!("--priority={}", self.priority));
        words.flag("--defragment", self.defragment);
        words.namespace(self.netns.as_ref());
    }

    fn reads(&self, _: &str) -> String {
        format!("{} {}, priority {}", self.family, self.hook, self.priority)
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Namespace {
            netns: self.netns.as_ref(),
            nsid: self.nsid,
        }
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("netfilter {}", self.reads("")))
    }
}
