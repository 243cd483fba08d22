//! The JSON and YAML shapes (contract: section 1): every key always there, null when absent.

pub(crate) mod dispatchers;
mod failures;
pub(crate) mod links;

pub(crate) use failures::ErrorShape;
pub(crate) use failures::error;

use std::collections::BTreeMap;

use bpfman_core::kernel;
use bpfman_core::managed::ManagedMap;
use bpfman_core::managed::Program;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::Engine;
use bpfman_core::types::KernelTime;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use bpfman_manager::Listing;
use bpfman_manager::ProgramStatus;
use serde::Serialize;

/// A program and its status.
#[derive(Serialize)]
pub(crate) struct ProgramShape<'a> {
    record: RecordShape<'a>,
    status: StatusShape<'a>,
}

#[derive(Serialize)]
pub(crate) struct RecordShape<'a> {
    program_id: ProgramId,
    load: LoadShape<'a>,
    license: Option<&'a str>,
    gpl_compatible: bool,
    handles: HandlesShape<'a>,
    meta: MetaShape<'a>,
    created_at: String,
    updated_at: Option<String>,
}

#[derive(Serialize)]
struct LoadShape<'a> {
    object_path: &'a str,
    source_path: Option<&'a str>,
    program_name: &'a str,
    program_type: &'static str,
    global_data: &'a BTreeMap<String, Base64Bytes>,
    map_sizes: &'a BTreeMap<String, u32>,
    image_source: Option<()>,
    attach_func: Option<&'a str>,
    map_owner_id: Option<ProgramId>,
    engine: Engine,
}

#[derive(Serialize)]
struct HandlesShape<'a> {
    pin_path: &'a str,
    map_pin_path: &'a str,
    map_owner_id: Option<ProgramId>,
}

#[derive(Serialize)]
struct MetaShape<'a> {
    name: &'a str,
    owner: Option<&'a str>,
    description: Option<&'a str>,
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct StatusShape<'a> {
    kernel: Option<KernelShape<'a>>,
    stats: Option<StatsShape>,
    prog_pin: PlaceShape<'a>,
    map_dir: PlaceShape<'a>,
    bytecode: PlaceShape<'a>,
    links: Vec<links::LinkShape<'a>>,
    maps: Vec<MapShape<'a>>,
    map_used_by: &'a [ProgramId],
}

#[derive(Serialize)]
struct PlaceShape<'a> {
    path: &'a str,
    present: bool,
}

/// A program as the kernel describes it.
#[derive(Serialize)]
pub(crate) struct KernelShape<'a> {
    id: ProgramId,
    name: &'a str,
    program_type: String,
    tag: String,
    loaded_at: String,
    uid: u32,
    has_uid: bool,
    btf_id: u32,
    has_btf_id: bool,
    map_ids: &'a [MapId],
    has_map_ids: bool,
    jited_size: u32,
    xlated_size: u32,
    verified_insns: u32,
    memlock: u64,
    has_memlock: bool,
    restricted: bool,
}

#[derive(Serialize)]
struct StatsShape {
    runtime: u64,
    run_count: u64,
    recursion_misses: u64,
}

#[derive(Serialize)]
struct MapShape<'a> {
    id: MapId,
    name: &'a str,
    map_type: Option<String>,
    key_size: Option<u32>,
    value_size: Option<u32>,
    max_entries: Option<u32>,
    flags: Option<u32>,
    btf_id: Option<u32>,
    has_btf_id: bool,
    map_extra: Option<u64>,
    has_map_extra: bool,
    memlock: Option<u64>,
    has_memlock: bool,
    frozen: Option<bool>,
    pin_path: Option<&'a str>,
    present: bool,
}

/// One row of a listing.
#[derive(Serialize)]
pub(crate) struct RowShape<'a> {
    program_id: ProgramId,
    managed: bool,
    application: Option<&'a str>,
    r#type: String,
    function_name: &'a str,
    links: &'a [LinkId],
    places: Vec<PlaceAmongShape>,
    record: Option<RecordShape<'a>>,
    kernel: Option<KernelShape<'a>>,
}

