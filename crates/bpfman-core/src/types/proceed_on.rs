//! After which answers of a program the next one of its chain runs.

use alloc::string::String;
use alloc::vec::Vec;

/// One answer of a network program: its name and the code that the kernel knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its code.
    pub code: i32,
}

const fn verdict(name: &'static str, code: i32) -> Verdict {
    Verdict { name, code }
}

/// What XDP programs answer (`enum xdp_action` of `linux/bpf.h`), and what an empty slot of a dispatcher does.
pub const XDP_VERDICTS: &[Verdict] = &[
    verdict("aborted", 0),
    verdict("drop", 1),
    verdict("pass", 2),
    verdict("tx", 3),
    verdict("redirect", 4),
    verdict("dispatcher_return", 31),
];

/// What TC programs answer (`TC_ACT_*` of `linux/pkt_cls.h`), and what an empty slot of a dispatcher does.
pub const TC_VERDICTS: &[Verdict] = &[
    verdict("unspec", -1),
    verdict("ok", 0),
    verdict("reclassify", 1),
    verdict("shot", 2),
    verdict("pipe", 3),
    verdict("stolen", 4),
    verdict("queued", 5),
    verdict("repeat", 6),
    verdict("redirect", 7),
    verdict("trap", 8),
    verdict("dispatcher_return", 30),
];

/// `XDP_PASS` of `linux/bpf.h`: the end of an XDP chain.
pub const XDP_PASS: i32 = 2;
/// What an empty slot of an XDP dispatcher answers (contract: section 4).
pub const XDP_DISPATCHER_RETURN: i32 = 31;
/// `TC_ACT_OK` of `linux/pkt_cls.h`: the end of a TC chain.
pub const TC_OK: i32 = 0;
/// `TC_ACT_PIPE` of `linux/pkt_cls.h`.
pub const TC_PIPE: i32 = 3;
/// What an empty slot of a TC dispatcher answers (contract: section 4).
pub const TC_DISPATCHER_RETURN: i32 = 30;

/// XDP chains go on after `pass` and `dispatcher_return` unless told otherwise (contract: section 4).
pub const XDP_DEFAULT: &[i32] = &[XDP_PASS, XDP_DISPATCHER_RETURN];
/// TC chains go on after `pipe` and `dispatcher_return` unless told otherwise (contract: section 4).
pub const TC_DEFAULT: &[i32] = &[TC_PIPE, TC_DISPATCHER_RETURN];

/// A verdict that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no verdict is called `{given}`; there are: {known}")]
pub struct UnknownVerdict {
    /// What was asked for.
    pub given: String,
    /// The names that exist.
    pub known: String,
}

/// The codes of names out of one of the tables, sorted, each once.
///
/// # Errors
/// [`UnknownVerdict`] for the first name that is not in the table.
pub fn verdict_codes<'a>(
    table: &[Verdict],
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<i32>, UnknownVerdict> {
    let mut codes = Vec::new();
    for name in names {
        let found = table
            .iter()
            .find(|verdict| verdict.name.eq_ignore_ascii_case(name));
        let found = found.ok_or_else(|| UnknownVerdict {
            given: name.into(),
            known: table
                .iter()
                .map(|verdict| verdict.name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        codes.push(found.code);
    }
    codes.sort_unstable();
    codes.dedup();
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_sorted_codes_and_an_unknown_one_is_named() {
        let names = ["tx", "drop", "tx"];
        assert_eq!(verdict_codes(XDP_VERDICTS, names), Ok([1, 3].to_vec()));
        assert_eq!(verdict_codes(TC_VERDICTS, ["unspec"]), Ok([-1].to_vec()));
        let error = verdict_codes(XDP_VERDICTS, ["shot"]).unwrap_err();
        assert!(error.known.contains("aborted, drop"), "{error}");
    }
}
