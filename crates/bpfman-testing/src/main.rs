//! Merges what the tests did on several kernels into one report.
//!
//! `kernel-report [--elsewhere FILE] DIRECTORY...`: each directory is what one kernel left: `release`, `junit.xml` and
//! `skipped.tsv`. It fails when a test failed, or ran on none of the kernels. A test in FILE (`TEST<tab>REASON` a line)
//! must run on none of these: others have it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use roxmltree::Document;

/// What became of one test on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped(String),
    Failed,
}

/// What one kernel left.
struct Kernel {
    release: String,
    /// Why there are no results of it, or not all.
    broken: Option<String>,
    tests: BTreeMap<String, Outcome>,
}

impl Kernel {
    fn read(directory: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(directory.join(name));
        let release = read("release").unwrap_or_else(|_| directory.display().to_string());
        let tests = read("junit.xml")
            .map_err(|error| format!("no results: {error}"))
            .and_then(|junit| outcomes(&junit, &read("skipped.tsv").unwrap_or_default()));
        let (tests, broken) = match tests {
            Ok(tests) if tests.is_empty() => (tests, Some("it ran no test".to_owned())),
            Ok(tests) => (tests, None),
            Err(reason) => (BTreeMap::new(), Some(reason)),
        };
        Self {
            release: release.trim().to_owned(),
            broken,
            tests,
        }
    }

    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.tests
            .values()
            .filter(|outcome| wanted(outcome))
            .count()
    }
}

/// Lines `TEST<tab>REASON`.
fn reasons(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .map(|(test, reason)| (test.to_owned(), reason.to_owned()))
        .collect()
}

fn outcomes(junit: &str, skipped: &str) -> Result<BTreeMap<String, Outcome>, String> {
    let document = Document::parse(junit).map_err(|error| format!("bad results: {error}"))?;
    let mut skipped = reasons(skipped);
    let mut tests = BTreeMap::new();
    for case in document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
    {
        let suite = case.parent().and_then(|suite| suite.attribute("name"));
        let (Some(suite), Some(name)) = (suite, case.attribute("name")) else {
            return Err("bad results: a test without a name".to_owned());
        };
        let test = format!("{suite} {name}");
        let failed = case
            .children()
            .any(|child| child.has_tag_name("failure") || child.has_tag_name("error"));
        let outcome = match skipped.remove(&test) {
            _ if failed => Outcome::Failed,
            Some(reason) => Outcome::Skipped(reason),
            None => Outcome::Passed,
        };
        tests.insert(test, outcome);
    }
    match skipped.into_keys().next() {
        Some(test) => Err(format!("bad results: {test} was skipped but did not run")),
        None => Ok(tests),
    }
}

