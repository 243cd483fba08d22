//! The configuration file (contract: section 2). Sections of features that are not here yet are let pass; in
//! ours an unknown key is an error, for a limit with a typo would be none.

use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

use bpfman_core::types::Engine;
use bpfman_core::types::XdpMode;
use serde::Deserialize;

use crate::log::LoggingConfig;
use crate::report::Failure;

/// Where the configuration is when nobody says.
const DEFAULT_PATH: &str = "/etc/bpfman/bpfman.toml";
/// The largest object file that is read, in bytes, unless `[limits] object_bytes` says otherwise.
pub(crate) const DEFAULT_OBJECT_BYTES: u64 = 16 * 1024 * 1024;

/// How much of a line is shown with what is wrong with it.
const LINE_CHARS: usize = 60;

/// What we read of it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) kernel: KernelConfig,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) dispatcher: DispatcherConfig,
    #[serde(default)]
    pub(crate) logging: LoggingConfig,
}

/// `[kernel]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KernelConfig {
    /// Reach the kernel through this bpfman-kernel binary.
    pub(crate) helper: Option<PathBuf>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// The largest object file that is read, in bytes.
    pub(crate) object_bytes: Option<u64>,
}

/// `[dispatcher]`: what holds where the command line does not say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DispatcherConfig {
    /// How XDP and TC programs share an interface.
    #[serde(default)]
    pub(crate) engine: Engine,
    /// How XDP programs meet their packets.
    #[serde(default)]
    pub(crate) xdp_mode: XdpMode,
}

impl Config {
    /// Reads the file; without one that was asked for, a missing default file is an empty one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        let refused =
            |why: &str| Failure::input(format!("configuration {}: {why}", file.display()));
        match std::fs::read_to_string(file) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                refused(&match line(&text, &error) {
                    Some(line) => format!("{line}: {}", error.message()),
                    None => error.message().to_owned(),
                })
                .hint("README.md lists the keys; correct or remove this one")
            }),
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_none() => {
                Ok(Self::default())
            }
            Err(error) => Err(refused(&error.to_string())
                .hint("name a file that can be read with --config, or none at all")),
        }
    }
}

/// The line that an error is about, which names the key.
fn line(text: &str, error: &toml::de::Error) -> Option<String> {
    let before = text.get(..error.span()?.start)?;
    let number = before.matches('\n').count();
    let line = text.lines().nth(number)?.trim().chars();
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let start: String = line.take(LINE_CHARS).map(shown).collect();
    Some(format!("line {}, `{start}`", number + 1))
}
