//! The calls into libbpf that `libbpf-rs` has no safe form of. The only unsafe code of the workspace: thin
//! wrappers, each of which checks what it hands over and decides nothing.

mod gzip;
mod kind;
mod link;
mod namespace;
mod program;
mod tc;

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::ptr;

use bpfman_core::kernel::MapShape;
use bpfman_core::kernel::MapType;
use libbpf_rs::AsRawLibbpf;
use libbpf_rs::MapMut;
use libbpf_rs::Object;
use libbpf_rs::ObjectBuilder;
use libbpf_rs::OpenMapMut;
use libbpf_rs::OpenObject;
use libbpf_rs::OpenProgram;
use libbpf_rs::OpenProgramMut;
use libbpf_rs::Program;
use libbpf_rs::libbpf_sys;
use libbpf_rs::libbpf_sys::bpf_func_info;
use libbpf_rs::libbpf_sys::bpf_map_info;
use libbpf_rs::libbpf_sys::bpf_object;
use libbpf_rs::libbpf_sys::bpf_object_open_opts;
use libbpf_rs::libbpf_sys::bpf_prog_info;
use libbpf_rs::libbpf_sys::bpf_program;
use rustix::io::Errno;

pub(crate) use gzip::read_gzip;
pub(super) use kind::is_link;
pub(super) use kind::is_map;
pub(super) use kind::is_program;
pub(super) use link::LinkOptions;
pub(super) use link::PerfEventRequest;
pub(super) use link::Place;
pub(super) use link::attached;
pub(super) use link::cgroup_programs;
pub(super) use link::create_link;
pub(super) use link::detach_link;
pub(super) use link::enable_perf_event;
pub(super) use link::link_by_id;
pub(super) use link::link_info;
pub(super) use link::next_link_id;
pub(super) use link::open_perf_event;
pub(super) use link::open_raw_tracepoint;
pub(super) use link::update_link;
pub(super) use link::xdp_program;
pub(crate) use namespace::own_network_namespace;
pub(super) use program::RawProgram;
pub(super) use program::accepts_program_type;
pub(super) use program::create_token;
pub(super) use program::function_type;
pub(super) use program::leave_network_namespace;
pub(super) use program::load_program;
pub(super) use program::load_types;
pub(super) use program::make_map;
pub(super) use program::types_by_id;
pub(super) use program::types_bytes;
pub(super) use tc::Filter;
pub(super) use tc::add_filter;
pub(super) use tc::filter_program;
pub(super) use tc::make_clsact;
pub(super) use tc::remove_clsact;
pub(super) use tc::remove_filter;
pub(super) use tc::replace_filter;

/// `sizeof(struct bpf_insn)` of `linux/bpf.h`.
pub(super) const INSTRUCTION_BYTES: usize = 8;
/// The most a verifier log can hold: every kernel accepts this size.
const LOG_BYTES: usize = (16 << 20) - 1;
/// What the verifier's statistics of one program fit into: three lines, one of them with a number for each of up to 256
/// functions. Kernels before 6.4 refuse a program whose log does not fit; it is loaded again without then.
const STATISTICS_BYTES: usize = 64 << 10;
/// The verifier allows 64 maps a program (`MAX_USED_MAPS`), and no kernel has allowed more than `MAX_MAP_IDS`.
const USUAL_MAP_IDS: usize = 64;
const MAX_MAP_IDS: u32 = 1 << 16;

/// What a call that answers 0 or a negative error number answered.
fn check(answer: i32) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::from_raw_os_error(answer.saturating_neg()))
    } else {
        Ok(())
    }
}

/// A new descriptor that a libbpf call answered.
fn owned(answer: i32) -> io::Result<OwnedFd> {
    check(answer)?;
    // SAFETY: the kernel just made this descriptor for the caller, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from(Errno::INVAL))
}

/// The first program id after `start`; `None` at the end.
pub(super) fn next_program_id(start: u32) -> io::Result<Option<u32>> {
    let mut next = 0;
    // SAFETY: `next` is a writable u32 for the time of the call.
    let answer = unsafe { libbpf_sys::bpf_prog_get_next_id(start, &raw mut next) };
    match check(answer) {
        Ok(()) => Ok(Some(next)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a program by id.
pub(super) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes a number only.
    owned(unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) })
}