/// The place of a link that runs together with others; the first is 0.
#[derive(Serialize)]
struct PlaceAmongShape {
    link_id: LinkId,
    position: usize,
    of: usize,
}

/// A point in time, RFC 3339 in UTC.
pub(crate) fn rfc3339(time: UnixTime) -> String {
    let since = std::time::Duration::from_nanos(time.0);
    humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + since).to_string()
}

/// The boot time is told to the millisecond.
const BOOT_TIME_GRAIN_NS: u64 = 1_000_000;

/// The wall-clock time at which this kernel booted.
pub(crate) fn boot_time() -> UnixTime {
    let nanos = |clock| {
        let time = rustix::time::clock_gettime(clock);
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
            + u64::try_from(time.tv_nsec).unwrap_or(0)
    };
    // The clocks are read one after the other: the reading that was held up least is the nearest, and without rounding
    // each command would still print another time.
    let reading = |_| {
        let before = nanos(rustix::time::ClockId::Boottime);
        let now = nanos(rustix::time::ClockId::Realtime);
        let after = nanos(rustix::time::ClockId::Boottime);
        let boot = now.saturating_sub(before.midpoint(after));
        (after.saturating_sub(before), boot)
    };
    let (_, boot) = (0..8).map(reading).min().unwrap_or_default();
    UnixTime((boot + BOOT_TIME_GRAIN_NS / 2) / BOOT_TIME_GRAIN_NS * BOOT_TIME_GRAIN_NS)
}

/// When a program was loaded, for people.
pub(crate) fn loaded_at(time: KernelTime, boot: UnixTime) -> String {
    rfc3339(time.at_boot(boot))
}

pub(crate) fn record(program: &Program) -> RecordShape<'_> {
    RecordShape {
        program_id: program.id(),
        load: LoadShape {
            object_path: program.load.object_path.as_str(),
            source_path: program.load.source_path.as_ref().map(|path| path.as_str()),
            program_name: &program.load.program_name,
            program_type: program.load.program_type.name(),
            global_data: &program.load.global_data,
            map_sizes: &program.load.map_sizes,
            image_source: None,
            attach_func: program.load.attach_function.as_deref(),
            map_owner_id: program.load.map_owner_id,
            engine: program.load.engine,
        },
        license: program.license.as_deref(),
        gpl_compatible: program.gpl_compatible,
        handles: HandlesShape {
            pin_path: program.pin_path.as_str(),
            map_pin_path: program.map_directory.as_str(),
            map_owner_id: program.map_owner,
        },
        meta: MetaShape {
            name: &program.load.program_name,
            owner: None,
            description: None,
            metadata: &program.metadata,
        },
        created_at: rfc3339(program.created_at),
        updated_at: program.updated_at.map(rfc3339),
    }
}

pub(crate) fn kernel(program: &kernel::Program, boot: UnixTime) -> KernelShape<'_> {
    KernelShape {
        id: program.identity.id,
        name: &program.name,
        program_type: program.program_type.to_string(),
        tag: program.identity.tag.to_string(),
        loaded_at: loaded_at(program.identity.load_time, boot),
        uid: program.uid,
        has_uid: true,
        btf_id: program.btf_id,
        has_btf_id: program.btf_id != 0,
        map_ids: &program.map_ids,
        has_map_ids: true,
        jited_size: program.jited_size,
        xlated_size: program.xlated_size,
        verified_insns: program.verified_insns,
        memlock: program.memlock.unwrap_or(0),
        has_memlock: program.memlock.is_some(),
        // The kernel hides sizes from a reader it does not trust with them.
        restricted: program.xlated_size == 0,
    }
}

