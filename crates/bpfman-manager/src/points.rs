//! Attach points that several programs share: what there is of one, and how a change of it is carried out.

use std::collections::BTreeMap;

use bpfman_core::action::Action;
use bpfman_core::action::KeptInstructions;
use bpfman_core::action::Plan;
use bpfman_core::chain::kernel_functions;
use bpfman_core::compute::Change;
use bpfman_core::compute::JoinedAs;
use bpfman_core::compute::Joining;
use bpfman_core::compute::LostPin;
use bpfman_core::compute::Member;
use bpfman_core::compute::MemberFacts;
use bpfman_core::compute::Occupants;
use bpfman_core::compute::PointFacts;
use bpfman_core::compute::PointRefusal;
use bpfman_core::compute::PointState;
use bpfman_core::compute::ReplaceRefusal;
use bpfman_core::compute::TC_FILTER;
use bpfman_core::compute::Target;
use bpfman_core::compute::UnloadRefusal;
use bpfman_core::compute::Whereabouts;
use bpfman_core::compute::at_fault;
use bpfman_core::compute::plan_change;
use bpfman_core::compute::remaining;
use bpfman_core::compute::running_pin;
use bpfman_core::compute::runs_alone;
use bpfman_core::compute::shown_pin;
use bpfman_core::compute::why_invalid;
use bpfman_core::compute::without_fragments;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::kernel::PinState;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::SharedHook;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::Program;
use bpfman_core::object::function_names;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::Engine;
use bpfman_core::types::LIBXDP_BPFFS;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::executor::Recorded;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::runtime::WriterStore;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::targets::TargetError;

use crate::Manager;
use crate::ManagerError;
use crate::whereabouts::Networks;

