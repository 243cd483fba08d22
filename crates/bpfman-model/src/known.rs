//! What the references of an action stand for.

use bpfman_core::action::MapReference;
use bpfman_core::action::PathTemplate;
use bpfman_core::action::ProgramReference;
use bpfman_core::action::Results;
use bpfman_core::kernel::KernelError;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;

use crate::errno::bad_request;

/// References are resolved before an action comes here: what no earlier step answered makes no sense.
pub(crate) fn known_program(reference: &ProgramReference) -> Result<ProgramId, KernelError> {
    let known = Results::default().program(reference);
    known.map_err(|error| bad_request(error.to_string()))
}

pub(crate) fn known_map(reference: &MapReference) -> Result<MapId, KernelError> {
    let known = Results::default().map(reference);
    known.map_err(|error| bad_request(error.to_string()))
}

pub(crate) fn known_path(template: &PathTemplate) -> Result<AbsolutePath, KernelError> {
    let known = Results::default().path(template);
    known.map_err(|error| bad_request(error.to_string()))
}
