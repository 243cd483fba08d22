//! Every program type through `load`: what this kernel must take, and what it may refuse and why.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use std::fs;

use serde_json::Value;

use self::common::Bpffs;
use self::common::Helper;

const TYPES: &str = "
    xdp xdp_devmap xdp_cpumap tc tc_action tcx netkit_primary netkit_peer
    tracepoint raw_tracepoint raw_tracepoint_writable perf_event
    kprobe kretprobe kprobe_multi kretprobe_multi kprobe_session ksyscall kretsyscall
    uprobe uretprobe uprobe_multi uretprobe_multi uprobe_session usdt
    fentry fexit fmod_ret fsession tp_btf iter lsm lsm_cgroup
    socket_filter sk_lookup sk_reuseport sk_reuseport_migrate sockops sk_msg
    sk_skb sk_skb_stream_parser sk_skb_stream_verdict sk_skb_verdict flow_dissector netfilter
    syscall lirc_mode2 lwt_in lwt_out lwt_xmit lwt_seg6local
    cgroup_skb cgroup_skb_ingress cgroup_skb_egress cgroup_sock_create cgroup_sock_release
    cgroup_post_bind4 cgroup_post_bind6 cgroup_bind4 cgroup_bind6
    cgroup_connect4 cgroup_connect6 cgroup_connect_unix
    cgroup_sendmsg4 cgroup_sendmsg6 cgroup_sendmsg_unix
    cgroup_recvmsg4 cgroup_recvmsg6 cgroup_recvmsg_unix
    cgroup_getpeername4 cgroup_getpeername6 cgroup_getpeername_unix
    cgroup_getsockname4 cgroup_getsockname6 cgroup_getsockname_unix
    cgroup_sysctl cgroup_getsockopt cgroup_setsockopt cgroup_device";

const SECTIONS: &str = "
    xdp_frags xdp_frags_devmap xdp_frags_cpumap classifier tcx_egress tc_ingress tc_egress
    tp raw_tp raw_tp_w uprobe_s uretprobe_s uprobe_multi_s uretprobe_multi_s uprobe_session_s usdt_s
    fentry_s fexit_s fmod_ret_s fsession_s lsm_s iter_s cgroup_sock";

/// Why a kernel may not take a type that others take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Programs of this type change what kernel functions or other programs do: lockdown forbids them. A kernel
    /// that is not locked down must load them.
    Lockdown,
    /// Kernels that are older, or built without it, do not know the type.
    Unknown,
}

/// Every type that is not named here must load.
const MAY_BE_REFUSED: [(&str, Reason); 8] = [
    ("fentry", Reason::Lockdown),
    ("fexit", Reason::Lockdown),
    ("fmod_ret", Reason::Lockdown),
    ("lsm", Reason::Lockdown),
    ("lsm_cgroup", Reason::Lockdown),
    ("freplace", Reason::Lockdown),
    ("fsession", Reason::Unknown),
    ("lirc_mode2", Reason::Unknown),
];

fn locked_down() -> bool {
    let state = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    state.contains("[integrity]") || state.contains("[confidentiality]")
}

/// Checks the answer for a type; whether it was loaded. What this kernel cannot be asked is printed.
fn check(name: &str, answer: &Value) -> Result<bool, String> {
    let base = name.strip_suffix("_s").unwrap_or(name);
    let reason = MAY_BE_REFUSED.iter().find(|(known, _)| *known == base);
    let reason = reason.map(|(_, reason)| *reason);
    let error = &answer["error"];
    let message = error["message"].as_str().unwrap_or_default();
    let words = match (answer["ok"] == true, reason) {
        (true, Some(Reason::Lockdown)) if locked_down() => {
            return Err(format!("{name}: loads although the kernel is locked down"));
        }
        (true, _) => return Ok(true),
        (false, Some(Reason::Lockdown)) if locked_down() => ["permission", "locked down"],
        (false, Some(Reason::Unknown)) => ["unsupported", "this kernel does not know"],
        (false, _) => return Err(format!("{name}: {answer}")),
    };
    if error["kind"] != words[0] || !message.contains(words[1]) {
        return Err(format!("{name}: not {words:?}: {answer}"));
    }
    let why = if words[0] == "permission" {
        "lockdown"
    } else {
        "not in this kernel"
    };
    println!("SKIPPED {name} ({why}): {message}");
    Ok(false)
}

