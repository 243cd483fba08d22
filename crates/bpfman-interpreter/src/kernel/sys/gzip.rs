//! Reading compressed files with the zlib that libbpf brings along (`zlib.h`).

use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_uint;
use std::ffi::c_void;
use std::io;

use super::c_string;

unsafe extern "C" {
    fn gzopen(path: *const c_char, mode: *const c_char) -> *mut c_void;
    fn gzread(file: *mut c_void, buffer: *mut c_void, length: c_uint) -> c_int;
    fn gzclose(file: *mut c_void) -> c_int;
}

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// The bytes of a file, compressed or not, of at most `limit` bytes.
pub(crate) fn read_gzip(path: &str, limit: usize) -> io::Result<Vec<u8>> {
    let path = c_string(path)?;
    // SAFETY: both are NUL-terminated strings that outlive the call.
    let file = unsafe { gzopen(path.as_ptr(), c"re".as_ptr()) };
    if file.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut bytes = Vec::new();
    let mut piece = vec![0_u8; PIECE];
    let read = loop {
        // SAFETY: the file is open, and `piece` is writable for its whole length.
        let read = unsafe { gzread(file, piece.as_mut_ptr().cast(), PIECE as c_uint) };
        match usize::try_from(read) {
            Ok(0) => break Ok(()),
            Ok(count) if bytes.len() + count <= limit => bytes.extend(&piece[..count]),
            Ok(_) => break Err(io::ErrorKind::FileTooLarge.into()),
            Err(_) => break Err(io::ErrorKind::InvalidData.into()),
        }
    };
    // SAFETY: the file is open, and not used after.
    unsafe { gzclose(file) };
    read.map(|()| bytes)
}
