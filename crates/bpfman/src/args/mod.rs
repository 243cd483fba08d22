//! The command line. Parsed once, into the words of the core.
//!
//! What a command takes has no doc comment: clap would show it in place of what its command says.

mod attach;
mod dispatchers;
mod health;
mod links;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bpfman_core::compute::LabelSelector;
use bpfman_core::managed::ProgramRequest;
use bpfman_core::types::Engine;
use bpfman_core::types::ProgramType;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

pub(crate) use attach::AttachArgs;
pub(crate) use dispatchers::DispatcherChangeArgs;
pub(crate) use dispatchers::DispatcherCommand;
pub(crate) use dispatchers::DispatcherGetArgs;
pub(crate) use dispatchers::DispatcherListArgs;
pub(crate) use health::DoctorArgs;
pub(crate) use health::ReconcileArgs;
pub(crate) use links::DetachArgs;
pub(crate) use links::GetLinkArgs;
pub(crate) use links::LinkCommand;
pub(crate) use links::LinkDeleteArgs;
pub(crate) use links::LinkListArgs;
pub(crate) use links::LinkUpdateArgs;

use crate::report::Failure;

/// Loads, records, lists and unloads BPF programs.
#[derive(Debug, Parser)]
#[command(name = "bpfman", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 bad command line or input, 3 not found, 4 not permitted,\n\
    5 busy: another writer held the lock. A batch of several ids fails with 1, but where every item failed for the\n\
    same kind of reason, with the code of that. `bpfman doctor`: 0 healthy, 6 warnings, 7 errors.\n\n\
    With -o json or yaml a failure is printed on stdout, too: {\"error\": {kind, exit_code, message, hints,\n\
    verifier_log, items}}; kind is failed, input, not_found, permission or busy; items are the ones of a batch that\n\
    failed, each with noun, id, kind, exit_code, message, hints and verifier_log.";

// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file [default: /etc/bpfman/bpfman.toml, when there is one]
    #[arg(long, env = "BPFMAN_CONFIG", global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to log to stderr: LEVEL or COMPONENT=LEVEL, separated by commas, such as `info,executor=debug`; the levels
    /// are off, error, warn, info, debug and trace, the components executor and manager
    /// [default: `[logging]` of the configuration, else off]
    #[arg(long, env = "BPFMAN_LOG", global = true, value_name = "SPEC")]
    pub(crate) log: Option<String>,
    /// Where state, pins and kept objects live
    #[arg(
        long,
        env = "BPFMAN_RUNTIME_DIR",
        global = true,
        value_name = "DIR",
        default_value = "/run/bpfman"
    )]
    pub(crate) runtime_dir: PathBuf,
    /// How long a change waits for another writer; 0 waits for ever
    #[arg(long, env = "BPFMAN_LOCK_TIMEOUT", global = true, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) lock_timeout: Duration,
    /// Reach the kernel through this bpfman-kernel binary instead of in process
    #[arg(long, env = "BPFMAN_KERNEL_HELPER", global = true, value_name = "PATH")]
    pub(crate) kernel_helper: Option<PathBuf>,
    /// Show the verifier's log of a refused program without leaving anything out
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// What to do. The options of a command are made when it is named: those of all of them take half a MiB.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Load one program of an object file and pin it
    Load(ShortLoad),
    /// List the managed programs
    List(ListArgs),
    /// Show one managed program, or with `link` before the id one link
    Get(GetAnyArgs),
    /// Unload managed programs
    Unload(UnloadArgs),
    /// Load, replace, list, get, unload and delete programs
    Program {
        /// What to do with programs; `list` by default.
        #[command(subcommand)]
        command: Option<ProgramCommand>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Attach a managed program
    Attach(AttachArgs),
    /// Detach links
    Detach(DetachArgs),
    /// Attach, update, detach, list and get links
    Link {
        /// What to do with links; `list` by default.
        #[command(subcommand)]
        command: Option<LinkCommand>,
        #[command(flatten)]
        list: LinkListArgs,
    },
    /// Look for what records, kernel, pins and files disagree about
    Doctor(DoctorArgs),
    /// Make records, kernel, pins and files agree
    Reconcile(ReconcileArgs),
    /// Show and delete what runs at the XDP and TC hooks of interfaces
    Dispatcher {
        /// What to do with dispatchers; `list` by default.
        #[command(subcommand)]
        command: Option<DispatcherCommand>,
        #[command(flatten)]
        list: DispatcherListArgs,
    },
    /// Print the version
    Version,
}

