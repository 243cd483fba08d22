//! The words of the command line, and what is said of those that make no sense.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::ValueEnum;
use clap::error::ErrorKind;
use clap::parser::ValueSource;

use crate::args::Cli;
use crate::args::Format;
use crate::output;
use crate::report::Failure;

/// What stands before the message of an error of the command line.
const ERROR: &str = "error: ";

/// Reads the command line; answers also how results and errors are to be printed. Help is printed here, and so is what
/// is wrong with the words, in the format that they ask for.
pub(crate) fn parse() -> Result<(Cli, Format), ExitCode> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let parsed = Cli::command()
        .try_get_matches_from(&words)
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, chosen_format(&matches))));
    parsed.map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let text = error.render().to_string();
        match text.starts_with(ERROR) {
            true => eprint!("bpfman: {text}"),
            // The help, where a command is missing.
            false => eprint!("{text}"),
        }
        let failure = failure(error.kind(), &text);
        let format = words_format(words.iter().map(|word| word.to_str().unwrap_or_default()));
        let failure = output::failure(format, &failure).err().unwrap_or(failure);
        ExitCode::from(failure.kind.exit_code())
    })
}

/// The format that the words name, before or after a command.
fn chosen_format(matches: &ArgMatches) -> Format {
    let levels = std::iter::successors(Some(matches), |matches| {
        matches.subcommand().map(|(_, below)| below)
    });
    let named = levels.filter(|matches| {
        let has = matches.try_contains_id(OUTPUT).unwrap_or(false);
        has && matches.value_source(OUTPUT) == Some(ValueSource::CommandLine)
    });
    let format = named.last().and_then(|found| found.get_one(OUTPUT));
    format.copied().unwrap_or_default()
}

/// The option of [`Format`].
const OUTPUT: &str = "output";

/// The format that words name which could not be parsed.
fn words_format<'a>(words: impl Iterator<Item = &'a str>) -> Format {
    let mut words = words.take_while(|word| *word != "--");
    let mut format = Format::default();
    while let Some(word) = words.next() {
        let value = match word {
            "-o" | "--output" => words.next(),
            word => word
                .strip_prefix("--output=")
                .or_else(|| word.strip_prefix("-o="))
                .or_else(|| word.strip_prefix("-o")),
        };
        if let Some(named) = value.and_then(|value| Format::from_str(value, false).ok()) {
            format = named;
        }
    }
    format
}

/// The first paragraph is the message, the others are hints.
fn failure(kind: ErrorKind, text: &str) -> Failure {
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::input("a command is missing".to_owned())
            .hint("`bpfman --help` lists the commands");
    }
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix(ERROR).unwrap_or(&message).to_owned();
    paragraphs
        .filter(|hint| !hint.is_empty())
        .fold(Failure::input(message), Failure::hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_found_in_words_that_cannot_be_parsed() {
        for (words, format) in [
            ("get x -o json", Format::Json),
            ("get -ojson x", Format::Json),
            ("get x -o=yaml", Format::Yaml),
            ("get x --output yaml", Format::Yaml),
            ("get x --output=json", Format::Json),
            ("get x -o", Format::Text),
            ("get x -o xml", Format::Text),
            ("get x -- -o json", Format::Text),
        ] {
            assert_eq!(words_format(words.split(' ')), format, "{words}");
        }
    }
}
