//! Reconcile and doctor: what records, kernel, bpffs and files disagree about.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::action::Journal;
use bpfman_core::action::Plan;
use bpfman_core::compute::AttachFacts;
use bpfman_core::compute::Facts;
use bpfman_core::compute::Finding;
use bpfman_core::compute::JoinedAs;
use bpfman_core::compute::ObservedLink;
use bpfman_core::compute::ObservedPoint;
use bpfman_core::compute::ObservedProgram;
use bpfman_core::compute::PointState;
use bpfman_core::compute::ProgramState;
use bpfman_core::compute::Reattach;
use bpfman_core::compute::Refused;
use bpfman_core::compute::Repair;
use bpfman_core::compute::Repairs;
use bpfman_core::compute::Room;
use bpfman_core::compute::TC_FILTER;
use bpfman_core::compute::Target;
use bpfman_core::compute::is_chain;
use bpfman_core::compute::kept_chains;
use bpfman_core::compute::reconcile;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PinState;
use bpfman_core::links::AttachSpec;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::TcFilter;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::managed::Recovery;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::Engine;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::lock::Stillness;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::runtime::WriterStore;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::store::memory::MemoryStore;

use crate::Manager;
use crate::ManagerError;
use crate::full_disk::lacks_space;
use crate::points::libxdp_bpffs;
use crate::removal::is_load_refused;
use crate::whereabouts::Networks;

/// How often everything is looked at before we give up: each time repairs what the one before could not.
const MAX_ROUNDS: usize = 64;

/// What a look at everything tells.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// What is wrong, in the order of the rules.
    pub findings: Vec<Finding>,
    /// What was killed before and has come to its end, the newest first.
    pub recoveries: Vec<Recovery>,
    /// Whether somebody was changing things meanwhile, and would not end: what is wrong may be what they are at.
    pub busy: bool,
}

/// What a reconciliation did.
#[derive(Debug, Default)]
pub struct Reconciled {
    /// What was repaired, with the plans that did it.
    pub repaired: Vec<Finding>,
    /// What could not be repaired, and why.
    pub left: Vec<Finding>,
}

