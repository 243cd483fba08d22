//! Programs out of instructions, and the types they bring along.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::ptr;

use bpfman_core::kernel::MapShape;
use libbpf_rs::libbpf_sys;
use libbpf_rs::libbpf_sys::bpf_btf_load_opts;
use libbpf_rs::libbpf_sys::bpf_func_info;
use libbpf_rs::libbpf_sys::bpf_map_create_opts;
use libbpf_rs::libbpf_sys::bpf_prog_load_opts;
use rustix::thread::UnshareFlags;
use rustix::thread::unshare_unsafe;

use super::INSTRUCTION_BYTES;
use super::LOG_BYTES;
use super::Refused;
use super::c_string;
use super::check;
use super::owned;

/// A program to load out of instructions.
pub(in crate::kernel) struct RawProgram<'a> {
    pub(in crate::kernel) name: &'a str,
    pub(in crate::kernel) license: &'a str,
    pub(in crate::kernel) kernel_type: u32,
    pub(in crate::kernel) attach_type: u32,
    pub(in crate::kernel) flags: u32,
    /// Whole instructions, with the numbers of open descriptors where maps belong.
    pub(in crate::kernel) instructions: &'a [u8],
    /// The BTF, and which type of it each function has.
    pub(in crate::kernel) types: Option<(BorrowedFd<'a>, &'a [bpf_func_info])>,
    /// The program and the function of its BTF that an extension replaces.
    pub(in crate::kernel) replaces: Option<(BorrowedFd<'a>, u32)>,
}

/// Loads a program. Without a log first: libbpf asks for one only after a refusal.
pub(in crate::kernel) fn load_program(program: &RawProgram<'_>) -> Result<OwnedFd, Refused> {
    let text = |text| c_string(text).map_err(|error| Refused::without_log(&error));
    let (name, license) = (text(program.name)?, text(program.license)?);
    // Zeroed pages come from the kernel only when they are written: this costs nothing until then.
    let mut log = vec![0_u8; LOG_BYTES];
    let mut opts = bpf_prog_load_opts {
        sz: size_of::<bpf_prog_load_opts>() as libbpf_sys::size_t,
        expected_attach_type: program.attach_type,
        prog_flags: program.flags,
        log_buf: log.as_mut_ptr().cast(),
        log_size: LOG_BYTES as u32,
        ..bpf_prog_load_opts::default()
    };
    if let Some((types, functions)) = program.types {
        opts.prog_btf_fd = types.as_raw_fd().cast_unsigned();
        if !functions.is_empty() {
            opts.func_info = functions.as_ptr().cast();
            opts.func_info_cnt = functions.len() as u32;
            opts.func_info_rec_size = size_of::<bpf_func_info>() as u32;
        }
    }
    if let Some((target, function)) = program.replaces {
        opts.attach_prog_fd = target.as_raw_fd().cast_unsigned();
        opts.attach_btf_id = function;
    }
    let count = program.instructions.len() / INSTRUCTION_BYTES;
    // SAFETY: every pointer is to memory that outlives the call and is as long as its count says; the log is written
    // by the kernel only, and read by nobody else meanwhile. The kernel copies the instructions, aligned or not.
    let answer = unsafe {
        libbpf_sys::bpf_prog_load(
            program.kernel_type,
            name.as_ptr(),
            license.as_ptr(),
            program.instructions.as_ptr().cast(),
            count as libbpf_sys::size_t,
            &raw mut opts,
        )
    };
    owned(answer).map_err(|error| Refused::with_log(&error, &log))
}

