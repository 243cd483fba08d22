//! What the functions of an object refer to: other functions, maps, and symbols that it leaves to the kernel.
//!
//! As libbpf 1.7 resolves relocations (`bpf_program__record_reloc`, `bpf_object__reloc_code`,
//! `bpf_object__collect_map_relos`), so that what nobody named is known, and need not be there.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use object::elf;
use serde::Deserialize;
use serde::Serialize;

use super::Extern;
use super::ExternKind;
use super::ObjectError;
use super::btf;
use super::image::Relocation;
use super::image::Symbol;
use super::parts::INSTRUCTION_BYTES;
use super::parts::Parts;
use super::parts::Place;
use super::parts::Role;
use super::parts::at_or_before;
use super::parts::last;
use super::parts::variables;

/// The most relocations of one object that are followed, and the most instructions that are looked at; the largest
/// objects in use have some ten thousand of the one, and some hundred thousand of the other. Beyond it everything counts
/// as reached.
const MAX_RELOCATIONS: usize = 1 << 18;
const MAX_INSTRUCTIONS: usize = 1 << 22;
/// `BPF_JMP | BPF_CALL` of `linux/bpf.h`.
pub(super) const CALL: u8 = 0x85;
/// `BPF_PSEUDO_CALL`: the source register of a call of another function.
const PSEUDO_CALL: u8 = 1;
/// How BTF tags a program with the function that is called when it throws.
const EXCEPTION_CALLBACK: &[u8] = b"\0exception_callback:";

/// The references of an object. Numbers are places in its own lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct References {
    /// Its functions, programs or not.
    pub functions: Vec<Function>,
    /// Its maps in `.maps`.
    pub maps: Vec<Map>,
    /// The symbols that it does not define.
    pub externs: Vec<Extern>,
    /// Whether something refers to what is not known here: then nothing counts as out of reach.
    pub incomplete: bool,
}

/// A function, and what it refers to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name, when it is a program.
    pub program: Option<String>,
    /// The functions that it calls, or takes the address of.
    pub functions: BTreeSet<usize>,
    /// The maps that it uses.
    pub maps: BTreeSet<usize>,
    /// The symbols that it uses.
    pub externs: BTreeSet<usize>,
}

/// A map, and what its declaration puts into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// Its name.
    pub name: String,
    /// The programs in it.
    pub programs: BTreeSet<usize>,
    /// The maps in it.
    pub maps: BTreeSet<usize>,
}

/// What programs reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Maps by their names.
    pub maps: BTreeSet<String>,
    /// Symbols by their numbers in [`References::externs`].
    pub externs: BTreeSet<usize>,
    /// Other programs that program arrays hold, by name, with one such array.
    pub held: BTreeMap<String, String>,
}

impl References {
    /// What these programs reach: through the functions that they call, and through what their maps hold.
    #[must_use]
    pub fn reach(&self, programs: &[&str]) -> Reach {
        let mut reach = Reach::default();
        let named = |function: &Function| {
            let name = function.program.as_deref();
            name.is_some_and(|name| programs.contains(&name))
        };
        let mut seen = BTreeSet::new();
        let numbered = self.functions.iter().enumerate();
        let mut functions: Vec<usize> = numbered
            .filter(|(_, function)| named(function))
            .map(|(number, _)| number)
            .collect();
        let mut maps_seen = BTreeSet::new();
        let mut maps: Vec<usize> = Vec::new();
        // Each function and each map is taken once.
        loop {
            if let Some(number) = functions.pop() {
                let Some(function) = self.functions.get(number).filter(|_| seen.insert(number))
                else {
                    continue;
                };
                functions.extend(&function.functions);
                maps.extend(&function.maps);
                reach.externs.extend(&function.externs);
            } else if let Some(number) = maps.pop() {
                let Some(map) = self.maps.get(number).filter(|_| maps_seen.insert(number)) else {
                    continue;
                };
                reach.maps.insert(map.name.clone());
                maps.extend(&map.maps);
                functions.extend(&map.programs);
                for number in &map.programs {
                    let held = self.functions.get(*number).and_then(|f| f.program.as_ref());
                    if let Some(name) = held.filter(|name| !programs.contains(&name.as_str())) {
                        let array = || map.name.clone();
                        reach.held.entry(name.clone()).or_insert_with(array);
                    }
                }
            } else {
                return reach;
            }
        }
    }

