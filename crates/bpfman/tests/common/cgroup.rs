//! A cgroup of one test; gone when the test ends.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// In a mount of its own: the hierarchy is one for the whole machine, and may be mounted anywhere.
pub struct Cgroup {
    mount: tempfile::TempDir,
    name: String,
}

impl Cgroup {
    pub fn new() -> Self {
        let mount = tempfile::Builder::new()
            .prefix("bpfman-cgroups.")
            .tempdir_in("/tmp")
            .unwrap();
        bpfman_testing::mount("cgroup2", mount.path());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bpfman-test-{}-{number}", std::process::id());
        let cgroup = Self { mount, name };
        std::fs::create_dir(cgroup.path()).unwrap();
        cgroup
    }

    pub fn path(&self) -> PathBuf {
        self.mount.path().join(&self.name)
    }

    pub fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// Runs a shell script by a process of the cgroup; whether it ends well.
    pub fn bash(&self, script: &str) -> bool {
        let script = format!("echo $$ > \"$0\"/cgroup.procs || exit 1; {script}");
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", &script, &self.text()]).output();
        output.unwrap().status.success()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.path());
        bpfman_testing::unmount(self.mount.path());
    }
}
