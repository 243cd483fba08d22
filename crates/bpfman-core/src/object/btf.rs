//! The BPF type format (BTF), and the declarations of maps in it.
//!
//! Format: `linux/btf.h` and `Documentation/bpf/btf.rst` of the kernel. What a declaration means:
//! `bpf_object__init_user_btf_map` and `parse_btf_map_def` of libbpf 1.7. Only the parts that say which
//! maps there are, what they are and whether they are pinned, and what the value of a struct_ops map
//! looks like; the rest is for libbpf to check.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::ConfigurationKind;
use super::ExternKind;
use super::MAX_OBJECT_ITEMS;
use super::ObjectError;
use super::names::is_name;
use super::names::name_at;
use crate::kernel::MapShape;
use crate::kernel::MapType;

pub(super) const MAGIC: u16 = 0xeb9f;
pub(super) const VERSION: u8 = 1;
/// `struct btf_header`: magic, version, flags, its own length, then where types and strings start and how
/// long they are.
const HEADER_BYTES: usize = 24;
/// `struct btf_type`: name, info, and a size or a type.
const TYPE_BYTES: usize = 12;
/// `struct btf_member`: name, type, offset.
const MEMBER_BYTES: usize = 12;
/// `struct btf_var_secinfo`: type, offset, size.
const SECTION_VARIABLE_BYTES: usize = 12;
/// `BTF_MAX_TYPE` of `linux/btf.h`.
pub(super) const MAX_KERNEL_TYPES: usize = 0x000f_ffff;
/// `BTF_KIND_FUNC`.
const FUNCTION: u32 = 12;
/// `BTF_VAR_GLOBAL_ALLOCATED`.
const LINKAGE_GLOBAL: u32 = 1;
/// `LIBBPF_PIN_NONE` and `LIBBPF_PIN_BY_NAME` of `bpf/bpf_helpers.h`.
const PIN_NONE: u32 = 0;
const PIN_BY_NAME: u32 = 1;
/// A map of maps, or of programs, holds numbers.
const VALUES_BYTES: u32 = 4;
const BTF_KIND_ENUM: u32 = 6;
const BTF_KIND_ENUM64: u32 = 19;
/// How many modifiers of one type we skip; the same number as MAX_RESOLVE_DEPTH in libbpf's `btf.c`.
const MAX_DEPTH: usize = 32;

/// A pointer in the memory of a BPF program and, as we read ELF64 only, in that of the kernel.
pub(super) const POINTER_BYTES: u64 = 8;

/// The section of map declarations.
const MAPS: &str = ".maps";

/// One map declared in `.maps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapDeclaration<'a> {
    pub(super) name: &'a str,
    pub(super) definition: Definition,
}

/// What the type of a map says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// `LIBBPF_PIN_*`.
    pub(super) pinning: u32,
    pub(super) shape: MapShape,
    /// Of the maps that a map of maps holds.
    pub(super) inner: Option<MapShape>,
}

impl Definition {
    pub(super) fn pinned_by_name(&self) -> bool {
        self.pinning == PIN_BY_NAME
    }

    /// One that says nothing.
    const EMPTY: Self = Self {
        pinning: PIN_NONE,
        shape: MapShape {
            map_type: MapType(0),
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            flags: 0,
            map_extra: 0,
        },
        inner: None,
    };
}

/// Reads the map declarations out of the bytes of a `.BTF` section, in the order of its `.maps` DATASEC.
///
/// # Errors
/// [`ObjectError::DamagedBtf`] when what leads to the maps cannot be read or is not something libbpf
/// takes; [`ObjectError::TooMany`] for too many types.
pub(super) fn map_declarations(bytes: &[u8]) -> Result<Vec<MapDeclaration<'_>>, ObjectError> {
    let btf = Btf::parse(bytes, MAX_OBJECT_ITEMS)?;
    let mut is_maps = btf
        .types
        .iter()
        .filter(|kind| kind.kind == Kind::DataSection);
    let section = is_maps
        .find(|section| is_name(btf.strings, section.name, MAPS))
        .ok_or(damaged("it does not describe the section of maps"))?;
    // Maps may share a type with many members: each type is read once.
    let mut known = BTreeMap::new();
    let variables = section.rest.chunks_exact(SECTION_VARIABLE_BYTES);
    variables
        .map(|variable| btf.map_declaration(word(variable, 0)?, &mut known))
        .collect()
}

