//! The types of legacy maps, as clang writes those of `struct { __uint(type, ...); } map SEC(".maps")`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::MAX_OBJECT_ITEMS;
use super::ObjectError;
use super::btf;
use super::btf::Btf;
use super::btf::Kind;
use super::btf::POINTER_BYTES;
use super::names::is_name;
use super::names::name_at;

/// `BTF_KIND_*` of `linux/btf.h`.
const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const VARIABLE: u32 = 14;
const DATA_SECTION: u32 = 15;
/// `BTF_VAR_GLOBAL_ALLOCATED`.
const GLOBAL: u32 = 1;
/// An integer of 8 bits: of larger ones, an array as long as a large map would be larger than the kernel takes.
const BYTE_BITS: u32 = 8;
/// The header that is written: `struct btf_header`.
const HEADER_BYTES: u32 = 24;

/// What a map takes in `.maps`: a pointer for each of type, key size, value size, entries and flags.
pub(super) const DECLARATION_BYTES: u64 = 5 * POINTER_BYTES;

/// One map of a legacy section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LegacyMap {
    pub(super) name: String,
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
    /// The symbols that stand for it: one, unless it has aliases.
    pub(super) symbols: Vec<usize>,
    /// Where it was: the index of its section and the offset in it.
    pub(super) place: (usize, u64),
}

/// Adds legacy maps to types; `start` is where the first lies in `.maps`.
///
/// # Errors
/// [`ObjectError`] when the types cannot be read or become too many.
pub(super) fn with_maps(
    old: Option<&[u8]>,
    maps: &[LegacyMap],
    start: usize,
) -> Result<Vec<u8>, ObjectError> {
    let old = match old {
        Some(bytes) => Some((btf::parts(bytes)?, Btf::parse(bytes, MAX_OBJECT_ITEMS)?)),
        None => None,
    };
    let mut types = Types::default();
    let mut declared = None;
    match &old {
        Some(((bodies, strings), _)) => declared = types.copy(bodies, strings)?,
        // Offset 0 is the empty name.
        None => types.strings.push(0),
    }
    let byte = types.byte();
    let mut entries = Vec::new();
    let mut numbers = BTreeMap::new();
    let mut offset = u32::try_from(start).unwrap_or(u32::MAX);
    for map in maps {
        let known = old.as_ref().map(|(_, btf)| btf);
        let variable = types.map(map, byte, &mut numbers, known)?;
        entries.extend([variable, offset, DECLARATION_BYTES as u32]);
        offset = offset.saturating_add(DECLARATION_BYTES as u32);
    }
    match declared {
        Some(section) => types.extend_section(&section, &entries, offset)?,
        None => {
            let name = types.name(".maps");
            let count = count(maps.len())?;
            types.add(name, DATA_SECTION, count, offset, &entries);
        }
    }
    types.bytes()
}

/// The section `.maps` of the old types.
struct Section {
    /// Where in the words it starts.
    at: usize,
    /// Its entries.
    count: u32,
}

/// Types in the making.
#[derive(Default)]
struct Types {
    words: Vec<u32>,
    strings: Vec<u8>,
    count: u32,
}

impl Types {
    /// Takes over all types; in place of the sections that no longer are, pointers to nothing, so that the numbers of
    /// the others stay. Answers where `.maps` is.
    fn copy(&mut self, mut bodies: &[u8], strings: &[u8]) -> Result<Option<Section>, ObjectError> {
        self.strings = strings.to_vec();
        if self.strings.last().is_none_or(|last| *last != 0) {
            self.strings.push(0);
        }
        let mut declared = None;
        while !bodies.is_empty() {
            let (raw, kind, tail) = btf::split_type(bodies)?;
            bodies = tail;
            self.count += 1;
            let words = raw.as_chunks::<4>().0.iter();
            let words: Vec<u32> = words.map(|word| u32::from_ne_bytes(*word)).collect();
            let name = words.first().copied().unwrap_or_default();
            if kind == Kind::DataSection && is_legacy(strings, name) {
                self.words.extend([0, POINTER << 24, 0]);
                continue;
            }
            if kind == Kind::DataSection && is_name(strings, name, ".maps") {
                declared.get_or_insert(Section {
                    at: self.words.len(),
                    count: words.get(1).copied().unwrap_or_default() & 0xffff,
                });
            }
            self.words.extend(words);
        }
        Ok(declared)
    }

    /// Where a name starts.
    fn name(&mut self, name: &str) -> u32 {
        let start = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        start
    }

    /// Adds a type; answers its number.
    fn add(&mut self, name: u32, kind: u32, count: u32, target: u32, rest: &[u32]) -> u32 {
        self.words.extend([name, kind << 24 | count, target]);
        self.words.extend(rest);
        self.count += 1;
        self.count
    }

