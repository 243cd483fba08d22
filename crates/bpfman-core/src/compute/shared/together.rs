//! What programs cannot have beside each other in one program, whatever their instructions are.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use super::Member;
use super::MemberName;
use crate::chain::ChainError;
use crate::chain::Refusal;
use crate::kernel::MapType;
use crate::types::F_XDP_HAS_FRAGS;
use crate::types::MapId;

/// `BPF_MAP_TYPE_PROG_ARRAY` and `BPF_MAP_TYPE_ARENA` of `linux/bpf.h`.
const PROGRAM_ARRAY: MapType = MapType(3);
const ARENA: MapType = MapType(33);

/// Looks for the first member that cannot be where the others are. `flags` are those of the chain.
pub(super) fn check(members: &[Member], flags: u32) -> Result<(), ChainError<MemberName>> {
    let mut arena: Option<(MapId, &Member)> = None;
    for member in members {
        let refused = |refusal| ChainError::Refused {
            member: MemberName::of(member),
            refusal,
        };
        for (id, _) in of_type(member, ARENA) {
            match arena {
                Some((other, first)) if other != id => {
                    return Err(refused(Refusal::Arenas {
                        map: map_name(member, id),
                        other: format!("`{}` of {}", map_name(first, other), MemberName::of(first)),
                    }));
                }
                _ => arena = Some((id, member)),
            }
        }
        let takes = member.kept.as_ref().map_or(0, |kept| kept.flags) & F_XDP_HAS_FRAGS;
        // Its owner is the member, which was loaded with it.
        let array = of_type(member, PROGRAM_ARRAY).next();
        if let Some((id, _)) = array.filter(|_| takes != flags & F_XDP_HAS_FRAGS) {
            let map = map_name(member, id);
            return Err(refused(Refusal::ProgramArrayOfFrags { map }));
        }
    }
    Ok(())
}

/// A member whose map of programs may be why the kernel calls a chain invalid.
pub(super) fn of_other_type(
    members: &[Member],
    attach_type: u32,
) -> Option<ChainError<MemberName>> {
    members.iter().find_map(|member| {
        let own = member.kept.as_ref()?.attach_type;
        let (id, _) = of_type(member, PROGRAM_ARRAY).next()?;
        (own != attach_type).then(|| ChainError::Refused {
            member: MemberName::of(member),
            refusal: Refusal::ProgramArrayOfType {
                map: map_name(member, id),
                own,
                chain: attach_type,
            },
        })
    })
}

fn of_type(member: &Member, wanted: MapType) -> impl Iterator<Item = (MapId, MapType)> {
    let maps = member.facts.maps.iter().map(|(id, found)| (*id, *found));
    maps.filter(move |(_, found)| *found == wanted)
}

fn map_name(member: &Member, id: MapId) -> String {
    let map = member.program.maps.iter().find(|map| map.id == id);
    map.map_or_else(|| format!("{id}"), |map| map.name.to_owned())
}
