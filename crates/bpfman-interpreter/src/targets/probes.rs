//! Places in a file's code.
//!
//! A browser has hundreds of megabytes, of which a lookup needs the tables. The file is read and not mapped: it may
//! be cut while we look, which as a mapping would end the process.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;

use bpfman_core::links::ProbeSite;
use bpfman_core::target::Executable;
use bpfman_core::target::FunctionError;
use bpfman_core::target::Suggestions;
use bpfman_core::target::UsdtError;
use bpfman_core::target::UsdtProbe;
use object::read::ReadCache;
use object::read::ReadCacheOps;

use super::ResolvedFile;
use super::TargetError;

/// A file that is read where it is looked at. Our own, because the crate's needs its feature `std`, which the whole
/// workspace and with it the pure core would get.
struct Bytes {
    file: File,
    position: u64,
    size: u64,
}

impl ReadCacheOps for Bytes {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.size)
    }

    fn seek(&mut self, position: u64) -> Result<u64, ()> {
        self.position = position;
        Ok(position)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ()> {
        let count = self.file.read_at(buffer, self.position).map_err(drop)?;
        self.position += count as u64;
        Ok(count)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ()> {
        self.file
            .read_exact_at(buffer, self.position)
            .map_err(drop)?;
        self.position += buffer.len() as u64;
        Ok(())
    }
}

type Cache = ReadCache<Bytes>;

pub(super) fn uprobe(
    file: &ResolvedFile,
    function: Option<&str>,
    offset: u64,
) -> Result<ProbeSite, TargetError> {
    let (cache, size) = open(file)?;
    let start = match function {
        None => 0,
        Some(name) => {
            let executable = parse(file, &cache)?;
            let found = executable.function(name);
            found
                .map_err(|source| refused(file, &executable, name, source))?
                .offset
        }
    };
    let beyond = |offset| TargetError::BeyondFile {
        path: file.shown.clone(),
        offset,
        size,
    };
    let place = start.checked_add(offset).ok_or(beyond(u64::MAX))?;
    if place >= size {
        return Err(beyond(place));
    }
    Ok(site(place))
}

pub(super) fn uprobe_multi(
    file: &ResolvedFile,
    functions: &[String],
) -> Result<Vec<ProbeSite>, TargetError> {
    let (cache, _) = open(file)?;
    let executable = parse(file, &cache)?;
    let names = functions.iter().map(String::as_str).collect::<Vec<_>>();
    let failed = |source| refused(file, &executable, "", source);
    let found = executable.functions(&names).map_err(failed)?;
    let sites = names.iter().zip(found).map(|(name, found)| {
        let function = found.map_err(|source| refused(file, &executable, name, source))?;
        Ok(site(function.offset))
    });
    sites.collect()
}

pub(super) fn usdt(
    file: &ResolvedFile,
    provider: &str,
    name: &str,
) -> Result<UsdtProbe, TargetError> {
    let (cache, _) = open(file)?;
    let executable = parse(file, &cache)?;
    executable.usdt(provider, name).map_err(|source| {
        let probe = format!("{provider}:{name}");
        let mut suggestions = Suggestions::new(&probe);
        if source == UsdtError::Unknown {
            // What cannot be listed suggests nothing.
            let _ = executable.for_each_probe(|provider, name| {
                suggestions.offer(&format!("{provider}:{name}"));
            });
        }
        TargetError::Probe {
            path: file.shown.clone(),
            probe,
            source,
            similar: suggestions.into_names(),
        }
    })
}

fn site(offset: u64) -> ProbeSite {
    ProbeSite {
        offset,
        counter_offset: 0,
        cookie: 0,
    }
}

fn refused<'c>(
    file: &ResolvedFile,
    executable: &Executable<'c, &'c Cache>,
    name: &str,
    source: FunctionError,
) -> TargetError {
    let source = match source {
        FunctionError::File(source) => {
            let path = file.shown.clone();
            return TargetError::File { path, source };
        }
        source => source,
    };
    let base = name.split_once('@').map_or(name, |(base, _)| base);
    let mut suggestions = Suggestions::new(base);
    // Only a name that is not there was misspelt.
    if source == FunctionError::Unknown {
        let others = |other: &str| {
            if other != name {
                suggestions.offer(other);
            }
        };
        let _ = executable.for_each_function(others);
    }
    TargetError::Function {
        path: file.shown.clone(),
        function: name.to_owned(),
        source,
        similar: suggestions.into_names(),
    }
}

fn open(file: &ResolvedFile) -> Result<(Cache, u64), TargetError> {
    let failed = |source| TargetError::system(&file.shown, source);
    // A pipe in the file's place must not make us wait for a writer.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nonblock)
        .open(file.path.as_str())
        .map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(TargetError::NotAFile {
            path: file.shown.clone(),
        });
    }
    let size = metadata.len();
    let bytes = Bytes {
        file: opened,
        position: 0,
        size,
    };
    Ok((ReadCache::new(bytes), size))
}

fn parse<'c>(
    file: &ResolvedFile,
    cache: &'c Cache,
) -> Result<Executable<'c, &'c Cache>, TargetError> {
    Executable::parse(cache).map_err(|source| TargetError::File {
        path: file.shown.clone(),
        source,
    })
}
