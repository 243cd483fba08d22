//! Whether records and objects can be written at all.

use alloc::format;
use alloc::vec::Vec;

use super::Finding;
use super::Repair;
use super::Rule;
use crate::types::AbsolutePath;

/// What a load of a small program takes at most, in bytes: its object, its records and their log.
const ROOM_FOR_A_LOAD: u64 = 256 << 10;

/// What a file system has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// What is free, in bytes.
    pub free: u64,
}

/// Looks at the directories that are written.
pub(super) fn examine(directories: &[(AbsolutePath, Room)]) -> Vec<Finding> {
    let finding = |path: &AbsolutePath, rule, why: &str| {
        Finding::new(rule, format!("{path}"), Repair::Nothing(why.into()))
    };
    let examine = |(path, room): &(AbsolutePath, Room)| match room {
        Room {
            read_only: true, ..
        } => Some(finding(path, Rule::ReadOnly, "mount it writable")),
        Room { free, .. } if *free < ROOM_FOR_A_LOAD => {
            Some(finding(path, Rule::DiskFull, "free space"))
        }
        Room { .. } => None,
    };
    directories.iter().filter_map(examine).collect()
}
