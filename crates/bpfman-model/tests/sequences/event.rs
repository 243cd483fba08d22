//! What can happen.

use bpfman_model::Crash;
use bpfman_model::Faults;
use proptest::prelude::*;

/// Programs: two for XDP at the first interface, two for TC at the second, one for TCX at the third, one for a tracepoint.
pub(crate) const PROGRAMS: usize = 6;

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Load {
        program: usize,
    },
    Join {
        point: usize,
        program: usize,
        priority: u32,
        verdicts: usize,
        count: bool,
    },
    /// An attach of a program that shares nothing.
    Attach {
        program: usize,
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
    /// Nothing is wrong: nothing is to be done.
    Reconcile,
    /// Somebody breaks something, and it is reconciled.
    Break(Damage),
}

/// What somebody else does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Damage {
    UnpinProgram {
        program: usize,
    },
    UnpinLink {
        nth: usize,
    },
    /// Removes the pin of the link that holds an attach point.
    UnpinHolder {
        point: usize,
    },
    /// Removes the pin of what an attach point runs.
    UnpinRevision {
        point: usize,
    },
    /// Removes an interface, and makes another of its name.
    NewInterface {
        which: usize,
    },
    /// Takes an interface to another namespace, for a while.
    Away {
        which: usize,
    },
    /// Gives an interface another name, for a while.
    Rename {
        which: usize,
    },
    /// Detaches the link that holds an attach point, or removes its filter.
    DetachHolder {
        point: usize,
    },
    /// Detaches a link that stands alone.
    DetachLink {
        nth: usize,
    },
    NoBpffs,
    NoDatabase,
    Litter,
}

/// The verdicts after which a member goes on; the first is the default. Of both hooks these codes mean something.
pub(crate) const VERDICTS: [Option<&[i32]>; 5] =
    [None, Some(&[2]), Some(&[0, 3]), Some(&[]), Some(&[1, 2, 3])];

impl Event {
    /// The program that must be there before.
    pub(crate) fn needs(&self) -> Option<usize> {
        match self {
            Self::Join { point, program, .. } => Some(point * 2 + program % 2),
            Self::Attach { program } => Some(4 + program % 2),
            _ => None,
        }
    }
}

/// What comes in between.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disturbance {
    /// The effect of this number is refused.
    Refuse(usize),
    /// Every process is killed.
    Kill(Crash),
}

impl Disturbance {
    pub(crate) fn faults(self) -> Faults {
        match self {
            Self::Refuse(at) => Faults::none().at(at),
            Self::Kill(crash) => Faults::none().crashing(crash),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => (0..PROGRAMS).prop_map(|program| Damage::UnpinProgram { program }),
        2 => any::<usize>().prop_map(|nth| Damage::UnpinLink { nth }),
        2 => (0..2_usize).prop_map(|point| Damage::UnpinHolder { point }),
        2 => (0..2_usize).prop_map(|point| Damage::UnpinRevision { point }),
        2 => (0..3_usize).prop_map(|which| Damage::NewInterface { which }),
        2 => (0..3_usize).prop_map(|which| Damage::Away { which }),
        1 => (0..3_usize).prop_map(|which| Damage::Rename { which }),
        3 => (0..2_usize).prop_map(|point| Damage::DetachHolder { point }),
        2 => any::<usize>().prop_map(|nth| Damage::DetachLink { nth }),
        1 => Just(Damage::NoBpffs),
        1 => Just(Damage::NoDatabase),
        1 => Just(Damage::Litter),
    ]
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
        2 => (0..PROGRAMS).prop_map(|program| Event::Load { program }),
        6 => join.prop_map(|(point, program, priority, verdicts, count)| Event::Join {
            point, program, priority, verdicts, count,
        }),
        2 => (0..2_usize).prop_map(|program| Event::Attach { program }),
        3 => any::<usize>().prop_map(|nth| Event::Leave { nth }),
        2 => (any::<usize>(), prop::option::of(0..4_u32), prop::option::of(any_verdicts())).prop_map(
            |(nth, priority, verdicts)| Event::Alter { nth, priority, verdicts },
        ),
        2 => (0..PROGRAMS).prop_map(|program| Event::Replace { program }),
        1 => (0..PROGRAMS).prop_map(|program| Event::Unload { program }),
        1 => (0..2_usize).prop_map(|point| Event::Clear { point }),
        1 => Just(Event::Reconcile),
        3 => damage().prop_map(Event::Break),
    ]
}

/// A sequence.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    /// What happens, and what comes in between.
    pub(crate) events: Vec<(Event, Option<Disturbance>)>,
    /// What is broken at once in the end, and what comes between that and its repairing.
    pub(crate) wreck: (Vec<Damage>, Option<Disturbance>),
}

pub(crate) fn sequences() -> impl Strategy<Value = Sequence> {
    let disturbance = prop_oneof![
        (0..24_usize).prop_map(Disturbance::Refuse),
        (0..24_usize).prop_map(|at| Disturbance::Kill(Crash::Before(at))),
        (0..24_usize).prop_map(|at| Disturbance::Kill(Crash::After(at))),
    ];
    let disturbance = prop::option::weighted(0.5, disturbance).boxed();
    let events = prop::collection::vec((event(), disturbance.clone()), 1..24);
    let wreck = (prop::collection::vec(damage(), 0..5), disturbance);
    (events, wreck).prop_map(|(events, wreck)| Sequence { events, wreck })
}
