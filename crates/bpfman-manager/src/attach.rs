//! Attach.

use bpfman_core::action::InterfaceTarget;
use bpfman_core::action::Namespace;
use bpfman_core::action::Plan;
use bpfman_core::action::TcFilter;
use bpfman_core::compute::AttachFacts;
use bpfman_core::compute::AttachRefusal;
use bpfman_core::compute::AttachSnapshot;
use bpfman_core::compute::InterfaceFacts;
use bpfman_core::compute::Occupants;
use bpfman_core::compute::StructOpsFacts;
use bpfman_core::compute::TC_FILTER;
use bpfman_core::compute::USDT_SPECS;
use bpfman_core::compute::UsdtFacts;
use bpfman_core::compute::check_attach;
use bpfman_core::compute::plan_attach;
use bpfman_core::compute::struct_ops_map;
use bpfman_core::compute::with_link;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::managed::AttachPoint;
use bpfman_core::managed::AttachRequest;
use bpfman_core::managed::AttachSpec;
use bpfman_core::managed::Hook;
use bpfman_core::managed::InterfaceRequest;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::object::inspect;
use bpfman_core::object::struct_ops_value;
use bpfman_core::target::UsdtProbe;
use bpfman_core::target::is_pattern;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramType;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::executor::Executor;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::targets::FunctionVerdict;

use crate::Manager;
use crate::ManagerError;

/// How often an attach is planned anew when others change the order of a hook at the same time.
const MAX_TRIES: usize = 16;

