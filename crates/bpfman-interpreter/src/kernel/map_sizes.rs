//! The sizes of maps that are not those of their declarations.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::LoadObject;
use bpfman_core::action::MapEntries;
use bpfman_core::action::MapSize;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::MapMachine;
use bpfman_core::kernel::MapShape;
use bpfman_core::object::CONFIGURATION;
use libbpf_rs::OpenMapMut;
use libbpf_rs::OpenObject;

use super::errors::bad_request;
use super::errors::refused;
use super::sys;

/// How the kernel calls a map that only shows what others look like.
const TEMPLATE_NAME: &str = "inner";

/// Gives maps their sizes, before any is compared or made. What it answers must stay open until the load.
pub(super) fn set(
    object: &mut OpenObject,
    request: &LoadObject,
) -> Result<Vec<OwnedFd>, KernelError> {
    let mut templates = Vec::new();
    let mut sized = Vec::new();
    for mut map in object.maps_mut() {
        let name = section_or_name(&map.name().to_string_lossy());
        for size in &request.map_sizes {
            let failed = |error: io::Error| refused(&format!("map `{}`", size.name), &error);
            if size.name == name {
                set_own(&mut map, size).map_err(failed)?;
            } else if size.name.strip_suffix(".inner") == Some(name.as_str()) {
                templates.push(set_inner(&mut map, size).map_err(failed)?);
            } else {
                continue;
            }
            sized.push(&size.name);
        }
    }
    let mut sizes = request.map_sizes.iter();
    match sizes.find(|size| !sized.contains(&&size.name)) {
        Some(size) => Err(bad_request(format!(
            "{} has no map `{}`",
            request.object, size.name
        ))),
        None => Ok(templates),
    }
}

fn set_own(map: &mut OpenMapMut<'_>, size: &MapSize) -> io::Result<()> {
    let entries = entries(size)?;
    sys::set_map_size(map, size.key_size, size.value_size, entries)
}

/// libbpf changes no map that is only declared inside another. So one is made that looks as they shall.
fn set_inner(map: &mut OpenMapMut<'_>, size: &MapSize) -> io::Result<OwnedFd> {
    let declared = sys::inner_map(map)?;
    let shape = MapShape {
        key_size: size.key_size.unwrap_or(declared.key_size),
        value_size: size.value_size.unwrap_or(declared.value_size),
        max_entries: entries(size)?.unwrap_or(declared.max_entries),
        ..declared
    };
    let template = sys::make_map(TEMPLATE_NAME, &shape.as_made(machine()?))?;
    sys::set_inner_map(map, template.as_fd())?;
    Ok(template)
}

fn entries(size: &MapSize) -> io::Result<Option<u32>> {
    match size.max_entries {
        Some(MapEntries::Number(entries)) => Ok(Some(entries)),
        Some(MapEntries::PossibleProcessors) => sys::possible_cpus().map(Some),
        None => Ok(None),
    }
}

pub(super) fn machine() -> io::Result<MapMachine> {
    Ok(MapMachine {
        possible_cpus: sys::possible_cpus()?,
        page_size: u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX),
    })
}

/// The name of a map in its object; for the map of a data section, which libbpf may call `OBJECT.rodata`,
/// that of the section. Names of C hold no dot.
pub(super) fn section_or_name(name: &str) -> String {
    const SECTIONS: [&str; 4] = [".rodata", ".data", ".bss", CONFIGURATION];
    let section = SECTIONS.iter().find(|section| name.ends_with(**section));
    match section {
        Some(section) if !name.starts_with('.') => (*section).to_owned(),
        _ => name.to_owned(),
    }
}
