//! Absolute paths that are safe to print, to store and to hand to the kernel.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error;

/// The longest path we accept, in bytes: PATH_MAX of `linux/limits.h` less its final NUL.
pub const MAX_PATH_BYTES: usize = 4095;

/// An absolute path without `.` or `..` components, doubled or trailing slashes, or control characters.
///
/// One spelling per file, so two equal paths compare equal, and a path that was checked to lie under a
/// directory cannot climb out of it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AbsolutePath(String);

/// Why a text is not an [`AbsolutePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("path `{0}` is not absolute")]
    Relative(String),
    /// It holds a `..` component.
    #[error("path `{0}` holds a `..` component")]
    ParentComponent(String),
    /// It holds a NUL, a newline or another control character.
    #[error("path {0:?} holds a control character")]
    ControlCharacter(String),
    /// It is longer than [`MAX_PATH_BYTES`].
    #[error("path is {0} bytes long; the kernel takes {MAX_PATH_BYTES}")]
    TooLong(usize),
}

impl AbsolutePath {
    /// Reads a path; doubled slashes and `.` components are dropped.
    ///
    /// # Errors
    /// A [`PathError`] that names what is wrong.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong(text.len()));
        }
        if is_clean(text) {
            return Ok(Self(text.to_owned()));
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::ControlCharacter(text.to_owned()));
        }
        if !text.starts_with('/') {
            return Err(PathError::Relative(text.to_owned()));
        }
        let mut clean = String::with_capacity(text.len());
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => return Err(PathError::ParentComponent(text.to_owned())),
                name => {
                    clean.push('/');
                    clean.push_str(name);
                }
            }
        }
        if clean.is_empty() {
            clean.push('/');
        }
        Ok(Self(clean))
    }

    /// This path with one more component.
    ///
    /// # Panics
    /// When `name` is not one plain component: callers pass constants, ids and [`super::PinName`]s.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        assert!(
            !name.is_empty() && name != ".." && name != "." && !name.contains('/'),
            "a path grows by one plain component at a time, not by {name:?}"
        );
        let separator = if self.0 == "/" { "" } else { "/" };
        Self(format!("{}{separator}{name}", self.0))
    }

    /// The directory that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            _ if self.0 == "/" => None,
            Some(0) => Some(Self("/".to_owned())),
            Some(at) => Some(Self(self.0[..at].to_owned())),
            None => None,
        }
    }

    /// Whether this path lies below `directory` (a path is not below itself).
    #[must_use]
    pub fn is_below(&self, directory: &Self) -> bool {
        directory.0 == "/" && self.0 != "/"
            || self
                .0
                .strip_prefix(directory.0.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

/// Whether a text is an [`AbsolutePath`] as it stands: most are, and listing reads thousands.
fn is_clean(text: &str) -> bool {
    let mut previous = 0;
    for byte in text.bytes() {
        if !(0x20..0x7f).contains(&byte) || (previous == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        previous = byte;
    }
    text.starts_with('/') && previous != b'/'
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path as a user typed it, absolute or not. It is only shown: what it named is known by its [`AbsolutePath`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TypedPath(String);

impl TypedPath {
    /// Takes a text that can be printed on one line.
    ///
    /// # Errors
    /// [`PathError::ControlCharacter`], [`PathError::TooLong`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::ControlCharacter(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&AbsolutePath> for TypedPath {
    fn from(path: &AbsolutePath) -> Self {
        Self(path.0.clone())
    }
}

impl fmt::Display for TypedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TypedPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::parse(text).unwrap()
    }

    #[test]
    fn a_path_has_one_spelling() {
        for text in ["/a/b", "//a//b/", "/./a/b/."] {
            assert_eq!(path(text).as_str(), "/a/b", "{text}");
        }
        assert_eq!(path("/").as_str(), "/");
    }

    #[test]
    fn a_path_that_climbs_is_relative_or_holds_control_characters_is_refused() {
        assert!(matches!(
            AbsolutePath::parse("a/b"),
            Err(PathError::Relative(_))
        ));
        assert!(matches!(
            AbsolutePath::parse(""),
            Err(PathError::Relative(_))
        ));
        assert!(matches!(
            AbsolutePath::parse("/a/../b"),
            Err(PathError::ParentComponent(_))
        ));
        assert!(matches!(
            AbsolutePath::parse("/a\nb"),
            Err(PathError::ControlCharacter(_))
        ));
        let long = format!("/{}", "a".repeat(MAX_PATH_BYTES));
        assert!(matches!(
            AbsolutePath::parse(&long),
            Err(PathError::TooLong(4096))
        ));
    }

    #[test]
    fn a_typed_path_stays_as_it_was_but_fits_on_a_line() {
        for text in ["x.o", "./a/../b.o", "/a//b.o"] {
            assert_eq!(TypedPath::parse(text).unwrap().as_str(), text);
        }
        assert!(TypedPath::parse("a\nb").is_err());
        assert!(TypedPath::parse(&"a".repeat(MAX_PATH_BYTES + 1)).is_err());
    }

    #[test]
    fn below_means_a_component_deeper_not_a_longer_name() {
        assert!(path("/a/b").is_below(&path("/a")));
        assert!(path("/a").is_below(&path("/")));
        assert!(!path("/ab").is_below(&path("/a")));
        assert!(!path("/a").is_below(&path("/a")));
        assert!(!path("/").is_below(&path("/")));
    }

    #[test]
    fn parents_end_at_the_root() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!(path("/").parent(), None);
    }
}