    /// The program arrays that these programs reach and that hold programs from the start.
    #[must_use]
    pub fn filled_arrays(&self, programs: &[&str]) -> Vec<String> {
        let reached = self.reach(programs).maps;
        let arrays = self.maps.iter().filter(|map| !map.programs.is_empty());
        let arrays = arrays.filter(|map| reached.contains(&map.name));
        arrays.map(|map| map.name.clone()).collect()
    }
}

/// Reads the references of an object. What libbpf would refuse is left to it.
///
/// # Errors
/// [`ObjectError`] when a name cannot be read.
pub(super) fn references(parts: &Parts<'_>) -> Result<References, ObjectError> {
    let mut reader = Reader::new(parts)?;
    let sections = parts.image.sections.iter();
    for section in sections.filter(|section| section.kind == elf::SHT_REL && !section.ignored()) {
        let Ok(relocations) = section.relocations() else {
            reader.found.incomplete = true;
            continue;
        };
        for relocation in relocations {
            match parts.roles.get(section.target) {
                _ if !reader.may_go_on(MAX_RELOCATIONS) => break,
                Some(Role::Programs | Role::Subprograms) => {
                    reader.in_code(section.target, &relocation);
                }
                Some(Role::Maps) => reader.in_map(section.target, &relocation),
                _ => {}
            }
        }
    }
    reader.calls_without_relocation();
    Ok(reader.found)
}

struct Reader<'p, 'a> {
    parts: &'p Parts<'a>,
    function_at: BTreeMap<Place, (usize, u64)>,
    map_at: BTreeMap<Place, (usize, u64)>,
    extern_of: BTreeMap<u32, usize>,
    relocated: BTreeSet<Place>,
    text: Option<usize>,
    steps: usize,
    found: References,
}

impl<'p, 'a> Reader<'p, 'a> {
    fn new(parts: &'p Parts<'a>) -> Result<Self, ObjectError> {
        let mut found = References::default();
        let mut function_at = BTreeMap::new();
        for (number, function) in parts.functions.iter().enumerate() {
            found.functions.push(Function {
                program: function.entry.then(|| function.name.to_owned()),
                ..Function::default()
            });
            function_at
                .entry(function.place)
                .or_insert((number, function.size));
        }
        let mut map_at = BTreeMap::new();
        for symbol in variables(&parts.image, &parts.roles, Role::Maps) {
            let place = (symbol.section, symbol.value);
            map_at
                .entry(place)
                .or_insert((found.maps.len(), symbol.size));
            found.maps.push(Map {
                name: parts.image.symbol_name(&symbol)?.to_owned(),
                ..Map::default()
            });
        }
        let mut extern_of = BTreeMap::new();
        for (index, declared) in externs(parts)? {
            extern_of.insert(index, found.externs.len());
            found.externs.push(declared);
        }
        let types = last(&parts.image, &parts.roles, Role::Types).map(|section| section.data);
        let throws = types.is_some_and(|types| {
            let mut windows = types.windows(EXCEPTION_CALLBACK.len());
            windows.any(|window| window == EXCEPTION_CALLBACK)
        });
        found.incomplete = throws;
        Ok(Self {
            parts,
            function_at,
            map_at,
            extern_of,
            relocated: BTreeSet::new(),
            text: parts
                .roles
                .iter()
                .position(|role| *role == Role::Subprograms),
            steps: 0,
            found,
        })
    }

    /// Counts a step; from the last one on everything counts as reached.
    fn may_go_on(&mut self, limit: usize) -> bool {
        self.steps += 1;
        self.found.incomplete |= self.steps > limit;
        self.steps <= limit
    }

