//! Words that several kinds of links share.

use std::path::Path;
use std::path::PathBuf;

use bpfman_core::links::NetfilterFamily;
use bpfman_core::links::NetfilterHook;
use bpfman_core::links::PERF_EVENTS;
use bpfman_core::links::PerfEvent;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::InterfaceWord;
use bpfman_core::types::Priority;
use bpfman_core::types::XdpMode;
use bpfman_core::types::verdict_codes;
use clap::ValueEnum;

use crate::report::Failure;
use crate::world::absolute;

/// Where `ip netns` keeps the namespaces that it gave names.
const NAMED_NAMESPACES: &str = "/run/netns";

/// Declares an enumeration of the command line that stands for one of the core.
macro_rules! words {
    ($(#[$attribute:meta])* $name:ident for $core:ident { $($(#[$variant_attribute:meta])* $variant:ident,)* }) => {
        #[derive(Clone, Copy, Debug, ValueEnum)]
        $(#[$attribute])*
        pub(crate) enum $name {
            $($(#[$variant_attribute])* $variant,)*
        }

        impl From<$name> for $core {
            fn from(word: $name) -> Self {
                match word {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }
    };
}

words! {
    /// A direction.
    Way for Direction {
        /// Into the interface
        Ingress,
        /// Out of the interface
        Egress,
    }
}

words! {
    /// An XDP mode.
    Mode for XdpMode {
        /// In the driver where it can, else generic
        Auto,
        /// In the driver
        Native,
        /// After the kernel has made a socket buffer
        Generic,
        /// On the card
        Offload,
    }
}

words! {
    /// A protocol family.
    Family for NetfilterFamily {
        /// IPv4
        Ipv4,
        /// IPv6
        Ipv6,
    }
}

words! {
    /// A netfilter hook.
    #[value(rename_all = "snake_case")]
    FilterHook for NetfilterHook {
        /// Before routing
        #[value(aliases = ["prerouting", "pre-routing"])]
        PreRouting,
        /// Into this host
        #[value(aliases = ["localin", "local-in", "input"])]
        LocalIn,
        /// Through this host
        Forward,
        /// Out of this host
        #[value(aliases = ["localout", "local-out", "output"])]
        LocalOut,
        /// After routing
        #[value(aliases = ["postrouting", "post-routing"])]
        PostRouting,
    }
}

/// A namespace by its file, or by the name that `ip netns` knows; an empty text is the process's own.
pub(super) fn namespace(text: Option<&str>) -> Result<Option<AbsolutePath>, Failure> {
    match text {
        None | Some("") => Ok(None),
        Some(path) if path.contains('/') => absolute(Path::new(path)).map(Some),
        Some(name) => absolute(&PathBuf::from(NAMED_NAMESPACES).join(name)).map(Some),
    }
}

pub(in crate::args) fn codes(
    table: &[bpfman_core::types::Verdict],
    names: &[String],
) -> Result<Option<Vec<i32>>, Failure> {
    if names.is_empty() {
        return Ok(None);
    }
    let codes = verdict_codes(table, names.iter().map(String::as_str));
    codes.map(Some).map_err(|error| {
        Failure::input(error.to_string())
            .hint("`link attach xdp --help` and `link attach tc --help` list them")
    })
}

pub(super) fn interface_name(text: &str) -> Result<InterfaceWord, String> {
    InterfaceWord::parse(text).map_err(|error| error.to_string())
}

pub(in crate::args) fn priority(text: &str) -> Result<Priority, String> {
    let number: i64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    Priority::new(number).map_err(|error| error.to_string())
}

/// As `nm` and `objdump` print offsets, and as we do.
pub(super) fn offset(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    // A sign is no digit, though `from_str_radix` takes one.
    let parsed = match digits {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| "expected a number of bytes, such as 16 or 0x10".to_owned())
}

pub(super) fn tracepoint(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((group, name)) if !group.is_empty() && !name.is_empty() => {
            Ok((group.to_owned(), name.to_owned()))
        }
        _ => Err("expected GROUP/NAME".to_owned()),
    }
}

pub(super) fn usdt_probe(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((provider, name)) if !provider.is_empty() && !name.is_empty() => {
            Ok((provider.to_owned(), name.to_owned()))
        }
        _ => Err("expected PROVIDER:NAME".to_owned()),
    }
}

pub(super) fn perf_event(text: &str) -> Result<PerfEvent, String> {
    let found = PERF_EVENTS.iter().find(|event| event.name == text).copied();
    let names = || {
        PERF_EVENTS
            .iter()
            .map(|event| event.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    found.ok_or_else(|| format!("there are: {}", names()))
}
