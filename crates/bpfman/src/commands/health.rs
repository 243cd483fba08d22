//! The commands that look after what is there.

use std::process::ExitCode;

use bpfman_core::compute::Repairs;
use bpfman_core::compute::Severity;
use bpfman_interpreter::environment::environment;

use crate::args::DoctorArgs;
use crate::args::Global;
use crate::args::ReconcileArgs;
use crate::config::Config;
use crate::output;
use crate::report::Failure;
use crate::world::with_manager;

/// What `doctor` answers when there are warnings and no errors.
const WARNINGS: u8 = 6;
/// What `doctor` answers when there are errors.
const ERRORS: u8 = 7;

pub(crate) fn reconcile(
    global: &Global,
    config: &Config,
    args: &ReconcileArgs,
) -> Result<(), Failure> {
    let format = args.output.output;
    with_manager(global, config, |manager| {
        let repairs = Repairs {
            prune: args.prune,
            reattach: args.reattach,
            keep: false,
        };
        if args.dry_run {
            let diagnosis = manager.diagnose(repairs)?;
            return output::health::reconciled(format, &diagnosis.findings, true);
        }
        let mut done = manager.reconcile(repairs)?;
        done.repaired.append(&mut done.left);
        output::health::reconciled(format, &done.repaired, false)
    })
}

pub(crate) fn doctor(
    global: &Global,
    config: &Config,
    args: &DoctorArgs,
) -> Result<ExitCode, Failure> {
    let format = args.output.output;
    if let Some(rule) = args.explain {
        return output::health::rule(format, rule).map(|()| ExitCode::SUCCESS);
    }
    let mut worst = None;
    with_manager(global, config, |manager| {
        let diagnosis = manager.diagnose(Repairs::default())?;
        let severities = diagnosis.findings.iter();
        worst = severities.map(|finding| finding.rule.severity()).max();
        let environment = environment(&manager.layout.bpffs());
        output::health::diagnosis(format, &diagnosis, &environment)
    })?;
    Ok(match worst {
        None => ExitCode::SUCCESS,
        Some(Severity::Warning) => ExitCode::from(WARNINGS),
        Some(Severity::Error) => ExitCode::from(ERRORS),
    })
}
