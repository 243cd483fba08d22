//! Where interfaces are now. The kernel says of a link which index its interface has, and nothing of the namespace.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use bpfman_core::compute::Target;
use bpfman_core::compute::Whereabouts;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::kernel::NetworkNamespace;
use bpfman_core::kernel::PinState;
use bpfman_core::links::AttachedTo;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::Namespace;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::IfIndex;
use bpfman_core::types::NetnsId;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::targets::TargetError;

use crate::Manager;
use crate::ManagerError;

/// The network namespaces that an operation has looked at, each once.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    opened: BTreeMap<Option<AbsolutePath>, Option<Rc<NetworkNamespace>>>,
    visible: Option<Rc<BTreeMap<NetnsId, AbsolutePath>>>,
    /// The interfaces that records speak of: one that is recorded belongs to its record.
    recorded: BTreeSet<(Hook, NetnsId, IfIndex)>,
}

impl Networks {
    /// With what the attach points of the records are.
    pub(crate) fn of<S: ReaderStore + ?Sized>(store: &S) -> Result<Self, ManagerError> {
        let recorded = store.dispatchers()?;
        let recorded = recorded.iter().map(Dispatcher::point);
        Ok(Self {
            recorded: recorded
                .map(|point| (point.hook, point.nsid, point.ifindex))
                .collect(),
            ..Self::default()
        })
    }
}