impl Manager<'_> {
    /// Looks at everything and changes nothing.
    ///
    /// # Errors
    /// When store, kernel or files cannot be read whole.
    pub fn diagnose(&mut self, repairs: Repairs) -> Result<Diagnosis, ManagerError> {
        let _operation = begin!(self, "doctor");
        self.look_around(repairs)
    }

    fn look_around(&mut self, repairs: Repairs) -> Result<Diagnosis, ManagerError> {
        let stillness = self.runtime.stillness()?;
        let busy = matches!(stillness, Stillness::Busy);
        // Without a database there may be pins and files all the same.
        let store = self.runtime.reader()?;
        let store = store.unwrap_or_else(|| Box::new(MemoryStore::new()));
        // The journal of one that is at work is not to be finished by another.
        let journal = store.journal()?.filter(|_| !busy);
        let interrupted = journal.map(|journal| interrupted(&journal));
        let facts = self.observe_all(&*store, repairs)?;
        let found = reconcile(&facts, repairs, &self.layout);
        Ok(Diagnosis {
            findings: interrupted.into_iter().chain(found).collect(),
            recoveries: store.recoveries()?,
            busy,
        })
    }

    /// Makes records, kernel, bpffs and files agree, as far as is asked for.
    ///
    /// # Errors
    /// When something cannot be read whole: nothing is taken for gone then. When a plan fails.
    pub fn reconcile(&mut self, repairs: Repairs) -> Result<Reconciled, ManagerError> {
        let _operation = begin!(self, "reconcile");
        // Nothing is made where nothing is.
        if self.runtime.reader()?.is_none() {
            let left = self.look_around(repairs)?.findings;
            if left
                .iter()
                .all(|finding| matches!(finding.repair, Repair::Nothing(_)))
            {
                return Ok(Reconciled {
                    left,
                    ..Reconciled::default()
                });
            }
        }
        self.with_reserve(|manager| {
            manager.as_writer(|manager, store| manager.repair_all(repairs, store))
        })
    }

    pub(crate) fn repair_all(
        &mut self,
        repairs: Repairs,
        store: &mut dyn WriterStore,
    ) -> Result<Reconciled, ManagerError> {
        let mut done = Reconciled::default();
        let mut failed: Vec<Finding> = Vec::new();
        let mut kept_out: Vec<(Finding, Finding)> = Vec::new();
        let mut refused = Refused::new();
        let mut joined = JoinedAs::Inlined;
        for _ in 0..MAX_ROUNDS {
            let mut facts = self.observe_all(store, repairs)?;
            tracing::debug!(target: "manager", "has gathered the facts");
            facts.refused.clone_from(&refused);
            facts.joined = joined;
            let findings = reconcile(&facts, repairs, &self.layout);
            let findings = findings.into_iter().map(|finding| {
                let kept_out = kept_out.iter().find(|(of, _)| *of == finding);
                kept_out.map_or(finding, |(_, why)| why.clone())
            });
            let (repair, left): (Vec<Finding>, Vec<Finding>) =
                findings.partition(|finding| matches!(finding.repair, Repair::Plan(_)));
            if repair.is_empty() {
                done.left = left;
                return Ok(done);
            }
            for finding in repair {
                match self.repair(&finding, store) {
                    Ok(()) => {
                        joined = JoinedAs::Inlined;
                        done.repaired.push(finding);
                    }
                    // What is taken away makes room; until then it has what was set aside.
                    Err(error) if lacks_space(&error) && self.runtime.release_reserve() => break,
                    Err(ManagerError::Execution(error))
                        if is_load_refused(&error) && joined == JoinedAs::Inlined =>
                    {
                        joined = JoinedAs::Called;
                        break;
                    }
                    Err(ManagerError::Execution(error))
                        if is_load_refused(&error) && !failed.contains(&finding) =>
                    {
                        joined = JoinedAs::Inlined;
                        match self.at_fault_in(&facts, &finding, repairs, store) {
                            Some(link) => drop(refused.insert(link, error.to_string())),
                            None => failed.push(finding),
                        }
                        break;
                    }
                    // What was there is gone with what was repaired before it: that is no reason to stop, if it is so.
                    Err(error) if error.is_undone() && !failed.contains(&finding) => {
                        failed.push(finding);
                        break;
                    }
                    // Somebody else may be in the place of what was detached: that is no reason to leave the rest as it is.
                    Err(error) if error.is_undone() && finding.attaches() => {
                        let why = Finding {
                            repair: Repair::Nothing(error.to_string()),
                            ..finding.clone()
                        };
                        kept_out.push((finding, why));
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Err(ManagerError::Restless)
    }

    /// Carries out the plan of a finding.
    fn repair(
        &mut self,
        finding: &Finding,
        store: &mut dyn WriterStore,
    ) -> Result<(), ManagerError> {
        let Repair::Plan(plan) = &finding.repair else {
            return Ok(());
        };
        let ended = self.run(plan, store)?;
        self.left_after(&ended.let_go);
        Ok(())
    }

    /// The link for which the kernel refuses what a finding's plan makes.
    fn at_fault_in(
        &mut self,
        facts: &Facts,
        finding: &Finding,
        repairs: Repairs,
        store: &mut dyn WriterStore,
    ) -> Option<LinkId> {
        let links = facts.points.iter().flat_map(|point| point.facts.links());
        let links: Vec<LinkId> = links.map(|member| member.link.id).collect();
        let plan = |refused: &Refused, joined, layout: &RuntimeLayout| {
            let facts = Facts {
                refused: refused.clone(),
                joined,
                ..facts.clone()
            };
            let found = reconcile(&facts, repairs, layout).into_iter();
            let mut same =
                found.filter(|one| one.rule == finding.rule && one.subject == finding.subject);
            match same.next()?.repair {
                Repair::Plan(plan) => Some(plan),
                Repair::Later | Repair::Nothing(_) => None,
            }
        };
        self.at_fault(plan, &links, &facts.refused, store)
    }

    /// What there is, whole.
    fn observe_all<S: ReaderStore + ?Sized>(
        &mut self,
        store: &S,
        repairs: Repairs,
    ) -> Result<Facts, ManagerError> {
        let mut networks = Networks::of(store)?;
        let files = self.files.list(&self.layout.programs())?;
        let mut programs = Vec::new();
        let mut gone = BTreeMap::new();
        for record in store.list()? {
            let program = self.observe_program(record)?;
            if program.state() == ProgramState::Missing {
                let record = program.record.clone();
                gone.insert(record.id(), self.unload_snapshot(record, store)?);
            }
            programs.push(program);
        }
        let links = store.links()?;
        let alone = links
            .iter()
            .filter(|link| link.details.membership().is_none());
        let alone: Result<_, ManagerError> = alone
            .map(|link| self.observe_alone(link, repairs, store, &mut networks))
            .collect();
        let points: Result<_, ManagerError> = store
            .dispatchers()?
            .into_iter()
            .map(|dispatcher| self.observe_point_whole(&dispatcher, store, &mut networks))
            .collect();
        let lost = self.observe_lost(&files, &programs)?;
        let mut facts = Facts {
            room: self.observe_room()?,
            bpffs: self.kernel.bpffs_mount(&self.layout.bpffs())?,
            programs,
            gone,
            lost,
            alone: alone?,
            links,
            points: points?,
            pins: self.kernel.pins_below(&self.layout.bpffs())?,
            shown: self.pins_of_libxdp()?,
            filters: self.observe_filters()?,
            chains: self.observe_chains()?,
            files,
            refused: Refused::new(),
            joined: JoinedAs::Inlined,
        };
        let kept: Vec<ProgramId> = kept_chains(&facts)
            .map(|(chain, ..)| chain.identity.id)
            .collect();
        for id in kept {
            if self.kernel.lasting_program(id)?.is_none() {
                facts.chains.retain(|chain| chain.identity.id != id);
            }
        }
        Ok(facts)
    }

    /// The chains in the kernel. Whoever is not allowed to list programs knows of none.
    fn observe_chains(&mut self) -> Result<Vec<kernel::Program>, ManagerError> {
        let mut chains = Vec::new();
        for program in self.kernel.programs() {
            match program {
                Ok(program) if is_chain(&program) => chains.push(program),
                Ok(_) => {}
                Err(error) if error.kind == KernelErrorKind::Permission => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(chains)
    }

    /// The directories that are written and what room they have.
    fn observe_room(&self) -> Result<Vec<(AbsolutePath, Room)>, ManagerError> {
        let mut found = Vec::new();
        for path in [self.layout.database_directory(), self.layout.programs()] {
            if let Some(room) = self.files.room(&path)? {
                found.push((path, room));
            }
        }
        Ok(found)
    }

    /// What is at our place among the filters of every interface.
    fn observe_filters(&mut self) -> Result<Vec<(TcFilter, ProgramId)>, ManagerError> {
        let mut filters = Vec::new();
        let own = self.targets.interfaces(None)?;
        for interface in &own.interfaces {
            let at = LinkInterface::found(&own, interface);
            for direction in [Direction::Ingress, Direction::Egress] {
                let filter = TC_FILTER.at(at.target(), direction);
                if let Some(program) = self.kernel.tc_filter(&filter)? {
                    filters.push((filter, program));
                }
            }
        }
        Ok(filters)
    }

    /// The records that lie beside objects and that the store does not have. `programs` are those that it has.
    fn observe_lost(
        &mut self,
        directories: &[AbsolutePath],
        programs: &[ObservedProgram],
    ) -> Result<Vec<(Program, PinState)>, ManagerError> {
        let records = || programs.iter().map(|program| &program.record);
        let stored: BTreeSet<ProgramId> = records().map(Program::id).collect();
        let known: BTreeSet<AbsolutePath> = records().map(Program::record_path).collect();
        let mut lost = Vec::new();
        for directory in directories {
            let path = directory.join(Program::RECORD_FILE);
            if known.contains(&path) {
                continue;
            }
            // What is no record of ours tells nothing.
            let Ok(record) = self.targets.kept_record(&path) else {
                continue;
            };
            if !stored.contains(&record.id()) && record.record_path() == path {
                let pin = self.kernel.pin_state(&record.pin_path, Detail::Info)?;
                lost.push((record, pin));
            }
        }
        Ok(lost)
    }

    fn observe_program(&mut self, record: Program) -> Result<ObservedProgram, ManagerError> {
        let pin = self.kernel.pin_state(&record.pin_path, Detail::Info)?;
        let by_id = match record.is_at(&pin) {
            true => None,
            false => self.kernel.program(record.id(), Detail::Info)?,
        };
        Ok(ObservedProgram {
            object_present: self.files.exists(&record.load.object_path),
            record,
            pin,
            by_id,
        })
    }

    fn observe_point_whole<S: ReaderStore + ?Sized>(
        &mut self,
        dispatcher: &Dispatcher,
        store: &S,
        networks: &mut Networks,
    ) -> Result<ObservedPoint, ManagerError> {
        let at = dispatcher.at.clone();
        let mut facts = self.point_facts(dispatcher.hook, at, None, store)?;
        let target = self.target_interface(&dispatcher.at, networks)?;
        let nothing_runs = matches!(facts.state, PointState::Detached | PointState::Missing);
        if let (true, Target::Present(Some(now))) = (nothing_runs, &target) {
            facts.at = now.recorded_as(&dispatcher.at.interface);
            // What held it tells by what it can be held again.
            let engine = match dispatcher.link() {
                Some(_) => Engine::Auto,
                None => Engine::Extension,
            };
            self.see_occupants(&mut facts, engine)?;
        }
        let holder_pin = self.pin_state_of(dispatcher.link().map(|(_, path)| path))?;
        let holder = match (&holder_pin, dispatcher.link()) {
            (Some(PinState::Link(_)) | None, _) | (_, None) => None,
            (Some(_), Some((id, _))) => self.kernel.link(id)?,
        };
        Ok(ObservedPoint {
            facts,
            holder_pin,
            holder,
            target,
            whereabouts: self.whereabouts_of_point(dispatcher, networks)?,
        })
    }

    fn pins_of_libxdp(&mut self) -> Result<Vec<(AbsolutePath, PinState)>, ManagerError> {
        match libxdp_bpffs() {
            Some(root) if self.kernel.is_bpffs_root(&root)? => {
                Ok(self.kernel.pins_below(&root.join("xdp"))?)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn pin_state_of(
        &mut self,
        path: Option<&AbsolutePath>,
    ) -> Result<Option<PinState>, ManagerError> {
        match path {
            Some(path) => Ok(Some(self.kernel.pin_state(path, Detail::Info)?)),
            None => Ok(None),
        }
    }
}

impl Manager<'_> {
    /// A link that stands alone.
    fn observe_alone<S: ReaderStore + ?Sized>(
        &mut self,
        link: &Link,
        repairs: Repairs,
        store: &S,
        networks: &mut Networks,
    ) -> Result<ObservedLink, ManagerError> {
        let snapshot = self.detach_snapshot(link.clone(), store)?;
        let program = match store.get(link.program) {
            Ok(program) => Some(program),
            Err(StoreError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let target = self.target_of(link, program.as_ref(), networks)?;
        let found = match (&snapshot.pin, &snapshot.unpinned) {
            (Some(PinState::Link(found)), _) if Some(found.id) == link.kernel => Some(found),
            (_, unpinned) => unpinned.as_ref(),
        };
        let whereabouts = match found {
            Some(found) => self.whereabouts_of_link(link, found, networks)?,
            None => None,
        };
        let mut observed = ObservedLink {
            snapshot,
            program,
            target,
            whereabouts,
            reattach: None,
        };
        if repairs.reattach && !observed.is_attached() {
            observed.reattach = self.observe_reattach(&observed, store);
        }
        Ok(observed)
    }

    /// What an attach would find that puts a link back where it was; `None` where that is gone.
    fn observe_reattach<S: ReaderStore + ?Sized>(
        &mut self,
        observed: &ObservedLink,
        store: &S,
    ) -> Option<Reattach> {
        let Target::Present(now) = &observed.target else {
            return None;
        };
        let link = &observed.snapshot.link;
        let program = observed.program.clone()?;
        let request = link.details.request(now.as_ref());
        let Some(request) = request else {
            return Some(Err(
                "what it was attached to has no name here any more".into()
            ));
        };
        let spec = AttachSpec {
            program: link.program,
            request,
            metadata: link.metadata.clone(),
        };
        let found = self.attach_snapshot(&spec, program, link.id, store);
        let found = match (found, link.details.namespace()) {
            // Another namespace may be at the path by now.
            (Ok(found), Some(id)) if found.facts != AttachFacts::Namespace(id) => {
                return Some(Err(format!(
                    "network namespace {id} is no longer where it was attached"
                )));
            }
            (found, _) => found.map(|snapshot| Box::new((spec, snapshot))),
        };
        // Why it cannot be attached is said of this link, and is no reason to leave all others as they are.
        Some(found.map_err(|error| error.to_string()))
    }
}

/// A journal that waits for the next writer, as a finding.
fn interrupted(journal: &Journal) -> Finding {
    let mut plan = Plan::new(journal.operation.clone());
    for action in &journal.actions {
        plan.push_final(action.clone(), "it brings what was killed to its end");
    }
    Finding::interrupted(plan)
}
