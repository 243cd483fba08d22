//! A record before the kernel has spoken.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::LoadRecord;
use super::ManagedMap;
use super::Program;
use crate::action::PathTemplate;
use crate::action::ProgramReference;
use crate::action::Results;
use crate::action::UnresolvedReference;
use crate::types::Base64Bytes;
use crate::types::Engine;
use crate::types::ProgramId;
use crate::types::ProgramType;
use crate::types::TypedPath;
use crate::types::UnixTime;

/// Everything about a program but what only its load will tell: ids, tag, load time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramDraft {
    /// The program that the plan loads.
    pub program: ProgramReference,
    /// Its function.
    pub program_name: String,
    /// Its type.
    pub program_type: ProgramType,
    /// How it shares an attach point.
    pub engine: Engine,
    /// Our copy of the object.
    pub object_path: PathTemplate,
    /// The user's object, as it was typed.
    pub source_path: Option<TypedPath>,
    /// The globals that were set.
    pub global_data: BTreeMap<String, Base64Bytes>,
    /// The sizes that maps were given.
    #[serde(default)]
    pub map_sizes: BTreeMap<String, u32>,
    /// Its attach function.
    pub attach_function: Option<String>,
    /// The map owner that was asked for.
    pub map_owner_id: Option<ProgramId>,
    /// Its license.
    pub license: Option<String>,
    /// Its pin.
    pub pin_path: PathTemplate,
    /// Its map directory.
    pub map_directory: PathTemplate,
    /// The program whose map set it uses; `None` for its own.
    pub map_owner: Option<ProgramReference>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Where its maps are pinned, by name; the rest are not.
    pub map_pins: BTreeMap<String, PathTemplate>,
    /// When it is recorded.
    pub created_at: UnixTime,
}

impl ProgramDraft {
    /// The whole record, once the load has answered.
    ///
    /// # Errors
    /// [`UnresolvedReference`] when it has not.
    pub fn complete(&self, results: &Results) -> Result<Program, UnresolvedReference> {
        let id = results.program(&self.program)?;
        let loaded = results.loaded_program(&self.program_name)?;
        let map = |made: &crate::action::LoadedMap| {
            let pin = self.map_pins.get(&made.name);
            Ok(ManagedMap {
                id: made.id,
                name: made.name.clone(),
                pin_path: pin.map(|path| results.path(path)).transpose()?,
            })
        };
        let maps: Result<Vec<ManagedMap>, UnresolvedReference> =
            results.maps().iter().map(map).collect();
        let owner = self
            .map_owner
            .as_ref()
            .map(|owner| results.program(owner))
            .transpose()?;
        Ok(Program {
            identity: loaded.identity,
            load: LoadRecord {
                object_path: results.path(&self.object_path)?,
                source_path: self.source_path.clone(),
                program_name: self.program_name.clone(),
                program_type: self.program_type,
                global_data: self.global_data.clone(),
                map_sizes: self.map_sizes.clone(),
                engine: self.engine,
                attach_function: self.attach_function.clone(),
                map_owner_id: self.map_owner_id,
            },
            license: self.license.clone(),
            gpl_compatible: self.license.as_deref().is_some_and(is_gpl_compatible),
            pin_path: results.path(&self.pin_path)?,
            map_directory: results.path(&self.map_directory)?,
            map_owner: owner.filter(|owner| *owner != id),
            metadata: self.metadata.clone(),
            maps: maps?,
            created_at: self.created_at,
            updated_at: None,
        })
    }
}

/// Whether the kernel takes a license for GPL compatible (`license_is_gpl_compatible`, `linux/license.h`).
fn is_gpl_compatible(license: &str) -> bool {
    matches!(
        license,
        "GPL"
            | "GPL v2"
            | "GPL and additional rights"
            | "Dual BSD/GPL"
            | "Dual MIT/GPL"
            | "Dual MPL/GPL"
    )
}
