//! Names that may have been meant.
//!
//! Our own, because what is published needs `std`, and because prefixes count here: the compiler turns `f` into
//! `f.isra.0`, which no edit distance finds close.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// How many names are suggested.
pub const MAX_SUGGESTIONS: usize = 3;
/// How many names are considered, so that nobody's file keeps us busy for long.
const MAX_OFFERS: usize = 1 << 20;
/// Longer names are not compared letter by letter.
const MAX_COMPARED_BYTES: usize = 128;
/// A shorter name is part of too many others.
const MIN_PART_BYTES: usize = 3;
/// How much longer the whole may be than a part in its middle.
const MAX_PART_RATIO: usize = 4;

/// What a letter more costs, and what it costs to be only a part.
const EDIT_COST: usize = 2;
const PREFIX_COST: usize = 3;
const PART_COST: usize = 5;

/// Collects the names that are closest to a given one, however many are offered.
#[derive(Clone, Debug)]
pub struct Suggestions {
    given: Vec<u8>,
    offers: usize,
    /// The least cost first.
    best: Vec<(usize, String)>,
}

impl Suggestions {
    /// Starts without any.
    #[must_use]
    pub fn new(given: &str) -> Self {
        Self {
            given: lowered(given),
            offers: 0,
            best: Vec::new(),
        }
    }

    /// Considers a name.
    pub fn offer(&mut self, candidate: &str) {
        if self.offers == MAX_OFFERS {
            return;
        }
        self.offers += 1;
        let Some(cost) = self.cost(candidate) else {
            return;
        };
        let key = |cost: usize, name: &str| (cost, name.len());
        let worst = self.best.last();
        let full = self.best.len() == MAX_SUGGESTIONS;
        let worst = worst
            .filter(|_| full)
            .map(|(cost, name)| (key(*cost, name), name));
        if worst.is_some_and(|worst| (key(cost, candidate), &candidate.to_owned()) >= worst) {
            return;
        }
        if self.best.iter().any(|(_, known)| known == candidate) {
            return;
        }
        self.best.push((cost, candidate.to_owned()));
        self.best.sort_by(|left, right| {
            let order = key(left.0, &left.1).cmp(&key(right.0, &right.1));
            order.then_with(|| left.1.cmp(&right.1))
        });
        self.best.truncate(MAX_SUGGESTIONS);
    }

    /// The names, the closest first.
    #[must_use]
    pub fn into_names(self) -> Vec<String> {
        self.best.into_iter().map(|(_, name)| name).collect()
    }

    /// How far a name is from the given one; `None` for too far.
    fn cost(&self, candidate: &str) -> Option<usize> {
        let given = self.given.as_slice();
        if given.is_empty() || candidate.is_empty() || candidate.len() > 4 * MAX_COMPARED_BYTES {
            return None;
        }
        let candidate = lowered(candidate);
        let limit = (given.len() / 3).max(1);
        let edits = distance(given, &candidate, limit).map(|edits| edits * EDIT_COST);
        let part = part_cost(given, &candidate);
        edits.into_iter().chain(part).min()
    }
}

/// Up to three of the candidates that are close to the given name, the closest first.
#[must_use]
pub fn suggest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut suggestions = Suggestions::new(given);
    for candidate in candidates {
        suggestions.offer(candidate);
    }
    suggestions.into_names()
}

/// Names are compared without regard to case.
fn lowered(name: &str) -> Vec<u8> {
    name.bytes().map(|byte| byte.to_ascii_lowercase()).collect()
}

fn part_cost(given: &[u8], candidate: &[u8]) -> Option<usize> {
    let (part, whole) = if given.len() <= candidate.len() {
        (given, candidate)
    } else {
        (candidate, given)
    };
    // What is given may be part of anything; of what is given only a good half is close to it.
    let too_little = given.len() > candidate.len() && candidate.len() * 2 < given.len();
    if part.len() < MIN_PART_BYTES || too_little {
        return None;
    }
    if whole.starts_with(part) {
        return Some(PREFIX_COST);
    }
    // In a long mangled name any short word occurs.
    let enough = part.len() * MAX_PART_RATIO >= whole.len();
    let inside = || whole.windows(part.len()).any(|window| window == part);
    (enough && inside()).then_some(PART_COST)
}

