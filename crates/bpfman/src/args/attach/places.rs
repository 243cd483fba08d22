//! Cgroups, network namespaces and maps.

use std::path::PathBuf;

use bpfman_core::links;
use clap::Args;

use super::Asks;
use super::Common;
use super::words::Family;
use super::words::FilterHook;
use super::words::Way;
use super::words::namespace;
use crate::config::Config;
use crate::report::Failure;
use crate::world::absolute;

// `cgroup`
#[derive(Debug, Args)]
pub(crate) struct CgroupArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The cgroup's directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Which way packets go, for a cgroup_skb program whose section does not say
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) direction: Option<Way>,
}

impl Asks for CgroupArgs {
    type Request = links::CgroupRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::CgroupRequest {
            path: absolute(&self.path)?,
            direction: self.direction.map(Into::into),
        })
    }
}

// `sk_lookup`, `flow_dissector`
#[derive(Debug, Args)]
pub(crate) struct NamespaceArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The network namespace: a path, or a name that `ip netns` knows [default: this one]
    #[arg(short, long, value_name = "NETNS")]
    pub(crate) netns: Option<String>,
}

impl Asks for NamespaceArgs {
    type Request = links::NamespaceRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        let netns = namespace(self.netns.as_deref())?;
        Ok(links::NamespaceRequest { netns })
    }
}

// `netfilter`
#[derive(Debug, Args)]
pub(crate) struct NetfilterArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The protocol family
    #[arg(value_enum, ignore_case = true)]
    pub(crate) family: Family,
    /// The hook
    #[arg(value_enum, ignore_case = true)]
    pub(crate) hook: FilterHook,
    /// The place among other hooks: the smaller, the earlier
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) priority: i32,
    /// Put fragments together first
    #[arg(long)]
    pub(crate) defragment: bool,
    /// The network namespace: a path, or a name that `ip netns` knows [default: this one]
    #[arg(short, long, value_name = "NETNS")]
    pub(crate) netns: Option<String>,
}

impl Asks for NetfilterArgs {
    type Request = links::NetfilterRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::NetfilterRequest {
            family: self.family.into(),
            hook: self.hook.into(),
            priority: self.priority,
            defragment: self.defragment,
            netns: namespace(self.netns.as_deref())?,
        })
    }
}

// `iter`
#[derive(Debug, Args)]
pub(crate) struct IterArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The pin of the map to walk through, for an iterator over a map's elements
    #[arg(long, value_name = "PIN")]
    pub(crate) map: Option<PathBuf>,
}

impl Asks for IterArgs {
    type Request = links::IterRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::IterRequest {
            map: self.map.as_deref().map(absolute).transpose()?,
        })
    }
}

// `struct_ops`
#[derive(Debug, Args)]
pub(crate) struct StructOpsArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The map, by its name in the object [default: the only one that uses the program]
    #[arg(long, value_name = "NAME")]
    pub(crate) map: Option<String>,
}

impl Asks for StructOpsArgs {
    type Request = links::StructOpsRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::StructOpsRequest {
            map: self.map.clone(),
        })
    }
}

// `sockmap`
#[derive(Debug, Args)]
pub(crate) struct SockmapArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The pin of the map
    #[arg(value_name = "PIN")]
    pub(crate) map: PathBuf,
}

impl Asks for SockmapArgs {
    type Request = links::SockmapRequest;

    fn request(&self, _: &Config) -> Result<Self::Request, Failure> {
        Ok(links::SockmapRequest {
            map: absolute(&self.map)?,
        })
    }
}