/// Opens a map by id.
pub(super) fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes a number only.
    owned(unsafe { libbpf_sys::bpf_map_get_fd_by_id(id) })
}

/// Opens what is pinned at a path.
pub(super) fn open_pin(path: &str) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    owned(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) })
}

/// Pins an object at a path.
pub(super) fn pin(fd: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let path = c_string(path)?;
    // SAFETY: `fd` is open and `path` a NUL-terminated string, both for the time of the call.
    check(unsafe { libbpf_sys::bpf_obj_pin(fd.as_raw_fd(), path.as_ptr()) })
}

/// What the kernel says about a program, and the ids of its maps.
pub(super) fn program_info(fd: BorrowedFd<'_>) -> io::Result<(bpf_prog_info, Vec<u32>)> {
    let mut ids = [0_u32; USUAL_MAP_IDS];
    let info = program_info_with(fd, &mut ids)?;
    let count = info.nr_map_ids.min(MAX_MAP_IDS) as usize;
    if let Some(ids) = ids.get(..count) {
        return Ok((info, ids.to_vec()));
    }
    let mut ids = vec![0_u32; count];
    let info = program_info_with(fd, &mut ids)?;
    ids.truncate(info.nr_map_ids as usize);
    Ok((info, ids))
}

/// Answers how many maps there are, also where they are more than `ids` holds.
fn program_info_with(fd: BorrowedFd<'_>, ids: &mut [u32]) -> io::Result<bpf_prog_info> {
    let mut info = bpf_prog_info {
        nr_map_ids: ids.len() as u32,
        map_ids: ids.as_mut_ptr().expose_provenance() as u64,
        ..bpf_prog_info::default()
    };
    // The kernel writes at most `nr_map_ids` ids to `map_ids`: `ids` holds that many.
    program_info_into(fd, &mut info)?;
    Ok(info)
}

fn program_info_into(fd: BorrowedFd<'_>, info: &mut bpf_prog_info) -> io::Result<()> {
    let mut length = size_of::<bpf_prog_info>() as u32;
    // SAFETY: `info` is writable for `length` bytes; the buffers it points to are as long as it says (the
    // only caller that sets any is `program_info_with`).
    check(unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), info, &raw mut length) })
}

/// What the kernel says about a map.
pub(super) fn map_info(fd: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    let mut info = bpf_map_info::default();
    let mut length = size_of::<bpf_map_info>() as u32;
    // SAFETY: `info` is writable for `length` bytes and points to no buffer.
    check(unsafe {
        libbpf_sys::bpf_map_get_info_by_fd(fd.as_raw_fd(), &raw mut info, &raw mut length)
    })?;
    Ok(info)
}

