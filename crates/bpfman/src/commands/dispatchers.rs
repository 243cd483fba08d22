//! The commands on attach points that several programs share.

use crate::args::DispatcherChangeArgs;
use crate::args::DispatcherGetArgs;
use crate::args::DispatcherListArgs;
use crate::args::Global;
use crate::config::Config;
use crate::output;
use crate::report::Failure;
use crate::world::with_manager;

pub(crate) fn list(
    global: &Global,
    config: &Config,
    args: &DispatcherListArgs,
) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        let mut found = manager.dispatchers()?;
        found.retain(|status| args.wants(status.dispatcher.point()));
        output::dispatchers::listing(args.output.output, &found)
    })
}

pub(crate) fn get(
    global: &Global,
    config: &Config,
    args: &DispatcherGetArgs,
) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        let status = manager.dispatcher(args.point.point())?;
        output::dispatchers::dispatcher(args.output.output, &status)
    })
}

pub(crate) fn delete(
    global: &Global,
    config: &Config,
    args: &DispatcherChangeArgs,
) -> Result<(), Failure> {
    let point = args.point.point();
    with_manager(global, config, |manager| {
        if args.dry_run {
            let plan = manager.plan_delete_dispatcher(point)?;
            return output::plan(args.output.output, &plan);
        }
        Ok(manager.delete_dispatcher(point)?)
    })
}
