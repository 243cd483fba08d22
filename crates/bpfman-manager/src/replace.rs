//! Replace: a new version of a program takes over from the old one.
//!
//! Two plans, one after the other: what the new version's instructions are, of which chains are made, is known when it
//! is loaded. They are one operation: when the second fails, or is killed, the first is undone, too.

use std::collections::BTreeMap;

use bpfman_core::action::Action;
use bpfman_core::compute::AttachRefusal;
use bpfman_core::compute::Change;
use bpfman_core::compute::Handover;
use bpfman_core::compute::LinkToReplace;
use bpfman_core::compute::MapAnew;
use bpfman_core::compute::MemberFacts;
use bpfman_core::compute::PointRefusal;
use bpfman_core::compute::PointState;
use bpfman_core::compute::ReplaceRefusal;
use bpfman_core::compute::ReplaceSnapshot;
use bpfman_core::compute::check_replace;
use bpfman_core::compute::is_renewed;
use bpfman_core::compute::maps_anew;
use bpfman_core::compute::new_version;
use bpfman_core::compute::plan_adopt;
use bpfman_core::compute::plan_replace;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::PinState;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::Link;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::ObjectSource;
use bpfman_core::managed::Program;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::runtime::ReaderStore;
use bpfman_interpreter::runtime::WriterStore;

use crate::Manager;
use crate::ManagerError;
use crate::load::filled_arrays;
use crate::load::map_names;
use crate::points::explain;
use crate::unload::by_point;

/// What is to be replaced, and by what.
#[derive(Clone, Debug)]
pub struct ReplaceSpec {
    /// The program.
    pub program: ProgramId,
    /// The object file with its new version, a program of the same name.
    pub source: ObjectSource,
    /// The sizes that maps of it are given now.
    pub map_sizes: BTreeMap<String, u32>,
    /// The program whose maps it is loaded with, where those are not the old version's.
    pub map_owner: Option<ProgramId>,
    /// How links are replaced that the kernel cannot give another program.
    pub handover: Handover,
}

/// What a replacement did.
#[derive(Debug)]
pub struct Replacement {
    /// The new version.
    pub program: Program,
    /// The maps that started anew.
    pub maps_anew: Vec<MapAnew>,
}

