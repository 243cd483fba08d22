//! The configuration of a dispatcher, and the bytes of the variable that holds it.
//!
//! Written by us, and by others: what is read came out of a map of the kernel and may hold anything.

use alloc::vec::Vec;

use super::mask;
use crate::types::F_XDP_HAS_FRAGS;
use crate::types::Family;

/// How many programs one dispatcher runs: the size of the arrays in its configuration.
pub const MAX_SLOTS: usize = 10;
/// The size of [`Layout::Xdp`]; libxdp takes no other.
pub const XDP_CONFIG_BYTES: usize = HEAD_BYTES + 3 * LANE_BYTES;
/// The size of [`Layout::Tc`] and [`Layout::XdpVersion1`].
pub const TC_CONFIG_BYTES: usize = HEAD_BYTES + 2 * LANE_BYTES;

/// The bytes before the arrays.
const HEAD_BYTES: usize = 4;
/// One array: a `u32` for every slot.
const LANE_BYTES: usize = MAX_SLOTS * size_of::<u32>();
/// `XDP_DISPATCHER_MAGIC` of the protocol.
const MAGIC: u8 = 236;
/// `XDP_DISPATCHER_VERSION` of the protocol.
const VERSION: u8 = 2;
/// The priority in a slot that is not in use (contract: section 4); libxdp looks only at those in use.
const DEFAULT_PRIORITY: u32 = 50;

/// How a configuration is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// XDP, version 2 of the protocol: what we write.
    Xdp,
    /// XDP, version 1 of the protocol: only met, where an older libxdp made the dispatcher.
    XdpVersion1,
    /// TC.
    Tc,
}

/// What a configuration says of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// After which answers the next slot runs: a [`mask()`].
    pub proceed_on: u32,
    /// The priority of its program: tools show it, the dispatcher does not look at it.
    pub priority: u32,
    /// The load flags of its program: `BPF_F_XDP_HAS_FRAGS` or none. Only [`Layout::Xdp`] keeps them.
    pub flags: u32,
}

/// The configuration of a dispatcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatcherConfig {
    layout: Layout,
    frags: bool,
    slots: Vec<Slot>,
}

/// More members than a dispatcher has slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a dispatcher runs at most {MAX_SLOTS} programs, not {0}")]
pub struct TooManySlots(pub usize);

/// Why bytes are no configuration that we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// They are no configuration.
    #[error("not the configuration of a dispatcher")]
    NotADispatcher,
    /// A dispatcher of libxdp, but of a version that we do not know.
    #[error("a dispatcher of version {0} of the protocol of libxdp, not {VERSION}")]
    UnknownVersion(u8),
}

impl DispatcherConfig {
    /// The configuration of a dispatcher that runs these slots in this order.
    ///
    /// An empty slot never ends the chain, also where a mask does not say so: the protocol demands it,
    /// lest a member that is detached behind our back leaves packets with an answer that nobody knows.
    ///
    /// # Errors
    /// [`TooManySlots`] when there are more than [`MAX_SLOTS`].
    pub fn new(family: Family, mut slots: Vec<Slot>) -> Result<Self, TooManySlots> {
        if slots.len() > MAX_SLOTS {
            return Err(TooManySlots(slots.len()));
        }
        for slot in &mut slots {
            slot.proceed_on |= mask(family, &[family.empty_slot()]);
            if family == Family::Tc {
                slot.flags = 0;
            }
        }
        let with_frags = |slot: &Slot| slot.flags & F_XDP_HAS_FRAGS != 0;
        Ok(Self {
            layout: match family {
                Family::Xdp => Layout::Xdp,
                Family::Tc => Layout::Tc,
            },
            // One member that cannot handle fragments is enough to keep them from all.
            frags: !slots.is_empty() && slots.iter().all(with_frags),
            slots,
        })
    }

    /// How it is laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether the dispatcher is loaded with `BPF_F_XDP_HAS_FRAGS`.
    #[must_use]
    pub fn frags(&self) -> bool {
        self.frags
    }

