//! What not every kernel can do, and how a try of it is read.

use serde::Serialize;

/// What a try of a feature showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureState {
    /// It was tried and works.
    Works,
    /// The kernel names it among its types; it was not tried.
    Declared,
    /// The kernel knows it and refused the try with `EPERM` or `EACCES`.
    Refused,
    /// The kernel does not have it.
    Missing,
    /// The try could not be made.
    Unknown,
}

/// `errno` numbers of `asm-generic/errno-base.h`.
const EPERM: i32 = 1;
const EACCES: i32 = 13;

impl FeatureState {
    /// Reads a try. `errno` is its error number, if it failed. A try that is made to fail inside the feature's own code
    /// ends with one of `reached`; every other error comes from a kernel without that code.
    #[must_use]
    pub fn of_try(errno: Option<i32>, reached: &[i32]) -> Self {
        match errno {
            None => Self::Works,
            Some(errno) if reached.contains(&errno) => Self::Works,
            Some(EPERM | EACCES) => Self::Refused,
            Some(_) => Self::Missing,
        }
    }

    /// Whether a program may count on it.
    #[must_use]
    pub fn is_there(self) -> bool {
        matches!(self, Self::Works | Self::Declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_is_read_by_where_it_ended() {
        const EBADF: i32 = 9;
        const EINVAL: i32 = 22;
        let table = [
            (None, FeatureState::Works),
            (Some(EBADF), FeatureState::Works),
            (Some(EPERM), FeatureState::Refused),
            (Some(EACCES), FeatureState::Refused),
            (Some(EINVAL), FeatureState::Missing),
        ];
        for (errno, state) in table {
            assert_eq!(FeatureState::of_try(errno, &[EBADF]), state, "{errno:?}");
        }
    }
}
