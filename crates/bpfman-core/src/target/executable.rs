//! A linked ELF file: where its sections and segments are.
//!
//! Format: `elf.h`, both classes and both byte orders, because a 32-bit program runs on a 64-bit kernel. The bytes
//! come through [`ReadRef`], so that a caller reads of a large file only what is looked at.

use alloc::vec::Vec;
use core::ffi::CStr;

use object::Endianness;
use object::elf;
use object::pod;
use object::pod::Pod;
use object::read::ReadRef;
use object::read::elf::FileHeader;
use object::read::elf::ProgramHeader;
use object::read::elf::SectionHeader;

/// How many sections, and how many segments, a file may have. Large programs have some dozens.
const MAX_HEADERS: u32 = 1 << 16;
/// How large a table may be that is read as a whole, in bytes. A browser's symbols take 100 MiB.
const MAX_TABLE_BYTES: u64 = 256 << 20;

/// The longest name that is read, in bytes. Without a limit, a table without any end of a name would be searched as a
/// whole for every symbol.
const MAX_NAME_BYTES: usize = 1 << 14;

/// Why a file cannot be looked into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecutableError {
    /// It is something else.
    #[error("not an ELF file")]
    NotElf,
    /// It is an object, a core dump or something unknown.
    #[error("an ELF file that is neither a program nor a shared library")]
    NotLinked,
    /// It is cut or contradicts itself.
    #[error("damaged ELF file: {0}")]
    Damaged(&'static str),
    /// There is more than anyone has.
    #[error("too many or too large {what}: {found}, and the limit is {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many, or how many bytes.
        found: u64,
        /// The limit.
        limit: u64,
    },
}

/// One section, whatever the class of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'data> {
    pub(super) name: &'data [u8],
    pub(super) kind: elf::SectionType,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    offset: u64,
    bytes: u64,
    executable: bool,
}

/// Where an address is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) executable: bool,
}

/// A program or a shared library.
#[derive(Clone, Debug)]
pub struct Executable<'data, R: ReadRef<'data>> {
    data: R,
    pub(super) endian: Endianness,
    /// Whether it is of class 64.
    pub(super) wide: bool,
    pub(super) machine: elf::Machine,
    pub(super) sections: Vec<Section<'data>>,
    segments: Vec<Segment>,
}

impl<'data, R: ReadRef<'data>> Executable<'data, R> {
    /// Reads the headers.
    ///
    /// # Errors
    /// [`ExecutableError`] when it is no program and no shared library, or is damaged.
    pub fn parse(data: R) -> Result<Self, ExecutableError> {
        let ident = data.read_bytes_at(0, size_of::<elf::Ident>() as u64);
        let ident = ident.map_err(|()| ExecutableError::NotElf)?;
        if !ident.starts_with(&elf::ELFMAG) {
            return Err(ExecutableError::NotElf);
        }
        // EI_CLASS
        match elf::FileClass(ident[4]) {
            elf::ELFCLASS64 => read::<elf::FileHeader64<Endianness>, R>(data, true),
            elf::ELFCLASS32 => read::<elf::FileHeader32<Endianness>, R>(data, false),
            _ => Err(ExecutableError::Damaged("its class is unknown")),
        }
    }

    /// The bytes of a section; none for one that has no bytes in the file.
    pub(super) fn bytes(
        &self,
        section: &Section<'data>,
        what: &'static str,
    ) -> Result<&'data [u8], ExecutableError> {
        if section.kind == elf::SHT_NOBITS {
            return Ok(&[]);
        }
        if section.size > MAX_TABLE_BYTES {
            return Err(too_large(what, section.size, MAX_TABLE_BYTES));
        }
        let bytes = self.data.read_bytes_at(section.offset, section.size);
        bytes.map_err(|()| ExecutableError::Damaged("a section is not in the file"))
    }

    /// The first section with a name.
    pub(super) fn section(&self, name: &str) -> Option<&Section<'data>> {
        let mut sections = self.sections.iter();
        sections.find(|section| section.name == name.as_bytes())
    }

    /// Where an address is in the file; `None` when no byte of the file is mapped there.
    pub(super) fn place(&self, address: u64) -> Option<Place> {
        self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            if inside >= segment.bytes {
                return None;
            }
            Some(Place {
                offset: segment.offset.checked_add(inside)?,
                executable: segment.executable,
            })
        })
    }
}

