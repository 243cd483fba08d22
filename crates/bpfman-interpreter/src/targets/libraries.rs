//! The file that a user means by a path or by the name of a library.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use bpfman_core::links::ProbedFile;
use bpfman_core::target::Suggestions;
use bpfman_core::target::library;
use bpfman_core::target::library::Match;
use bpfman_core::target::loader_cache;
use bpfman_core::target::loader_cache::LoaderFlags;
use bpfman_core::target::process_maps;
use bpfman_core::types::AbsolutePath;
use rustix::fs::OFlags;

use super::ResolvedFile;
use super::TargetError;
use super::roots::Root;
use super::roots::absolute;
use super::roots::process_directory;
use super::roots::process_failure;

const LOADER_CACHE: &str = "/etc/ld.so.cache";
/// Where loaders look that have no cache, like musl's.
const DIRECTORIES: [&str; 5] = ["/lib", "/usr/lib", "/usr/local/lib", "/lib64", "/usr/lib64"];
/// Where Debian's loader looks, with a cache or, as in small containers, without one.
const MULTIARCH: &[&str] = if cfg!(target_arch = "x86_64") {
    &["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"]
} else if cfg!(target_arch = "aarch64") {
    &["/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
} else {
    &[]
};
/// How much of a cache, and of a process's maps, is read, in bytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// How many files of a directory are looked at.
const MAX_DIRECTORY_FILES: usize = 1 << 16;

pub(super) fn probed_file(file: &ProbedFile) -> Result<ResolvedFile, TargetError> {
    let root = match file.container_pid {
        Some(pid) => Root::of_process(pid)?,
        None => Root::own()?,
    };
    let target = file.target.as_str();
    if target.starts_with('/') {
        return root.file(&absolute(Path::new(target))?);
    }
    if target.is_empty() || target.contains('/') {
        return Err(TargetError::NeitherPathNorLibrary {
            target: target.to_owned(),
        });
    }
    let mut suggestions = LibrarySuggestions::new(target);
    if let Some(pid) = file.pid {
        let mapped = mapped_library(pid, &root, target, &mut suggestions)?;
        if let Some(found) = mapped {
            return Ok(found);
        }
    }
    if let Some(path) = cached_library(&root, target, &mut suggestions) {
        return root.file(&path);
    }
    match listed_library(&root, target, &mut suggestions) {
        Some(path) => root.file(&path),
        None => Err(TargetError::UnknownLibrary {
            name: target.to_owned(),
            container_pid: file.container_pid,
            similar: suggestions.names.into_names(),
        }),
    }
}

/// What a process has mapped says more than any cache: it is what the process runs.
fn mapped_library(
    pid: u32,
    root: &Root,
    name: &str,
    suggestions: &mut LibrarySuggestions,
) -> Result<Option<ResolvedFile>, TargetError> {
    let directory = process_directory(pid)?;
    let path = directory.join("maps");
    let failed = |source| process_failure(pid, &path, source);
    let file = File::open(&path).map_err(failed)?;
    let mut maps = Vec::new();
    file.take(MAX_TEXT_BYTES)
        .read_to_end(&mut maps)
        .map_err(failed)?;
    let maps = String::from_utf8_lossy(&maps);
    process_maps::for_each_name(&maps, |name| suggestions.offer(name));
    let Some(found) = process_maps::find_library(&maps, name) else {
        return Ok(None);
    };
    if found.deleted {
        let path = found.path;
        return Err(TargetError::ReplacedLibrary { pid, path });
    }
    let own = root.pid().is_none();
    if own && same_namespace(&directory) {
        return root.file(&absolute(Path::new(&found.path))?).map(Some);
    }
    let of_process = own.then(|| Root::of_process(pid)).transpose()?;
    let root = of_process.as_ref().unwrap_or(root);
    let inside = root.inside(&found.path);
    let inside = inside.ok_or(TargetError::NoSuchFile {
        path: found.path,
        container_pid: root.pid(),
    })?;
    root.file(&absolute(&inside)?).map(Some)
}

/// Whether a process sees the mounts that we see; when in doubt, its own root is as good.
fn same_namespace(directory: &Path) -> bool {
    let theirs = std::fs::read_link(directory.join("ns/mnt"));
    let ours = std::fs::read_link("/proc/self/ns/mnt");
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// A cache that is missing or damaged has no libraries: the directories are looked at then.
fn cached_library(
    root: &Root,
    name: &str,
    suggestions: &mut LibrarySuggestions,
) -> Option<AbsolutePath> {
    let file = root.open(LOADER_CACHE, OFlags::RDONLY | OFlags::NONBLOCK);
    let mut file = File::from(file.ok()?).take(MAX_TEXT_BYTES);
    let mut cache = Vec::new();
    file.read_to_end(&mut cache).ok()?;
    let flags = LoaderFlags::here();
    let path = loader_cache::find(&cache, name, flags).ok()?;
    if path.is_none() {
        let _ = loader_cache::for_each_name(&cache, flags, |name| suggestions.offer(name));
    }
    AbsolutePath::parse(path?).ok()
}

fn listed_library(
    root: &Root,
    name: &str,
    suggestions: &mut LibrarySuggestions,
) -> Option<AbsolutePath> {
    let directories = MULTIARCH.iter().chain(&DIRECTORIES);
    directories.copied().find_map(|directory| {
        let opened = root
            .open(directory, OFlags::RDONLY | OFlags::DIRECTORY)
            .ok()?;
        let list = std::fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        let files = list.ok()?.take(MAX_DIRECTORY_FILES).flatten();
        let mut best: Option<String> = None;
        for file in files {
            let file = file.file_name();
            let Some(file) = file.to_str() else {
                continue;
            };
            suggestions.offer(file);
            let matched = library::matches(name, file);
            let known = best
                .as_deref()
                .and_then(|best| library::matches(name, best));
            if better(matched, known) {
                best = Some(file.to_owned());
            }
        }
        AbsolutePath::parse(&format!("{directory}/{}", best?)).ok()
    })
}

fn better(found: Option<Match<'_>>, known: Option<Match<'_>>) -> bool {
    match (found, known) {
        (Some(found), Some(known)) => found > known,
        (found, _) => found.is_some(),
    }
}

/// Suggests names in the form in which the user gave one.
struct LibrarySuggestions {
    names: Suggestions,
    with_prefix: bool,
    with_suffix: bool,
}

impl LibrarySuggestions {
    fn new(given: &str) -> Self {
        Self {
            names: Suggestions::new(given),
            with_prefix: given.starts_with("lib"),
            with_suffix: given.contains(".so"),
        }
    }

    fn offer(&mut self, file: &str) {
        let Some(end) = file.find(".so") else {
            return;
        };
        let name = if self.with_suffix { file } else { &file[..end] };
        let short = name.strip_prefix("lib").filter(|_| !self.with_prefix);
        self.names.offer(short.unwrap_or(name));
    }
}
