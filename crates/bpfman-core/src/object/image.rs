//! An ELF file as sections and symbols, with every range checked against the bytes that are there.
//!
//! Format: `elf.h` (ELF64). What is refused: what `bpf_object__elf_init` of libbpf 1.7 refuses, and what
//! this machine cannot load.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use object::NativeEndian;
use object::elf;
use object::pod;
use object::read::elf::FileHeader;
use object::read::elf::SectionHeader as _;

use super::MAX_OBJECT_ITEMS;
use super::ObjectError;
use super::names::name_at;

pub(super) type Header = elf::FileHeader64<NativeEndian>;
pub(super) type SectionHeader = elf::SectionHeader64<NativeEndian>;
pub(super) type RawSymbol = elf::Sym64<NativeEndian>;
pub(super) type RawRelocation = elf::Rel64<NativeEndian>;

/// The machines that people mistake for BPF: `e_machine` of `elf.h`.
const MACHINES: [(elf::Machine, &str); 9] = [
    (elf::EM_386, "x86"),
    (elf::EM_PPC64, "PowerPC64"),
    (elf::EM_S390, "s390"),
    (elf::EM_ARM, "ARM"),
    (elf::EM_X86_64, "x86-64"),
    (elf::EM_AARCH64, "AArch64"),
    (elf::EM_RISCV, "RISC-V"),
    (elf::EM_LOONGARCH, "LoongArch"),
    (elf::EM_MIPS, "MIPS"),
];

/// SHT_LLVM_ADDRSIG of `llvm/BinaryFormat/ELF.h`.
const SHT_LLVM_ADDRSIG: elf::SectionType = elf::SectionType(0x6fff_4c03);

/// A BPF object of this machine's byte order.
pub(super) struct Image<'a> {
    /// In the order of the section headers, the empty first one included.
    pub(super) sections: Vec<Section<'a>>,
    pub(super) headers: &'a [SectionHeader],
    /// Where in the file the headers are.
    pub(super) headers_at: usize,
    /// The section with the names of sections, and its bytes.
    pub(super) names_index: usize,
    pub(super) names: &'a [u8],
    pub(super) symbols_index: usize,
    pub(super) symbols: &'a [RawSymbol],
    strings: &'a [u8],
}

pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) kind: elf::SectionType,
    pub(super) executable: bool,
    /// The size in memory; a `.bss` has one without holding bytes.
    pub(super) size: u64,
    /// The bytes in the file; not read where [`Section::ignored`].
    pub(super) data: &'a [u8],
    /// Where in the file they are.
    pub(super) at: usize,
    /// The section that relocations apply to (`sh_info`).
    pub(super) target: usize,
    entry_size: u64,
}

pub(super) struct Symbol {
    pub(super) kind: elf::SymbolType,
    pub(super) local: bool,
    pub(super) weak: bool,
    /// The index of its section, or one of `SHN_*`.
    pub(super) section: usize,
    /// Where in the section it starts.
    pub(super) value: u64,
    pub(super) size: u64,
    name: u32,
}

pub(super) struct Relocation {
    /// What it changes, as an offset in the section.
    pub(super) offset: u64,
    /// The index of the symbol that it refers to.
    pub(super) symbol: u32,
}

pub(super) fn damaged(text: impl Into<String>) -> ObjectError {
    ObjectError::Damaged(text.into())
}

impl<'a> Image<'a> {
    /// Reads the headers and finds the symbols.
    ///
    /// # Errors
    /// [`ObjectError`] when it is no BPF object for this machine, is cut or contradicts itself.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let header = header(bytes)?;
        let headers = header
            .section_headers(NativeEndian, bytes)
            .map_err(|_| damaged("the section headers are not in the file"))?;
        if headers.len() > MAX_OBJECT_ITEMS {
            return Err(too_many("sections"));
        }
        let names_index = header
            .section_strings_index(NativeEndian, bytes)
            .map_err(|_| damaged("no section holds the names of the sections"))?
            .0;
        let names = string_table(bytes, headers, names_index)?;
        let sections = headers.iter().map(|header| section(bytes, header, names));
        let sections = sections.collect::<Result<_, _>>()?;
        let (symbols_index, symbols, strings) = symbol_table(bytes, headers)?;
        Ok(Self {
            sections,
            headers,
            headers_at: place(header.e_shoff.get(NativeEndian)),
            names_index,
            names,
            symbols_index,
            symbols,
            strings,
        })
    }

    /// The symbols, in the order of the table.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.symbols.iter().map(symbol)
    }

    /// The symbol with this index.
    pub(super) fn symbol(&self, index: u32) -> Option<Symbol> {
        self.symbols.get(usize::try_from(index).ok()?).map(symbol)
    }

    /// The name of a symbol.
    ///
    /// # Errors
    /// [`ObjectError::Damaged`] when there is none to read.
    pub(super) fn symbol_name(&self, symbol: &Symbol) -> Result<&'a str, ObjectError> {
        name_at(self.strings, symbol.name)
            .map_err(|problem| damaged(format!("the name of a symbol {problem}")))
    }

    /// Refuses a symbol that is not inside its section.
    ///
    /// # Errors
    /// [`ObjectError::Damaged`] with the names.
    pub(super) fn check_bounds(&self, symbol: &Symbol) -> Result<(), ObjectError> {
        let section = self.sections.get(symbol.section);
        let end = symbol.value.checked_add(symbol.size);
        if section.is_some_and(|section| end.is_some_and(|end| end <= section.size)) {
            return Ok(());
        }
        let name = self.symbol_name(symbol)?;
        Err(damaged(format!(
            "symbol `{name}` crosses the end of its section"
        )))
    }
}

