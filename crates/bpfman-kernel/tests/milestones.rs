//! The first milestones: the helper loads a program, and the manager's client makes it do so.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::KernelExecutor;
use bpfman_interpreter::interfaces::KernelReader;
use bpfman_interpreter::kernel::HelperKernel;
use serde_json::Value;
use serde_json::json;

use self::common::Bpffs;

#[test]
fn milestone_1_shim_loads_a_program() {
    let bpffs = Bpffs::mount();
    let pin = bpffs.path("xdp_pass");
    let mut helper = Command::new(common::HELPER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let request = common::load("xdp_pass.bpf.o", "xdp_pass", &pin);
    // `take`: the end of its input ends the process.
    writeln!(helper.stdin.take().unwrap(), "{request}").unwrap();
    let run = helper.wait_with_output().unwrap();
    assert!(run.status.success());
    let answer: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(answer["pinned"], json!([pin]));

    let seen = common::bpftool_pinned(&pin).unwrap();
    assert_eq!(seen["type"], "xdp");
    assert_eq!(seen["name"], "xdp_pass");
    assert_eq!(seen["id"], answer["program_id"]);
    assert_eq!(seen["tag"], answer["tag"]);
    assert_eq!(seen["map_ids"], answer["map_ids"]);
    assert_eq!(answer["map_ids"].as_array().unwrap().len(), 1);
}

#[test]
fn milestone_2_manager_calls_the_shim() {
    let bpffs = Bpffs::mount();
    let pin = bpffs.path("xdp_pass");
    // The kinds of values are those that the client's methods take.
    let path = serde_json::from_value(json!(pin)).unwrap();
    let mut kernel = HelperKernel::new(Path::new(common::HELPER));
    let mut execute = |action: Value| {
        let action = serde_json::from_value(action).unwrap();
        serde_json::to_value(kernel.execute(&action).unwrap()).unwrap()
    };
    let loaded = execute(common::load_object("xdp_pass.bpf.o", &["xdp_pass"], &[]));
    let id = &loaded["programs"][0]["id"];
    execute(json!({"op": "pin_program", "program": id, "path": pin}));

    let state = kernel.pin_state(&path, Detail::Full).unwrap();
    let state = serde_json::to_value(state).unwrap();
    kernel.finish();
    drop(kernel);
    let seen = common::bpftool_pinned(&pin).unwrap();
    assert_eq!(seen["id"], *id);
    assert_eq!(state["at"], "program");
    assert_eq!(state["id"], *id);
    assert_eq!(state["map_ids"], seen["map_ids"]);
    assert_eq!(loaded["maps"][0]["id"], seen["map_ids"][0]);
}

#[test]
fn a_helper_that_cannot_start_is_named() {
    let mut kernel = HelperKernel::new(Path::new("/nonexistent/helper"));
    let path = serde_json::from_value(json!("/sys/fs/bpf")).unwrap();
    let error = kernel.is_bpffs_root(&path).unwrap_err();
    assert!(error.message.contains("/nonexistent/helper"), "{error}");
}
