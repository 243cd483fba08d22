//! Tracepoints. Format: `Documentation/trace/events.rst` of the kernel.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use bpfman_core::target::Suggestions;
use rustix::io::Errno;

use super::TargetError;

/// TRACEFS_MAGIC of `linux/magic.h`.
const TRACEFS_MAGIC: u64 = 0x7472_6163;
/// The second place is where it was before Linux 4.1; debugfs still mounts it there when someone looks.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The longest file name: NAME_MAX of `linux/limits.h`.
const MAX_NAME_BYTES: usize = 255;
/// How many lines of a list are read; the kernel has some thousand events and 200,000 symbols.
const MAX_LINES: usize = 1 << 22;
/// How long a line is read. A longer one is no name.
const MAX_LINE_BYTES: u64 = 4096;

/// Where tracefs is mounted.
pub(super) fn root() -> Result<PathBuf, TargetError> {
    for place in PLACES {
        match rustix::fs::statfs(place) {
            Ok(system) if system.f_type.cast_unsigned() == TRACEFS_MAGIC => return Ok(place.into()),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(source) => return Err(TargetError::system(place, source)),
        }
    }
    Err(TargetError::NoTracefs)
}

pub(super) fn tracepoint(group: &str, name: &str) -> Result<u64, TargetError> {
    if !is_plain(group) || !is_plain(name) {
        return Err(TargetError::NotATracepoint {
            text: format!("{group}/{name}"),
        });
    }
    let root = root()?;
    let file = root.join("events").join(group).join(name).join("id");
    let failed = |source| TargetError::system(file.display(), source);
    let id = match read_short(&file) {
        Ok(id) => id,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TargetError::UnknownTracepoint {
                group: group.to_owned(),
                name: name.to_owned(),
                similar: similar(&root, group, name),
            });
        }
        Err(error) => return Err(failed(error)),
    };
    let wrong = |_| {
        failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no number",
        ))
    };
    id.trim().parse().map_err(wrong)
}

pub(super) fn raw_tracepoint(name: &str) -> Result<(), TargetError> {
    let list = root()?.join("available_events");
    let mut known = false;
    let mut suggestions = Suggestions::new(name);
    let read = for_each_line(&list, |line| {
        let event = line.split_once(':').map_or(line, |(_, event)| event);
        known |= event == name;
        suggestions.offer(event);
    });
    read.map_err(|source| TargetError::system(list.display(), source))?;
    if known {
        return Ok(());
    }
    Err(TargetError::UnknownRawTracepoint {
        name: name.to_owned(),
        similar: suggestions.into_names(),
    })
}

/// Close names of whole tracepoints; where there is none, those with a close name in whatever group.
fn similar(root: &Path, group: &str, name: &str) -> Vec<String> {
    let mut whole = Suggestions::new(&format!("{group}/{name}"));
    let mut names = Suggestions::new(name);
    let mut events = Vec::new();
    // Without a list there are no suggestions; the tracepoint is unknown all the same.
    let _ = for_each_line(&root.join("available_events"), |line| {
        if let Some((group, name)) = line.split_once(':') {
            whole.offer(&format!("{group}/{name}"));
            names.offer(name);
            events.push(line.replacen(':', "/", 1));
        }
    });
    let found = whole.into_names();
    if !found.is_empty() {
        return found;
    }
    let names = names.into_names();
    let in_group = |name: &String| {
        let ending = format!("/{name}");
        events
            .iter()
            .find(|event| event.ends_with(&ending))
            .cloned()
    };
    names.iter().filter_map(in_group).collect()
}

/// Whether a text is one file name, so that it cannot lead elsewhere.
fn is_plain(name: &str) -> bool {
    let wrong = |c: char| c == '/' || c.is_control();
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name != "."
        && name != ".."
        && !name.contains(wrong)
}

fn read_short(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_LINE_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a list line by line, so that the whole of it is never in memory.
pub(super) fn for_each_line(path: &Path, visit: impl FnMut(&str)) -> io::Result<()> {
    lines(BufReader::with_capacity(1 << 16, File::open(path)?), visit)
}

fn lines(mut reader: impl BufRead, mut visit: impl FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    for _ in 0..MAX_LINES {
        line.clear();
        if reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(());
        }
        if let Ok(line) = std::str::from_utf8(&line) {
            visit(line.trim_end_matches('\n'));
        }
    }
    Err(io::Error::other("the list does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_its_directory_is_none() {
        for name in ["", ".", "..", "a/b", "../x", "/", "a\0b", "a\nb"] {
            assert!(!is_plain(name), "{name:?}");
            assert!(matches!(
                tracepoint(name, "sched_switch"),
                Err(TargetError::NotATracepoint { .. })
            ));
        }
        assert!(!is_plain(&"a".repeat(256)));
        assert!(is_plain("sched_switch"));
    }

    #[test]
    fn lines_are_read_one_by_one_and_long_ones_in_pieces() {
        let long = "x".repeat(5000);
        let text = format!("a\n\nb\n{long}\nlast");
        let mut read = Vec::new();
        lines(text.as_bytes(), |line| read.push(line.len())).unwrap();
        assert_eq!(read, [1, 0, 1, 4096, 904, 4]);
    }
}