pub(super) fn too_large(what: &'static str, found: u64, limit: u64) -> ExecutableError {
    ExecutableError::TooLarge { what, found, limit }
}

/// The text that starts at an offset of a string table, without its NUL; `None` for one that is too long.
pub(super) fn text_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let text = strings.get(usize::try_from(offset).ok()?..)?;
    let text = &text[..text.len().min(MAX_NAME_BYTES)];
    // Searches word by word; a program has a million names.
    let text = CStr::from_bytes_until_nul(text).ok()?;
    Some(text.to_bytes())
}

/// As many whole entries as a table has.
pub(super) fn entries<T: Pod>(table: &[u8]) -> &[T] {
    let entries = pod::slice_from_bytes(table, table.len() / size_of::<T>());
    entries.map_or(&[], |(entries, _)| entries)
}

fn read<'data, E, R>(data: R, wide: bool) -> Result<Executable<'data, R>, ExecutableError>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = E::parse(data).map_err(|_| ExecutableError::Damaged("its header is cut"))?;
    let endian = header
        .endian()
        .map_err(|_| ExecutableError::Damaged("its byte order is unknown"))?;
    if ![elf::ET_EXEC, elf::ET_DYN].contains(&header.e_type(endian)) {
        return Err(ExecutableError::NotLinked);
    }
    Ok(Executable {
        data,
        endian,
        wide,
        machine: header.e_machine(endian),
        sections: sections::<E, R>(header, endian, data)?,
        segments: segments::<E, R>(header, endian, data)?,
    })
}

fn segments<'data, E, R>(
    header: &E,
    endian: Endianness,
    data: R,
) -> Result<Vec<Segment>, ExecutableError>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let damaged = ExecutableError::Damaged("its segments are not in the file");
    let count = header.phnum(endian, data).map_err(|_| damaged.clone())?;
    if count > MAX_HEADERS {
        return Err(too_large("segments", count.into(), MAX_HEADERS.into()));
    }
    let headers = header.program_headers(endian, data).map_err(|_| damaged)?;
    let loaded = headers
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    let segment = |segment: &E::ProgramHeader| Segment {
        address: segment.p_vaddr(endian).into(),
        offset: segment.p_offset(endian).into(),
        bytes: segment.p_filesz(endian).into(),
        executable: segment.p_flags(endian).contains(elf::PF_X),
    };
    Ok(loaded.map(segment).collect())
}

fn sections<'data, E, R>(
    header: &E,
    endian: Endianness,
    data: R,
) -> Result<Vec<Section<'data>>, ExecutableError>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let damaged = ExecutableError::Damaged("its sections are not in the file");
    let count = header.shnum(endian, data).map_err(|_| damaged.clone())?;
    if count > MAX_HEADERS {
        return Err(too_large("sections", count.into(), MAX_HEADERS.into()));
    }
    let headers = header.section_headers(endian, data).map_err(|_| damaged)?;
    let names = names::<E, R>(header, headers, endian, data)?;
    let section = |section: &E::SectionHeader| Section {
        name: text_at(names, section.sh_name(endian)).unwrap_or_default(),
        kind: section.sh_type(endian),
        address: section.sh_addr(endian).into(),
        offset: section.sh_offset(endian).into(),
        size: section.sh_size(endian).into(),
        link: section.sh_link(endian),
    };
    Ok(headers.iter().map(section).collect())
}

