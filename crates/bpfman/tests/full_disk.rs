//! A runtime directory without space: whatever step meets it, everything is as it was.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use common::World;
use common::assert_gone;
use common::id;
use common::net::Net;
use common::object;
use common::run;
use common::stderr;
use common::steps;

both_ways!(
    a_load_that_fills_the_disk_at_any_step_leaves_nothing,
    an_unload_without_a_reserve_is_whole_or_undone,
    all_is_taken_away_on_a_full_disk,
    a_chain_that_cannot_be_recorded_is_swapped_back,
    a_reconciliation_on_a_full_disk_is_made_up_for_by_the_next,
    what_is_gone_is_taken_away_on_a_full_disk,
);

const PAGE: u64 = 4096;
/// More than a load takes.
const MOST_PAGES: u64 = 64;

/// A file that takes all space but some pages, for as long as it lives.
struct Filler(PathBuf);

impl Filler {
    fn leaving(world: &World, pages: u64) -> Self {
        let path = world.runtime().join("filler");
        // Stops where the space ends.
        let _ = std::fs::write(&path, vec![1; 4 << 20]);
        let file = File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(pages * PAGE)).unwrap();
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn small_disk(world: &World) {
    std::fs::create_dir(world.runtime()).unwrap();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(world.runtime()));
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
}

/// Runs a command with ever more space until it succeeds. Every failure must leave all as it was; answers the
/// last step of each with the steps before it.
fn with_ever_more_space(world: &World, args: &[&str]) -> BTreeMap<String, Vec<String>> {
    let args = [&["--log", "executor=debug"], args].concat();
    let before = world.places();
    let mut failures = BTreeMap::new();
    for pages in 0..MOST_PAGES {
        let output = with_space(world, pages, &args);
        if output.status.success() {
            return failures;
        }
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{pages} pages: {text}");
        assert!(
            text.to_lowercase().contains("no space left"),
            "{pages} pages: {text}"
        );
        assert!(text.contains(world.runtime().to_str().unwrap()), "{text}");
        assert!(text.contains("hint: free space"), "{pages} pages: {text}");
        assert!(!text.contains("undoing failed"), "{pages} pages: {text}");
        assert_eq!(before, world.places(), "{pages} pages: {text}");
        let mut steps = steps(&text);
        let last = steps.pop().unwrap_or_default();
        failures.insert(last, steps);
    }
    panic!("{args:?} does not succeed with {MOST_PAGES} pages: {failures:?}");
}

fn with_space(world: &World, pages: u64, args: &[&str]) -> Output {
    let _filler = Filler::leaving(world, pages);
    world.bpfman(args)
}

/// The steps before the one that starts so.
fn before<'a>(failures: &'a BTreeMap<String, Vec<String>>, step: &str) -> &'a [String] {
    let found = failures.iter().find(|(last, _)| last.starts_with(step));
    found
        .unwrap_or_else(|| panic!("nothing failed at `{step}`: {failures:?}"))
        .1
}

fn a_load_that_fills_the_disk_at_any_step_leaves_nothing(world: &World) {
    small_disk(world);
    let (path, pin) = (object("xdp_pass.bpf.o"), world.pin("new/full"));
    let load = ["load", &path, "--program", "xdp_pass", "--pin-path", &pin];
    let failures = with_ever_more_space(world, &load);
    let loads = |step: &String| step.starts_with("kernel  load xdp_pass");
    let pins = |step: &String| step.starts_with("bpffs   pin program");
    assert!(
        !before(&failures, "files   write the object")
            .iter()
            .any(loads)
    );
    let instructions = before(&failures, "files   keep the instructions");
    assert!(instructions.iter().any(loads) && !instructions.iter().any(pins));
    let record = before(&failures, "store   record program");
    assert!(record.iter().any(loads) && record.iter().any(pins));
    assert_eq!(world.ids(&[]).len(), 2);
}

