//! What programs that we do not manage are attached to, as far as the kernel tells: by links; by netlink, which makes none
//! (`ip link`, `tc`); in the order of TCX without a link (`bpftool net attach`); and to cgroups (`bpftool cgroup attach`).
//! Attachments to a map of sockets or a perf event without a link are in no list.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::kernel;
use bpfman_core::kernel::Interface;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::kernel::ProgramFilter;
use bpfman_core::links::Hook;
use bpfman_core::links::LinkInterface;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_interpreter::targets::TargetError;

use crate::Manager;
use crate::whereabouts::Networks;
use crate::whereabouts::is_gone;

/// The hooks of an interface that the kernel keeps in order.
const ORDERED: [Hook; 4] = [
    Hook::Tcx(Direction::Ingress),
    Hook::Tcx(Direction::Egress),
    Hook::Netkit { peer: false },
    Hook::Netkit { peer: true },
];

/// What a program is attached to.
#[derive(Clone, Debug)]
pub enum Attachment {
    /// By a link.
    Link {
        /// The link.
        link: kernel::Link,
        /// Its hook and its interface, where they were found.
        at: Option<(Hook, LinkInterface)>,
    },
    /// To a hook of an interface, without a link.
    Hook {
        /// The hook.
        hook: Hook,
        /// The interface.
        at: LinkInterface,
    },
    /// To a cgroup, without a link.
    Cgroup {
        /// Its directory.
        path: AbsolutePath,
        /// Its id.
        id: u64,
        /// `enum bpf_attach_type` of `linux/bpf.h`.
        attach_type: u32,
    },
    /// By a filter.
    Filter {
        /// The interface.
        at: LinkInterface,
        /// Which way packets go.
        direction: Direction,
        /// The filter.
        filter: ProgramFilter,
    },
}

/// What has been found of some programs.
pub(crate) struct Found<'a> {
    programs: &'a BTreeSet<ProgramId>,
    /// Their attachments.
    pub(crate) attachments: BTreeMap<ProgramId, Vec<Attachment>>,
    /// Why some are missing.
    pub(crate) refused: Vec<KernelError>,
}

impl Found<'_> {
    fn add(&mut self, program: ProgramId, attachment: Attachment) {
        if self.programs.contains(&program) {
            self.attachments
                .entry(program)
                .or_default()
                .push(attachment);
        }
    }

    /// A program at a hook: by a link that is known and has no interface yet, or by none.
    fn place(
        &mut self,
        program: ProgramId,
        hook: Hook,
        at: LinkInterface,
        is_it: impl Fn(&kernel::Link) -> bool,
    ) {
        let known = self.attachments.get_mut(&program).into_iter().flatten();
        let mut places = known.filter_map(|attachment| match attachment {
            Attachment::Link { link, at } if at.is_none() && is_it(link) => Some(at),
            _ => None,
        });
        match places.next() {
            Some(place) => *place = Some((hook, at)),
            None => self.add(program, Attachment::Hook { hook, at }),
        }
    }

    /// A program at a cgroup. The kernel lists those of links, too.
    fn at_cgroup(&mut self, program: ProgramId, path: &AbsolutePath, id: u64, attach_type: u32) {
        let here = LinkPlace::Cgroup { cgroup: id };
        let mut known = self.attachments.get(&program).into_iter().flatten();
        let linked = known.any(
            |attachment| matches!(attachment, Attachment::Link { link, .. } if link.place == here),
        );
        if !linked {
            let path = path.clone();
            self.add(
                program,
                Attachment::Cgroup {
                    path,
                    id,
                    attach_type,
                },
            );
        }
    }

    /// Takes an answer; what has gone while it was looked for is no refusal.
    fn take<T>(&mut self, answer: Result<T, TargetError>) -> Option<T> {
        match answer {
            Ok(found) => Some(found),
            Err(error) => {
                if !is_gone(&error) {
                    let kind = KernelErrorKind::Other;
                    self.refused.push(KernelError::new(kind, error.to_string()));
                }
                None
            }
        }
    }
}