/// `used` says that its program, which the kernel told of, uses it: then it is there, whatever is known of it.
fn map<'a>(managed: &'a ManagedMap, observed: Option<&'a kernel::Map>, used: bool) -> MapShape<'a> {
    MapShape {
        id: managed.id,
        name: &managed.name,
        map_type: observed.map(|map| map.map_type.to_string()),
        key_size: observed.map(|map| map.key_size),
        value_size: observed.map(|map| map.value_size),
        max_entries: observed.map(|map| map.max_entries),
        flags: observed.map(|map| map.flags),
        btf_id: observed.map(|map| map.btf_id),
        has_btf_id: observed.is_some_and(|map| map.btf_id != 0),
        map_extra: observed.map(|map| map.map_extra),
        has_map_extra: observed.is_some(),
        memlock: observed.and_then(|map| map.memlock),
        has_memlock: observed.is_some_and(|map| map.memlock.is_some()),
        frozen: observed.and_then(|map| map.frozen),
        pin_path: managed.pin_path.as_ref().map(|path| path.as_str()),
        present: observed.is_some() || used,
    }
}

pub(crate) fn program(status: &ProgramStatus, boot: UnixTime) -> ProgramShape<'_> {
    let managed = &status.record;
    let maps = managed.maps.iter().zip(&status.maps);
    ProgramShape {
        record: record(managed),
        status: StatusShape {
            kernel: status.kernel.as_ref().map(|program| kernel(program, boot)),
            stats: status.kernel.as_ref().map(|program| StatsShape {
                runtime: program.run_time_ns,
                run_count: program.run_count,
                recursion_misses: program.recursion_misses,
            }),
            prog_pin: PlaceShape {
                path: managed.pin_path.as_str(),
                present: status.pin_present,
            },
            map_dir: PlaceShape {
                path: managed.map_directory.as_str(),
                present: status.map_directory_present,
            },
            bytecode: PlaceShape {
                path: managed.load.object_path.as_str(),
                present: status.object_present,
            },
            links: status.links.iter().map(links::link).collect(),
            maps: maps
                .map(|(managed, observed)| {
                    let ids = status.kernel.iter().flat_map(|kernel| &kernel.map_ids);
                    map(
                        managed,
                        observed.as_ref(),
                        ids.into_iter().any(|id| *id == managed.id),
                    )
                })
                .collect(),
            map_used_by: &status.map_users,
        },
    }
}

pub(crate) fn row<'a>(
    listing: &'a Listing,
    managed: Option<&'a Program>,
    observed: Option<&'a kernel::Program>,
    boot: UnixTime,
) -> Option<RowShape<'a>> {
    let id = managed
        .map(Program::id)
        .or_else(|| observed.map(|program| program.identity.id))?;
    let links = links_of(listing, managed);
    let places = links.iter().filter_map(|link| {
        let place = listing.places.get(link)?;
        Some(PlaceAmongShape {
            link_id: *link,
            position: place.position,
            of: place.of,
        })
    });
    Some(RowShape {
        program_id: id,
        managed: managed.is_some(),
        application: managed.and_then(application),
        r#type: type_name(managed, observed),
        function_name: function_name(managed, observed),
        links,
        places: places.collect(),
        record: managed.map(record),
        kernel: observed.map(|program| kernel(program, boot)),
    })
}

/// The links of a program of ours.
pub(crate) fn links_of<'a>(listing: &'a Listing, record: Option<&Program>) -> &'a [LinkId] {
    let links = record.and_then(|record| listing.links.get(&record.id()));
    links.map_or(&[], Vec::as_slice)
}

/// The application a program belongs to.
pub(crate) fn application(program: &Program) -> Option<&str> {
    program
        .metadata
        .get(bpfman_core::managed::METADATA_APPLICATION)
        .map(String::as_str)
}

/// Our name of the type for our programs, the kernel's for others.
pub(crate) fn type_name(managed: Option<&Program>, observed: Option<&kernel::Program>) -> String {
    match (managed, observed) {
        (Some(program), _) => program.load.program_type.name().to_owned(),
        (None, Some(program)) => program.program_type.to_string(),
        (None, None) => String::new(),
    }
}

/// The whole function name of our programs; of others the 15 bytes that the kernel keeps.
pub(crate) fn function_name<'a>(
    managed: Option<&'a Program>,
    observed: Option<&'a kernel::Program>,
) -> &'a str {
    let observed = observed.map_or("", |program| program.name.as_str());
    managed.map_or(observed, |program| program.load.program_name.as_str())
}
