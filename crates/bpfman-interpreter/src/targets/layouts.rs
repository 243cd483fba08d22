//! The files that were kept of a load, and the types of the kernel.

use std::fs;

use bpfman_core::action::KeptInstructions;
use bpfman_core::chain::Frames;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use serde::Deserialize;

use super::TargetError;
use crate::vmlinux;

/// Objects are bounded by a setting when they are loaded; sections are found by 32-bit offsets at most.
const MAX_OBJECT_BYTES: u64 = u32::MAX as u64;

/// The most instructions that the verifier walks through are a million; with the names of the maps in them they take less.
const MAX_INSTRUCTIONS_BYTES: u64 = 64 << 20;

/// A record with the longest metadata and global data takes less.
const MAX_RECORD_BYTES: u64 = 64 << 20;

pub(super) fn kept_instructions(path: &AbsolutePath) -> Result<KeptInstructions, TargetError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unusable = |reason: String| TargetError::KeptInstructions {
        path: path.clone(),
        reason,
    };
    let broken = |error: serde_json::Error| unusable(error.to_string());
    let bytes = read(path.as_str(), MAX_INSTRUCTIONS_BYTES)?;
    // Of another version, the rest may look different.
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(broken)?;
    if version != KeptInstructions::VERSION {
        let known = KeptInstructions::VERSION;
        return Err(unusable(format!(
            "it is of version {version}, and this bpfman knows version {known} only: load the program again"
        )));
    }
    serde_json::from_slice(&bytes).map_err(broken)
}

pub(super) fn kept_record(path: &AbsolutePath) -> Result<Program, TargetError> {
    let bytes = read(path.as_str(), MAX_RECORD_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|error| TargetError::KeptInstructions {
        path: path.clone(),
        reason: error.to_string(),
    })
}

pub(super) fn kept_object(path: &AbsolutePath) -> Result<Vec<u8>, TargetError> {
    read(path.as_str(), MAX_OBJECT_BYTES)
}

pub(super) fn kernel_types() -> Result<Vec<u8>, TargetError> {
    vmlinux::read().map_err(|source| TargetError::system(vmlinux::PATH, source))
}

/// Linux 6.9 began to round the frames of compiled programs to 16 bytes.
const ROUNDS_TO_16: (u32, u32) = (6, 9);

pub(super) fn frames() -> Frames {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let compiled = text("/proc/sys/net/core/bpf_jit_enable");
    match release(&text("/proc/sys/kernel/osrelease")) {
        Some(release) if release >= ROUNDS_TO_16 && !matches!(compiled.trim(), "" | "0") => {
            Frames::Of16
        }
        _ => Frames::Of32,
    }
}

/// The first two numbers of a release.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|other: char| !other.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

/// The bytes of a file of at most `limit`.
pub(super) fn read(path: &str, limit: u64) -> Result<Vec<u8>, TargetError> {
    vmlinux::read_bounded(path, limit).map_err(|source| TargetError::system(path, source))
}
