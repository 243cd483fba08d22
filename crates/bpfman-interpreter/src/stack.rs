//! A stack of known size: that of the main thread is what `ulimit -s` says, and running out of it ends the process.

use std::io;
use std::panic::resume_unwind;
use std::thread;

/// What the deepest work takes, many times over: parsing an object, libbpf, SQLite.
pub const STACK_BYTES: usize = 8 << 20;

/// Runs `work` on a thread with [`STACK_BYTES`] of stack, and waits for it.
///
/// # Errors
/// When the system gives no thread.
///
/// # Panics
/// When `work` does.
pub fn on_known_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
