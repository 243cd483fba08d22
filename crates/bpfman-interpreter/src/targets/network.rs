//! Network namespaces and their interfaces.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use bpfman_core::managed::LinkInterface;
use bpfman_core::target::suggest;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::IfIndex;
use bpfman_core::types::InterfaceName;
use bpfman_core::types::NetnsId;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::netdevice;

use super::TargetError;
use crate::namespace;

/// NSFS_MAGIC of `linux/magic.h`.
const NSFS_MAGIC: u64 = 0x6e73_6673;
const OWN_INTERFACES: &str = "/proc/thread-self/net/dev";

pub(super) fn namespace(path: Option<&AbsolutePath>) -> Result<NetnsId, TargetError> {
    within(path, Ok)
}

pub(super) fn interface(
    netns: Option<&AbsolutePath>,
    name: &InterfaceName,
) -> Result<(NetnsId, IfIndex), TargetError> {
    within(netns, |id| match index_here(name) {
        Ok(Some(index)) => Ok((id, index)),
        Ok(None) => Err(TargetError::UnknownInterface {
            name: name.clone(),
            netns: netns.cloned(),
            similar: similar_here(name),
        }),
        Err(source) => Err(TargetError::system(format!("interface {name}"), source)),
    })
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

/// The interfaces of our own namespace.
pub(super) fn interfaces() -> Result<Vec<LinkInterface>, TargetError> {
    let nsid = namespace(None)?;
    let failed = |source| TargetError::system(OWN_INTERFACES, source);
    let table = fs::read_to_string(OWN_INTERFACES).map_err(failed)?;
    let mut interfaces = Vec::new();
    for name in names(&table) {
        // The kernel's names are names; one that is gone by now is none.
        let Ok(interface) = InterfaceName::parse(name) else {
            continue;
        };
        if let Some(ifindex) = index_here(&interface).map_err(failed)? {
            interfaces.push(LinkInterface {
                interface,
                ifindex,
                netns: None,
                nsid,
            });
        }
    }
    Ok(interfaces)
}

/// The names in a table like `/proc/net/dev`: two lines of headings, then `NAME: NUMBERS`.
fn names(table: &str) -> impl Iterator<Item = &str> {
    let lines = table.lines().skip(2);
    lines.filter_map(|line| Some(line.split_once(':')?.0.trim()))
}

fn index_here(name: &InterfaceName) -> io::Result<Option<IfIndex>> {
    // A socket belongs to the namespace of the thread that makes it; of which family it is does not matter.
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    match netdevice::name_to_index(&socket, name.as_str()) {
        Ok(index) => Ok(Some(IfIndex(index))),
        Err(Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn similar_here(name: &InterfaceName) -> Vec<String> {
    let table = fs::read_to_string(OWN_INTERFACES).unwrap_or_default();
    suggest(name.as_str(), names(&table))
}
