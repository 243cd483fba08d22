//! A machine on which a sequence happens.

use std::collections::BTreeSet;

use bpfman_core::compute::PointRefusal;
use bpfman_core::compute::Repairs;
use bpfman_core::links::AttachSpec;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Engine;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_manager::ManagerError;
use bpfman_model::Faults;
use bpfman_model::Node;
use bpfman_model::Places;
use bpfman_model::link_types;

use super::budget::Count;
use super::common::Machine;
use super::common::among_others;
use super::common::differences;
use super::common::essence;
use super::common::name;
use super::common::path;
use super::common::shared::assert_consistent;
use super::common::tc;
use super::common::tcx;
use super::common::tracepoint;
use super::common::xdp;
use super::event::Damage;
use super::event::Disturbance;
use super::event::Event;
use super::event::PROGRAMS;
use super::event::Sequence;
use super::event::VERDICTS;
use super::reference::Member;
use super::reference::Reference;

const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];

/// What an interface is called meanwhile.
const RENAMED: &str = "eth0old";

/// The namespace that interfaces move to.
fn away() -> AbsolutePath {
    path("/run/netns/away")
}

/// A machine with two attach points, and programs that are loaded when they are needed.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    engine: Engine,
    programs: [Option<ProgramId>; PROGRAMS],
    reference: Reference,
    /// Whether some changes are refused by plan or kernel without any fault.
    pub(crate) refuses: bool,
    /// Whether TC programs hang in links of TCX, not in filters.
    has_tcx: bool,
    count: Count,
}

fn same_records(one: &Places, other: &Places) -> bool {
    let records = |places: &Places| {
        let links = places.link_records();
        (places.records(), links, places.dispatchers())
    };
    records(one) == records(other)
}

impl Scene {
    pub(crate) fn new(engine: Engine) -> Self {
        let machine = Machine::new().with_interfaces(&INTERFACES);
        machine
            .world
            .add_tracepoint("sched", "sched_process_exec", 1);
        machine.world.add_namespace(&away());
        // What every operation finds or makes is there from now on.
        let first = machine.load_to_attach("pass", None);
        machine.unload(first.id()).unwrap();
        Self {
            machine,
            engine,
            programs: [None; PROGRAMS],
            reference: Reference::default(),
            refuses: engine == Engine::Extension,
            has_tcx: true,
            count: Count::default(),
        }
    }

    pub(crate) fn without_tcx(mut self) -> Self {
        self.machine.world.lack(link_types::TCX);
        self.has_tcx = false;
        self
    }

    /// Whether it is refused for good reason: the kernel has no such hook, this program is there already, or its link
    /// cannot be given another.
    fn is_out_of_place(&self, event: &Event) -> bool {
        let attached = |program| self.reference.alone.iter().any(|(_, own)| *own == program);
        match (event, event.needs()) {
            (Event::Attach { .. }, Some(program)) => {
                attached(program) || program == 4 && !self.has_tcx
            }
            (Event::Replace { program: 5 }, _) => attached(5),
            _ => false,
        }
    }

    pub(crate) fn run(mut self, sequence: &Sequence) -> Count {
        for (event, disturbance) in &sequence.events {
            self.count.events += 1;
            match event {
                Event::Break(damage) => self.break_and_repair(damage, *disturbance),
                _ if self.is_out_of_place(event) => {}
                _ => self.step(event, *disturbance),
            }
        }
        let (damages, disturbance) = &sequence.wreck;
        self.wreck_and_clear(damages, *disturbance);
        self.count
    }

    fn load(&self, number: usize) -> Result<Program, ManagerError> {
        let engine = match number {
            0 | 2 => self.engine,
            _ => Engine::Auto,
        };
        let name = ["pass", "pass", "filter", "filter", "filter", "trace"][number];
        self.machine.try_load_for(engine, name, None)
    }

    fn program(&mut self, number: usize) -> ProgramId {
        let id = self.programs[number].unwrap_or_else(|| self.load(number).unwrap().id());
        self.programs[number] = Some(id);
        id
    }

    fn record(&mut self, number: usize) -> Program {
        let id = self.program(number);
        let records = self.machine.world.places().records();
        let mut records = records.into_iter();
        records.find(|record| record.id() == id).unwrap()
    }