/// The report, and whether all is well.
fn report(kernels: &[Kernel], elsewhere: &BTreeMap<String, String>) -> (String, bool) {
    let mut text = String::new();
    let mut wrong = Vec::new();
    let mut totals = [0; 3];
    for kernel in kernels {
        let release = &kernel.release;
        let counts = [
            kernel.count(|outcome| *outcome == Outcome::Passed),
            kernel.count(|outcome| *outcome == Outcome::Failed),
            kernel.count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        ];
        let [passed, failed, skipped] = counts;
        let _ = writeln!(
            text,
            "Linux {release}: {passed} passed, {failed} failed, {skipped} skipped"
        );
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
        for (test, outcome) in &kernel.tests {
            match outcome {
                Outcome::Passed => {}
                Outcome::Skipped(reason) => {
                    let _ = writeln!(text, "  skipped: {test}: {reason}");
                }
                Outcome::Failed => wrong.push(format!("failed on {release}: {test}")),
            }
        }
        if let Some(reason) = &kernel.broken {
            wrong.push(format!("Linux {release}: {reason}"));
        }
    }

    let ran = |test: &str| {
        kernels
            .iter()
            .filter_map(|kernel| kernel.tests.get(test))
            .any(|outcome| !matches!(outcome, Outcome::Skipped(_)))
    };
    let all: BTreeSet<&String> = kernels.iter().flat_map(|k| k.tests.keys()).collect();
    for &test in all.iter().filter(|test| !ran(test)) {
        match elsewhere.get(test) {
            Some(reason) => {
                let _ = writeln!(text, "  runs only in make test-kernels: {test}: {reason}");
            }
            None => wrong.push(format!("ran on no kernel: {test}")),
        }
    }
    for test in elsewhere.keys() {
        if !all.contains(test) || ran(test) {
            wrong.push(format!("listed to run elsewhere only, wrongly: {test}"));
        }
    }

    for line in &wrong {
        let _ = writeln!(text, "  {line}");
    }
    if wrong.is_empty() {
        let count = all.len() - elsewhere.len();
        let others = if elsewhere.is_empty() { "" } else { "other " };
        let _ = writeln!(
            text,
            "Each of the {others}{count} tests ran on at least one of these kernels."
        );
    }
    let [passed, failed, skipped] = totals;
    let _ = writeln!(text, "{passed} passed, {failed} failed, {skipped} skipped");
    (text, wrong.is_empty())
}

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).peekable();
    let mut elsewhere = BTreeMap::new();
    if arguments.next_if(|first| first == "--elsewhere").is_some() {
        let file = arguments.next().unwrap_or_default();
        match fs::read_to_string(&file) {
            Ok(text) => elsewhere = reasons(&text),
            Err(error) => {
                eprintln!("kernel-report: {}: {error}", file.display());
                return ExitCode::from(2);
            }
        }
    }
    let kernels: Vec<Kernel> = arguments
        .map(|directory| Kernel::read(directory.as_ref()))
        .collect();
    let (text, well) = report(&kernels, &elsewhere);
    print!("{text}");
    if well && !kernels.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<testsuites name="x" tests="3">
        <testsuite name="a::b">
            <testcase name="good" classname="a::b"/>
            <testcase name="bad"><failure type="test failure">no</failure></testcase>
            <testcase name="poor"><system-out>failure</system-out></testcase>
        </testsuite>
    </testsuites>"#;

    fn kernel(skipped: &str) -> Kernel {
        let junit = JUNIT.replace("<failure type=\"test failure\">no</failure>", "");
        Kernel {
            release: "1.0".to_owned(),
            broken: None,
            tests: outcomes(&junit, skipped).expect("good results"),
        }
    }

    #[test]
    fn outcomes_are_read() {
        let tests = outcomes(JUNIT, "a::b poor\tno money\na::b bad\tnever mind\n");
        let tests: Vec<Outcome> = tests.expect("good results").into_values().collect();
        let poor = Outcome::Skipped("no money".to_owned());
        assert_eq!(tests, [Outcome::Failed, Outcome::Passed, poor]);
    }

    #[test]
    fn bad_results_are_refused() {
        for (junit, skipped) in [("", ""), ("<testsuites", ""), (JUNIT, "a::b other\twhy")] {
            assert!(outcomes(junit, skipped).is_err(), "{junit} {skipped}");
        }
        let missing = Kernel::read(Path::new("/nowhere"));
        assert!(!report(&[kernel(""), missing], &BTreeMap::new()).1);
    }

    #[test]
    fn a_failure_on_one_kernel_fails() {
        let mut failing = kernel("");
        failing.tests.insert("a::b bad".to_owned(), Outcome::Failed);
        let (text, well) = report(&[kernel(""), failing], &BTreeMap::new());
        assert!(!well && text.contains("failed on 1.0: a::b bad"), "{text}");
        assert!(
            text.ends_with("\n5 passed, 1 failed, 0 skipped\n"),
            "{text}"
        );
    }

    #[test]
    fn a_test_must_run_somewhere() {
        let nothing = BTreeMap::new();
        let skips = || kernel("a::b poor\tno money\n");
        let (text, well) = report(&[skips(), kernel("")], &nothing);
        assert!(
            well && text.contains("skipped: a::b poor: no money"),
            "{text}"
        );
        let (text, well) = report(&[skips(), skips()], &nothing);
        assert!(
            !well && text.contains("ran on no kernel: a::b poor"),
            "{text}"
        );

        let listed = reasons("# comment\na::b poor\tneeds money\n");
        assert!(report(&[skips()], &listed).1);
        assert!(!report(&[kernel("")], &listed).1, "it ran after all");
        assert!(!report(&[kernel("")], &reasons("a::b gone\twhy")).1);
    }
}
