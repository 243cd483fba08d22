//! Functions of a program or library by name.
//!
//! Symbols are looked for in `.symtab` and in `.dynsym`: either may be missing, and together they must agree.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use object::Endianness;
use object::elf;
use object::read::ReadRef;
use object::read::elf::Sym;

use super::executable::Executable;
use super::executable::ExecutableError;
use super::executable::entries;
use super::executable::text_at;
use super::versions::Version;
use super::versions::Versions;

/// How many different addresses of one name are kept: enough to say that it is ambiguous.
const MAX_CANDIDATES: usize = 8;

/// Where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// Its size in bytes; 0 when the file does not say.
    pub size: u64,
}

/// Why a function's place is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] ExecutableError),
    /// It has no symbol of a function at all.
    #[error("the file has no symbols: it was stripped")]
    NoSymbols,
    /// There is no function of this name.
    #[error("there is no such function")]
    Unknown,
    /// The file calls it, but another file has it.
    #[error("the function is imported from a library")]
    Imported,
    /// It is chosen when the program starts (`STT_GNU_IFUNC`): the symbol is that of the chooser.
    #[error(
        "its implementation is chosen at run time for the processor (STT_GNU_IFUNC), and has another name"
    )]
    Indirect,
    /// Several functions have the name.
    #[error("the name has {} addresses; name a version (NAME@VERSION) or give an offset", .0.len())]
    Ambiguous(Vec<u64>),
    /// Its bytes are not in this file, as with separate debug information.
    #[error("the function's code at address {0:#x} is not in the file")]
    NotInFile(u64),
}

/// The preference among symbols of one name: the least is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Default,
    OtherVersion,
    Local,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    rank: Rank,
    address: u64,
    size: u64,
    indirect: bool,
}

/// One name that is looked for, and what was found.
struct Wanted<'n> {
    version: Option<&'n [u8]>,
    imported: bool,
    candidates: Vec<Candidate>,
}

/// One symbol of a function, whatever the class of the file.
struct Symbol<'data> {
    name: &'data [u8],
    version: Version<'data>,
    kind: elf::SymbolType,
    local: bool,
    defined: bool,
    address: u64,
    size: u64,
}

impl<'data, R: ReadRef<'data>> Executable<'data, R> {
    /// The place of a function. `NAME@VERSION` and `NAME@@VERSION` ask for one version.
    ///
    /// # Errors
    /// [`FunctionError`] when there is none, or more than one.
    pub fn function(&self, name: &str) -> Result<Function, FunctionError> {
        let mut found = self.functions(&[name])?;
        found.pop().unwrap_or(Err(FunctionError::Unknown))
    }

    /// The places of several functions, in one pass over the symbols.
    ///
    /// # Errors
    /// [`FunctionError`] when no function can be looked for; each function has its own answer.
    pub fn functions(
        &self,
        names: &[&str],
    ) -> Result<Vec<Result<Function, FunctionError>>, FunctionError> {
        let mut by_name = BTreeMap::<&[u8], Vec<usize>>::new();
        let mut wanted = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let (base, version, _) = split_version(name.as_bytes());
            by_name.entry(base).or_default().push(index);
            wanted.push(Wanted {
                version,
                imported: false,
                candidates: Vec::new(),
            });
        }
        let mut any = false;
        self.for_each_symbol(|symbol| {
            any |= symbol.defined;
            for index in by_name.get(symbol.name).into_iter().flatten() {
                if let Some(wanted) = wanted.get_mut(*index) {
                    wanted.consider(symbol);
                }
            }
        })?;
        let decide = |wanted| match self.decide(wanted) {
            Err(FunctionError::Unknown) if !any => Err(FunctionError::NoSymbols),
            decided => decided,
        };
        Ok(wanted.iter().map(decide).collect())
    }

    /// Calls `visit` with the name of every function, without versions, some of them twice.
    ///
    /// # Errors
    /// [`ExecutableError`] when the symbols cannot be read.
    pub fn for_each_function(&self, mut visit: impl FnMut(&str)) -> Result<(), ExecutableError> {
        self.for_each_symbol(|symbol| {
            let name = core::str::from_utf8(symbol.name);
            if let Some(name) = name.ok().filter(|name| symbol.defined && !name.is_empty()) {
                visit(name);
            }
        })
    }

    fn decide(&self, wanted: &Wanted<'_>) -> Result<Function, FunctionError> {
        let best = wanted
            .candidates
            .iter()
            .map(|candidate| candidate.rank)
            .min();
        let mut best = wanted
            .candidates
            .iter()
            .filter(|candidate| Some(candidate.rank) == best);
        let candidate = match (best.next(), best.next()) {
            (Some(one), None) => one,
            (Some(first), Some(second)) => {
                let mut addresses = vec![first.address, second.address];
                addresses.extend(best.map(|candidate| candidate.address));
                addresses.sort_unstable();
                return Err(FunctionError::Ambiguous(addresses));
            }
            (None, _) if wanted.imported => return Err(FunctionError::Imported),
            (None, _) => return Err(FunctionError::Unknown),
        };
        if candidate.indirect {
            return Err(FunctionError::Indirect);
        }
        match self.place(candidate.address) {
            Some(place) => Ok(Function {
                offset: place.offset,
                size: candidate.size,
            }),
            None => Err(FunctionError::NotInFile(candidate.address)),
        }
    }

    fn for_each_symbol(
        &self,
        mut visit: impl FnMut(&Symbol<'data>),
    ) -> Result<(), ExecutableError> {
        let of_kind = |kind| self.sections.iter().find(|section| section.kind == kind);
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let Some(section) = of_kind(kind) else {
                continue;
            };
            let table = self.bytes(section, "symbols")?;
            let strings = usize::try_from(section.link).ok();
            let strings = strings
                .and_then(|index| self.sections.get(index))
                .ok_or(ExecutableError::Damaged("symbols without names"))?;
            let strings = self.bytes(strings, "names of symbols")?;
            let versions = if kind == elf::SHT_DYNSYM {
                Versions::read(self)?
            } else {
                Versions::default()
            };
            if self.wide {
                self.visit_table::<elf::Sym64<_>>(table, strings, &versions, &mut visit);
            } else {
                self.visit_table::<elf::Sym32<_>>(table, strings, &versions, &mut visit);
            }
        }
        Ok(())
    }

    fn visit_table<S: Sym<Endian = Endianness>>(
        &self,
        table: &'data [u8],
        strings: &'data [u8],
        versions: &Versions<'data>,
        visit: &mut impl FnMut(&Symbol<'data>),
    ) {
        for (index, raw) in entries::<S>(table).iter().enumerate() {
            let Some(mut symbol) = self.symbol(raw, strings) else {
                continue;
            };
            if symbol.version.name.is_none() {
                symbol.version = versions.of(index);
            }
            visit(&symbol);
        }
    }

    /// A symbol of a function; `None` for others, and for those whose name cannot be read.
    fn symbol<S: Sym<Endian = Endianness>>(
        &self,
        raw: &S,
        strings: &'data [u8],
    ) -> Option<Symbol<'data>> {
        let kind = raw.st_type();
        if kind != elf::STT_FUNC && kind != elf::STT_GNU_IFUNC {
            return None;
        }
        let name = text_at(strings, raw.st_name(self.endian))?;
        let (name, version, default) = split_version(name);
        let address: u64 = raw.st_value(self.endian).into();
        // Bit 0 says that the code is Thumb.
        let thumb = u64::from(self.machine == elf::EM_ARM);
        Some(Symbol {
            name,
            version: Version {
                name: version,
                hidden: version.is_some() && !default,
            },
            kind,
            local: raw.st_bind() == elf::STB_LOCAL,
            defined: !raw.is_undefined(self.endian),
            address: address & !thumb,
            size: raw.st_size(self.endian).into(),
        })
    }
}

