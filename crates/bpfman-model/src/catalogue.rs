//! What programs can be attached to besides interfaces.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::target::UsdtProbe;
use bpfman_core::types::AbsolutePath;

/// The places of a machine that have a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    /// By group and name.
    pub(crate) tracepoints: BTreeMap<(String, String), u64>,
    pub(crate) raw_tracepoints: BTreeSet<String>,
    /// The kernel's functions, and whether each can be traced.
    pub(crate) functions: BTreeMap<String, bool>,
    /// By directory.
    pub(crate) cgroups: BTreeMap<AbsolutePath, u64>,
    /// The offsets of functions, by file and name.
    pub(crate) file_functions: BTreeMap<(AbsolutePath, String), u64>,
    /// By file, provider and name.
    pub(crate) probes: BTreeMap<(AbsolutePath, String, String), UsdtProbe>,
}

impl Catalogue {
    pub(crate) fn traceable(&self, function: &str) -> bool {
        self.functions.get(function).copied().unwrap_or_default()
    }
}
