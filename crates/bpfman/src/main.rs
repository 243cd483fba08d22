//! The command line of bpfman: parses words into specs, runs one operation, prints what it answers.

mod args;
mod commands;
mod config;
mod output;
mod report;
mod shapes;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::args::Global;
use crate::report::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let verbose = cli.global.verbose;
    match start_log(&cli.global).and_then(|()| commands::run(cli)) {
        Ok(code) => code,
        Err(failure) => {
            failure.print(verbose);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// Logs to stderr, only when asked: setting it up costs time that a plain load does not have.
fn start_log(global: &Global) -> Result<(), Failure> {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let Some(spec) = &global.log else {
        return Ok(());
    };
    let filter: tracing_subscriber::filter::Targets = spec.parse().map_err(|error| {
        Failure::input(format!("--log {spec}: {error}")).hint("such as info,executor=debug")
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .without_time();
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(())
}