impl Manager<'_> {
    /// Attaches a program; returns the link's record.
    ///
    /// # Errors
    /// [`ManagerError`]; everything is as it was, unless the error says what could not be undone.
    pub fn attach(&mut self, spec: &AttachSpec, now: UnixTime) -> Result<Link, ManagerError> {
        // Nothing is made for a program that nobody recorded.
        let known = self.runtime.reader()?;
        let known = known.ok_or(ManagerError::NoSuchProgram(spec.program))?;
        check_attach(&spec.request, &known.get(spec.program)?)?;
        drop(known);
        let (mut store, _lock) = self.runtime.writer()?;
        let mut tries = 1;
        loop {
            let plan = self.attach_plan(spec, now, &*store)?;
            let mut executor = Executor {
                kernel: &mut *self.kernel,
                files: &mut *self.files,
                store: &mut *store,
                object: &[],
            };
            match executor.run(&plan) {
                Ok(recorded) => {
                    let link = recorded.links.into_iter().next();
                    return Ok(link.expect("the plan of an attach records a link"));
                }
                Err(error) if is_stale(&error) && tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(self.explain(spec, error)),
            }
        }
    }

    /// The plan of an attach, without any effect.
    ///
    /// # Errors
    /// As [`Self::attach`], as far as a plan can tell.
    pub fn plan_attach(&mut self, spec: &AttachSpec, now: UnixTime) -> Result<Plan, ManagerError> {
        let store = self.runtime.reader()?;
        let store = store.ok_or(ManagerError::NoSuchProgram(spec.program))?;
        self.attach_plan(spec, now, &*store)
    }

    fn attach_plan<S: ReaderStore + ?Sized>(
        &mut self,
        spec: &AttachSpec,
        now: UnixTime,
        store: &S,
    ) -> Result<Plan, ManagerError> {
        let program = store.get(spec.program)?;
        check_attach(&spec.request, &program)?;
        let snapshot = AttachSnapshot {
            pin: self.kernel.pin_state(&program.pin_path, Detail::Info)?,
            link: store.next_link()?,
            bpffs_mounted: self.kernel.is_bpffs_root(&self.layout.bpffs())?,
            facts: self.attach_facts(&spec.request, &program, store)?,
            program,
            now,
        };
        Ok(plan_attach(spec, &snapshot, &self.layout)?)
    }

    /// Looks up what the request's words mean on this machine.
    fn attach_facts<S: ReaderStore + ?Sized>(
        &mut self,
        request: &AttachRequest,
        program: &Program,
        store: &S,
    ) -> Result<AttachFacts, ManagerError> {
        let targets = self.targets;
        Ok(match request {
            AttachRequest::Xdp { interface, .. } => {
                self.interface_facts(interface, Hook::Xdp, store)?
            }
            AttachRequest::Tc {
                interface,
                direction,
                ..
            } => self.interface_facts(interface, Hook::Tc(*direction), store)?,
            AttachRequest::Tcx {
                interface,
                direction,
                ..
            } => self.interface_facts(interface, Hook::Tcx(*direction), store)?,
            AttachRequest::Netkit { interface, .. } => {
                let peer = program.load.program_type == ProgramType::NetkitPeer;
                self.interface_facts(interface, Hook::Netkit { peer }, store)?
            }
            AttachRequest::Tracepoint { group, name } => {
                AttachFacts::Tracepoint(targets.tracepoint(group, name)?)
            }
            AttachRequest::KprobeMulti { functions } => {
                AttachFacts::Functions(self.functions(functions)?)
            }
            AttachRequest::Uprobe {
                file,
                function,
                offset,
            } => {
                let file = targets.probed_file(file)?;
                let sites = vec![targets.uprobe(&file, function.as_deref(), *offset)?];
                let path = file.path;
                AttachFacts::Sites { path, sites }
            }
            AttachRequest::UprobeMulti { file, functions } => {
                let file = targets.probed_file(file)?;
                let sites = targets.uprobe_multi(&file, functions)?;
                let path = file.path;
                AttachFacts::Sites { path, sites }
            }
            AttachRequest::Usdt {
                file,
                provider,
                name,
            } => {
                let file = targets.probed_file(file)?;
                let probe = targets.usdt(&file, provider, name)?;
                AttachFacts::Usdt(self.usdt_facts(file.path, probe, program, store)?)
            }
            AttachRequest::Cgroup { path, .. } => AttachFacts::Cgroup(targets.cgroup(path)?),
            AttachRequest::Namespace { netns } | AttachRequest::Netfilter { netns, .. } => {
                AttachFacts::Namespace(targets.namespace(netns.as_ref())?)
            }
            AttachRequest::StructOps { map } => {
                AttachFacts::StructOps(self.struct_ops_facts(map.as_deref(), program, store)?)
            }
            AttachRequest::RawTracepoint { .. }
            | AttachRequest::Kprobe { .. }
            | AttachRequest::Bound
            | AttachRequest::PerfEvent { .. }
            | AttachRequest::Iter { .. }
            | AttachRequest::Sockmap { .. } => AttachFacts::Nothing,
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
        store: &S,
    ) -> Result<AttachFacts, ManagerError> {
        let netns = interface.netns.as_ref();
        let (nsid, ifindex) = self.targets.interface(netns, &interface.name)?;
        let target = InterfaceTarget {
            netns: Namespace {
                path: interface.netns.clone(),
                id: nsid,
            },
            ifindex,
        };
        let attached = match (self.kernel.attached(&target, hook), hook) {
            (Ok(order), _) => Occupants::Order(order),
            (Err(error), Hook::Tc(direction)) if error.kind == KernelErrorKind::Unsupported => {
                let filter = TcFilter {
                    interface: target,
                    direction,
                    preference: TC_FILTER.preference,
                    handle: TC_FILTER.handle,
                };
                Occupants::Filter(self.kernel.tc_filter(&filter)?)
            }
            (Err(error), _) => return Err(error.into()),
        };
        let mut neighbours = Vec::new();
        for hook in sharing(hook) {
            neighbours.extend(store.links_at(&AttachPoint {
                hook,
                nsid,
                ifindex,
            })?);
        }
        Ok(AttachFacts::Interface(InterfaceFacts {
            nsid,
            ifindex,
            attached,
            neighbours: self.standing(neighbours)?,
        }))
    }

    /// Says more about a refusal where looking around tells more.
    fn explain(&mut self, spec: &AttachSpec, error: ExecutionError) -> ManagerError {
        let not_found = matches!(&error.cause, ActionError::Kernel(cause) if cause.kind == KernelErrorKind::NotFound);
        if !error.failed_undos.is_empty() || !not_found {
            return error.into();
        }
        let why = match &spec.request {
            AttachRequest::Kprobe { function, .. } => self.explain_function(function),
            AttachRequest::RawTracepoint { name } => self
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

/// The hooks whose links stand in one order of the kernel.
fn sharing(hook: Hook) -> Vec<Hook> {
    match hook {
        Hook::Xdp | Hook::Netkit { .. } => vec![hook],
        Hook::Tc(direction) | Hook::Tcx(direction) => {
            vec![Hook::Tcx(direction), Hook::Tc(direction)]
        }
    }
}

fn is_stale(error: &ExecutionError) -> bool {
    let stale =
        matches!(&error.cause, ActionError::Kernel(cause) if cause.kind == KernelErrorKind::Stale);
    stale && error.failed_undos.is_empty()
}
