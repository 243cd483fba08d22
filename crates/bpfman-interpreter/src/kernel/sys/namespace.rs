//! The network namespace of the calling thread, where no `/proc` says which it is.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

use super::owned;

/// Opens it. The kernel asks for `CAP_NET_ADMIN`.
pub(crate) fn own_network_namespace() -> io::Result<OwnedFd> {
    /// `SIOCGSKNS` of `linux/sockios.h`: the namespace that a socket was made in.
    const NAMESPACE_OF: u32 = 0x894c;
    let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the request takes no argument and answers a new descriptor.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), NAMESPACE_OF as _) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    owned(answer)
}
