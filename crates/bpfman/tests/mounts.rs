//! Commands in mount namespaces of their own: what they pin lasts, or they refuse before any effect.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use common::World;
use common::bpftool;
use common::id;
use common::net::Net;
use common::object;
use common::run;
use common::stderr;

both_ways!(
    a_load_in_a_private_mount_namespace_lasts_or_is_refused,
    an_attach_in_a_private_mount_namespace_lasts_or_is_refused,
    a_mount_that_propagates_needs_nothing_else,
    the_first_process_of_a_container_does_not_mount,
    a_directory_that_only_the_namespace_has_is_not_mounted_on,
    a_bpffs_that_the_user_mounted_in_a_private_namespace_is_used_and_told_of,
    what_process_1_has_mounted_is_not_taken_for_gone,
);

/// Whether a test may enter the mount namespace of process 1, as bpfman would.
fn may_enter() -> bool {
    File::open("/proc/1/ns/mnt").is_ok()
}

fn load(world: &World, wrap: &[&str]) -> std::process::Output {
    let path = object("xdp_pass.bpf.o");
    let args = ["load", &path, "--program", "xdp_pass"];
    world.command(wrap, &args).output().unwrap()
}

/// Makes the runtime directory with its database, so that a refusal can be seen to change nothing.
fn prepared(world: &World) {
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    world.ok(&["program", "delete", "--all"]);
    unmount(world);
}

fn unmount(world: &World) {
    run(Command::new("umount").arg(world.runtime().join("fs")));
}

/// The pins on our bpffs as everybody sees it are those of the records.
fn assert_there(world: &World, count: usize) {
    let ids = world.ids(&[]);
    assert_eq!(ids.len(), count);
    for id in ids {
        let pin = world.runtime().join(format!("fs/prog_{id}"));
        let shown = bpftool(&["prog", "show", "pinned", pin.to_str().unwrap()]).unwrap();
        assert_eq!(shown["id"], id);
    }
    assert!(world.ok(&["doctor"]).contains("healthy"));
}

fn refused_in(world: &World, wrap: &[&str], args: &[&str], words: &[&str]) {
    let output = world.refused_in(wrap, args, 1, words);
    assert!(stderr(&output).contains("mount -t bpf bpf"));
    assert!(!is_mounted(world));
}

fn is_mounted(world: &World) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.contains(world.runtime().join("fs").to_str().unwrap())
}

fn a_load_in_a_private_mount_namespace_lasts_or_is_refused(world: &World) {
    prepared(world);
    let path = object("xdp_pass.bpf.o");
    let args = ["load", &path, "--program", "xdp_pass"];
    for (count, propagation) in ["private", "slave"].iter().enumerate() {
        let wrap = ["unshare", "-m", "--propagation", propagation];
        if !may_enter() {
            refused_in(world, &wrap, &args, &["end with this mount namespace"]);
            refused_in(world, &wrap, &[&args[..], &["--dry-run"]].concat(), &[]);
            continue;
        }
        let output = load(world, &wrap);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_there(world, count + 1);
    }
}

