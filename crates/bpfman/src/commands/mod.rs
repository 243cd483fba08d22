//! Each command: words in, one operation of the manager, its answer out.

mod dispatchers;
mod health;
mod links;
mod programs;

use std::fmt::Display;
use std::process::ExitCode;

use bpfman_manager::ManagerError;

use crate::args::Cli;
use crate::args::Command;
use crate::args::DispatcherCommand;
use crate::args::LinkCommand;
use crate::args::ProgramCommand;
use crate::output;
use crate::report::Failure;
use crate::report::Kind;

/// Runs one command.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    let done = match cli.command {
        Command::Doctor(args) => return health::doctor(global, &args),
        Command::Reconcile(args) => health::reconcile(global, &args),
        Command::Version => output::print_text(&format!("bpfman {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Load(args) => programs::short_load(global, args),
        Command::List(args) => programs::list(global, &args),
        Command::Get(args) => programs::get(global, &args),
        Command::Unload(args) => programs::unload(global, &args),
        Command::Attach(args) => links::attach(global, &args),
        Command::Detach(args) => links::detach(global, &args),
        Command::Program { command, list } => {
            match command_or_list(command, list, ProgramCommand::List)? {
                ProgramCommand::Load(args) => programs::program_load(global, args),
                ProgramCommand::List(args) => programs::list(global, &args),
                ProgramCommand::Get(args) => programs::get(global, &args),
                ProgramCommand::Replace(args) => programs::replace(global, &args),
                ProgramCommand::Unload(args) => programs::unload(global, &args),
                ProgramCommand::Delete(args) => programs::delete(global, &args),
            }
        }
        Command::Link { command, list } => {
            match command_or_list(command, list, LinkCommand::List)? {
                LinkCommand::Attach(args) => links::attach(global, &args),
                LinkCommand::Detach(args) => links::detach(global, &args),
                LinkCommand::List(args) => links::list(global, &args),
                LinkCommand::Get(args) => links::get(global, &args),
                LinkCommand::Update(args) => links::update(global, &args),
                LinkCommand::Delete(args) => links::delete(global, &args),
            }
        }
        Command::Dispatcher { command, list } => {
            match command_or_list(command, list, DispatcherCommand::List)? {
                DispatcherCommand::List(args) => dispatchers::list(global, &args),
                DispatcherCommand::Get(args) => dispatchers::get(global, &args),
                DispatcherCommand::Delete(args) => dispatchers::delete(global, &args),
            }
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The command of a noun; without one it is `list` (contract: section 1), whose options then follow the noun.
fn command_or_list<C, L: Default + PartialEq>(
    command: Option<C>,
    list: L,
    of_list: impl FnOnce(L) -> C,
) -> Result<C, Failure> {
    match command {
        None => Ok(of_list(list)),
        Some(command) if list == L::default() => Ok(command),
        Some(_) => Err(
            Failure::input("options of `list` stand before the command".to_owned())
                .hint("write them after it"),
        ),
    }
}

/// Reports a batch, every item of which was tried (contract: section 1): one failure of one item as it is, others
/// a line each and a summary.
fn batch<Id: Display>(
    noun: &str,
    done: &str,
    results: Vec<(Id, Result<(), ManagerError>)>,
) -> Result<(), Failure> {
    let tried = results.len();
    let failures = results
        .into_iter()
        .filter_map(|(id, result)| result.err().map(|error| (id, Failure::from(error))));
    let mut failures: Vec<(Id, Failure)> = failures.collect();
    match failures.len() {
        0 => Ok(()),
        1 if tried == 1 => Err(failures.swap_remove(0).1),
        failed => {
            for (id, failure) in &failures {
                eprintln!("{noun} {id}: {}", failure.message);
            }
            let message = format!("{failed} of {tried} {noun}s were not {done}");
            Err(Failure::new(Kind::Failed, message))
        }
    }
}
