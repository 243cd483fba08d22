//! Types that move from one BTF into another.
//!
//! Format: `linux/btf.h` and `Documentation/bpf/btf.rst` of the kernel.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::MAX_OBJECT_ITEMS;
use super::ObjectError;
use super::btf::Btf;
use super::btf::Type;
use super::btf::damaged;
use super::btf::word;

/// `BTF_KIND_*`.
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCTURE: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;
const VARIABLE: u32 = 14;
const DATA_SECTION: u32 = 15;
const DECLARATION_TAG: u32 = 17;
const ENUM64: u32 = 19;
/// `BTF_FUNC_GLOBAL`, in the low bits of a function's info.
const GLOBAL: u32 = 1;

/// A BTF in the making.
#[derive(Debug, Default)]
pub(crate) struct BtfWriter {
    types: Vec<u8>,
    names: Vec<u8>,
    count: u32,
}

/// The types of an object, out of which global functions are copied.
pub(crate) struct FunctionSource<'a> {
    btf: Btf<'a>,
    /// The tags of declarations, by what they tag: the kernel reads those of a function's parameters.
    tags: BTreeMap<u32, Vec<u32>>,
    /// Where its types went.
    copied: BTreeMap<u32, u32>,
}

impl<'a> FunctionSource<'a> {
    /// Reads the types of an object.
    ///
    /// # Errors
    /// [`ObjectError`] when they cannot be read.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let btf = Btf::parse(bytes, MAX_OBJECT_ITEMS)?;
        let mut tags: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (id, found) in btf.all() {
            if found.number == DECLARATION_TAG {
                tags.entry(found.target).or_default().push(id);
            }
        }
        Ok(Self {
            btf,
            tags,
            copied: BTreeMap::new(),
        })
    }

    /// Whether a type is a function that is global.
    pub(crate) fn is_global_function(&self, id: u32) -> bool {
        let found = self.btf.get(id).ok();
        found.is_some_and(|found| found.number == FUNCTION && found.info & 0xffff == GLOBAL)
    }
}

impl BtfWriter {
    pub(crate) fn new() -> Self {
        let mut writer = Self::default();
        writer.names.push(0);
        writer
    }

    /// Where the name starts.
    pub(crate) fn add_name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let start = length(&self.names);
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        start
    }

    /// Adds a type, `struct btf_type` and what follows it; its id.
    pub(crate) fn add(&mut self, words: &[u32]) -> u32 {
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
        self.types.extend(bytes);
        self.count += 1;
        self.count
    }

    /// Copies a function with all that its type refers to; its new id.
    ///
    /// # Errors
    /// [`ObjectError`] when one of the types cannot be read; what was copied until then does no harm.
    pub(crate) fn copy(
        &mut self,
        source: &mut FunctionSource<'_>,
        function: u32,
    ) -> Result<u32, ObjectError> {
        // All get their numbers before the first is written, for types may go round in circles.
        let mut waiting = Vec::from([function]);
        let mut order = Vec::new();
        let mut numbers = BTreeMap::new();
        while let Some(id) = waiting.pop() {
            if id == 0 || source.copied.contains_key(&id) || numbers.contains_key(&id) {
                continue;
            }
            let number = self.count + length_of(&order) + 1;
            numbers.insert(id, number);
            order.push(id);
            waiting.extend(references(source.btf.get(id)?)?);
            if id == function {
                waiting.extend(source.tags.get(&id).into_iter().flatten());
            }
        }
        let new = |id: u32| match id {
            0 => Some(0),
            id => numbers.get(&id).or(source.copied.get(&id)).copied(),
        };
        let mut written = Vec::new();
        for id in &order {
            written.push(self.translated(&source.btf, source.btf.get(*id)?, &new)?);
        }
        for words in &written {
            self.add(words);
        }
        source.copied.extend(numbers);
        let copied = source.copied.get(&function).copied();
        copied.ok_or(damaged("a type that is referred to is not there"))
    }

    /// A type as it is written here.
    fn translated(
        &mut self,
        btf: &Btf<'_>,
        found: Type<'_>,
        new: &dyn Fn(u32) -> Option<u32>,
    ) -> Result<Vec<u32>, ObjectError> {
        let missing = || damaged("a type that is referred to is not there");
        let layout = Layout::of(found);
        let name = self.add_name(btf.name(found)?);
        let target = match layout.target_is_type {
            true => new(found.target).ok_or_else(missing)?,
            false => found.target,
        };
        let mut words = Vec::from([name, found.info, target]);
        for (index, _) in found.rest.chunks_exact(4).enumerate() {
            let value = word(found.rest, 4 * index)?;
            let place = index % layout.words;
            words.push(match () {
                () if layout.names.contains(&place) => self.add_name(btf.name_at(value)?),
                () if layout.types.contains(&place) => new(value).ok_or_else(missing)?,
                () => value,
            });
        }
        Ok(words)
    }

    /// What `BPF_BTF_LOAD` takes.
    pub(crate) fn finish(self) -> Vec<u8> {
        const MAGIC: u16 = 0xeb9f;
        const VERSION: u8 = 1;
        const FLAGS: u8 = 0;
        const HEADER_BYTES: u32 = 24;
        let mut btf = Vec::from(MAGIC.to_ne_bytes());
        btf.extend([VERSION, FLAGS]);
        let (types_end, names_len) = (length(&self.types), length(&self.names));
        for word in [HEADER_BYTES, 0, types_end, types_end, names_len] {
            btf.extend(word.to_ne_bytes());
        }
        btf.extend_from_slice(&self.types);
        btf.extend_from_slice(&self.names);
        btf
    }
}