impl Manager<'_> {
    /// A namespace, when it is the one that is meant; `None` when it is gone from its path.
    fn namespace_at(
        &self,
        path: Option<&AbsolutePath>,
        id: NetnsId,
        networks: &mut Networks,
    ) -> Result<Option<Rc<NetworkNamespace>>, TargetError> {
        let key = path.cloned();
        let opened = match networks.opened.get(&key) {
            Some(opened) => opened.clone(),
            None => {
                let opened = match self.targets.interfaces(path) {
                    Ok(found) => Some(Rc::new(found)),
                    Err(error) if is_gone(&error) => None,
                    Err(error) => return Err(error),
                };
                networks.opened.insert(key, opened.clone());
                opened
            }
        };
        Ok(opened.filter(|found| found.id == id))
    }

    /// Every namespace that something shows.
    pub(crate) fn visible(
        &self,
        networks: &mut Networks,
    ) -> Result<Rc<BTreeMap<NetnsId, AbsolutePath>>, ManagerError> {
        if let Some(visible) = &networks.visible {
            return Ok(Rc::clone(visible));
        }
        let visible = Rc::new(self.targets.namespaces()?);
        networks.visible = Some(Rc::clone(&visible));
        Ok(visible)
    }

    /// A namespace: by the path that is recorded, or by any other.
    fn namespace_of(
        &self,
        at: Option<&AbsolutePath>,
        id: NetnsId,
        networks: &mut Networks,
    ) -> Result<Option<Rc<NetworkNamespace>>, ManagerError> {
        for path in [at, None] {
            if let Some(found) = self.namespace_at(path, id, networks)? {
                return Ok(Some(found));
            }
        }
        match self.visible(networks)?.get(&id) {
            Some(path) => Ok(self.namespace_at(Some(path), id, networks)?),
            None => Ok(None),
        }
    }

    /// Whether a link stands at an interface of this index. XDP names the program only.
    fn stands_in(
        &mut self,
        namespace: &NetworkNamespace,
        ifindex: IfIndex,
        hook: Hook,
        link: &kernel::Link,
    ) -> Result<bool, ManagerError> {
        let Some(interface) = namespace.at(ifindex) else {
            return Ok(false);
        };
        if hook == Hook::Xdp {
            return Ok(interface.xdp.contains(&link.program));
        }
        let target = InterfaceTarget {
            netns: Namespace {
                path: namespace.path.clone(),
                id: namespace.id,
            },
            ifindex,
        };
        match self.kernel.attached(&target, hook) {
            Ok(order) => Ok(order.members.iter().any(|one| one.link == Some(link.id))),
            // It has gone meanwhile, or never was a netkit device.
            Err(error)
                if matches!(
                    error.kind,
                    KernelErrorKind::NotFound | KernelErrorKind::Unsupported
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where the interface of a link is; `None` when the link is attached to none any more.
    pub(crate) fn whereabouts(
        &mut self,
        at: &LinkInterface,
        hook: Hook,
        link: &kernel::Link,
        networks: &mut Networks,
    ) -> Result<Option<Whereabouts>, ManagerError> {
        let LinkPlace::Interface {
            ifindex: Some(ifindex),
        } = link.place
        else {
            return Ok(None);
        };
        let found = |namespace: &NetworkNamespace| {
            let interface = namespace.at(ifindex);
            interface.map(|interface| LinkInterface::found(namespace, interface))
        };
        if let Some(home) = self.namespace_of(at.netns.as_ref(), at.nsid, networks)?
            && self.stands_in(&home, ifindex, hook, link)?
            && let Some(now) = found(&home)
        {
            return Ok(Some(match now.is_at(at) {
                true => Whereabouts::Here(now),
                false => Whereabouts::Moved(now),
            }));
        }
        let mut candidates = Vec::new();
        let own = self.targets.namespace(None)?;
        let others = self.visible(networks)?;
        let others = others.iter().filter(|(id, _)| **id != own);
        let others = others.map(|(id, path)| (*id, Some(path)));
        for (id, path) in std::iter::once((own, None)).chain(others) {
            let known = networks.recorded.contains(&(hook, id, ifindex));
            if id == at.nsid || known {
                continue;
            }
            if let Some(namespace) = self.namespace_at(path, id, networks)?
                && self.stands_in(&namespace, ifindex, hook, link)?
            {
                candidates.extend(found(&namespace));
            }
        }
        Ok(Some(match (candidates.pop(), candidates.is_empty()) {
            (Some(now), true) => Whereabouts::Moved(now),
            _ => Whereabouts::Hidden(ifindex),
        }))
    }

    /// Where what runs at an attach point is.
    pub(crate) fn whereabouts_of_point(
        &mut self,
        dispatcher: &Dispatcher,
        networks: &mut Networks,
    ) -> Result<Option<Whereabouts>, ManagerError> {
        let (at, hook) = (&dispatcher.at, dispatcher.hook.hook());
        let Some((id, path)) = dispatcher.link() else {
            // A filter does not move with its interface: it ends.
            let home = self.namespace_of(at.netns.as_ref(), at.nsid, networks)?;
            let now = home.and_then(|home| {
                let interface = home.at(at.ifindex)?;
                Some(LinkInterface::found(&home, interface))
            });
            return Ok(now.map(Whereabouts::Here));
        };
        let found = match self.kernel.pin_state(path, Detail::Info)? {
            PinState::Link(found) if found.id == id => Some(found),
            _ => self.kernel.link(id)?,
        };
        match found {
            Some(found) => self.whereabouts(at, hook, &found, networks),
            None => Ok(None),
        }
    }

    /// Whether what an attach point ran runs at this interface.
    pub(crate) fn runs_here(
        &mut self,
        dispatcher: &Dispatcher,
        at: &LinkInterface,
        networks: &mut Networks,
    ) -> Result<bool, ManagerError> {
        let Some((_, path)) = dispatcher.link() else {
            return Ok(false);
        };
        let PinState::Link(found) = self.kernel.pin_state(path, Detail::Info)? else {
            return Ok(false);
        };
        match self.namespace_at(at.netns.as_ref(), at.nsid, networks)? {
            Some(here) => self.stands_in(&here, at.ifindex, dispatcher.hook.hook(), &found),
            None => Ok(false),
        }
    }

    /// Where the interface of a link that stands alone is.
    pub(crate) fn whereabouts_of_link(
        &mut self,
        link: &Link,
        found: &kernel::Link,
        networks: &mut Networks,
    ) -> Result<Option<Whereabouts>, ManagerError> {
        match (link.details.interface(), link.details.attach_point()) {
            (Some(at), Some(point)) => self.whereabouts(at, point.hook, found, networks),
            _ => Ok(None),
        }
    }

    /// What became of an interface of a record.
    pub(crate) fn target_interface(
        &mut self,
        at: &LinkInterface,
        networks: &mut Networks,
    ) -> Result<Target, ManagerError> {
        let Some(home) = self.namespace_of(at.netns.as_ref(), at.nsid, networks)? else {
            return Ok(Target::NamespaceGone);
        };
        Ok(match home.at(at.ifindex) {
            Some(interface) => Target::Present(Some(LinkInterface::found(&home, interface))),
            None => Target::InterfaceGone {
                namesake: home
                    .find(at.interface.as_str())
                    .map(|interface| interface.ifindex),
            },
        })
    }

    /// What became of what a link was attached to.
    pub(crate) fn target_of(
        &mut self,
        link: &Link,
        program: Option<&Program>,
        networks: &mut Networks,
    ) -> Result<Target, ManagerError> {
        let pinned = |manager: &mut Self, path: Option<&AbsolutePath>| match path {
            Some(path) => match manager.kernel.pin_state(path, Detail::Info)? {
                PinState::Map(_) => Ok(Target::Present(None)),
                _ => Ok::<_, ManagerError>(Target::MapGone),
            },
            None => Ok(Target::MapGone),
        };
        match link.details.attached_to() {
            AttachedTo::Interface(at) => self.target_interface(at, networks),
            AttachedTo::Namespace { netns, nsid } => {
                match self.namespace_of(netns, nsid, networks)? {
                    Some(_) => Ok(Target::Present(None)),
                    None => Ok(Target::NamespaceGone),
                }
            }
            AttachedTo::Cgroup { path, id } => Ok(match self.targets.cgroup(path) {
                Ok(found) if found == id => Target::Present(None),
                Err(error) if !is_gone(&error) => return Err(error.into()),
                _ => Target::CgroupGone,
            }),
            AttachedTo::Map(name) => {
                let maps = program.into_iter().flat_map(|program| &program.maps);
                let mut maps = maps.filter(|map| map.name == *name);
                let path = maps.next().and_then(|map| map.pin_path.clone());
                pinned(self, path.as_ref())
            }
            AttachedTo::Pin(path) => pinned(self, Some(path)),
            AttachedTo::Unnamed => Ok(Target::Present(None)),
        }
    }
}

/// Whether something was looked for and is not there; what may not be looked at is not gone.
pub(crate) fn is_gone(error: &TargetError) -> bool {
    match error {
        TargetError::NotANamespace { .. } | TargetError::NotACgroup { .. } => true,
        TargetError::System { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
