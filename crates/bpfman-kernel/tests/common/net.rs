//! A network namespace of a test's own with a veth pair in it; gone when the test ends, also by a panic.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Net {
    name: String,
}

impl Net {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Self {
            name: format!("bpfman-kernel-{}-{number}", std::process::id()),
        };
        ip(&["netns", "add", &net.name]);
        let pair = ["veth0", "type", "veth", "peer", "name", "veth1"];
        net.ip(&[&["link", "add"][..], &pair[..]].concat());
        net.ip(&["link", "set", "veth0", "up"]);
        net
    }

    fn ip(&self, args: &[&str]) {
        ip(&[&["-n", &self.name][..], args].concat());
    }

    /// The interface as a request names it.
    pub(crate) fn interface(&self) -> Value {
        let path = format!("/run/netns/{}", self.name);
        let inode = fs::metadata(&path).unwrap().ino();
        let arguments = ["-j", "-n", &self.name, "link", "show", "veth0"];
        let shown = Command::new("ip").args(arguments).output().unwrap();
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        json!({"netns": {"path": path, "id": inode}, "ifindex": shown[0]["ifindex"]})
    }

    pub(crate) fn add_ingress_qdisc(&self) {
        self.qdisc("add");
    }

    pub(crate) fn delete_ingress_qdisc(&self) {
        self.qdisc("del");
    }

    fn qdisc(&self, verb: &str) {
        let command = ["tc", "qdisc", verb, "dev", "veth0", "ingress"];
        ip(&[&["netns", "exec", &self.name][..], &command].concat());
    }

    pub(crate) fn delete_interface(&self) {
        self.ip(&["link", "del", "veth0"]);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Best effort: this may run while a test panics.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

fn ip(args: &[&str]) {
    let run = Command::new("ip").args(args).output().unwrap();
    assert!(run.status.success(), "{args:?}: {run:?}");
}
