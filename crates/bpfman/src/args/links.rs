//! The words of the link commands.

use bpfman_core::links::LinkKind;
use bpfman_core::types::Priority;
use bpfman_core::types::ProgramType;
use bpfman_core::types::TC_VERDICTS;
use bpfman_core::types::XDP_VERDICTS;
use clap::Args;
use clap::Subcommand;

use super::Output;
use super::Pairs;
use super::attach::AttachArgs;
use super::attach::codes;
use super::attach::priority;
use super::program_type;
use crate::report::Failure;

// `bpfman link ...`
#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Attach a managed program
    Attach(AttachArgs),
    /// Detach links
    Detach(DetachArgs),
    /// List links
    List(LinkListArgs),
    /// Show one link
    Get(GetLinkArgs),
    /// Give a link of XDP or TC another place among those of its interface, without a gap
    Update(LinkUpdateArgs),
    /// Detach links; with -r also unload the programs that are left without any
    Delete(LinkDeleteArgs),
}

// `bpfman link detach`
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// The links' ids
    #[arg(required = true, value_name = "LINK")]
    pub(crate) ids: Vec<u32>,
    /// A link that does not exist is no failure
    #[arg(long)]
    pub(crate) ignore_missing: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link get`
#[derive(Debug, Args)]
pub(crate) struct GetLinkArgs {
    /// The link's id
    #[arg(value_name = "LINK")]
    pub(crate) id: u32,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link list`
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct LinkListArgs {
    /// Print only ids
    #[arg(short, long, conflicts_with = "output")]
    pub(crate) quiet: bool,
    /// Only links of this program
    #[arg(long, value_name = "ID")]
    pub(crate) program_id: Option<u32>,
    /// Only links of these kinds
    #[arg(long = "kind", value_delimiter = ',', value_name = "KIND", value_parser = link_kind)]
    pub(crate) kinds: Vec<LinkKind>,
    /// Only links of programs of these types
    #[arg(short = 'p', long = "program-type", value_delimiter = ',', value_name = "TYPE", value_parser = program_type)]
    pub(crate) program_types: Vec<ProgramType>,
    /// Only links of programs of this application
    #[arg(long, value_name = "APP")]
    pub(crate) application: Option<String>,
    /// Only links of programs with this metadata; may be given several times
    #[arg(short, long = "metadata-selector", value_name = "KEY=VALUE,...", value_parser = Pairs::parse)]
    pub(crate) metadata_selector: Vec<Pairs>,
    /// Only links with this metadata of their own; may be given several times
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = Pairs::parse)]
    pub(crate) metadata: Vec<Pairs>,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link update LINK [--priority N] [--proceed-on VERDICT,...]`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["priority", "proceed_on"]))]
pub(crate) struct LinkUpdateArgs {
    /// The link's id; it stays the same
    #[arg(value_name = "LINK")]
    pub(crate) id: u32,
    /// Its program's new place among others: the smaller, the earlier
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// The verdicts after which the next program runs now; `link attach xdp --help` and `tc --help` name them
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    proceed_on: Vec<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman link delete`
#[derive(Debug, Args)]
pub(crate) struct LinkDeleteArgs {
    /// The links' ids
    #[arg(required = true, value_name = "LINK")]
    pub(crate) ids: Vec<u32>,
    /// Also unload the programs that are left without a link, and before them those that were loaded with their maps
    #[arg(short, long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl LinkUpdateArgs {
    /// Whether the verdicts change, which have names of their own for each kind of link.
    pub(crate) fn names_verdicts(&self) -> bool {
        !self.proceed_on.is_empty()
    }

    /// The verdicts, of a link of this kind; none for a kind that knows none.
    pub(crate) fn proceed_on(&self, kind: LinkKind) -> Result<Option<Vec<i32>>, Failure> {
        match kind {
            LinkKind::Xdp => codes(XDP_VERDICTS, &self.proceed_on),
            LinkKind::Tc => codes(TC_VERDICTS, &self.proceed_on),
            _ => Ok(None),
        }
    }
}

fn link_kind(text: &str) -> Result<LinkKind, String> {
    LinkKind::parse(text).map_err(|error| error.to_string())
}
