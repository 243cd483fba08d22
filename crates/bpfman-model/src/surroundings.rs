//! What changes around bpfman: devices that come and go, and others who attach programs.

use bpfman_core::action::AttachTarget;
use bpfman_core::action::KernelAction;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelLinkType;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::target::UsdtProbe;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::IfIndex;
use bpfman_core::types::InterfaceName;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::NetnsId;

use crate::Errno;
use crate::World;
use crate::attach;
use crate::links;
use crate::network::FilterKey;
use crate::objects::ProcessId;
use crate::state::Meddler;
use crate::state::Shared;
use crate::state::State;

fn all_lose_places(state: &mut State, links: &[KernelLinkId]) {
    for id in links {
        state.objects.links.get_mut(id).map(links::lose_place);
    }
}

impl World {
    /// Makes a network namespace with a file. When the file named one, it names the new one from now on, and the
    /// old one lives without a file.
    pub fn add_namespace(&self, path: &AbsolutePath) -> NetnsId {
        self.state().borrow_mut().network.add_namespace(path)
    }

    /// Removes a network namespace with its interfaces. Links to them stay, without a place.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_namespace(&self, path: &AbsolutePath) -> Result<(), Errno> {
        let state = &mut *self.state().borrow_mut();
        let (id, links) = state.network.remove_namespace(path)?;
        all_lose_places(state, &links);
        let here = LinkPlace::Namespace { netns: id };
        let links = state.objects.links.values_mut();
        links
            .filter(|link| link.place == here)
            .for_each(links::lose_place);
        Ok(())
    }

    /// Makes an interface in the namespace of a file; in that of every process without one.
    ///
    /// # Errors
    /// When there is no such namespace, or one of this name is there.
    pub fn add_interface(
        &self,
        netns: Option<&AbsolutePath>,
        name: &InterfaceName,
    ) -> Result<IfIndex, Errno> {
        let network = &mut self.state().borrow_mut().network;
        let nsid = network.namespace(netns)?;
        match network.interface(nsid, name) {
            Some(_) => Err(Errno::Exists),
            None => Ok(network.add_interface(nsid, name.clone())),
        }
    }

    /// Removes an interface. Links to it stay, without a place.
    ///
    /// # Errors
    /// When there is no such namespace or interface.
    pub fn remove_interface(
        &self,
        netns: Option<&AbsolutePath>,
        name: &InterfaceName,
    ) -> Result<(), Errno> {
        let state = &mut *self.state().borrow_mut();
        let nsid = state.network.namespace(netns)?;
        let links = state.network.remove_interface(nsid, name)?;
        all_lose_places(state, &links);
        Ok(())
    }

    /// Gives an interface the queueing discipline `ingress`, which has the place of clsact.
    ///
    /// # Errors
    /// When there is no such namespace or interface.
    pub fn add_ingress_qdisc(
        &self,
        netns: Option<&AbsolutePath>,
        name: &InterfaceName,
    ) -> Result<(), Errno> {
        let network = &mut self.state().borrow_mut().network;
        let nsid = network.namespace(netns)?;
        let index = network.interface(nsid, name).ok_or(Errno::NoDevice)?;
        network.ingress_qdiscs.insert((nsid, index));
        Ok(())
    }

    /// Gives an interface another name.
    ///
    /// # Errors
    /// When there is no such namespace or interface.
    pub fn rename_interface(
        &self,
        netns: Option<&AbsolutePath>,
        name: &InterfaceName,
        new: &InterfaceName,
    ) -> Result<(), Errno> {
        let network = &mut self.state().borrow_mut().network;
        let nsid = network.namespace(netns)?;
        network.rename(nsid, name, new.clone())
    }

    /// Takes an interface to another namespace. Its links go with it; its filters end.
    ///
    /// # Errors
    /// When there is no such namespace or interface, or one of its name is there.
    pub fn move_interface(
        &self,
        from: Option<&AbsolutePath>,
        name: &InterfaceName,
        to: Option<&AbsolutePath>,
    ) -> Result<IfIndex, Errno> {
        let state = &mut *self.state().borrow_mut();
        let (from, to) = (state.network.namespace(from)?, state.network.namespace(to)?);
        let (index, links) = state.network.transfer(from, name, to)?;
        for id in links {
            if let Some(link) = state.objects.links.get_mut(&id) {
                link.place = LinkPlace::Interface {
                    ifindex: Some(index),
                };
            }
        }
        state.sweep();
        Ok(index)
    }

    /// Somebody removes a filter (`tc filter del`).
    pub fn remove_filter(&self, key: &FilterKey) {
        let state = &mut *self.state().borrow_mut();
        state.network.filters.remove(key);
        state.sweep();
    }

    /// Sets the inode that the next namespace gets: this is how inodes are recycled.
    pub fn set_next_namespace(&self, id: NetnsId) {
        self.state().borrow_mut().network.next_namespace = id.0;
    }

    /// Sets the index that the next interface gets, or the next free one after it.
    pub fn set_next_interface(&self, index: IfIndex) {
        self.state().borrow_mut().network.next_interface = index.0;
    }

    /// Sets the id that the next link gets, or the next free one after it.
    pub fn set_next_link_id(&self, id: KernelLinkId) {
        self.state().borrow_mut().objects.next_link = id.0;
    }

    /// Adds a tracepoint, also as a raw one.
    pub fn add_tracepoint(&self, group: &str, name: &str, id: u64) {
        let catalogue = &mut self.state().borrow_mut().catalogue;
        catalogue.raw_tracepoints.insert(name.to_owned());
        catalogue
            .tracepoints
            .insert((group.to_owned(), name.to_owned()), id);
    }

    /// Adds a function to the kernel.
    pub fn add_function(&self, name: &str, traceable: bool) {
        let functions = &mut self.state().borrow_mut().catalogue.functions;
        functions.insert(name.to_owned(), traceable);
    }

    /// Adds a function to a file.
    pub fn add_file_function(&self, path: &AbsolutePath, name: &str, offset: u64) {
        let functions = &mut self.state().borrow_mut().catalogue.file_functions;
        functions.insert((path.clone(), name.to_owned()), offset);
    }

    /// Adds a probe that a file's author placed.
    pub fn add_probe(&self, path: &AbsolutePath, provider: &str, name: &str, probe: UsdtProbe) {
        let key = (path.clone(), provider.to_owned(), name.to_owned());
        let probes = &mut self.state().borrow_mut().catalogue.probes;
        probes.insert(key, probe);
    }

    /// Adds a cgroup.
    pub fn add_cgroup(&self, path: &AbsolutePath, id: u64) {
        let cgroups = &mut self.state().borrow_mut().catalogue.cgroups;
        cgroups.insert(path.clone(), id);
    }

    /// Removes a cgroup. Links to it stay, without a place.
    pub fn remove_cgroup(&self, path: &AbsolutePath) {
        let state = &mut *self.state().borrow_mut();
        let Some(cgroup) = state.catalogue.cgroups.remove(path) else {
            return;
        };
        let here = LinkPlace::Cgroup { cgroup };
        let links = state.objects.links.values_mut();
        links
            .filter(|link| link.place == here)
            .for_each(links::lose_place);
    }

    /// From now on the kernel has no links of this type.
    pub fn lack(&self, link_type: KernelLinkType) {
        self.state().borrow_mut().lacking.push(link_type);
    }

    /// From now on the kernel refuses extensions, as a lockdown does.
    pub fn lock_down(&self) {
        self.state().borrow_mut().locked_down = true;
    }

    /// From now on the verifier refuses programs out of more instructions than this.
    pub fn limit_instructions(&self, most: usize) {
        self.state().borrow_mut().most_instructions = Some(most);
    }

    /// Somebody else attaches a program, and holds the link.
    ///
    /// # Errors
    /// As the kernel refuses it.
    pub fn attach_foreign(
        &self,
        program: ProgramIdentity,
        target: &AttachTarget,
    ) -> Result<KernelLinkId, KernelError> {
        let state = &mut *self.state().borrow_mut();
        attach::attach(state, ProcessId::FOREIGN, program.id, target)
    }

    /// Somebody else opens a link by its id, and holds it.
    pub fn hold_foreign(&self, link: KernelLinkId) {
        let objects = &mut self.state().borrow_mut().objects;
        objects.held(ProcessId::FOREIGN).links.insert(link);
    }

    /// Somebody else lets go of a link.
    pub fn release_foreign(&self, link: KernelLinkId) {
        let state = &mut *self.state().borrow_mut();
        state.objects.held(ProcessId::FOREIGN).links.remove(&link);
        state.sweep();
    }

    /// Somebody else detaches a link of a type that can be detached, whoever holds it.
    pub fn detach_foreign(&self, link: KernelLinkId) {
        let state = &mut *self.state().borrow_mut();
        links::cut(state, link);
        state.sweep();
    }

    /// Somebody else gives a link another program.
    pub fn swap_foreign(&self, link: KernelLinkId, program: ProgramIdentity) {
        let state = &mut *self.state().borrow_mut();
        if let Some(found) = state.objects.links.get_mut(&link) {
            found.program = program.id;
        }
        state.network.swapped(link);
        state.sweep();
    }

    /// Lets somebody else act before each action of ours on the kernel.
    pub fn meddle(&self, mut meddler: impl FnMut(&Self, &KernelAction) + 'static) {
        let meddle = move |state: &Shared, action: &KernelAction| {
            meddler(&Self::of(Shared::clone(state)), action);
        };
        self.state().borrow_mut().meddler = Some(Meddler(Box::new(meddle)));
    }
}
