//! Entering a network namespace, and the one of the calling thread.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::thread;

use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;

/// Not `/proc/self`: that is the main thread, which may be in another namespace.
pub(crate) const OWN: &str = "/proc/thread-self/ns/net";

/// Opens the namespace of the calling thread. Where no `/proc` is mounted, the kernel is asked by a socket.
///
/// # Errors
/// When neither tells.
pub(crate) fn own() -> io::Result<File> {
    match File::open(OWN) {
        Ok(file) => Ok(file),
        Err(unreadable) => match crate::kernel::own_network_namespace() {
            Ok(opened) => Ok(opened.into()),
            Err(_) => Err(unreadable),
        },
    }
}

/// Calls `call` inside a network namespace. A thread of its own enters it, and ends there: a namespace belongs to a
/// thread, and one that cannot be left again must not be the caller's.
///
/// # Errors
/// When the thread cannot start, or may not enter: `EINVAL` for a namespace of another type.
pub(crate) fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    call: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    on_a_thread(|| {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        Ok(call())
    })
}

/// Calls `call` on a thread of its own, which ends with the call.
///
/// # Errors
/// When the thread cannot start; those of `call`.
pub(crate) fn on_a_thread<T: Send>(call: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let inside = thread::Builder::new().spawn_scoped(scope, call)?;
        match inside.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