/// How many letters to insert, remove, replace or swap with their neighbour; `None` for more than `limit`.
fn distance(left: &[u8], right: &[u8], limit: usize) -> Option<usize> {
    let longest = left.len().max(right.len());
    if left.len().abs_diff(right.len()) > limit || longest > MAX_COMPARED_BYTES {
        return None;
    }
    let mut before = [0; MAX_COMPARED_BYTES + 1];
    let mut previous = [0; MAX_COMPARED_BYTES + 1];
    let mut row = [0; MAX_COMPARED_BYTES + 1];
    for (column, cell) in previous.iter_mut().enumerate() {
        *cell = column;
    }
    for (i, l) in left.iter().enumerate() {
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = previous[j] + usize::from(l != r);
            let mut cost = replaced.min(previous[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && l == &right[j - 1] && &left[i - 1] == r;
            if swapped {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
        }
        if row[..=right.len()].iter().all(|cost| *cost > limit) {
            return None;
        }
        before = previous;
        previous = row;
    }
    let distance = previous[right.len()];
    (distance <= limit).then_some(distance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 8] = [
        "_ZNSt12domain_errorD0Ev",
        "do_unlinkat.isra.0",
        "tcp_connect",
        "tcp_v4_connect",
        "vfs_read",
        "vfs_readv",
        "vfs_write",
        "eth0",
    ];

    #[test]
    fn close_names_are_suggested_the_closest_first() {
        let table: [(&str, &[&str]); 9] = [
            ("tcp_conect", &["tcp_connect"]),
            ("tcp_connetc", &["tcp_connect"]),
            ("do_unlinkat", &["do_unlinkat.isra.0"]),
            ("vfs_rea", &["vfs_read", "vfs_readv"]),
            ("VFS_READ", &["vfs_read", "vfs_readv"]),
            ("unlink", &["do_unlinkat.isra.0"]),
            ("eht0", &["eth0"]),
            ("nothing_alike", &[]),
            ("", &[]),
        ];
        for (given, expected) in table {
            let found = suggest(given, NAMES);
            assert_eq!(found[..expected.len()], *expected, "{given}: {found:?}");
        }
        for given in ["nothing_alike", "main_"] {
            assert_eq!(suggest(given, NAMES), Vec::<String>::new(), "{given}");
        }
    }

    #[test]
    fn no_more_than_three_and_none_twice() {
        let names = ["aaa1", "aaa2", "aaa3", "aaa4", "aaa1"];
        assert_eq!(suggest("aaa", names), ["aaa1", "aaa2", "aaa3"]);
    }

    #[test]
    fn distance_counts_edits_up_to_its_limit() {
        assert_eq!(distance(b"kitten", b"sitting", 3), Some(3));
        assert_eq!(distance(b"kitten", b"sitting", 2), None);
        assert_eq!(distance(b"ab", b"ba", 2), Some(1));
        assert_eq!(distance(b"", b"abc", 3), Some(3));
        assert_eq!(distance(&[b'a'; 129], &[b'a'; 129], 9), None);
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_equals(left in "[ab]{0,8}", right in "[ab]{0,8}") {
            let (left, right) = (left.as_bytes(), right.as_bytes());
            let found = distance(left, right, 8);
            prop_assert_eq!(found, distance(right, left, 8));
            prop_assert_eq!(found == Some(0), left == right);
        }

        #[test]
        fn the_order_of_the_candidates_does_not_matter(names in prop::collection::vec("[ab_]{1,6}", 0..12), given in "[ab_]{1,6}") {
            let forwards = suggest(&given, names.iter().map(String::as_str));
            let backwards = suggest(&given, names.iter().rev().map(String::as_str));
            prop_assert_eq!(forwards, backwards);
        }

        #[test]
        fn a_name_that_is_there_comes_first(names in prop::collection::vec(".{1,12}", 1..12)) {
            let found = suggest(&names[0], names.iter().map(String::as_str));
            prop_assert_eq!(found[0].to_ascii_lowercase(), names[0].to_ascii_lowercase());
        }
    }
}