    fn request(&mut self, event: &Event) -> Option<AttachSpec> {
        let program = event.needs()?;
        let record = self.record(program);
        Some(match event {
            Event::Join {
                point,
                priority,
                verdicts,
                count,
                ..
            } => {
                let spec = match point {
                    0 => xdp(&record, INTERFACES[0]),
                    _ => tc(&record, INTERFACES[1]),
                };
                among_others(spec, *priority, VERDICTS[*verdicts], *count)
            }
            _ if program == 4 => tcx(&record, INTERFACES[2], 10),
            _ => tracepoint(&record),
        })
    }

    fn dispatcher(&self, point: usize) -> Option<Dispatcher> {
        let dispatchers = self.machine.world.places().dispatchers();
        let interface = name(INTERFACES[point]);
        let mut dispatchers = dispatchers.into_iter();
        dispatchers.find(|one| one.at.interface == interface)
    }

    /// Does it. `None` when there is nothing to do.
    fn attempt(&mut self, event: &Event, faults: Faults) -> Option<Result<(), ManagerError>> {
        let spec = self.request(event);
        let machine = &self.machine;
        let inject = || machine.world.inject(faults);
        Some(match event {
            Event::Load { program } if self.programs[*program].is_none() => {
                inject();
                self.load(*program).map(drop)
            }
            Event::Join { .. } | Event::Attach { .. } => {
                inject();
                machine.try_attach(&spec?).map(drop)
            }
            Event::Leave { nth } => {
                let link = self.reference.nth(*nth)?;
                inject();
                machine.detach(link)
            }
            Event::Alter {
                nth,
                priority,
                verdicts,
            } => {
                let link = self.reference.nth_member(*nth)?;
                let new = verdicts.and_then(|which| VERDICTS[which]);
                inject();
                machine.alter(link, *priority, new.map(<[i32]>::to_vec))
            }
            Event::Replace { program } => {
                let old = self.programs[*program]?;
                inject();
                machine.replace(old).map(drop)
            }
            Event::Unload { program } => {
                let id = self.programs[*program]?;
                inject();
                machine.unload(id)
            }
            Event::Clear { point } => {
                let there = self.dispatcher(*point)?;
                inject();
                machine.delete_dispatcher(there.point())
            }
            Event::Reconcile => {
                inject();
                let repairs = Repairs {
                    prune: true,
                    reattach: true,
                    keep: false,
                };
                let done = machine.manage(|manager| manager.reconcile(repairs));
                done.map(|done| {
                    assert!(done.repaired.is_empty() && done.left.is_empty(), "{done:?}")
                })
            }
            Event::Load { .. } | Event::Break(_) => return None,
        })
    }

    /// The reference follows what has happened.
    fn follow(&mut self, event: &Event, before: &Places) {
        let after = self.machine.world.places();
        let new_program = || {
            let known = before.records();
            let mut records = after.records().into_iter();
            let new = records.find(|new| known.iter().all(|known| known.id() != new.id()));
            new.unwrap().id()
        };
        let new_link = || {
            let known = before.link_records();
            let mut links = after.link_records().into_iter();
            let new = links.find(|link| known.iter().all(|known| known.id != link.id));
            new.unwrap()
        };
        match event {
            Event::Load { program } | Event::Replace { program } => {
                self.programs[*program] = Some(new_program());
            }
            Event::Join { point, .. } => {
                let member = Member::of(&new_link(), event.needs().unwrap());
                self.reference.join(*point, member);
            }
            Event::Attach { .. } => {
                let alone = (new_link().id, event.needs().unwrap());
                self.reference.alone.push(alone);
            }
            Event::Leave { nth } => {
                let gone = self.reference.nth(*nth).unwrap();
                self.reference.leave(|link, _| link == gone);
            }
            Event::Alter {
                nth,
                priority,
                verdicts,
            } => {
                let link = self.reference.nth_member(*nth).unwrap();
                let verdicts = verdicts.and_then(|which| VERDICTS[which]);
                self.reference.alter(link, *priority, verdicts);
            }
            Event::Unload { program } => {
                self.programs[*program] = None;
                self.reference.leave(|_, own| own == *program);
            }
            Event::Clear { point } => self.reference.points[*point].clear(),
            Event::Reconcile | Event::Break(_) => {}
        }
    }

