//! The commands on programs.

use std::collections::BTreeMap;
use std::path::Path;

use bpfman_core::compute::Handover;
use bpfman_core::compute::Sharer;
use bpfman_core::kernel;
use bpfman_core::managed::LoadSpec;
use bpfman_core::managed::METADATA_APPLICATION;
use bpfman_core::managed::ObjectSource;
use bpfman_core::managed::Program;
use bpfman_core::managed::ProgramRequest;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::ProgramType;
use bpfman_core::types::TypedPath;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::files::read_object;
use bpfman_interpreter::interfaces::Detail;
use bpfman_manager::Listing;
use bpfman_manager::Manager;
use bpfman_manager::ManagerError;
use bpfman_manager::ReplaceSpec;

use super::each_once;
use super::links::warn_of_company;
use super::plans;
use super::removed;
use crate::args;
use crate::args::DeleteArgs;
use crate::args::Format;
use crate::args::GetArgs;
use crate::args::Global;
use crate::args::ListArgs;
use crate::args::LoadOptions;
use crate::args::ProgramLoad;
use crate::args::ReplaceArgs;
use crate::args::ShortLoad;
use crate::args::UnloadArgs;
use crate::args::pairs;
use crate::config::Config;
use crate::config::DEFAULT_OBJECT_BYTES;
use crate::output;
use crate::report;
use crate::report::Failure;
use crate::shapes::boot_time;
use crate::world::absolute;
use crate::world::with_manager;

pub(crate) fn short_load(global: &Global, config: &Config, args: ShortLoad) -> Result<(), Failure> {
    let request = ProgramRequest {
        name: args.program,
        program_type: None,
        attach_function: None,
    };
    load(
        global,
        config,
        &args.object,
        [request].into(),
        args.pin_path.as_deref(),
        &args.options,
    )
}

pub(crate) fn program_load(
    global: &Global,
    config: &Config,
    mut args: ProgramLoad,
) -> Result<(), Failure> {
    let object = args.object.pop().unwrap_or_default();
    match args.object.first() {
        Some(word) if word.as_os_str() != "file" => Err(Failure::input(format!(
            "cannot load from `{}`",
            word.display()
        ))
        .hint("bpfman program load [file] PATH")),
        _ => load(global, config, &object, args.programs, None, &args.options),
    }
}

fn load(
    global: &Global,
    config: &Config,
    object: &Path,
    programs: Vec<ProgramRequest>,
    pin_path: Option<&Path>,
    options: &LoadOptions,
) -> Result<(), Failure> {
    let format = options.output.output;
    let (source, bytes) = read(object, config)?;
    let spec = LoadSpec {
        source,
        programs,
        global_data: args::each_once("global variable", &options.global)?,
        map_sizes: args::each_once("map size", &options.map_sizes)?,
        metadata: options.all_metadata()?,
        map_owner_id: options.map_owner_id.map(ProgramId),
        replaces_owner: false,
        other_maps: Vec::new(),
        engine: options.engine.unwrap_or(config.dispatcher.engine),
        engine_asked: options.engine.is_some(),
        pin_path: pin_path.map(absolute).transpose()?,
    };
    with_manager(global, config, |manager| {
        let staged = manager.layout.staged_object();
        if options.dry_run {
            return output::plan(format, &manager.plan_load(&spec, &bytes)?);
        }
        let records = manager
            .load(&spec, &bytes)
            .map_err(|error| load_failure(error, &staged, &spec.source.path))?;
        let mut loaded = Vec::with_capacity(records.len());
        for record in &records {
            let others = records
                .iter()
                .filter(|other| other.id() != record.id())
                .cloned()
                .map(Sharer::living);
            loaded.push(manager.status(record.clone(), &others.collect::<Vec<_>>()));
        }
        output::loaded(format, &loaded, boot_time())
    })
}

/// Reads an object file, which may be as large as the configuration says.
fn read(object: &Path, config: &Config) -> Result<(ObjectSource, Vec<u8>), Failure> {
    let limit = config.limits.object_bytes.unwrap_or(DEFAULT_OBJECT_BYTES);
    let path = absolute(object)?;
    let typed = TypedPath::parse(&object.to_string_lossy());
    let typed = typed.map_err(|error| Failure::input(error.to_string()))?;
    let bytes = read_object(Path::new(path.as_str()), limit).map_err(ManagerError::from)?;
    Ok((ObjectSource { path, typed }, bytes))
}

pub(crate) fn replace(global: &Global, config: &Config, args: &ReplaceArgs) -> Result<(), Failure> {
    let format = args.output.output;
    let (source, bytes) = read(&args.object, config)?;
    let spec = ReplaceSpec {
        program: ProgramId(args.id),
        source,
        map_sizes: args::each_once("map size", &args.map_sizes)?,
        map_owner: args.map_owner_id.map(ProgramId),
        handover: match (args.allow_overlap, args.allow_gap) {
            (true, _) => Handover::Overlap,
            (false, true) => Handover::Gap,
            (false, false) => Handover::Swap,
        },
    };
    with_manager(global, config, |manager| {
        let staged = manager.layout.staged_object();
        let done = manager
            .replace(&spec, &bytes)
            .map_err(|error| load_failure(error, &staged, &spec.source.path))?;
        let status = manager.get(done.program.id())?;
        for link in &status.links {
            warn_of_company(manager, &link.record)?;
        }
        let object = spec.source.typed.to_string();
        output::replaced(
            format,
            spec.program,
            &object,
            &status,
            &done.maps_anew,
            boot_time(),
        )
    })
}