fn all_is_taken_away_on_a_full_disk(world: &World) {
    small_disk(world);
    let net = Net::new();
    let programs = "xdp:xdp_10,xdp:xdp_11,xdp:xdp_12";
    let loaded = world.load("chain.bpf.o", programs, &[]);
    let ids = loaded.iter().map(|program| id(program).to_string());
    let ids: Vec<String> = ids.collect();
    let attach = |number: &str| {
        let args = [
            "attach", "xdp", number, "veth0", "-p", "50", "-n", &net.near,
        ];
        world.json(&args)["record"]["id"].to_string()
    };
    let links: Vec<String> = ids.iter().map(|number| attach(number)).collect();
    let point = &world.json(&["dispatcher", "list"])["dispatchers"][0]["key"];
    let (nsid, ifindex) = (point["nsid"].to_string(), point["ifindex"].to_string());
    // Each is given a full disk, with what the one before has set aside again.
    let on_full_disk = |args: &[&str]| {
        let output = with_space(world, 0, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        world.ok(&["link", "update", &links[2], "-p", "60"]);
        world.ok(&["link", "update", &links[2], "-p", "50"]);
    };
    on_full_disk(&["detach", &links[0]]);
    on_full_disk(&["unload", &ids[1]]);
    on_full_disk(&["link", "list"]);
    let delete = ["dispatcher", "delete", "xdp", &nsid, &ifindex];
    assert!(with_space(world, 0, &delete).status.success());
    let shown = Command::new("ip")
        .args(["-n", &net.near, "link", "show", "veth0"])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(!shown.contains("prog/xdp"), "{shown}");
    world.load("xdp_pass.bpf.o", "xdp:xdp_pass", &[]);
    let output = with_space(world, 0, &["program", "delete", "--all"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(world.ids(&[]).is_empty());
    for number in &ids {
        assert_gone("prog", number.parse().unwrap());
    }
}

/// Space that was set aside is gone; somebody else may have taken it.
fn without_reserve(world: &World) {
    let _ = std::fs::remove_file(world.runtime().join("db/store.db-reserve"));
}

fn an_unload_without_a_reserve_is_whole_or_undone(world: &World) {
    small_disk(world);
    let number = id(&world.load("maps.bpf.o", "tracepoint:first", &[])[0]).to_string();
    without_reserve(world);
    let failures = with_ever_more_space(world, &["unload", &number]);
    let unpins = |step: &String| step.starts_with("bpffs   unpin program");
    // What is unpinned dies with the process: the record goes first, while all can be undone.
    let record = before(&failures, "store   delete program");
    assert!(!record.iter().any(unpins), "{record:?}");
    assert_eq!(world.ids(&[]).len(), 1);
    assert!(!world.runtime().join(format!("fs/prog_{number}")).exists());
}

fn a_reconciliation_on_a_full_disk_is_made_up_for_by_the_next(world: &World) {
    small_disk(world);
    let program = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    let pin = program["record"]["handles"]["pin_path"].as_str().unwrap();
    std::fs::remove_file(pin).unwrap();
    assert_gone("prog", id(&program));
    let filler = Filler::leaving(world, 0);
    let output = world.bpfman(&["doctor"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let full = format!("disk-full: {}/db", world.runtime().display());
    assert!(told.contains(&full), "{told}: {}", stderr(&output));
    assert!(told.contains("program-gone"), "{told}");
    drop(filler);
    without_reserve(world);
    let failures = with_ever_more_space(world, &["reconcile"]);
    assert!(!failures.is_empty(), "there was space enough");
    assert_eq!(world.ids(&[]).len(), 1);
    let again = world.json(&["reconcile"]);
    assert_eq!(again["steps"], serde_json::json!([]));
}

fn what_is_gone_is_taken_away_on_a_full_disk(world: &World) {
    small_disk(world);
    let program = world.load("maps.bpf.o", "tracepoint:first", &[]).remove(0);
    let pin = program["record"]["handles"]["pin_path"].as_str().unwrap();
    std::fs::remove_file(pin).unwrap();
    let output = with_space(world, 0, &["reconcile"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.ids(&[]).len(), 1);
    let again = world.json(&["reconcile"]);
    assert_eq!(again["steps"], serde_json::json!([]));
}

fn a_chain_that_cannot_be_recorded_is_swapped_back(world: &World) {
    small_disk(world);
    let net = Net::new();
    let programs = "xdp:xdp_10,xdp:xdp_11,xdp:xdp_12";
    let loaded = world.load("chain.bpf.o", programs, &[]);
    let numbers: Vec<String> = loaded
        .iter()
        .map(|program| id(program).to_string())
        .collect();
    let words = |number: &str| {
        let words = [
            "attach", "xdp", number, "veth0", "-p", "50", "-n", &net.near,
        ];
        words.map(str::to_owned)
    };
    for number in &numbers[..2] {
        let words = words(number);
        world.ok(&words.each_ref().map(String::as_str));
    }
    let joining = words(&numbers[2]);
    let failures = with_ever_more_space(world, &joining.each_ref().map(String::as_str));
    let swaps = |step: &String| step.starts_with("kernel  swap program");
    let record = before(&failures, "store   record");
    assert!(record.iter().any(swaps), "{record:?}");
    let list = world.json(&["dispatcher", "list"]);
    assert_eq!(list["dispatchers"][0]["member_count"], 3);
}
