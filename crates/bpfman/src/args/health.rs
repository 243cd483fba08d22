//! The words of the commands that look after what is there.

use bpfman_core::compute::Rule;
use clap::Args;

use super::Output;

// `bpfman reconcile`
#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// Print what would be done and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also remove what no record knows and may be at work: programs and links pinned on our bpffs
    #[arg(long)]
    pub(crate) prune: bool,
    /// Also attach again what somebody detached by force, by the same links
    #[arg(long)]
    pub(crate) reattach: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Say what a rule means and what `bpfman reconcile` does about it
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub(crate) explain: Option<Rule>,
    #[command(flatten)]
    pub(crate) output: Output,
}

fn rule(name: &str) -> Result<Rule, String> {
    Rule::of_name(name).ok_or_else(|| {
        let names: Vec<&str> = Rule::all().map(Rule::name).collect();
        format!("the rules are: {}", names.join(", "))
    })
}