/// What the words of a type are, in groups that repeat behind it.
struct Layout {
    target_is_type: bool,
    /// The words of a group.
    words: usize,
    /// Those of a group that are names, and types.
    names: &'static [usize],
    types: &'static [usize],
}

impl Layout {
    fn of(found: Type<'_>) -> Self {
        let layout = |target_is_type, words, names, types| Self {
            target_is_type,
            words,
            names,
            types,
        };
        match found.number {
            // `struct btf_array`: element, index, length.
            ARRAY => layout(false, 3, &[], &[0, 1]),
            STRUCTURE | UNION => layout(false, 3, &[0], &[1]),
            ENUM => layout(false, 2, &[0], &[]),
            ENUM64 => layout(false, 3, &[0], &[]),
            PROTOTYPE => layout(true, 2, &[0], &[1]),
            // Pointers, functions, tags and those with another name for a type.
            POINTER | 8..=FUNCTION | DECLARATION_TAG | 18 => layout(true, 1, &[], &[]),
            _ => layout(false, 1, &[], &[]),
        }
    }
}

/// The types that one refers to.
fn references(found: Type<'_>) -> Result<Vec<u32>, ObjectError> {
    if matches!(found.number, VARIABLE | DATA_SECTION) {
        return Err(damaged("a function's type leads to a variable"));
    }
    let layout = Layout::of(found);
    let mut all = Vec::from_iter(layout.target_is_type.then_some(found.target));
    for (index, _) in found.rest.chunks_exact(4).enumerate() {
        if layout.types.contains(&(index % layout.words)) {
            all.push(word(found.rest, 4 * index)?);
        }
    }
    Ok(all)
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn length_of(ids: &[u32]) -> u32 {
    u32::try_from(ids.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEGER: u32 = 1 << 24;
    const STATIC: u32 = FUNCTION << 24;

    /// `int f(struct list *first)`, where a list leads to itself, with a tag at its parameter, among other types.
    fn object(linkage: u32) -> Vec<u8> {
        let mut writer = BtfWriter::new();
        let names = [
            "int",
            "other",
            "list",
            "next",
            "first",
            "f",
            "arg:nonnull",
            "value",
        ];
        let [int, other, list, next, first, f, tag, value] =
            names.map(|name| writer.add_name(name));
        writer.add(&[other, INTEGER, 8, 64]);
        writer.add(&[int, INTEGER, 4, 32]);
        writer.add(&[0, PROTOTYPE << 24 | 1, 2, first, 4]);
        writer.add(&[0, POINTER << 24, 5]);
        writer.add(&[list, STRUCTURE << 24 | 2, 16, next, 4, 0, value, 2, 64]);
        writer.add(&[f, STATIC | linkage, 3]);
        writer.add(&[tag, DECLARATION_TAG << 24, 6, 0]);
        writer.finish()
    }

    #[test]
    fn a_function_is_copied_with_all_that_it_needs_and_nothing_else() {
        let object = object(GLOBAL);
        let mut source = FunctionSource::parse(&object).unwrap();
        assert!(source.is_global_function(6));
        assert!(!source.is_global_function(3) && !source.is_global_function(99));
        let mut writer = BtfWriter::new();
        let name = writer.add_name("before");
        writer.add(&[name, INTEGER, 1, 8]);
        let copied = writer.copy(&mut source, 6).unwrap();
        // Twice is once: its types are there already.
        assert_eq!(writer.copy(&mut source, 6).unwrap(), copied);
        let bytes = writer.finish();
        let btf = Btf::parse(&bytes, MAX_OBJECT_ITEMS).unwrap();
        assert_eq!(btf.all().count(), 1 + 6);
        assert!(
            btf.all()
                .all(|(_, found)| btf.name(found).unwrap() != "other")
        );
        let function = btf.get(copied).unwrap();
        assert_eq!(btf.name(function).unwrap(), "f");
        assert_eq!(function.info, STATIC | GLOBAL);
        let prototype = btf.get(function.target).unwrap();
        assert_eq!(btf.name(btf.get(prototype.target).unwrap()).unwrap(), "int");
        let parameter = word(prototype.rest, 0).unwrap();
        assert_eq!(btf.name_at(parameter).unwrap(), "first");
        let pointer = word(prototype.rest, 4).unwrap();
        let list = btf.get(btf.get(pointer).unwrap().target).unwrap();
        assert_eq!(btf.name(list).unwrap(), "list");
        assert_eq!(word(list.rest, 4).unwrap(), pointer, "it leads to itself");
        let mut all = btf.all();
        let tag = all
            .find(|(_, found)| found.number == DECLARATION_TAG)
            .unwrap()
            .1;
        assert_eq!(
            (btf.name(tag).unwrap(), tag.target),
            ("arg:nonnull", copied)
        );
    }

    #[test]
    fn what_is_static_or_damaged_is_not_copied() {
        let object = object(0);
        assert!(
            !FunctionSource::parse(&object)
                .unwrap()
                .is_global_function(6)
        );
        let mut damaged = BtfWriter::new();
        let name = damaged.add_name("f");
        damaged.add(&[name, STATIC | GLOBAL, 9]);
        let damaged = damaged.finish();
        let mut source = FunctionSource::parse(&damaged).unwrap();
        assert!(BtfWriter::new().copy(&mut source, 1).is_err());
    }
}
