//! Network namespaces, their interfaces, and what is attached to those.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::Namespace;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::IfIndex;
use bpfman_core::types::InterfaceName;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::NetnsId;
use bpfman_core::types::ProgramId;

use crate::Errno;

/// What the revision of a hook is that nothing is attached to (`bpf_mprog_query`).
const FIRST_REVISION: u64 = 1;
/// The inode of the namespace that every process starts in.
const OWN_NAMESPACE: NetnsId = NetnsId(4_026_531_840);

/// The links of one hook, first to last.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) revision: u64,
    pub(crate) links: Vec<KernelLinkId>,
}

/// Where a filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilterKey {
    /// The namespace and the interface in it.
    pub interface: (NetnsId, IfIndex),
    /// Which way packets go.
    pub direction: Direction,
    /// Its preference among other filters.
    pub preference: u32,
    /// Its handle under that preference.
    pub handle: u32,
}

/// All namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    files: BTreeMap<AbsolutePath, NetnsId>,
    interfaces: BTreeMap<(NetnsId, IfIndex), InterfaceName>,
    hooks: BTreeMap<AttachPoint, Order>,
    /// The interfaces that have the queueing discipline for filters.
    pub(crate) clsact: BTreeSet<(NetnsId, IfIndex)>,
    /// The interfaces that have another one in its place.
    pub(crate) ingress_qdiscs: BTreeSet<(NetnsId, IfIndex)>,
    pub(crate) filters: BTreeMap<FilterKey, ProgramId>,
    pub(crate) next_namespace: u64,
    pub(crate) next_interface: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            hooks: BTreeMap::new(),
            clsact: BTreeSet::new(),
            ingress_qdiscs: BTreeSet::new(),
            filters: BTreeMap::new(),
            next_namespace: OWN_NAMESPACE.0 + 1,
            next_interface: 1,
        }
    }
}

impl Default for Order {
    fn default() -> Self {
        Self {
            revision: FIRST_REVISION,
            links: Vec::new(),
        }
    }
}

/// The hook that the kernel has for one of ours: TC's programs stand in TCX's order.
pub(crate) fn kernel_hook(hook: Hook) -> Hook {
    match hook {
        Hook::Tc(direction) => Hook::Tcx(direction),
        other => other,
    }
}

impl Network {
    /// The namespace of a file; the one of every process without a file.
    pub(crate) fn namespace(&self, path: Option<&AbsolutePath>) -> Result<NetnsId, Errno> {
        let Some(path) = path else {
            return Ok(OWN_NAMESPACE);
        };
        self.files.get(path).copied().ok_or(Errno::NotFound)
    }

    /// Enters the namespace that is meant, and no other.
    pub(crate) fn enter(&self, netns: &Namespace) -> Result<NetnsId, KernelError> {
        let Some(path) = &netns.path else {
            return Ok(OWN_NAMESPACE);
        };
        let found = self.namespace(Some(path));
        let found = found.map_err(|errno| errno.refusal(format!("network namespace {path}")))?;
        if found != netns.id {
            let message = format!(
                "network namespace {path} is now another one ({found}, not {})",
                netns.id
            );
            return Err(KernelError::new(KernelErrorKind::NotFound, message));
        }
        Ok(found)
    }

    /// An interface in the namespace that is meant; `None` when it is gone.
    pub(crate) fn place(
        &self,
        interface: &InterfaceTarget,
    ) -> Result<Option<(NetnsId, IfIndex)>, KernelError> {
        let place = (self.enter(&interface.netns)?, interface.ifindex);
        Ok(self.interfaces.contains_key(&place).then_some(place))
    }

    /// The hook of an interface; `None` when the interface is gone.
    pub(crate) fn point(
        &self,
        interface: &InterfaceTarget,
        hook: Hook,
    ) -> Result<Option<AttachPoint>, KernelError> {
        let place = self.place(interface)?;
        Ok(place.map(|(nsid, ifindex)| AttachPoint {
            hook: kernel_hook(hook),
            nsid,
            ifindex,
        }))
    }

    /// What stands at a hook.
    pub(crate) fn order(&self, point: &AttachPoint) -> Order {
        self.hooks.get(point).cloned().unwrap_or_default()
    }

    /// Puts a link before another, or last.
    pub(crate) fn insert(
        &mut self,
        point: AttachPoint,
        link: KernelLinkId,
        before: Option<KernelLinkId>,
    ) {
        let order = self.hooks.entry(point).or_default();
        let at = order.links.iter().position(|other| Some(*other) == before);
        order.links.insert(at.unwrap_or(order.links.len()), link);
        order.revision += 1;
    }

    /// Takes a link from its hook; whether it stood at one.
    pub(crate) fn remove(&mut self, link: KernelLinkId) -> bool {
        let mut removed = false;
        for order in self.hooks.values_mut() {
            if let Some(at) = order.links.iter().position(|other| *other == link) {
                order.links.remove(at);
                order.revision += 1;
                removed = true;
            }
        }
        // The kernel forgets the revision with the last program.
        self.hooks.retain(|_, order| !order.links.is_empty());
        removed
    }

    /// A link at a hook was given another program.
    pub(crate) fn swapped(&mut self, link: KernelLinkId) {
        let mut orders = self.hooks.values_mut();
        if let Some(order) = orders.find(|order| order.links.contains(&link)) {
            order.revision += 1;
        }
    }

    /// The other links at the hook of a link.
    pub(crate) fn neighbours(&self, link: KernelLinkId) -> impl Iterator<Item = KernelLinkId> {
        let mut orders = self.hooks.values();
        let order = orders.find(|order| order.links.contains(&link));
        let links = order.into_iter().flat_map(|order| &order.links);
        links.copied().filter(move |other| *other != link)
    }

