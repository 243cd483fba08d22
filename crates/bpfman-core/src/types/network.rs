//! Words of the network attach points.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error;
use strum::Display;

/// The longest interface name, in bytes: IFNAMSIZ of `linux/if.h` less its final NUL.
pub const MAX_INTERFACE_BYTES: usize = 15;

/// The longest alternative name of an interface, in bytes: ALTIFNAMSIZ of `linux/if.h` less its final NUL.
pub const MAX_ALTERNATIVE_NAME_BYTES: usize = 127;

/// Which way a packet goes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Display,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Direction {
    /// Into the interface.
    Ingress,
    /// Out of the interface.
    Egress,
}

/// How an XDP program meets its packets (`XDP_FLAGS_*_MODE` of `linux/if_link.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum XdpMode {
    /// In the driver where it can, else generic: the kernel decides.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// After the kernel has made a socket buffer.
    Generic,
    /// On the card.
    Offload,
}

/// The place of a program among others: the smaller, the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Priority(u32);

/// A priority that is negative or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is not between 0 and 2147483647")]
pub struct PriorityError(pub i64);

impl Priority {
    /// Checks a number.
    ///
    /// # Errors
    /// [`PriorityError`] when it is not between 0 and `i32::MAX`, the range of the wire.
    pub fn new(number: i64) -> Result<Self, PriorityError> {
        match u32::try_from(number) {
            Ok(value) if i32::try_from(value).is_ok() => Ok(Self(value)),
            _ => Err(PriorityError(number)),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(i64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct InterfaceName(String);

/// Why a text cannot name an interface (`dev_valid_name` of the kernel).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be an interface: a name has 1 to 15 bytes, no `/`, `:` or space", .0.escape_debug())]
pub struct InterfaceNameError(pub String);

impl InterfaceName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InterfaceNameError`] when the kernel would not give it to an interface.
    pub fn parse(name: &str) -> Result<Self, InterfaceNameError> {
        let wrong = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        let long = name.len() > MAX_INTERFACE_BYTES;
        if name.is_empty() || long || name == "." || name == ".." || name.contains(wrong) {
            return Err(InterfaceNameError(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InterfaceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// What a user calls an interface: its name, or one of its alternative names (`ip link property add ... altname`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceWord(String);

/// Why a text cannot be a name or an alternative name of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be an interface: a name has 1 to {MAX_ALTERNATIVE_NAME_BYTES} bytes and no spaces", .0.escape_debug())]
pub struct InterfaceWordError(pub String);

impl InterfaceWord {
    /// Checks a word. The kernel lets alternative names have almost any bytes; `ip` takes none with spaces.
    ///
    /// # Errors
    /// [`InterfaceWordError`] when no interface can be called so.
    pub fn parse(word: &str) -> Result<Self, InterfaceWordError> {
        let wrong = |c: char| c.is_whitespace() || c.is_control();
        let long = word.len() > MAX_ALTERNATIVE_NAME_BYTES;
        if word.is_empty() || long || word.contains(wrong) {
            return Err(InterfaceWordError(word.to_owned()));
        }
        Ok(Self(word.to_owned()))
    }

    /// The word as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<InterfaceName> for InterfaceWord {
    fn from(name: InterfaceName) -> Self {
        Self(name.0)
    }
}

impl fmt::Display for InterfaceWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_number_the_wire_can_carry() {
        for number in [-1, i64::from(i32::MAX) + 1, i64::MIN] {
            assert_eq!(Priority::new(number), Err(PriorityError(number)));
        }
        assert_eq!(Priority::new(0).unwrap().get(), 0);
        assert_eq!(
            Priority::new(i64::from(i32::MAX)).unwrap().get(),
            2_147_483_647
        );
    }

    #[test]
    fn a_name_that_no_interface_has_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "eth0:1",
            "two words",
            "a\nb",
            "sixteen-bytes-xx",
        ] {
            assert!(InterfaceName::parse(name).is_err(), "{name:?}");
        }
        assert_eq!(
            InterfaceName::parse("eth0.100").unwrap().as_str(),
            "eth0.100"
        );
    }

    #[test]
    fn an_interface_is_also_called_by_alternative_names() {
        let long = "a".repeat(MAX_ALTERNATIVE_NAME_BYTES);
        for word in ["eth0", "wan/uplink", "enp0s31f6-of-the-second-rack", &long] {
            assert_eq!(InterfaceWord::parse(word).unwrap().as_str(), word);
        }
        for word in ["", "two words", "a\nb", &alloc::format!("{long}a")] {
            assert!(InterfaceWord::parse(word).is_err(), "{word:?}");
        }
    }
}