    /// A relocation of an instruction.
    fn in_code(&mut self, section: usize, relocation: &Relocation) {
        let place = (section, relocation.offset);
        self.relocated.insert(place);
        let Some(from) = within(&self.function_at, place) else {
            return;
        };
        let Some(symbol) = self.parts.image.symbol(relocation.symbol) else {
            return;
        };
        if let Some(number) = self.extern_of.get(&relocation.symbol) {
            self.found.functions[from].externs.insert(*number);
            return;
        }
        match self.parts.roles.get(symbol.section) {
            Some(Role::Subprograms) => {
                let to = self.target(place, &symbol);
                match to.and_then(|to| within(&self.function_at, (symbol.section, to))) {
                    Some(to) => drop(self.found.functions[from].functions.insert(to)),
                    None => self.found.incomplete = true,
                }
            }
            Some(Role::Maps) => match self.map_at.get(&(symbol.section, symbol.value)) {
                Some((map, _)) => drop(self.found.functions[from].maps.insert(*map)),
                None => self.found.incomplete = true,
            },
            // The map of a data section is always made.
            Some(Role::Data) => {}
            _ => self.found.incomplete = true,
        }
    }

    /// The byte in `.text` that an instruction refers to by a symbol: a call counts instructions from the one behind it,
    /// an address bytes.
    fn target(&self, place: Place, symbol: &Symbol) -> Option<u64> {
        let (code, _, immediate) = self.instruction(place)?;
        let immediate = i64::from(immediate);
        let bytes = match code == CALL {
            true => immediate
                .checked_add(1)?
                .checked_mul(INSTRUCTION_BYTES.cast_signed())?,
            false => immediate,
        };
        symbol.value.checked_add_signed(bytes)
    }

    /// Code, source register and immediate of an instruction: `struct bpf_insn` of `linux/bpf.h`.
    fn instruction(&self, place: Place) -> Option<(u8, u8, i32)> {
        let section = self.parts.image.sections.get(place.0)?;
        let start = usize::try_from(place.1).ok()?;
        let bytes = section.data.get(start..)?.first_chunk::<8>()?;
        let [code, registers, _, _, immediate @ ..] = *bytes;
        let source = match cfg!(target_endian = "little") {
            true => registers >> 4,
            false => registers & 0xf,
        };
        Some((code, source, i32::from_ne_bytes(immediate)))
    }

    /// A relocation of the declaration of a map: what is in it from the start.
    fn in_map(&mut self, section: usize, relocation: &Relocation) {
        let holder = within(&self.map_at, (section, relocation.offset));
        let symbol = self.parts.image.symbol(relocation.symbol);
        let (Some(holder), Some(symbol)) = (holder, symbol) else {
            return;
        };
        let place = (symbol.section, symbol.value);
        match self.parts.roles.get(symbol.section) {
            Some(Role::Programs) => {
                if let Some((program, _)) = self.function_at.get(&place) {
                    self.found.maps[holder].programs.insert(*program);
                }
            }
            Some(Role::Maps) => {
                if let Some((map, _)) = self.map_at.get(&place) {
                    self.found.maps[holder].maps.insert(*map);
                }
            }
            _ => {}
        }
    }

    /// Calls inside a section need no relocation when they are of a static function.
    fn calls_without_relocation(&mut self) {
        let Some(text) = self.text else { return };
        for (from, function) in self.parts.functions.iter().enumerate() {
            let (section, start) = function.place;
            let mut at = start;
            while at - start < function.size {
                if !self.may_go_on(MAX_INSTRUCTIONS) {
                    return;
                }
                let place = (section, at);
                at += INSTRUCTION_BYTES;
                let Some((CALL, PSEUDO_CALL, immediate)) = self.instruction(place) else {
                    continue;
                };
                if self.relocated.contains(&place) {
                    continue;
                }
                let bytes = i64::from(immediate).saturating_mul(INSTRUCTION_BYTES.cast_signed());
                let to = at.checked_add_signed(bytes);
                match to.and_then(|to| within(&self.function_at, (text, to))) {
                    Some(to) => drop(self.found.functions[from].functions.insert(to)),
                    None => self.found.incomplete = true,
                }
            }
        }
    }
}

/// What a place lies in.
fn within(map: &BTreeMap<Place, (usize, u64)>, place: Place) -> Option<usize> {
    let (start, (number, size)) = at_or_before(map, place)?;
    (place.1 - start.1 < *size).then_some(*number)
}

