//! `cgroup`: a cgroup of version 2.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;

use serde::Deserialize;
use serde::Serialize;

use super::AttachedTo;
use super::Recorded;
use super::words::Words;
use crate::types::AbsolutePath;
use crate::types::Direction;

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupRequest {
    /// Its directory.
    pub path: AbsolutePath,
    /// Which way packets go, for programs whose type leaves it open.
    pub direction: Option<Direction>,
}

/// A program at a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its directory.
    pub path: AbsolutePath,
    /// Its id: the inode of the directory.
    pub cgroup_id: u64,
    /// `enum bpf_attach_type` of `linux/bpf.h`.
    pub attach_type: u32,
}

impl Cgroup {
    /// The attach type of a program whose type leaves the direction open: `BPF_CGROUP_INET_INGRESS` and
    /// `BPF_CGROUP_INET_EGRESS` of `linux/bpf.h`.
    #[must_use]
    pub fn attach_type_of(direction: Direction) -> u32 {
        match direction {
            Direction::Ingress => 0,
            Direction::Egress => 1,
        }
    }

    fn direction(&self) -> Option<Direction> {
        let mut ways = [Direction::Ingress, Direction::Egress].into_iter();
        ways.find(|way| Self::attach_type_of(*way) == self.attach_type)
    }

    pub(super) fn asked(&self) -> Option<CgroupRequest> {
        Some(CgroupRequest {
            path: self.path.clone(),
            direction: self.direction(),
        })
    }
}

impl Recorded for Cgroup {
    fn add_words(&self, words: &mut Words, directed: bool) {
        words.add(&self.path);
        let direction = self.direction().filter(|_| directed);
        words.optional("--direction", direction.as_ref());
    }

    fn reads(&self, _: &str) -> String {
        self.path.to_string()
    }

    fn attached_to(&self) -> AttachedTo<'_> {
        AttachedTo::Cgroup {
            path: &self.path,
            id: self.cgroup_id,
        }
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("cgroup {}", self.path))
    }
}
