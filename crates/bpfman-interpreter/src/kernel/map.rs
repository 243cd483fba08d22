//! Maps without an object: making them, and reading the counters of a chain.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::LoadedMap;
use bpfman_core::action::MakeMap;
use bpfman_core::kernel::Counter;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::MapShape;
use bpfman_core::kernel::MapType;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::MapId;
use rustix::io::Errno;

use super::ObjectKind;
use super::check_name;
use super::errors::refused;
use super::open_expected;
use super::sys;

/// The only element of a counter.
const KEY: u32 = 0;
/// What one processor has counted: runs and nanoseconds, of 8 bytes each.
const COUNTER_BYTES: usize = 16;

/// Makes a map; answers it with its descriptor.
pub(super) fn make(request: &MakeMap) -> Result<(LoadedMap, OwnedFd), KernelError> {
    let name = &request.name;
    check_name(&request.kernel_name)?;
    let shape = MapShape {
        map_type: MapType(request.map_type),
        key_size: request.key_size,
        value_size: request.value_size,
        max_entries: request.max_entries,
        flags: 0,
        map_extra: 0,
    };
    let made = sys::make_map(&request.kernel_name, &shape);
    let fd = made.map_err(|error| {
        let mut refusal = refused(&format!("map `{name}`"), &error);
        if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
            refusal.kind = KernelErrorKind::Unsupported;
            refusal.message =
                format!("map `{name}`: this kernel makes no map of this type and these sizes");
        }
        refusal
    })?;
    let facts = sys::map_info(fd.as_fd());
    let facts = facts.map_err(|error| refused(&format!("map `{name}`"), &error))?;
    let made = LoadedMap {
        name: name.clone(),
        id: MapId(facts.id),
    };
    Ok((made, fd))
}

/// What a pinned counter has counted on all processors; `None` when nothing is pinned there.
pub(super) fn counter(path: &AbsolutePath) -> Result<Option<Counter>, KernelError> {
    let Some(fd) = open_expected(path, ObjectKind::Map)? else {
        return Ok(None);
    };
    let other = || {
        let message = format!("{path} is not the pin of a counter");
        KernelError::new(KernelErrorKind::NotOurs, message)
    };
    let read = sys::read_each_processor(fd.as_fd(), &KEY.to_ne_bytes());
    let (values, length) =
        read.map_err(
            |error| match error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
                true => other(),
                false => refused(path.as_str(), &error),
            },
        )?;
    if length != COUNTER_BYTES {
        return Err(other());
    }
    let mut sum = Counter::default();
    let (values, _) = values.as_chunks::<COUNTER_BYTES>();
    for value in values {
        let (halves, _) = value.as_chunks::<8>();
        if let [runs, nanoseconds] = halves {
            sum.runs = sum.runs.saturating_add(u64::from_ne_bytes(*runs));
            let nanoseconds = u64::from_ne_bytes(*nanoseconds);
            sum.nanoseconds = sum.nanoseconds.saturating_add(nanoseconds);
        }
    }
    Ok(Some(sum))
}
