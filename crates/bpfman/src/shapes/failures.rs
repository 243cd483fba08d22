//! What a failed command prints: `{"error": ...}`, every key always there.

use serde::Serialize;

use crate::report::FailedItem;
use crate::report::Failure;
use crate::report::Kind;

#[derive(Serialize)]
pub(crate) struct ErrorShape<'a> {
    #[serde(flatten)]
    failure: FailureShape<'a>,
    /// What failed in a batch; empty for anything else.
    items: Vec<ItemShape<'a>>,
}

#[derive(Serialize)]
struct ItemShape<'a> {
    noun: &'static str,
    id: u32,
    #[serde(flatten)]
    failure: FailureShape<'a>,
}

#[derive(Serialize)]
struct FailureShape<'a> {
    kind: Kind,
    exit_code: u8,
    message: &'a str,
    hints: &'a [String],
    verifier_log: Option<&'a str>,
}

pub(crate) fn error(failure: &Failure) -> ErrorShape<'_> {
    ErrorShape {
        failure: one(failure),
        items: failure.items.iter().map(item).collect(),
    }
}

fn item(item: &FailedItem) -> ItemShape<'_> {
    ItemShape {
        noun: item.noun,
        id: item.id,
        failure: one(&item.failure),
    }
}

fn one(failure: &Failure) -> FailureShape<'_> {
    FailureShape {
        kind: failure.kind,
        exit_code: failure.kind.exit_code(),
        message: &failure.message,
        hints: &failure.hints,
        verifier_log: failure.verifier_log.as_deref(),
    }
}
