//! Where the arguments of a static probe are described.
//!
//! A program finds the arguments of the probe it runs at in the map [`USDT_SPECS`], under the cookie of the place. The
//! map is shared by all programs of its set, so each link takes elements that no other link refers to.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use super::attach_facts::UsdtFacts;
use super::attach_refusal::AttachRefusal;
use crate::action::KernelAction;
use crate::kernel;
use crate::links;
use crate::links::LinkDetails;
use crate::managed::Link;
use crate::managed::Program;
use crate::target::SpecLayout;
use crate::target::USDT_SPECS;
use crate::types::Base64Bytes;

/// How many elements a probe takes.
pub(super) fn spec_count(facts: &UsdtFacts) -> u32 {
    u32::try_from(facts.probe.specs.len()).unwrap_or(u32::MAX)
}

/// The first of as many elements as the probe takes that no link refers to.
pub(super) fn first_spec(program: &Program, facts: &UsdtFacts) -> Result<u32, AttachRefusal> {
    let map = spec_map(program, facts)?;
    let count = spec_count(facts);
    let mut taken: Vec<Range<u32>> = facts.neighbours.iter().filter_map(elements_of).collect();
    taken.sort_by_key(|range| range.start);
    let mut first: u32 = 0;
    for range in taken {
        if range.start >= first.saturating_add(count) {
            break;
        }
        first = first.max(range.end);
    }
    if first.saturating_add(count) <= map.max_entries {
        return Ok(first);
    }
    Err(AttachRefusal::SpecMap {
        program: program.id(),
        reason: alloc::format!(
            "no room for {count} more of {} elements; define BPF_USDT_MAX_SPEC_CNT larger",
            map.max_entries
        ),
    })
}

fn elements_of(link: &Link) -> Option<Range<u32>> {
    match link.details {
        LinkDetails::Usdt(links::Usdt {
            first_spec, specs, ..
        }) => Some(first_spec..first_spec.saturating_add(specs)),
        _ => None,
    }
}

fn spec_map<'a>(program: &Program, facts: &'a UsdtFacts) -> Result<&'a kernel::Map, AttachRefusal> {
    let map = facts.specs.as_ref();
    map.ok_or_else(|| AttachRefusal::NoSpecMap(program.id()))
}

/// Writes the descriptions.
pub(super) fn write_specs(
    program: &Program,
    facts: &UsdtFacts,
) -> Result<Vec<KernelAction>, AttachRefusal> {
    let map = spec_map(program, facts)?;
    let first = first_spec(program, facts)?;
    let refused = |reason: alloc::string::String| AttachRefusal::SpecMap {
        program: program.id(),
        reason,
    };
    let pins = program.maps.iter().filter(|own| own.name == USDT_SPECS);
    let path = pins.filter_map(|own| own.pin_path.clone()).next();
    let path = path.ok_or_else(|| AttachRefusal::NoSpecMap(program.id()))?;
    let layout =
        SpecLayout::of_value_size(map.value_size).map_err(|error| refused(error.to_string()))?;
    let write = |(at, spec): (u32, &crate::target::UsdtSpec)| {
        let value = spec
            .to_bytes(layout, 0)
            .map_err(|error| refused(error.to_string()))?;
        Ok(KernelAction::WriteMapElement {
            map: map.id,
            path: path.clone(),
            key: Base64Bytes((first + at).to_ne_bytes().to_vec()),
            value: Base64Bytes(value),
        })
    };
    (0..).zip(&facts.probe.specs).map(write).collect()
}
