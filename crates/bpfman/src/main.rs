//! The command line of bpfman: parses words into specs, runs one operation, prints what it answers.

mod args;
mod commands;
mod config;
mod log;
mod output;
mod report;
mod shapes;
mod usage;
mod world;

use std::process::ExitCode;

use bpfman_interpreter::stack::on_known_stack;

fn main() -> ExitCode {
    on_known_stack(command).unwrap_or_else(|error| {
        eprintln!("bpfman: error: cannot start a thread: {error}");
        ExitCode::FAILURE
    })
}

fn command() -> ExitCode {
    let (cli, format) = match usage::parse() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let verbose = cli.global.verbose;
    commands::run(cli).unwrap_or_else(|failure| {
        failure.print(verbose);
        let printed = output::failure(format, &failure);
        let failure = printed.err().unwrap_or(failure);
        ExitCode::from(failure.kind.exit_code())
    })
}
