//! Names out of object files that become file names.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error;

/// The longest file name, in bytes: NAME_MAX of `linux/limits.h`.
pub const MAX_NAME_BYTES: usize = 255;

/// A name that can be a file on a bpffs: one component, no control characters, no dot.
///
/// The kernel refuses a name with a dot on a bpffs (`bpf_lookup` in `kernel/bpf/inode.c`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PinName(String);

/// Why a name cannot be a [`PinName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be the name of a pin: it must be 1 to 255 bytes without `/`, `.` or control characters", name.escape_debug())]
pub struct NameError {
    /// The name as it was found.
    pub name: String,
}

impl PinName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] when it cannot be one file on a bpffs.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let unsafe_character = |c: char| c == '/' || c == '.' || c.is_control();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(unsafe_character) {
            return Err(NameError {
                name: name.to_owned(),
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PinName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PinName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_its_directory_is_refused() {
        for name in [
            "", ".", "..", "a/b", "../x", ".rodata", "a.b", "a\0b", "a\nb",
        ] {
            assert!(PinName::parse(name).is_err(), "{name:?}");
        }
        assert!(PinName::parse(&"a".repeat(256)).is_err());
        assert_eq!(PinName::parse("counters").unwrap().as_str(), "counters");
    }
}
