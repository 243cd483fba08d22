//! `/etc/ld.so.cache`: where the dynamic loader finds libraries.
//!
//! Format: glibc's `sysdeps/generic/dl-cache.h`, the format `glibc-ld.so.cache1.1`, alone or behind the older
//! `ld.so-1.7.0`. Flags: `sysdeps/generic/ldconfig.h`.

use super::library;
use super::library::Match;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER_BYTES: usize = 16;
const OLD_ENTRY_BYTES: usize = 12;
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;

/// Which processor's libraries: the flags of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderFlags(u32);

/// Libraries of the GNU C library: `FLAG_ELF_LIBC6`.
const LIBC6: u32 = 0x0003;
/// Libraries of no known C library or processor: `FLAG_ELF`, which some writers of caches give to every entry.
const ELF: u32 = 0x0001;

impl LoaderFlags {
    /// x86-64: `FLAG_X8664_LIB64`.
    pub const X86_64: Self = Self(LIBC6 | 0x0300);
    /// AArch64: `FLAG_AARCH64_LIB64`.
    pub const AARCH64: Self = Self(LIBC6 | 0x0a00);

    /// Those of the machine that this was built for; other than the two above have the plain flag.
    #[must_use]
    pub const fn here() -> Self {
        if cfg!(target_arch = "x86_64") {
            Self::X86_64
        } else if cfg!(target_arch = "aarch64") {
            Self::AARCH64
        } else {
            Self(LIBC6)
        }
    }
}

/// A cache that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoaderCacheError {
    /// It is of no known format.
    #[error("not a loader cache of the format glibc-ld.so.cache1.1")]
    UnknownFormat,
    /// It was made for the other byte order.
    #[error("a loader cache of the other byte order")]
    ByteOrder,
    /// It is cut or contradicts itself.
    #[error("a damaged loader cache")]
    Damaged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    name: &'a str,
    path: &'a str,
    /// Whether it is for the processor in question, rather than for one that the cache does not name.
    certain: bool,
    /// Whether it needs certain features of the processor.
    special: bool,
}

/// The path of a library by its name, as [`library::matches`] understands it; `None` when there is none.
///
/// Of a library built several times, the one without special needs is taken: which one a process has loaded, only its
/// maps can tell. An entry that names no processor counts where none names this one.
///
/// # Errors
/// [`LoaderCacheError`].
pub fn find<'a>(
    cache: &'a [u8],
    wanted: &str,
    flags: LoaderFlags,
) -> Result<Option<&'a str>, LoaderCacheError> {
    let mut best: Option<((Match<'a>, bool, bool), &'a str)> = None;
    for_each_entry(cache, flags, |entry| {
        let Some(matched) = library::matches(wanted, entry.name) else {
            return;
        };
        let key = (matched, entry.certain, !entry.special);
        // Of equals the first is taken, as the loader does.
        if best.is_none_or(|(known, _)| key > known) {
            best = Some((key, entry.path));
        }
    })?;
    Ok(best.map(|(_, path)| path))
}

/// Calls `visit` with the name of every library.
///
/// # Errors
/// [`LoaderCacheError`].
pub fn for_each_name(
    cache: &[u8],
    flags: LoaderFlags,
    mut visit: impl FnMut(&str),
) -> Result<(), LoaderCacheError> {
    for_each_entry(cache, flags, |entry| visit(entry.name))
}

fn for_each_entry<'a>(
    cache: &'a [u8],
    flags: LoaderFlags,
    mut visit: impl FnMut(Entry<'a>),
) -> Result<(), LoaderCacheError> {
    let cache = newest_format(cache)?;
    let header = cache.get(..HEADER_BYTES).ok_or(LoaderCacheError::Damaged)?;
    check_byte_order(header[28])?;
    let count = word(header, 20).and_then(|count| usize::try_from(count).ok());
    let entries = count
        .and_then(|count| count.checked_mul(ENTRY_BYTES))
        .and_then(|bytes| cache.get(HEADER_BYTES..)?.get(..bytes))
        .ok_or(LoaderCacheError::Damaged)?;
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let certain = match word(entry, 0) {
            Some(found) if found == flags.0 => true,
            Some(ELF) => false,
            _ => continue,
        };
        let texts = (text(cache, word(entry, 4)), text(cache, word(entry, 8)));
        if let (Some(name), Some(path)) = texts {
            let hwcap = entry.get(16..).unwrap_or_default();
            visit(Entry {
                name,
                path,
                certain,
                special: hwcap.iter().any(|byte| *byte != 0),
            });
        }
    }
    Ok(())
}

/// Skips the older format in front; offsets count from where the newer one starts.
fn newest_format(cache: &[u8]) -> Result<&[u8], LoaderCacheError> {
    if cache.starts_with(MAGIC) {
        return Ok(cache);
    }
    if !cache.starts_with(OLD_MAGIC) {
        return Err(LoaderCacheError::UnknownFormat);
    }
    let count = word(cache, 12).and_then(|count| usize::try_from(count).ok());
    let start = count
        .and_then(|count| count.checked_mul(OLD_ENTRY_BYTES))
        .and_then(|bytes| bytes.checked_add(OLD_HEADER_BYTES))
        .and_then(|end| end.checked_next_multiple_of(8));
    let newer = start.and_then(|start| cache.get(start..));
    let newer = newer.filter(|cache| cache.starts_with(MAGIC));
    newer.ok_or(LoaderCacheError::UnknownFormat)
}