impl Section<'_> {
    /// Whether libbpf looks away (`ignore_elf_section`), so that damage there is not our business either.
    pub(super) fn ignored(&self) -> bool {
        let name = self.name.strip_prefix(".rel").unwrap_or(self.name);
        let only_for_debuggers = name.starts_with(".debug_");
        let relocates_types = name != self.name && (name == ".BTF" || name == ".BTF.ext");
        let of_no_use = self.kind == elf::SHT_STRTAB || self.kind == SHT_LLVM_ADDRSIG;
        of_no_use || only_for_debuggers || relocates_types
    }

    /// Its entries, when it is a section of relocations.
    ///
    /// # Errors
    /// [`ObjectError::Damaged`] when they are not of the size of `Elf64_Rel`.
    pub(super) fn relocations(&self) -> Result<impl Iterator<Item = Relocation>, ObjectError> {
        if self.entry_size != size_of::<RawRelocation>() as u64 {
            return Err(damaged(format!(
                "`{}` has entries of another size",
                self.name
            )));
        }
        let relocations = entries::<RawRelocation>(self.data)?.iter();
        Ok(relocations.map(|relocation| Relocation {
            offset: relocation.r_offset.get(NativeEndian),
            symbol: relocation.r_sym(NativeEndian),
        }))
    }
}

/// Checks that this is a BPF object for this machine, and returns its header.
fn header(bytes: &[u8]) -> Result<&Header, ObjectError> {
    // Like libelf: with less than `e_ident` nothing tells what it is.
    if bytes.len() < size_of::<elf::Ident>() || !bytes.starts_with(&elf::ELFMAG) {
        return Err(ObjectError::NotElf);
    }
    let (header, _) =
        pod::from_bytes::<Header>(bytes).map_err(|()| damaged("the ELF header is cut"))?;
    let ident = &header.e_ident;
    check_byte_order(ident.data)?;
    if ident.version != elf::EV_CURRENT {
        return Err(damaged(format!("unknown ELF version {}", ident.version.0)));
    }
    match ident.class {
        elf::ELFCLASS64 => {}
        elf::ELFCLASS32 => return Err(ObjectError::NotBpf("a 32-bit ELF file".into())),
        other => return Err(damaged(format!("unknown ELF class {}", other.0))),
    }
    let machine = header.e_machine.get(NativeEndian);
    // Old compilers left the machine empty; libbpf takes that for BPF.
    if machine != elf::EM_BPF && machine != elf::EM_NONE {
        let known = MACHINES.iter().find(|(number, _)| *number == machine);
        let name = known
            .map(|(_, name)| format!(" ({name})"))
            .unwrap_or_default();
        return Err(ObjectError::NotBpf(format!(
            "an ELF file for machine {}{name}",
            machine.0
        )));
    }
    let what = match header.e_type.get(NativeEndian) {
        elf::ET_REL => return Ok(header),
        elf::ET_EXEC => "a linked ELF executable".into(),
        elf::ET_DYN => "an ELF shared object".into(),
        elf::ET_CORE => "an ELF core dump".into(),
        other => format!("an ELF file of type {}", other.0),
    };
    Err(ObjectError::NotBpf(format!(
        "{what}, not a relocatable object"
    )))
}

fn check_byte_order(found: elf::DataEncoding) -> Result<(), ObjectError> {
    const LITTLE: &str = "ELFDATA2LSB";
    const BIG: &str = "ELFDATA2MSB";
    let expected = if cfg!(target_endian = "little") {
        LITTLE
    } else {
        BIG
    };
    let found = match found {
        elf::ELFDATA2LSB => LITTLE,
        elf::ELFDATA2MSB => BIG,
        other => return Err(damaged(format!("unknown byte order {}", other.0))),
    };
    if found == expected {
        return Ok(());
    }
    Err(ObjectError::WrongByteOrder { found, expected })
}

