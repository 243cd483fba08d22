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
use bpfman_model::Faults;
use bpfman_model::link_types;
use proptest::prelude::*;

use self::common::Machine;
use self::common::among_others;
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

    /// Does it; the reference follows when it succeeds. `None` when there was nothing to do.
    fn happen(&mut self, event: &Event, faults: Faults) -> Option<Result<(), ManagerError>> {
        match event {
            Event::Join {
                point,
                program,
                priority,
                verdicts,
                count,
            } => {
                let program = point * 2 + program % 2;
                let spec = self.request(program, *priority, *verdicts, *count);
                self.machine.world.inject(faults);
                let done = self.machine.try_attach(&spec);
                Some(done.map(|link| self.reference.join(*point, Member::of(&link, program))))
            }
            Event::Leave { nth } => {
                let link = self.reference.nth(*nth)?;
                self.machine.world.inject(faults);
                let done = self.machine.detach(link);
                if done.is_ok() {
                    self.reference.leave(|member| member.link == link);
                }
                Some(done)
            }
            Event::Alter {
                nth,
                priority,
                verdicts,
            } => {
                let link = self.reference.nth(*nth)?;
                let verdicts = verdicts.and_then(|which| VERDICTS[which]);
                self.machine.world.inject(faults);
                let new = verdicts.map(<[i32]>::to_vec);
                let done = self.machine.alter(link, *priority, new);
                if done.is_ok() {
                    self.reference.alter(link, *priority, verdicts);
                }
                Some(done)
            }
            Event::Replace { program } => {
                let old = self.programs[*program]?;
                self.machine.world.inject(faults);
                let done = self.machine.replace(old);
                Some(done.map(|new| self.programs[*program] = Some(new.id())))
            }
            Event::Unload { program } => {
                let id = self.programs[*program]?;
                self.machine.world.inject(faults);
                let done = self.machine.unload(id);
                if done.is_ok() {
                    self.programs[*program] = None;
                    self.reference.leave(|member| member.program == *program);
                }
                Some(done)
            }
            Event::Clear { point } => {
                let dispatchers = self.machine.world.places().dispatchers();
                let ifindex = u32::try_from(point + 1).unwrap();
                let mut dispatchers = dispatchers.into_iter();
                let there = dispatchers.find(|one| one.at.ifindex.0 == ifindex)?;
                self.machine.world.inject(faults);
                let done = self.machine.delete_dispatcher(there.point());
                if done.is_ok() {
                    self.reference.points[*point].clear();
                }
                Some(done)
            }
        }
    }

    /// Lets a step of it fail, perhaps, and compares the world with what it was or should be. False when something is
    /// left that was reported.
    fn step(&mut self, event: &Event, fault: Option<usize>) -> bool {
        // What the event needs is loaded before.
        if let Event::Join { point, program, .. } = event {
            self.program(point * 2 + program % 2);
        }
        let before = self.machine.world.places();
        let faults = fault.map_or_else(Faults::none, |at| Faults::none().at(at));
        match self.happen(event, faults) {
            None | Some(Ok(())) => {}
            Some(Err(ManagerError::Execution(error))) if fault.is_some() => {
                // A detached link does not come back: its end is a plan's last step, but for removing files.
                if error.failed_undos.is_empty() {
                    assert_eq!(self.machine.world.places(), before);
                } else if self.refuses && !matches!(event, Event::Unload { .. }) {
                    // The fault was that of an undo, and what it left is reported.
                    return false;
                } else {
                    self.machine.world.inject(Faults::none());
                    assert!(matches!(event, Event::Unload { .. }), "{error}");
                    self.happen(event, Faults::none()).unwrap().unwrap();
                }
            }
            Some(Err(ManagerError::NotJoined { .. })) if fault.is_some() || self.refuses => {
                assert_eq!(self.machine.world.places(), before);
            }
            Some(Err(error)) => {
                assert!(self.refuses, "{error}");
                let verifier = error.to_string().contains("too large");
                let refused = matches!(error, ManagerError::PointRefused(_));
                assert!(verifier || refused, "{error:?}");
                assert_eq!(self.machine.world.places(), before);
            }
        }
        self.machine.world.inject(Faults::none());
        self.check();
        true
    }

    fn run(&mut self, events: &[(Event, Option<usize>)]) {
        for (event, fault) in events {
            if !self.step(event, *fault) {
                return;
            }
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

fn events() -> impl Strategy<Value = Vec<(Event, Option<usize>)>> {
    let fault = prop::option::weighted(0.4, 0..24_usize);
    prop::collection::vec((event(), fault), 1..24)
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