/// 2 is little, 3 is big; 0 is what older tools wrote, and 1 is reserved.
fn check_byte_order(flags: u8) -> Result<(), LoaderCacheError> {
    let here = if cfg!(target_endian = "little") { 2 } else { 3 };
    match flags & 3 {
        0 => Ok(()),
        found if found == here => Ok(()),
        _ => Err(LoaderCacheError::ByteOrder),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn text(cache: &[u8], offset: Option<u32>) -> Option<&str> {
    let bytes = super::executable::text_at(cache, offset?)?;
    core::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    struct Library(u32, &'static str, &'static str, u64);

    const X86: u32 = LoaderFlags::X86_64.0;
    const LIBRARIES: [Library; 10] = [
        Library(ELF, "libz.so.1", "/plain/libz.so.1", 0),
        Library(ELF, "libprobed.so.2", "/plain/libprobed.so.2", 0),
        Library(ELF, "libprobed.so.1", "/plain/libprobed.so.1", 0),
        Library(X86, "libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1", 0),
        Library(X86, "libssl.so.3", "/opt/v3/libssl.so.3", 1 << 62 | 2),
        Library(X86, "libssl.so.3", "/lib/libssl.so.3", 0),
        Library(X86, "libssl.so.1.1", "/lib/libssl.so.1.1", 0),
        Library(X86, "libssl.so", "/lib/libssl.so", 0),
        Library(LIBC6, "libc.so.6", "/lib/i386-linux-gnu/libc.so.6", 0),
        Library(X86, "libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", 0),
    ];

    fn cache() -> Vec<u8> {
        let mut strings = Vec::new();
        let mut entries = Vec::new();
        let strings_start = HEADER_BYTES + LIBRARIES.len() * ENTRY_BYTES;
        for library in &LIBRARIES {
            entries.extend(library.0.to_ne_bytes());
            for text in [library.1, library.2] {
                let offset = u32::try_from(strings_start + strings.len()).unwrap();
                entries.extend(offset.to_ne_bytes());
                strings.extend(text.as_bytes());
                strings.push(0);
            }
            entries.extend([0; 4]);
            entries.extend(library.3.to_ne_bytes());
        }
        let mut cache = MAGIC.to_vec();
        cache.extend(u32::try_from(LIBRARIES.len()).unwrap().to_ne_bytes());
        cache.extend(u32::try_from(strings.len()).unwrap().to_ne_bytes());
        cache.resize(HEADER_BYTES, 0);
        cache.extend(entries);
        cache.extend(strings);
        cache
    }

    fn behind_the_old_format(newer: &[u8]) -> Vec<u8> {
        let mut cache = OLD_MAGIC.to_vec();
        cache.push(0);
        cache.extend(3_u32.to_ne_bytes());
        cache.extend([0; 3 * OLD_ENTRY_BYTES]);
        cache.resize(cache.len().next_multiple_of(8), 0);
        cache.extend(newer);
        cache
    }

    #[test]
    fn a_library_is_found_by_any_of_its_names() {
        let plain = cache();
        let table = [
            ("c", Some("/lib/x86_64-linux-gnu/libc.so.6")),
            ("libc", Some("/lib/x86_64-linux-gnu/libc.so.6")),
            ("libc.so.6", Some("/lib/x86_64-linux-gnu/libc.so.6")),
            ("ssl", Some("/lib/libssl.so.3")),
            ("libssl.so", Some("/lib/libssl.so")),
            ("libssl.so.1.1", Some("/lib/libssl.so.1.1")),
            ("crypto", None),
            ("z", Some("/lib/x86_64-linux-gnu/libz.so.1")),
            ("probed", Some("/plain/libprobed.so.2")),
            ("libprobed.so.1", Some("/plain/libprobed.so.1")),
        ];
        for cache in [behind_the_old_format(&plain), plain] {
            for (name, path) in table {
                assert_eq!(find(&cache, name, LoaderFlags::X86_64), Ok(path), "{name}");
            }
            assert_eq!(find(&cache, "c", LoaderFlags::AARCH64), Ok(None));
        }
    }

    #[test]
    fn every_name_is_offered() {
        let mut names = vec![];
        for_each_name(&cache(), LoaderFlags::X86_64, |name| names.push(name.len())).unwrap();
        assert_eq!(names.len(), 9);
    }

    #[test]
    fn a_cache_of_another_kind_is_refused() {
        for bytes in [&b""[..], b"ld.so-1.7.0", b"ld.so-2", &MAGIC[..10]] {
            let error = Err(LoaderCacheError::UnknownFormat);
            assert_eq!(find(bytes, "c", LoaderFlags::X86_64), error);
        }
        assert_eq!(
            find(MAGIC, "c", LoaderFlags::X86_64),
            Err(LoaderCacheError::Damaged)
        );
        let mut other = cache();
        other[28] = if cfg!(target_endian = "little") { 3 } else { 2 };
        assert_eq!(
            find(&other, "c", LoaderFlags::X86_64),
            Err(LoaderCacheError::ByteOrder)
        );
        let mut many = cache();
        many[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(
            find(&many, "c", LoaderFlags::X86_64),
            Err(LoaderCacheError::Damaged)
        );
    }

    proptest! {
        #[test]
        fn a_damaged_cache_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), keep in 0..600_usize) {
            let mut bytes = cache();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(keep);
            let _ = find(&bytes, "ssl", LoaderFlags::X86_64);
            let _ = find(&behind_the_old_format(&bytes), "ssl", LoaderFlags::X86_64);
        }
    }
}
