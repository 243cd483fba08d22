//! Builds small objects for tests, right or wrong on purpose.

use alloc::vec;
use alloc::vec::Vec;

use object::elf;

/// Compiled from `fixtures/programs.c`.
pub(super) const PROGRAMS: &[u8] = include_bytes!("fixtures/programs.o");
/// The same for a machine of the other byte order.
pub(super) const PROGRAMS_BIG_ENDIAN: &[u8] = include_bytes!("fixtures/programs_eb.o");
/// Compiled from `fixtures/legacy.c`.
pub(super) const LEGACY: &[u8] = include_bytes!("fixtures/legacy.o");
/// Compiled from the same, with type information.
pub(super) const LEGACY_BTF: &[u8] = include_bytes!("fixtures/legacy_btf.o");
/// Compiled from `fixtures/struct_ops.c`.
pub(super) const STRUCT_OPS: &[u8] = include_bytes!("fixtures/struct_ops.o");

/// Compiled from `bpf/tests/references.bpf.c`.
pub(super) const REFERENCES: &[u8] = include_bytes!("fixtures/references.o");

/// A section to build: the offset of its name is filled in.
pub(super) struct TestSection<'a> {
    pub(super) name: &'a str,
    pub(super) kind: elf::SectionType,
    pub(super) executable: bool,
    pub(super) data: &'a [u8],
    /// `sh_size`, when it is not that of the data.
    pub(super) size: Option<u64>,
    pub(super) target: u32,
    pub(super) entry_size: u64,
}

/// A symbol to build.
pub(super) struct TestSymbol<'a> {
    pub(super) name: &'a str,
    pub(super) kind: elf::SymbolType,
    pub(super) bind: elf::SymbolBind,
    pub(super) section: u16,
    pub(super) value: u64,
    pub(super) size: u64,
}

/// A section of data; the first one gets index 1.
pub(super) fn section<'a>(name: &'a str, data: &'a [u8]) -> TestSection<'a> {
    TestSection {
        name,
        kind: elf::SHT_PROGBITS,
        executable: false,
        data,
        size: None,
        target: 0,
        entry_size: 0,
    }
}

/// A section of instructions.
pub(super) fn code<'a>(name: &'a str, data: &'a [u8]) -> TestSection<'a> {
    TestSection {
        executable: true,
        ..section(name, data)
    }
}

/// A section of relocations for the section `target`.
pub(super) fn relocations<'a>(name: &'a str, target: u32, data: &'a [u8]) -> TestSection<'a> {
    TestSection {
        kind: elf::SHT_REL,
        target,
        entry_size: 16,
        ..section(name, data)
    }
}

/// One `Elf64_Rel`.
pub(super) fn relocation(offset: u64, symbol: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&offset.to_ne_bytes());
    bytes[8..].copy_from_slice(&(symbol << 32 | 2).to_ne_bytes());
    bytes
}

/// A global symbol; the first one gets index 1.
pub(super) fn symbol(
    name: &str,
    kind: elf::SymbolType,
    section: u16,
    value: u64,
    size: u64,
) -> TestSymbol<'_> {
    TestSymbol {
        name,
        kind,
        bind: elf::STB_GLOBAL,
        section,
        value,
        size,
    }
}

/// The bytes of an object: header, data of the sections, names, symbols, section headers.
pub(super) fn build(sections: &[TestSection<'_>], symbols: &[TestSymbol<'_>]) -> Vec<u8> {
    let mut names = vec![0];
    let mut symbol_table = vec![0; 24];
    for symbol in symbols {
        symbol_table.extend(name(&mut names, symbol.name).to_ne_bytes());
        symbol_table.extend([symbol.bind.0 << 4 | symbol.kind.0, 0]);
        symbol_table.extend(symbol.section.to_ne_bytes());
        symbol_table.extend(symbol.value.to_ne_bytes());
        symbol_table.extend(symbol.size.to_ne_bytes());
    }
    let strings_index = u32::try_from(sections.len() + 1).unwrap();
    let mut bytes = vec![0; 64];
    let mut headers = vec![0; 64];
    for section in sections {
        add(
            &mut bytes,
            &mut headers,
            section,
            name(&mut names, section.name),
            0,
        );
    }
    let strings = TestSection {
        kind: elf::SHT_STRTAB,
        ..section("", &names)
    };
    add(&mut bytes, &mut headers, &strings, 0, 0);
    let symbols = TestSection {
        kind: elf::SHT_SYMTAB,
        entry_size: 24,
        ..section("", &symbol_table)
    };
    add(&mut bytes, &mut headers, &symbols, 0, strings_index);
    write_header(&mut bytes, headers.len() / 64, strings_index);
    bytes.extend(headers);
    bytes
}