    fn byte(&mut self) -> u32 {
        let name = self.name("unsigned char");
        self.add(name, INT, 0, 1, &[BYTE_BITS])
    }

    /// Adds the variable of a map.
    fn map(
        &mut self,
        map: &LegacyMap,
        byte: u32,
        numbers: &mut BTreeMap<u32, u32>,
        known: Option<&Btf<'_>>,
    ) -> Result<u32, ObjectError> {
        let annotated = known.and_then(|btf| annotation(btf, map));
        let [key, value] = match annotated {
            Some(types) => types.map(Some),
            None => [None; 2],
        };
        let members = [
            ("type", "type", map.map_type, None),
            ("key_size", "key", map.key_size, key),
            ("value_size", "value", map.value_size, value),
            ("max_entries", "max_entries", map.max_entries, None),
            ("map_flags", "map_flags", map.flags, None),
        ];
        let mut rest = Vec::new();
        let mut bit = 0;
        for (number_name, type_name, number, target) in members {
            let (name, member) = match target {
                Some(target) => (type_name, self.add(0, POINTER, 0, target, &[])),
                None => (number_name, self.number(number, byte, numbers)),
            };
            rest.extend([self.name(name), member, bit]);
            bit += POINTER_BYTES as u32 * 8;
        }
        let count = count(members.len())?;
        let structure = self.add(0, STRUCT, count, DECLARATION_BYTES as u32, &rest);
        let name = self.name(&map.name);
        Ok(self.add(name, VARIABLE, 0, structure, &[GLOBAL]))
    }

    /// What `__uint` declares: a pointer to an array that is as long as the number says.
    fn number(&mut self, number: u32, byte: u32, numbers: &mut BTreeMap<u32, u32>) -> u32 {
        if let Some(known) = numbers.get(&number) {
            return *known;
        }
        let array = self.add(0, ARRAY, 0, 0, &[byte, byte, number]);
        let pointer = self.add(0, POINTER, 0, array, &[]);
        numbers.insert(number, pointer);
        pointer
    }

    /// Adds variables to a section. One without a size is as clang leaves it: libbpf computes sizes and places.
    fn extend_section(
        &mut self,
        section: &Section,
        entries: &[u32],
        end: u32,
    ) -> Result<(), ObjectError> {
        const HEAD: usize = 3;
        const ENTRY: usize = 3;
        let all = count(section.count as usize + entries.len() / ENTRY)?;
        let after = section.at + HEAD + section.count as usize * ENTRY;
        if let Some([_, info, size]) = self.words.get_mut(section.at..section.at + HEAD) {
            *info = DATA_SECTION << 24 | all;
            if *size != 0 {
                *size = end;
            }
        }
        self.words.splice(after..after, entries.iter().copied());
        Ok(())
    }

    /// The bytes of a `.BTF` section.
    fn bytes(mut self) -> Result<Vec<u8>, ObjectError> {
        if self.count as usize > MAX_OBJECT_ITEMS {
            return Err(ObjectError::TooMany {
                what: "types",
                limit: MAX_OBJECT_ITEMS,
            });
        }
        let length = |bytes: usize| u32::try_from(bytes).map_err(|_| btf::CUT);
        let types = length(self.words.len() * 4)?;
        let strings = length(self.strings.len())?;
        let mut bytes = btf::MAGIC.to_ne_bytes().to_vec();
        bytes.extend([btf::VERSION, 0]);
        for word in [HEADER_BYTES, 0, types, types, strings] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(self.words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.append(&mut self.strings);
        Ok(bytes)
    }
}

/// What `vlen` of a type can say.
fn count(items: usize) -> Result<u32, ObjectError> {
    u16::try_from(items)
        .map(u32::from)
        .map_err(|_| super::image::too_many("maps"))
}

fn is_legacy(strings: &[u8], name: u32) -> bool {
    name_at(strings, name).is_ok_and(|name| name == "maps" || name.starts_with("maps/"))
}

/// The types of key and value that `BPF_ANNOTATE_KV_PAIR` of old `bpf_helpers.h` declares, when their sizes agree:
/// maps with locks and timers need them.
fn annotation(btf: &Btf<'_>, map: &LegacyMap) -> Option<[u32; 2]> {
    let (_, structure) = btf.structure(&format!("____btf_map_{}", map.name))?;
    let members: Vec<_> = btf.members(structure).take(2).collect();
    let [Ok(key), Ok(value)] = members.as_slice() else {
        return None;
    };
    let fits = |target, size: u32| btf.bytes_of(target) == Ok(size.into());
    let named = key.name == "key" && value.name == "value";
    let fitting = fits(key.target, map.key_size) && fits(value.target, map.value_size);
    (named && fitting).then_some([key.target, value.target])
}
