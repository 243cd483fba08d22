//! What a struct_ops map is filled with, and registered by.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::attach_refusal::AttachRefusal;
use super::attachment::Attachment;
use crate::action::AttachTarget;
use crate::action::FillStructOps;
use crate::action::KernelAction;
use crate::action::MemberProgram;
use crate::kernel;
use crate::kernel::PinState;
use crate::links;
use crate::links::LinkDetails;
use crate::managed::ManagedMap;
use crate::managed::Program;
use crate::object::ObjectMap;
use crate::object::ObjectMapKind;
use crate::object::StructOpsMember;
use crate::object::StructOpsValue;
use crate::types::AbsolutePath;
use crate::types::Base64Bytes;
use crate::types::MapId;

/// `BPF_F_LINK` of `linux/bpf.h`: what the map implements is registered by a link.
const WITH_LINK: u32 = 1 << 13;

/// A struct_ops map, and what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructOpsFacts {
    /// The map.
    pub map: ManagedMap,
    /// What it is to hold.
    pub value: StructOpsValue,
    /// The programs of the map that are managed, each with what is at its pin.
    pub programs: Vec<(Program, PinState)>,
}

/// The map that is meant, of those the object declares.
///
/// # Errors
/// [`AttachRefusal::NoStructOpsMap`], [`AttachRefusal::SeveralStructOpsMaps`].
pub fn struct_ops_map(
    program: &Program,
    declared: &[ObjectMap],
    asked: Option<&str>,
) -> Result<ManagedMap, AttachRefusal> {
    let name = &program.load.program_name;
    let uses = |map: &&ObjectMap| matches!(&map.kind, ObjectMapKind::StructOps { programs } if programs.contains(name));
    let own = |map: &ObjectMap| program.maps.iter().find(|own| own.name == map.name);
    let users: Vec<&ManagedMap> = declared.iter().filter(uses).filter_map(own).collect();
    let names = || users.iter().map(|map| map.name.clone()).collect();
    let meant = users
        .iter()
        .filter(|map| asked.is_none_or(|asked| asked == map.name));
    match meant.collect::<Vec<_>>().as_slice() {
        [] => Err(AttachRefusal::NoStructOpsMap {
            program: program.id(),
            map: asked.map(ToOwned::to_owned),
            available: names(),
        }),
        [map] => Ok((**map).clone()),
        _ => Err(AttachRefusal::SeveralStructOpsMaps {
            program: program.id(),
            maps: names(),
        }),
    }
}

/// Refuses a map that is not at its pin, and one whose registration nothing would take back.
///
/// # Errors
/// [`AttachRefusal::StructOpsMapGone`], [`AttachRefusal::StructOpsWithoutLink`].
pub fn with_link(
    program: &Program,
    map: &ManagedMap,
    at_pin: Option<&PinState>,
) -> Result<(), AttachRefusal> {
    match at_pin {
        Some(PinState::Map(kernel::Map { id, flags, .. })) if *id == map.id => {
            match flags & WITH_LINK {
                0 => Err(AttachRefusal::StructOpsWithoutLink(map.name.clone())),
                _ => Ok(()),
            }
        }
        _ => Err(AttachRefusal::StructOpsMapGone {
            program: program.id(),
            map: map.name.clone(),
        }),
    }
}

fn pin<'a>(
    program: &Program,
    map: &'a ManagedMap,
) -> Result<(MapId, &'a AbsolutePath), AttachRefusal> {
    match &map.pin_path {
        Some(path) => Ok((map.id, path)),
        None => Err(AttachRefusal::StructOpsMapGone {
            program: program.id(),
            map: map.name.clone(),
        }),
    }
}

pub(super) fn struct_ops(
    program: &Program,
    facts: &StructOpsFacts,
) -> Result<Attachment, AttachRefusal> {
    let (map, path) = pin(program, &facts.map)?;
    Ok(Attachment {
        target: AttachTarget::StructOps {
            map,
            path: path.clone(),
        },
        details: LinkDetails::StructOps(links::StructOps {
            map: facts.map.name.clone(),
            map_id: map,
            struct_name: facts.value.struct_name.clone(),
        }),
    })
}

/// Writes the value, in which every program is one that lives.
pub(super) fn fill_struct_ops(
    program: &Program,
    facts: &StructOpsFacts,
) -> Result<KernelAction, AttachRefusal> {
    let (map, path) = pin(program, &facts.map)?;
    let programs = facts.value.programs.iter();
    let programs: Result<_, AttachRefusal> = programs.map(|member| found(facts, member)).collect();
    Ok(KernelAction::FillStructOps(FillStructOps {
        map,
        path: path.clone(),
        value: Base64Bytes(facts.value.bytes.clone()),
        programs: programs?,
    }))
}

