//! From the kernel's records to ours.

use std::fs::File;
use std::io;
use std::io::Read;
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

/// More bytes than the kernel says of a program or a map.
const USUAL_FACTS: usize = 1024;
/// More bytes than it ever may.
const MOST_FACTS: u64 = 64 * 1024;

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
            Detail::Full => DescriptorFacts::read(fd).number("memlock"),
        },
    })
}

pub(super) fn map(fd: BorrowedFd<'_>, detail: Detail) -> io::Result<Map> {
    let info = sys::map_info(fd)?;
    let facts = (detail == Detail::Full).then(|| DescriptorFacts::read(fd));
    let fact = |name| facts.as_ref().and_then(|facts| facts.number(name));
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

/// What only `/proc/self/fdinfo` says of a descriptor; nothing where no `/proc` is mounted.
struct DescriptorFacts(String);

impl DescriptorFacts {
    fn read(fd: BorrowedFd<'_>) -> Self {
        Self(text_of(fd).unwrap_or_default())
    }

    fn number(&self, name: &str) -> Option<u64> {
        let mut values = self.0.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = values.find(|(key, _)| *key == name)?;
        value.trim().parse().ok()
    }
}

/// The whole text, without asking for its size: `/proc` says 0, and a read that believes it begins with a few bytes.
fn text_of(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut text = String::with_capacity(USUAL_FACTS);
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let file = File::open(path)?;
    file.take(MOST_FACTS).read_to_string(&mut text)?;
    Ok(text)
}
