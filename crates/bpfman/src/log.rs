//! What is logged to stderr: the words of `--log`, `BPFMAN_LOG` and `[logging]`. Each word is checked, for a word that
//! names nothing would silence a log without saying so.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use strum::EnumString;
use strum::IntoStaticStr;
use tracing::Event;
use tracing::Subscriber;
use tracing::field::Field;
use tracing::field::Visit;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::report::Failure;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What logs: the targets of our events.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, EnumString, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Component {
    Executor,
    Manager,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `[logging]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoggingConfig {
    /// What holds for components that are not named.
    level: Option<Level>,
    #[serde(default)]
    format: LogFormat,
    #[serde(default)]
    components: BTreeMap<Component, Level>,
}

/// What is logged of which component.
#[derive(Debug, Default, PartialEq, Eq)]
struct LogSpec {
    level: Option<Level>,
    components: BTreeMap<Component, Level>,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        word.parse().map_err(|_| {
            format!("unknown level `{word}` (expected off, error, warn, info, debug or trace)")
        })
    }
}

impl Component {
    fn parse(word: &str) -> Result<Self, String> {
        word.parse()
            .map_err(|_| format!("unknown component `{word}` (expected executor or manager)"))
    }
}

impl FromStr for LogSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut spec = Self::default();
        for word in text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            let before = match word.split_once('=') {
                None => spec.level.replace(Level::parse(word)?),
                Some((component, level)) => {
                    let component = Component::parse(component.trim())?;
                    spec.components
                        .insert(component, Level::parse(level.trim())?)
                }
            };
            if before.is_some() {
                return Err(format!("`{word}` sets a level that is set before it"));
            }
        }
        Ok(spec)
    }
}

impl LogSpec {
    fn is_silent(&self) -> bool {
        let mut levels = self.level.iter().chain(self.components.values());
        levels.all(|level| *level == Level::Off)
    }

    fn targets(&self) -> Targets {
        let components = self.components.iter();
        Targets::new()
            .with_default(self.level.unwrap_or(Level::Off).filter())
            .with_target("operation", LevelFilter::ERROR)
            .with_targets(components.map(|(name, level)| (<&str>::from(name), level.filter())))
    }
}

/// Starts the log that `--log` or, without it, the configuration asks for. Setting one up costs time that a plain load
/// does not have, so nothing is set up where nothing is asked for.
pub(crate) fn start(option: Option<&str>, config: &LoggingConfig) -> Result<(), Failure> {
    let spec = match option {
        Some(text) => text.parse().map_err(|error: String| {
            Failure::input(format!("--log {text}: {error}")).hint("such as info,executor=debug")
        })?,
        None => LogSpec {
            level: config.level,
            components: config.components.clone(),
        },
    };
    if spec.is_silent() {
        return Ok(());
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = tracing_subscriber::registry().with(spec.targets());
    match config.format {
        LogFormat::Text => log.with(lines).init(),
        LogFormat::Json => {
            let values = debug_fn(|writer, _, value| write!(writer, "{value:?}"));
            let lines = lines.fmt_fields(values).event_format(JsonLines);
            log.with(lines).init();
        }
    }
    Ok(())
}

/// One JSON object a line. The one field of the span of an operation is its id.
struct JsonLines;

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = Message::default();
        event.record(&mut message);
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let span = context.lookup_current();
        let id = span.as_ref().and_then(|span| {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            fields.map(|fields| fields.fields.clone())
        });
        let line = serde_json::json!({
            "time": time,
            "operation": span.as_ref().map(|span| span.name()),
            "operation_id": id,
            "level": event.metadata().level().to_string(),
            "target": event.metadata().target(),
            "message": message.0,
        });
        writeln!(writer, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_spec_is_checked() {
        for (text, words) in [
            ("nonsense", ["unknown level `nonsense`", "info"]),
            ("info,nonsense", ["unknown level `nonsense`", "info"]),
            ("executor", ["unknown level `executor`", "info"]),
            ("executor=loud", ["unknown level `loud`", "trace"]),
            (
                "store=debug",
                ["unknown component `store`", "executor or manager"],
            ),
            ("a=b=c", ["unknown component `a`", "executor or manager"]),
            ("=debug", ["unknown component ``", "executor or manager"]),
            ("info,debug", ["`debug`", "set before it"]),
            (
                "manager=info,manager=off",
                ["`manager=off`", "set before it"],
            ),
        ] {
            let error = text.parse::<LogSpec>().unwrap_err();
            assert!(
                words.iter().all(|word| error.contains(word)),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn levels_and_components_are_read() {
        let spec: LogSpec = " Info, manager=DEBUG ,".parse().unwrap();
        assert_eq!(spec.level, Some(Level::Info));
        assert_eq!(spec.components, [(Component::Manager, Level::Debug)].into());
        assert!(!spec.is_silent());
        for silent in ["", ",", "off", "executor=off"] {
            assert!(silent.parse::<LogSpec>().unwrap().is_silent(), "{silent}");
        }
    }
}