fn found(facts: &StructOpsFacts, member: &StructOpsMember) -> Result<MemberProgram, AttachRefusal> {
    let lives = |(program, pin): &&(Program, PinState)| {
        program.load.program_name == member.program
            && program.maps.contains(&facts.map)
            && matches!(pin, PinState::Program(found) if found.identity == program.identity)
    };
    match facts.programs.iter().find(lives) {
        Some((program, _)) => Ok(MemberProgram {
            offset: member.offset,
            program: program.id(),
            path: program.pin_path.clone(),
        }),
        None => Err(AttachRefusal::StructOpsProgramGone {
            map: facts.map.name.clone(),
            program: String::clone(&member.program),
        }),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::super::is_ours;
    use super::super::tests::managed;
    use super::super::tests::observed;
    use super::super::tests::path;
    use super::*;
    use crate::kernel::KernelLinkType;
    use crate::kernel::LinkPlace;
    use crate::kernel::Map;
    use crate::kernel::MapType;
    use crate::managed::Link;
    use crate::types::KernelLinkId;
    use crate::types::LinkId;
    use crate::types::ProgramId;
    use crate::types::UnixTime;

    /// A program `NAME` with maps 1 `one` and 2 `two`.
    fn program(id: u32, name: &str) -> Program {
        let maps = [(1, "one", Some("/maps/one")), (2, "two", None)];
        let mut program = managed(id, None, &maps);
        name.clone_into(&mut program.load.program_name);
        program
    }

    fn declared(maps: &[(&str, &[&str])]) -> Vec<ObjectMap> {
        let map = |(name, programs): &(&str, &[&str])| ObjectMap {
            name: (*name).to_owned(),
            kind: ObjectMapKind::StructOps {
                programs: programs.iter().map(ToString::to_string).collect(),
            },
            shape: None,
            inner: None,
        };
        maps.iter().map(map).collect()
    }

    #[test]
    fn the_map_is_the_only_one_that_uses_the_program_or_the_named_one() {
        let both: &[(&str, &[&str])] =
            &[("one", &["a", "b"]), ("two", &["a"]), ("not_made", &["b"])];
        let none = "no struct_ops map uses program 5";
        let table = [
            ("b", None, Ok("one")),
            ("a", Some("two"), Ok("two")),
            (
                "a",
                None,
                Err("program 5 is used by several struct_ops maps: one, two"),
            ),
            (
                "b",
                Some("two"),
                Err("no struct_ops map `two` uses program 5"),
            ),
            ("c", None, Err(none)),
        ];
        for (name, asked, expected) in table {
            let found = struct_ops_map(&program(5, name), &declared(both), asked);
            let found = found.map(|map| map.name).map_err(|error| error.to_string());
            assert_eq!(
                found,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{name}"
            );
        }
    }

    fn map(id: u32, flags: u32) -> PinState {
        PinState::Map(Map {
            id: MapId(id),
            name: "one".to_owned(),
            map_type: MapType(26),
            key_size: 4,
            value_size: 64,
            max_entries: 1,
            flags,
            btf_id: 0,
            map_extra: 0,
            memlock: None,
            frozen: Some(false),
        })
    }

    #[test]
    fn only_a_map_with_a_link_at_its_pin_is_attached() {
        let program = program(5, "a");
        let gone = "map `one` of program 5 is no longer at its pin";
        let table = [
            (Some(map(1, WITH_LINK)), None),
            (
                Some(map(1, 0)),
                Some(
                    "struct_ops map `one` cannot be attached by a link: it is in section `.struct_ops`",
                ),
            ),
            (Some(map(9, WITH_LINK)), Some(gone)),
            (Some(PinState::Other), Some(gone)),
            (None, Some(gone)),
        ];
        for (at_pin, expected) in table {
            let found = with_link(&program, &program.maps[0], at_pin.as_ref());
            let error = found.err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected);
        }
    }

    #[test]
    fn a_map_is_filled_with_programs_that_live() {
        let own = program(5, "a");
        let other = program(6, "b");
        let alive = |program: &Program| PinState::Program(observed(program.identity));
        let member = |offset, program: &str| StructOpsMember {
            offset,
            program: program.to_owned(),
        };
        let mut facts = StructOpsFacts {
            map: own.maps[0].clone(),
            value: StructOpsValue {
                struct_name: "ops".to_owned(),
                bytes: vec![0; 64],
                programs: vec![member(8, "b"), member(16, "a")],
            },
            programs: vec![(own.clone(), alive(&own)), (other.clone(), alive(&other))],
        };
        let Ok(KernelAction::FillStructOps(fill)) = fill_struct_ops(&own, &facts) else {
            panic!("it is filled");
        };
        let places = fill
            .programs
            .iter()
            .map(|member| (member.offset, member.program.0));
        assert_eq!(places.collect::<Vec<_>>(), [(8, 6), (16, 5)]);
        assert_eq!(fill.path, path("/maps/one"));
        let gone =
            "struct_ops map `one` calls program `b`, which is not managed or no longer at its pin";
        for pin in [PinState::Other, alive(&own)] {
            facts.programs[1].1 = pin;
            assert_eq!(fill_struct_ops(&own, &facts).unwrap_err().to_string(), gone);
        }
        // Of another load: the map has the same name and is not the same.
        facts.programs[1] = (other.clone(), alive(&other));
        facts.programs[1].0.maps[0].id = MapId(3);
        assert_eq!(fill_struct_ops(&own, &facts).unwrap_err().to_string(), gone);
    }

    #[test]
    fn a_link_is_ours_while_it_holds_our_map_or_none() {
        let link = Link {
            id: LinkId(1),
            program: ProgramId(5),
            kernel: Some(KernelLinkId(7)),
            pin_path: None,
            details: LinkDetails::StructOps(links::StructOps {
                map: "one".to_owned(),
                map_id: MapId(1),
                struct_name: "ops".to_owned(),
            }),
            metadata: alloc::collections::BTreeMap::new(),
            created_at: UnixTime(0),
        };
        let found = |id, place| kernel::Link {
            id: KernelLinkId(id),
            program: ProgramId(0),
            link_type: KernelLinkType(9),
            place,
            facts: kernel::LinkFacts::default(),
        };
        let holds = |map: Option<u32>| LinkPlace::Map {
            map: map.map(MapId),
        };
        assert!(is_ours(&link, &found(7, holds(Some(1)))));
        assert!(is_ours(&link, &found(7, holds(None))));
        assert!(!is_ours(&link, &found(7, holds(Some(2)))));
        assert!(!is_ours(&link, &found(8, holds(Some(1)))));
        assert!(!is_ours(&link, &found(7, LinkPlace::Unsaid)));
    }
}