/// What the loader says of our copy of the object is told of the original: the copy is gone by then.
fn load_failure(error: ManagerError, copy: &AbsolutePath, original: &AbsolutePath) -> Failure {
    let loader = matches!(
        &error,
        ManagerError::Execution(ExecutionError {
            cause: ActionError::Kernel(_),
            ..
        })
    );
    let mut failure = Failure::from(error);
    if loader {
        failure.message = failure.message.replace(copy.as_str(), original.as_str());
    }
    failure
}

pub(crate) fn list(global: &Global, config: &Config, args: &ListArgs) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        let detail = if args.output == Format::Text {
            Detail::Info
        } else {
            Detail::Full
        };
        let mut listing = if args.all {
            manager.list_all()?
        } else {
            manager.list(detail)?
        };
        let links = std::mem::take(&mut listing.links);
        listing
            .programs
            .retain(|(record, kernel)| match (record, kernel) {
                (Some(record), _) => wanted(args, record, &links),
                (None, Some(found)) => wanted_unmanaged(args, found),
                (None, None) => false,
            });
        listing.links = links;
        if args.quiet {
            output::print_text(&ids(&listing))?;
        } else {
            output::listing(args.output, &listing, args.all, boot_time())?;
        }
        match listing.refused.into_iter().next() {
            None => Ok(()),
            Some(refusal) => Err(Failure {
                in_result: !args.quiet,
                ..report::kernel(format!("the list is not whole: {refusal}"), refusal)
            }),
        }
    })
}

fn wanted(args: &ListArgs, record: &Program, links: &BTreeMap<ProgramId, Vec<LinkId>>) -> bool {
    let metadata = |key: &str| record.metadata.get(key);
    (args.types.is_empty() || args.types.contains(&record.load.program_type))
        && (args.application.is_none()
            || metadata(METADATA_APPLICATION) == args.application.as_ref())
        && pairs(&args.metadata).all(|(key, value)| metadata(key) == Some(value))
        && args
            .selector
            .as_ref()
            .is_none_or(|selector| selector.matches(&record.metadata))
        && (!args.attached || links.contains_key(&record.id()))
        && (!args.unattached || !links.contains_key(&record.id()))
}

/// What we do not manage has no application or metadata of ours, no link of ours, and only the kernel's type.
fn wanted_unmanaged(args: &ListArgs, found: &kernel::Program) -> bool {
    let of_type = |wanted: &ProgramType| wanted.kernel_type() == found.program_type;
    (args.types.is_empty() || args.types.iter().any(of_type))
        && args.application.is_none()
        && args.metadata.is_empty()
        && args.selector.is_none()
        && !args.attached
}

fn ids(listing: &Listing) -> String {
    let id = |(record, kernel): &(Option<Program>, Option<bpfman_core::kernel::Program>)| {
        record
            .as_ref()
            .map(Program::id)
            .or(kernel.as_ref().map(|program| program.identity.id))
    };
    listing
        .programs
        .iter()
        .filter_map(id)
        .map(|id| format!("{id}\n"))
        .collect()
}

pub(crate) fn get(global: &Global, config: &Config, args: &GetArgs) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        let status = manager.get(ProgramId(args.id))?;
        output::program(args.output.output, &status, boot_time())
    })
}

pub(crate) fn unload(global: &Global, config: &Config, args: &UnloadArgs) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        let ids: Vec<ProgramId> = each_once(&args.ids);
        if args.dry_run {
            let format = args.output.output;
            return plans(format, &ids, |id| match manager.plan_unload(id) {
                Err(ManagerError::NoSuchProgram(_)) if args.ignore_missing => Ok(None),
                plan => plan.map(Some),
            });
        }
        unload_each(manager, args.output.output, &ids, args.ignore_missing)
    })
}

pub(crate) fn delete(global: &Global, config: &Config, args: &DeleteArgs) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        let ids: Vec<ProgramId> = if args.all {
            let listing = manager.list(Detail::Info)?;
            listing
                .programs
                .iter()
                .filter_map(|(record, _)| record.as_ref().map(Program::id))
                .collect()
        } else {
            each_once(&args.ids)
        };
        let ids = match args.all || args.recursive {
            true => manager.with_dependants(&ids)?,
            false => ids,
        };
        unload_each(manager, Format::Text, &ids, false)
    })
}

/// Tries every program.
fn unload_each(
    manager: &mut Manager<'_>,
    format: Format,
    ids: &[ProgramId],
    ignore_missing: bool,
) -> Result<(), Failure> {
    let results = ids.iter().map(|id| match manager.unload(*id) {
        Err(ManagerError::NoSuchProgram(_)) if ignore_missing => (*id, Ok(Vec::new())),
        result => (*id, result),
    });
    removed(format, "unloaded", results.collect())
}
