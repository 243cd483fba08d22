//! Words of a command line.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::types::AbsolutePath;
use crate::types::Verdict;

/// Words, in the order in which they are typed.
#[derive(Default)]
pub(super) struct Words(Vec<String>);

impl Words {
    pub(super) fn add(&mut self, word: &(impl ToString + ?Sized)) {
        self.0.push(word.to_string());
    }

    pub(super) fn option(&mut self, name: &str, value: &(impl ToString + ?Sized)) {
        self.add(name);
        self.add(value);
    }

    pub(super) fn optional<T: ToString>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.option(name, value);
        }
    }

    pub(super) fn flag(&mut self, name: &str, given: bool) {
        if given {
            self.add(name);
        }
    }

    pub(super) fn offset(&mut self, offset: u64) {
        if offset != 0 {
            self.option("--offset", &offset);
        }
    }

    pub(super) fn namespace(&mut self, netns: Option<&AbsolutePath>) {
        self.optional("--netns", netns);
    }

    /// The verdicts after which the next program runs, unless they are the default.
    pub(super) fn verdicts(&mut self, table: &[Verdict], default: &[i32], codes: &[i32]) {
        if codes != default {
            self.option("--proceed-on", &verdict_names(table, codes));
        }
    }

    pub(super) fn into_inner(self) -> Vec<String> {
        self.0
    }
}

/// The names of verdicts, as the command line takes them; a number where one has no name.
pub(super) fn verdict_names(table: &[Verdict], codes: &[i32]) -> String {
    let names = codes.iter().map(|code| {
        let known = table.iter().find(|verdict| verdict.code == *code);
        known.map_or_else(|| code.to_string(), |verdict| verdict.name.to_owned())
    });
    let names: Vec<String> = names.collect();
    names.join(",")
}

/// Words as one line that a POSIX shell reads as the same words.
#[must_use]
pub fn shell_line(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    quoted.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,+%@".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