    /// The slots in use, in order.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The bytes of the variable, in this machine's byte order.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // No more than ten: see `new` and `decode`.
        let count = u8::try_from(self.slots.len()).unwrap_or(u8::MAX);
        let mut bytes = Vec::with_capacity(XDP_CONFIG_BYTES);
        match self.layout {
            Layout::Xdp => bytes.extend([MAGIC, VERSION, count, u8::from(self.frags)]),
            Layout::XdpVersion1 | Layout::Tc => bytes.extend([count, 0, 0, 0]),
        }
        self.extend_lane(&mut bytes, 0, |slot| slot.proceed_on);
        self.extend_lane(&mut bytes, DEFAULT_PRIORITY, |slot| slot.priority);
        if self.layout == Layout::Xdp {
            self.extend_lane(&mut bytes, 0, |slot| slot.flags);
        }
        bytes
    }

    fn extend_lane(&self, bytes: &mut Vec<u8>, unused: u32, value: impl Fn(&Slot) -> u32) {
        for slot in 0..MAX_SLOTS {
            let value = self.slots.get(slot).map_or(unused, &value);
            bytes.extend(value.to_ne_bytes());
        }
    }

    /// Reads the bytes of the variable of a dispatcher, whoever made it.
    ///
    /// Only in version 2 of the XDP protocol the bytes themselves tell what they are. For the others ask
    /// also for the name of the program ([`Family::dispatcher`]).
    ///
    /// # Errors
    /// [`ConfigError`] when they are none, or of a version that we do not know.
    pub fn decode(family: Family, bytes: &[u8]) -> Result<Self, ConfigError> {
        let (layout, count, frags) = match (family, bytes) {
            (Family::Xdp, [MAGIC, VERSION, count, frags, ..]) => (Layout::Xdp, *count, *frags != 0),
            (Family::Xdp, [MAGIC, version, ..]) => {
                return Err(ConfigError::UnknownVersion(*version));
            }
            (Family::Xdp, [count, ..]) => (Layout::XdpVersion1, *count, false),
            (Family::Tc, [count, ..]) => (Layout::Tc, *count, false),
            (_, []) => return Err(ConfigError::NotADispatcher),
        };
        let size = match layout {
            Layout::Xdp => XDP_CONFIG_BYTES,
            Layout::XdpVersion1 | Layout::Tc => TC_CONFIG_BYTES,
        };
        let count = usize::from(count);
        if bytes.len() != size || count > MAX_SLOTS {
            return Err(ConfigError::NotADispatcher);
        }
        let slot = |slot| Slot {
            proceed_on: in_lane(bytes, 0, slot),
            priority: in_lane(bytes, 1, slot),
            flags: in_lane(bytes, 2, slot),
        };
        Ok(Self {
            layout,
            frags,
            slots: (0..count).map(slot).collect(),
        })
    }
}

