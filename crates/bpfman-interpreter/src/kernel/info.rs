//! From the kernel's records to ours.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use bpfman_core::kernel::Map;
use bpfman_core::kernel::MapType;
use bpfman_core::kernel::Program;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::KernelTime;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::Tag;

use super::sys;
use crate::interfaces::Detail;

pub(super) fn program(fd: BorrowedFd<'_>, detail: Detail) -> io::Result<Program> {
    let (info, map_ids) = sys::program_info(fd)?;
    Ok(Program {
        identity: ProgramIdentity {
            id: ProgramId(info.id),
            tag: Tag(info.tag),
            load_time: KernelTime(info.load_time),
        },
        name: sys::kernel_name(&info.name),
        program_type: KernelProgramType(info.type_),
        uid: info.created_by_uid,
        btf_id: info.btf_id,
        map_ids: map_ids.into_iter().map(MapId).collect(),
        jited_size: info.jited_prog_len,
        xlated_size: info.xlated_prog_len,
        verified_insns: info.verified_insns,
        gpl_compatible: info.gpl_compatible() != 0,
        run_time_ns: info.run_time_ns,
        run_count: info.run_cnt,
        recursion_misses: info.recursion_misses,
        memlock: match detail {
            Detail::Info => None,
            Detail::Full => descriptor_fact(fd, "memlock"),
        },
    })
}

pub(super) fn map(fd: BorrowedFd<'_>, detail: Detail) -> io::Result<Map> {
    let info = sys::map_info(fd)?;
    let full = detail == Detail::Full;
    let fact = |name| full.then(|| descriptor_fact(fd, name)).flatten();
    Ok(Map {
        id: MapId(info.id),
        name: sys::kernel_name(&info.name),
        map_type: MapType(info.type_),
        key_size: info.key_size,
        value_size: info.value_size,
        max_entries: info.max_entries,
        flags: info.map_flags,
        btf_id: info.btf_id,
        map_extra: info.map_extra,
        memlock: fact("memlock"),
        frozen: fact("frozen").map(|value| value != 0),
    })
}

/// A number that only `/proc/self/fdinfo` says; `None` where it does not, or no `/proc` is mounted.
fn descriptor_fact(fd: BorrowedFd<'_>, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = values.find(|(key, _)| *key == name)?;
    value.trim().parse().ok()
}