/// Writes an element of a map that has one value an element.
pub(super) fn write_element(fd: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    /// The map types whose values the kernel reads once for each processor.
    const PER_CPU: [u32; 4] = [
        libbpf_sys::BPF_MAP_TYPE_PERCPU_HASH,
        libbpf_sys::BPF_MAP_TYPE_PERCPU_ARRAY,
        libbpf_sys::BPF_MAP_TYPE_LRU_PERCPU_HASH,
        libbpf_sys::BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
    ];
    let info = map_info(fd)?;
    let fits = info.key_size as usize == key.len() && info.value_size as usize == value.len();
    if !fits || PER_CPU.contains(&info.type_) {
        return Err(Errno::INVAL.into());
    }
    // SAFETY: the kernel reads as many bytes as the map's key and value have, and both were compared.
    check(unsafe {
        libbpf_sys::bpf_map_update_elem(
            fd.as_raw_fd(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            u64::from(libbpf_sys::BPF_ANY),
        )
    })
}

/// A name as the kernel writes it: up to 16 bytes, ended by NUL.
pub(super) fn kernel_name(name: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = name
        .iter()
        .map(|&c| c.cast_unsigned_byte())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `c_char` is signed on some machines and not on others.
trait CastUnsignedByte {
    fn cast_unsigned_byte(self) -> u8;
}

impl CastUnsignedByte for std::ffi::c_char {
    fn cast_unsigned_byte(self) -> u8 {
        self.to_ne_bytes()[0]
    }
}

/// An object that is open and not yet loaded, with the buffers of its verifier's logs.
pub(super) struct Loading {
    // Dropped before the buffers that its programs point into.
    object: OpenObject,
    log: Vec<u8>,
    statistics: Vec<(String, Vec<u8>)>,
}

/// A loaded object, with what the verifier said about the programs of which it was asked for.
pub(super) struct LoadedWith {
    pub(super) object: Object,
    pub(super) statistics: Vec<(String, String)>,
}

/// A refused load: the error number, and what the verifier said.
pub(super) struct Refused {
    pub(super) errno: i32,
    pub(super) log: String,
}

impl Refused {
    fn without_log(error: &io::Error) -> Self {
        Self {
            errno: error.raw_os_error().unwrap_or_default(),
            log: String::new(),
        }
    }

    fn with_log(error: &io::Error, log: &[u8]) -> Self {
        Self {
            log: log_text(log),
            ..Self::without_log(error)
        }
    }
}

/// What was written into the buffer of a log.
fn log_text(log: &[u8]) -> String {
    let text = log.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

impl Loading {
    /// Opens an object file; the error is libbpf's number, which may be one of its own.
    pub(super) fn open(name: &str, path: &str) -> io::Result<Self> {
        let path = c_string(path)?;
        Self::opened(name, |options| {
            // SAFETY: `path` and the options outlive the call.
            unsafe { libbpf_sys::bpf_object__open_file(path.as_ptr(), options) }
        })
    }

    /// The same for an object in memory, which libbpf copies. What `configuration` says of the kernel goes before what
    /// the system says.
    pub(super) fn open_bytes(name: &str, bytes: &[u8], configuration: &str) -> io::Result<Self> {
        let configuration = c_string(configuration)?;
        Self::opened(name, |options| {
            let length = bytes.len() as libbpf_sys::size_t;
            // SAFETY: the options are those of the builder, which outlives the call.
            let mut options = unsafe { *options };
            if !configuration.is_empty() {
                options.kconfig = configuration.as_ptr();
            }
            // SAFETY: `bytes`, `length` of them, the text and the options outlive the call.
            unsafe {
                libbpf_sys::bpf_object__open_mem(bytes.as_ptr().cast(), length, &raw const options)
            }
        })
    }

    fn opened(
        name: &str,
        open: impl FnOnce(*const bpf_object_open_opts) -> *mut bpf_object,
    ) -> io::Result<Self> {
        let mut builder = ObjectBuilder::default();
        builder
            .name(name)
            .map_err(|_| io::Error::from(Errno::INVAL))?;
        // The name in the options belongs to `builder`, which outlives the call.
        let Some(opened) = ptr::NonNull::new(open(builder.as_libbpf_object().as_ptr())) else {
            return Err(io::Error::last_os_error());
        };
        // SAFETY: libbpf just made this object, and we own it.
        let object = unsafe { OpenObject::from_ptr(opened) };
        Ok(Self {
            object,
            // Zeroed pages come from the kernel only when they are written: this costs nothing until then.
            log: vec![0; LOG_BYTES],
            statistics: Vec::new(),
        })
    }

    pub(super) fn object(&self) -> &OpenObject {
        &self.object
    }

    pub(super) fn object_mut(&mut self) -> &mut OpenObject {
        &mut self.object
    }

    /// Asks the verifier for its statistics of a program. When it refuses the program, it then says less about why than
    /// otherwise.
    pub(super) fn want_statistics(&mut self, program: String) {
        self.statistics.push((program, vec![0; STATISTICS_BYTES]));
    }

    /// Loads it. Log level stays 0, so libbpf asks for a log only after a program was refused; but for the programs
    /// whose statistics are wanted.
    pub(super) fn load(mut self) -> Result<LoadedWith, Refused> {
        /// `BPF_LOG_STATS` of `linux/bpf_verifier.h`.
        const STATISTICS_ONLY: u32 = 4;
        for program in self.object.progs_mut() {
            let name = program.name();
            let wanted = self.statistics.iter_mut();
            let wanted = wanted.into_iter().find(|(of, _)| name == of.as_str());
            let (log, level) = match wanted {
                Some((_, log)) => (log, STATISTICS_ONLY),
                None => (&mut self.log, 0),
            };
            let (start, length) = (log.as_mut_ptr(), log.len());
            let program = program.as_libbpf_object();
            // SAFETY: the program belongs to the open object. The buffer is not touched by anyone else
            // during the load and lives until the end of this function; libbpf writes it only in the load.
            let answer = unsafe {
                libbpf_sys::bpf_program__set_log_buf(
                    program.as_ptr(),
                    start.cast(),
                    length as libbpf_sys::size_t,
                )
            };
            check(answer).map_err(|error| Refused::without_log(&error))?;
            // SAFETY: the program belongs to the open object; libbpf only stores the number.
            check(unsafe { libbpf_sys::bpf_program__set_log_level(program.as_ptr(), level) })
                .map_err(|error| Refused::without_log(&error))?;
        }
        let pointer = self.object.as_libbpf_object();
        // SAFETY: the object is open and not loaded.
        let answer = unsafe { libbpf_sys::bpf_object__load(pointer.as_ptr()) };
        check(answer).map_err(|error| Refused::with_log(&error, &self.log))?;
        let statistics = self.statistics.iter();
        let statistics = statistics.map(|(of, log)| (of.clone(), log_text(log)));
        Ok(LoadedWith {
            statistics: statistics.collect(),
            // SAFETY: the object is loaded, and `take_ptr` gave up its ownership.
            object: unsafe { Object::from_ptr(self.object.take_ptr()) },
        })
    }
}

/// The type libbpf has for a program: what its section says until it is set.
pub(super) fn program_type(program: &OpenProgram<'_>) -> u32 {
    // SAFETY: the program belongs to an open object.
    unsafe { libbpf_sys::bpf_program__type(program.as_libbpf_object().as_ptr()) }
}

/// The expected attach type libbpf has for a program.
pub(super) fn attach_type(program: &impl AsRawLibbpf<LibbpfType = bpf_program>) -> u32 {
    // SAFETY: the program belongs to an object that is open or loaded.
    unsafe { libbpf_sys::bpf_program__expected_attach_type(program.as_libbpf_object().as_ptr()) }
}

/// The load flags libbpf has for a program.
pub(super) fn flags(program: &impl AsRawLibbpf<LibbpfType = bpf_program>) -> u32 {
    // SAFETY: the program belongs to an object that is open or loaded.
    unsafe { libbpf_sys::bpf_program__flags(program.as_libbpf_object().as_ptr()) }
}

/// Sets a program's type; libbpf then forgets what the section says.
pub(super) fn set_program_type(program: &mut OpenProgramMut<'_>, value: u32) -> io::Result<()> {
    // SAFETY: the program belongs to an open object; libbpf only stores the number.
    check(unsafe { libbpf_sys::bpf_program__set_type(program.as_libbpf_object().as_ptr(), value) })
}

/// Sets a program's expected attach type.
pub(super) fn set_attach_type(program: &mut OpenProgramMut<'_>, value: u32) -> io::Result<()> {
    // SAFETY: the program belongs to an open object; libbpf only stores the number.
    check(unsafe {
        libbpf_sys::bpf_program__set_expected_attach_type(
            program.as_libbpf_object().as_ptr(),
            value,
        )
    })
}

/// Sets a program's load flags.
pub(super) fn set_flags(program: &mut OpenProgramMut<'_>, value: u32) -> io::Result<()> {
    // SAFETY: the program belongs to an open object; libbpf only stores the number.
    check(unsafe { libbpf_sys::bpf_program__set_flags(program.as_libbpf_object().as_ptr(), value) })
}

/// Binds a program to a function of the kernel, or of the program behind `target`.
pub(super) fn set_attach_target(
    program: &mut OpenProgramMut<'_>,
    target: Option<BorrowedFd<'_>>,
    function: Option<&str>,
) -> io::Result<()> {
    let function = function.map(c_string).transpose()?;
    let name = function.as_ref().map_or(ptr::null(), |name| name.as_ptr());
    let fd = target.map_or(0, |fd| fd.as_raw_fd());
    // SAFETY: the program belongs to an open object; the name is NULL or a string that outlives the call.
    check(unsafe {
        libbpf_sys::bpf_program__set_attach_target(program.as_libbpf_object().as_ptr(), fd, name)
    })
}

/// Makes libbpf forget that a map asks to be pinned.
pub(super) fn clear_pin_path(map: &mut OpenMapMut<'_>) -> io::Result<()> {
    // SAFETY: the map belongs to an open object; NULL is how libbpf spells "no path".
    check(unsafe {
        libbpf_sys::bpf_map__set_pin_path(map.as_libbpf_object().as_ptr(), ptr::null())
    })
}

/// Takes an existing map instead of making one.
pub(super) fn reuse_map(map: &mut OpenMapMut<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the map belongs to an open object and `fd` is open; libbpf duplicates it.
    check(unsafe { libbpf_sys::bpf_map__reuse_fd(map.as_libbpf_object().as_ptr(), fd.as_raw_fd()) })
}

/// Changes sizes of a map.
pub(super) fn set_map_size(
    map: &mut OpenMapMut<'_>,
    key_size: Option<u32>,
    value_size: Option<u32>,
    max_entries: Option<u32>,
) -> io::Result<()> {
    let map = map.as_libbpf_object().as_ptr();
    if let Some(bytes) = key_size {
        // SAFETY: the map belongs to an open object; libbpf only stores the number.
        check(unsafe { libbpf_sys::bpf_map__set_key_size(map, bytes) })?;
    }
    if let Some(bytes) = value_size {
        // SAFETY: as above.
        check(unsafe { libbpf_sys::bpf_map__set_value_size(map, bytes) })?;
    }
    match max_entries {
        // SAFETY: as above.
        Some(entries) => check(unsafe { libbpf_sys::bpf_map__set_max_entries(map, entries) }),
        None => Ok(()),
    }
}

/// How the maps in a map are declared.
pub(super) fn inner_map(map: &OpenMapMut<'_>) -> io::Result<MapShape> {
    // SAFETY: the map belongs to an open object; libbpf answers one that lives as long, or NULL.
    let inner = unsafe { libbpf_sys::bpf_map__inner_map(map.as_libbpf_object().as_ptr()) };
    if inner.is_null() {
        return Err(Errno::INVAL.into());
    }
    // SAFETY: the map is there; these calls only read numbers of it.
    Ok(unsafe {
        MapShape {
            map_type: MapType(libbpf_sys::bpf_map__type(inner)),
            key_size: libbpf_sys::bpf_map__key_size(inner),
            value_size: libbpf_sys::bpf_map__value_size(inner),
            max_entries: libbpf_sys::bpf_map__max_entries(inner),
            flags: libbpf_sys::bpf_map__map_flags(inner),
            map_extra: libbpf_sys::bpf_map__map_extra(inner),
        }
    })
}

/// Says what the maps in a map look like by one of them.
pub(super) fn set_inner_map(map: &mut OpenMapMut<'_>, template: BorrowedFd<'_>) -> io::Result<()> {
    let map = map.as_libbpf_object().as_ptr();
    // SAFETY: the map belongs to an open object; libbpf frees the declaration and stores the number.
    check(unsafe { libbpf_sys::bpf_map__set_inner_map_fd(map, template.as_raw_fd()) })
}

/// Sets whether libbpf makes a map.
pub(super) fn set_autocreate(map: &mut OpenMapMut<'_>, value: bool) -> io::Result<()> {
    // SAFETY: the map belongs to an open object.
    check(unsafe { libbpf_sys::bpf_map__set_autocreate(map.as_libbpf_object().as_ptr(), value) })
}

/// The map type as a number: newer ones have no name in `libbpf-rs`.
pub(super) fn open_map_type(map: &OpenMapMut<'_>) -> u32 {
    // SAFETY: the map belongs to an open object.
    unsafe { libbpf_sys::bpf_map__type(map.as_libbpf_object().as_ptr()) }
}

/// The extra word of a map's type.
pub(super) fn open_map_extra(map: &OpenMapMut<'_>) -> u64 {
    // SAFETY: the map belongs to an open object.
    unsafe { libbpf_sys::bpf_map__map_extra(map.as_libbpf_object().as_ptr()) }
}

/// How many processors the kernel has room for.
pub(super) fn possible_cpus() -> io::Result<u32> {
    // SAFETY: the call takes nothing.
    let answer = unsafe { libbpf_sys::libbpf_num_possible_cpus() };
    check(answer)?;
    Ok(answer.cast_unsigned())
}

/// The descriptor of a program of a loaded object; `None` when it was not loaded.
pub(super) fn loaded_program<'object>(program: &Program<'object>) -> Option<BorrowedFd<'object>> {
    // SAFETY: the program belongs to a loaded object.
    let fd = unsafe { libbpf_sys::bpf_program__fd(program.as_libbpf_object().as_ptr()) };
    // SAFETY: libbpf keeps the descriptor open as long as the object, which `'object` borrows.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// The descriptor of a map of a loaded object; `None` when it was not made.
pub(super) fn loaded_map<'object>(map: &MapMut<'object>) -> Option<BorrowedFd<'object>> {
    // SAFETY: the map belongs to a loaded object.
    let fd = unsafe { libbpf_sys::bpf_map__fd(map.as_libbpf_object().as_ptr()) };
    // SAFETY: libbpf keeps the descriptor open as long as the object, which `'object` borrows.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// A program's instructions as bytes, 8 each.
pub(super) fn instruction_bytes(program: &Program<'_>) -> Vec<u8> {
    let instructions = program.insns();
    let length = size_of_val(instructions);
    // SAFETY: `bpf_insn` is plain data without padding, `length` bytes of it.
    unsafe { std::slice::from_raw_parts(instructions.as_ptr().cast::<u8>(), length) }.to_vec()
}

/// What the BTF of a loaded program says about its functions: instruction and type of each, in their order.
pub(super) fn functions(program: &Program<'_>) -> Vec<bpf_func_info> {
    let program = program.as_libbpf_object().as_ptr();
    // SAFETY: the program belongs to a loaded object.
    let (start, count) = unsafe {
        (
            libbpf_sys::bpf_program__func_info(program),
            libbpf_sys::bpf_program__func_info_cnt(program),
        )
    };
    if start.is_null() {
        return Vec::new();
    }
    // SAFETY: libbpf keeps `count` records there as long as the program.
    unsafe { std::slice::from_raw_parts(start, count as usize) }.to_vec()
}

/// The values of a key in a map that has one for each processor, one after the other, and the length of each.
pub(super) fn read_each_processor(fd: BorrowedFd<'_>, key: &[u8]) -> io::Result<(Vec<u8>, usize)> {
    let info = map_info(fd)?;
    let per_processor = info.type_ == libbpf_sys::BPF_MAP_TYPE_PERCPU_ARRAY;
    if !per_processor || info.key_size as usize != key.len() {
        return Err(Errno::INVAL.into());
    }
    let processors = possible_cpus()?;
    let length = (info.value_size as usize).next_multiple_of(8);
    let mut values = vec![0_u8; length * processors as usize];
    // SAFETY: the kernel reads a key of the length that was compared, and writes one value, rounded up to 8 bytes, for
    // each possible processor: `values` holds that many.
    check(unsafe {
        libbpf_sys::bpf_map_lookup_elem(
            fd.as_raw_fd(),
            key.as_ptr().cast(),
            values.as_mut_ptr().cast(),
        )
    })?;
    Ok((values, length))
}

/// Gives the calling thread a root and a working directory of its own, the same as before.
pub(super) fn unshare_root() -> io::Result<()> {
    // SAFETY: the table of descriptors stays shared; nothing in memory changes.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?)
}
