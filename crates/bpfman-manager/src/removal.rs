//! Taking members out, which is never refused: those that stay and cannot be joined any more are left out.

use bpfman_core::action::Plan;
use bpfman_core::compute::JoinedAs;
use bpfman_core::compute::Joining;
use bpfman_core::compute::PointRefusal;
use bpfman_core::compute::Refused;
use bpfman_core::compute::UnloadRefusal;
use bpfman_core::compute::trial;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::LinkId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::executor::Recorded;
use bpfman_interpreter::runtime::WriterStore;

use crate::Manager;
use crate::ManagerError;

impl Manager<'_> {
    /// Carries out a plan that takes members out. `stay` are the links that stay, in the order in which they run.
    ///
    /// All of them are joined, by any engine. Where they cannot be, as many as can are.
    pub(crate) fn take_out(
        &mut self,
        plan: impl Fn(Joining<'_>, &RuntimeLayout) -> Result<Plan, ManagerError>,
        stay: &[LinkId],
        store: &mut dyn WriterStore,
    ) -> Result<Recorded, ManagerError> {
        let all = |joined, layout: &RuntimeLayout| plan(Joining::All(joined), layout);
        let mut why = match self.run_by_any_engine(all, None, &[], store) {
            Err(error) if is_of_those_who_stay(&error) => error,
            done => return done,
        };
        let possible = |refused: &Refused, joined, layout: &RuntimeLayout| {
            plan(Joining::Possible(refused, joined), layout)
        };
        let mut refused = Refused::new();
        loop {
            // What our own rules refuse the plan leaves out by itself.
            if is_from_kernel(&why) {
                let plan = |refused: &Refused, joined, layout: &RuntimeLayout| {
                    possible(refused, joined, layout).ok()
                };
                match self.at_fault(plan, stay, &refused, store) {
                    Some(link) => refused.insert(link, why.to_string()),
                    None => return Err(why),
                };
            }
            let plan = |joined, layout: &RuntimeLayout| possible(&refused, joined, layout);
            why = match self.run_joined(plan, &[], store) {
                Err((_, ManagerError::Execution(error))) if is_load_refused(&error) => error.into(),
                done => return done.map_err(|(_, error)| error),
            };
        }
    }

    /// The plan of a removal, as far as it can be told without asking the verifier.
    pub(crate) fn removal_plan(
        &self,
        plan: impl Fn(Joining<'_>, &RuntimeLayout) -> Result<Plan, ManagerError>,
    ) -> Result<Plan, ManagerError> {
        match plan(Joining::All(JoinedAs::Inlined), &self.layout) {
            Err(error) if is_of_those_who_stay(&error) => plan(
                Joining::Possible(&Refused::new(), JoinedAs::Inlined),
                &self.layout,
            ),
            planned => planned,
        }
    }

    /// The first link with which the kernel refuses those that run before it. `None` when it takes all of them.
    pub(crate) fn at_fault(
        &mut self,
        plan: impl Fn(&Refused, JoinedAs, &RuntimeLayout) -> Option<Plan>,
        stay: &[LinkId],
        refused: &Refused,
        store: &mut dyn WriterStore,
    ) -> Option<LinkId> {
        let left: Vec<LinkId> = stay
            .iter()
            .copied()
            .filter(|link| !refused.contains_key(link))
            .collect();
        let mut fit = |count: usize, ways: &[JoinedAs]| {
            let mut refused = refused.clone();
            refused.extend(left[count..].iter().map(|link| (*link, String::new())));
            ways.iter().any(|joined| {
                let trial = plan(&refused, *joined, &self.layout).map(|plan| trial(&plan));
                trial.is_some_and(|trial| self.run(&trial, store).is_ok())
            })
        };
        // What it refused a moment ago it may take now.
        if fit(left.len(), &[JoinedAs::Inlined]) {
            return None;
        }
        // The kernel takes the first `good`, and not the first `bad`.
        let (mut good, mut bad) = (0, left.len());
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match fit(middle, &[JoinedAs::Inlined, JoinedAs::Called]) {
                true => good = middle,
                false => bad = middle,
            }
        }
        left.get(good).copied()
    }
}

/// Whether a removal failed for those who stay.
fn is_of_those_who_stay(error: &ManagerError) -> bool {
    match error {
        ManagerError::PointRefused(refusal)
        | ManagerError::UnloadRefused(UnloadRefusal::Point(refusal)) => !matches!(
            refusal,
            PointRefusal::Foreign { .. }
                | PointRefusal::AttachedAlready { .. }
                | PointRefusal::PinLost { .. }
                | PointRefusal::NotAttached { .. }
                | PointRefusal::RecordInTheWay { .. }
                | PointRefusal::OtherMode { .. }
        ),
        ManagerError::NotJoined { .. } => true,
        ManagerError::Execution(error) => is_load_refused(error),
        _ => false,
    }
}

/// Whether the kernel was asked.
fn is_from_kernel(error: &ManagerError) -> bool {
    match error {
        ManagerError::Execution(_) => true,
        ManagerError::NotJoined { chain, .. } => is_from_kernel(chain),
        _ => false,
    }
}

/// Whether a plan was undone for a reason that another choice of programs may not meet.
pub(crate) fn is_load_refused(error: &ExecutionError) -> bool {
    use KernelErrorKind as Kind;
    let ActionError::Kernel(cause) = &error.cause else {
        return false;
    };
    let of_programs = match cause.kind {
        Kind::Verifier => true,
        // Whoever may not load, or has no memory left, may not load less either.
        Kind::Permission | Kind::NoSpace | Kind::Stale | Kind::Helper => false,
        _ => error.loads_chain,
    };
    of_programs && error.is_undone()
}
