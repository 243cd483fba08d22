//! Label selectors over metadata, in Kubernetes' notation.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// A conjunction of requirements: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A selector that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label selector: cannot read `{0}`")]
pub struct LabelSelectorError(pub String);

impl LabelSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`LabelSelectorError`] with the part that makes no sense.
    pub fn parse(text: &str) -> Result<Self, LabelSelectorError> {
        split_outside_parentheses(text)
            .into_iter()
            .map(requirement)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether metadata satisfies every requirement. As in Kubernetes, `!=` and `notin` hold where the key is absent.
    #[must_use]
    pub fn matches(&self, metadata: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => metadata
                .get(key)
                .is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => !metadata
                .get(key)
                .is_some_and(|value| values.contains(value)),
            Requirement::Exists(key) => metadata.contains_key(key),
            Requirement::Absent(key) => !metadata.contains_key(key),
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn requirement(part: &str) -> Result<Requirement, LabelSelectorError> {
    let part = part.trim();
    let bad = || LabelSelectorError(part.to_owned());
    let key = |text: &str| {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
        if text.is_empty() || !text.chars().all(plain) {
            return Err(bad());
        }
        Ok(text.to_owned())
    };
    if let Some(absent) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(key(absent)?));
    }
    if let Some(list) = part.strip_suffix(')') {
        let (left, values) = list.split_once('(').ok_or_else(bad)?;
        let values = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let left = left.trim_end();
        return if let Some(name) = left.strip_suffix(" notin") {
            Ok(Requirement::NotIn(key(name)?, values))
        } else if let Some(name) = left.strip_suffix(" in") {
            Ok(Requirement::In(key(name)?, values))
        } else {
            Err(bad())
        };
    }
    let one = |value: &str| [value.trim_start_matches('=').trim().to_owned()].to_vec();
    if let Some((name, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, one(value)));
    }
    match part.split_once('=') {
        Some((name, value)) => Ok(Requirement::In(key(name)?, one(value))),
        None => Ok(Requirement::Exists(key(part)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_follow_kubernetes() {
        let metadata: BTreeMap<String, String> = [("app", "web"), ("tier", "edge")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let table = [
            ("app=web", true),
            ("app==web,tier=edge", true),
            ("app=db", false),
            ("app!=db", true),
            ("none!=x", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("none notin (a)", true),
            ("tier", true),
            ("!tier", false),
            ("!none", true),
        ];
        for (text, expected) in table {
            assert_eq!(
                LabelSelector::parse(text).unwrap().matches(&metadata),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_selector_that_makes_no_sense_is_refused() {
        for text in [
            "",
            "=x",
            "a b",
            "a in x",
            "a within (x)",
            "in (x)",
            "a,,b",
            "!",
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }
}