/// Loads each and answers what is wrong.
fn try_all(object: &str, prefix: &str, names: &str) -> Vec<String> {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let mut wrong = Vec::new();
    for name in names.split_whitespace() {
        let pin = bpffs.path(name);
        let answer = helper.ask(&common::load(object, &format!("{prefix}{name}"), &pin));
        let pinned = common::bpftool_pinned(&pin);
        let id = pinned.map_or(Value::Null, |program| program["id"].clone());
        match check(name, &answer) {
            Err(what) => wrong.push(what),
            Ok(loaded) if id != answer["program_id"] || id.is_null() == loaded => {
                wrong.push(format!("{name}: {answer}, but bpftool sees program {id}"));
            }
            Ok(_) => {}
        }
    }
    wrong
}

#[test]
fn every_program_type_loads_or_is_refused_for_a_reason() {
    let wrong = try_all("types.bpf.o", "t_", TYPES);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_other_section_loads_or_is_refused_for_a_reason() {
    let wrong = try_all("sections.bpf.o", "s_", SECTIONS);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn freplace_loads_or_is_refused_by_lockdown() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let target = common::load_object("freplace_target.bpf.o", &["freplace_target"], &[]);
    let target = helper.done(&target)["programs"][0]["id"].clone();
    let mut request = common::load_object("types.bpf.o", &["t_freplace"], &[]);
    request["programs"][0]["target_program"] = target.clone();
    request["programs"][0]["attach_function"] = "target_func".into();
    check("freplace", &helper.ask(&request)).unwrap();
    let mut request = common::load("types.bpf.o", "t_freplace", &bpffs.path("freplace"));
    request["attach_function"] = format!("{target}/target_func").into();
    check("freplace", &helper.ask(&request)).unwrap();
}

#[test]
fn freplace_without_its_target_is_a_bad_request_that_names_it() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let object = common::load_object("types.bpf.o", &["t_freplace"], &[]);
    let mut function = object.clone();
    function["programs"][0]["attach_function"] = "target_func".into();
    for request in [object, function] {
        let error = helper.refused(&request, "bad_request");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("`target_program`"), "{message}");
    }
    let load = common::load("types.bpf.o", "t_freplace", &bpffs.path("x"));
    let error = helper.refused(&load, "bad_request");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("PROGRAM_ID/FUNCTION"), "{message}");
    assert!(bpffs.entries().is_empty());
}

#[test]
fn struct_ops_of_one_map_load_together() {
    let mut helper = Helper::start();
    let callbacks = [
        "t_struct_ops_ssthresh",
        "t_struct_ops_cong_avoid",
        "t_struct_ops_undo_cwnd",
    ];
    let loaded = helper.done(&common::load_object(
        "struct_ops.bpf.o",
        &callbacks,
        &["dummy"],
    ));
    assert_eq!(loaded["programs"].as_array().unwrap().len(), 3);
    let dummy = ["t_struct_ops_dummy"];
    helper.done(&common::load_object(
        "struct_ops.bpf.o",
        &dummy,
        &["congestion"],
    ));
}

#[test]
fn load_takes_a_struct_ops_program_whose_map_needs_no_other() {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let pin = bpffs.path("dummy");
    let loaded = helper.done(&common::load(
        "struct_ops.bpf.o",
        "t_struct_ops_dummy",
        &pin,
    ));
    let seen = common::bpftool_pinned(&pin).unwrap();
    assert_eq!(seen["type"], "struct_ops");
    assert_eq!(seen["id"], loaded["program_id"]);
    // The other map needs three programs, and `load` pins one: none is loaded without being asked for.
    let other = bpffs.path("other");
    let request = common::load("struct_ops.bpf.o", "t_struct_ops_ssthresh", &other);
    let error = helper.refused(&request, "bad_request");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("t_struct_ops_cong_avoid, t_struct_ops_undo_cwnd"),
        "{message}"
    );
    assert_eq!(bpffs.entries(), ["dummy"]);
}
