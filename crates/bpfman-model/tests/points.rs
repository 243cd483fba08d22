//! Programs that share an attach point: whatever happens, in whatever order, and whatever fails.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_core::managed::AttachSpec;
use bpfman_core::managed::Link;
use bpfman_core::types::Engine;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramId;
use bpfman_manager::ManagerError;
use bpfman_model::Crash;
use bpfman_model::Faults;
use bpfman_model::Places;
use bpfman_model::link_types;
use proptest::prelude::*;

use self::common::Machine;
use self::common::among_others;
use self::common::differences;
use self::common::essence;
use self::common::shared::assert_consistent;
use self::common::tc;
use self::common::xdp;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Join {
        point: usize,
        program: usize,
        priority: u32,
        verdicts: usize,
        count: bool,
    },
    Leave {
        nth: usize,
    },
    Alter {
        nth: usize,
        priority: Option<u32>,
        verdicts: Option<usize>,
    },
    Replace {
        program: usize,
    },
    Unload {
        program: usize,
    },
    /// Detaches all of an attach point.
    Clear {
        point: usize,
    },
}

/// The verdicts after which a member goes on; the first is the default. Of both hooks these codes mean something.
const VERDICTS: [Option<&[i32]>; 5] =
    [None, Some(&[2]), Some(&[0, 3]), Some(&[]), Some(&[1, 2, 3])];

impl Event {
    /// The program that joins.
    fn joining(&self) -> Option<usize> {
        match self {
            Self::Join { point, program, .. } => Some(point * 2 + program % 2),
            _ => None,
        }
    }
}

/// What comes in between.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    /// The effect of this number is refused.
    Refuse(usize),
    /// Every process is killed.
    Kill(Crash),
}

impl Disturbance {
    fn faults(self) -> Faults {
        match self {
            Self::Refuse(at) => Faults::none().at(at),
            Self::Kill(crash) => Faults::none().crashing(crash),
        }
    }
}

fn same_records(one: &Places, other: &Places) -> bool {
    let records = |places: &Places| {
        let links = places.link_records();
        (places.records(), links, places.dispatchers())
    };
    records(one) == records(other)
}

fn event() -> impl Strategy<Value = Event> {
    let any_verdicts = || 0..VERDICTS.len();
    let join = (
        0..2_usize,
        0..4_usize,
        0..4_u32,
        any_verdicts(),
        prop::bool::weighted(0.2),
    );
    prop_oneof![
        6 => join.prop_map(|(point, program, priority, verdicts, count)| Event::Join {
            point, program, priority, verdicts, count,
        }),
        3 => any::<usize>().prop_map(|nth| Event::Leave { nth }),
        2 => (any::<usize>(), prop::option::of(0..4_u32), prop::option::of(any_verdicts())).prop_map(
            |(nth, priority, verdicts)| Event::Alter { nth, priority, verdicts },
        ),
        2 => (0..4_usize).prop_map(|program| Event::Replace { program }),
        1 => (0..4_usize).prop_map(|program| Event::Unload { program }),
        1 => (0..2_usize).prop_map(|point| Event::Clear { point }),
    ]
}

/// A member as the reference knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    link: LinkId,
    program: usize,
    priority: u32,
    proceed_on: Vec<i32>,
}

impl Member {
    fn of(link: &Link, program: usize) -> Self {
        let membership = link.details.membership().unwrap();
        Self {
            link: link.id,
            program,
            priority: Priority::get(membership.priority),
            proceed_on: membership.proceed_on.to_vec(),
        }
    }
}

/// The reference: who is where, in which order.
#[derive(Clone, Debug, Default)]
struct Reference {
    points: [Vec<Member>; 2],
}

impl Reference {
    fn all(&self) -> Vec<LinkId> {
        let all = self.points.iter().flatten();
        all.map(|member| member.link).collect()
    }

    fn nth(&self, nth: usize) -> Option<LinkId> {
        let all = self.all();
        all.get(nth.checked_rem(all.len())?).copied()
    }

    /// New ones stand before their equals; a moved one is sorted by name, and all here have the same at a point.
    fn join(&mut self, point: usize, member: Member) {
        let members = &mut self.points[point];
        let before = members
            .iter()
            .position(|other| other.priority >= member.priority);
        members.insert(before.unwrap_or(members.len()), member);
    }