/// The names of functions by their types, out of the kernel's BTF. What is no function there has none.
///
/// # Errors
/// [`ObjectError`] when the BTF cannot be read.
pub fn function_names(
    kernel_types: &[u8],
    ids: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, String>, ObjectError> {
    let btf = Btf::parse(kernel_types, MAX_KERNEL_TYPES)?;
    let name = |id: &u32| {
        let function = btf.get(*id).ok().filter(|found| found.number == FUNCTION)?;
        Some((*id, btf.name(function).ok()?.to_owned()))
    };
    Ok(ids.iter().filter_map(name).collect())
}

/// The section of symbols that the kernel defines (`bpf/bpf_helpers.h`).
const KERNEL_SYMBOLS: &str = ".ksyms";
/// The section of what is asked of the kernel's configuration, and the map that libbpf makes of it.
pub const CONFIGURATION: &str = ".kconfig";
/// `BTF_KIND_*` of a number, and of enumerations.
const NUMBER: u32 = 1;
const ENUMERATION: [u32; 2] = [6, 19];
/// `BTF_INT_BOOL`, in the word that follows a number.
const IS_BOOL: u32 = 4 << 24;

/// Reads which symbols the object leaves to the kernel, by their names.
///
/// # Errors
/// [`ObjectError::DamagedBtf`] when what leads to them cannot be read; [`ObjectError::TooMany`] for too many types.
pub(super) fn extern_declarations(bytes: &[u8]) -> Result<BTreeMap<&str, ExternKind>, ObjectError> {
    let btf = Btf::parse(bytes, MAX_OBJECT_ITEMS)?;
    let mut found = BTreeMap::new();
    for section in btf.types.iter().filter(|t| t.kind == Kind::DataSection) {
        let symbols = is_name(btf.strings, section.name, KERNEL_SYMBOLS);
        if !symbols && !is_name(btf.strings, section.name, CONFIGURATION) {
            continue;
        }
        for entry in section.rest.chunks_exact(SECTION_VARIABLE_BYTES) {
            let declared = btf.get(word(entry, 0)?)?;
            let kind = match symbols {
                true if declared.number == FUNCTION => ExternKind::Function,
                true if btf.resolve(declared.target).is_err() => ExternKind::Address,
                true => ExternKind::Variable,
                false => ExternKind::Configuration(btf.configuration(declared.target)?),
            };
            found.insert(btf.name(declared)?, kind);
        }
    }
    Ok(found)
}

/// Where in the bytes of a `.BTF` section the `info` of functions of these names is.
///
/// # Errors
/// As [`extern_declarations`].
pub(super) fn function_infos(
    bytes: &[u8],
    names: &BTreeSet<&str>,
) -> Result<Vec<usize>, ObjectError> {
    let btf = Btf::parse(bytes, MAX_OBJECT_ITEMS)?;
    let mut found = Vec::new();
    for function in btf.types.iter().filter(|t| t.number == FUNCTION) {
        if names.contains(btf.name(*function)?) {
            // What follows a type is a part of the same bytes, right behind it.
            let end = function.rest.as_ptr().addr() - bytes.as_ptr().addr();
            found.push(end - TYPE_BYTES + 4);
        }
    }
    Ok(found)
}

/// All types and their names.
pub(super) struct Btf<'a> {
    /// Type 1 comes first; type 0 is `void`.
    types: Vec<Type<'a>>,
    strings: &'a [u8],
}