/// The number of a slot in one of the arrays; zero in an array that the layout does not have.
fn in_lane(bytes: &[u8], lane: usize, slot: usize) -> u32 {
    let start = HEAD_BYTES + lane * LANE_BYTES + slot * size_of::<u32>();
    let number = bytes.get(start..).and_then(<[u8]>::first_chunk);
    number.map_or(0, |number| u32::from_ne_bytes(*number))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    fn slot(proceed_on: u32, priority: u32, flags: u32) -> Slot {
        Slot {
            proceed_on,
            priority,
            flags,
        }
    }

    fn words(bytes: &[u8]) -> Vec<u32> {
        let words = bytes.chunks_exact(4);
        words
            .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
            .collect()
    }

    #[test]
    fn two_xdp_members_are_written_as_the_protocol_says() {
        let slots = vec![slot(0x8000_0004, 7, F_XDP_HAS_FRAGS), slot(2, 50, 0)];
        let bytes = DispatcherConfig::new(Family::Xdp, slots).unwrap().encode();
        assert_eq!(bytes.len(), 124);
        assert_eq!(bytes[..4], [236, 2, 2, 0]);
        let mut expected = vec![0x8000_0004, 0x8000_0002, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([7, 50, 50, 50, 50, 50, 50, 50, 50, 50]);
        expected.extend([32, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(words(&bytes[4..]), expected);
    }

    #[test]
    fn a_tc_member_is_written_without_magic_and_flags() {
        let slots = vec![slot(0x10, 1000, F_XDP_HAS_FRAGS)];
        let bytes = DispatcherConfig::new(Family::Tc, slots).unwrap().encode();
        assert_eq!(bytes.len(), 84);
        assert_eq!(bytes[..4], [1, 0, 0, 0]);
        let mut expected = vec![0x8000_0010, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([1000, 50, 50, 50, 50, 50, 50, 50, 50, 50]);
        assert_eq!(words(&bytes[4..]), expected);
    }

    #[test]
    fn fragments_reach_a_chain_only_when_every_member_handles_them() {
        let (with, without) = (slot(0, 0, F_XDP_HAS_FRAGS), slot(0, 0, 0));
        let table = [
            (Family::Xdp, vec![], false),
            (Family::Xdp, vec![without], false),
            (Family::Xdp, vec![with, without], false),
            (Family::Xdp, vec![with, with], true),
            (Family::Tc, vec![with], false),
        ];
        for (family, slots, expected) in table {
            let config = DispatcherConfig::new(family, slots).unwrap();
            assert_eq!(config.frags(), expected, "{config:?}");
        }
    }

    #[test]
    fn an_eleventh_member_is_refused() {
        for family in [Family::Xdp, Family::Tc] {
            let slots = vec![slot(0, 0, 0); MAX_SLOTS];
            assert!(DispatcherConfig::new(family, slots).is_ok());
            let slots = vec![slot(0, 0, 0); MAX_SLOTS + 1];
            let refusal = DispatcherConfig::new(family, slots);
            assert_eq!(refusal, Err(TooManySlots(11)));
        }
    }

    #[test]
    fn bytes_that_are_no_configuration_are_called_so() {
        let with_head = |head: [u8; 4], size| {
            let mut bytes = vec![0; size];
            bytes[..4].copy_from_slice(&head);
            bytes
        };
        let none = Err(ConfigError::NotADispatcher);
        let version = |version| Err(ConfigError::UnknownVersion(version));
        let table = [
            (Family::Xdp, vec![], none),
            (Family::Xdp, vec![MAGIC], none),
            (Family::Xdp, with_head([236, 2, 1, 0], 124), Ok(Layout::Xdp)),
            (Family::Xdp, with_head([236, 2, 11, 0], 124), none),
            (Family::Xdp, with_head([236, 2, 1, 0], 84), none),
            (Family::Xdp, with_head([236, 2, 1, 0], 128), none),
            (Family::Xdp, with_head([236, 3, 1, 0], 124), version(3)),
            (Family::Xdp, with_head([236, 1, 1, 0], 84), version(1)),
            (
                Family::Xdp,
                with_head([10, 0, 0, 0], 84),
                Ok(Layout::XdpVersion1),
            ),
            (Family::Xdp, with_head([11, 0, 0, 0], 84), none),
            (Family::Xdp, with_head([1, 0, 0, 0], 124), none),
            (Family::Tc, vec![], none),
            (Family::Tc, with_head([1, 7, 7, 7], 84), Ok(Layout::Tc)),
            (Family::Tc, with_head([11, 0, 0, 0], 84), none),
            (Family::Tc, with_head([236, 2, 1, 0], 124), none),
        ];
        for (family, bytes, expected) in table {
            let found = DispatcherConfig::decode(family, &bytes);
            let found = found.map(|config| config.layout());
            assert_eq!(found, expected, "{family:?} {bytes:?}");
        }
    }

    fn any_slot() -> impl Strategy<Value = Slot> {
        any::<(u32, u32, u32)>()
            .prop_map(|(proceed_on, priority, flags)| slot(proceed_on, priority, flags))
    }

    fn any_family() -> impl Strategy<Value = Family> {
        prop_oneof![Just(Family::Xdp), Just(Family::Tc)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(family in any_family(), slots in vec_of(any_slot(), 0..=MAX_SLOTS)) {
            let config = DispatcherConfig::new(family, slots).unwrap();
            let read = DispatcherConfig::decode(family, &config.encode());
            prop_assert_eq!(read, Ok(config));
        }

        #[test]
        fn whatever_is_read_is_a_dispatcher_or_refused(
            family in any_family(),
            head in prop_oneof![Just(vec![]), Just(vec![MAGIC, VERSION]), vec_of(0..16_u8, 1..4)],
            rest in prop_oneof![vec_of(any::<u8>(), 80..84), vec_of(any::<u8>(), 120..124), vec_of(any::<u8>(), 0..200)],
        ) {
            let bytes = [head, rest].concat();
            if let Ok(config) = DispatcherConfig::decode(family, &bytes) {
                prop_assert!(config.slots().len() <= MAX_SLOTS);
                let written = config.encode();
                prop_assert_eq!(written.len(), bytes.len());
                prop_assert_eq!(DispatcherConfig::decode(family, &written), Ok(config));
            }
        }
    }
}
