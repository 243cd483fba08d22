//! Load.

use std::borrow::Cow;

use bpfman_core::action::Action;
use bpfman_core::action::Plan;
use bpfman_core::compute::CheckedLoad;
use bpfman_core::compute::LoadSnapshot;
use bpfman_core::compute::check_load;
use bpfman_core::compute::missing_symbol;
use bpfman_core::compute::plan_load;
use bpfman_core::compute::sized_maps;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::Program;
use bpfman_core::object::ObjectError;
use bpfman_core::object::ObjectFacts;
use bpfman_core::object::ObjectMapKind;
use bpfman_core::object::inspect;
use bpfman_core::object::with_btf_maps;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::ProgramReader;
use bpfman_interpreter::runtime::WriterStore;
use bpfman_interpreter::store::StoreError;

use crate::Manager;
use crate::ManagerError;

/// An object's bytes and what they say.
struct Object<'a> {
    bytes: &'a [u8],
    facts: ObjectFacts,
    checked: CheckedLoad,
}

impl Manager<'_> {
    /// Loads programs of the object whose bytes are given; returns their records.
    ///
    /// # Errors
    /// [`ManagerError`]; everything is as it was, unless the error says what could not be undone.
    pub fn load(&mut self, spec: &LoadSpec, bytes: &[u8]) -> Result<Vec<Program>, ManagerError> {
        let _operation = begin!(self, "load");
        // An object that makes no sense makes nobody wait for the writer's lock.
        let bytes = &*loadable(spec, bytes)?;
        let object = read(spec, bytes)?;
        self.as_writer(|manager, store| {
            let owner = manager.fetch_owner(spec, Some(&*store))?;
            let plan = manager.plan(spec, &object, owner)?;
            let recorded = manager.executor(store).of(bytes).run(&plan)?;
            Ok(recorded.programs)
        })
    }

    /// Loads as the first part of an operation; answers what undoes that, too.
    pub(crate) fn open_load(
        &mut self,
        spec: &LoadSpec,
        bytes: &[u8],
        store: &mut dyn WriterStore,
    ) -> Result<(Vec<Program>, Vec<Action>), ManagerError> {
        let bytes = &*loadable(spec, bytes)?;
        let owner = self.fetch_owner(spec, Some(&*store))?;
        let plan = self.plan(spec, &read(spec, bytes)?, owner)?;
        let (recorded, undos) = self.executor(store).of(bytes).open(&plan)?;
        Ok((recorded.programs, undos))
    }

    /// The plan of a load, without any effect.
    ///
    /// # Errors
    /// As [`Self::load`], as far as a plan can tell.
    pub fn plan_load(&mut self, spec: &LoadSpec, bytes: &[u8]) -> Result<Plan, ManagerError> {
        let bytes = &*loadable(spec, bytes)?;
        let object = read(spec, bytes)?;
        let store = self.runtime.reader()?;
        let owner = self.fetch_owner(spec, store.as_deref())?;
        self.plan(spec, &object, owner)
    }

    fn fetch_owner<S: ProgramReader + ?Sized>(
        &self,
        spec: &LoadSpec,
        store: Option<&S>,
    ) -> Result<Option<Program>, ManagerError> {
        let (Some(id), Some(store)) = (spec.map_owner_id, store) else {
            return Ok(None);
        };
        owner(store.get(id))
    }

    fn plan(
        &mut self,
        spec: &LoadSpec,
        object: &Object<'_>,
        map_owner: Option<Program>,
    ) -> Result<Plan, ManagerError> {
        let missing = self.targets.missing_symbols(&object.checked.needed_symbols);
        if let Some(symbol) = missing.first() {
            let names = spec.programs.iter().map(|program| program.name.as_str());
            let names: Vec<&str> = names.collect();
            return Err(missing_symbol(&names, &object.facts, symbol).into());
        }
        let pin = match &spec.pin_path {
            Some(path) => Some(self.kernel.pin_state(path, Detail::Info)?),
            None => None,
        };
        let by_name = object
            .facts
            .maps
            .iter()
            .filter(|map| map.kind == ObjectMapKind::PinnedByName);
        let shared = self.layout.shared_maps();
        let shared_maps = by_name
            .filter(|map| !map.name.contains('/') && self.files.exists(&shared.join(&map.name)))
            .map(|map| map.name.clone())
            .collect();
        let owner_set = match &map_owner {
            Some(owner) => {
                let names = object.facts.maps.iter().map(|map| &map.name);
                names
                    .filter(|name| !name.contains('/'))
                    .filter(|name| self.files.exists(&owner.map_directory.join(name)))
                    .cloned()
                    .collect()
            }
            None => Vec::new(),
        };
        let snapshot = LoadSnapshot {
            owner_set,
            object: object.facts.clone(),
            object_bytes: object.bytes.len() as u64,
            bpffs_mounted: self.kernel.is_bpffs_root(&self.layout.bpffs())?,
            pin,
            map_owner,
            shared_maps,
            now: self.now,
        };
        tracing::debug!(target: "manager", "has gathered the facts");
        let plan = plan_load(spec, &object.checked, &snapshot, &self.layout)?;
        self.lasting(plan)
    }
}

fn owner(found: Result<Program, StoreError>) -> Result<Option<Program>, ManagerError> {
    match found {
        Ok(program) => Ok(Some(program)),
        Err(StoreError::NotFound(ProgramId(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What is loaded of a file, and kept: its bytes, with BTF maps in place of legacy ones.
fn loadable<'a>(spec: &LoadSpec, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, ManagerError> {
    let rewritten = with_btf_maps(bytes).map_err(|cause| unusable(spec, cause))?;
    Ok(rewritten.map_or(Cow::Borrowed(bytes), Cow::Owned))
}

fn facts(spec: &LoadSpec, bytes: &[u8]) -> Result<ObjectFacts, ManagerError> {
    inspect(bytes).map_err(|cause| unusable(spec, cause))
}

fn unusable(spec: &LoadSpec, cause: ObjectError) -> ManagerError {
    ManagerError::Object {
        path: spec.source.path.to_string(),
        cause,
    }
}

fn read<'a>(spec: &LoadSpec, bytes: &'a [u8]) -> Result<Object<'a>, ManagerError> {
    let facts = facts(spec, bytes)?;
    let checked = check_load(spec, &facts)?;
    Ok(Object {
        bytes,
        facts,
        checked,
    })
}

/// The program arrays that the programs reach and the object fills. What is in one belongs to a version: in the array of
/// the old version it would run before the new one is attached, and stay when that fails.
pub(crate) fn filled_arrays(spec: &LoadSpec, bytes: &[u8]) -> Result<Vec<String>, ManagerError> {
    let facts = facts(spec, &loadable(spec, bytes)?)?;
    let names: Vec<&str> = spec.programs.iter().map(|p| p.name.as_str()).collect();
    Ok(facts.references.filled_arrays(&names))
}

/// The names by which maps of the object can be sized.
pub(crate) fn map_names(spec: &LoadSpec, bytes: &[u8]) -> Result<Vec<String>, ManagerError> {
    Ok(sized_maps(&facts(spec, &loadable(spec, bytes)?)?))
}
