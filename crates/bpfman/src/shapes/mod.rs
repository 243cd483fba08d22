//! The JSON and YAML shapes (contract: section 1): every key always there, each with a value of one type. What is absent
//! is null where clients expect that, and else an empty text.

pub(crate) mod attachments;
pub(crate) mod dispatchers;
mod failures;
pub(crate) mod links;

pub(crate) use failures::ErrorShape;
pub(crate) use failures::error;

use std::collections::BTreeMap;

use attachments::AttachmentShape;
use bpfman_core::compute::MapAnew;
use bpfman_core::kernel;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::Engine;
use bpfman_core::types::KernelTime;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::UnixTime;
use bpfman_manager::Listing;
use bpfman_manager::ProgramMap;
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
    license: &'a str,
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
    /// Nothing sets it: clients of the contract read a text.
    owner: &'static str,
    /// As [`Self::owner`].
    description: &'static str,
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct StatusShape<'a> {
    kernel: Option<KernelShape<'a>>,
    stats: Option<StatsShape>,
    /// The path, or empty when nothing is there; so for the next two.
    prog_pin: &'a str,
    map_dir: &'a str,
    bytecode: &'a str,
    prog_pin_present: bool,
    map_dir_present: bool,
    bytecode_present: bool,
    links: Vec<links::LinkShape<'a>>,
    maps: Vec<MapShape<'a>>,
    map_used_by: &'a [ProgramId],
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

/// One map of a program; all numbers are 0 when the kernel no longer has it.
#[derive(Serialize)]
struct MapShape<'a> {
    id: MapId,
    /// As the kernel has it: at most 15 bytes.
    name: &'a str,
    /// As the object has it; empty for a map that is not recorded.
    object_name: &'a str,
    map_type: String,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    btf_id: u32,
    has_btf_id: bool,
    map_extra: u64,
    has_map_extra: bool,
    memlock: u64,
    has_memlock: bool,
    frozen: bool,
    pin_path: &'a str,
    present: bool,
}

/// One row of a listing.
#[derive(Serialize)]
pub(crate) struct RowShape<'a> {
    program_id: ProgramId,
    managed: bool,
    /// Empty for none.
    application: &'a str,
    r#type: String,
    function_name: &'a str,
    links: &'a [LinkId],
    places: Vec<PlaceAmongShape>,
    /// Of one that is not managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<Vec<AttachmentShape<'a>>>,
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
        license: program.license.as_deref().unwrap_or_default(),
        gpl_compatible: program.gpl_compatible,
        handles: HandlesShape {
            pin_path: program.pin_path.as_str(),
            map_pin_path: program.map_directory.as_str(),
            map_owner_id: program.load.map_owner_id,
        },
        meta: MetaShape {
            name: &program.load.program_name,
            owner: "",
            description: "",
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

/// Whether the kernel counts the runs of programs; where that cannot be read, nobody relies on the counts.
fn statistics_are_on() -> bool {
    bpfman_interpreter::environment::statistics().unwrap_or(false)
}

/// A path as text, empty for none.
fn text(path: Option<&AbsolutePath>) -> &str {
    path.map_or("", AbsolutePath::as_str)
}

/// A path where something is.
fn present(path: &AbsolutePath, there: bool) -> &str {
    text(Some(path).filter(|_| there))
}

/// The 15 bytes of a name that the kernel keeps.
fn kernel_name(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}

fn map(map: &ProgramMap) -> MapShape<'_> {
    let (managed, observed) = (map.record.as_ref(), map.observed.as_ref());
    let number = |of: fn(&kernel::Map) -> u32| observed.map_or(0, of);
    let object_name = managed.map_or("", |managed| managed.name.as_str());
    MapShape {
        id: map.id,
        name: observed.map_or_else(|| kernel_name(object_name), |map| map.name.as_str()),
        object_name,
        map_type: observed.map_or_else(String::new, |map| map.map_type.to_string()),
        key_size: number(|map| map.key_size),
        value_size: number(|map| map.value_size),
        max_entries: number(|map| map.max_entries),
        flags: number(|map| map.flags),
        btf_id: number(|map| map.btf_id),
        has_btf_id: observed.is_some_and(|map| map.btf_id != 0),
        map_extra: observed.map_or(0, |map| map.map_extra),
        has_map_extra: observed.is_some_and(|map| map.map_extra != 0),
        memlock: observed.and_then(|map| map.memlock).unwrap_or(0),
        has_memlock: observed.is_some_and(|map| map.memlock.is_some()),
        frozen: observed.and_then(|map| map.frozen).unwrap_or(false),
        pin_path: text(managed.and_then(|managed| managed.pin_path.as_ref())),
        present: map.in_use,
    }
}

pub(crate) fn program(status: &ProgramStatus, boot: UnixTime) -> ProgramShape<'_> {
    let managed = &status.record;
    let counted = status.kernel.as_ref().filter(|_| statistics_are_on());
    ProgramShape {
        record: record(managed),
        status: StatusShape {
            kernel: status.kernel.as_ref().map(|program| kernel(program, boot)),
            stats: counted.map(|program| StatsShape {
                runtime: program.run_time_ns,
                run_count: program.run_count,
                recursion_misses: program.recursion_misses,
            }),
            prog_pin: present(&managed.pin_path, status.pin_present),
            map_dir: present(&managed.map_directory, status.map_directory_present),
            bytecode: present(&managed.load.object_path, status.object_present),
            prog_pin_present: status.pin_present,
            map_dir_present: status.map_directory_present,
            bytecode_present: status.object_present,
            links: status.links.iter().map(links::link).collect(),
            maps: status.maps.iter().map(map).collect(),
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
        application: managed.and_then(application).unwrap_or_default(),
        r#type: type_name(managed, observed),
        function_name: function_name(managed, observed),
        links,
        places: places.collect(),
        attachments: managed.is_none().then(|| {
            let found = listing.attachments.get(&id).into_iter().flatten();
            found.map(AttachmentShape::new).collect()
        }),
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

/// A map that a replacement started anew.
#[derive(Serialize)]
pub(crate) struct MapAnewShape<'a> {
    name: &'a str,
    old_map_id: MapId,
    new_map_id: MapId,
    changes: &'a [String],
    kept_by: &'a [ProgramId],
}

pub(crate) fn map_anew(map: &MapAnew) -> MapAnewShape<'_> {
    MapAnewShape {
        name: &map.name,
        old_map_id: map.old,
        new_map_id: map.new,
        changes: &map.changes,
        kept_by: &map.kept_by,
    }
}
