//! Prints what is wrong, and what is done about it.

use bpfman_core::action::Way;
use bpfman_core::compute::Finding;
use bpfman_core::compute::Repair;
use bpfman_core::compute::Rule;
use bpfman_core::compute::Severity;
use bpfman_core::kernel::FeatureState;
use bpfman_core::managed::Recovery;
use bpfman_interpreter::environment::Environment;
use bpfman_manager::Diagnosis;
use serde::Serialize;

use super::print_shape;
use super::print_text;
use crate::args::Format;
use crate::report::Failure;
use crate::shapes::rfc3339;

#[derive(Serialize)]
struct StepShape<'a> {
    rule: &'static str,
    subject: &'a str,
    action: String,
}

#[derive(Serialize)]
struct LeftShape<'a> {
    rule: &'static str,
    subject: &'a str,
    why: &'a str,
    notes: &'a [String],
}

/// What a repair is about, where more is known of it.
#[derive(Serialize)]
struct NotesShape<'a> {
    rule: &'static str,
    subject: &'a str,
    /// Whether records go of what no longer runs.
    forgets: bool,
    notes: &'a [String],
}

#[derive(Serialize)]
struct ReconciledShape<'a> {
    steps: Vec<StepShape<'a>>,
    left: Vec<LeftShape<'a>>,
    notes: Vec<NotesShape<'a>>,
}

#[derive(Serialize)]
struct FindingShape<'a> {
    rule: &'static str,
    severity: Severity,
    subject: &'a str,
    meaning: &'static str,
    #[serde(rename = "mend")]
    repair: &'static str,
    notes: &'a [String],
}

#[derive(Serialize)]
struct RecoveryShape<'a> {
    operation: &'a str,
    way: Way,
    at: String,
    left: &'a [String],
}

#[derive(Serialize)]
struct DiagnosisShape<'a> {
    findings: Vec<FindingShape<'a>>,
    recovered: Vec<RecoveryShape<'a>>,
    writer_at_work: bool,
    environment: &'a Environment,
}

#[derive(Serialize)]
struct RuleShape {
    rule: &'static str,
    severity: Severity,
    meaning: &'static str,
    #[serde(rename = "mend")]
    repair: &'static str,
}

const LATER: &str = "deferred until the findings above are fixed";

fn steps(findings: &[Finding]) -> Vec<StepShape<'_>> {
    let mut steps = Vec::new();
    for finding in findings {
        if let Repair::Plan(plan) = &finding.repair {
            steps.extend(plan.steps.iter().map(|step| StepShape {
                rule: finding.rule.name(),
                subject: &finding.subject,
                action: step.action.to_string(),
            }));
        }
    }
    steps
}

fn left(findings: &[Finding]) -> Vec<LeftShape<'_>> {
    let left = findings.iter().filter_map(|finding| {
        let why = match &finding.repair {
            Repair::Plan(_) => return None,
            Repair::Later => LATER,
            Repair::Nothing(why) => why,
        };
        Some(LeftShape {
            rule: finding.rule.name(),
            subject: &finding.subject,
            why,
            notes: &finding.notes,
        })
    });
    left.collect()
}

fn notes(findings: &[Finding]) -> Vec<NotesShape<'_>> {
    let repaired = findings.iter().filter(|finding| {
        let plan = matches!(finding.repair, Repair::Plan(_));
        plan && !finding.notes.is_empty()
    });
    let notes = repaired.map(|finding| NotesShape {
        rule: finding.rule.name(),
        subject: &finding.subject,
        forgets: finding.forgets,
        notes: &finding.notes,
    });
    notes.collect()
}

/// What was or would be done.
pub(crate) fn reconciled(
    format: Format,
    findings: &[Finding],
    dry_run: bool,
) -> Result<(), Failure> {
    let shape = ReconciledShape {
        steps: steps(findings),
        left: left(findings),
        notes: notes(findings),
    };
    if format != Format::Text {
        return print_shape(format, &shape);
    }
    let mut text = String::new();
    for finding in findings {
        let repaired = match (&finding.repair, dry_run) {
            (Repair::Plan(_), true) if finding.forgets => "to forget",
            (Repair::Plan(_), false) if finding.forgets => "forgotten",
            (Repair::Plan(_), true) => "to repair",
            (Repair::Plan(_), false) => "repaired",
            _ => "left",
        };
        text.push_str(&format!(
            "{repaired}: {}: {}\n",
            finding.rule, finding.subject
        ));
        for note in &finding.notes {
            text.push_str(&format!("  {note}\n"));
        }
        match &finding.repair {
            Repair::Plan(plan) => {
                for step in &plan.steps {
                    text.push_str(&format!("  {}\n", step.action));
                }
            }
            Repair::Later => text.push_str(&format!("  {LATER}\n")),
            Repair::Nothing(why) => text.push_str(&format!("  {why}\n")),
        }
    }
    if findings.is_empty() {
        text.push_str("nothing to do\n");
    }
    print_text(&text)
}

