//! What a struct_ops map holds once it is filled: the object's struct, laid out as the running kernel has it.
//!
//! As `bpf_map__init_kern_struct_ops` of libbpf 1.7 fills it. libbpf does so when it loads and forgets it with the
//! process, so whoever attaches later computes it again from the same object.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::MAX_OBJECT_ITEMS;
use super::ObjectError;
use super::btf::Btf;
use super::btf::Kind;
use super::btf::MAX_KERNEL_TYPES;
use super::btf::Member;
use super::btf::POINTER_BYTES;
use super::btf::Type;
use super::image::damaged;
use super::parts::Parts;
use super::parts::Role;
use super::parts::last;
use super::parts::parts;
use super::struct_ops::Table;
use super::struct_ops::tables;

/// The most bytes of one struct that we look at. The largest of Linux 6.18, that of sched_ext, has under a thousand.
pub const MAX_STRUCT_OPS_BYTES: u32 = 1 << 20;
/// What the kernel puts before a struct's name to name that of the map's value.
const VALUE_PREFIX: &str = "bpf_struct_ops_";

/// The value of a map, but for the programs, which only the kernel can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructOpsValue {
    /// The kernel's struct that it implements, such as `tcp_congestion_ops`.
    pub struct_name: String,
    /// The value; zero where programs belong.
    pub bytes: Vec<u8>,
    /// Where which program belongs.
    pub programs: Vec<StructOpsMember>,
}

/// A member that calls a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructOpsMember {
    /// Where in the value the number of the program's descriptor stands: an `unsigned long`.
    pub offset: u32,
    /// The program's function in the object.
    pub program: String,
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StructOpsError {
    /// The object cannot be read.
    #[error("{0}")]
    Object(#[from] ObjectError),
    /// The object does not declare it.
    #[error("the object does not declare it")]
    NoSuchMap,
    /// The kernel's own types cannot be read.
    #[error("the types of this kernel cannot be read: {0}")]
    Kernel(ObjectError),
    /// The kernel takes no such struct.
    #[error(
        "this kernel has no struct `{VALUE_PREFIX}{0}` (those of its modules are not looked at)"
    )]
    UnknownStruct(String),
    /// A struct is too large to be looked at.
    #[error("struct `{name}` has {bytes} bytes; the limit is {MAX_STRUCT_OPS_BYTES}")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its size.
        bytes: u32,
    },
    /// A member does not fit the kernel's.
    #[error("member `{}` {problem}", member.escape_debug())]
    Member {
        /// Its name.
        member: String,
        /// What is wrong with it.
        problem: MemberProblem,
    },
    /// A pointer to a program is not a member of the struct.
    #[error("byte {0} points to a program and is no member of the struct")]
    PointerElsewhere(u64),
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberProblem {
    /// It says something that this kernel cannot be told.
    #[error("is set, but the struct of this kernel has no such member")]
    NotInKernel,
    /// It is named twice.
    #[error("is there twice")]
    Twice,
    /// Its place is not one of whole bytes.
    #[error("is a bit field, which cannot be set")]
    BitField,
    /// A number here and a pointer there, or the like.
    #[error("is of another type than in this kernel")]
    OtherType,
    /// It has another size.
    #[error("has {here} byte(s), in this kernel {there}")]
    OtherSize {
        /// In the object.
        here: u64,
        /// In the kernel.
        there: u64,
    },
    /// A pointer to data, or into nowhere.
    #[error("points to something that is no program of the object")]
    NoProgram,
    /// The kernel wants no function here.
    #[error("is no function in this kernel")]
    NoFunction,
    /// A struct with a function inside.
    #[error("holds a pointer to a program inside, which this kernel cannot be told")]
    InnerProgram,
    /// It goes on after the end of its struct.
    #[error("crosses the end of its struct")]
    Outside,
}

/// The struct in the object.
struct Source<'a> {
    types: &'a Btf<'a>,
    structure: Type<'a>,
    name: &'a str,
    data: &'a [u8],
    /// Where bytes are not zero: members of a hostile object overlap, and each asks.
    set: Vec<u64>,
    pointers: &'a BTreeMap<u64, &'a str>,
}

/// The struct in the kernel.
struct Target<'a> {
    types: &'a Btf<'a>,
    members: BTreeMap<&'a str, Member<'a>>,
    /// Where it starts in the value.
    start: u64,
    bytes: u32,
}

