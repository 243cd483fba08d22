//! The kernel's lists of what a network namespace has, and of its interfaces: a dump of `RTM_GETLINK`.
//!
//! Formats: `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if_link.h`; man pages netlink(7) and rtnetlink(7). Numbers are
//! in the byte order of the machine.

use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Interface;
use crate::types::IfIndex;
use crate::types::InterfaceName;
use crate::types::ProgramId;

/// How many entries of a list are read: no machine has a million interfaces.
pub const MAX_ENTRIES: usize = 1 << 20;

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER_BYTES: usize = 16;
/// `struct ifinfomsg`: family, padding, type, index, flags, change.
const INTERFACE_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// The list changed while it was read.
const NLM_F_DUMP_INTR: u16 = 0x10;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_XDP: u16 = 43;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
/// `IFLA_XDP_PROG_ID`, `IFLA_XDP_DRV_PROG_ID`, `IFLA_XDP_SKB_PROG_ID`, `IFLA_XDP_HW_PROG_ID`.
const IFLA_XDP_PROGRAMS: core::ops::RangeInclusive<u16> = 4..=7;
/// `RTEXT_FILTER_SKIP_STATS`: counters are most of an answer.
const SKIP_STATISTICS: u32 = 1 << 3;
/// `NLA_TYPE_MASK`: the two highest bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;

/// Why a list cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// An answer is shorter than it says, or than its kind must be.
    #[error("the kernel's list is cut off")]
    Truncated,
    /// The kernel refused; its number.
    #[error("the kernel refuses the list (errno {0})")]
    Refused(i32),
    /// More than [`MAX_ENTRIES`].
    #[error("the list has more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// The request for the list of interfaces.
#[must_use]
pub fn interface_request() -> Vec<u8> {
    let mut body = [0; INTERFACE_BYTES].to_vec();
    body.extend(8_u16.to_ne_bytes());
    body.extend(IFLA_EXT_MASK.to_ne_bytes());
    body.extend(SKIP_STATISTICS.to_ne_bytes());
    request(RTM_GETLINK, &body)
}

/// A request for a list.
pub(super) fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + body.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(0).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// What a list has.
pub trait Entry: Sized {
    /// The type of its messages.
    const MESSAGE: u16;

    /// Reads one message; `None` for one that says nothing to us.
    ///
    /// # Errors
    /// [`DumpError::Truncated`]
    fn read(message: &[u8]) -> Result<Option<Self>, DumpError>;
}

/// A list that is being read, answer by answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump<T> {
    /// The entries so far.
    pub entries: Vec<T>,
    /// Whether that is all of them.
    pub done: bool,
    /// Whether the list changed meanwhile, so that it must be asked for again.
    pub interrupted: bool,
}

impl<T> Default for Dump<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            done: false,
            interrupted: false,
        }
    }
}

impl<T: Entry> Dump<T> {
    /// Reads one answer of the kernel: one datagram with several messages.
    ///
    /// # Errors
    /// [`DumpError`]
    pub fn read(&mut self, mut answer: &[u8]) -> Result<(), DumpError> {
        while !answer.is_empty() && !self.done {
            let (length, kind, flags) = header(answer).ok_or(DumpError::Truncated)?;
            let message = answer
                .get(HEADER_BYTES..length)
                .ok_or(DumpError::Truncated)?;
            self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
            match kind {
                NLMSG_DONE => self.done = true,
                NLMSG_ERROR => {
                    let number = number(message, 0).ok_or(DumpError::Truncated)?;
                    return Err(DumpError::Refused(number.cast_signed().wrapping_neg()));
                }
                kind if kind == T::MESSAGE => {
                    if self.entries.len() == MAX_ENTRIES {
                        return Err(DumpError::TooMany);
                    }
                    self.entries.extend(T::read(message)?);
                }
                _ => {}
            }
            answer = answer.get(padded(length)..).unwrap_or_default();
        }
        Ok(())
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(field.try_into().ok()?))
}

/// Length, type and flags of a message.
fn header(bytes: &[u8]) -> Option<(usize, u16, u16)> {
    let length = usize::try_from(number(bytes, 0)?).ok()?;
    let whole = length >= HEADER_BYTES;
    whole.then_some(())?;
    Some((length, short(bytes, 4)?, short(bytes, 6)?))
}