pub(in crate::kernel) fn load_types(bytes: &[u8]) -> Result<OwnedFd, Refused> {
    let mut log = vec![0_u8; LOG_BYTES];
    let mut opts = bpf_btf_load_opts {
        sz: size_of::<bpf_btf_load_opts>() as libbpf_sys::size_t,
        log_buf: log.as_mut_ptr().cast(),
        log_size: LOG_BYTES as u32,
        ..bpf_btf_load_opts::default()
    };
    // SAFETY: bytes and log outlive the call and are as long as their sizes say.
    let answer = unsafe {
        libbpf_sys::bpf_btf_load(
            bytes.as_ptr().cast(),
            bytes.len() as libbpf_sys::size_t,
            &raw mut opts,
        )
    };
    owned(answer).map_err(|error| Refused::with_log(&error, &log))
}

/// Opens the BTF of this id.
pub(in crate::kernel) fn types_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes a number only.
    owned(unsafe { libbpf_sys::bpf_btf_get_fd_by_id(id) })
}

/// The bytes of the BTF of this id, as it was loaded.
pub(in crate::kernel) fn types_bytes(id: u32) -> io::Result<Vec<u8>> {
    // SAFETY: the call takes a number only.
    let types = unsafe { libbpf_sys::btf__load_from_kernel_by_id(id) };
    if types.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut size = 0;
    // SAFETY: libbpf just made these types, and `size` outlives the call.
    let data = unsafe { libbpf_sys::btf__raw_data(types, &raw mut size) };
    let size = usize::try_from(size).unwrap_or(0);
    let bytes = if data.is_null() {
        Vec::new()
    } else {
        // SAFETY: libbpf says that so many bytes are there, which live as long as the types.
        unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) }.to_vec()
    };
    // SAFETY: they are ours, and nobody uses them after this.
    unsafe { libbpf_sys::btf__free(types) };
    Ok(bytes)
}

/// The type of a function in the BTF of this id.
pub(in crate::kernel) fn function_type(btf: u32, function: &str) -> io::Result<u32> {
    let function = c_string(function)?;
    // SAFETY: the call takes a number only.
    let types = unsafe { libbpf_sys::btf__load_from_kernel_by_id(btf) };
    if types.is_null() {
        return Err(io::Error::last_os_error());
    }
    let kind = libbpf_sys::BTF_KIND_FUNC;
    // SAFETY: libbpf just made these types, and the name outlives the call.
    let found = unsafe { libbpf_sys::btf__find_by_name_kind(types, function.as_ptr(), kind) };
    // SAFETY: they are ours, and nobody uses them after this.
    unsafe { libbpf_sys::btf__free(types) };
    u32::try_from(found).map_err(|_| io::Error::from_raw_os_error(found.saturating_neg()))
}

pub(in crate::kernel) fn make_map(name: &str, shape: &MapShape) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    let options = bpf_map_create_opts {
        sz: size_of::<bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: shape.flags,
        map_extra: shape.map_extra,
        ..bpf_map_create_opts::default()
    };
    // SAFETY: the name and the options outlive the call.
    owned(unsafe {
        libbpf_sys::bpf_map_create(
            shape.map_type.0,
            name.as_ptr(),
            shape.key_size,
            shape.value_size,
            shape.max_entries,
            &raw const options,
        )
    })
}

/// Asks libbpf to try a program type with a program that this kernel would accept, or refuse late.
pub(in crate::kernel) fn accepts_program_type(kernel_type: u32) -> io::Result<bool> {
    // SAFETY: the call takes a number, and NULL where options may be.
    let answer = unsafe { libbpf_sys::libbpf_probe_bpf_prog_type(kernel_type, ptr::null()) };
    check(answer)?;
    Ok(answer > 0)
}

/// Makes a token of a bpffs.
pub(in crate::kernel) fn create_token(bpffs: u32) -> io::Result<OwnedFd> {
    // SAFETY: NULL stands for no options.
    owned(unsafe { libbpf_sys::bpf_token_create(bpffs.cast_signed(), ptr::null_mut()) })
}

/// Moves the calling thread into a network namespace of its own.
pub(in crate::kernel) fn leave_network_namespace() -> io::Result<()> {
    // SAFETY: the flag leaves the table of descriptors shared.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?)
}