/// Computes the value of a map.
///
/// Members that this kernel does not have are left out when they are zero: so one object fits several kernels.
///
/// # Errors
/// [`StructOpsError`] when object and kernel do not fit together, or one of them cannot be read.
pub fn struct_ops_value(
    object: &[u8],
    kernel_types: &[u8],
    map: &str,
) -> Result<StructOpsValue, StructOpsError> {
    let parts = parts(object)?;
    let tables = tables(&parts.image, &parts.roles, &parts.functions)?;
    let mut tables = tables.iter();
    let table = tables
        .find(|table| table.name == map)
        .ok_or(StructOpsError::NoSuchMap)?;
    let types = last(&parts.image, &parts.roles, Role::Types).ok_or(ObjectError::DamagedBtf(
        "there is none, but `.struct_ops` needs it",
    ))?;
    let types = Btf::parse(types.data, MAX_OBJECT_ITEMS)?;
    let source = source(&parts, table, &types)?;
    let kernel = Btf::parse(kernel_types, MAX_KERNEL_TYPES).map_err(StructOpsError::Kernel)?;
    let target = target(&kernel, source.name)?;
    fill(&source, &target)
}

fn source<'a>(
    parts: &Parts<'a>,
    table: &'a Table<'a>,
    types: &'a Btf<'a>,
) -> Result<Source<'a>, StructOpsError> {
    let (section, start) = table.place;
    let outside = || damaged(format!("map `{}` is outside of its section", table.name));
    let section = parts.image.sections.get(section).ok_or_else(outside)?;
    let undeclared = ObjectError::DamagedBtf("a struct_ops map is not described");
    let variable = types
        .variable(section.name, table.name)?
        .ok_or(undeclared)?;
    let (_, structure) = types.resolve(variable)?;
    let name = essential(types.name(structure)?);
    if structure.kind != Kind::Structure || name.is_empty() {
        return Err(ObjectError::DamagedBtf("a struct_ops map is no struct with a name").into());
    }
    let bytes = checked_size(name, structure.target)?;
    let data = range(start, bytes.into()).and_then(|range| section.data.get(range));
    let data = data.ok_or_else(outside)?;
    let numbered = (0..).zip(data);
    Ok(Source {
        types,
        structure,
        name,
        data,
        set: numbered
            .filter(|(_, byte)| **byte != 0)
            .map(|(at, _)| at)
            .collect(),
        pointers: &table.pointers,
    })
}

/// The name without the part from `___` on, by which variants of a struct differ within an object
/// (`bpf_core_essential_name_len` of libbpf).
fn essential(name: &str) -> &str {
    let separates = |part: &[u8]| matches!(part, [before, b'_', b'_', b'_', after] if *before != b'_' && *after != b'_');
    let at = name.as_bytes().windows(5).rposition(separates);
    at.and_then(|at| name.get(..=at)).unwrap_or(name)
}

fn target<'a>(types: &'a Btf<'a>, name: &str) -> Result<Target<'a>, StructOpsError> {
    let unknown = || StructOpsError::UnknownStruct(name.to_owned());
    let value_name = format!("{VALUE_PREFIX}{name}");
    let (_, value) = types.structure(&value_name).ok_or_else(unknown)?;
    let (id, structure) = types.structure(name).ok_or_else(unknown)?;
    let mut start = None;
    for member in types.members(value) {
        let member = member.map_err(StructOpsError::Kernel)?;
        if member.target == id {
            start = member.offset;
            break;
        }
    }
    let mut members = BTreeMap::new();
    for member in types.members(structure) {
        let member = member.map_err(StructOpsError::Kernel)?;
        members.entry(member.name).or_insert(member);
    }
    Ok(Target {
        types,
        members,
        start: start.ok_or_else(unknown)?,
        bytes: checked_size(&value_name, value.target)?,
    })
}

fn checked_size(name: &str, bytes: u32) -> Result<u32, StructOpsError> {
    match bytes {
        0..=MAX_STRUCT_OPS_BYTES => Ok(bytes),
        _ => Err(StructOpsError::TooLarge {
            name: name.to_owned(),
            bytes,
        }),
    }
}

