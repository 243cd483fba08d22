//! How much of the verifier's log is printed.

/// How many lines of a verifier's log are shown from its start, where the program begins.
const LOG_HEAD_LINES: usize = 100;
/// How many are shown from its end, where the reason stands.
const LOG_TAIL_LINES: usize = 400;

/// A verifier's log as it is printed.
pub(super) fn shown(log: &str, whole: bool) -> String {
    let log = log.trim_end();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines.len().saturating_sub(LOG_TAIL_LINES);
    if whole || tail <= LOG_HEAD_LINES {
        return log.to_owned();
    }
    let left_out = tail - LOG_HEAD_LINES;
    format!(
        "{}\n[{left_out} lines left out; --verbose shows them]\n{}",
        lines[..LOG_HEAD_LINES].join("\n"),
        lines[tail..].join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_very_long_log_loses_its_middle_and_says_so() {
        let log = |lines: usize| -> String { (0..lines).map(|n| format!("line {n}\n")).collect() };
        let most = LOG_HEAD_LINES + LOG_TAIL_LINES;
        assert_eq!(shown(&log(most), false), log(most).trim_end());
        let long = log(most + 7);
        assert_eq!(shown(&long, true), long.trim_end());
        let brief = shown(&long, false);
        assert!(brief.starts_with("line 0\n"), "{brief}");
        assert!(brief.contains("line 99\n[7 lines left out; --verbose shows them]\nline 107\n"));
        assert!(brief.ends_with(&format!("line {}", most + 6)));
    }
}
