//! What a test asks of the kernel it runs on. What the kernel lacks skips the test, by name and with the reason.
//!
//! ```no_run
//! # fn test() {
//! bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_PROG_TYPE_NETFILTER"));
//! // Only where the kernel has it.
//! # }
//! ```

mod mounts;
mod test_run;

use std::env;
use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

use libbpf_rs::ProgramType;

pub use mounts::mount;
pub use mounts::unmount;
pub use test_run::TestRun;
pub use test_run::test_run;

/// The variable that names the file to which skipped tests are added, a line `TEST<tab>REASON` each.
pub const SKIPPED: &str = "BPFMAN_TEST_SKIPPED";

/// What a kernel has, or the reason why a test that needs it cannot run.
pub type Required = Result<(), String>;

/// Ends the test as skipped unless the kernel has what it needs.
#[macro_export]
macro_rules! requires {
    ($($required:expr),+ $(,)?) => {
        $(if let Err(reason) = $required {
            return $crate::skip(&reason);
        })+
    };
}

/// Reports the running test as skipped; it must return at once.
///
/// # Panics
///
/// When the report cannot be written: a skip that nobody sees would be a pass.
pub fn skip(reason: &str) {
    let test = test_name();
    eprintln!("SKIPPED: {test}: {reason}");
    let Some(path) = env::var_os(SKIPPED) else {
        eprintln!("SKIPPED: the runner counts it as passed, for {SKIPPED} is not set");
        return;
    };
    let line = format!("{test}\t{}\n", reason.replace(['\t', '\n'], " "));
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("the file of skipped tests opens");
    // One write: tests that run at the same time share the file.
    file.write_all(line.as_bytes())
        .expect("the skip is written");
}

/// As the runner names it; without it, as the test thread is named.
fn test_name() -> String {
    match (env::var("NEXTEST_BINARY_ID"), env::var("NEXTEST_TEST_NAME")) {
        (Ok(binary), Ok(test)) => format!("{binary} {test}"),
        _ => thread::current().name().unwrap_or("a test").to_owned(),
    }
}

/// A kernel of this version or a later one; for what leaves no other trace.
pub fn kernel(major: u32, minor: u32) -> Required {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    let running = (numbers.next(), numbers.next());
    if running >= (Some(major), Some(minor)) {
        Ok(())
    } else {
        Err(format!("needs Linux {major}.{minor}, this is {release}"))
    }
}

/// A kernel whose own types name this: a value of an enumeration, a struct, a member or a function.
///
/// # Panics
///
/// When the kernel does not publish its types.
pub fn kernel_knows(name: &str) -> Required {
    let types = fs::read("/sys/kernel/btf/vmlinux").expect("the kernel publishes its types");
    let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
    if types.windows(wanted.len()).any(|part| part == wanted) {
        Ok(())
    } else {
        Err(format!("this kernel has no {name}"))
    }
}

/// A kernel that loads programs of this type.
///
/// # Panics
///
/// When it cannot be tried, as without root.
pub fn program_type(program_type: ProgramType) -> Required {
    if program_type
        .is_supported()
        .expect("loading a program can be tried")
    {
        Ok(())
    } else {
        Err(format!("this kernel loads no {program_type:?} programs"))
    }
}

/// A kernel that is not locked down, and so loads programs that trace and replace its functions.
pub fn no_lockdown() -> Required {
    let state = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    for level in ["integrity", "confidentiality"] {
        if state.contains(&format!("[{level}]")) {
            return Err(format!("this kernel is locked down ({level})"));
        }
    }
    Ok(())
}