/// The symbols that the object does not define, with their indexes (`sym_is_extern` of libbpf).
pub(super) fn externs(parts: &Parts<'_>) -> Result<Vec<(u32, Extern)>, ObjectError> {
    let types = last(&parts.image, &parts.roles, Role::Types);
    // Types that cannot be read declare nothing.
    let declared = types.and_then(|types| btf::extern_declarations(types.data).ok());
    let declared = declared.unwrap_or_default();
    let mut found = Vec::new();
    for (index, symbol) in (0..).zip(parts.image.symbols()) {
        if symbol.section != 0 || symbol.local || symbol.kind != elf::STT_NOTYPE {
            continue;
        }
        let name = parts.image.symbol_name(&symbol)?;
        if name.is_empty() {
            continue;
        }
        let kind = declared.get(name).copied();
        found.push((
            index,
            Extern {
                name: name.to_owned(),
                weak: symbol.weak,
                kind: kind.unwrap_or(ExternKind::Undefined),
            },
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::super::ConfigurationKind;
    use super::super::inspect;
    use super::super::prune;
    use super::super::testing::REFERENCES;
    use super::*;

    /// A symbol: its name, who defines it, and whether it is weak.
    type Named<'a> = (&'a str, ExternKind, bool);

    fn found() -> References {
        inspect(REFERENCES).unwrap().references
    }

    fn maps(programs: &[&str]) -> Vec<String> {
        found().reach(programs).maps.into_iter().collect()
    }

    fn externs(program: &str) -> Vec<(String, ExternKind, bool)> {
        let references = found();
        let reached = references.reach(&[program]).externs;
        let named = reached.into_iter().map(|at| &references.externs[at]);
        named.map(|s| (s.name.clone(), s.kind, s.weak)).collect()
    }

    #[test]
    fn a_program_reaches_maps_through_subprograms_callbacks_maps_and_arrays() {
        let table: [(&str, &[&str]); 7] = [
            ("plain", &["direct"]),
            ("through", &["by_callback", "by_subprogram"]),
            ("nested", &["inner", "outer"]),
            ("root", &["by_leaf", "further", "jumps"]),
            ("leaf", &["by_leaf", "further"]),
            ("twig", &[]),
            ("no such program", &[]),
        ];
        assert!(!found().incomplete);
        for (program, expected) in table {
            assert_eq!(maps(&[program]), expected, "{program}");
        }
        assert_eq!(maps(&["plain", "leaf"]), ["by_leaf", "direct", "further"]);
    }

    #[test]
    fn arrays_hold_what_nobody_named() {
        let held = |programs: &[&str]| found().reach(programs).held;
        let of = |pairs: &[(&str, &str)]| {
            let pair = |(name, array): &(&str, &str)| (name.to_string(), array.to_string());
            pairs.iter().map(pair).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(
            held(&["root"]),
            of(&[("leaf", "jumps"), ("twig", "further")])
        );
        assert_eq!(held(&["root", "leaf"]), of(&[("twig", "further")]));
        assert_eq!(held(&["root", "leaf", "twig"]), of(&[]));
        assert_eq!(held(&["plain"]), of(&[]));
    }

    #[test]
    fn symbols_are_of_the_kernel_its_configuration_or_nobody() {
        use ConfigurationKind as C;
        use ExternKind as E;
        let table: [(&str, &[Named<'_>]); 6] = [
            ("plain", &[]),
            (
                "function",
                &[
                    ("no_kernel_function", E::Function, false),
                    ("maybe_function", E::Function, true),
                ],
            ),
            (
                "variable",
                &[
                    ("no_kernel_variable", E::Variable, false),
                    ("no_kernel_address", E::Address, false),
                ],
            ),
            (
                "number",
                &[("CONFIG_NO_NUMBER", E::Configuration(C::Number), false)],
            ),
            (
                "choice",
                &[
                    ("CONFIG_NO_TEXT", E::Configuration(C::Text), false),
                    ("CONFIG_NO_CHOICE", E::Configuration(C::Choice), false),
                ],
            ),
            ("undefined", &[("nobodys_function", E::Undefined, false)]),
        ];
        for (program, expected) in table {
            let expected = expected
                .iter()
                .map(|(name, kind, weak)| (name.to_string(), *kind, *weak));
            assert_eq!(externs(program), expected.collect::<Vec<_>>(), "{program}");
        }
    }

    #[test]
    fn what_is_pruned_is_needed_no_more_and_the_rest_is_as_it_was() {
        let symbols = ["no_kernel_function", "CONFIG_NO_TEXT", "nobodys_function"];
        let symbols = symbols.map(ToString::to_string);
        let pruned = prune(REFERENCES, &symbols, &["jumps".to_owned()]).unwrap();
        assert_eq!(pruned.bytes.len(), REFERENCES.len());
        assert_eq!(pruned.configuration, "CONFIG_NO_TEXT=\"\"\n");
        let (before, after) = (found(), inspect(&pruned.bytes).unwrap().references);
        let strong = |references: &References| {
            let strong = references.externs.iter().filter(|symbol| !symbol.weak);
            strong.map(|symbol| symbol.name.clone()).collect::<Vec<_>>()
        };
        let mut expected = strong(&before);
        expected.retain(|name| !symbols.contains(name));
        assert_eq!(strong(&after), expected);
        let undefined = |references: &References| {
            references
                .externs
                .iter()
                .any(|symbol| symbol.kind == ExternKind::Undefined)
        };
        assert!(undefined(&before) && !undefined(&after));
        for (map, pruned) in before.maps.iter().zip(&after.maps) {
            match map.name.as_str() {
                "jumps" => assert!(!map.programs.is_empty() && pruned.programs.is_empty()),
                _ => assert_eq!(map, pruned),
            }
        }
    }

    #[test]
    fn an_object_that_nothing_is_pruned_of_stays_as_it_is() {
        let pruned = prune(REFERENCES, &[], &[]).unwrap();
        assert_eq!(pruned.bytes, REFERENCES);
        assert_eq!(pruned.configuration, "");
    }

    /// Any graph: numbers may lead nowhere, and round in circles.
    fn any_references() -> impl Strategy<Value = References> {
        let numbers = || proptest::collection::btree_set(0..8_usize, 0..4);
        let function = (any::<bool>(), numbers(), numbers(), numbers());
        let map = (numbers(), numbers());
        let functions = proptest::collection::vec(function, 0..8);
        let maps = proptest::collection::vec(map, 0..8);
        (functions, maps).prop_map(|(functions, maps)| References {
            functions: (0..)
                .zip(functions)
                .map(
                    |(number, (entry, functions, maps, externs)): (usize, _)| Function {
                        program: entry.then(|| number.to_string()),
                        functions,
                        maps,
                        externs,
                    },
                )
                .collect(),
            maps: (0..)
                .zip(maps)
                .map(|(number, (programs, maps)): (usize, _)| Map {
                    name: number.to_string(),
                    programs,
                    maps,
                })
                .collect(),
            externs: vec![],
            incomplete: false,
        })
    }

    proptest! {
        /// With what arrays hold named as well, nothing new is reached: a load that takes it along is complete.
        #[test]
        fn what_is_reached_is_closed(
            references in any_references(),
            named in proptest::collection::btree_set(0..8_usize, 0..4),
        ) {
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            let reach = references.reach(&named);
            let held = reach.held.keys().map(String::as_str);
            let all: Vec<&str> = named.iter().copied().chain(held).collect();
            let closed = references.reach(&all);
            prop_assert_eq!(&closed.maps, &reach.maps);
            prop_assert_eq!(&closed.externs, &reach.externs);
            prop_assert!(closed.held.is_empty());
            for name in named {
                let own = references.reach(&[name]);
                prop_assert!(own.maps.is_subset(&reach.maps));
                prop_assert!(own.externs.is_subset(&reach.externs));
            }
        }

        #[test]
        fn a_damaged_object_is_pruned_to_its_length_or_refused(
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut object = REFERENCES.to_vec();
            for (place, value) in flips {
                let place = place.index(object.len());
                object[place] = value;
            }
            let symbols = ["no_kernel_function", "CONFIG_NO_TEXT", "nobodys_function"];
            let maps = ["jumps", "outer"].map(ToString::to_string);
            if let Ok(pruned) = prune(&object, &symbols.map(ToString::to_string), &maps) {
                prop_assert_eq!(pruned.bytes.len(), object.len());
                let _ = inspect(&pruned.bytes);
            }
        }
    }
}
