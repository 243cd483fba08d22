//! `/proc/PID/maps`: which files a process has mapped. Format: proc(5).

use alloc::string::String;

use super::library;
use super::library::Match;

/// A mapped file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    /// Its path in the mount namespace of the process.
    pub path: String,
    /// Its inode.
    pub inode: u64,
    /// Whether the file has been removed or replaced since.
    pub deleted: bool,
}

/// The library of a process by its name, as [`library::matches`] understands it.
#[must_use]
pub fn find_library(maps: &str, wanted: &str) -> Option<MappedFile> {
    let mut best: Option<(Match<'_>, u64, &str, bool)> = None;
    for line in maps.lines() {
        let Some((inode, path, deleted)) = mapped(line) else {
            continue;
        };
        let file = path.rsplit('/').next().unwrap_or_default();
        let Some(matched) = library::matches(wanted, file) else {
            continue;
        };
        if best.is_none_or(|(known, ..)| matched > known) {
            best = Some((matched, inode, path, deleted));
        }
    }
    best.map(|(_, inode, path, deleted)| MappedFile {
        path: unescape(path),
        inode,
        deleted,
    })
}

/// Calls `visit` with the file name of every mapped file, as often as it is mapped.
pub fn for_each_name(maps: &str, mut visit: impl FnMut(&str)) {
    for (_, path, _) in maps.lines().filter_map(mapped) {
        visit(path.rsplit('/').next().unwrap_or_default());
    }
}

/// Inode, path, and whether it was deleted; `None` for memory without a file.
fn mapped(line: &str) -> Option<(u64, &str, bool)> {
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.split_once(' ')?;
        rest = after.trim_start_matches(' ');
        Some(field)
    };
    let _range = field()?;
    let _permissions = field()?;
    let _offset = field()?;
    let _device = field()?;
    let inode = field()?.parse().ok()?;
    let path = rest.strip_suffix(" (deleted)");
    let (path, deleted) = path.map_or((rest, false), |path| (path, true));
    path.starts_with('/').then_some((inode, path, deleted))
}

/// The kernel writes a newline in a path as `\012`.
fn unescape(path: &str) -> String {
    path.replace("\\012", "\n")
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const MAPS: &str = "\
55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 1234                       /usr/bin/my cat
7f1c2a000000-7f1c2a028000 r--p 00000000 fe:01 42                         /usr/lib/x86_64-linux-gnu/libc.so.6
7f1c2a028000-7f1c2a1bd000 r-xp 00028000 fe:01 42                         /usr/lib/x86_64-linux-gnu/libc.so.6
7f1c2a300000-7f1c2a301000 r-xp 00000000 fe:01 77                         /opt/a b/libssl.so.3 (deleted)
7f1c2a400000-7f1c2a401000 rw-p 00000000 00:00 0
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
garbage
";

    fn file(path: &str, inode: u64, deleted: bool) -> Option<MappedFile> {
        let path = path.to_owned();
        Some(MappedFile {
            path,
            inode,
            deleted,
        })
    }

    #[test]
    fn a_library_is_found_with_its_inode() {
        let libc = file("/usr/lib/x86_64-linux-gnu/libc.so.6", 42, false);
        for name in ["c", "libc", "libc.so.6"] {
            assert_eq!(find_library(MAPS, name), libc);
        }
        let replaced = file("/opt/a b/libssl.so.3", 77, true);
        assert_eq!(find_library(MAPS, "ssl"), replaced);
        assert_eq!(find_library(MAPS, "stack"), None);
        assert_eq!(find_library(MAPS, "crypto"), None);
    }

    #[test]
    fn every_file_is_offered() {
        let mut names = Vec::new();
        for_each_name(MAPS, |name| names.push(name.to_owned()));
        assert_eq!(names, ["my cat", "libc.so.6", "libc.so.6", "libssl.so.3"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([0-9a-f ]{0,12}[-/ ]{1,2}[a-z.(): \\n]{0,12}){0,12}") {
            let _ = find_library(&text, "c");
        }
    }
}
