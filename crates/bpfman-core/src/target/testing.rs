//! Builds small linked ELF files of either class and byte order for tests, right or wrong on purpose.
//!
//! Code is at address 0x1000 and at offset 0x200 of the file; data at address 0x3000 and at offset 0x300.

use alloc::vec;
use alloc::vec::Vec;

use object::elf;

pub(super) const CODE_ADDRESS: u64 = 0x1000;
pub(super) const CODE_OFFSET: u64 = 0x200;
pub(super) const DATA_ADDRESS: u64 = 0x3000;
pub(super) const DATA_OFFSET: u64 = 0x300;
const SEGMENT_BYTES: u64 = 0x100;
const SECTIONS_OFFSET: usize = 0x400;

/// A symbol: name, type, binding, section index, address.
pub(super) type TestSymbol = (&'static str, elf::SymbolType, elf::SymbolBind, u16, u64);

/// A function at an address.
pub(super) fn function(name: &'static str, bind: elf::SymbolBind, address: u64) -> TestSymbol {
    (name, elf::STT_FUNC, bind, 1, address)
}

/// A file to build.
pub(super) struct TestFile {
    pub(super) wide: bool,
    pub(super) big: bool,
    pub(super) kind: elf::FileType,
    pub(super) machine: elf::Machine,
    pub(super) symtab: Vec<TestSymbol>,
    pub(super) dynsym: Vec<TestSymbol>,
    /// The raw version of each dynamic symbol.
    pub(super) versym: Vec<u16>,
    /// The names of the versions 2, 3, ...
    pub(super) versions: Vec<&'static str>,
    pub(super) notes: Vec<u8>,
    /// The address of `.stapsdt.base`; 0 for no such section.
    pub(super) base: u64,
}

struct TestSection {
    name: &'static str,
    kind: elf::SectionType,
    address: u64,
    link: u32,
    data: Vec<u8>,
}

impl Default for TestFile {
    fn default() -> Self {
        Self {
            wide: true,
            big: false,
            kind: elf::ET_DYN,
            machine: elf::EM_X86_64,
            symtab: Vec::new(),
            dynsym: Vec::new(),
            versym: Vec::new(),
            versions: Vec::new(),
            notes: Vec::new(),
            base: 0,
        }
    }
}

impl TestFile {
    pub(super) fn u16(&self, value: u16) -> [u8; 2] {
        if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    pub(super) fn u32(&self, value: u32) -> [u8; 4] {
        if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    /// A number of the size of an address.
    pub(super) fn word(&self, value: u64) -> Vec<u8> {
        match (self.wide, self.big) {
            (true, true) => value.to_be_bytes().to_vec(),
            (true, false) => value.to_le_bytes().to_vec(),
            (false, _) => self.u32(u32::try_from(value).unwrap()).to_vec(),
        }
    }

    /// One note of `.note.stapsdt`: three addresses and three texts.
    pub(super) fn note(&self, addresses: [u64; 3], texts: &str) -> Vec<u8> {
        let mut content = addresses.map(|address| self.word(address)).concat();
        content.extend(texts.as_bytes());
        self.raw_note(b"stapsdt\0", 3, &content)
    }

    pub(super) fn raw_note(&self, owner: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| self.u32(u32::try_from(bytes.len()).unwrap());
        let mut note = [length(owner), length(content), self.u32(kind)].concat();
        for part in [owner, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let mut sections = vec![section("", elf::SHT_NULL, vec![])];
        self.add_symbols(&mut sections, ".symtab", elf::SHT_SYMTAB, &self.symtab);
        self.add_symbols(&mut sections, ".dynsym", elf::SHT_DYNSYM, &self.dynsym);
        self.add_versions(&mut sections);
        if !self.notes.is_empty() {
            sections.push(section(".note.stapsdt", elf::SHT_NOTE, self.notes.clone()));
        }
        if self.base != 0 {
            let mut base = section(".stapsdt.base", elf::SHT_PROGBITS, vec![0]);
            base.address = self.base;
            sections.push(base);
        }
        let mut names = vec![0];
        let offsets = sections
            .iter()
            .map(|section| add_name(&mut names, section.name));
        let offsets = offsets.collect::<Vec<_>>();
        sections.push(section("", elf::SHT_STRTAB, names));
        let mut bytes = vec![0; SECTIONS_OFFSET];
        let mut headers = Vec::new();
        for (index, section) in sections.iter().enumerate() {
            let name = offsets.get(index).copied().unwrap_or_default();
            headers.extend(self.section_header(section, name, bytes.len()));
            bytes.extend(&section.data);
        }
        self.write_headers(&mut bytes, sections.len());
        bytes.extend(headers);
        bytes
    }

    fn add_symbols(
        &self,
        sections: &mut Vec<TestSection>,
        name: &'static str,
        kind: elf::SectionType,
        symbols: &[TestSymbol],
    ) {
        if symbols.is_empty() {
            return;
        }
        let mut names = vec![0];
        let mut table = Vec::new();
        for (name, kind, bind, section, address) in symbols {
            let name = self.u32(add_name(&mut names, name));
            let info = [bind.0 << 4 | kind.0, 0];
            let section = self.u16(*section);
            table.extend(name);
            if self.wide {
                table.extend(info);
                table.extend(section);
            }
            table.extend(self.word(*address));
            table.extend(self.word(16));
            if !self.wide {
                table.extend(info);
                table.extend(section);
            }
        }
        let mut table = section(name, kind, table);
        table.link = u32::try_from(sections.len() + 1).unwrap();
        sections.push(table);
        sections.push(section("", elf::SHT_STRTAB, names));
    }

    fn add_versions(&self, sections: &mut Vec<TestSection>) {
        if self.versym.is_empty() {
            return;
        }
        let indexes = self.versym.iter().flat_map(|index| self.u16(*index));
        sections.push(section("", elf::SHT_GNU_VERSYM, indexes.collect()));
        let mut names = vec![0];
        let mut definitions = Vec::new();
        for (index, name) in self.versions.iter().enumerate() {
            let last = index + 1 == self.versions.len();
            let index = u16::try_from(index + 2).unwrap();
            definitions.extend([1, 0, index, 1].map(|half| self.u16(half)).concat());
            let next = if last { 0 } else { 28 };
            let name = add_name(&mut names, name);
            definitions.extend([0, 20, next, name, 0].map(|word| self.u32(word)).concat());
        }
        let mut definitions = section("", elf::SHT_GNU_VERDEF, definitions);
        definitions.link = u32::try_from(sections.len() + 1).unwrap();
        sections.push(definitions);
        sections.push(section("", elf::SHT_STRTAB, names));
    }

    fn section_header(&self, section: &TestSection, name: u32, offset: usize) -> Vec<u8> {
        let mut header = [self.u32(name), self.u32(section.kind.0)].concat();
        for value in [0, section.address, offset as u64, section.data.len() as u64] {
            header.extend(self.word(value));
        }
        header.extend([self.u32(section.link), self.u32(0)].concat());
        header.extend([self.word(1), self.word(0)].concat());
        header
    }

    fn write_headers(&self, bytes: &mut [u8], sections: usize) {
        let (header_bytes, segment_bytes, section_bytes) = if self.wide {
            (64, 56, 64)
        } else {
            (52, 32, 40)
        };
        let mut start = elf::ELFMAG.to_vec();
        start.extend([1 + u8::from(self.wide), 1 + u8::from(self.big), 1]);
        start.resize(16, 0);
        start.extend([self.u16(self.kind.0), self.u16(self.machine.0)].concat());
        start.extend(self.u32(1));
        for value in [0, header_bytes, bytes.len() as u64] {
            start.extend(self.word(value));
        }
        start.extend(self.u32(0));
        let sections = u16::try_from(sections).unwrap();
        let halves = [
            header_bytes as u16,
            segment_bytes,
            2,
            section_bytes,
            sections,
            sections - 1,
        ];
        start.extend(halves.map(|half| self.u16(half)).concat());
        start.extend(self.segment(CODE_ADDRESS, CODE_OFFSET, elf::PF_R | elf::PF_X));
        start.extend(self.segment(DATA_ADDRESS, DATA_OFFSET, elf::PF_R | elf::PF_W));
        bytes[..start.len()].copy_from_slice(&start);
    }

    fn segment(&self, address: u64, offset: u64, flags: elf::ProgramFlags) -> Vec<u8> {
        let mut header = self.u32(elf::PT_LOAD.0).to_vec();
        if self.wide {
            header.extend(self.u32(flags.0));
        }
        // What is behind the bytes of the file is zeroed memory.
        for value in [offset, address, address, SEGMENT_BYTES, 2 * SEGMENT_BYTES] {
            header.extend(self.word(value));
        }
        if !self.wide {
            header.extend(self.u32(flags.0));
        }
        header.extend(self.word(0x1000));
        header
    }
}

fn section(name: &'static str, kind: elf::SectionType, data: Vec<u8>) -> TestSection {
    TestSection {
        name,
        kind,
        address: 0,
        link: 0,
        data,
    }
}

fn add_name(names: &mut Vec<u8>, name: &str) -> u32 {
    let offset = names.len();
    names.extend(name.as_bytes());
    names.push(0);
    u32::try_from(offset).unwrap()
}