impl Manager<'_> {
    /// Changes what runs at an attach point.
    pub(crate) fn change_point(
        &mut self,
        facts: &PointFacts,
        change: &Change,
        store: &mut dyn WriterStore,
    ) -> Result<Recorded, ManagerError> {
        let plan = |joining: Joining<'_>, layout: &RuntimeLayout| {
            Ok(plan_change(facts, change, joining, layout)?)
        };
        let done = match change {
            Change::Leave(_) => self.take_out(plan, &remaining(facts, change), store),
            _ => self.run_by_any_engine(
                |joined, layout| plan(Joining::All(joined), layout),
                Some((facts, change)),
                &[],
                store,
            ),
        };
        done.map_err(|error| explain(facts, change, None, error))
    }

    /// Carries out a plan that joins programs into chains. Where they cannot be joined, they become extensions of a
    /// dispatcher, if the kernel lets them. `point` is where they are joined, for who is at fault if they cannot;
    /// `earlier` undoes what the operation did before.
    pub(crate) fn run_by_any_engine(
        &mut self,
        plan: impl Fn(JoinedAs, &RuntimeLayout) -> Result<Plan, ManagerError>,
        point: Option<(&PointFacts, &Change)>,
        earlier: &[Action],
        store: &mut dyn WriterStore,
    ) -> Result<Recorded, ManagerError> {
        let why = match self.run_joined(&plan, earlier, store) {
            Ok(done) => return Ok(done),
            Err((_, error)) if !is_not_joined(&error) => return Err(error),
            Err((joined, error)) => match point {
                Some((facts, change)) => explain(facts, change, Some(joined), error),
                None => error,
            },
        };
        let Ok(plan) = plan(JoinedAs::Extensions, &self.layout) else {
            return Err(why);
        };
        let plan = self.lasting(plan)?;
        let extended = self.executor(store).run_after(earlier, &plan);
        extended.map_err(|error| match error.is_undone() {
            // Why there is no chain says more than why there is nothing in its place.
            true => ManagerError::NotJoined {
                chain: Box::new(why),
                extension: error.cause,
            },
            false => error.into(),
        })
    }

    /// Carries out a plan that joins programs into chains. Where the kernel refuses one with members that are inlined,
    /// all of them are called, once. An error comes with the way to join that met it.
    pub(crate) fn run_joined(
        &mut self,
        plan: impl Fn(JoinedAs, &RuntimeLayout) -> Result<Plan, ManagerError>,
        earlier: &[Action],
        store: &mut dyn WriterStore,
    ) -> Result<Recorded, (JoinedAs, ManagerError)> {
        let mut lasting = |joined| {
            let plan = plan(joined, &self.layout)?;
            self.lasting(plan)
        };
        let failed = |joined| move |error| (joined, error);
        let inlined = lasting(JoinedAs::Inlined).map_err(failed(JoinedAs::Inlined))?;
        // Where none is inlined, there is no other way.
        let called = lasting(JoinedAs::Called);
        let called = called.ok().filter(|called| *called != inlined);
        let why = match self.executor(&mut *store).run_after(earlier, &inlined) {
            Ok(done) => return Ok(done),
            Err(error) => ManagerError::from(error),
        };
        match called {
            Some(called) if is_not_joined(&why) => {
                let done = self.executor(store).run_after(earlier, &called);
                done.map_err(|error| (JoinedAs::Called, error.into()))
            }
            _ => Err((JoinedAs::Inlined, why)),
        }
    }

    pub(crate) fn run(
        &mut self,
        plan: &Plan,
        store: &mut dyn WriterStore,
    ) -> Result<Recorded, ExecutionError> {
        self.executor(store).run(plan)
    }

    /// What there is of an attach point. `joins` says that a program is about to join, by an engine.
    pub(crate) fn point_facts<S: ReaderStore + ?Sized>(
        &mut self,
        hook: SharedHook,
        at: LinkInterface,
        joins: Option<Engine>,
        store: &S,
    ) -> Result<PointFacts, ManagerError> {
        let mut networks = Networks::of(store)?;
        let seen = match joins {
            Some(_) => self.point_to_join(hook, &at, store, &mut networks)?,
            None => {
                let found = store.dispatcher(&at.point(hook.hook()))?;
                found
                    .map(|found| self.see_point(found, &mut networks))
                    .transpose()?
            }
        };
        let now = seen.as_ref().and_then(|seen| seen.at_now());
        let (dispatcher, state, runs) = match seen {
            Some(seen) => (Some(seen.dispatcher), seen.state, seen.runs),
            None => (None, PointState::Missing, None),
        };
        let occupants = match joins {
            Some(engine) if state != PointState::Attached => {
                Some(self.occupants(hook, &at, engine)?)
            }
            _ => None,
        };
        let foreign = match occupants
            .as_ref()
            .and_then(|there| there.sole_program(hook))
        {
            Some(id) => self.kernel.program(id, Detail::Info)?,
            None => None,
        };
        let recorded = dispatcher.iter().flat_map(|record| record.members.clone());
        let members = self.members_of(recorded, store)?;
        let recorded = dispatcher.iter().flat_map(|record| &record.left_out);
        let left_out = self.members_of(recorded.map(|left_out| left_out.link), store)?;
        let libxdp = match (hook, libxdp_bpffs()) {
            (SharedHook::Xdp { .. }, Some(path)) => self.kernel.is_bpffs_root(&path)?,
            _ => false,
        };
        let lost_pin = match &dispatcher {
            Some(record) if runs == Some(record.program) => self.lost_pin(record, &members)?,
            _ => None,
        };
        let namespace_deleted = match state {
            PointState::Defunct | PointState::Missing => self.is_deleted(&at)?,
            PointState::Attached | PointState::Detached | PointState::Unpinned => false,
        };
        tracing::debug!(target: "manager", "has gathered the facts");
        Ok(PointFacts {
            hook,
            namespace_deleted,
            lost_pin,
            shown: self.shown(dispatcher.as_ref().filter(|_| libxdp), &members)?,
            // A record that outlived its interface says nothing of the one that has its numbers now.
            at: now.unwrap_or(at),
            frames: self.targets.frames(),
            bpffs_mounted: self.kernel.is_bpffs_root(&self.layout.bpffs())?,
            dispatcher,
            state,
            runs,
            members,
            left_out,
            occupants,
            foreign,
            libxdp,
        })
    }

    /// Whether the network namespace of a recorded interface is deleted. One that has no path may only be another than
    /// ours, and one whose file is none any more may only not be mounted where we are.
    fn is_deleted(&self, at: &LinkInterface) -> Result<bool, ManagerError> {
        let Some(path) = &at.netns else {
            return Ok(false);
        };
        match self.targets.namespace(Some(path)) {
            Ok(found) => Ok(found != at.nsid),
            Err(error) if error.is_missing() => Ok(true),
            Err(TargetError::NotANamespace { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Links of a record and their programs; those that have lost their own records are left out.
    fn members_of<S: ReaderStore + ?Sized>(
        &mut self,
        ids: impl Iterator<Item = LinkId>,
        store: &S,
    ) -> Result<Vec<Member>, ManagerError> {
        let mut members = Vec::new();
        for id in ids {
            match store.link(id) {
                Ok(link) => members.push(self.member(link, true, store)?),
                Err(StoreError::LinkNotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(members)
    }

    /// The pin of what runs as recorded, when that is not at it.
    fn lost_pin(
        &mut self,
        dispatcher: &Dispatcher,
        members: &[Member],
    ) -> Result<Option<LostPin>, ManagerError> {
        // One that runs alone has only its own pin, which was looked at.
        let alone = dispatcher.directory(&self.layout).is_none();
        if alone && members.first().is_some_and(|member| member.at_pin) {
            return Ok(None);
        }
        let Some(path) = running_pin(dispatcher, members, &self.layout) else {
            return Ok(None);
        };
        let state = self.kernel.pin_state(&path, Detail::Info)?;
        let program = match &state {
            PinState::Program(found) if found.identity.id == dispatcher.program => return Ok(None),
            PinState::Free { .. } => self.kernel.program(dispatcher.program, Detail::Info)?,
            _ => None,
        };
        Ok(Some(LostPin {
            path,
            state,
            program: program.map(|program| program.identity),
        }))
    }

    /// The programs that show the members of a dispatcher to tools of libxdp.
    fn shown(
        &mut self,
        dispatcher: Option<&Dispatcher>,
        members: &[Member],
    ) -> Result<BTreeMap<LinkId, ProgramId>, ManagerError> {
        let mut shown = BTreeMap::new();
        for Member { link, .. } in members {
            let pin = dispatcher.and_then(|dispatcher| shown_pin(dispatcher, link));
            if let Some(path) = pin
                && let PinState::Program(program) = self.kernel.pin_state(&path, Detail::Info)?
            {
                shown.insert(link.id, program.identity.id);
            }
        }
        Ok(shown)
    }

    /// A link and its program. Instructions are read where a chain or a dispatcher may need them.
    pub(crate) fn member<S: ReaderStore + ?Sized>(
        &mut self,
        link: Link,
        instructions: bool,
        store: &S,
    ) -> Result<Member, ManagerError> {
        let program = store.get(link.program)?;
        self.member_of(link, program, instructions)
    }

    /// The same, with the program's record at hand.
    pub(crate) fn member_of(
        &mut self,
        link: Link,
        program: Program,
        instructions: bool,
    ) -> Result<Member, ManagerError> {
        let membership = link.details.membership();
        let alone = membership.is_some_and(|own| runs_alone(&own, program.load.engine));
        let counter = match membership.and_then(|own| own.counter) {
            Some(path) => match self.kernel.pin_state(path, Detail::Info)? {
                PinState::Map(map) => Some(map.id),
                _ => None,
            },
            None => None,
        };
        let pin = self.kernel.pin_state(&program.pin_path, Detail::Info)?;
        let at_pin = program.is_at(&pin);
        let kept = match instructions || !alone {
            true => self
                .targets
                .kept_instructions(&program.instructions_path())
                .ok(),
            false => None,
        };
        let facts = match &kept {
            Some(kept) => self.member_facts(&program, kept)?,
            None => MemberFacts::default(),
        };
        Ok(Member {
            at_pin,
            facts,
            kept: kept.map(Box::new),
            counter,
            link,
            program,
        })
    }

    /// What the kernel says of the things that a program refers to. A name that it does not tell is missing: the chain
    /// that needs it says so.
    pub(crate) fn member_facts(
        &mut self,
        program: &Program,
        kept: &KeptInstructions,
    ) -> Result<MemberFacts, ManagerError> {
        let mut facts = MemberFacts::default();
        let ids = kernel_functions(&kept.instructions.0);
        if !ids.is_empty() {
            let types = self.targets.kernel_types().unwrap_or_default();
            facts.kernel_functions = function_names(&types, &ids).unwrap_or_default();
        }
        // The first is its main function, which needs no type.
        if kept.functions.len() > 1
            && let PinState::Program(found) =
                self.kernel.pin_state(&program.pin_path, Detail::Info)?
            && found.identity == program.identity
            && found.btf_id != 0
        {
            let types = self.kernel.types(found.btf_id).ok().flatten();
            facts.types = types.unwrap_or_default();
        }
        let loads = |name: &str| {
            kept.references
                .iter()
                .any(|reference| reference.map == name)
        };
        for map in program.maps.iter().filter(|map| loads(&map.name)) {
            // One that has no pin can be looked up only with more rights than a detach asks for.
            if let Ok(Some(found)) = self.observe_map(map) {
                facts.maps.insert(map.id, found.map_type);
            }
        }
        Ok(facts)
    }

    /// What the kernel has of a recorded attach point.
    pub(crate) fn state_of(
        &mut self,
        dispatcher: &Dispatcher,
        networks: &mut Networks,
    ) -> Result<PointState, ManagerError> {
        Ok(self.observe_point(dispatcher, networks)?.0)
    }

    /// The same, and the program that runs there. It is that of the record, except after a swap that was interrupted.
    fn observe_point(
        &mut self,
        dispatcher: &Dispatcher,
        networks: &mut Networks,
    ) -> Result<(PointState, Option<ProgramId>), ManagerError> {
        if let Some(filter) = dispatcher.filter() {
            let found = self.kernel.tc_filter(&filter)?;
            return Ok(match found.filter(|found| *found == dispatcher.program) {
                Some(program) => (PointState::Attached, Some(program)),
                None => (self.unattached(dispatcher, networks)?, None),
            });
        }
        let Some((id, path)) = dispatcher.link() else {
            return Ok((PointState::Missing, None));
        };
        let (found, pinned) = match self.kernel.pin_state(path, Detail::Info)? {
            PinState::Link(found) if found.id == id => (Some(found), true),
            _ => (self.kernel.link(id)?, false),
        };
        // Wherever its interface is by now.
        let attached =
            |found: &kernel::Link| matches!(found.place, LinkPlace::Interface { ifindex: Some(_) });
        Ok(match (found, pinned) {
            // At our pin it is ours, whatever it runs: a swap that was not recorded makes it nobody else's.
            (Some(found), true) if attached(&found) => (PointState::Attached, Some(found.program)),
            (Some(_), true) => (self.unattached(dispatcher, networks)?, None),
            (Some(found), false) if attached(&found) && found.program == dispatcher.program => {
                (PointState::Unpinned, None)
            }
            _ => (PointState::Missing, None),
        })
    }

    /// Why what held an attach point is attached to nothing.
    fn unattached(
        &mut self,
        dispatcher: &Dispatcher,
        networks: &mut Networks,
    ) -> Result<PointState, ManagerError> {
        Ok(match self.target_interface(&dispatcher.at, networks)? {
            Target::Present(_) => PointState::Detached,
            _ => PointState::Defunct,
        })
    }

    /// A recorded attach point as the kernel has it now.
    pub(crate) fn see_point(
        &mut self,
        mut dispatcher: Dispatcher,
        networks: &mut Networks,
    ) -> Result<SeenPoint, ManagerError> {
        let whereabouts = self.whereabouts_of_point(&dispatcher, networks)?;
        if let (Some(Whereabouts::Here(now)), None) = (&whereabouts, dispatcher.link()) {
            // A filter is reached through its namespace, which may have another path for us.
            dispatcher.at.netns.clone_from(&now.netns);
        }
        let (state, runs) = self.observe_point(&dispatcher, networks)?;
        Ok(SeenPoint {
            dispatcher,
            state,
            runs,
            whereabouts,
        })
    }

    /// The record of the attach point that a program joins: the interface may have come here with what runs at it.
    fn point_to_join<S: ReaderStore + ?Sized>(
        &mut self,
        hook: SharedHook,
        at: &LinkInterface,
        store: &S,
        networks: &mut Networks,
    ) -> Result<Option<SeenPoint>, ManagerError> {
        let recorded = store.dispatcher(&at.point(hook.hook()))?;
        let recorded = recorded
            .map(|found| self.see_point(found, networks))
            .transpose()?;
        let elsewhere = |seen: &SeenPoint| {
            matches!(
                seen.whereabouts,
                Some(Whereabouts::Moved(_) | Whereabouts::Hidden(_))
            )
        };
        if let Some(seen) = recorded.as_ref().filter(|seen| elsewhere(seen)) {
            return Err(seen.in_the_way(at).into());
        }
        if recorded
            .as_ref()
            .is_some_and(|seen| seen.state == PointState::Attached)
        {
            return Ok(recorded);
        }
        match (self.moved_here(hook, at, store, networks)?, recorded) {
            (Some(_), Some(stale)) => Err(stale.in_the_way(at).into()),
            (Some(moved), None) => Ok(Some(moved)),
            (None, recorded) => Ok(recorded),
        }
    }

    /// What runs at an interface that has come here from elsewhere.
    fn moved_here<S: ReaderStore + ?Sized>(
        &mut self,
        hook: SharedHook,
        at: &LinkInterface,
        store: &S,
        networks: &mut Networks,
    ) -> Result<Option<SeenPoint>, ManagerError> {
        let here = at.point(hook.hook());
        for dispatcher in store.dispatchers()? {
            let same = dispatcher.hook.hook() == here.hook && dispatcher.point() != here;
            if !same || !self.runs_here(&dispatcher, at, networks)? {
                continue;
            }
            let whereabouts = self.whereabouts_of_point(&dispatcher, networks)?;
            if matches!(&whereabouts, Some(Whereabouts::Moved(now)) if now.is_at(at)) {
                return Ok(Some(self.see_point(dispatcher, networks)?));
            }
        }
        Ok(None)
    }

    /// Lets the record that is in the way of an attach follow its interface.
    pub(crate) fn follow_interface(
        &mut self,
        hook: SharedHook,
        at: &LinkInterface,
        store: &mut dyn WriterStore,
    ) -> Result<(), ManagerError> {
        let Some(recorded) = store.dispatcher(&at.point(hook.hook()))? else {
            return Ok(());
        };
        let whereabouts = self.whereabouts_of_point(&recorded, &mut Networks::of(&*store)?)?;
        if matches!(whereabouts, Some(Whereabouts::Moved(_))) {
            let facts = self.point_facts(hook, recorded.at, None, &*store)?;
            self.change_point(&facts, &Change::Refresh, store)?;
        }
        Ok(())
    }

    /// Looks who is at a hook that nothing of ours runs at, before ours is attached there again.
    pub(crate) fn see_occupants(
        &mut self,
        facts: &mut PointFacts,
        engine: Engine,
    ) -> Result<(), ManagerError> {
        let (hook, at) = (facts.hook, facts.at.clone());
        let there = self.occupants(hook, &at, engine)?;
        facts.foreign = match there.sole_program(hook) {
            Some(id) => self.kernel.program(id, Detail::Info)?,
            None => None,
        };
        facts.occupants = Some(there);
        Ok(())
    }

    /// What the kernel has at a hook that nothing of ours runs at.
    fn occupants(
        &mut self,
        hook: SharedHook,
        at: &LinkInterface,
        engine: Engine,
    ) -> Result<Occupants, ManagerError> {
        match (hook, engine) {
            // Contract, section 4: dispatchers of TC are filters.
            (SharedHook::Tc { direction }, Engine::Extension) => self.filter_at(at, direction),
            (SharedHook::Tc { direction }, Engine::Auto) => {
                match self.kernel.attached(&at.target(), hook.hook()) {
                    Ok(order) => Ok(Occupants::Order(order)),
                    Err(error) if error.kind == KernelErrorKind::Unsupported => {
                        self.filter_at(at, direction)
                    }
                    Err(error) => Err(error.into()),
                }
            }
            (SharedHook::Xdp { .. }, _) => Ok(Occupants::Order(
                self.kernel.attached(&at.target(), hook.hook())?,
            )),
        }
    }

    fn filter_at(
        &mut self,
        at: &LinkInterface,
        direction: Direction,
    ) -> Result<Occupants, ManagerError> {
        let filter = TC_FILTER.at(at.target(), direction);
        Ok(Occupants::Filter(self.kernel.tc_filter(&filter)?))
    }
}

/// A recorded attach point as the kernel has it now.
pub(crate) struct SeenPoint {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) state: PointState,
    /// The program that runs there.
    pub(crate) runs: Option<ProgramId>,
    pub(crate) whereabouts: Option<Whereabouts>,
}

impl SeenPoint {
    /// Its interface, under the name of the record; `None` when nothing runs there.
    fn at_now(&self) -> Option<LinkInterface> {
        let at = &self.dispatcher.at;
        match &self.whereabouts {
            _ if self.state != PointState::Attached => None,
            Some(Whereabouts::Moved(now)) => Some(now.recorded_as(&at.interface)),
            _ => Some(at.clone()),
        }
    }

    /// Why another cannot have the place that its record speaks of.
    fn in_the_way(&self, at: &LinkInterface) -> PointRefusal {
        PointRefusal::RecordInTheWay {
            interface: at.interface.clone(),
            links: self.dispatcher.members.clone(),
        }
    }
}

pub(crate) fn libxdp_bpffs() -> Option<AbsolutePath> {
    AbsolutePath::parse(LIBXDP_BPFFS).ok()
}

/// Says who is at fault when the kernel refuses a chain, of members `joined` so where that is known. Drivers do not say
/// why they refuse a program: mostly for packets that come in fragments.
pub(crate) fn explain(
    facts: &PointFacts,
    change: &Change,
    joined: Option<JoinedAs>,
    error: ManagerError,
) -> ManagerError {
    let error = match error {
        ManagerError::NotJoined { chain, extension } => {
            return ManagerError::NotJoined {
                chain: Box::new(explain(facts, change, joined, *chain)),
                extension,
            };
        }
        ManagerError::Execution(error) if error.loads_chain && is_about_members(&error) => {
            return explain_chain(facts, change, joined, error);
        }
        ManagerError::Execution(error) => error,
        error => return error,
    };
    let driver =
        matches!(&error.cause, ActionError::Kernel(cause) if cause.kind == KernelErrorKind::Other);
    match without_fragments(facts, change) {
        Some(program) if driver && error.is_undone() => ManagerError::Fragments(program, error),
        _ => error.into(),
    }
}

fn explain_chain(
    facts: &PointFacts,
    change: &Change,
    joined: Option<JoinedAs>,
    error: ExecutionError,
) -> ManagerError {
    let ActionError::Kernel(cause) = &error.cause else {
        return error.into();
    };
    let invalid = cause.kind == KernelErrorKind::Unsupported;
    if let Some(why) = why_invalid(facts, change).filter(|_| invalid) {
        return why.into();
    }
    match at_fault(facts, change, joined, cause) {
        Some(member) => ManagerError::ChainRefused(member, error),
        None => error.into(),
    }
}

/// Whether programs could not be joined into a chain, by our own rules or the kernel's.
fn is_not_joined(error: &ManagerError) -> bool {
    match error {
        ManagerError::PointRefused(PointRefusal::Chain(_))
        | ManagerError::UnloadRefused(UnloadRefusal::Point(PointRefusal::Chain(_)))
        | ManagerError::ReplaceRefused(ReplaceRefusal::Point(PointRefusal::Chain(_))) => true,
        ManagerError::Execution(error) => {
            error.loads_chain && is_about_members(error) && error.is_undone()
        }
        _ => false,
    }
}

/// Whether a refusal may be due to the programs of a chain. Not only the verifier refuses chains: maps have owners, and
/// BTF has rules. What the process lacks or the machine is short of says nothing of them.
fn is_about_members(error: &ExecutionError) -> bool {
    use KernelErrorKind as K;
    let kind = match &error.cause {
        ActionError::Kernel(cause) => Some(cause.kind),
        _ => None,
    };
    !matches!(kind, Some(K::Permission | K::Helper | K::NoSpace))
}