    fn leave(&mut self, gone: impl Fn(&Member) -> bool) {
        for members in &mut self.points {
            members.retain(|member| !gone(member));
        }
    }

    fn alter(&mut self, link: LinkId, priority: Option<u32>, proceed_on: Option<&[i32]>) {
        for members in &mut self.points {
            if let Some(member) = members.iter_mut().find(|member| member.link == link) {
                member.priority = priority.unwrap_or(member.priority);
                if let Some(verdicts) = proceed_on {
                    member.proceed_on = verdicts.to_vec();
                }
            }
            // Stable: equals stay as they stood.
            members.sort_by_key(|member| member.priority);
        }
    }
}

/// A machine with two attach points, and four programs that are loaded when they are needed.
struct Scene {
    machine: Machine,
    engine: Engine,
    programs: [Option<ProgramId>; 4],
    reference: Reference,
    /// Whether some changes are refused by plan or kernel without any fault.
    refuses: bool,
}

/// Programs 0 and 1 are for the first attach point, of XDP, the others for the second, of TC.
fn point_of(program: usize) -> usize {
    program / 2
}

impl Scene {
    fn new(engine: Engine) -> Self {
        Self {
            machine: Machine::new().with_interfaces(&["eth0", "eth1"]),
            engine,
            programs: [None; 4],
            reference: Reference::default(),
            refuses: engine == Engine::Extension,
        }
    }

    fn program(&mut self, number: usize) -> ProgramId {
        let engine = if number.is_multiple_of(2) {
            self.engine
        } else {
            Engine::Auto
        };
        let name = ["pass", "filter"][point_of(number)];
        let loaded = || self.machine.load_for(engine, name, None).id();
        *self.programs[number].get_or_insert_with(loaded)
    }

    fn request(
        &mut self,
        program: usize,
        priority: u32,
        verdicts: usize,
        count: bool,
    ) -> AttachSpec {
        let id = self.program(program);
        let records = self.machine.world.places().records();
        let record = records.iter().find(|record| record.id() == id).unwrap();
        let spec = match point_of(program) {
            0 => xdp(record, "eth0"),
            _ => tc(record, "eth1"),
        };
        among_others(spec, priority, VERDICTS[verdicts], count)
    }

    /// Does it. `None` when there is nothing to do.
    fn attempt(&mut self, event: &Event, faults: Faults) -> Option<Result<(), ManagerError>> {
        let machine = &self.machine;
        Some(match event {
            Event::Join {
                priority,
                verdicts,
                count,
                ..
            } => {
                let spec = self.request(event.joining()?, *priority, *verdicts, *count);
                self.machine.world.inject(faults);
                self.machine.try_attach(&spec).map(drop)
            }
            Event::Leave { nth } => {
                let link = self.reference.nth(*nth)?;
                machine.world.inject(faults);
                machine.detach(link)
            }
            Event::Alter {
                nth,
                priority,
                verdicts,
            } => {
                let link = self.reference.nth(*nth)?;
                let new = verdicts.and_then(|which| VERDICTS[which]);
                machine.world.inject(faults);
                machine.alter(link, *priority, new.map(<[i32]>::to_vec))
            }
            Event::Replace { program } => {
                let old = self.programs[*program]?;
                machine.world.inject(faults);
                machine.replace(old).map(drop)
            }
            Event::Unload { program } => {
                let id = self.programs[*program]?;
                machine.world.inject(faults);
                machine.unload(id)
            }
            Event::Clear { point } => {
                let dispatchers = machine.world.places().dispatchers();
                let ifindex = u32::try_from(point + 1).unwrap();
                let mut dispatchers = dispatchers.into_iter();
                let there = dispatchers.find(|one| one.at.ifindex.0 == ifindex)?;
                machine.world.inject(faults);
                machine.delete_dispatcher(there.point())
            }
        })
    }

