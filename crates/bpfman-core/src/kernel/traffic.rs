//! The programs of the traffic control: dumps of `RTM_GETQDISC` and `RTM_GETTFILTER`.
//!
//! Formats: `linux/rtnetlink.h` (`struct tcmsg`), `linux/pkt_cls.h`, `linux/pkt_sched.h`.

use alloc::vec::Vec;

use super::rtnetlink::DumpError;
use super::rtnetlink::Entry;
use super::rtnetlink::attributes;
use super::rtnetlink::number;
use super::rtnetlink::request;
use super::rtnetlink::text;
use crate::types::Direction;
use crate::types::IfIndex;
use crate::types::ProgramId;

/// `struct tcmsg`: family, padding, index, handle, parent, info.
const TCMSG_BYTES: usize = 20;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
/// `TC_H_CLSACT`, which is `TC_H_INGRESS`.
const TC_H_CLSACT: u32 = 0xffff_fff1;
/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS` in its low half.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// A place of an interface where filters can be: its discipline for incoming packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterQdisc {
    /// The interface.
    pub ifindex: IfIndex,
    /// The ways of packets that its filters see: `clsact` has two, the older `ingress` one.
    pub directions: &'static [Direction],
}

/// A filter that runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramFilter {
    /// Its program.
    pub program: ProgramId,
    /// Its preference: the smaller, the earlier.
    pub preference: u32,
    /// Its handle.
    pub handle: u32,
}

/// The request for the queueing disciplines of a namespace.
#[must_use]
pub fn qdisc_request() -> Vec<u8> {
    request(RTM_GETQDISC, &[0; TCMSG_BYTES])
}

/// The request for the filters of an interface.
#[must_use]
pub fn filter_request(ifindex: IfIndex, direction: Direction) -> Vec<u8> {
    let parent = match direction {
        Direction::Ingress => INGRESS,
        Direction::Egress => EGRESS,
    };
    let mut body = [0; TCMSG_BYTES];
    body[4..8].copy_from_slice(&ifindex.0.to_ne_bytes());
    body[12..16].copy_from_slice(&parent.to_ne_bytes());
    request(RTM_GETTFILTER, &body)
}

fn options(message: &[u8]) -> Result<&[u8], DumpError> {
    message.get(TCMSG_BYTES..).ok_or(DumpError::Truncated)
}

fn field(message: &[u8], at: usize) -> Result<u32, DumpError> {
    number(message, at).ok_or(DumpError::Truncated)
}

impl Entry for FilterQdisc {
    const MESSAGE: u16 = RTM_NEWQDISC;

    fn read(message: &[u8]) -> Result<Option<Self>, DumpError> {
        let mut rest = attributes(options(message)?);
        let kind = rest.find(|(kind, _)| *kind == TCA_KIND);
        let kind = kind.and_then(|(_, value)| text(value));
        let directions: &[Direction] = match (field(message, 12)?, kind) {
            (TC_H_CLSACT, Some("clsact")) => &[Direction::Ingress, Direction::Egress],
            // Asked for those that go out, it answers with those that come in.
            (TC_H_CLSACT, Some("ingress")) => &[Direction::Ingress],
            _ => return Ok(None),
        };
        Ok(Some(Self {
            ifindex: IfIndex(field(message, 4)?),
            directions,
        }))
    }
}

impl Entry for ProgramFilter {
    const MESSAGE: u16 = RTM_NEWTFILTER;

    /// The filters of a preference begin with a message of their own, which has no program.
    fn read(message: &[u8]) -> Result<Option<Self>, DumpError> {
        let mut rest = attributes(options(message)?);
        let options = rest.find(|(kind, _)| *kind == TCA_OPTIONS);
        let program = options.and_then(|(_, value)| {
            let id = attributes(value).find(|(kind, _)| *kind == TCA_BPF_ID);
            number(id?.1, 0)
        });
        let Some(program) = program else {
            return Ok(None);
        };
        Ok(Some(Self {
            program: ProgramId(program),
            preference: field(message, 16)? >> 16,
            handle: field(message, 8)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rtnetlink::Dump;
    use super::super::rtnetlink::tests::attribute;
    use super::super::rtnetlink::tests::message;
    use super::*;

    fn body(ifindex: u32, handle: u32, parent: u32, info: u32, rest: &[u8]) -> Vec<u8> {
        let fields = [0, ifindex, handle, parent, info];
        let fields = fields.iter().flat_map(|field| field.to_ne_bytes());
        fields.chain(rest.iter().copied()).collect()
    }

    fn qdisc(ifindex: u32, parent: u32, kind: &[u8]) -> Vec<u8> {
        let kind = attribute(TCA_KIND, kind);
        message(RTM_NEWQDISC, 2, &body(ifindex, 0, parent, 0, &kind))
    }

    #[test]
    fn the_older_discipline_has_filters_for_one_direction() {
        let answer = [
            qdisc(2, 0xffff_ffff, b"noqueue\0"),
            qdisc(2, TC_H_CLSACT, b"clsact\0"),
            qdisc(3, TC_H_CLSACT, b"ingress\0"),
        ];
        let mut dump = Dump::<FilterQdisc>::default();
        dump.read(&answer.concat()).unwrap();
        let found = dump.entries.iter();
        let found = found.map(|qdisc| (qdisc.ifindex.0, qdisc.directions.len()));
        assert_eq!(found.collect::<Vec<_>>(), [(2, 2), (3, 1)]);
    }

    #[test]
    fn a_filter_with_a_program_is_read_and_none_without() {
        let kind = attribute(TCA_KIND, b"bpf\0");
        let options = attribute(TCA_OPTIONS, &attribute(TCA_BPF_ID, &7_u32.to_ne_bytes()));
        let whole = [
            message(RTM_NEWTFILTER, 2, &body(2, 0, INGRESS, 49_152 << 16, &kind)),
            message(
                RTM_NEWTFILTER,
                2,
                &body(2, 1, INGRESS, 49_152 << 16 | 3, &[kind, options].concat()),
            ),
        ]
        .concat();
        let mut dump = Dump::<ProgramFilter>::default();
        dump.read(&whole).unwrap();
        let expected = ProgramFilter {
            program: ProgramId(7),
            preference: 49_152,
            handle: 1,
        };
        assert_eq!(dump.entries, [expected]);
        for end in 0..whole.len() {
            let _ = Dump::<ProgramFilter>::default().read(&whole[..end]);
        }
    }
}
