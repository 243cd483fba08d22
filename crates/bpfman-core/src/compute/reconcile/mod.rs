//! What records, kernel, bpffs and files disagree about, and what makes them agree.

mod links;
mod mount;
mod orphans;
mod points;
mod programs;
mod room;
mod rule;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;

pub use links::ObservedLink;
pub use links::Reattach;
pub use orphans::kept_chains;
pub use points::ObservedPoint;
pub use programs::ObservedProgram;
pub use programs::ProgramState;
pub use room::Room;
pub use rule::Rule;
pub use rule::Severity;

use super::Change;
use super::JoinedAs;
use super::Refused;
use super::UnloadSnapshot;
use crate::action::Plan;
use crate::compute::load::mount_bpffs;
use crate::compute::pins::on_fresh_bpffs;
use crate::kernel;
use crate::kernel::BpffsMount;
use crate::kernel::PinState;
use crate::links::AttachPoint;
use crate::links::TcFilter;
use crate::managed::Dispatcher;
use crate::managed::Link;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;

/// All there is, gathered once and whole: what the kernel refused to tell is an error of the caller, never something
/// that is not there.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The directories of records and objects that are there, and what room they have.
    pub room: Vec<(AbsolutePath, Room)>,
    /// Whether our bpffs is mounted, and where.
    pub bpffs: BpffsMount,
    /// Every record of a program.
    pub programs: Vec<ObservedProgram>,
    /// What an unload would find of those that are gone.
    pub gone: BTreeMap<ProgramId, UnloadSnapshot>,
    /// The records that are kept beside objects and nowhere else, with what is at their pins.
    pub lost: Vec<(Program, PinState)>,
    /// Every record of a link.
    pub links: Vec<Link>,
    /// Those that stand alone.
    pub alone: Vec<ObservedLink>,
    /// Every record of an attach point.
    pub points: Vec<ObservedPoint>,
    /// Every pin on our bpffs.
    pub pins: Vec<(AbsolutePath, PinState)>,
    /// Every pin where tools of libxdp look for members of dispatchers; theirs, too.
    pub shown: Vec<(AbsolutePath, PinState)>,
    /// What is at our place among the filters of TC on each interface of our own network namespace.
    pub filters: Vec<(TcFilter, ProgramId)>,
    /// The chains that are in the kernel, also those of another bpfman.
    pub chains: Vec<kernel::Program>,
    /// What lies in the directory of objects.
    pub files: Vec<AbsolutePath>,
    /// The links whose programs the kernel refused to join with the others.
    pub refused: Refused,
    /// How members are joined where what an attach point runs is made anew.
    pub joined: JoinedAs,
}

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub rule: Rule,
    /// With what.
    pub subject: String,
    /// What is to be done about it.
    pub repair: Repair,
    /// What else is known of it, a line each.
    pub notes: Vec<String>,
    /// Whether records go of what no longer runs: that is no repair.
    pub forgets: bool,
}

/// How far a reconciliation goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// What no record knows and may be at work is ended.
    pub prune: bool,
    /// What somebody detached is attached again.
    pub reattach: bool,
    /// Records stay of what the kernel no longer has and could be attached again: nobody has asked yet.
    pub keep: bool,
}

impl Finding {
    fn new(rule: Rule, subject: String, repair: Repair) -> Self {
        Self {
            rule,
            subject,
            repair,
            notes: Vec::new(),
            forgets: false,
        }
    }

    fn note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Its repair has to wait for another; the next look tells.
    fn later(mut self) -> Self {
        self.repair = Repair::Later;
        self
    }

    fn forgets(mut self) -> Self {
        self.forgets = matches!(self.repair, Repair::Plan(_));
        self
    }

    /// What is left for the next command to finish.
    #[must_use]
    pub fn interrupted(plan: Plan) -> Self {
        Self::new(Rule::Interrupted, plan.operation.clone(), plan.into())
    }

    /// Whether its plan attaches something again, which somebody else may keep it from.
    #[must_use]
    pub fn attaches(&self) -> bool {
        use Rule as R;
        let rule = matches!(
            self.rule,
            R::LinkDetached | R::LinkGone | R::PointDetached | R::PointGone
        );
        rule && !self.forgets
    }
}

/// What is to be done about a disagreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// This.
    Plan(Plan),
    /// This comes once what is found before it is repaired.
    Later,
    /// Nothing, for this reason.
    Nothing(String),
}

