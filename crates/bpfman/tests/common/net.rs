//! Two network namespaces joined by a veth pair; gone when the test ends.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use super::run;

/// The port whose packets the programs of `traffic.bpf.c` note.
const PORT: u16 = 7777;

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
        ip(&["netns", "add", &net.near]);
        ip(&["netns", "add", &net.far]);
        ip(&[
            "-n", &net.near, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1",
            "netns", &net.far,
        ]);
        for (namespace, interface, address) in [
            (&net.near, "veth0", "10.9.0.1/24"),
            (&net.far, "veth1", "10.9.0.2/24"),
        ] {
            ip(&["-n", namespace, "addr", "add", address, "dev", interface]);
            ip(&["-n", namespace, "link", "set", interface, "up"]);
        }
        // Without it the first packets wait for an answer that a dropping program never lets through.
        let far_address = net.address("veth1", &net.far);
        let near_address = net.address("veth0", &net.near);
        ip(&[
            "-n",
            &net.near,
            "neigh",
            "add",
            "10.9.0.2",
            "lladdr",
            &far_address,
            "dev",
            "veth0",
        ]);
        ip(&[
            "-n",
            &net.far,
            "neigh",
            "add",
            "10.9.0.1",
            "lladdr",
            &near_address,
            "dev",
            "veth1",
        ]);
        net
    }

    fn address(&self, interface: &str, namespace: &str) -> String {
        let output = Command::new("ip")
            .args(["-j", "-n", namespace, "link", "show", interface])
            .output()
            .unwrap();
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        links[0]["address"].as_str().unwrap().to_owned()
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
        for namespace in [&self.near, &self.far] {
            let _ = Command::new("ip")
                .args(["netns", "del", namespace])
                .output();
        }
    }
}

fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}