fn section<'a>(
    bytes: &'a [u8],
    header: &'a SectionHeader,
    names: &'a [u8],
) -> Result<Section<'a>, ObjectError> {
    let name = name_at(names, header.sh_name.get(NativeEndian))
        .map_err(|problem| damaged(format!("the name of a section {problem}")))?;
    let flags = header.sh_flags.get(NativeEndian);
    let mut section = Section {
        name,
        kind: header.sh_type.get(NativeEndian),
        executable: flags.contains(elf::SHF_EXECINSTR),
        size: header.sh_size.get(NativeEndian),
        data: &[],
        at: place(header.sh_offset.get(NativeEndian)),
        target: index(header.sh_info.get(NativeEndian)),
        entry_size: header.sh_entsize.get(NativeEndian),
    };
    if !section.ignored() {
        section.data = data(bytes, header).ok_or_else(|| {
            damaged(format!(
                "section `{name}` goes on after the end of the file"
            ))
        })?;
    }
    Ok(section)
}

/// A place in the file, which may be beyond its end.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// The bytes of a section; `None` when the file ends before.
fn data<'a>(bytes: &'a [u8], header: &SectionHeader) -> Option<&'a [u8]> {
    if header.sh_type.get(NativeEndian) == elf::SHT_NULL {
        return Some(&[]);
    }
    header.data(NativeEndian, bytes).ok()
}

/// The entry of a table that starts at a place of the file.
pub(super) fn entry_mut<T: pod::Pod>(
    bytes: &mut [u8],
    table: usize,
    index: usize,
) -> Option<&mut T> {
    let at = index.checked_mul(size_of::<T>())?.checked_add(table)?;
    let (entry, _) = pod::from_bytes_mut(bytes.get_mut(at..)?).ok()?;
    Some(entry)
}

fn string_table<'a>(
    bytes: &'a [u8],
    headers: &[SectionHeader],
    index: usize,
) -> Result<&'a [u8], ObjectError> {
    let header = headers
        .get(index)
        .filter(|header| header.sh_type.get(NativeEndian) == elf::SHT_STRTAB);
    header
        .and_then(|header| data(bytes, header))
        .ok_or_else(|| damaged(format!("section {index} is not a string table")))
}

fn symbol_table<'a>(
    bytes: &'a [u8],
    headers: &[SectionHeader],
) -> Result<(usize, &'a [RawSymbol], &'a [u8]), ObjectError> {
    let mut tables = headers
        .iter()
        .enumerate()
        .filter(|(_, header)| header.sh_type.get(NativeEndian) == elf::SHT_SYMTAB);
    let (table, header) = tables
        .next()
        .ok_or_else(|| damaged("no symbol table; was it stripped?"))?;
    if tables.next().is_some() {
        return Err(damaged("more than one symbol table"));
    }
    let symbols = data(bytes, header).ok_or_else(|| damaged("the symbol table is cut"))?;
    let symbols = entries::<RawSymbol>(symbols)?;
    if symbols.len() > MAX_OBJECT_ITEMS {
        return Err(too_many("symbols"));
    }
    let strings = string_table(bytes, headers, index(header.sh_link.get(NativeEndian)))?;
    Ok((table, symbols, strings))
}

/// As many whole entries as there are, like libbpf.
fn entries<T: pod::Pod>(data: &[u8]) -> Result<&[T], ObjectError> {
    let entries = pod::slice_from_bytes(data, data.len() / size_of::<T>());
    entries
        .map(|(entries, _)| entries)
        .map_err(|()| damaged("a table is cut"))
}

fn symbol(raw: &RawSymbol) -> Symbol {
    Symbol {
        kind: raw.st_type(),
        local: raw.st_bind() == elf::STB_LOCAL,
        weak: raw.st_bind() == elf::STB_WEAK,
        section: usize::from(raw.st_shndx.get(NativeEndian).0),
        value: raw.st_value.get(NativeEndian),
        size: raw.st_size.get(NativeEndian),
        name: raw.st_name.get(NativeEndian),
    }
}

