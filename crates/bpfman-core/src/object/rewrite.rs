//! Another object out of an object: whatever changes is written behind the old bytes, and new section headers say where.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use object::NativeEndian;
use object::U32;
use object::U64;
use object::elf;
use object::pod;

use super::ObjectError;
use super::image::Header;
use super::image::Image;
use super::image::RawSymbol;
use super::image::SectionHeader;
use super::image::damaged;
use super::image::too_many;

/// Section numbers from here on mean something else (`elf.h`).
const SHN_LORESERVE: usize = 0xff00;
/// All that is added starts at a multiple of this.
const ALIGNMENT: usize = 8;

/// An object in the making.
pub(super) struct Rewrite<'a> {
    bytes: &'a [u8],
    headers: Vec<SectionHeader>,
    /// The section that holds the names of sections, and its bytes.
    names_index: usize,
    names: Vec<u8>,
    symbols_index: usize,
    symbols: Vec<RawSymbol>,
    /// The new bytes of sections.
    data: BTreeMap<usize, Vec<u8>>,
}

impl<'a> Rewrite<'a> {
    /// Starts from an object that was read.
    pub(super) fn of(bytes: &'a [u8], image: &Image<'_>) -> Self {
        Self {
            bytes,
            headers: image.headers.to_vec(),
            names_index: image.names_index,
            names: image.names.to_vec(),
            symbols_index: image.symbols_index,
            symbols: image.symbols.to_vec(),
            data: BTreeMap::new(),
        }
    }

    /// Gives a section another name.
    pub(super) fn rename(&mut self, index: usize, name: &str) {
        let name = self.name(name);
        if let Some(header) = self.headers.get_mut(index) {
            header.sh_name = name;
        }
    }

    /// Adds a section that holds bytes; answers its index.
    pub(super) fn add_section(&mut self, name: &str, flags: elf::SectionFlags) -> usize {
        let header = SectionHeader {
            sh_name: self.name(name),
            sh_type: U32::new(NativeEndian, elf::SHT_PROGBITS),
            sh_flags: U64::new(NativeEndian, flags),
            sh_addr: U64::default(),
            sh_offset: U64::default(),
            sh_size: U64::default(),
            sh_link: U32::default(),
            sh_info: U32::default(),
            sh_addralign: U64::new(NativeEndian, ALIGNMENT as u64),
            sh_entsize: U64::default(),
        };
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
        let symbol = self.symbols.get_mut(symbol);
        let symbol = symbol.ok_or_else(|| damaged("a table is cut"))?;
        symbol.set_st_info(elf::STB_GLOBAL, elf::STT_OBJECT);
        symbol.st_other = elf::SymbolOther(elf::STV_DEFAULT.0);
        symbol
            .st_shndx
            .set(NativeEndian, elf::SymbolSection(section));
        symbol.st_value.set(NativeEndian, value);
        symbol.st_size.set(NativeEndian, size);
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
        let symbols = pod::bytes_of_slice(&self.symbols).to_vec();
        self.data.insert(self.symbols_index, symbols);
        self.data.insert(self.names_index, self.names);
        let mut bytes = self.bytes.to_vec();
        for (index, data) in self.data {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            if let Some(header) = self.headers.get_mut(index) {
                header.sh_offset.set(NativeEndian, bytes.len() as u64);
                header.sh_size.set(NativeEndian, data.len() as u64);
            }
            bytes.extend(data);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        let headers = bytes.len() as u64;
        if let Ok((header, _)) = pod::from_bytes_mut::<Header>(&mut bytes) {
            header.e_shoff.set(NativeEndian, headers);
            header.e_shnum.set(NativeEndian, count);
        }
        bytes.extend(pod::bytes_of_slice(&self.headers));
        Ok(bytes)
    }

    /// Where a new name of a section starts.
    fn name(&mut self, name: &str) -> U32<NativeEndian> {
        // A table that does not end with a NUL would take the name for the rest of its last one.
        if self.names.last().is_some_and(|last| *last != 0) {
            self.names.push(0);
        }
        let start = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.extend(name.as_bytes());
        self.names.push(0);
        U32::new(NativeEndian, start)
    }
}
