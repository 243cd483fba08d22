//! Attach.

use bpfman_core::action::Action;
use bpfman_core::action::Plan;
use bpfman_core::action::StoreAction;
use bpfman_core::compute::AttachFacts;
use bpfman_core::compute::AttachRefusal;
use bpfman_core::compute::AttachSnapshot;
use bpfman_core::compute::Change;
use bpfman_core::compute::InterfaceFacts;
use bpfman_core::compute::JoinedAs;
use bpfman_core::compute::Joining;
use bpfman_core::compute::PointFacts;
use bpfman_core::compute::PointState;
use bpfman_core::compute::StructOpsFacts;
use bpfman_core::compute::UsdtFacts;
use bpfman_core::compute::check_attach;
use bpfman_core::compute::joining;
use bpfman_core::compute::plan_attach;
use bpfman_core::compute::plan_change;
use bpfman_core::compute::runs_alone;
use bpfman_core::compute::struct_ops_map;
use bpfman_core::compute::tcx_pin;
use bpfman_core::compute::twin;
use bpfman_core::compute::with_link;
use bpfman_core::kernel;
use bpfman_core::kernel::AttachOrder;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links;
use bpfman_core::links::AttachRequest;
use bpfman_core::links::AttachSpec;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceRequest;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::object::inspect;
use bpfman_core::object::struct_ops_value;
use bpfman_core::target::USDT_SPECS;
use bpfman_core::target::UsdtProbe;
use bpfman_core::target::is_pattern;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramType;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::executor::Recorded;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::runtime::WriterStore;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::targets::FunctionVerdict;

use crate::Manager;
use crate::ManagerError;