const REPLACE: &str = "The new version is loaded as the old one was: with its name, type, metadata and engine, and the same global \
    variables and map sizes set. It takes the pinned maps of the old one that are declared alike. Maps of another shape and \
    the variables of the program start anew, which is printed (`maps_anew` of the JSON); other programs keep the old maps. \
    Every link goes on with the new version, then the old one is unloaded. Links that the kernel cannot give another \
    program (tracepoints, probes, fentry, perf events and others) are attached anew, which needs --allow-overlap or \
    --allow-gap; struct_ops links have to be detached first. When anything fails, the old version runs on.\n\n\
    The new version has another id, for the kernel gives each program its own: the first line shows the old and the new \
    one, and so does `replaced` of the JSON.\n\n\
    There is no dry run: what becomes of the links is known only when the new version is loaded.";

// `bpfman program ...`
#[derive(Debug, Subcommand)]
pub(crate) enum ProgramCommand {
    /// Load programs of one object file; they share its maps
    Load(ProgramLoad),
    /// List programs
    List(ListArgs),
    /// Show one managed program
    Get(GetArgs),
    /// Load a new version of a program, which takes over maps and links of the old one
    #[command(after_help = REPLACE)]
    Replace(ReplaceArgs),
    /// Unload managed programs
    Unload(UnloadArgs),
    /// Detach the links of managed programs, then unload them
    Delete(DeleteArgs),
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For both
    Yaml,
}

// Where results go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Output {
    /// How the result, or what failed, is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Format,
}

