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

// Without fsession.s: a kernel that has no fsession refuses it as one that may sleep.
const SECTIONS: &str = "
    xdp_frags xdp_frags_devmap xdp_frags_cpumap classifier tcx_egress tc_ingress tc_egress
    tp raw_tp raw_tp_w uprobe_s uretprobe_s uprobe_multi_s uretprobe_multi_s uprobe_session_s usdt_s
    fentry_s fexit_s fmod_ret_s lsm_s iter_s cgroup_sock";

/// A kernel that is locked down does not let them be loaded.
const LOCKED: [&str; 6] = [
    "fentry",
    "fexit",
    "fmod_ret",
    "lsm",
    "lsm_cgroup",
    "freplace",
];
/// Not every kernel has them.
const RARE: [&str; 2] = ["fsession", "lirc_mode2"];

/// Whether the kernel is locked down at all.
fn locked_down() -> bool {
    let state = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    state.contains("[integrity]") || state.contains("[confidentiality]")
}

fn acceptable(name: &str, answer: &Value) -> bool {
    if answer["ok"] == true {
        return true;
    }
    let kind = answer["error"]["kind"].as_str().unwrap();
    let base = name.strip_suffix("_s").unwrap_or(name);
    (kind == "permission" && LOCKED.contains(&base) && locked_down())
        || (kind == "unsupported" && RARE.contains(&base))
}

/// Loads each, prints the table and answers the rows that must not be.
fn try_all(object: &str, prefix: &str, names: &str) -> Vec<String> {
    let bpffs = Bpffs::mount();
    let mut helper = Helper::start();
    let mut wrong = Vec::new();
    for name in names.split_whitespace() {
        let pin = bpffs.path(name);
        let answer = helper.ask(&common::load(object, &format!("{prefix}{name}"), &pin));
        let error = &answer["error"];
        let row = if answer["ok"] == true {
            format!("{name:24} loads")
        } else {
            format!("{name:24} {} {}", error["kind"], error["message"])
        };
        println!("{row}");
        let pinned = common::bpftool_pinned(&pin);
        let loaded = pinned.map_or(Value::Null, |program| program["id"].clone());
        if !acceptable(name, &answer) || loaded != answer["program_id"] {
            wrong.push(row);
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

// An extension names the program it extends, which `load` has no field for.
#[test]
fn freplace_loads_or_is_refused_by_lockdown() {
    let mut helper = Helper::start();
    let target = common::load_object("freplace_target.bpf.o", &["freplace_target"], &[]);
    let target = helper.done(&target)["programs"][0]["id"].clone();
    let mut request = common::load_object("types.bpf.o", &["t_freplace"], &[]);
    request["programs"][0]["target_program"] = target;
    request["programs"][0]["attach_function"] = "target_func".into();
    let answer = helper.ask(&request);
    println!("freplace {answer}");
    assert!(acceptable("freplace", &answer), "{answer}");
}

// `load` takes one program alone, and these maps need all of theirs.
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
