//! What the log tells of one operation: its id, and how long things take.

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bpfman_core::types::UnixTime;
use tracing::span::EnteredSpan;

/// How many operations this process has begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Tells the operations of a machine apart: when their process began in milliseconds, its id, and the number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId {
    milliseconds: u64,
    process: u32,
    number: u32,
}

impl OperationId {
    /// The next one of this process, which began at this time.
    #[must_use]
    pub fn next(process_began: UnixTime) -> Self {
        Self {
            milliseconds: process_began.0 / 1_000_000,
            process: std::process::id(),
            number: BEGUN.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            milliseconds,
            process,
            number,
        } = self;
        write!(f, "{milliseconds:x}-{process}-{number}")
    }
}

/// Measures how long something takes, for who asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Option<Instant>);

impl Stopwatch {
    /// Starts one; without reading a clock where nobody asks.
    #[must_use]
    pub fn start(asked: bool) -> Self {
        Self(asked.then(Instant::now))
    }
}

/// The time since the start in milliseconds.
impl fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.0.map(|start| start.elapsed()).unwrap_or_default();
        write!(f, "{:.3} ms", elapsed.as_secs_f64() * 1e3)
    }
}

/// An operation under way: all that is logged while this lives is of it. Says at its end how long it took.
#[derive(Debug)]
pub struct Operation {
    watch: Stopwatch,
    _span: EnteredSpan,
}

impl Operation {
    /// Begins one, in its span.
    #[must_use]
    pub fn enter(span: tracing::Span) -> Self {
        let span = span.entered();
        tracing::debug!(target: "manager", "begins");
        Self {
            watch: Stopwatch::start(tracing::enabled!(target: "manager", tracing::Level::DEBUG)),
            _span: span,
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        tracing::debug!(target: "manager", "ends after {}", self.watch);
    }
}