impl Manager<'_> {
    /// What these programs are attached to, which we do not manage. The types of the kernel that they are of say where to
    /// look.
    pub(crate) fn attachments<'a>(
        &mut self,
        programs: &'a BTreeSet<ProgramId>,
        types: &BTreeSet<KernelProgramType>,
    ) -> Found<'a> {
        let ordered = types.contains(&KernelProgramType::SCHED_CLS);
        let mut found = Found {
            programs,
            attachments: BTreeMap::new(),
            refused: Vec::new(),
        };
        match self.kernel.links() {
            Ok(links) => {
                for link in links {
                    found.add(link.program, Attachment::Link { link, at: None });
                }
            }
            Err(error) => found.refused.push(error),
        }
        let attach_types: Vec<u32> = types
            .iter()
            .flat_map(|of_kernel| ProgramType::cgroup_attach_types(*of_kernel))
            .collect();
        if !attach_types.is_empty() {
            self.find_at_cgroups(&attach_types, &mut found);
        }
        let mut networks = Networks::default();
        let own = found.take(self.targets.namespace(None));
        let mut places = vec![None];
        match self.visible(&mut networks) {
            Ok(others) => {
                let others = others.iter().filter(|(id, _)| Some(**id) != own);
                places.extend(others.map(|(_, path)| Some(path.clone())));
            }
            Err(error) => {
                let kind = KernelErrorKind::Other;
                found
                    .refused
                    .push(KernelError::new(kind, error.to_string()));
            }
        }
        for path in places {
            let Some(namespace) = found.take(self.targets.interfaces(path.as_ref())) else {
                continue;
            };
            let filters = found.take(self.targets.filters(path.as_ref()));
            for (ifindex, direction, filter) in filters.unwrap_or_default() {
                if let Some(interface) = namespace.at(ifindex) {
                    let at = LinkInterface::found(&namespace, interface);
                    let program = filter.program;
                    let filter = Attachment::Filter {
                        at,
                        direction,
                        filter,
                    };
                    found.add(program, filter);
                }
            }
            for interface in &namespace.interfaces {
                let at = LinkInterface::found(&namespace, interface);
                find_xdp(interface, &at, &mut found);
                if ordered {
                    self.find_ordered(&at, &mut found);
                }
            }
        }
        found
    }

    /// What is attached to cgroups in one of these ways without a link.
    fn find_at_cgroups(&mut self, attach_types: &[u32], found: &mut Found<'_>) {
        let cgroups = found.take(self.targets.cgroups());
        for (path, id) in cgroups.unwrap_or_default() {
            for attach_type in attach_types {
                match self.kernel.cgroup_programs(&path, *attach_type) {
                    Ok(programs) => {
                        for program in programs {
                            found.at_cgroup(program, &path, id, *attach_type);
                        }
                    }
                    Err(error) if has_no_hook(&error) => {}
                    Err(error) => {
                        found.refused.push(error);
                        return;
                    }
                }
            }
        }
    }

    /// What is in the orders of one interface.
    fn find_ordered(&mut self, at: &LinkInterface, found: &mut Found<'_>) {
        for hook in ORDERED {
            match self.kernel.attached(&at.target(), hook) {
                Ok(order) => {
                    for member in order.members {
                        let id: Option<KernelLinkId> = member.link;
                        let is_it = |link: &kernel::Link| Some(link.id) == id;
                        found.place(member.program, hook, at.clone(), is_it);
                    }
                }
                // It may be no netkit device, too.
                Err(error) if has_no_hook(&error) => {}
                Err(error) => found.refused.push(error),
            }
        }
    }
}

/// Whether what was asked has gone meanwhile, or the kernel has no such hook there.
fn has_no_hook(error: &KernelError) -> bool {
    matches!(
        error.kind,
        KernelErrorKind::NotFound | KernelErrorKind::Unsupported
    )
}

/// The XDP programs of one interface. Netlink does not say which link a program has, but it is there only once.
fn find_xdp(interface: &Interface, at: &LinkInterface, found: &mut Found<'_>) {
    let here = LinkPlace::Interface {
        ifindex: Some(interface.ifindex),
    };
    for program in &interface.xdp {
        let is_it = |link: &kernel::Link| link.link_type.is_xdp() && link.place == here;
        found.place(*program, Hook::Xdp, at.clone(), is_it);
    }
}