impl Repair {
    /// A plan, or the refusal of one.
    fn of(plan: Result<Plan, impl Display>) -> Self {
        match plan {
            Ok(plan) => plan.into(),
            Err(refusal) => Self::Nothing(format!("{refusal}")),
        }
    }
}

impl From<Plan> for Repair {
    fn from(plan: Plan) -> Self {
        Self::Plan(plan)
    }
}

/// What every plan that pins something again stands on.
#[derive(Clone, Copy)]
struct Ground<'a> {
    layout: &'a RuntimeLayout,
    refused: &'a Refused,
    joined: JoinedAs,
    bpffs_mounted: bool,
}

impl Ground<'_> {
    /// Mounts our bpffs where a pin needs it; answers what is at the pin then.
    fn mount(self, plan: &mut Plan, path: &AbsolutePath, pin: &PinState) -> PinState {
        if self.bpffs_mounted || !path.is_below(&self.layout.bpffs()) {
            return pin.clone();
        }
        mount_bpffs(plan, self.layout);
        on_fresh_bpffs(self.layout)
    }
}

/// Looks at everything; `repairs` says how far the plans go. They can be carried out one after the other: at most one of them
/// changes an attach point. Whoever carries them out looks again, until there is nothing to do.
#[must_use]
pub fn reconcile(facts: &Facts, repairs: Repairs, layout: &RuntimeLayout) -> Vec<Finding> {
    if let BpffsMount::Elsewhere { .. } = facts.bpffs {
        return mount::examine(&facts.bpffs, layout).into_iter().collect();
    }
    let prune = repairs.prune;
    let ground = Ground {
        layout,
        refused: &facts.refused,
        joined: facts.joined,
        bpffs_mounted: facts.bpffs.is_mounted(),
    };
    let mut findings = room::examine(&facts.room);
    findings.extend(mount::examine(&facts.bpffs, layout));
    findings.extend(found_again(facts).map(programs::record_again));
    let mut changed: Vec<AttachPoint> = Vec::new();
    for program in &facts.programs {
        let gone = facts.gone.get(&program.record.id());
        let points = gone.map(points_of).unwrap_or_default();
        // Another that is gone leaves the same attach point, and takes all that are gone with it.
        let free = points.iter().all(|point| !changed.contains(point));
        changed.extend(points);
        let gone = gone
            .filter(|_| free)
            .map(|snapshot| without_all_that_are_gone(snapshot, facts));
        findings.extend(programs::examine(program, gone.as_ref(), ground));
    }
    let left = facts.alone.iter();
    let left = left.filter(|one| !facts.gone.contains_key(&one.snapshot.link.program));
    findings.extend(left.filter_map(|one| links::examine(one, ground, repairs)));
    for point in &facts.points {
        findings.extend(points::examine(point, facts, ground, repairs));
    }
    findings.extend(facts.points.iter().flat_map(points::left_out));
    findings.extend(points::without_point(&facts.links, &facts.points));
    findings.extend(orphans::examine_chains(facts));
    // Once what a filter runs has lost its pin, nothing tells that it is ours.
    findings.extend(orphans::examine_filters(facts, prune));
    findings.extend(orphans::examine_pins(facts, prune, layout));
    findings.extend(orphans::examine_files(facts, layout));
    findings
        .into_iter()
        .map(|finding| mount::lasting(finding, &facts.bpffs))
        .collect()
}

/// The programs that have lost nothing but their records.
fn found_again(facts: &Facts) -> impl Iterator<Item = &Program> {
    let lost = facts.lost.iter().filter(|(record, pin)| record.is_at(pin));
    lost.map(|(record, _)| record)
}

/// An unload with which all members leave whose programs are gone: none of them could be joined to the others any more.
fn without_all_that_are_gone(snapshot: &UnloadSnapshot, facts: &Facts) -> UnloadSnapshot {
    let mut together = snapshot.clone();
    for (point, change) in &mut together.points {
        if let Change::Leave(leaving) = change {
            let others = point.links().filter(|member| {
                let leaves = leaving.iter().any(|one| one.link.id == member.link.id);
                facts.gone.contains_key(&member.link.program) && !leaves
            });
            leaving.extend(others.cloned().collect::<Vec<_>>());
        }
    }
    together
}

/// The attach points that the members of a program leave with it.
fn points_of(gone: &UnloadSnapshot) -> Vec<AttachPoint> {
    let records = gone.points.iter();
    let records = records.filter_map(|(facts, _)| facts.dispatcher.as_ref());
    records.map(Dispatcher::point).collect()
}
