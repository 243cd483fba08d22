//! What the sections of a BPF object are for, and the functions in them.
//!
//! As libbpf 1.7 sorts them (`libbpf.c`: `bpf_object__elf_collect`).

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use object::elf;

use super::ObjectError;
use super::image::Image;
use super::image::Section;
use super::image::Symbol;
use super::image::damaged;

/// The size of one instruction: `struct bpf_insn` of `linux/bpf.h`.
pub(super) const INSTRUCTION_BYTES: u64 = 8;

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    License,
    /// `maps`: declarations that libbpf no longer reads.
    LegacyMaps,
    /// `maps/NAME`: the same where it holds variables; libbpf takes no notice of it.
    PerhapsLegacyMaps,
    Maps,
    Types,
    Programs,
    /// `.text`: functions that programs call. libbpf 1.0 and later load none of them by itself.
    Subprograms,
    Data,
    StructOps,
    StructOpsRelocations,
    Other,
}

/// Where something is: the index of its section and the offset in it.
pub(super) type Place = (usize, u64);

/// What starts at a place, or is the last to start before it in the same section.
pub(super) fn at_or_before<T>(map: &BTreeMap<Place, T>, place: Place) -> Option<(&Place, &T)> {
    map.range((place.0, 0)..=place).next_back()
}

/// A function in a section of instructions.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) size: u64,
    /// Whether it is a program rather than a part of one.
    pub(super) entry: bool,
}

/// An object whose sections are sorted.
pub(super) struct Parts<'a> {
    pub(super) image: Image<'a>,
    pub(super) roles: Vec<Role>,
    pub(super) functions: Vec<Function<'a>>,
}

/// Reads what every look at an object begins with.
///
/// # Errors
/// [`ObjectError`] when libbpf would not open it on this machine, or when it is too large to be looked at.
pub(super) fn parts(bytes: &[u8]) -> Result<Parts<'_>, ObjectError> {
    let image = Image::parse(bytes)?;
    let roles = roles(&image);
    refuse_legacy_maps(&image, &roles)?;
    let functions = functions(&image, &roles)?;
    Ok(Parts {
        image,
        roles,
        functions,
    })
}

/// What the sections are for, in their order.
pub(super) fn roles(image: &Image<'_>) -> Vec<Role> {
    image.sections.iter().map(role).collect()
}

/// Sorts a section. The order of the questions is that of libbpf.
fn role(section: &Section<'_>) -> Role {
    if section.ignored() {
        return Role::Other;
    }
    match section.name {
        "license" => return Role::License,
        "maps" => return Role::LegacyMaps,
        ".maps" => return Role::Maps,
        ".BTF" => return Role::Types,
        "version" | ".BTF.ext" => return Role::Other,
        _ => {}
    }
    let is_kind = |name: &str| {
        let rest = section.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match section.kind {
        elf::SHT_PROGBITS if section.size == 0 => Role::Other,
        elf::SHT_PROGBITS if section.executable && section.name == ".text" => Role::Subprograms,
        elf::SHT_PROGBITS if section.executable => Role::Programs,
        elf::SHT_PROGBITS if is_kind(".data") || is_kind(".rodata") => Role::Data,
        elf::SHT_PROGBITS if is_struct_ops(section.name) => Role::StructOps,
        elf::SHT_PROGBITS if section.name.starts_with("maps/") => Role::PerhapsLegacyMaps,
        elf::SHT_NOBITS if is_kind(".bss") && section.size > 0 => Role::Data,
        elf::SHT_REL if section.name.strip_prefix(".rel").is_some_and(is_struct_ops) => {
            Role::StructOpsRelocations
        }
        _ => Role::Other,
    }
}

/// A leading `?` tells libbpf not to create the maps by default.
fn is_struct_ops(name: &str) -> bool {
    let name = name.strip_prefix('?').unwrap_or(name);
    name == ".struct_ops" || name == ".struct_ops.link"
}

fn refuse_legacy_maps(image: &Image<'_>, roles: &[Role]) -> Result<(), ObjectError> {
    let declared = roles.iter().position(|role| *role == Role::LegacyMaps);
    let variable = || {
        variables(image, roles, Role::PerhapsLegacyMaps)
            .next()
            .map(|symbol| symbol.section)
    };
    match declared
        .or_else(variable)
        .and_then(|index| image.sections.get(index))
    {
        Some(section) => Err(ObjectError::LegacyMaps {
            section: section.name.to_owned(),
        }),
        None => Ok(()),
    }
}

/// The last section of a kind, which is the one that libbpf takes.
pub(super) fn last<'i, 'a>(
    image: &'i Image<'a>,
    roles: &[Role],
    role: Role,
) -> Option<&'i Section<'a>> {
    let index = roles.iter().rposition(|known| *known == role)?;
    image.sections.get(index)
}

/// The variables in sections of a kind, in the order of the symbol table.
pub(super) fn variables(
    image: &Image<'_>,
    roles: &[Role],
    role: Role,
) -> impl Iterator<Item = Symbol> {
    let of_role = move |symbol: &Symbol| roles.get(symbol.section) == Some(&role);
    let variables = image
        .symbols()
        .filter(|symbol| symbol.kind == elf::STT_OBJECT && symbol.size > 0);
    variables.filter(of_role)
}

/// Every function, in the order of the symbol table, but none that libbpf would call corrupted.
fn functions<'a>(image: &Image<'a>, roles: &[Role]) -> Result<Vec<Function<'a>>, ObjectError> {
    let mut functions = Vec::new();
    for symbol in image
        .symbols()
        .filter(|symbol| symbol.kind == elf::STT_FUNC)
    {
        let entry = match roles.get(symbol.section) {
            Some(Role::Programs) => !symbol.local,
            Some(Role::Subprograms) => false,
            _ => continue,
        };
        let name = image.symbol_name(&symbol)?;
        image.check_bounds(&symbol)?;
        let whole = symbol.size % INSTRUCTION_BYTES == 0 && symbol.value % INSTRUCTION_BYTES == 0;
        if symbol.size == 0 || !whole {
            return Err(damaged(format!(
                "function `{name}` is not made of whole instructions"
            )));
        }
        functions.push(Function {
            name,
            place: (symbol.section, symbol.value),
            size: symbol.size,
            entry,
        });
    }
    Ok(functions)
}