    /// The reference follows what has happened.
    fn follow(&mut self, event: &Event, before: &Places) {
        let after = self.machine.world.places();
        match event {
            Event::Join { point, .. } => {
                let known = before.link_records();
                let mut links = after.link_records().into_iter();
                let link = links.find(|link| known.iter().all(|known| known.id != link.id));
                let member = Member::of(&link.unwrap(), event.joining().unwrap());
                self.reference.join(*point, member);
            }
            Event::Leave { nth } => {
                let link = self.reference.nth(*nth).unwrap();
                self.reference.leave(|member| member.link == link);
            }
            Event::Alter {
                nth,
                priority,
                verdicts,
            } => {
                let link = self.reference.nth(*nth).unwrap();
                let verdicts = verdicts.and_then(|which| VERDICTS[which]);
                self.reference.alter(link, *priority, verdicts);
            }
            Event::Replace { program } => {
                let known = before.records();
                let mut records = after.records().into_iter();
                let new = records.find(|new| known.iter().all(|known| known.id() != new.id()));
                self.programs[*program] = Some(new.unwrap().id());
            }
            Event::Unload { program } => {
                self.programs[*program] = None;
                self.reference.leave(|member| member.program == *program);
            }
            Event::Clear { point } => self.reference.points[*point].clear(),
        }
    }

    /// Lets it fail at a step, perhaps, or be killed there, and compares the world with what it was or should be.
    fn step(&mut self, event: &Event, disturbance: Option<Disturbance>) {
        // What the event needs is loaded before.
        if let Some(program) = event.joining() {
            self.program(program);
        }
        let before = self.machine.world.places();
        let faults = disturbance.map_or_else(Faults::none, Disturbance::faults);
        let Some(done) = self.attempt(event, faults) else {
            return;
        };
        let found = self.machine.world.places();
        self.machine.world.inject(Faults::none());
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
            Err(error) => {
                assert!(self.refuses, "{error}");
                let verifier = error.to_string().contains("too large");
                let refused = matches!(error, ManagerError::PointRefused(_));
                assert!(verifier || refused, "{error:?}");
                assert_eq!(found, before);
            }
        }
        self.check();
    }

    fn run(&mut self, events: &[(Event, Option<Disturbance>)]) {
        for (event, disturbance) in events {
            self.step(event, *disturbance);
        }
    }

    fn check(&self) {
        assert_consistent(&self.machine.world);
        let places = self.machine.world.places();
        let records = places.link_records();
        for (point, members) in self.reference.points.iter().enumerate() {
            let dispatchers = places.dispatchers();
            let mut dispatchers = dispatchers.iter();
            let ifindex = u32::try_from(point + 1).unwrap();
            let there = dispatchers.find(|one| one.at.ifindex.0 == ifindex);
            let found = there.map_or(Vec::new(), |one| one.members.clone());
            let found: Vec<Member> = found
                .iter()
                .map(|id| {
                    let link = records.iter().find(|link| link.id == *id).unwrap();
                    let mut programs = self.programs.iter();
                    let program = programs.position(|id| *id == Some(link.program));
                    Member::of(link, program.unwrap())
                })
                .collect();
            assert_eq!(found, *members);
        }
    }
}

fn events() -> impl Strategy<Value = Vec<(Event, Option<Disturbance>)>> {
    let disturbance = prop_oneof![
        (0..24_usize).prop_map(Disturbance::Refuse),
        (0..24_usize).prop_map(|at| Disturbance::Kill(Crash::Before(at))),
        (0..24_usize).prop_map(|at| Disturbance::Kill(Crash::After(at))),
    ];
    let disturbance = prop::option::weighted(0.5, disturbance);
    prop::collection::vec((event(), disturbance), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chains_run_their_members_in_order_whatever_happens_and_fails(events in events()) {
        Scene::new(Engine::Auto).run(&events);
    }

    #[test]
    fn dispatchers_run_their_members_in_order_whatever_happens_and_fails(events in events()) {
        Scene::new(Engine::Extension).run(&events);
    }

    #[test]
    fn filters_run_their_members_in_order_whatever_happens_and_fails(
        events in events(),
        engine in prop_oneof![Just(Engine::Auto), Just(Engine::Extension)],
    ) {
        let mut scene = Scene::new(engine);
        scene.machine.world.lack(link_types::TCX);
        scene.run(&events);
    }

    #[test]
    fn members_that_the_verifier_takes_in_no_chain_become_extensions(
        events in events(),
        most in 8..24_usize,
    ) {
        let mut scene = Scene::new(Engine::Auto);
        scene.machine.world.limit_instructions(most);
        scene.refuses = true;
        scene.run(&events);
    }
}