/// One `struct btf_type` and what follows it.
#[derive(Clone, Copy)]
pub(super) struct Type<'a> {
    pub(super) name: u32,
    pub(super) kind: Kind,
    /// `BTF_KIND_*`.
    pub(super) number: u32,
    /// The type it refers to, or its size.
    pub(super) target: u32,
    /// The kind, a count and a flag, as they are written.
    pub(super) info: u32,
    /// Whether the offsets of its members hold the widths of bit fields too.
    has_bit_fields: bool,
    /// What follows it.
    pub(super) rest: &'a [u8],
}

/// One member of a structure.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) target: u32,
    /// Where it starts; `None` for what does not start or end with a byte.
    pub(super) offset: Option<u64>,
}

/// The kinds that lead to a map, and all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pointer,
    Array,
    Structure,
    /// Numbers, enumerations and unions.
    Sized,
    /// `BTF_KIND_FUNC_PROTO`.
    Prototype,
    /// `typedef`, `const`, `volatile`, `restrict` and type tags: another name for the type they refer to.
    Modifier,
    Variable,
    DataSection,
    Other,
}

impl<'a> Btf<'a> {
    /// Reads at most `limit` types.
    ///
    /// # Errors
    /// [`ObjectError::DamagedBtf`], [`ObjectError::TooMany`].
    pub(super) fn parse(bytes: &'a [u8], limit: usize) -> Result<Self, ObjectError> {
        let (bodies, strings) = parts(bytes)?;
        Ok(Self {
            types: types(bodies, limit)?,
            strings,
        })
    }