// What both forms of load take.
#[derive(Debug, Args)]
pub(crate) struct LoadOptions {
    /// Metadata of the programs, pairs with commas between; `\,` is a comma in a value. May be given several times
    #[arg(short, long = "metadata", value_name = "KEY=VALUE,...", value_parser = Pairs::parse)]
    pub(crate) metadata: Vec<Pairs>,
    /// Set a global variable before the load; the value is hex
    #[arg(short, long = "global", value_name = "NAME=HEX", value_delimiter = ',', value_parser = global_value)]
    pub(crate) global: Vec<(String, Vec<u8>)>,
    /// Give a map this many entries, a ring buffer this many bytes, an arena this many pages; may be given several
    /// times. The maps in a map of maps are called `OUTER.inner`
    #[arg(long = "map-size", value_name = "NAME=N", value_parser = map_size)]
    pub(crate) map_sizes: Vec<(String, u32)>,
    /// The application the programs belong to
    #[arg(short, long, value_name = "APP")]
    pub(crate) application: Option<String>,
    /// Take the maps of this managed program
    #[arg(long, value_name = "ID")]
    pub(crate) map_owner_id: Option<u32>,
    /// How XDP and TC programs share an interface: `auto` attaches one alone itself and compiles several into one
    /// program; `extension` gives each a slot of a dispatcher, as libxdp does. Refused where no program is one of these
    /// [default: `[dispatcher] engine` of the configuration, else auto]
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    pub(crate) engine: Option<Engine>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman load OBJECT --program NAME --pin-path PATH`
#[derive(Debug, Args)]
pub(crate) struct ShortLoad {
    /// The object file
    pub(crate) object: PathBuf,
    /// The program; its type is read from its section
    #[arg(long, value_name = "NAME")]
    pub(crate) program: String,
    /// Where to pin it, on a bpffs; missing directories are made [default: on our own bpffs]
    #[arg(long, value_name = "PATH")]
    pub(crate) pin_path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: LoadOptions,
}

// `bpfman program load [file] PATH --programs ...`
#[derive(Debug, Args)]
pub(crate) struct ProgramLoad {
    /// The object file, with or without the word `file` before it
    #[arg(required = true, num_args = 1..=2, value_name = "[file] PATH")]
    pub(crate) object: Vec<PathBuf>,
    /// The programs, separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "TYPE:NAME[:ATTACH_FUNC]", value_parser = program_request)]
    pub(crate) programs: Vec<ProgramRequest>,
    #[command(flatten)]
    pub(crate) options: LoadOptions,
}

// `bpfman program list`
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct ListArgs {
    /// Print only ids
    #[arg(short, long, conflicts_with = "output")]
    pub(crate) quiet: bool,
    /// Only programs that have links
    #[arg(long, conflicts_with = "unattached")]
    pub(crate) attached: bool,
    /// Only programs that have none
    #[arg(long)]
    pub(crate) unattached: bool,
    /// Only programs of these types; with --all also those that we do not manage, by the kernel's type
    #[arg(short = 'p', long = "type", visible_alias = "program-type", value_delimiter = ',', value_name = "TYPE", value_parser = program_type)]
    pub(crate) types: Vec<ProgramType>,
    /// Only programs of this application
    #[arg(long, value_name = "APP")]
    pub(crate) application: Option<String>,
    /// Only programs with this metadata; may be given several times
    #[arg(short, long = "metadata-selector", visible_alias = "metadata", value_name = "KEY=VALUE,...", value_parser = Pairs::parse)]
    pub(crate) metadata: Vec<Pairs>,
    /// Only programs whose metadata this selector matches: `a=b,c!=d,e in (x,y),!f`
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector)]
    pub(crate) selector: Option<LabelSelector>,
    /// Every program in the kernel, also those we do not manage, and what these are attached to
    #[arg(short, long)]
    pub(crate) all: bool,
    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Format,
}

// `bpfman program get ID`
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The program's id
    pub(crate) id: u32,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman get [program|link] ID`
#[derive(Debug, Args)]
pub(crate) struct GetAnyArgs {
    /// The id, with what has it before it: `program`, as without a word, or `link`
    #[arg(required = true, num_args = 1..=2, value_name = "[program|link] ID")]
    words: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// What `bpfman get` asks for.
pub(crate) enum GetAny {
    Program(GetArgs),
    Link(GetLinkArgs),
}

impl GetAnyArgs {
    /// What is asked for.
    pub(crate) fn asked(&self) -> Result<GetAny, Failure> {
        let (noun, id) = match self.words.as_slice() {
            [noun, id] => (noun.as_str(), id),
            words => ("program", &words[0]),
        };
        let hint = "bpfman get [program|link] ID";
        let id = id
            .parse()
            .map_err(|_| Failure::input(format!("`{id}` is not an id")).hint(hint))?;
        let output = self.output;
        match noun {
            "program" => Ok(GetAny::Program(GetArgs { id, output })),
            "link" => Ok(GetAny::Link(GetLinkArgs { id, output })),
            other => Err(Failure::input(format!("cannot get a `{other}`")).hint(hint)),
        }
    }
}

// `bpfman program replace ID OBJECT`
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// The id of the program that is replaced
    pub(crate) id: u32,
    /// The object file with the new version, a program of the same name
    pub(crate) object: PathBuf,
    /// Give a map another size than the old version had it given; may be given several times
    #[arg(long = "map-size", value_name = "NAME=N", value_parser = map_size)]
    pub(crate) map_sizes: Vec<(String, u32)>,
    /// Load it with the maps of this program, not with those of the old version
    #[arg(long, value_name = "ID")]
    pub(crate) map_owner_id: Option<u32>,
    /// Attach the new program, then detach the old one, where the kernel cannot update a link: for a moment both run
    #[arg(long, conflicts_with = "allow_gap")]
    pub(crate) allow_overlap: bool,
    /// Detach the old program, then attach the new one, where the kernel cannot update a link: for a moment neither runs
    #[arg(long)]
    pub(crate) allow_gap: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman program unload ID...`
#[derive(Debug, Args)]
pub(crate) struct UnloadArgs {
    /// The programs' ids
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<u32>,
    /// A program that does not exist is no failure
    #[arg(long)]
    pub(crate) ignore_missing: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

// `bpfman program delete (ID...|--all) [-r]`
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The programs' ids
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "ID"
    )]
    pub(crate) ids: Vec<u32>,
    /// Every managed program
    #[arg(long)]
    pub(crate) all: bool,
    /// Delete the programs that were loaded with their maps (--map-owner-id), too, before them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl LoadOptions {
    /// The metadata with the application in it.
    pub(crate) fn all_metadata(&self) -> Result<BTreeMap<String, String>, Failure> {
        let key = || bpfman_core::managed::METADATA_APPLICATION.to_owned();
        let mut all: Vec<(String, String)> = pairs(&self.metadata).cloned().collect();
        all.extend(self.application.iter().map(|app| (key(), app.clone())));
        each_once("metadata", &all)
    }
}

/// The values of options that may be given several times, each for another key.
pub(crate) fn each_once<V: Clone>(
    what: &str,
    pairs: &[(String, V)],
) -> Result<BTreeMap<String, V>, Failure> {
    let mut values = BTreeMap::new();
    for (key, value) in pairs {
        if values.insert(key.clone(), value.clone()).is_some() {
            let message = format!("{what} `{key}` is given twice");
            return Err(Failure::input(message).hint("give each key one value"));
        }
    }
    Ok(values)
}

/// `KEY=VALUE`, several with commas between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Splits at the commas that no backslash stands before.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = vec![String::new()];
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            let last = words.len() - 1;
            match c {
                ',' => words.push(String::new()),
                '\\' if rest.peek() == Some(&',') => words[last].extend(rest.next()),
                c => words[last].push(c),
            }
        }
        let pairs = words.iter().map(|word| key_value(word));
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

/// All pairs of an option that may be given several times.
pub(crate) fn pairs(given: &[Pairs]) -> impl Iterator<Item = &(String, String)> {
    given.iter().flat_map(|pairs| &pairs.0)
}

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected KEY=VALUE, not `{text}`")),
    }
}

fn global_value(text: &str) -> Result<(String, Vec<u8>), String> {
    let (name, hex) = key_value(text).map_err(|_| "expected NAME=HEX".to_owned())?;
    let digits = hex
        .strip_prefix("0x")
        .or_else(|| hex.strip_prefix("0X"))
        .unwrap_or(&hex);
    if digits.is_empty() || digits.len() % 2 != 0 || !digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Err("the value must be an even number of hex digits".to_owned());
    }
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|error| error.to_string());
    let bytes: Result<Vec<u8>, String> = (0..digits.len()).step_by(2).map(byte).collect();
    Ok((name, bytes?))
}

fn map_size(text: &str) -> Result<(String, u32), String> {
    let (name, number) = key_value(text).map_err(|_| "expected NAME=N".to_owned())?;
    match number.parse() {
        Ok(0) | Err(_) => Err(format!("the size must be a number from 1 to {}", u32::MAX)),
        Ok(number) => Ok((name, number)),
    }
}

fn program_type(text: &str) -> Result<ProgramType, String> {
    ProgramType::parse(text).map_err(|error| error.to_string())
}

fn engine(text: &str) -> Result<Engine, String> {
    text.parse::<Engine>().map_err(|error| error.to_string())
}

fn selector(text: &str) -> Result<LabelSelector, String> {
    LabelSelector::parse(text).map_err(|error| error.to_string())
}

fn program_request(text: &str) -> Result<ProgramRequest, String> {
    let mut parts = text.splitn(3, ':');
    let (Some(kind), Some(name)) = (parts.next(), parts.next()) else {
        return Err("expected TYPE:NAME[:ATTACH_FUNC]".to_owned());
    };
    if name.is_empty() {
        return Err("the program's name is missing".to_owned());
    }
    Ok(ProgramRequest {
        name: name.to_owned(),
        program_type: Some(program_type(kind)?),
        attach_function: parts
            .next()
            .filter(|function| !function.is_empty())
            .map(str::to_owned),
    })
}
