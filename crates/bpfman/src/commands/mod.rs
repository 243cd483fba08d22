//! Each command: words in, one operation of the manager, its answer out.

mod dispatchers;
mod health;
mod links;
mod programs;

use std::process::ExitCode;

use bpfman_core::action::Plan;
use bpfman_core::managed::LeftOut;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_manager::ManagerError;

use crate::args::Cli;
use crate::args::Command;
use crate::args::DispatcherCommand;
use crate::args::Format;
use crate::args::GetAny;
use crate::args::LinkCommand;
use crate::args::ProgramCommand;
use crate::config::Config;
use crate::log;
use crate::output;
use crate::report::FailedItem;
use crate::report::Failure;
use crate::report::Kind;

/// Runs one command.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    // Which version this is can be asked whatever the configuration says.
    let config = match cli.command {
        Command::Version => Config::default(),
        _ => Config::read(global.config.as_deref())?,
    };
    log::start(global.log.as_deref(), &config.logging)?;
    let done = match cli.command {
        Command::Doctor(args) => return health::doctor(global, &config, &args),
        Command::Reconcile(args) => health::reconcile(global, &config, &args),
        Command::Version => output::print_text(&format!("bpfman {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Load(args) => programs::short_load(global, &config, args),
        Command::List(args) => programs::list(global, &config, &args),
        Command::Get(args) => match args.asked()? {
            GetAny::Program(args) => programs::get(global, &config, &args),
            GetAny::Link(args) => links::get(global, &config, &args),
        },
        Command::Unload(args) => programs::unload(global, &config, &args),
        Command::Attach(args) => links::attach(global, &config, &args),
        Command::Detach(args) => links::detach(global, &config, &args),
        Command::Program { command, list } => {
            match command_or_list(command, list, ProgramCommand::List)? {
                ProgramCommand::Load(args) => programs::program_load(global, &config, args),
                ProgramCommand::List(args) => programs::list(global, &config, &args),
                ProgramCommand::Get(args) => programs::get(global, &config, &args),
                ProgramCommand::Replace(args) => programs::replace(global, &config, &args),
                ProgramCommand::Unload(args) => programs::unload(global, &config, &args),
                ProgramCommand::Delete(args) => programs::delete(global, &config, &args),
            }
        }
        Command::Link { command, list } => {
            match command_or_list(command, list, LinkCommand::List)? {
                LinkCommand::Attach(args) => links::attach(global, &config, &args),
                LinkCommand::Detach(args) => links::detach(global, &config, &args),
                LinkCommand::List(args) => links::list(global, &config, &args),
                LinkCommand::Get(args) => links::get(global, &config, &args),
                LinkCommand::Update(args) => links::update(global, &config, &args),
                LinkCommand::Delete(args) => links::delete(global, &config, &args),
            }
        }
        Command::Dispatcher { command, list } => {
            match command_or_list(command, list, DispatcherCommand::List)? {
                DispatcherCommand::List(args) => dispatchers::list(global, &config, &args),
                DispatcherCommand::Get(args) => dispatchers::get(global, &config, &args),
                DispatcherCommand::Delete(args) => dispatchers::delete(global, &config, &args),
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

/// What a batch is of.
trait Item: Copy {
    const NOUN: &'static str;
    fn of(number: u32) -> Self;
    fn number(self) -> u32;
}

impl Item for ProgramId {
    const NOUN: &'static str = "program";
    fn of(number: u32) -> Self {
        Self(number)
    }
    fn number(self) -> u32 {
        self.0
    }
}

impl Item for LinkId {
    const NOUN: &'static str = "link";
    fn of(number: u32) -> Self {
        Self(number)
    }
    fn number(self) -> u32 {
        self.0
    }
}

/// The ids of a batch, each once, in the order in which they are named first.
fn each_once<Id: Item>(numbers: &[u32]) -> Vec<Id> {
    let named = numbers.iter().enumerate();
    let first = named.filter(|(at, number)| !numbers[..*at].contains(number));
    first.map(|(_, number)| Id::of(*number)).collect()
}

/// What a batch has to report of those that were done, and what of those that were not.
type Batch<Id, T> = Vec<(Id, Result<T, ManagerError>)>;

/// The same of items that are taken away: whose programs do not run any more without them is said first.
fn removed<Id: Item>(
    format: Format,
    done: &str,
    results: Batch<Id, Vec<LeftOut>>,
) -> Result<(), Failure> {
    let mut left_out = Vec::new();
    let mut rest = Vec::new();
    for (id, result) in results {
        rest.push((id, result.map(|more| left_out.extend(more))));
    }
    output::left_out(format, &left_out)?;
    batch(done, rest)
}

/// Reports a batch, every item of which was tried (contract: section 1): one failure of one item as it is, others
/// together, of their common kind when no item was done and all failed alike.
fn batch<Id: Item>(done: &str, results: Batch<Id, ()>) -> Result<(), Failure> {
    let tried = results.len();
    let failures = results.into_iter().filter_map(|(id, result)| {
        let failure = Failure::from(result.err()?);
        Some(FailedItem {
            noun: Id::NOUN,
            id: id.number(),
            failure,
        })
    });
    let mut items: Vec<FailedItem> = failures.collect();
    match items.len() {
        0 => Ok(()),
        1 if tried == 1 => Err(items.swap_remove(0).failure),
        failed => {
            let first = items[0].failure.kind;
            let alike = items.iter().all(|item| item.failure.kind == first);
            let kind = if failed == tried && alike {
                first
            } else {
                Kind::Failed
            };
            let message = format!("{failed} of {tried} {}s were not {done}", Id::NOUN);
            Err(Failure::new(kind, message).of(items))
        }
    }
}

/// Prints the plan of each item of a batch; as data one document, so that several are a list.
fn plans<Id: Item>(
    format: Format,
    ids: &[Id],
    mut plan: impl FnMut(Id) -> Result<Option<Plan>, ManagerError>,
) -> Result<(), Failure> {
    let mut found = Vec::new();
    let mut results = Vec::new();
    for id in ids {
        let result = plan(*id).map(|plan| found.extend(plan));
        results.push((*id, result));
    }
    let failed = batch("planned", results);
    match (format, found.as_slice()) {
        (Format::Text, plans) => plans
            .iter()
            .try_for_each(|plan| output::plan(format, plan))?,
        _ if failed.is_err() => {}
        (_, [plan]) if ids.len() == 1 => output::plan(format, plan)?,
        (_, plans) => output::plan_list(format, plans)?,
    }
    failed
}
