//! Another object out of an object: whatever changes is written behind the old bytes, and new section headers say where.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use object::elf;

use super::ObjectError;
use super::image::Image;
use super::image::damaged;
use super::image::too_many;

/// `Elf64_Ehdr`, `Elf64_Shdr` and `Elf64_Sym` of `elf.h`: where the members are that change.
mod at {
    pub(super) const HEADER_SECTIONS: usize = 40;
    pub(super) const HEADER_SECTION_COUNT: usize = 60;
    pub(super) const HEADER_NAMES: usize = 62;
    pub(super) const SECTION_BYTES: usize = 64;
    pub(super) const SECTION_NAME: usize = 0;
    pub(super) const SECTION_TYPE: usize = 4;
    pub(super) const SECTION_FLAGS: usize = 8;
    pub(super) const SECTION_OFFSET: usize = 24;
    pub(super) const SECTION_SIZE: usize = 32;
    pub(super) const SECTION_ALIGNMENT: usize = 48;
    pub(super) const SYMBOL_BYTES: usize = 24;
    pub(super) const SYMBOL_INFO: usize = 4;
    pub(super) const SYMBOL_OTHER: usize = 5;
    pub(super) const SYMBOL_SECTION: usize = 6;
    pub(super) const SYMBOL_VALUE: usize = 8;
    pub(super) const SYMBOL_SIZE: usize = 16;
}

/// Section numbers from here on mean something else (`elf.h`).
const SHN_LORESERVE: usize = 0xff00;
/// All that is added starts at a multiple of this.
const ALIGNMENT: usize = 8;

/// An object in the making.
pub(super) struct Rewrite<'a> {
    bytes: &'a [u8],
    headers: Vec<[u8; at::SECTION_BYTES]>,
    /// The section that holds the names of sections, and its bytes.
    names_index: usize,
    names: Vec<u8>,
    symbols_index: usize,
    symbols: Vec<u8>,
    /// The new bytes of sections.
    data: BTreeMap<usize, Vec<u8>>,
}

impl<'a> Rewrite<'a> {
    /// Starts from an object that was read.
    ///
    /// # Errors
    /// [`ObjectError::Damaged`] when its tables are not where its header says.
    pub(super) fn of(bytes: &'a [u8], image: &Image<'_>) -> Result<Self, ObjectError> {
        let start = number(bytes, at::HEADER_SECTIONS).ok_or_else(cut)?;
        let headers = bytes.get(start..).ok_or_else(cut)?;
        let (headers, _) = headers.as_chunks::<{ at::SECTION_BYTES }>();
        let headers = headers
            .get(..image.sections.len())
            .ok_or_else(cut)?
            .to_vec();
        let names_index = half(bytes, at::HEADER_NAMES).ok_or_else(cut)?;
        let mut symbols_index = image.sections.iter();
        let symbols_index = symbols_index.position(|section| section.kind == elf::SHT_SYMTAB);
        let symbols_index = symbols_index.ok_or_else(cut)?;
        let held = |index: usize| {
            let header = headers.get(index)?;
            let start = number(header, at::SECTION_OFFSET)?;
            let size = number(header, at::SECTION_SIZE)?;
            bytes.get(start..)?.get(..size)
        };
        Ok(Self {
            names: held(names_index).ok_or_else(cut)?.to_vec(),
            symbols: held(symbols_index).ok_or_else(cut)?.to_vec(),
            bytes,
            headers,
            names_index,
            symbols_index,
            data: BTreeMap::new(),
        })
    }

    /// Gives a section another name.
    pub(super) fn rename(&mut self, index: usize, name: &str) {
        let name = self.name(name);
        if let Some(header) = self.headers.get_mut(index) {
            put(header, at::SECTION_NAME, &name.to_ne_bytes());
        }
    }

    /// Adds a section that holds bytes; answers its index.
    pub(super) fn add_section(&mut self, name: &str, flags: u64) -> usize {
        let mut header = [0; at::SECTION_BYTES];
        let name = self.name(name);
        put(&mut header, at::SECTION_NAME, &name.to_ne_bytes());
        put(
            &mut header,
            at::SECTION_TYPE,
            &elf::SHT_PROGBITS.0.to_ne_bytes(),
        );
        put(&mut header, at::SECTION_FLAGS, &flags.to_ne_bytes());
        put(
            &mut header,
            at::SECTION_ALIGNMENT,
            &(ALIGNMENT as u64).to_ne_bytes(),
        );
        self.headers.push(header);
        self.headers.len() - 1
    }

    /// Gives a section other bytes.
    pub(super) fn set_data(&mut self, index: usize, data: Vec<u8>) {
        self.data.insert(index, data);
    }

    /// Makes of a symbol that of a global variable.
    ///
    /// # Errors
    /// [`ObjectError`] when there is no such symbol, or the number of the section is too large for it.
    pub(super) fn move_symbol(
        &mut self,
        symbol: usize,
        section: usize,
        value: u64,
        size: u64,
    ) -> Result<(), ObjectError> {
        let section = u16::try_from(section).map_err(|_| too_many("sections"))?;
        let start = symbol * at::SYMBOL_BYTES;
        let end = start + at::SYMBOL_BYTES;
        let symbol = self.symbols.get_mut(start..end).ok_or_else(cut)?;
        symbol[at::SYMBOL_INFO] = elf::STB_GLOBAL.0 << 4 | elf::STT_OBJECT.0;
        symbol[at::SYMBOL_OTHER] = elf::STV_DEFAULT.0;
        put(symbol, at::SYMBOL_SECTION, &section.to_ne_bytes());
        put(symbol, at::SYMBOL_VALUE, &value.to_ne_bytes());
        put(symbol, at::SYMBOL_SIZE, &size.to_ne_bytes());
        Ok(())
    }

    /// The bytes of the new object.
    ///
    /// # Errors
    /// [`ObjectError::TooMany`] when the ELF header cannot count the sections.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, ObjectError> {
        if self.headers.len() >= SHN_LORESERVE {
            return Err(too_many("sections"));
        }
        let count = u16::try_from(self.headers.len()).map_err(|_| too_many("sections"))?;
        self.data.insert(self.symbols_index, self.symbols);
        self.data.insert(self.names_index, self.names);
        let mut bytes = self.bytes.to_vec();
        for (index, data) in self.data {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            if let Some(header) = self.headers.get_mut(index) {
                put(
                    header,
                    at::SECTION_OFFSET,
                    &(bytes.len() as u64).to_ne_bytes(),
                );
                put(header, at::SECTION_SIZE, &(data.len() as u64).to_ne_bytes());
            }
            bytes.extend(data);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        let headers = bytes.len() as u64;
        put(&mut bytes, at::HEADER_SECTIONS, &headers.to_ne_bytes());
        put(&mut bytes, at::HEADER_SECTION_COUNT, &count.to_ne_bytes());
        bytes.extend(self.headers.as_flattened());
        Ok(bytes)
    }

    /// Where a new name of a section starts.
    fn name(&mut self, name: &str) -> u32 {
        // A table that does not end with a NUL would take the name for the rest of its last one.
        if self.names.last().is_some_and(|last| *last != 0) {
            self.names.push(0);
        }
        let start = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.extend(name.as_bytes());
        self.names.push(0);
        start
    }
}

fn cut() -> ObjectError {
    damaged("a table is cut")
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u64::from_ne_bytes(*number)).ok()
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*number).into())
}
