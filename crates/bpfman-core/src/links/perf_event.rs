//! `perf_event`: a perf event that has a name.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde::Serialize;

use super::Recorded;
use super::words::Words;

/// A perf event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfEventRequest {
    /// Its name.
    pub event: PerfEvent,
    /// How often it samples.
    pub sampling: Sampling,
    /// Only on this processor.
    pub cpu: Option<u32>,
    /// Only in this process.
    pub pid: Option<u32>,
}

/// A program at the samples of a perf event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampledEvent {
    /// The event as the user named it.
    pub event: String,
    /// How often it samples.
    pub sampling: Sampling,
    /// Only on this processor.
    pub cpu: Option<u32>,
    /// Only in this process.
    pub pid: Option<u32>,
}

/// How often a perf event samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Every so many events.
    Period(u64),
    /// So many times a second.
    Frequency(u64),
}

/// A perf event: `PERF_COUNT_*` of `linux/perf_event.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerfEvent {
    /// Its name.
    pub name: &'static str,
    /// `perf_event_attr.type`.
    pub event_type: u32,
    /// `perf_event_attr.config`.
    pub config: u64,
}

impl PerfEvent {
    /// The event with these numbers, if it has a name.
    #[must_use]
    pub fn of(event_type: u32, config: u64) -> Option<&'static Self> {
        let mut all = PERF_EVENTS.iter();
        all.find(|event| (event.event_type, event.config) == (event_type, config))
    }
}

const fn event(name: &'static str, event_type: u32, config: u64) -> PerfEvent {
    PerfEvent {
        name,
        event_type,
        config,
    }
}

/// The perf events that have a name: type 0 is hardware, type 1 software.
pub const PERF_EVENTS: &[PerfEvent] = &[
    event("cpu-cycles", 0, 0),
    event("instructions", 0, 1),
    event("cache-references", 0, 2),
    event("cache-misses", 0, 3),
    event("branches", 0, 4),
    event("branch-misses", 0, 5),
    event("bus-cycles", 0, 6),
    event("cpu-clock", 1, 0),
    event("task-clock", 1, 1),
    event("page-faults", 1, 2),
    event("context-switches", 1, 3),
    event("cpu-migrations", 1, 4),
    event("minor-faults", 1, 5),
    event("major-faults", 1, 6),
];

impl SampledEvent {
    pub(super) fn asked(&self) -> Option<PerfEventRequest> {
        let mut known = PERF_EVENTS.iter();
        Some(PerfEventRequest {
            event: *known.find(|known| known.name == self.event)?,
            sampling: self.sampling,
            cpu: self.cpu,
            pid: self.pid,
        })
    }
}

impl Recorded for SampledEvent {
    fn add_words(&self, words: &mut Words, _: bool) {
        words.add(&self.event);
        match self.sampling {
            Sampling::Period(events) => words.option("--period", &events),
            Sampling::Frequency(hertz) => words.option("--frequency", &hertz),
        }
        words.optional("--cpu", self.cpu.as_ref());
        words.optional("--pid", self.pid.as_ref());
    }

    fn reads(&self, _: &str) -> String {
        self.event.clone()
    }

    fn once_at(&self) -> Option<String> {
        Some(format!("perf event {}", self.event))
    }
}