    /// A type by its id.
    ///
    /// # Errors
    /// [`ObjectError::DamagedBtf`] when there is none, as for `void`.
    pub(super) fn get(&self, id: u32) -> Result<Type<'a>, ObjectError> {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let found = index.and_then(|index| self.types.get(index));
        found
            .copied()
            .ok_or(damaged("a type that is referred to is not there"))
    }

    /// The type behind modifiers, with its id.
    ///
    /// # Errors
    /// [`ObjectError::DamagedBtf`] when there is none.
    pub(super) fn resolve(&self, mut id: u32) -> Result<(u32, Type<'a>), ObjectError> {
        for _ in 0..MAX_DEPTH {
            let found = self.get(id)?;
            if found.kind != Kind::Modifier {
                return Ok((id, found));
            }
            id = found.target;
        }
        Err(damaged("a type goes round in circles"))
    }

    /// The first structure with a name, and its id.
    pub(super) fn structure(&self, name: &str) -> Option<(u32, Type<'a>)> {
        let mut numbered = (1..).zip(&self.types);
        let found = numbered.find(|(_, found)| {
            found.kind == Kind::Structure && is_name(self.strings, found.name, name)
        });
        found.map(|(id, found)| (id, *found))
    }

    /// The type of a variable in a section.
    ///
    /// # Errors
    /// [`ObjectError::DamagedBtf`] when the section refers to what is no variable.
    pub(super) fn variable(&self, section: &str, name: &str) -> Result<Option<u32>, ObjectError> {
        let mut sections = self.types.iter();
        let section = sections.find(|found| {
            found.kind == Kind::DataSection && is_name(self.strings, found.name, section)
        });
        let rest = section.map_or(&[][..], |section| section.rest);
        for entry in rest.chunks_exact(SECTION_VARIABLE_BYTES) {
            let variable = self.get(word(entry, 0)?)?;
            if variable.kind != Kind::Variable {
                return Err(damaged("a section holds something that is no variable"));
            }
            if is_name(self.strings, variable.name, name) {
                return Ok(Some(variable.target));
            }
        }
        Ok(None)
    }

    /// All types with their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, Type<'a>)> {
        (1..).zip(self.types.iter().copied())
    }

    /// The name of a type.
    ///
    /// # Errors
    /// [`ObjectError::DamagedBtf`] when it cannot be read.
    pub(super) fn name(&self, of: Type<'_>) -> Result<&'a str, ObjectError> {
        self.name_at(of.name)
    }

    /// The name at an offset.
    ///
    /// # Errors
    /// [`ObjectError::DamagedBtf`] when it cannot be read.
    pub(super) fn name_at(&self, offset: u32) -> Result<&'a str, ObjectError> {
        name_at(self.strings, offset).map_err(|_| damaged("the name of a type cannot be read"))
    }

    /// The members of a structure, in their order.
    pub(super) fn members(
        &self,
        structure: Type<'a>,
    ) -> impl Iterator<Item = Result<Member<'a>, ObjectError>> {
        /// With bit fields, the upper byte of an offset is a width; it is 0 for other members.
        const OFFSET_BITS: u32 = 0x00ff_ffff;
        let read = move |member: &'a [u8]| {
            let name = name_at(self.strings, word(member, 0)?);
            let bits = word(member, 8)?;
            let bit_field = structure.has_bit_fields && bits > OFFSET_BITS;
            let whole = !bit_field && bits.is_multiple_of(8);
            Ok(Member {
                name: name.map_err(|_| damaged("the name of a member cannot be read"))?,
                target: word(member, 4)?,
                offset: whole.then_some(u64::from(bits / 8)),
            })
        };
        structure.rest.chunks_exact(MEMBER_BYTES).map(read)
    }

    /// How many bytes a type takes; as many as there can be for more than that.
    ///
    /// # Errors
    /// [`ObjectError::DamagedBtf`] for what has no size.
    pub(super) fn bytes_of(&self, mut id: u32) -> Result<u64, ObjectError> {
        let mut count: u64 = 1;
        for _ in 0..MAX_DEPTH {
            let found = self.get(id)?;
            match found.kind {
                Kind::Modifier | Kind::Variable => id = found.target,
                Kind::Array => {
                    count = count.saturating_mul(word(found.rest, 8)?.into());
                    id = word(found.rest, 0)?;
                }
                Kind::Pointer => return Ok(count.saturating_mul(POINTER_BYTES)),
                Kind::Structure | Kind::Sized => {
                    return Ok(count.saturating_mul(found.target.into()));
                }
                Kind::DataSection | Kind::Prototype | Kind::Other => {
                    return Err(damaged("a member has no size"));
                }
            }
        }
        Err(damaged("a type goes round in circles"))
    }

    /// As `find_kcfg_type` of libbpf.
    fn configuration(&self, id: u32) -> Result<ConfigurationKind, ObjectError> {
        let (_, found) = self.resolve(id)?;
        let is_bool = found.number == NUMBER && word(found.rest, 0)? & IS_BOOL != 0;
        Ok(match found.kind {
            Kind::Array => ConfigurationKind::Text,
            _ if is_bool || ENUMERATION.contains(&found.number) => ConfigurationKind::Choice,
            _ => ConfigurationKind::Number,
        })
    }

    fn map_declaration(
        &self,
        id: u32,
        known: &mut BTreeMap<u32, Definition>,
    ) -> Result<MapDeclaration<'a>, ObjectError> {
        let variable = self.get(id)?;
        if variable.kind != Kind::Variable || word(variable.rest, 0)? != LINKAGE_GLOBAL {
            return Err(damaged("a map is not a global variable"));
        }
        let name = name_at(self.strings, variable.name)
            .map_err(|_| damaged("the name of a map cannot be read"))?;
        if name.is_empty() {
            return Err(damaged("a map has no name"));
        }
        let (id, definition) = self.resolve(variable.target)?;
        if definition.kind != Kind::Structure {
            return Err(damaged("a map is not a structure"));
        }
        let definition = match known.get(&id) {
            Some(known) => *known,
            None => self.definition(definition, true)?,
        };
        known.insert(id, definition);
        if definition.pinning > PIN_BY_NAME {
            return Err(ObjectError::UnknownPinning {
                map: name.to_owned(),
                value: definition.pinning,
            });
        }
        Ok(MapDeclaration { name, definition })
    }

    /// Reads the type of a map, or of the maps in one.
    fn definition(&self, structure: Type<'a>, outer: bool) -> Result<Definition, ObjectError> {
        let mut read = Definition::EMPTY;
        for member in structure.rest.chunks_exact(MEMBER_BYTES) {
            let (name, id) = (word(member, 0)?, word(member, 4)?);
            let is = |expected| is_name(self.strings, name, expected);
            let number = || self.number(id, "a number of a map cannot be read");
            let shape = &mut read.shape;
            if is("type") {
                shape.map_type = MapType(number()?);
            } else if is("max_entries") {
                shape.max_entries = number()?;
            } else if is("map_flags") {
                shape.flags = number()?;
            } else if is("key_size") {
                shape.key_size = number()?;
            } else if is("value_size") {
                shape.value_size = number()?;
            } else if is("key") {
                shape.key_size = self.pointed_bytes(id)?;
            } else if is("value") {
                shape.value_size = self.pointed_bytes(id)?;
            } else if is("map_extra") {
                shape.map_extra = self.long_number(id)?;
            } else if is("values") && outer {
                shape.value_size = VALUES_BYTES;
                read.inner = self.inner(id)?;
            } else if is("pinning") {
                read.pinning = self.number(id, "the pinning of a map is not a number")?;
            }
        }
        Ok(read)
    }

    /// The size of what `__type` of `bpf/bpf_helpers.h` declares: a pointer to it.
    fn pointed_bytes(&self, id: u32) -> Result<u32, ObjectError> {
        let pointer = self.get(id)?;
        if pointer.kind != Kind::Pointer {
            return Err(damaged("the key or value of a map is not a type"));
        }
        let bytes = self.bytes_of(pointer.target)?;
        u32::try_from(bytes).map_err(|_| damaged("the key or value of a map is too large"))
    }

    /// What `__array(values, ...)` declares: an array of pointers to maps; or to programs, which have no shape.
    fn inner(&self, id: u32) -> Result<Option<MapShape>, ObjectError> {
        let array = self.get(id)?;
        if array.kind != Kind::Array {
            return Err(damaged("the values of a map are not an array"));
        }
        let (_, pointer) = self.resolve(word(array.rest, 0)?)?;
        if pointer.kind != Kind::Pointer {
            return Err(damaged("the values of a map are not pointers"));
        }
        let (_, inner) = self.resolve(pointer.target)?;
        match inner.kind {
            Kind::Structure => Ok(Some(self.definition(inner, false)?.shape)),
            _ => Ok(None),
        }
    }

    /// The value of a member that `__uint` of `bpf/bpf_helpers.h` declares: a pointer to an array, whose
    /// length is the value.
    fn number(&self, id: u32, otherwise: &'static str) -> Result<u32, ObjectError> {
        let (_, pointer) = self.resolve(id)?;
        if pointer.kind == Kind::Pointer {
            let array = self.get(pointer.target)?;
            if array.kind == Kind::Array {
                // `struct btf_array`: element type, index type, length.
                return word(array.rest, 8);
            }
        }
        Err(damaged(otherwise))
    }

    /// The value of a member that `__ulong` declares: an enumeration of one value; or as [`Self::number`].
    fn long_number(&self, id: u32) -> Result<u64, ObjectError> {
        const OTHERWISE: &str = "the map_extra of a map is not a number";
        let (_, found) = self.resolve(id)?;
        // `struct btf_enum` is a name and a value, `struct btf_enum64` has a second word of it.
        match (found.number, found.rest.len()) {
            (BTF_KIND_ENUM, 8) => Ok(i64::from(word(found.rest, 4)?.cast_signed()).cast_unsigned()),
            (BTF_KIND_ENUM64, 12) => {
                let (low, high) = (word(found.rest, 4)?, word(found.rest, 8)?);
                Ok(u64::from(high) << 32 | u64::from(low))
            }
            _ => Ok(self.number(id, OTHERWISE)?.into()),
        }
    }
}