fn fill(source: &Source<'_>, target: &Target<'_>) -> Result<StructOpsValue, StructOpsError> {
    let mut value = StructOpsValue {
        struct_name: source.name.to_owned(),
        bytes: vec![0; usize::try_from(target.bytes).unwrap_or(0)],
        programs: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    let mut pointers: BTreeSet<u64> = source.pointers.keys().copied().collect();
    for member in source.types.members(source.structure) {
        let member = member?;
        if !member.name.is_empty() && !seen.insert(member.name) {
            return Err(misfit(&member, MemberProblem::Twice));
        }
        let here = place(source, &member)?;
        // Nothing says which member without a name another one is.
        let there = target.members.get(member.name);
        match there.filter(|_| !member.name.is_empty()) {
            Some(there) => set_member(source, target, (&member, &here), there, &mut value)?,
            None if source.is_zero(&here) => {}
            None => return Err(misfit(&member, MemberProblem::NotInKernel)),
        }
        if !here.is_empty() {
            pointers.remove(&here.start);
        }
    }
    match pointers.first() {
        None => Ok(value),
        Some(at) => Err(StructOpsError::PointerElsewhere(*at)),
    }
}

fn misfit(member: &Member<'_>, problem: MemberProblem) -> StructOpsError {
    StructOpsError::Member {
        member: member.name.to_owned(),
        problem,
    }
}

/// Where a member is in the object's struct.
fn place(source: &Source<'_>, member: &Member<'_>) -> Result<Range<u64>, StructOpsError> {
    let start = member.offset;
    let start = start.ok_or_else(|| misfit(member, MemberProblem::BitField))?;
    let end = start.saturating_add(source.types.bytes_of(member.target)?);
    match end <= source.data.len() as u64 {
        true => Ok(start..end),
        false => Err(misfit(member, MemberProblem::Outside)),
    }
}

/// Writes one member into the value.
fn set_member(
    source: &Source<'_>,
    target: &Target<'_>,
    (member, here): (&Member<'_>, &Range<u64>),
    there: &Member<'_>,
    value: &mut StructOpsValue,
) -> Result<(), StructOpsError> {
    let kernel = StructOpsError::Kernel;
    let (_, own_type) = source.types.resolve(member.target)?;
    let (_, its_type) = target.types.resolve(there.target).map_err(kernel)?;
    if own_type.number != its_type.number {
        return Err(misfit(member, MemberProblem::OtherType));
    }
    let offset = there.offset;
    let offset = offset.ok_or_else(|| misfit(member, MemberProblem::BitField))?;
    let offset = target.start.saturating_add(offset);
    let bytes = target.types.bytes_of(there.target).map_err(kernel)?;
    let size = here.end - here.start;
    if bytes != size {
        let sizes = MemberProblem::OtherSize {
            here: size,
            there: bytes,
        };
        return Err(misfit(member, sizes));
    }
    let into = range(offset, size).and_then(|range| value.bytes.get_mut(range));
    let into = into.ok_or_else(|| kernel(damaged("a member crosses the end of its struct")))?;
    if own_type.kind != Kind::Pointer {
        if source.points_inside(here) {
            return Err(misfit(member, MemberProblem::InnerProgram));
        }
        if let Some(from) = range(here.start, size).and_then(|range| source.data.get(range)) {
            into.copy_from_slice(from);
        }
        return Ok(());
    }
    let Some(program) = source.pointers.get(&here.start) else {
        return match source.is_zero(here) {
            true => Ok(()),
            false => Err(misfit(member, MemberProblem::NoProgram)),
        };
    };
    if !points_to_function(target.types, its_type).map_err(kernel)? {
        return Err(misfit(member, MemberProblem::NoFunction));
    }
    value.programs.push(StructOpsMember {
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        program: (*program).to_owned(),
    });
    Ok(())
}

fn points_to_function(types: &Btf<'_>, pointer: Type<'_>) -> Result<bool, ObjectError> {
    match pointer.target {
        // `void *`
        0 => Ok(false),
        id => Ok(types.resolve(id)?.1.kind == Kind::Prototype),
    }
}

impl Source<'_> {
    fn is_zero(&self, place: &Range<u64>) -> bool {
        let first = self.set.partition_point(|at| *at < place.start);
        let set = self.set.get(first).is_some_and(|at| *at < place.end);
        !set && !self.points_inside(place)
    }

    fn points_inside(&self, place: &Range<u64>) -> bool {
        // A pointer that starts before and reaches in is one too.
        let start = place.start.saturating_sub(POINTER_BYTES - 1);
        place.start < place.end && self.pointers.range(start..place.end).next().is_some()
    }
}

fn range(start: u64, bytes: u64) -> Option<Range<usize>> {
    let end = start.checked_add(bytes)?;
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use object::elf;
    use proptest::prelude::*;

    use super::super::testing::STRUCT_OPS;
    use super::super::testing::TestTypes;
    use super::super::testing::build;
    use super::super::testing::code;
    use super::super::testing::relocation;
    use super::super::testing::relocations;
    use super::super::testing::section;
    use super::super::testing::symbol;
    use super::*;

    /// The types that members are made of, by their ids; both sides have them.
    const WORD: u32 = 1;
    const FUNCTION: u32 = 3;
    const NAME: u32 = 5;
    const DATA: u32 = 6;
    const ALIAS: u32 = 7;
    const LONG_NAME: u32 = 8;
    const PAIR: u32 = 9;
    const ROUND: u32 = 10;
    const NEXT: u32 = 11;

    /// Name, type, offset in bytes.
    type Fields<'a> = &'a [(&'a str, u32, u32)];

    fn base() -> TestTypes {
        let mut types = TestTypes::default();
        types.add("word", 1, 0, 4, &[32]);
        types.add("", 13, 0, 0, &[]);
        types.add("", 2, 0, 2, &[]);
        types.add("char", 1, 0, 1, &[8]);
        types.add("", 3, 0, 0, &[4, WORD, 8]);
        types.add("", 2, 0, WORD, &[]);
        types.add("alias", 8, 0, WORD, &[]);
        types.add("", 3, 0, 0, &[4, WORD, 16]);
        types.add("pair", 4, 0, 16, &[]);
        types.add("round", 8, 0, ROUND, &[]);
        types
    }

    fn structure(types: &mut TestTypes, name: &str, bytes: u32, fields: Fields<'_>) {
        let mut rest = Vec::new();
        for (name, id, offset) in fields {
            rest.extend([types.name(name), *id, offset * 8]);
        }
        types.add(name, 4, fields.len(), bytes, &rest);
    }

    fn kernel(fields: Fields<'_>) -> Vec<u8> {
        let mut types = base();
        structure(&mut types, "ops", 64, fields);
        let value: Fields<'_> = &[("common", PAIR, 0), ("data", NEXT, 16)];
        structure(&mut types, "bpf_struct_ops_ops", 80, value);
        types.bytes()
    }

    /// Map `table` of `struct NAME`, with pointers to `start` and `stop`.
    fn object_of(name: &str, fields: Fields<'_>, data: &[u8], pointers: &[(u64, u64)]) -> Vec<u8> {
        let mut types = base();
        let bytes = u32::try_from(data.len()).unwrap();
        structure(&mut types, name, bytes, fields);
        object_with(types, data, pointers)
    }

    fn value_of_types(types: TestTypes) -> Result<StructOpsValue, StructOpsError> {
        struct_ops_value(&object_with(types, &[0; 8], &[]), &kernel(THERE), "table")
    }

    /// The last type is that of the map.
    fn object_with(mut types: TestTypes, data: &[u8], pointers: &[(u64, u64)]) -> Vec<u8> {
        let bytes = u32::try_from(data.len()).unwrap();
        types.add("table", 14, 0, NEXT, &[1]);
        types.add(".struct_ops.link", 15, 1, 0, &[NEXT + 1, 0, bytes]);
        let types = types.bytes();
        let entries: Vec<[u8; 16]> = pointers
            .iter()
            .map(|(at, to)| relocation(*at, *to))
            .collect();
        let sections = [
            code("struct_ops", &[0; 16]),
            section(".struct_ops.link", data),
            relocations(".rel.struct_ops.link", 2, entries.as_flattened()),
            section(".BTF", &types),
        ];
        let symbols = [
            symbol("start", elf::STT_FUNC, 1, 0, 8),
            symbol("stop", elf::STT_FUNC, 1, 8, 8),
            symbol("table", elf::STT_OBJECT, 2, 0, data.len() as u64),
        ];
        build(&sections, &symbols)
    }

    const THERE: Fields<'static> = &[
        ("first", FUNCTION, 0),
        ("flags", WORD, 8),
        ("name", NAME, 16),
        ("second", FUNCTION, 24),
        ("data", DATA, 32),
        ("pair", PAIR, 40),
    ];

    fn value(
        fields: Fields<'_>,
        data: &[u8],
        pointers: &[(u64, u64)],
    ) -> Result<StructOpsValue, StructOpsError> {
        let object = object_of("ops", fields, data, pointers);
        struct_ops_value(&object, &kernel(THERE), "table")
    }

    fn programs(value: &StructOpsValue) -> Vec<(u32, &str)> {
        let programs = value.programs.iter();
        programs
            .map(|member| (member.offset, member.program.as_str()))
            .collect()
    }

    #[test]
    fn members_go_where_the_kernel_has_them() {
        let fields: Fields<'_> = &[
            ("name", NAME, 0),
            ("second", FUNCTION, 8),
            ("flags", ALIAS, 16),
            ("first", FUNCTION, 24),
            ("newer", WORD, 32),
            ("newer_function", FUNCTION, 40),
            ("", WORD, 48),
        ];
        let mut data = [0_u8; 56];
        data[..4].copy_from_slice(b"test");
        data[16..20].copy_from_slice(&7_u32.to_ne_bytes());
        // What a compiler leaves where a relocation is does not count.
        data[8] = 9;
        let found = value(fields, &data, &[(8, 2), (24, 1)]).unwrap();
        let mut expected = vec![0; 80];
        expected[16 + 16..][..4].copy_from_slice(b"test");
        expected[16 + 8..][..4].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(found.bytes, expected);
        assert_eq!(programs(&found), [(40, "stop"), (16, "start")]);
        assert_eq!(found.struct_name, "ops");
    }

    #[test]
    fn a_variant_of_a_struct_is_the_struct() {
        for name in ["ops", "ops___old", "ops___a___b"] {
            let object = object_of(name, &[("flags", WORD, 0)], &[1, 0, 0, 0], &[]);
            let found = struct_ops_value(&object, &kernel(THERE), "table");
            // As libbpf does, only the last part is taken off.
            assert_eq!(found.is_ok(), name != "ops___a___b", "{found:?}");
        }
        assert_eq!(essential("ops____x"), "ops____x");
        assert_eq!(essential("___x"), "___x");
    }

    const ZERO: &[u8] = &[0; 24];
    const SET: &[u8] = &[1; 24];

    /// One member, the data, and a pointer to a program, if any.
    fn refusal((name, id, offset): (&str, u32, u32), data: &[u8], pointer: Option<u64>) -> String {
        let pointers: Vec<(u64, u64)> = pointer.into_iter().map(|at| (at, 1)).collect();
        let found = value(&[(name, id, offset)], data, &pointers);
        found.unwrap_err().to_string()
    }

    /// A member, the data, a pointer to a program, and what is wrong with them.
    type Misfit = (
        (&'static str, u32, u32),
        &'static [u8],
        Option<u64>,
        &'static str,
    );

    const MISFITS: &[Misfit] = &[
        (
            ("newer", WORD, 0),
            SET,
            None,
            "`newer` is set, but the struct of this kernel",
        ),
        (
            ("", WORD, 0),
            SET,
            None,
            "`` is set, but the struct of this kernel",
        ),
        (("newer", FUNCTION, 0), ZERO, Some(0), "`newer` is set, but"),
        (
            ("flags", FUNCTION, 0),
            ZERO,
            None,
            "`flags` is of another type",
        ),
        (
            ("name", LONG_NAME, 0),
            ZERO,
            None,
            "`name` has 16 byte(s), in this kernel 8",
        ),
        (
            ("first", FUNCTION, 0),
            SET,
            None,
            "`first` points to something that is no",
        ),
        (
            ("data", FUNCTION, 0),
            ZERO,
            Some(0),
            "`data` is no function in this kernel",
        ),
        (
            ("pair", PAIR, 0),
            ZERO,
            Some(8),
            "`pair` holds a pointer to a program inside",
        ),
        (
            ("pair", PAIR, 12),
            ZERO,
            None,
            "`pair` crosses the end of its struct",
        ),
        (
            ("flags", WORD, u32::MAX / 8),
            ZERO,
            None,
            "`flags` crosses the end",
        ),
        (
            ("first", FUNCTION, 0),
            ZERO,
            Some(4),
            "`first` points to something",
        ),
        (
            ("name", ROUND, 0),
            ZERO,
            None,
            "a type goes round in circles",
        ),
        (
            ("name", 99, 0),
            ZERO,
            None,
            "a type that is referred to is not there",
        ),
    ];

    #[test]
    fn a_member_that_does_not_fit_is_refused_by_name() {
        for (member, data, pointer, expected) in MISFITS {
            let error = refusal(*member, data, *pointer);
            assert!(error.contains(expected), "{error} is not {expected}");
        }
    }

    #[test]
    fn a_member_twice_and_a_pointer_to_a_program_elsewhere_are_refused() {
        let elsewhere = refusal(("flags", WORD, 0), ZERO, Some(8));
        assert_eq!(
            elsewhere,
            "byte 8 points to a program and is no member of the struct"
        );
        let twice = value(&[("flags", WORD, 0), ("flags", WORD, 4)], ZERO, &[]);
        assert_eq!(
            twice.unwrap_err().to_string(),
            "member `flags` is there twice"
        );
    }

    #[test]
    fn bit_fields_are_refused_on_both_sides() {
        const WIDTH: u32 = 3 << 24;
        let mut types = base();
        let flags = [types.name("flags"), WORD, WIDTH];
        types.add_bit_fields("ops", 1, 64, &flags);
        structure(&mut types, "bpf_struct_ops_ops", 80, &[("data", NEXT, 0)]);
        let object = object_of("ops", &[("flags", WORD, 0)], &[0; 8], &[]);
        let error = struct_ops_value(&object, &types.bytes(), "table").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("member `flags` is a bit field")
        );
        // Without the flag of its struct it is only a member far away.
        for (name, bits) in [("flags", 3), ("newer", 3)] {
            let mut types = base();
            let rest = [types.name(name), WORD, bits];
            types.add("ops", 4, 1, 8, &rest);
            let error = value_of_types(types).unwrap_err();
            assert!(error.to_string().contains("is a bit field"), "{error}");
        }
    }

    #[test]
    fn a_kernel_without_the_struct_is_named() {
        let object = object_of("other", &[("flags", WORD, 0)], &[0; 8], &[]);
        let unknown = StructOpsError::UnknownStruct("other".to_owned());
        assert_eq!(
            struct_ops_value(&object, &kernel(THERE), "table"),
            Err(unknown)
        );
        assert_eq!(
            struct_ops_value(&object, &kernel(THERE), "nosuch"),
            Err(StructOpsError::NoSuchMap)
        );
        let error = struct_ops_value(&object, b"no types", "table").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the types of this kernel cannot be read")
        );
    }

    #[test]
    fn a_struct_of_endless_size_is_refused() {
        let mut types = base();
        structure(&mut types, "ops", 64, THERE);
        let value: Fields<'_> = &[("data", NEXT, 16)];
        structure(&mut types, "bpf_struct_ops_ops", u32::MAX, value);
        let object = object_of("ops", &[("flags", WORD, 0)], &[0; 8], &[]);
        let found = struct_ops_value(&object, &types.bytes(), "table");
        assert!(matches!(
            found,
            Err(StructOpsError::TooLarge {
                bytes: u32::MAX,
                ..
            })
        ));
    }

    /// What the kernel has for the maps of `fixtures/struct_ops.c`, with a member that it does not know.
    fn congestion_control() -> Vec<u8> {
        let mut types = base();
        let fields: Fields<'_> = &[
            ("ssthresh", FUNCTION, 0),
            ("cong_avoid", FUNCTION, 8),
            ("pkts_acked", FUNCTION, 16),
            ("name", LONG_NAME, 24),
            ("init", FUNCTION, 40),
        ];
        structure(&mut types, "tcp_congestion_ops", 48, fields);
        let value: Fields<'_> = &[("common", PAIR, 0), ("data", NEXT, 64)];
        structure(&mut types, "bpf_struct_ops_tcp_congestion_ops", 128, value);
        types.bytes()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_compiled_object_is_laid_out_anew() {
        let found = struct_ops_value(STRUCT_OPS, &congestion_control(), "second").unwrap();
        assert_eq!(programs(&found), [(104, "start"), (72, "avoid_more")]);
        assert_eq!(&found.bytes[88..95], b"second\0");
        assert_eq!(found.bytes.len(), 128);
    }

    fn flipped(bytes: &[u8], flips: &[(prop::sample::Index, u8)]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = *value;
        }
        bytes
    }

    proptest! {
        #[test]
        fn damage_on_either_side_never_panics_and_programs_stay_inside(
            here in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            there in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            compiled in any::<bool>(),
        ) {
            let (object, types, map) = match compiled {
                true => (STRUCT_OPS.to_vec(), congestion_control(), "second"),
                false => {
                    let object = object_of("ops", THERE, &[0; 56], &[(0, 1), (24, 2)]);
                    (object, kernel(THERE), "table")
                }
            };
            let found = struct_ops_value(&flipped(&object, &here), &flipped(&types, &there), map);
            if let Ok(value) = found {
                for member in &value.programs {
                    let start = usize::try_from(member.offset).unwrap();
                    prop_assert!(start + 8 <= value.bytes.len());
                    prop_assert!(value.bytes[start..start + 8].iter().all(|byte| *byte == 0) || !there.is_empty());
                }
            }
        }
    }
}
