//! The error numbers that the simulated system answers with.

use std::fmt;
use std::io;

use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::types::AbsolutePath;
use bpfman_interpreter::interfaces::FileError;
use bpfman_interpreter::store::StoreError;

/// An error number of `errno.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// EPERM.
    Permission = 1,
    /// ENOENT.
    NotFound = 2,
    /// EIO.
    InputOutput = 5,
    /// EACCES.
    Access = 13,
    /// EBUSY.
    Busy = 16,
    /// EEXIST.
    Exists = 17,
    /// EXDEV.
    OtherDevice = 18,
    /// ENODEV.
    NoDevice = 19,
    /// ENOTDIR.
    NotDirectory = 20,
    /// EISDIR.
    IsDirectory = 21,
    /// EINVAL.
    Invalid = 22,
    /// ENOSPC.
    NoSpace = 28,
    /// ENOTEMPTY.
    NotEmpty = 39,
}

impl Errno {
    /// The kind that the real adapter gives this number.
    pub(crate) fn kind(self) -> KernelErrorKind {
        match self {
            Self::Permission | Self::Access => KernelErrorKind::Permission,
            Self::NotFound | Self::NotDirectory => KernelErrorKind::NotFound,
            Self::Exists => KernelErrorKind::Exists,
            Self::NoSpace => KernelErrorKind::NoSpace,
            _ => KernelErrorKind::Other,
        }
    }

    fn number(self) -> i32 {
        self as i32
    }

    /// A kernel's or bpffs's refusal of a call on one thing.
    pub(crate) fn refusal(self, what: impl fmt::Display) -> KernelError {
        let mut refusal = KernelError::new(self.kind(), format!("{what}: {self}"));
        refusal.errno = Some(self.number());
        refusal
    }

    pub(crate) fn file_error(self, path: &AbsolutePath) -> FileError {
        FileError {
            path: path.clone(),
            source: io::Error::from_raw_os_error(self.number()),
        }
    }

    pub(crate) fn store_error(self, database: &AbsolutePath) -> StoreError {
        let path = database.as_str().into();
        match self {
            Self::NoSpace => StoreError::Full { path },
            Self::Busy => StoreError::Busy { path },
            other => StoreError::Other {
                path,
                reason: other.to_string(),
            },
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.number()).fmt(f)
    }
}

/// A request that makes no sense.
pub(crate) fn bad_request(message: impl Into<String>) -> KernelError {
    KernelError::new(KernelErrorKind::BadRequest, message.into())
}
