//! Network namespaces and their interfaces.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use bpfman_core::kernel::Dump;
use bpfman_core::kernel::DumpError;
use bpfman_core::kernel::Entry;
use bpfman_core::kernel::FilterQdisc;
use bpfman_core::kernel::NetworkNamespace;
use bpfman_core::kernel::ProgramFilter;
use bpfman_core::kernel::filter_request;
use bpfman_core::kernel::interface_request;
use bpfman_core::kernel::qdisc_request;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::IfIndex;
use bpfman_core::types::NetnsId;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

use super::TargetError;
use crate::namespace;

/// NSFS_MAGIC of `linux/magic.h`.
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// How large an answer may be: `NLMSG_GOODSIZE` of the kernel is at most 32 KiB for a dump.
const ANSWER_BYTES: usize = 1 << 16;
/// How often a list is asked for again that changed while it was read.
const MAX_DUMPS: usize = 16;

pub(super) fn namespace(path: Option<&AbsolutePath>) -> Result<NetnsId, TargetError> {
    within(path, Ok)
}

/// Calls `look` inside a namespace.
fn within<T: Send>(
    path: Option<&AbsolutePath>,
    look: impl FnOnce(NetnsId) -> Result<T, TargetError> + Send,
) -> Result<T, TargetError> {
    let Some(path) = path else {
        let own = namespace::own().and_then(|own| own.metadata());
        let own = own.map_err(|source| TargetError::system(namespace::OWN, source))?;
        return look(NetnsId(own.ino()));
    };
    let (id, opened) = open(path)?;
    match namespace::within(opened.as_fd(), || look(id)) {
        Ok(answer) => answer,
        // It is a namespace of another type.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            Err(TargetError::NotANamespace { path: path.clone() })
        }
        Err(source) => Err(TargetError::system(format!("namespace {path}"), source)),
    }
}

/// Opens a namespace's file. What else is at the path, a pipe or a device, is looked at without opening it.
fn open(path: &AbsolutePath) -> Result<(NetnsId, OwnedFd), TargetError> {
    let failed = |source: Errno| TargetError::system(format!("namespace {path}"), source);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::open(path.as_str(), flags, Mode::empty()).map_err(failed)?;
    let system = rustix::fs::fstatfs(&found).map_err(failed)?;
    if system.f_type.cast_unsigned() != NSFS_MAGIC {
        return Err(TargetError::NotANamespace { path: path.clone() });
    }
    let inode = rustix::fs::fstat(&found).map_err(failed)?.st_ino;
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(itself, flags, Mode::empty()) {
        // No `/proc` is mounted. What came to the path meanwhile shall not make us wait.
        Err(Errno::NOENT) => {
            let again = flags | OFlags::NONBLOCK;
            rustix::fs::open(path.as_str(), again, Mode::empty()).map_err(failed)?
        }
        opened => opened.map_err(failed)?,
    };
    if rustix::fs::fstat(&opened).map_err(failed)?.st_ino != inode {
        return Err(TargetError::NotANamespace { path: path.clone() });
    }
    Ok((NetnsId(inode), opened))
}

/// A namespace and its interfaces.
pub(super) fn interfaces(netns: Option<&AbsolutePath>) -> Result<NetworkNamespace, TargetError> {
    within(netns, |id| {
        let what = || match netns {
            Some(path) => format!("the interfaces of namespace {path}"),
            None => "the interfaces".to_owned(),
        };
        Ok(NetworkNamespace {
            path: netns.cloned(),
            id,
            interfaces: list_here(&interface_request())
                .map_err(|source| TargetError::system(what(), source))?,
        })
    })
}

/// The filters of a namespace that run programs.
pub(super) fn filters(
    netns: Option<&AbsolutePath>,
) -> Result<Vec<(IfIndex, Direction, ProgramFilter)>, TargetError> {
    within(netns, |_| {
        let what = || match netns {
            Some(path) => format!("the filters of namespace {path}"),
            None => "the filters".to_owned(),
        };
        filters_here().map_err(|source| TargetError::system(what(), source))
    })
}

fn filters_here() -> io::Result<Vec<(IfIndex, Direction, ProgramFilter)>> {
    let mut found = Vec::new();
    for qdisc in list_here::<FilterQdisc>(&qdisc_request())? {
        for direction in qdisc.directions {
            // Of an interface that has gone meanwhile the kernel has an empty list.
            let filters = list_here(&filter_request(qdisc.ifindex, *direction))?;
            let filters = filters.into_iter();
            found.extend(filters.map(|filter| (qdisc.ifindex, *direction, filter)));
        }
    }
    Ok(found)
}

/// A list of the namespace that the calling thread is in.
fn list_here<T: Entry>(request: &[u8]) -> io::Result<Vec<T>> {
    for _ in 0..MAX_DUMPS {
        let dump = dump_here(request)?;
        if !dump.interrupted {
            return Ok(dump.entries);
        }
    }
    Err(io::Error::other("it changes faster than it can be read"))
}

fn dump_here<T: Entry>(request: &[u8]) -> io::Result<Dump<T>> {
    // A socket belongs to the namespace of the thread that makes it. NETLINK_ROUTE is the protocol of number 0.
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::send(&socket, request, SendFlags::empty())?;
    let mut dump = Dump::default();
    let mut answer = vec![0; ANSWER_BYTES];
    while !dump.done {
        let (read, whole) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::TRUNC)?;
        let answer = answer.get(..whole.max(read));
        let answer = answer.ok_or_else(|| io::Error::other(DumpError::Truncated))?;
        dump.read(answer).map_err(io::Error::other)?;
    }
    Ok(dump)
}