/// The same object, said to come from another machine.
pub(super) fn for_machine(mut bytes: Vec<u8>, machine: elf::Machine) -> Vec<u8> {
    bytes[18..20].copy_from_slice(&machine.0.to_ne_bytes());
    bytes
}

fn name(names: &mut Vec<u8>, name: &str) -> u32 {
    let offset = names.len();
    names.extend(name.as_bytes());
    names.push(0);
    u32::try_from(offset).unwrap()
}

fn add(
    bytes: &mut Vec<u8>,
    headers: &mut Vec<u8>,
    section: &TestSection<'_>,
    name: u32,
    link: u32,
) {
    let flags = if section.executable {
        elf::SHF_EXECINSTR.0
    } else {
        0
    };
    let size = section.size.unwrap_or(section.data.len() as u64);
    headers.extend(name.to_ne_bytes());
    headers.extend(section.kind.0.to_ne_bytes());
    for word in [flags, 0, bytes.len() as u64, size] {
        headers.extend(word.to_ne_bytes());
    }
    headers.extend(link.to_ne_bytes());
    headers.extend(section.target.to_ne_bytes());
    for word in [1, section.entry_size] {
        headers.extend(word.to_ne_bytes());
    }
    bytes.extend(section.data);
}

fn write_header(bytes: &mut [u8], sections: usize, strings: u32) {
    let order = if cfg!(target_endian = "little") {
        elf::ELFDATA2LSB
    } else {
        elf::ELFDATA2MSB
    };
    let headers_start = bytes.len() as u64;
    bytes[..4].copy_from_slice(&elf::ELFMAG);
    bytes[4..7].copy_from_slice(&[elf::ELFCLASS64.0, order.0, elf::EV_CURRENT.0]);
    for (offset, value) in [(16, elf::ET_REL.0), (18, elf::EM_BPF.0), (58, 64)] {
        bytes[offset..offset + 2].copy_from_slice(&value.to_ne_bytes());
    }
    bytes[40..48].copy_from_slice(&headers_start.to_ne_bytes());
    bytes[60..62].copy_from_slice(&u16::try_from(sections).unwrap().to_ne_bytes());
    bytes[62..64].copy_from_slice(&u16::try_from(strings).unwrap().to_ne_bytes());
}

/// Types to build, in the order of their ids, which start at 1.
#[derive(Default)]
pub(super) struct TestTypes {
    words: Vec<u32>,
    strings: Vec<u8>,
}

impl TestTypes {
    /// The offset of a name; an empty one is at 0.
    pub(super) fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let offset = self.strings.len();
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        u32::try_from(offset).unwrap()
    }

    /// One type: name, `BTF_KIND_*`, count, target or size, and the words that follow.
    pub(super) fn add(&mut self, name: &str, kind: u32, count: usize, target: u32, rest: &[u32]) {
        let name = self.name(name);
        let info = kind << 24 | u32::try_from(count).unwrap();
        self.words.extend([name, info, target]);
        self.words.extend(rest);
    }

    /// A structure that has bit fields.
    pub(super) fn add_bit_fields(&mut self, name: &str, count: usize, bytes: u32, rest: &[u32]) {
        let name = self.name(name);
        let info = 1 << 31 | 4 << 24 | u32::try_from(count).unwrap();
        self.words.extend([name, info, bytes]);
        self.words.extend(rest);
    }

    /// The bytes of a `.BTF` section.
    pub(super) fn bytes(mut self) -> Vec<u8> {
        self.name("");
        let types = u32::try_from(self.words.len() * 4).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types, types, strings].iter().chain(&self.words) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(self.strings);
        bytes
    }
}
