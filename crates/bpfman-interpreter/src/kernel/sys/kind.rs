//! Which kind of BPF object a descriptor is, asked by commands that change nothing: each looks first whether the one
//! descriptor is of its kind (`EINVAL`), then whether the other, -1, is open (`EBADF`). See `kernel/bpf/syscall.c`.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::ptr;

use libbpf_rs::libbpf_sys;
use rustix::io::Errno;

use super::check;

const NOT_OPEN: i32 = -1;

/// `BPF_PROG_BIND_MAP`, since Linux 5.10.
pub(in crate::kernel) fn is_program(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the call takes two numbers; NULL is how libbpf spells "no options".
    got_past(unsafe { libbpf_sys::bpf_prog_bind_map(fd.as_raw_fd(), NOT_OPEN, ptr::null()) })
}

/// `BPF_LINK_UPDATE`, since Linux 5.7.
pub(in crate::kernel) fn is_link(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: as above.
    got_past(unsafe { libbpf_sys::bpf_link_update(fd.as_raw_fd(), NOT_OPEN, ptr::null()) })
}

/// A map looks at the address of a key, or says that it has none; what is no map is refused before.
pub(in crate::kernel) fn is_map(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the kernel checks both addresses itself; at 0 it reads and writes nothing.
    let answer =
        unsafe { libbpf_sys::bpf_map_lookup_elem(fd.as_raw_fd(), ptr::null(), ptr::null_mut()) };
    !matches!(number(answer), Some(Errno::INVAL | Errno::BADF))
}

fn got_past(answer: i32) -> bool {
    number(answer) == Some(Errno::BADF)
}

fn number(answer: i32) -> Option<Errno> {
    let error: io::Error = check(answer).err()?;
    error.raw_os_error().map(Errno::from_raw_os_error)
}
