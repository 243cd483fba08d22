//! Interfaces.

use bpfman_core::links;
use bpfman_core::links::InterfaceRequest;
use bpfman_core::types::InterfaceWord;
use bpfman_core::types::Priority;
use bpfman_core::types::TC_VERDICTS;
use bpfman_core::types::XDP_VERDICTS;
use clap::Args;

use super::Asks;
use super::Common;
use super::words::Mode;
use super::words::Way;
use super::words::codes;
use super::words::interface_name;
use super::words::namespace;
use super::words::priority;
use crate::config::Config;
use crate::report::Failure;

// An interface.
#[derive(Debug, Args)]
pub(crate) struct InterfaceArgs {
    /// The interface's name, or one of its alternative names
    #[arg(value_name = "INTERFACE", value_parser = interface_name)]
    pub(crate) interface: InterfaceWord,
    /// The interface's network namespace: a path, or a name that `ip netns` knows
    #[arg(short, long, value_name = "NETNS")]
    pub(crate) netns: Option<String>,
}

impl InterfaceArgs {
    fn interface(&self) -> Result<InterfaceRequest, Failure> {
        Ok(InterfaceRequest {
            name: self.interface.clone(),
            netns: namespace(self.netns.as_deref())?,
        })
    }
}

// `xdp`
#[derive(Debug, Args)]
pub(crate) struct XdpArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
    /// The verdicts after which the next program runs, of aborted, drop, pass, tx, redirect and dispatcher_return
    /// [default: pass,dispatcher_return]
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    proceed_on: Vec<String>,
    /// How the program meets its packets [default: `[dispatcher] xdp_mode` of the configuration, else auto]
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) mode: Option<Mode>,
    /// Count the program's runs through this link; `link get` shows them
    #[arg(long)]
    pub(crate) stats: bool,
}

impl Asks for XdpArgs {
    type Request = links::XdpRequest;

    fn request(&self, config: &Config) -> Result<Self::Request, Failure> {
        Ok(links::XdpRequest {
            interface: self.interface.interface()?,
            priority: self.priority,
            proceed_on: codes(XDP_VERDICTS, &self.proceed_on)?,
            mode: self.mode.map_or(config.dispatcher.xdp_mode, Into::into),
            count: self.stats,
        })
    }
}

// `tc`
#[derive(Debug, Args)]
pub(crate) struct TcArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// Which way packets go
    #[arg(value_enum, ignore_case = true)]
    pub(crate) direction: Way,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
    /// The verdicts after which the next program runs, of unspec, ok, reclassify, shot, pipe, stolen, queued, repeat,
    /// redirect, trap and dispatcher_return [default: pipe,dispatcher_return]
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    proceed_on: Vec<String>,
    /// Count the program's runs through this link; `link get` shows them
    #[arg(long)]
    pub(crate) stats: bool,
}

impl Asks for TcArgs {
    type Request = links::TcRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::TcRequest {
            interface: self.interface.interface()?,
            direction: self.direction.into(),
            priority: self.priority,
            proceed_on: codes(TC_VERDICTS, &self.proceed_on)?,
            count: self.stats,
        })
    }
}

// `tcx`
#[derive(Debug, Args)]
pub(crate) struct TcxArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// Which way packets go
    #[arg(value_enum, ignore_case = true)]
    pub(crate) direction: Way,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
}

impl Asks for TcxArgs {
    type Request = links::TcxRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::TcxRequest {
            interface: self.interface.interface()?,
            direction: self.direction.into(),
            priority: self.priority,
        })
    }
}

// `netkit`
#[derive(Debug, Args)]
pub(crate) struct NetkitArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) interface: InterfaceArgs,
    /// The program's place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", default_value = "0", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Priority,
}

impl Asks for NetkitArgs {
    type Request = links::NetkitRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::NetkitRequest {
            interface: self.interface.interface()?,
            priority: self.priority,
        })
    }
}