    /// Lets it fail at a step, perhaps, or be killed there, and compares the world with what it was or should be.
    fn step(&mut self, event: &Event, disturbance: Option<Disturbance>) {
        // What the event needs is loaded before.
        if let Some(program) = event.needs() {
            self.program(program);
        }
        let before = self.machine.world.places();
        let faults = disturbance.map_or_else(Faults::none, Disturbance::faults);
        let Some(done) = self.attempt(event, faults) else {
            return;
        };
        let found = self.machine.world.places();
        self.machine.world.inject(Faults::none());
        self.note(&done, disturbance);
        match done {
            Ok(()) => {
                // It may have been killed when all was done but a note of that.
                self.machine.manage(|manager| manager.recover()).unwrap();
                self.follow(event, &before);
            }
            Err(error) if disturbance.is_some() => {
                if matches!(&error, ManagerError::Execution(error) if error.is_undone())
                    && !matches!(disturbance, Some(Disturbance::Kill(_)))
                {
                    assert_eq!(found, before);
                }
                self.machine.manage(|manager| manager.recover()).unwrap();
                let after = self.machine.world.places();
                match same_records(&before, &after) {
                    true => assert_eq!(differences(&essence(&before), &essence(&after)), []),
                    false => self.follow(event, &before),
                }
            }
            Err(ManagerError::NotJoined { .. }) if self.refuses => assert_eq!(found, before),
            // The same program twice at one priority would run twice for each packet.
            Err(ManagerError::PointRefused(PointRefusal::AttachedAlready { .. })) => {
                assert_eq!(found, before);
            }
            Err(error) => {
                assert!(self.refuses, "{event:?}: {error}");
                let verifier = error.to_string().contains("too large");
                let refused = matches!(error, ManagerError::PointRefused(_));
                assert!(verifier || refused, "{error:?}");
                assert_eq!(found, before);
            }
        }
        self.check();
    }

    fn note<T>(&mut self, done: &Result<T, ManagerError>, disturbance: Option<Disturbance>) {
        match (done, disturbance) {
            (Err(_), Some(Disturbance::Refuse(_))) => self.count.refused += 1,
            (Err(_), Some(Disturbance::Kill(_))) => self.count.killed += 1,
            _ => {}
        }
    }

    /// Somebody breaks something; a reconciliation repairs it, though the first one may fail or be killed.
    fn break_and_repair(&mut self, damage: &Damage, disturbance: Option<Disturbance>) {
        let before = self.machine.world.places();
        if self.damage(damage).is_none() {
            return;
        }
        self.count.broken += 1;
        let (programs, links) = self.lost(damage, &before);
        let repairs = Repairs {
            prune: matches!(damage, Damage::NoDatabase | Damage::Litter),
            reattach: matches!(
                damage,
                Damage::DetachHolder { .. } | Damage::DetachLink { .. }
            ),
            keep: false,
        };
        let faults = disturbance.map_or_else(Faults::none, Disturbance::faults);
        self.machine.world.inject(faults);
        let done = self.machine.manage(|manager| manager.reconcile(repairs));
        self.machine.world.inject(Faults::none());
        self.note(&done, disturbance);
        if let Err(error) = done {
            assert!(disturbance.is_some(), "{damage:?}: {error}");
        }
        let repair = || self.machine.manage(|manager| manager.reconcile(repairs));
        repair().unwrap();
        let again = repair().unwrap();
        let nothing = again.repaired.is_empty() && again.left.is_empty();
        assert!(nothing, "{damage:?}: {again:?}");
        if let Damage::Away { which } = damage {
            assert_consistent(&self.machine.world);
            let interface = name(INTERFACES[*which]);
            let world = &self.machine.world;
            world
                .move_interface(Some(&away()), &interface, None)
                .unwrap();
            repair().unwrap();
        }
        if let Damage::Rename { which } = damage {
            assert_consistent(&self.machine.world);
            let (interface, renamed) = (name(INTERFACES[*which]), name(RENAMED));
            let world = &self.machine.world;
            world.rename_interface(None, &renamed, &interface).unwrap();
        }
        self.reference
            .leave(|link, program| links.contains(&link) || programs.contains(&program));
        for program in programs {
            self.programs[program] = None;
        }
        self.check();
    }

