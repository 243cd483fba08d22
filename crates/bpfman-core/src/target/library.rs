//! Names of shared libraries: what a user says, and what files are called.

use core::cmp::Ordering;

/// How well a file's name answers to the name of a library. The greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    exact: bool,
    version: Option<&'a str>,
}

/// Whether a file is the library that is meant: `c`, `libc`, `libc.so` and `libc.so.6` all mean `libc.so.6`, and so
/// does `libc-2.31.so`, as older systems name the file itself.
#[must_use]
pub fn matches<'a>(wanted: &str, file: &'a str) -> Option<Match<'a>> {
    if wanted.is_empty() || wanted.contains('/') {
        return None;
    }
    if wanted == file {
        return Some(Match {
            exact: true,
            version: None,
        });
    }
    let stem = wanted.strip_suffix(".so").unwrap_or(wanted);
    let rest = match file.strip_prefix(stem) {
        Some(rest) => rest,
        None => file.strip_prefix("lib")?.strip_prefix(stem)?,
    };
    let version = match rest.strip_prefix(".so") {
        Some("") => None,
        Some(version) => Some(version.strip_prefix('.')?),
        None => {
            let version = rest.strip_prefix('-')?.strip_suffix(".so")?;
            Some(
                version
                    .strip_prefix(|c: char| c.is_ascii_digit())
                    .map(|_| version)?,
            )
        }
    };
    Some(Match {
        exact: false,
        version,
    })
}

impl Match<'_> {
    /// What to take when several files match. A file with a version is what programs load; one without is for the
    /// compiler. Of two versions the newer one is taken.
    fn key(&self) -> (bool, bool) {
        (self.exact, self.version.is_some())
    }
}

impl PartialOrd for Match<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Match<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_version = || match (self.version, other.version) {
            (Some(left), Some(right)) => compare_versions(left, right),
            _ => Ordering::Equal,
        };
        self.key().cmp(&other.key()).then_with(by_version)
    }
}

/// By numbers where both have one: `1.10` is after `1.9`.
fn compare_versions(left: &str, right: &str) -> Ordering {
    let mut lefts = left.split('.');
    let mut rights = right.split('.');
    loop {
        let (left, right) = match (lefts.next(), rights.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => (left, right),
        };
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let order = number(left).cmp(&number(right)).then(left.cmp(&right));
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_goes_by_many_names() {
        for wanted in ["c", "libc", "libc.so", "libc.so.6"] {
            assert!(matches(wanted, "libc.so.6").is_some(), "{wanted}");
        }
        assert!(matches("c", "libc-2.31.so").is_some());
        assert!(matches("ld-linux-x86-64", "ld-linux-x86-64.so.2").is_some());
        assert!(matches("ssl", "libssl.so").is_some());
    }

    #[test]
    fn a_library_is_not_another_whose_name_starts_alike() {
        for (wanted, file) in [
            ("c", "libcap.so.2"),
            ("c", "libc++.so.1"),
            ("c", "libc-client.so"),
            ("libc.so.6", "libc.so.60"),
            ("ssl", "ssl.conf"),
            ("", "lib.so"),
            ("/lib/libc", "libc.so.6"),
            ("c", "libc.so6"),
        ] {
            assert_eq!(matches(wanted, file), None, "{wanted} {file}");
        }
    }

    #[test]
    fn the_exact_name_wins_then_the_newest_version_then_none() {
        let order = [
            "libssl.so",
            "libssl.so.1.1",
            "libssl.so.1.9",
            "libssl.so.1.10",
            "libssl.so.3",
        ];
        let matched = order.map(|file| matches("ssl", file).unwrap());
        assert!(
            matched.is_sorted_by(|left, right| left < right),
            "{matched:?}"
        );
        assert!(matches("libssl.so", "libssl.so") > matches("libssl.so", "libssl.so.3"));
    }
}