/// The bytes of the types and those of their names.
///
/// # Errors
/// [`ObjectError::DamagedBtf`] when they are not where the header says.
pub(super) fn parts(bytes: &[u8]) -> Result<(&[u8], &[u8]), ObjectError> {
    let header = bytes.get(..HEADER_BYTES).ok_or(CUT)?;
    if header[..2] != MAGIC.to_ne_bytes() || header[2] != VERSION {
        return Err(damaged("its header is not that of version 1"));
    }
    // The parts start where the header ends, which may become longer one day.
    let body = bytes.get(size(header, 4)?.max(HEADER_BYTES)..).ok_or(CUT)?;
    let part = |start, len| {
        body.get(start..)
            .and_then(|tail| tail.get(..len))
            .ok_or(CUT)
    };
    Ok((
        part(size(header, 8)?, size(header, 12)?)?,
        part(size(header, 16)?, size(header, 20)?)?,
    ))
}

/// The bytes of the first type, what kind it is, and the bytes of the others.
///
/// # Errors
/// [`ObjectError::DamagedBtf`].
pub(super) fn split_type(bytes: &[u8]) -> Result<(&[u8], Kind, &[u8]), ObjectError> {
    let (kind, rest) = kind(word(bytes, 4)?)?;
    let (first, others) = bytes.split_at_checked(TYPE_BYTES + rest).ok_or(CUT)?;
    Ok((first, kind, others))
}

