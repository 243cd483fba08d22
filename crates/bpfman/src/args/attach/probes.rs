//! Functions and events.

use bpfman_core::links;
use bpfman_core::links::PerfEvent;
use bpfman_core::links::ProbedFile;
use bpfman_core::links::Sampling;
use clap::Args;

use super::Asks;
use super::Common;
use super::words::offset;
use super::words::perf_event;
use super::words::tracepoint;
use super::words::usdt_probe;
use crate::config::Config;
use crate::report::Failure;

// `tracepoint`
#[derive(Debug, Args)]
pub(crate) struct TracepointArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The tracepoint, such as syscalls/sys_enter_openat
    #[arg(value_name = "GROUP/NAME", value_parser = tracepoint)]
    pub(crate) tracepoint: (String, String),
}

impl Asks for TracepointArgs {
    type Request = links::Tracepoint;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        let (group, name) = self.tracepoint.clone();
        Ok(links::Tracepoint { group, name })
    }
}

// `raw_tracepoint`
#[derive(Debug, Args)]
pub(crate) struct RawTracepointArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The raw tracepoint, such as sys_enter
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

impl Asks for RawTracepointArgs {
    type Request = links::RawTracepoint;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::RawTracepoint {
            name: self.name.clone(),
        })
    }
}

// `kprobe`
#[derive(Debug, Args)]
pub(crate) struct KprobeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The function
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,
    /// The offset in it, in bytes: decimal, or hexadecimal after 0x
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = offset)]
    pub(crate) offset: u64,
}

impl Asks for KprobeArgs {
    type Request = links::KprobeRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::KprobeRequest {
            function: self.function.clone(),
            offset: self.offset,
        })
    }
}

// `kprobe_multi`
#[derive(Debug, Args)]
pub(crate) struct KprobeMultiArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The functions; `*` stands for any characters
    #[arg(required = true, value_name = "FUNCTION")]
    pub(crate) functions: Vec<String>,
}

impl Asks for KprobeMultiArgs {
    type Request = links::KprobeMultiRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::KprobeMultiRequest {
            functions: self.functions.clone(),
        })
    }
}

// A file that is probed.
#[derive(Debug, Args)]
pub(crate) struct ProbedFileArgs {
    /// An absolute path, or the name of a library, such as libc
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// Only in this process
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Look the target up in the container of this process
    #[arg(long)]
    pub(crate) container_pid: Option<u32>,
}

impl ProbedFileArgs {
    fn file(&self) -> ProbedFile {
        ProbedFile {
            target: self.target.clone(),
            pid: self.pid,
            container_pid: self.container_pid,
        }
    }
}

// `uprobe`
#[derive(Debug, Args)]
pub(crate) struct UprobeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) file: ProbedFileArgs,
    /// The function
    #[arg(short, long = "fn-name", value_name = "FUNCTION")]
    pub(crate) function: Option<String>,
    /// The offset in the function, or in the file, in bytes: decimal, or hexadecimal after 0x
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = offset)]
    pub(crate) offset: u64,
}

impl Asks for UprobeArgs {
    type Request = links::UprobeRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::UprobeRequest {
            file: self.file.file(),
            function: self.function.clone(),
            offset: self.offset,
        })
    }
}

// `uprobe_multi`
#[derive(Debug, Args)]
pub(crate) struct UprobeMultiArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) file: ProbedFileArgs,
    /// The functions
    #[arg(
        short,
        long = "fn-name",
        required = true,
        value_delimiter = ',',
        value_name = "FUNCTION,..."
    )]
    pub(crate) functions: Vec<String>,
}

impl Asks for UprobeMultiArgs {
    type Request = links::UprobeMultiRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::UprobeMultiRequest {
            file: self.file.file(),
            functions: self.functions.clone(),
        })
    }
}

// `usdt`
#[derive(Debug, Args)]
pub(crate) struct UsdtArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) file: ProbedFileArgs,
    /// The probe
    #[arg(value_name = "PROVIDER:NAME", value_parser = usdt_probe)]
    pub(crate) probe: (String, String),
}

impl Asks for UsdtArgs {
    type Request = links::UsdtRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        let (provider, name) = self.probe.clone();
        Ok(links::UsdtRequest {
            file: self.file.file(),
            provider,
            name,
        })
    }
}

// The kinds that a program was bound to when it was loaded.
#[derive(Debug, Args)]
pub(crate) struct BoundArgs {
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Asks for BoundArgs {
    type Request = links::BoundRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::BoundRequest)
    }
}

// `perf_event`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("sampling").required(true).args(["period", "frequency"]))]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(true).args(["cpu", "pid"]))]
pub(crate) struct PerfEventArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The event, such as cpu-clock or cache-misses
    #[arg(value_name = "EVENT", value_parser = perf_event)]
    pub(crate) event: PerfEvent,
    /// Run every so many events
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    period: Option<u64>,
    /// Run so many times a second
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u64).range(1..))]
    frequency: Option<u64>,
    /// Only on this processor
    #[arg(long)]
    pub(crate) cpu: Option<u32>,
    /// Only in this process
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

impl Asks for PerfEventArgs {
    type Request = links::PerfEventRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::PerfEventRequest {
            event: self.event,
            sampling: self.sampling(),
            cpu: self.cpu,
            pid: self.pid,
        })
    }
}

impl PerfEventArgs {
    fn sampling(&self) -> Sampling {
        match (self.period, self.frequency) {
            (Some(period), _) => Sampling::Period(period),
            (None, frequency) => Sampling::Frequency(frequency.unwrap_or(1)),
        }
    }
}