/// The index that no section has, where the platform cannot count that far.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn too_many(what: &'static str) -> ObjectError {
    ObjectError::TooMany {
        what,
        limit: MAX_OBJECT_ITEMS,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::super::testing::build;
    use super::super::testing::code;
    use super::super::testing::for_machine;
    use super::super::testing::section;
    use super::super::testing::symbol;
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        Image::parse(bytes).map(|_| ()).unwrap_err().to_string()
    }

    /// A good object with some bytes replaced.
    fn patched(offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut object = build(&[code("xdp", &[0; 16])], &[]);
        object[offset..offset + bytes.len()].copy_from_slice(bytes);
        object
    }

    #[test]
    fn what_is_not_elf_is_called_so() {
        for bytes in [
            &b""[..],
            b"\x7fEL",
            b"\x7fELF",
            b"#!/bin/sh\nexit 0\n",
            &[0; 100],
        ] {
            assert_eq!(Image::parse(bytes).err(), Some(ObjectError::NotElf));
        }
    }

    #[test]
    fn the_byte_order_is_checked_before_the_machine() {
        let mut object = for_machine(patched(0, &[]), elf::EM_S390);
        object[5] ^= 3;
        let other = ["ELFDATA2LSB", "ELFDATA2MSB"];
        let (found, expected) = if cfg!(target_endian = "little") {
            (other[1], other[0])
        } else {
            (other[0], other[1])
        };
        assert_eq!(
            Image::parse(&object).err(),
            Some(ObjectError::WrongByteOrder { found, expected })
        );
    }

    #[test]
    fn a_refusal_says_what_was_found() {
        let table = [
            (patched(4, &[1]), "not a BPF object: a 32-bit ELF file"),
            (
                patched(4, &[9]),
                "truncated or damaged ELF file: unknown ELF class 9",
            ),
            (
                patched(5, &[0]),
                "truncated or damaged ELF file: unknown byte order 0",
            ),
            (
                patched(6, &[0]),
                "truncated or damaged ELF file: unknown ELF version 0",
            ),
            (
                patched(16, &2_u16.to_ne_bytes()),
                "not a BPF object: a linked ELF executable, not a relocatable object",
            ),
            (
                patched(18, &62_u16.to_ne_bytes()),
                "not a BPF object: an ELF file for machine 62 (x86-64)",
            ),
            (
                patched(18, &999_u16.to_ne_bytes()),
                "not a BPF object: an ELF file for machine 999",
            ),
            (
                patched(40, &[0xff; 8]),
                "truncated or damaged ELF file: the section headers are not in the file",
            ),
            (
                patched(62, &1_u16.to_ne_bytes()),
                "truncated or damaged ELF file: section 1 is not a string table",
            ),
        ];
        for (object, expected) in table {
            assert_eq!(refusal(&object), expected);
        }
    }

    #[test]
    fn an_object_of_an_old_compiler_without_a_machine_is_read() {
        let image = patched(18, &0_u16.to_ne_bytes());
        assert!(Image::parse(&image).is_ok());
    }

    #[test]
    fn every_cut_of_an_object_is_refused() {
        let object = build(
            &[code("xdp", &[0; 16])],
            &[symbol("pass", elf::STT_FUNC, 1, 0, 16)],
        );
        for end in 0..object.len() {
            assert!(Image::parse(&object[..end]).is_err(), "{end}");
        }
        assert!(Image::parse(&object).is_ok());
    }

    #[test]
    fn a_section_may_end_too_late_only_where_libbpf_looks_away() {
        let table = [
            ("xdp", false),
            (".rodata", false),
            (".debug_info", true),
            (".rel.debug_info", true),
            (".rel.BTF", true),
        ];
        for (name, accepted) in table {
            let mut damaged = section(name, &[]);
            damaged.size = Some(u64::MAX);
            assert_eq!(
                Image::parse(&build(&[damaged], &[])).is_ok(),
                accepted,
                "{name}"
            );
        }
    }

    #[test]
    fn a_section_without_bytes_in_the_file_may_have_any_size() {
        let mut bss = section(".bss", &[]);
        bss.kind = elf::SHT_NOBITS;
        bss.size = Some(u64::MAX);
        assert!(Image::parse(&build(&[bss], &[])).is_ok());
    }

    #[test]
    fn an_object_without_symbols_or_with_two_tables_is_refused() {
        let mut object = build(&[section("x", &[0; 24])], &[]);
        let last_header = object.len() - 64;
        object[last_header + 4] = 1;
        assert!(refusal(&object).ends_with("no symbol table; was it stripped?"));
        let mut second = section("x", &[]);
        second.kind = elf::SHT_SYMTAB;
        assert!(refusal(&build(&[second], &[])).ends_with("more than one symbol table"));
    }

    #[test]
    fn too_many_symbols_are_refused() {
        let symbols = (0..MAX_OBJECT_ITEMS).map(|_| symbol("", elf::STT_NOTYPE, 0, 0, 0));
        let symbols = symbols.collect::<Vec<_>>();
        let limit = MAX_OBJECT_ITEMS;
        assert_eq!(
            Image::parse(&build(&[], &symbols)).err(),
            Some(ObjectError::TooMany {
                what: "symbols",
                limit
            })
        );
        assert!(Image::parse(&build(&[], &symbols[1..])).is_ok());
    }
}
