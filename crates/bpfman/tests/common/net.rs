//! Two network namespaces joined by a veth pair; gone when the test ends.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::io::Write;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use super::run;
use super::stderr;

/// The port whose packets the programs of `traffic.bpf.c` note.
const PORT: u16 = 7777;
/// The hardware addresses of the two ends (locally administered).
const NEAR: &str = "02:00:00:00:09:01";
const FAR: &str = "02:00:00:00:09:02";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// `near` is the namespace under test, its interface `veth0` with address 10.9.0.1; `far` is the other end.
pub struct Net {
    pub near: String,
    pub far: String,
}

impl Net {
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("bpfman-{end}-{}-{number}", std::process::id());
        let net = Self {
            near: name("near"),
            far: name("far"),
        };
        let (near, far) = (&net.near, &net.far);
        let ends = format!(
            "veth0 netns {near} address {NEAR} type veth peer name veth1 netns {far} address {FAR}"
        );
        batch(
            &[],
            &format!("netns add {near}\nnetns add {far}\nlink add {ends}\n"),
        );
        // The neighbours are told: else the first packets wait for an answer that a dropping program never lets
        // through.
        let one_end = |interface, own, other, address| {
            format!(
                "addr add {own}/24 dev {interface}\nlink set {interface} up\n\
                 neigh add {other} lladdr {address} dev {interface}\n"
            )
        };
        batch(
            &["-n", near],
            &one_end("veth0", "10.9.0.1", "10.9.0.2", FAR),
        );
        batch(
            &["-n", far],
            &one_end("veth1", "10.9.0.2", "10.9.0.1", NEAR),
        );
        net
    }

    /// Sends `count` packets from the far end to the near one.
    pub fn send_in(&self, count: usize) {
        self.send(&self.far, "10.9.0.1", count);
    }

    /// Sends `count` packets from the near end to the far one.
    pub fn send_out(&self, count: usize) {
        self.send(&self.near, "10.9.0.2", count);
    }

    fn send(&self, from: &str, to: &str, count: usize) {
        let script = format!(
            "for i in $(seq {count}); do printf '%064d' $i > /dev/udp/{to}/{PORT} || exit 1; done"
        );
        run(Command::new("ip").args(["netns", "exec", from, "bash", "-c", &script]));
    }

    /// A device of the near namespace, by index.
    pub fn ifindex(&self) -> u64 {
        let output = Command::new("ip")
            .args(["-j", "-n", &self.near, "link", "show", "veth0"])
            .output()
            .unwrap();
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        links[0]["ifindex"].as_u64().unwrap()
    }

    /// The inode of the near namespace.
    pub fn nsid(&self) -> u64 {
        let file = std::fs::metadata(format!("/run/netns/{}", self.near));
        std::os::unix::fs::MetadataExt::ino(&file.unwrap())
    }

    pub fn delete_interface(&self) {
        ip(&["-n", &self.near, "link", "del", "veth0"]);
    }

    pub fn delete_near(&self) {
        ip(&["netns", "del", &self.near]);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Either may be gone already.
        let script = format!("netns del {}\nnetns del {}\n", self.near, self.far);
        let _ = feed(Command::new("ip").args(["-force", "-batch", "-"]), &script);
    }
}

fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

/// Several commands of `ip` in one process: in an emulated guest, each process costs a fifth of a second.
fn batch(options: &[&str], script: &str) {
    let mut ip = Command::new("ip");
    let output = feed(ip.args(options).args(["-batch", "-"]), script);
    assert!(output.status.success(), "{script}: {}", stderr(&output));
}

fn feed(command: &mut Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}