impl Manager<'_> {
    /// Attaches a program; returns the link's record.
    ///
    /// # Errors
    /// [`ManagerError`]; everything is as it was, unless the error says what could not be undone.
    pub fn attach(&mut self, spec: &AttachSpec) -> Result<Link, ManagerError> {
        let _operation = begin!(self, "attach");
        // Nothing is made for a program that nobody recorded.
        let (_, program) = self.managed(spec.program)?;
        check_attach(&spec.request, &program)?;
        let recorded = self.as_writer(|manager, store| {
            manager.until_settled(store, |manager, store| manager.attach_once(spec, store))
        })?;
        // The records of its neighbours may be written anew, too; its id is the largest.
        let link = recorded.links.into_iter().max_by_key(|link| link.id);
        Ok(link.expect("the plan of an attach records its link"))
    }

    fn attach_once(
        &mut self,
        spec: &AttachSpec,
        store: &mut dyn WriterStore,
    ) -> Result<Recorded, ManagerError> {
        if let Some((interface, hook)) = spec.request.shared() {
            let at = self
                .targets
                .interface(interface.netns.as_ref(), &interface.name)?;
            self.follow_interface(hook, &at, store)?;
            let (facts, change) = self.join(spec, store)?;
            return self.change_point(&facts, &change, store);
        }
        let plan = self.attach_plan(spec, store)?;
        let done = self.run(&plan, store);
        done.map_err(|error| self.explain(spec, error))
    }

    /// The plan of an attach, without any effect.
    ///
    /// # Errors
    /// As [`Self::attach`], as far as a plan can tell.
    pub fn plan_attach(&mut self, spec: &AttachSpec) -> Result<Plan, ManagerError> {
        let (store, _) = self.managed(spec.program)?;
        if spec.request.shared().is_some() {
            let (facts, change) = self.join(spec, &*store)?;
            let plan = plan_change(
                &facts,
                &change,
                Joining::All(JoinedAs::Inlined),
                &self.layout,
            )?;
            return self.lasting(plan);
        }
        self.attach_plan(spec, &*store)
    }

    /// What there is of the attach point that a program joins, and how it joins.
    fn join<S: ReaderStore + ?Sized>(
        &mut self,
        spec: &AttachSpec,
        store: &S,
    ) -> Result<(PointFacts, Change), ManagerError> {
        let program = store.get(spec.program)?;
        check_attach(&spec.request, &program)?;
        let (interface, hook) = spec
            .request
            .shared()
            .expect("only requests for a shared hook join an attach point");
        let at = self
            .targets
            .interface(interface.netns.as_ref(), &interface.name)?;
        let mut facts = self.point_facts(hook, at.clone(), Some(program.load.engine), store)?;
        let id = self.next_link(store)?;
        let details = joining(&spec.request, at, id, &self.layout);
        let link = Link {
            id,
            program: program.id(),
            kernel: None,
            pin_path: None,
            details: details.expect("only requests for a shared hook join an attach point"),
            metadata: spec.metadata.clone(),
            created_at: self.now,
        };
        let with_others = facts.state == PointState::Attached;
        let mut member = self.member_of(link, program, with_others)?;
        let own = member.link.details.membership();
        let alone = own.is_some_and(|own| runs_alone(&own, member.program.load.engine));
        if with_others || !alone {
            self.note_extensions(&mut facts, Some(&mut member))?;
        }
        Ok((facts, Change::Join(Box::new(member))))
    }

    fn attach_plan<S: ReaderStore + ?Sized>(
        &mut self,
        spec: &AttachSpec,
        store: &S,
    ) -> Result<Plan, ManagerError> {
        let program = store.get(spec.program)?;
        let link = self.next_link(store)?;
        let snapshot = self.attach_snapshot(spec, program, link, store)?;
        tracing::debug!(target: "manager", "has gathered the facts");
        let plan = plan_attach(spec, &snapshot, &self.layout)?;
        self.refuse_twin(&plan, store)?;
        self.lasting(plan)
    }

    /// What the world looks like before an attach by a link of this number.
    pub(crate) fn attach_snapshot<S: ReaderStore + ?Sized>(
        &mut self,
        spec: &AttachSpec,
        program: Program,
        link: LinkId,
        store: &S,
    ) -> Result<AttachSnapshot, ManagerError> {
        check_attach(&spec.request, &program)?;
        Ok(AttachSnapshot {
            pin: self.kernel.pin_state(&program.pin_path, Detail::Info)?,
            link,
            bpffs_mounted: self.kernel.is_bpffs_root(&self.layout.bpffs())?,
            facts: self.attach_facts(&spec.request, &program, store)?,
            program,
            now: self.now,
        })
    }

    /// Refuses to attach a program a second time to what it is attached to. A record whose link is gone, or attached to
    /// nothing, is no link.
    fn refuse_twin<S: ReaderStore + ?Sized>(
        &mut self,
        plan: &Plan,
        store: &S,
    ) -> Result<(), ManagerError> {
        let new = plan.steps.iter().find_map(|step| match &step.action {
            Action::Store(StoreAction::RecordLink { link }) => Some(&link.link),
            _ => None,
        });
        let new = new.expect("the plan of an attach records its link");
        let links = store.links_of(new.program)?;
        let Some((link, place)) = twin(new, &links) else {
            return Ok(());
        };
        let found = self.kernel_link(link, store)?;
        match found.filter(kernel::Link::is_attached) {
            None => Ok(()),
            Some(_) => Err(AttachRefusal::AttachedAlready {
                place,
                program: new.program,
                link: Some(link.id),
            }
            .into()),
        }
    }

    /// The id of the next link. A pin that has outlived its record keeps its number.
    fn next_link<S: ReaderStore + ?Sized>(&self, store: &S) -> Result<LinkId, ManagerError> {
        let mut id = store.next_link()?;
        while self.files.exists(&self.layout.link_pin(id)) {
            let next = id.0.checked_add(1);
            id = LinkId(next.ok_or(StoreError::NoLinkIdLeft)?);
        }
        Ok(id)
    }

    /// Looks up what the request's words mean on this machine.
    pub(crate) fn attach_facts<S: ReaderStore + ?Sized>(
        &mut self,
        request: &AttachRequest,
        program: &Program,
        store: &S,
    ) -> Result<AttachFacts, ManagerError> {
        let targets = self.targets;
        Ok(match request {
            AttachRequest::Xdp(_) | AttachRequest::Tc(_) => {
                unreachable!("a shared hook is joined")
            }
            AttachRequest::Tcx(links::TcxRequest {
                interface,
                direction,
                ..
            }) => self.interface_facts(interface, Hook::Tcx(*direction), program, store)?,
            AttachRequest::Netkit(links::NetkitRequest { interface, .. }) => {
                let peer = program.load.program_type == ProgramType::NetkitPeer;
                self.interface_facts(interface, Hook::Netkit { peer }, program, store)?
            }
            AttachRequest::Tracepoint(links::Tracepoint { group, name }) => {
                AttachFacts::Tracepoint(targets.tracepoint(group, name)?)
            }
            AttachRequest::KprobeMulti(links::KprobeMultiRequest { functions }) => {
                AttachFacts::Functions(self.functions(functions)?)
            }
            AttachRequest::Uprobe(links::UprobeRequest {
                file,
                function,
                offset,
            }) => {
                let file = targets.probed_file(file)?;
                let sites = vec![targets.uprobe(&file, function.as_deref(), *offset)?];
                let path = file.path;
                AttachFacts::Sites { path, sites }
            }
            AttachRequest::UprobeMulti(links::UprobeMultiRequest { file, functions }) => {
                let file = targets.probed_file(file)?;
                let sites = targets.uprobe_multi(&file, functions)?;
                let path = file.path;
                AttachFacts::Sites { path, sites }
            }
            AttachRequest::Usdt(links::UsdtRequest {
                file,
                provider,
                name,
            }) => {
                let file = targets.probed_file(file)?;
                let probe = targets.usdt(&file, provider, name)?;
                AttachFacts::Usdt(self.usdt_facts(file.path, probe, program, store)?)
            }
            AttachRequest::Cgroup(links::CgroupRequest { path, .. }) => {
                AttachFacts::Cgroup(targets.cgroup(path)?)
            }
            AttachRequest::SkLookup(links::NamespaceRequest { netns })
            | AttachRequest::FlowDissector(links::NamespaceRequest { netns })
            | AttachRequest::Netfilter(links::NetfilterRequest { netns, .. }) => {
                AttachFacts::Namespace(targets.namespace(netns.as_ref())?)
            }
            AttachRequest::StructOps(links::StructOpsRequest { map }) => {
                AttachFacts::StructOps(self.struct_ops_facts(map.as_deref(), program, store)?)
            }
            // Their words are what the kernel is told.
            _ => AttachFacts::Nothing,
        })
    }

    /// The functions of the kernel that names and patterns mean, each once.
    fn functions(&self, names: &[String]) -> Result<Vec<String>, ManagerError> {
        let mut functions = Vec::new();
        for name in names {
            if is_pattern(name) {
                functions.extend(self.targets.kernel_functions(name)?);
            } else {
                functions.push(name.clone());
            }
        }
        functions.sort_unstable();
        functions.dedup();
        Ok(functions)
    }

    fn usdt_facts<S: ReaderStore + ?Sized>(
        &mut self,
        path: AbsolutePath,
        probe: UsdtProbe,
        program: &Program,
        store: &S,
    ) -> Result<UsdtFacts, ManagerError> {
        let map = program.maps.iter().find(|map| map.name == USDT_SPECS);
        let specs = match map {
            Some(map) => self.kernel.map(map.id)?,
            None => None,
        };
        let mut neighbours = store.links_of(program.id())?;
        for other in store.sharing(program)? {
            if other
                .maps
                .iter()
                .any(|other| Some(other.id) == map.map(|map| map.id))
            {
                neighbours.extend(store.links_of(other.id())?);
            }
        }
        Ok(UsdtFacts {
            path,
            probe,
            specs,
            neighbours,
        })
    }

    fn struct_ops_facts<S: ReaderStore + ?Sized>(
        &mut self,
        asked: Option<&str>,
        program: &Program,
        store: &S,
    ) -> Result<StructOpsFacts, ManagerError> {
        let object = self.targets.kept_object(&program.load.object_path)?;
        let declared = inspect(&object).map_err(|cause| ManagerError::Object {
            path: program.load.object_path.to_string(),
            cause,
        })?;
        let map = struct_ops_map(program, &declared.maps, asked)?;
        let pin = match &map.pin_path {
            Some(path) => Some(self.kernel.pin_state(path, Detail::Info)?),
            None => None,
        };
        with_link(program, &map, pin.as_ref())?;
        let types = self.targets.kernel_types()?;
        let value = struct_ops_value(&object, &types, &map.name).map_err(|cause| {
            AttachRefusal::StructOpsValue {
                map: map.name.clone(),
                cause,
            }
        })?;
        let mut programs = Vec::new();
        for user in std::iter::once(program.clone()).chain(store.sharing(program)?) {
            let pin = self.kernel.pin_state(&user.pin_path, Detail::Info)?;
            programs.push((user, pin));
        }
        Ok(StructOpsFacts {
            map,
            value,
            programs,
        })
    }

    fn interface_facts<S: ReaderStore + ?Sized>(
        &mut self,
        interface: &InterfaceRequest,
        hook: Hook,
        program: &Program,
        store: &S,
    ) -> Result<AttachFacts, ManagerError> {
        let at = self
            .targets
            .interface(interface.netns.as_ref(), &interface.name)?;
        let attached = self.kernel.attached(&at.target(), hook)?;
        let links = store.links()?;
        let point = at.point(hook);
        let tcx_pin_taken = match tcx_pin(&point, program.id(), &self.layout) {
            Some(path) => {
                let mut recorded = links.iter().filter_map(|link| link.pin_path.as_ref());
                recorded.any(|recorded| *recorded == path) || self.files.exists(&path)
            }
            None => false,
        };
        // The kernel says which links stand here; records may speak of where the interface was.
        let neighbours = neighbours(&attached, hook, links);
        let tc = match hook {
            Hook::Tcx(direction) => store.dispatchers()?.into_iter().find_map(|found| {
                let (link, _) = found
                    .link()
                    .filter(|_| found.hook.hook() == Hook::Tc(direction))?;
                let mut members = attached.members.iter();
                members.find_map(|member| member.link.filter(|id| *id == link))
            }),
            _ => None,
        };
        Ok(AttachFacts::Interface(InterfaceFacts {
            tcx_pin_taken,
            at,
            attached,
            neighbours,
            tc,
        }))
    }

    /// Says more about a refusal where looking around tells more.
    fn explain(&mut self, spec: &AttachSpec, error: ExecutionError) -> ManagerError {
        let not_found = matches!(&error.cause, ActionError::Kernel(cause) if cause.kind == KernelErrorKind::NotFound);
        if !error.is_undone() || !not_found {
            return error.into();
        }
        let why = match &spec.request {
            AttachRequest::Kprobe(links::KprobeRequest { function, .. }) => {
                self.explain_function(function)
            }
            AttachRequest::RawTracepoint(links::RawTracepoint { name }) => self
                .targets
                .raw_tracepoint(name)
                .err()
                .map(ManagerError::Target),
            _ => None,
        };
        why.unwrap_or_else(|| error.into())
    }

    /// Why the kernel refuses to probe a function; `None` when the lists do not say.
    fn explain_function(&self, function: &str) -> Option<ManagerError> {
        match self.targets.kernel_function(function) {
            Ok(FunctionVerdict::Traceable | FunctionVerdict::Exists) | Err(_) => None,
            Ok(verdict) => Some(ManagerError::Function {
                function: function.to_owned(),
                verdict,
            }),
        }
    }
}

/// Our links among those that stand at a hook. The kernel may have given the id of one that is gone to a newer one.
fn neighbours(attached: &AttachOrder, hook: Hook, links: Vec<Link>) -> Vec<Link> {
    let stands = |link: &Link| {
        let mut members = attached.members.iter();
        link.details.attach_point().map(|point| point.hook) == Some(hook)
            && members.any(|one| one.link == link.kernel && one.program == link.program)
    };
    let standing: Vec<Link> = links
        .into_iter()
        .filter(|link| link.kernel.is_some() && stands(link))
        .collect();
    let is_newest = |link: &Link| {
        let mut others = standing.iter();
        others.all(|other| other.kernel != link.kernel || other.id <= link.id)
    };
    standing
        .iter()
        .filter(|link| is_newest(link))
        .cloned()
        .collect()
}