fn an_attach_in_a_private_mount_namespace_lasts_or_is_refused(world: &World) {
    let net = Net::new();
    prepared(world);
    // A pin of the user's needs no bpffs of ours; what holds an attach point does.
    let (path, pin) = (object("freplace_target.bpf.o"), world.pin("pass"));
    let loaded = world.json(&[
        "load",
        &path,
        "--program",
        "freplace_target",
        "--pin-path",
        &pin,
    ]);
    assert!(!is_mounted(world));
    let program = id(&loaded["programs"][0]).to_string();
    let wrap = ["unshare", "-m"];
    let args = [
        "attach", "xdp", &program, "veth0", "-p", "1", "-n", &net.near,
    ];
    if !may_enter() {
        refused_in(world, &wrap, &args, &["end with this mount namespace"]);
        refused_in(world, &wrap, &[&args[..], &["--dry-run"]].concat(), &[]);
        return;
    }
    let output = world.command(&wrap, &args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = Command::new("ip")
        .args(["-n", &net.near, "link", "show", "veth0"])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(shown.contains("prog/xdp"), "{shown}");
    assert!(world.ok(&["doctor"]).contains("healthy"));
}

fn a_mount_that_propagates_needs_nothing_else(world: &World) {
    prepared(world);
    let runtime = world.runtime();
    run(Command::new("mount")
        .arg("--bind")
        .args([&runtime, &runtime]));
    run(Command::new("mount").arg("--make-shared").arg(&runtime));
    let output = load(world, &["unshare", "-m", "--propagation", "unchanged"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_there(world, 1);
}

fn the_first_process_of_a_container_does_not_mount(world: &World) {
    prepared(world);
    let path = object("xdp_pass.bpf.o");
    let args = ["load", &path, "--program", "xdp_pass"];
    let wrap = ["unshare", "-m", "-p", "-f", "--mount-proc"];
    refused_in(
        world,
        &wrap,
        &args,
        &["bpfman is process 1 of this container"],
    );
    // What is mounted already is used, and lasts where it was mounted.
    let first = world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    let output = load(world, &wrap);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_there(world, 2);
    assert!(world.ids(&[]).contains(&id(&first[0])));
}

/// Runs a script in a mount namespace whose runtime directory is a file system of its own; `$@` is bpfman.
fn with_own_directory(world: &World, script: &str) -> std::process::Output {
    let mount = format!(
        "mount -t tmpfs none {} || exit 99; {script}",
        world.runtime().display()
    );
    let wrap = ["unshare", "-m", "sh", "-c", &mount, "sh"];
    world.command(&wrap, &[]).output().unwrap()
}

fn a_directory_that_only_the_namespace_has_is_not_mounted_on(world: &World) {
    prepared(world);
    let path = object("xdp_pass.bpf.o");
    let script =
        format!("\"$@\" load {path} --program xdp_pass; code=$?; \"$@\" list -q; exit $code");
    let output = with_own_directory(world, &script);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("end with this mount namespace"));
    assert_eq!(output.stdout, b"");
}

fn a_bpffs_that_the_user_mounted_in_a_private_namespace_is_used_and_told_of(world: &World) {
    prepared(world);
    let (path, fs) = (object("xdp_pass.bpf.o"), world.runtime().join("fs"));
    let script = format!(
        "mkdir {fs}; mount -t bpf bpf {fs}; \"$@\" load {path} --program xdp_pass || exit 98; \"$@\" doctor -o json",
        fs = fs.display()
    );
    let output = with_own_directory(world, &script);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"rule\": \"bpffs-private\""), "{text}");
}

/// A mount namespace that was there before our bpffs was mounted.
struct Earlier(Child);

impl Earlier {
    fn new() -> Self {
        let mut holder = Command::new("unshare");
        let holder = holder.args(["-m", "sleep", "600"]).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
        let start = Instant::now();
        let path = format!("/proc/{}/ns/mnt", holder.id());
        while std::fs::read_link(&path).is_ok_and(|there| there == own) {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(holder)
    }
}

impl Drop for Earlier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn what_process_1_has_mounted_is_not_taken_for_gone(world: &World) {
    prepared(world);
    let earlier = Earlier::new();
    let program = id(&world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[])[0]).to_string();
    let pid = earlier.0.id().to_string();
    let wrap = ["nsenter", "-m", "-t", &pid];
    let doctor = world.command(&wrap, &["doctor"]).output().unwrap();
    assert_eq!(doctor.status.code(), Some(6), "{}", stderr(&doctor));
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.contains("warning: bpffs-elsewhere"), "{text}");
    assert!(!text.contains("program-unpinned"), "{text}");
    if may_enter() {
        let output = world
            .command(&wrap, &["program", "unload", &program])
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!Path::new(&world.runtime().join(format!("fs/prog_{program}"))).exists());
        assert_there(world, 0);
    } else {
        let words = ["process 1 has a bpffs mounted", "nsenter -t 1 -m"];
        for args in [&["program", "unload", &program][..], &["reconcile"]] {
            world.refused_in(&wrap, args, 1, &words);
        }
        assert_there(world, 1);
    }
}
