//! A stack of known size: that of the main thread is what `ulimit -s` says, and running out of it ends the process.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use rustix::process::Resource;
use rustix::process::getrlimit;

/// What the deepest work takes, many times over: parsing an object, libbpf, SQLite.
pub const STACK_BYTES: usize = 8 << 20;

/// Runs `work` with [`STACK_BYTES`] of stack: on this thread, which must be the main one, or on one of its own. What a
/// thread allocates costs a system call a page with glibc, some hundred for a short command.
///
/// # Errors
/// When the system gives no thread.
///
/// # Panics
/// When `work` does.
pub fn on_known_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let limit = getrlimit(Resource::Stack).current;
    if limit.is_none_or(|limit| limit >= STACK_BYTES as u64) {
        return Ok(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