impl Manager<'_> {
    /// Loads a new version of a program with the maps of the old one, as far as they fit, or with those of another
    /// program, gives every link of the old one to it, and unloads the old one.
    ///
    /// # Errors
    /// [`ManagerError`]; the old version runs on, unless the error says what could not be undone.
    pub fn replace(
        &mut self,
        spec: &ReplaceSpec,
        bytes: &[u8],
    ) -> Result<Replacement, ManagerError> {
        let _operation = begin!(self, "replace");
        // Nothing is made for a program that nobody recorded.
        let id = spec.program;
        let (known, _) = self.managed(id)?;
        check_replace(&known.links_of(id)?, spec.handover)?;
        drop(known);
        self.as_writer(|manager, store| manager.replace_once(spec, bytes, store))
    }

    fn replace_once(
        &mut self,
        spec: &ReplaceSpec,
        bytes: &[u8],
        store: &mut dyn WriterStore,
    ) -> Result<Replacement, ManagerError> {
        let old = store.get(spec.program)?;
        let (new, load) = self.load_version(&old, spec, bytes, store)?;
        let maps_anew = self.maps_anew(&old, &new, &store.sharing(&old)?);
        match self.take_over(&old, &new, spec.handover, &load, store) {
            Ok(()) => Ok(Replacement {
                program: store.get(new.id())?,
                maps_anew,
            }),
            // The new version runs.
            Err(ManagerError::Execution(error)) if error.unfinished => Err(error.into()),
            Err(why) => {
                let undone = self.executor(store).roll_back(&load);
                // Why it failed comes first; what cannot be recorded now is a finding of doctor.
                let _ = self.adopt_links(old.id(), store);
                Err(match undone {
                    Ok(()) => why,
                    Err(undo) => ManagerError::ReplaceNotUndone {
                        why: Box::new(why),
                        new: new.id(),
                        undo,
                    },
                })
            }
        }
    }

    /// Loads the new version; answers what undoes that, too. A map that does not fit is made anew.
    fn load_version(
        &mut self,
        old: &Program,
        replacement: &ReplaceSpec,
        bytes: &[u8],
        store: &mut dyn WriterStore,
    ) -> Result<(Program, Vec<Action>), ManagerError> {
        let pin = self.kernel.pin_state(&old.pin_path, Detail::Info)?;
        if !old.is_at(&pin) {
            let program = old.id();
            let path = old.pin_path.clone();
            return Err(AttachRefusal::ProgramGone { program, path }.into());
        }
        let owner = replacement.map_owner;
        let version = |other_maps| new_version(old, replacement.source.clone(), owner, other_maps);
        let mut other_maps = filled_arrays(&version(Vec::new()), bytes)?;
        loop {
            let mut spec = version(other_maps.clone());
            keep_sizes(&mut spec, bytes, &replacement.map_sizes)?;
            match self.open_load(&spec, bytes, store) {
                Ok((programs, undos)) => {
                    let new = programs.into_iter().next();
                    return Ok((new.expect("the load of a program records it"), undos));
                }
                Err(error) => match misfit(&error) {
                    Some(map) if owner.is_none() && !other_maps.contains(map) => {
                        other_maps.push(map.clone());
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// The maps that the new version has other ones of. Shapes that cannot be read are no reason to fail.
    fn maps_anew(&mut self, old: &Program, new: &Program, others: &[Program]) -> Vec<MapAnew> {
        let maps = old.maps.iter().chain(&new.maps);
        let pins: Vec<_> = maps.filter_map(|map| map.pin_path.as_ref()).collect();
        let mut shapes = BTreeMap::new();
        for pin in pins {
            if let Ok(PinState::Map(map)) = self.kernel.pin_state(pin, Detail::Info) {
                shapes.insert(map.id, map.shape());
            }
        }
        maps_anew(old, new, others, &shapes)
    }

    fn take_over(
        &mut self,
        old: &Program,
        new: &Program,
        handover: Handover,
        load: &[Action],
        store: &mut dyn WriterStore,
    ) -> Result<(), ManagerError> {
        let snapshot = self.replace_snapshot(old, new, store)?;
        tracing::debug!(target: "manager", "has gathered the facts");
        let plan =
            |joined, layout: &RuntimeLayout| Ok(plan_replace(&snapshot, handover, joined, layout)?);
        // Of several chains, which one the kernel refused is not known.
        let only = match &snapshot.points[..] {
            [(facts, change)] => Some((facts, change)),
            _ => None,
        };
        let done = self.run_by_any_engine(plan, only, load, store);
        done.map_err(|error| match snapshot.points.first() {
            Some((facts, change)) => explain(facts, change, None, error),
            None => error,
        })?;
        Ok(())
    }

    fn replace_snapshot<S: ReaderStore + ?Sized>(
        &mut self,
        old: &Program,
        new: &Program,
        store: &S,
    ) -> Result<ReplaceSnapshot, ManagerError> {
        let links = store.links_of(old.id())?.into_iter();
        let (shared, own): (Vec<Link>, Vec<Link>) =
            links.partition(|link| link.details.membership().is_some());
        let kept = self.targets.kept_instructions(&new.instructions_path());
        let kept = kept.ok();
        let facts = match &kept {
            Some(kept) => self.member_facts(new, kept)?,
            None => MemberFacts::default(),
        };
        let change = Change::Exchange {
            from: old.id(),
            to: Box::new(new.clone()),
            facts,
            kept: kept.map(Box::new),
        };
        let mut points = Vec::new();
        for links in by_point(shared) {
            let membership = links.first().and_then(|link| link.details.membership());
            if let Some(own) = membership {
                let facts = self.point_facts(own.hook, own.at.clone(), None, store)?;
                check_members(&links, facts.dispatcher.as_ref())?;
                points.push((facts, change.clone()));
            }
        }
        let mut links = Vec::new();
        for link in own {
            links.push(self.link_to_replace(link, new, store)?);
        }
        Ok(ReplaceSnapshot {
            old: self.unlinked_snapshot(old.clone(), store)?,
            new: new.clone(),
            points,
            links,
        })
    }

    fn link_to_replace<S: ReaderStore + ?Sized>(
        &mut self,
        link: Link,
        new: &Program,
        store: &S,
    ) -> Result<LinkToReplace, ManagerError> {
        let pin = match &link.pin_path {
            Some(path) => Some(self.kernel.pin_state(path, Detail::Info)?),
            None => None,
        };
        let again = match link.kind().can_be_updated() {
            true => None,
            false => {
                let request = link.details.request(None);
                let request = request.ok_or(ReplaceRefusal::NotReplaceable(
                    link.id,
                    link.kind(),
                    "its event has no name any more",
                ))?;
                let facts = self.attach_facts(&request, new, store)?;
                Some((request, facts))
            }
        };
        Ok(LinkToReplace { link, pin, again })
    }

    /// Records the links that were attached again: the kernel has given them other ids.
    fn adopt_links(
        &mut self,
        program: ProgramId,
        store: &mut dyn WriterStore,
    ) -> Result<(), ManagerError> {
        for link in store.links_of(program)? {
            let Some(path) = &link.pin_path else { continue };
            match self.kernel.pin_state(path, Detail::Info)? {
                PinState::Link(found) if is_renewed(&link, &found) => {
                    self.run(&plan_adopt(&link, &found), store)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Refuses links that have outlived what they were attached to.
fn check_members(links: &[Link], dispatcher: Option<&Dispatcher>) -> Result<(), ReplaceRefusal> {
    let is_member = |link: &&Link| {
        dispatcher.is_some_and(|running| {
            running.members.contains(&link.id) || running.left_out(link.id).is_some()
        })
    };
    match links.iter().find(|link| !is_member(link)) {
        Some(stale) => Err(PointRefusal::NotAttached {
            link: stale.id,
            state: PointState::Missing,
        }
        .into()),
        None => Ok(()),
    }
}

/// The sizes that the old version was given, for the maps that there still are; what is given now comes first.
fn keep_sizes(
    spec: &mut LoadSpec,
    bytes: &[u8],
    given: &BTreeMap<String, u32>,
) -> Result<(), ManagerError> {
    let names = map_names(spec, bytes)?;
    spec.map_sizes.retain(|name, _| names.contains(name));
    spec.map_sizes.extend(given.clone());
    Ok(())
}

/// The map that did not fit.
fn misfit(error: &ManagerError) -> Option<&String> {
    let ManagerError::Execution(error) = error else {
        return None;
    };
    match &error.cause {
        ActionError::Kernel(KernelError { map, .. }) if error.is_undone() => map.as_ref(),
        _ => None,
    }
}