fn types(mut bytes: &[u8], limit: usize) -> Result<Vec<Type<'_>>, ObjectError> {
    let mut types = Vec::new();
    while let Some((head, tail)) = bytes.split_at_checked(TYPE_BYTES) {
        if types.len() == limit {
            return Err(ObjectError::TooMany {
                what: "types",
                limit,
            });
        }
        let info = word(head, 4)?;
        let (kind, rest) = kind(info)?;
        let (rest, tail) = tail.split_at_checked(rest).ok_or(CUT)?;
        types.push(Type {
            name: word(head, 0)?,
            kind,
            number: number(info),
            info,
            target: word(head, 8)?,
            has_bit_fields: info >> 31 == 1,
            rest,
        });
        bytes = tail;
    }
    if bytes.is_empty() {
        Ok(types)
    } else {
        Err(CUT)
    }
}

fn number(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// What `info` says: the kind (bits 24 to 28, `BTF_KIND_*`), and how many bytes follow the type, which
/// depends on a count (bits 0 to 15).
fn kind(info: u32) -> Result<(Kind, usize), ObjectError> {
    let count = (info & 0xffff) as usize;
    Ok(match number(info) {
        // INT, DECL_TAG
        1 => (Kind::Sized, 4),
        17 => (Kind::Other, 4),
        2 => (Kind::Pointer, 0),
        3 => (Kind::Array, 12),
        4 => (Kind::Structure, MEMBER_BYTES * count),
        // UNION, ENUM64
        5 | 19 => (Kind::Sized, 12 * count),
        // ENUM, FUNC_PROTO
        6 => (Kind::Sized, 8 * count),
        13 => (Kind::Prototype, 8 * count),
        // FWD, FUNC, FLOAT
        7 | 12 => (Kind::Other, 0),
        16 => (Kind::Sized, 0),
        // TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG
        8..=11 | 18 => (Kind::Modifier, 0),
        14 => (Kind::Variable, 4),
        15 => (Kind::DataSection, SECTION_VARIABLE_BYTES * count),
        _ => return Err(damaged("a type is of a kind we do not know")),
    })
}

pub(super) const CUT: ObjectError = damaged("it ends too early");

pub(super) const fn damaged(text: &'static str) -> ObjectError {
    ObjectError::DamagedBtf(text)
}

fn size(bytes: &[u8], offset: usize) -> Result<usize, ObjectError> {
    usize::try_from(word(bytes, offset)?).map_err(|_| CUT)
}

pub(super) fn word(bytes: &[u8], offset: usize) -> Result<u32, ObjectError> {
    let word = bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(CUT)?;
    Ok(u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const STRINGS: &[u8] = b"\0.maps\0pinning\0one\0two\0.data\0";
    const MAPS_NAME: u32 = 1;
    const PINNING: u32 = 7;
    const ONE: u32 = 15;
    const TWO: u32 = 19;
    const DATA_NAME: u32 = 23;

    /// One type: name, kind, count, target, and the words that follow.
    type Words<'a> = (u32, u32, usize, u32, &'a [u32]);

    fn build(types: &[Words<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, kind, count, target, rest) in types {
            body.extend([*name, kind << 24 | u32::try_from(*count).unwrap(), *target]);
            body.extend(*rest);
        }
        let len = u32::try_from(body.len() * 4).unwrap();
        let strings = u32::try_from(STRINGS.len()).unwrap();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([VERSION, 0]);
        for word in [24, 0, len, len, strings].iter().chain(&body) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(STRINGS);
        bytes
    }

    /// The declaration of map `one`, whose `pinning` is of type 3; the pieces may be replaced.
    fn declaration<'a>() -> Vec<Words<'a>> {
        vec![
            (ONE, 14, 0, 2, &[1]),
            (0, 4, 1, 8, &[PINNING, 3, 0]),
            (0, 2, 0, 4, &[]),
            (0, 3, 0, 0, &[0, 0, 1]),
            (MAPS_NAME, 15, 1, 0, &[1, 0, 8]),
        ]
    }

    fn refusal(types: &[Words<'_>]) -> &'static str {
        match map_declarations(&build(types)) {
            Err(ObjectError::DamagedBtf(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_map_is_pinned_by_name_when_its_declaration_says_so() {
        for (value, pinned_by_name) in [(PIN_NONE, false), (PIN_BY_NAME, true)] {
            let mut types = declaration();
            let array = [0, 0, value];
            types[3].4 = &array;
            let expected = MapDeclaration {
                name: "one",
                definition: Definition {
                    pinning: value,
                    ..Definition::EMPTY
                },
            };
            assert_eq!(expected.definition.pinned_by_name(), pinned_by_name);
            assert_eq!(map_declarations(&build(&types)), Ok(vec![expected]));
        }
    }

    #[test]
    fn maps_keep_their_order_share_types_and_hide_behind_modifiers() {
        let types: [Words<'_>; 7] = [
            (TWO, 14, 0, 6, &[1]),
            (ONE, 14, 0, 3, &[1]),
            (0, 4, 0, 8, &[]),
            (DATA_NAME, 15, 1, 0, &[9, 0, 8]),
            (MAPS_NAME, 15, 3, 0, &[1, 0, 8, 2, 0, 8, 1, 0, 8]),
            (ONE, 8, 0, 7, &[]),
            (0, 10, 0, 3, &[]),
        ];
        let bytes = build(&types);
        let names = map_declarations(&bytes).unwrap();
        let names = names
            .iter()
            .map(|map| (map.name, map.definition.pinned_by_name()));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [("two", false), ("one", false), ("two", false)]
        );
    }

    #[test]
    fn a_declaration_that_libbpf_refuses_is_refused() {
        let table: [(usize, Words<'_>, &str); 10] = [
            (0, (ONE, 14, 0, 2, &[0]), "a map is not a global variable"),
            (0, (ONE, 2, 0, 2, &[]), "a map is not a global variable"),
            (0, (0, 14, 0, 2, &[1]), "a map has no name"),
            (0, (999, 14, 0, 2, &[1]), "the name of a map cannot be read"),
            (
                0,
                (ONE, 14, 0, 99, &[1]),
                "a type that is referred to is not there",
            ),
            (
                0,
                (ONE, 14, 0, 0, &[1]),
                "a type that is referred to is not there",
            ),
            (
                1,
                (0, 5, 1, 8, &[PINNING, 3, 0]),
                "a map is not a structure",
            ),
            (1, (0, 10, 0, 2, &[]), "a type goes round in circles"),
            (2, (0, 6, 0, 4, &[]), "the pinning of a map is not a number"),
            (
                4,
                (DATA_NAME, 15, 0, 0, &[]),
                "it does not describe the section of maps",
            ),
        ];
        for (place, replacement, expected) in table {
            let mut types = declaration();
            types[place] = replacement;
            assert_eq!(refusal(&types), expected);
        }
    }

    #[test]
    fn a_pinning_that_nobody_knows_names_its_map() {
        let mut types = declaration();
        types[3].4 = &[0, 0, 16];
        let error = ObjectError::UnknownPinning {
            map: "one".to_owned(),
            value: 16,
        };
        assert_eq!(map_declarations(&build(&types)), Err(error));
    }

    #[test]
    fn types_that_are_cut_or_unknown_are_refused() {
        assert_eq!(refusal(&[(0, 4, 9, 0, &[])]), "it ends too early");
        assert_eq!(refusal(&[(0, 2, 0, 0, &[1])]), "it ends too early");
        assert_eq!(
            refusal(&[(0, 31, 0, 0, &[])]),
            "a type is of a kind we do not know"
        );
    }

    #[test]
    fn every_kind_is_as_long_as_the_kernel_says() {
        let extra = [
            (1, 1),
            (5, 6),
            (6, 4),
            (7, 0),
            (9, 0),
            (11, 0),
            (12, 0),
            (13, 4),
            (16, 0),
            (17, 1),
            (18, 0),
            (19, 6),
        ];
        for (kind, words) in extra {
            let mut types = declaration();
            types.push((0, kind, 2, 0, &[0; 6][..words]));
            assert!(map_declarations(&build(&types)).is_ok(), "{kind}");
        }
    }

    #[test]
    fn a_bad_header_is_refused() {
        let good = build(&declaration());
        let not_ours = "its header is not that of version 1";
        let cut = "it ends too early";
        for (place, expected) in [
            (0, not_ours),
            (2, not_ours),
            (4, cut),
            (8, cut),
            (12, cut),
            (16, cut),
            (20, cut),
        ] {
            let mut bytes = good.clone();
            bytes[place..place + 2].fill(0xff);
            assert_eq!(
                map_declarations(&bytes),
                Err(ObjectError::DamagedBtf(expected)),
                "{place}"
            );
        }
        for end in 0..good.len() {
            assert!(map_declarations(&good[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn too_many_types_are_refused() {
        let types: Vec<Words<'_>> = vec![(0, 2, 0, 0, &[]); MAX_OBJECT_ITEMS + 1];
        let limit = MAX_OBJECT_ITEMS;
        assert_eq!(
            map_declarations(&build(&types)),
            Err(ObjectError::TooMany {
                what: "types",
                limit
            })
        );
    }

    #[test]
    fn a_long_type_that_many_maps_share_is_read_once() {
        let members = [PINNING, 3, 0].repeat(0xffff);
        let variables = [1, 0, 8].repeat(0xffff);
        let mut types = declaration();
        types[1] = (0, 4, 0xffff, 8, &members);
        types[4] = (MAPS_NAME, 15, 0xffff, 0, &variables);
        // Read once per map, this would take minutes.
        assert_eq!(
            map_declarations(&build(&types)).map(|maps| maps.len()),
            Ok(0xffff)
        );
    }
}