impl Wanted<'_> {
    fn consider(&mut self, symbol: &Symbol<'_>) {
        if self.version.is_some() && self.version != symbol.version.name {
            return;
        }
        if !symbol.defined {
            self.imported = true;
            return;
        }
        let candidate = Candidate {
            rank: match (symbol.local, symbol.version.hidden) {
                (true, _) => Rank::Local,
                (false, true) => Rank::OtherVersion,
                (false, false) => Rank::Default,
            },
            address: symbol.address,
            size: symbol.size,
            indirect: symbol.kind == elf::STT_GNU_IFUNC,
        };
        let mut known = self.candidates.iter_mut();
        match known.find(|known| known.address == candidate.address) {
            Some(known) if candidate.rank < known.rank => *known = candidate,
            Some(_) => {}
            // A better one finds a place however many others came before.
            None => {
                self.candidates.push(candidate);
                self.candidates.sort_by_key(|candidate| candidate.rank);
                self.candidates.truncate(MAX_CANDIDATES);
            }
        }
    }
}

/// Name, version, and whether the version is the default one: `NAME@VERSION` or `NAME@@VERSION`, as linkers write.
fn split_version(name: &[u8]) -> (&[u8], Option<&[u8]>, bool) {
    // A name may start with `@`, as some Pascal compilers have it.
    let Some(at) = name.iter().skip(1).position(|byte| *byte == b'@') else {
        return (name, None, false);
    };
    let (base, version) = name.split_at(at + 1);
    match version.strip_prefix(b"@@") {
        Some(version) => (base, Some(version), true),
        None => (base, version.strip_prefix(b"@"), false),
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use object::elf::STB_GLOBAL;
    use object::elf::STB_LOCAL;
    use object::elf::STB_WEAK;

    use super::super::testing::CODE_ADDRESS;
    use super::super::testing::CODE_OFFSET;
    use super::super::testing::TestFile;
    use super::super::testing::TestSymbol;
    use super::super::testing::function;
    use super::*;

    fn found(offset: u64) -> Result<Function, FunctionError> {
        Ok(Function {
            offset: CODE_OFFSET + offset,
            size: 16,
        })
    }

    fn at(name: &'static str, bind: elf::SymbolBind, inside: u64) -> TestSymbol {
        function(name, bind, CODE_ADDRESS + inside)
    }

    fn look_up(file: &TestFile, name: &str) -> Result<Function, FunctionError> {
        let bytes = file.build();
        Executable::parse(bytes.as_slice()).unwrap().function(name)
    }

    #[test]
    fn a_function_is_found_in_either_table_class_and_byte_order() {
        for (wide, big) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut file = TestFile {
                wide,
                big,
                ..TestFile::default()
            };
            file.symtab = [at("static_one", STB_LOCAL, 4), at("both", STB_GLOBAL, 8)].to_vec();
            file.dynsym = [at("both", STB_GLOBAL, 8), at("weak", STB_WEAK, 12)].to_vec();
            for (name, inside) in [("static_one", 4), ("both", 8), ("weak", 12)] {
                assert_eq!(look_up(&file, name), found(inside), "{name} {wide} {big}");
            }
            assert_eq!(look_up(&file, "other"), Err(FunctionError::Unknown));
        }
    }

    #[test]
    fn of_several_versions_the_default_one_or_the_named_one_is_taken() {
        let file = TestFile {
            dynsym: [
                at("copy", STB_GLOBAL, 0),
                at("copy", STB_GLOBAL, 16),
                at("old", STB_GLOBAL, 32),
                at("old", STB_GLOBAL, 48),
            ]
            .to_vec(),
            versym: [0x8002, 3, 0x8002, 0x8003].to_vec(),
            versions: ["V1", "V2"].to_vec(),
            ..TestFile::default()
        };
        assert_eq!(look_up(&file, "copy"), found(16));
        assert_eq!(look_up(&file, "copy@V1"), found(0));
        assert_eq!(look_up(&file, "copy@V2"), found(16));
        assert_eq!(look_up(&file, "copy@@V2"), found(16));
        assert_eq!(look_up(&file, "copy@V3"), Err(FunctionError::Unknown));
        let both = [32, 48].map(|inside| CODE_ADDRESS + inside).to_vec();
        assert_eq!(look_up(&file, "old"), Err(FunctionError::Ambiguous(both)));
        assert_eq!(look_up(&file, "old@V2"), found(48));
    }

    #[test]
    fn versions_that_are_part_of_a_name_are_understood() {
        let symtab = [
            at("f@V1", STB_GLOBAL, 0),
            at("f@@V2", STB_GLOBAL, 16),
            at("@odd", STB_GLOBAL, 32),
        ];
        let file = TestFile {
            symtab: symtab.to_vec(),
            ..TestFile::default()
        };
        assert_eq!(look_up(&file, "f"), found(16));
        assert_eq!(look_up(&file, "f@V1"), found(0));
        assert_eq!(look_up(&file, "@odd"), found(32));
    }

    #[test]
    fn a_global_function_goes_before_local_ones_which_are_ambiguous_among_themselves() {
        let mut symtab = (0..20).map(|i| at("f", STB_LOCAL, i)).collect::<Vec<_>>();
        let mut file = TestFile {
            symtab: symtab.clone(),
            ..TestFile::default()
        };
        assert!(
            matches!(look_up(&file, "f"), Err(FunctionError::Ambiguous(all)) if all.len() == MAX_CANDIDATES)
        );
        symtab.push(at("f", STB_GLOBAL, 64));
        file.symtab = symtab;
        assert_eq!(look_up(&file, "f"), found(64));
    }

    #[test]
    fn what_cannot_be_probed_is_refused_with_its_reason() {
        let mut file = TestFile {
            dynsym: [
                ("chosen", elf::STT_GNU_IFUNC, STB_GLOBAL, 1, CODE_ADDRESS),
                ("imported", elf::STT_FUNC, STB_GLOBAL, 0, 0),
                ("variable", elf::STT_OBJECT, STB_GLOBAL, 1, CODE_ADDRESS),
                function("elsewhere", STB_GLOBAL, 0x9000),
            ]
            .to_vec(),
            ..TestFile::default()
        };
        let table = [
            ("chosen", FunctionError::Indirect),
            ("imported", FunctionError::Imported),
            ("variable", FunctionError::Unknown),
            ("", FunctionError::Unknown),
            ("elsewhere", FunctionError::NotInFile(0x9000)),
        ];
        for (name, error) in table {
            assert_eq!(look_up(&file, name), Err(error), "{name}");
        }
        file.dynsym.clear();
        assert_eq!(look_up(&file, "chosen"), Err(FunctionError::NoSymbols));
    }

    #[test]
    fn several_functions_each_have_their_answer() {
        let file = TestFile {
            symtab: [at("a", STB_GLOBAL, 0), at("b", STB_GLOBAL, 8)].to_vec(),
            ..TestFile::default()
        };
        let bytes = file.build();
        let file = Executable::parse(bytes.as_slice()).unwrap();
        let all = file.functions(&["b", "none", "a", "b"]).unwrap();
        assert_eq!(
            all,
            [found(8), Err(FunctionError::Unknown), found(0), found(8)]
        );
        let mut names = Vec::new();
        file.for_each_function(|name| names.push(name.to_owned()))
            .unwrap();
        assert_eq!(names, ["a", "b"]);
    }
}
