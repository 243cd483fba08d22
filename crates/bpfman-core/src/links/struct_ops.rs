//! `struct_ops`: what a struct_ops map of the object implements.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::AttachedTo;
use super::Recorded;
use super::words::Words;
use crate::types::MapId;

/// What a struct_ops map of the program's object implements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructOpsRequest {
    /// The map's name in the object; `None` for the only one that uses the program.
    pub map: Option<String>,
}

/// Programs that the kernel calls through a struct of functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructOps {
    /// The map, by its name in the object.
    pub map: String,
    /// Its id in this kernel.
    pub map_id: MapId,
    /// The kernel's struct that it implements.
    pub struct_name: String,
}

impl StructOps {
    pub(super) fn asked(&self) -> Option<StructOpsRequest> {
        Some(StructOpsRequest {
            map: Some(self.map.clone()),
        })
    }
}

impl Recorded for StructOps {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.option("--map", &self.map);
    }

    fn reads(&self, _: &str) -> String {
        format!("{} {}", self.struct_name, self.map)
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Map(&self.map)
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("struct_ops map {}", self.map))
    }
}
