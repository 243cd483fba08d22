//! The world that a command acts in.

use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use bpfman_core::types::AbsolutePath;
use bpfman_core::types::RuntimeLayout;
use bpfman_core::types::UnixTime;
use bpfman_interpreter::files::SystemFiles;
use bpfman_interpreter::interfaces::Kernel;
use bpfman_interpreter::kernel::HelperKernel;
use bpfman_interpreter::kernel::LibbpfKernel;
use bpfman_interpreter::runtime::SystemRuntime;
use bpfman_interpreter::targets::SystemTargets;
use bpfman_manager::Manager;

use crate::args::Global;
use crate::config::Config;
use crate::report::Failure;

/// Opens the world and runs one operation in it.
pub(crate) fn with_manager(
    global: &Global,
    config: &Config,
    operation: impl FnOnce(&mut Manager<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let layout = RuntimeLayout::new(absolute(&global.runtime_dir)?);
    let helper = global
        .kernel_helper
        .as_ref()
        .or(config.kernel.helper.as_ref());
    let mut kernel: Box<dyn Kernel> = match helper {
        Some(path) => Box::new(HelperKernel::new(path)),
        None => Box::new(LibbpfKernel::new()),
    };
    operation(&mut Manager {
        runtime: &mut SystemRuntime::new(layout.clone(), global.lock_timeout),
        layout,
        kernel: &mut *kernel,
        files: &mut SystemFiles,
        targets: &SystemTargets,
        now: now(),
    })
}

/// The path from the root, without `..`: where a symbolic link is passed, only the system knows what that means.
pub(crate) fn absolute(path: &Path) -> Result<AbsolutePath, Failure> {
    let refuse = |error: std::io::Error| Failure::input(format!("{}: {error}", path.display()));
    let whole = std::path::absolute(path).map_err(refuse)?;
    let parts: Vec<Component<'_>> = whole.components().collect();
    let climbs = |part: &Component<'_>| *part == Component::ParentDir;
    let whole = match parts.iter().rposition(climbs) {
        None => whole,
        Some(last) => {
            let (climbing, rest) = parts.split_at(last + 1);
            let climbed = climbing.iter().collect::<PathBuf>().canonicalize();
            climbed
                .map_err(refuse)?
                .join(rest.iter().collect::<PathBuf>())
        }
    };
    let text = whole
        .to_str()
        .ok_or_else(|| Failure::input(format!("path {} is not UTF-8", path.display())))?;
    AbsolutePath::parse(text).map_err(|error| Failure::input(error.to_string()))
}

fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