    /// The hooks at which something stands.
    pub(crate) fn hooks(&self) -> BTreeMap<AttachPoint, Vec<KernelLinkId>> {
        let hooks = self.hooks.iter();
        hooks
            .map(|(at, order)| (*at, order.links.clone()))
            .collect()
    }

    /// Every link that stands at a hook.
    pub(crate) fn links(&self) -> Vec<KernelLinkId> {
        self.hooks
            .values()
            .flat_map(|order| order.links.clone())
            .collect()
    }

    /// Makes a namespace with a file, in place of the one that the file named.
    pub(crate) fn add_namespace(&mut self, path: &AbsolutePath) -> NetnsId {
        let id = NetnsId(self.next_namespace);
        self.next_namespace += 1;
        self.files.insert(path.clone(), id);
        id
    }

    /// Removes a namespace with its interfaces; answers the links that stood at them.
    pub(crate) fn remove_namespace(
        &mut self,
        path: &AbsolutePath,
    ) -> Result<(NetnsId, Vec<KernelLinkId>), Errno> {
        let id = self.files.remove(path).ok_or(Errno::NotFound)?;
        let of_namespace = self.interfaces.keys().filter(|(nsid, _)| *nsid == id);
        let indexes: Vec<_> = of_namespace.copied().collect();
        let links = indexes.into_iter().flat_map(|key| self.drop_interface(key));
        Ok((id, links.collect()))
    }

    pub(crate) fn add_interface(&mut self, nsid: NetnsId, name: InterfaceName) -> IfIndex {
        while self
            .interfaces
            .contains_key(&(nsid, IfIndex(self.next_interface)))
        {
            self.next_interface += 1;
        }
        let index = IfIndex(self.next_interface);
        self.next_interface += 1;
        self.interfaces.insert((nsid, index), name);
        index
    }

    /// Removes an interface; answers the links that stood at it.
    pub(crate) fn remove_interface(
        &mut self,
        nsid: NetnsId,
        name: &InterfaceName,
    ) -> Result<Vec<KernelLinkId>, Errno> {
        let index = self.interface(nsid, name).ok_or(Errno::NoDevice)?;
        Ok(self.drop_interface((nsid, index)))
    }

    fn drop_interface(&mut self, key: (NetnsId, IfIndex)) -> Vec<KernelLinkId> {
        self.interfaces.remove(&key);
        self.clsact.remove(&key);
        self.ingress_qdiscs.remove(&key);
        self.filters.retain(|filter, _| filter.interface != key);
        let here = |point: &AttachPoint| (point.nsid, point.ifindex) == key;
        let hooks = self.hooks.iter().filter(|(point, _)| here(point));
        let links = hooks.flat_map(|(_, order)| order.links.clone()).collect();
        self.hooks.retain(|point, _| !here(point));
        links
    }

    /// The index of an interface.
    pub(crate) fn interface(&self, nsid: NetnsId, name: &InterfaceName) -> Option<IfIndex> {
        let mut interfaces = self.interfaces.iter();
        let found = interfaces.find(|((of, _), other)| *of == nsid && *other == name);
        found.map(|((_, index), _)| *index)
    }

    /// Gives an interface another name.
    pub(crate) fn rename(
        &mut self,
        nsid: NetnsId,
        name: &InterfaceName,
        new: InterfaceName,
    ) -> Result<(), Errno> {
        let index = self.interface(nsid, name).ok_or(Errno::NoDevice)?;
        self.interfaces.insert((nsid, index), new);
        Ok(())
    }

    /// Takes an interface to another namespace, with the links that stand at it. It keeps its index where that is free; its
    /// queueing disciplines and their filters end (`dev_change_net_namespace` of the kernel). Answers its index before and
    /// after, and its links.
    pub(crate) fn transfer(
        &mut self,
        from: NetnsId,
        name: &InterfaceName,
        to: NetnsId,
    ) -> Result<(IfIndex, Vec<KernelLinkId>), Errno> {
        let old = self.interface(from, name).ok_or(Errno::NoDevice)?;
        if self.interface(to, name).is_some() {
            return Err(Errno::Exists);
        }
        self.interfaces.remove(&(from, old));
        let new = match self.interfaces.contains_key(&(to, old)) {
            true => self.add_interface(to, name.clone()),
            false => old,
        };
        self.interfaces.insert((to, new), name.clone());
        self.clsact.remove(&(from, old));
        self.filters
            .retain(|filter, _| filter.interface != (from, old));
        let mut moved = Vec::new();
        for (point, order) in core::mem::take(&mut self.hooks) {
            let here = (point.nsid, point.ifindex) == (from, old);
            let point = match here {
                true => AttachPoint {
                    nsid: to,
                    ifindex: new,
                    ..point
                },
                false => point,
            };
            moved.extend(order.links.iter().copied().filter(|_| here));
            self.hooks.insert(point, order);
        }
        Ok((new, moved))
    }

    /// The namespaces that have files.
    pub(crate) fn files(&self) -> BTreeMap<NetnsId, AbsolutePath> {
        let files = self.files.iter();
        files.map(|(path, id)| (*id, path.clone())).collect()
    }

    /// A namespace's interfaces.
    pub(crate) fn interfaces_of(
        &self,
        nsid: NetnsId,
    ) -> impl Iterator<Item = (IfIndex, &InterfaceName)> {
        let here = self
            .interfaces
            .iter()
            .filter(move |((of, _), _)| *of == nsid);
        here.map(|((_, index), name)| (*index, name))
    }
}
