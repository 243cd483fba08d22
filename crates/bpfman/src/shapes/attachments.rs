//! What programs that are not managed are attached to.

use bpfman_core::kernel;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::links::Hook;
use bpfman_core::links::LinkInterface;
use bpfman_core::types::IfIndex;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::NetnsId;
use bpfman_manager::Attachment;
use serde::Serialize;

use super::links::interface;

/// One attachment. What does not say anything of its kind is left out.
#[derive(Default, Serialize)]
pub(crate) struct AttachmentShape<'a> {
    /// `xdp`, `tc-ingress` and so on at an interface; else the kernel's name of the link's type.
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_link_id: Option<KernelLinkId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<IfIndex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nsid: Option<NetnsId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preference: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<u32>,
    /// The directory of a cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_id: Option<u64>,
    /// `enum bpf_attach_type` of `linux/bpf.h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    attach_type: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map_id: Option<MapId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// False for a link that is attached to nothing any more.
    attached: bool,
}

impl<'a> AttachmentShape<'a> {
    pub(crate) fn new(attachment: &'a Attachment) -> Self {
        match attachment {
            Attachment::Link { link, at } => Self::of_link(link, at.as_ref()),
            Attachment::Hook { hook, at } => Self::at(*hook, at),
            Attachment::Cgroup {
                path,
                id,
                attach_type,
            } => Self {
                kind: "cgroup".to_owned(),
                cgroup: Some(path.as_str()),
                cgroup_id: Some(*id),
                attach_type: Some(*attach_type),
                attached: true,
                ..Self::default()
            },
            Attachment::Filter {
                at,
                direction,
                filter,
            } => Self {
                preference: Some(filter.preference),
                handle: Some(filter.handle),
                ..Self::at(Hook::Tc(*direction), at)
            },
        }
    }

    fn at(hook: Hook, at: &'a LinkInterface) -> Self {
        Self {
            kind: hook.name().to_owned(),
            interface: Some(at.interface.as_str()),
            ifindex: Some(at.ifindex),
            netns: at.netns.as_ref().map(|path| path.as_str()),
            nsid: Some(at.nsid),
            attached: true,
            ..Self::default()
        }
    }

    fn of_link(link: &'a kernel::Link, at: Option<&'a (Hook, LinkInterface)>) -> Self {
        let base = match at {
            Some((hook, at)) => Self::at(*hook, at),
            None => Self {
                kind: link.link_type.to_string(),
                ..Self::default()
            },
        };
        let mut shape = Self {
            kernel_link_id: Some(link.id),
            attached: link.is_attached(),
            ..base
        };
        match &link.place {
            LinkPlace::Interface { ifindex } => shape.ifindex = *ifindex,
            LinkPlace::Cgroup { cgroup } => shape.cgroup_id = Some(*cgroup),
            LinkPlace::Namespace { netns } => shape.nsid = Some(*netns),
            LinkPlace::Map { map } => shape.map_id = *map,
            LinkPlace::Named { name } => shape.name = Some(name),
            LinkPlace::Unsaid => {}
        }
        shape
    }
}

/// The same as words.
pub(crate) fn words(attachment: &Attachment) -> String {
    let place =
        |hook: Hook, at: &LinkInterface| format!("{} of {}", hook.name(), interface(at, None));
    match attachment {
        Attachment::Hook { hook, at } => place(*hook, at),
        Attachment::Cgroup { path, .. } => format!("cgroup {path}"),
        Attachment::Filter {
            at,
            direction,
            filter,
        } => {
            let place = place(Hook::Tc(*direction), at);
            format!("{place} (filter of preference {})", filter.preference)
        }
        Attachment::Link { link, at } => {
            let id = link.id;
            match at {
                Some((hook, at)) => format!("{} (kernel link {id})", place(*hook, at)),
                None => format!("{}{} (kernel link {id})", link.link_type, suffix(link)),
            }
        }
    }
}

fn suffix(link: &kernel::Link) -> String {
    match &link.place {
        _ if !link.is_attached() => ", attached to nothing".to_owned(),
        LinkPlace::Interface { ifindex } => match ifindex {
            Some(ifindex) => {
                format!(" of ifindex {ifindex}, in no network namespace that is shown")
            }
            None => String::new(),
        },
        LinkPlace::Cgroup { cgroup } => format!(" of cgroup {cgroup}"),
        LinkPlace::Namespace { netns } => format!(" of network namespace {netns}"),
        LinkPlace::Map { map } => match map {
            Some(map) => format!(" of map {map}"),
            None => String::new(),
        },
        LinkPlace::Named { name } => format!(" {}", name.escape_debug()),
        LinkPlace::Unsaid => String::new(),
    }
}