/// The attributes of a message or of another attribute. What is cut off ends them.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let length = usize::from(short(bytes, 0)?);
        let kind = short(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|byte| *byte == 0);
    core::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()
}

impl Entry for Interface {
    const MESSAGE: u16 = RTM_NEWLINK;

    /// One whose name is no text is passed over.
    fn read(message: &[u8]) -> Result<Option<Self>, DumpError> {
        interface(message)
    }
}

fn interface(message: &[u8]) -> Result<Option<Interface>, DumpError> {
    let index = number(message, 4).ok_or(DumpError::Truncated)?;
    let rest = message.get(INTERFACE_BYTES..).ok_or(DumpError::Truncated)?;
    let mut name = None;
    let mut alternative_names: Vec<String> = Vec::new();
    let mut xdp = Vec::new();
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => name = text(value).and_then(|name| InterfaceName::parse(name).ok()),
            IFLA_PROP_LIST => {
                let names = attributes(value).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
                let names = names.filter_map(|(_, value)| text(value));
                alternative_names.extend(names.map(ToString::to_string));
            }
            IFLA_XDP => xdp = programs(value),
            _ => {}
        }
    }
    Ok(name.map(|name| Interface {
        ifindex: IfIndex(index),
        name,
        alternative_names,
        xdp,
    }))
}

/// The programs of an interface. With one only, the kernel names it twice: in general and for its mode.
fn programs(value: &[u8]) -> Vec<ProgramId> {
    let ids = attributes(value).filter(|(kind, _)| IFLA_XDP_PROGRAMS.contains(kind));
    let ids = ids.filter_map(|(_, value)| number(value, 0));
    let mut programs: Vec<ProgramId> = ids.filter(|id| *id != 0).map(ProgramId).collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::kernel) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    pub(in crate::kernel) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    fn answer(index: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = [0; INTERFACE_BYTES];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        message(RTM_NEWLINK, 2, &[&body[..], &attributes.concat()].concat())
    }

    fn whole() -> Vec<u8> {
        let names = [&b"wan\0"[..], b"enp0s31f6-of-the-second-rack\0"];
        let names = names.map(|name| attribute(IFLA_ALT_IFNAME, name)).concat();
        // The kernel marks nested attributes.
        let first = [
            attribute(IFLA_IFNAME, b"eth0\0"),
            attribute(IFLA_PROP_LIST | 0x8000, &names),
            attribute(
                IFLA_XDP,
                &[
                    attribute(2, &[1]),
                    attribute(4, &7_u32.to_ne_bytes()),
                    attribute(5, &7_u32.to_ne_bytes()),
                ]
                .concat(),
            ),
        ];
        let second = [
            attribute(IFLA_IFNAME, b"lo\0"),
            attribute(IFLA_XDP, &attribute(2, &[0])),
        ];
        [
            answer(2, &first),
            answer(1, &second),
            message(NLMSG_DONE, 2, &[0; 4]),
        ]
        .concat()
    }

    #[test]
    fn names_alternative_names_and_programs_are_read() {
        let mut dump = Dump::<Interface>::default();
        dump.read(&whole()).unwrap();
        assert!(dump.done && !dump.interrupted);
        let [first, second] = &dump.entries[..] else {
            panic!("{dump:?}");
        };
        assert_eq!((first.ifindex, first.name.as_str()), (IfIndex(2), "eth0"));
        assert!(first.is_called("wan") && first.is_called("enp0s31f6-of-the-second-rack"));
        assert_eq!(first.xdp, [ProgramId(7)]);
        assert_eq!((second.name.as_str(), second.xdp.len()), ("lo", 0));
    }

    #[test]
    fn a_refusal_and_a_change_meanwhile_are_told() {
        let mut dump = Dump::<Interface>::default();
        let refused = message(NLMSG_ERROR, 0, &(-1_i32).to_ne_bytes());
        assert_eq!(dump.read(&refused), Err(DumpError::Refused(1)));
        let changed = message(NLMSG_DONE, NLM_F_DUMP_INTR, &[0; 4]);
        dump.read(&changed).unwrap();
        assert!(dump.interrupted);
    }

    #[test]
    fn no_answer_that_is_cut_off_or_damaged_is_a_panic_or_an_endless_loop() {
        let whole = whole();
        for end in 0..whole.len() {
            let _ = Dump::<Interface>::default().read(&whole[..end]);
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 3, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = Dump::<Interface>::default().read(&damaged);
            }
        }
    }
}