    /// Several things are broken at once. What is lost by that is not foretold; but whatever it is, what a reconciliation
    /// leaves can be unloaded, and then nothing is left.
    fn wreck_and_clear(&mut self, damages: &[Damage], disturbance: Option<Disturbance>) {
        // A filter, and what tools of libxdp are shown, are known for ours by pins or records.
        let traces = damages.contains(&Damage::NoDatabase) && (self.refuses || !self.has_tcx);
        let untraceable = |damage: &Damage| {
            let pins = matches!(
                damage,
                Damage::NoBpffs | Damage::UnpinProgram { .. } | Damage::UnpinRevision { point: 1 }
            );
            traces && pins
        };
        let damages = damages.iter().filter(|damage| !untraceable(damage));
        self.count.broken += damages.filter_map(|damage| self.damage(damage)).count();
        let faults = disturbance.map_or_else(Faults::none, Disturbance::faults);
        self.machine.world.inject(faults);
        let repairs = Repairs {
            prune: true,
            reattach: true,
            keep: false,
        };
        let done = self.machine.manage(|manager| manager.reconcile(repairs));
        self.machine.world.inject(Faults::none());
        self.note(&done, disturbance);
        assert!(done.is_ok() || disturbance.is_some(), "{done:?}");
        let repair = || {
            self.machine
                .manage(|manager| manager.reconcile(repairs))
                .unwrap()
        };
        repair();
        let again = repair();
        let nothing = again.repaired.is_empty() && again.left.is_empty();
        assert!(nothing, "{again:?}");
        assert_consistent(&self.machine.world);
        for record in self.machine.world.places().records() {
            self.machine.unload(record.id()).unwrap();
        }
        self.assert_empty();
    }