/// The names of the sections; none when the file says that there are none.
fn names<'data, E, R>(
    header: &E,
    headers: &[E::SectionHeader],
    endian: Endianness,
    data: R,
) -> Result<&'data [u8], ExecutableError>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let index = header.shstrndx(endian, data).unwrap_or_default();
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let range = headers
        .get(index)
        .and_then(|section| section.file_range(endian));
    let Some((offset, size)) = range else {
        return Ok(&[]);
    };
    if size > MAX_TABLE_BYTES {
        return Err(too_large("names of sections", size, MAX_TABLE_BYTES));
    }
    data.read_bytes_at(offset, size)
        .map_err(|()| ExecutableError::Damaged("the names of its sections are not in the file"))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::super::testing::CODE_ADDRESS;
    use super::super::testing::CODE_OFFSET;
    use super::super::testing::DATA_ADDRESS;
    use super::super::testing::DATA_OFFSET;
    use super::super::testing::TestFile;
    use super::super::testing::function;
    use super::*;

    fn refusal(bytes: &[u8]) -> ExecutableError {
        Executable::parse(bytes).map(|_| ()).unwrap_err()
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\necho hello\n", &[0; 64]] {
            assert_eq!(refusal(bytes), ExecutableError::NotElf);
        }
        for kind in [elf::ET_REL, elf::ET_CORE, elf::ET_NONE] {
            let file = TestFile {
                kind,
                ..TestFile::default()
            };
            assert_eq!(refusal(&file.build()), ExecutableError::NotLinked);
        }
    }

    #[test]
    fn an_address_is_in_the_file_only_where_bytes_are_mapped() {
        for (wide, big) in [(true, true), (true, false), (false, true), (false, false)] {
            let bytes = TestFile {
                wide,
                big,
                ..TestFile::default()
            }
            .build();
            let file = Executable::parse(bytes.as_slice()).unwrap();
            let place = |address| {
                file.place(address)
                    .map(|place| (place.offset, place.executable))
            };
            assert_eq!(place(CODE_ADDRESS), Some((CODE_OFFSET, true)));
            assert_eq!(place(CODE_ADDRESS + 0xff), Some((CODE_OFFSET + 0xff, true)));
            assert_eq!(place(DATA_ADDRESS + 1), Some((DATA_OFFSET + 1, false)));
            for address in [
                0,
                CODE_ADDRESS - 1,
                CODE_ADDRESS + 0x100,
                DATA_ADDRESS + 0x180,
                u64::MAX,
            ] {
                assert_eq!(place(address), None, "{address:#x}");
            }
        }
    }

    #[test]
    fn sizes_that_nobody_has_are_refused_before_anything_is_read() {
        let symtab = [function("f", elf::STB_GLOBAL, CODE_ADDRESS)].to_vec();
        let mut bytes = TestFile {
            symtab,
            ..TestFile::default()
        }
        .build();
        let headers = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
        let size = usize::try_from(headers).unwrap() + 64 + 32;
        bytes[size..size + 8].copy_from_slice(&(MAX_TABLE_BYTES + 1).to_le_bytes());
        let file = Executable::parse(bytes.as_slice()).unwrap();
        let error = file.function("f").unwrap_err().to_string();
        assert_eq!(
            error,
            "too many or too large symbols: 268435457, and the limit is 268435456"
        );
    }

    #[test]
    fn a_name_that_does_not_end_is_none() {
        let mut strings = [b'a'; MAX_NAME_BYTES + 1];
        assert_eq!(text_at(&strings, 0), None);
        strings[MAX_NAME_BYTES] = 0;
        assert_eq!(text_at(&strings, 0), None);
        assert_eq!(
            text_at(&strings, 1).map(<[u8]>::len),
            Some(MAX_NAME_BYTES - 1)
        );
        assert_eq!(text_at(&strings, u32::MAX), None);
    }

    proptest! {
        #[test]
        fn damage_anywhere_is_no_panic(
            wide: bool,
            big: bool,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut file = TestFile { wide, big, base: 0x1080, ..TestFile::default() };
            file.symtab = [function("f", elf::STB_GLOBAL, CODE_ADDRESS)].to_vec();
            file.dynsym = [function("f", elf::STB_GLOBAL, CODE_ADDRESS)].to_vec();
            file.versym = [2].to_vec();
            file.versions = ["V1"].to_vec();
            file.notes = file.note([CODE_ADDRESS, 0x1080, DATA_ADDRESS], "p\0n\x004@%eax\0");
            let mut bytes = file.build();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(keep.index(2 * bytes.len()));
            if let Ok(file) = Executable::parse(bytes.as_slice()) {
                let _ = file.functions(&["f", "f@V1"]);
                let _ = file.usdt("p", "n");
                let _ = file.for_each_function(|_| {});
                let _ = file.for_each_probe(|_, _| {});
            }
        }
    }
}