/// What a look at everything tells.
pub(crate) fn diagnosis(
    format: Format,
    diagnosis: &Diagnosis,
    environment: &Environment,
) -> Result<(), Failure> {
    if format != Format::Text {
        let findings = diagnosis.findings.iter();
        let recovered = diagnosis.recoveries.iter();
        return print_shape(
            format,
            &DiagnosisShape {
                findings: findings.map(finding_shape).collect(),
                recovered: recovered.map(recovery_shape).collect(),
                writer_at_work: diagnosis.busy,
                environment,
            },
        );
    }
    let mut text = surroundings(environment);
    for finding in &diagnosis.findings {
        let severity = finding.rule.severity();
        text.push_str(&format!(
            "{severity}: {}: {}\n",
            finding.rule, finding.subject
        ));
        text.push_str(&wrapped("", 2, finding.rule.meaning()));
        for note in &finding.notes {
            // Commands are copied as they stand.
            text.push_str(&format!("  {note}\n"));
        }
    }
    for recovery in &diagnosis.recoveries {
        let (at, done) = (rfc3339(recovery.at), done(recovery));
        text.push_str(&format!(
            "recovered: {} was killed, and {done} at {at}\n",
            recovery.operation
        ));
        for line in &recovery.left {
            text.push_str(&format!("  left alone: {line}\n"));
        }
    }
    if diagnosis.busy {
        let (name, what) = (
            "warning: ",
            "another bpfman is at work and does not end: what looks wrong may be what it has begun; see what holds the lock, and ask again",
        );
        text.push_str(&wrapped(name, 2, what));
    }
    match diagnosis.findings.len() {
        0 if diagnosis.busy => {}
        0 => text.push_str("healthy\n"),
        _ => text.push_str(
            "`bpfman reconcile` repairs what it can; `bpfman doctor --explain RULE` says more\n",
        ),
    }
    print_text(&text)
}

/// The machine, in lines that fit a terminal.
fn surroundings(environment: &Environment) -> String {
    const INDENT: usize = 15;
    let yes = |yes| if yes { "yes" } else { "no" };
    let features = |state: FeatureState| {
        let features = environment.features.iter();
        let names: Vec<&str> = features
            .filter(|feature| feature.state == state)
            .map(|feature| feature.name)
            .collect();
        names.join(", ")
    };
    let missing = &environment.permission.missing_capabilities;
    let lines = [
        ("kernel", environment.kernel.clone()),
        ("types (BTF)", yes(environment.btf).to_owned()),
        ("can", features(FeatureState::Works)),
        ("not tried", features(FeatureState::Declared)),
        ("refuses", features(FeatureState::Refused)),
        ("lacks", features(FeatureState::Missing)),
        ("unknown", features(FeatureState::Unknown)),
        (
            "lockdown",
            environment
                .permission
                .lockdown
                .clone()
                .unwrap_or_else(|| "unknown".to_owned()),
        ),
        (
            "capabilities",
            match missing.as_slice() {
                [] => "all that is needed".to_owned(),
                missing => format!("without {}", missing.join(", ")),
            },
        ),
        ("bpffs mounted", yes(environment.bpffs).to_owned()),
        (
            "runs counted",
            environment.statistics.map_or("unknown", yes).to_owned(),
        ),
    ];
    lines
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| wrapped(&format!("{name}:"), INDENT, value))
        .collect()
}

/// What begins with a word and goes on under the indent, in lines that fit a terminal.
fn wrapped(start: &str, indent: usize, value: &str) -> String {
    const WIDTH: usize = 80;
    let mut text = format!("{start:<indent$}");
    let mut at = text.len();
    for (number, word) in value.split(' ').enumerate() {
        if number > 0 && at + 1 + word.len() > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            at = indent;
        } else if number > 0 {
            text.push(' ');
            at += 1;
        }
        text.push_str(word);
        at += word.len();
    }
    text.push('\n');
    text
}

fn done(recovery: &Recovery) -> &'static str {
    match recovery.way {
        Way::Back => "was undone",
        Way::Forward => "was finished",
    }
}

fn finding_shape(finding: &Finding) -> FindingShape<'_> {
    FindingShape {
        rule: finding.rule.name(),
        severity: finding.rule.severity(),
        subject: &finding.subject,
        meaning: finding.rule.meaning(),
        repair: finding.rule.repair(),
        notes: &finding.notes,
    }
}

fn recovery_shape(recovery: &Recovery) -> RecoveryShape<'_> {
    RecoveryShape {
        operation: &recovery.operation,
        way: recovery.way,
        at: rfc3339(recovery.at),
        left: &recovery.left,
    }
}

/// What a rule means.
pub(crate) fn rule(format: Format, rule: Rule) -> Result<(), Failure> {
    let shape = RuleShape {
        rule: rule.name(),
        severity: rule.severity(),
        meaning: rule.meaning(),
        repair: rule.repair(),
    };
    match format {
        Format::Text => {
            let name = format!("{} ({}): ", shape.rule, shape.severity);
            let meaning = format!("{}.", shape.meaning);
            let repair = format!("{}.", shape.repair);
            let lines = [(name.as_str(), meaning), ("`bpfman reconcile`: ", repair)];
            let text = lines.map(|(start, text)| wrapped(start, 2, &text)).concat();
            print_text(&text)
        }
        _ => print_shape(format, &shape),
    }
}