    fn assert_empty(&self) {
        let places = self.machine.world.places();
        assert_eq!(places.programs.len(), 0, "{:?}", places.programs);
        assert_eq!(places.maps.len(), 0, "{:?}", places.maps);
        assert_eq!(places.links.len(), 0, "{:?}", places.links);
        assert_eq!(places.filters.len(), 0, "{:?}", places.filters);
        let pins = places.bpffs.values().flatten();
        let pins = pins.filter(|(_, node)| !matches!(node, Node::Directory));
        assert_eq!(pins.collect::<Vec<_>>(), []);
        let objects = self.machine.layout.programs();
        let files = places.files.keys();
        let left = files.filter(|path| path.is_below(&objects));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<&AbsolutePath>::new());
    }

    /// `None` when there is nothing to break.
    fn damage(&self, damage: &Damage) -> Option<()> {
        let (world, layout) = (&self.machine.world, &self.machine.layout);
        let places = world.places();
        let records = places.records();
        match damage {
            Damage::UnpinProgram { program } => {
                let id = self.programs[*program]?;
                let record = records.iter().find(|record| record.id() == id)?;
                world.unlink(&record.pin_path).ok()?;
            }
            Damage::UnpinLink { nth } => {
                let id = self.reference.nth_alone(*nth)?;
                let links = places.link_records();
                let link = links.iter().find(|link| link.id == id)?;
                world.unlink(link.pin_path.as_ref()?).ok()?;
            }
            Damage::UnpinHolder { point } => {
                world.unlink(self.dispatcher(*point)?.link()?.1).ok()?;
            }
            Damage::UnpinRevision { point } => {
                let directory = self.dispatcher(*point)?.directory(layout)?;
                world.unlink(&directory.join("dispatcher")).ok()?;
            }
            Damage::NewInterface { which } => {
                let interface = name(INTERFACES[*which]);
                world.remove_interface(None, &interface).ok()?;
                world.add_interface(None, &interface).unwrap();
            }
            Damage::Away { which } => {
                let interface = name(INTERFACES[*which]);
                world.move_interface(None, &interface, Some(&away())).ok()?;
            }
            Damage::Rename { which } => {
                let (interface, renamed) = (name(INTERFACES[*which]), name(RENAMED));
                world.rename_interface(None, &interface, &renamed).ok()?;
            }
            Damage::DetachHolder { point } => match self.dispatcher(*point)?.link() {
                Some((link, _)) => world.detach_foreign(link),
                None => world.remove_filter(places.filters.keys().next()?),
            },
            Damage::DetachLink { nth } => {
                let id = self.reference.nth_alone(*nth)?;
                let links = places.link_records();
                let link = links.iter().find(|link| link.id == id)?.kernel?;
                let found = places.links.get(&link)?;
                found.link_type.can_be_detached().then_some(())?;
                world.detach_foreign(link);
            }
            Damage::NoBpffs => {
                places.bpffs.get(&layout.bpffs())?;
                world.unmount_bpffs(&layout.bpffs()).unwrap();
            }
            Damage::NoDatabase => {
                records.first()?;
                world.unlink(&layout.database()).unwrap();
            }
            Damage::Litter => {
                let record = records.first()?;
                places.programs.get(&record.id())?;
                let again = layout.bpffs().join("prog_999");
                world.pin_foreign(record.identity, &again).ok()?;
                let directory = layout.programs().join("999");
                world.make_directories(&directory).ok()?;
                world
                    .put_file(&directory.join("bytecode.o"), b"left")
                    .ok()?;
            }
        }
        Some(())
    }

    /// The programs and links that are lost by what somebody broke: the kernel has them no more, or their interface is
    /// gone, or nobody knows them.
    fn lost(&self, damage: &Damage, before: &Places) -> (BTreeSet<usize>, BTreeSet<LinkId>) {
        let now = self.machine.world.places();
        let programs = self.programs.iter().enumerate();
        let programs = programs
            .filter(|(_, id)| id.is_some_and(|id| !now.programs.contains_key(&id)))
            .map(|(number, _)| number)
            .collect();
        let removed = match damage {
            Damage::NewInterface { which } => Some(*which),
            _ => None,
        };
        let alone = |link: &Link| {
            let on_third = self.reference.alone.iter();
            let mut on_third = on_third.filter(|(_, program)| *program == 4);
            let held = link.kernel.is_some_and(|id| now.links.contains_key(&id));
            !held || removed == Some(2) && on_third.any(|(id, _)| *id == link.id)
        };
        let mut links: BTreeSet<LinkId> = before
            .link_records()
            .iter()
            .filter(|link| link.details.membership().is_none() && alone(link))
            .map(|link| link.id)
            .collect();
        for (point, members) in self.reference.points.iter().enumerate() {
            let interface = name(INTERFACES[point]);
            let dispatchers = before.dispatchers();
            let dispatcher = dispatchers.iter().find(|one| one.at.interface == interface);
            let holder = dispatcher.and_then(Dispatcher::link);
            let held = holder.is_none_or(|(id, _)| now.links.contains_key(&id));
            // A filter does not move with its interface.
            let left_behind = matches!(damage, Damage::Away { which } if *which == point)
                && dispatcher.is_some_and(|one| one.filter().is_some());
            if !held || left_behind || removed == Some(point) {
                links.extend(members.iter().map(|member| member.link));
            }
        }
        if matches!(damage, Damage::NoDatabase) {
            links.extend(self.reference.all());
        }
        (programs, links)
    }

    fn check(&self) {
        assert_consistent(&self.machine.world);
        let places = self.machine.world.places();
        let recorded: BTreeSet<ProgramId> = places.records().iter().map(Program::id).collect();
        let expected: BTreeSet<ProgramId> = self.programs.iter().copied().flatten().collect();
        assert_eq!(recorded, expected);
        let records = places.link_records();
        let number = |link: &Link| {
            let mut programs = self.programs.iter();
            programs.position(|id| *id == Some(link.program)).unwrap()
        };
        let alone = records
            .iter()
            .filter(|link| link.details.membership().is_none());
        let alone: Vec<(LinkId, usize)> = alone.map(|link| (link.id, number(link))).collect();
        let mut expected = self.reference.alone.clone();
        expected.sort_unstable();
        assert_eq!(alone, expected);
        for (point, members) in self.reference.points.iter().enumerate() {
            let there = self.dispatcher(point);
            let found = there.map_or(Vec::new(), |one| one.members);
            let found: Vec<Member> = found
                .iter()
                .map(|id| {
                    let link = records.iter().find(|link| link.id == *id).unwrap();
                    Member::of(link, number(link))
                })
                .collect();
            assert_eq!(found, *members);
        }
    }
}
