//! Every program type through `load`: what this kernel must take, and what it may refuse and why.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_testing::kernel;
use bpfman_testing::kernel_knows;
use bpfman_testing::no_lockdown;
use bpfman_testing::requires;
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

/// A kernel that is locked down may not let them be loaded.
const LOCKED: [&str; 9] = [
    "fentry",
    "fentry_s",
    "fexit",
    "fexit_s",
    "fmod_ret",
    "fmod_ret_s",
    "lsm",
    "lsm_s",
    "lsm_cgroup",
];

/// How a kernel refuses a type that it does not have, and whether it has it.
fn missing(name: &str) -> Option<(&'static str, String)> {
    let (kind, has) = match name {
        "fsession" => ("unsupported", kernel_knows("BPF_TRACE_FSESSION")),
        "lirc_mode2" => ("unsupported", kernel_knows("lirc_prog_attach")),
        "lsm_cgroup" => ("unsupported", kernel_knows("BPF_LSM_CGROUP")),
        "netfilter" => ("unsupported", kernel_knows("BPF_PROG_TYPE_NETFILTER")),
        "syscall" => ("unsupported", kernel_knows("BPF_PROG_TYPE_SYSCALL")),
        _ if name.starts_with("xdp_frags") => ("unsupported", kernel_knows("xdp_has_frags")),
        _ if name.ends_with("_unix") => ("unsupported", kernel_knows("BPF_CGROUP_UNIX_CONNECT")),
        // What may sleep is a list inside the verifier, and programs that do not are taken.
        "lsm_s" => ("unsupported", kernel(5, 11)),
        "fentry_s" | "fexit_s" | "fmod_ret_s" => ("unsupported", kernel(6, 3)),
        _ if name.starts_with('u') && name.ends_with("_s") => ("unsupported", kernel(6, 0)),
        _ => return None,
    };
    has.err().map(|reason| (kind, reason))
}

/// That a type loads exactly when this kernel has it and may load it, and is refused for the true reason otherwise.
fn acceptable(name: &str, answer: &Value) -> bool {
    let refusal = answer["error"]["kind"].as_str();
    if refusal == Some("permission") && LOCKED.contains(&name) && no_lockdown().is_err() {
        return true;
    }
    refusal == missing(name).map(|(kind, _)| kind)
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
            let known = missing(name).map_or(String::new(), |(_, reason)| format!(" ({reason})"));
            format!("{name:24} {} {}{known}", error["kind"], error["message"])
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
    let locked = no_lockdown().is_err() && answer["error"]["kind"] == "permission";
    assert!(answer["ok"] == true || locked, "{answer}");
}

// `load` takes one program alone, and these maps need all of theirs.
#[test]
fn struct_ops_of_one_map_load_together() {
    // The map of the congestion control is registered through a link.
    requires!(kernel_knows("BPF_F_LINK"));
    let mut helper = Helper::start();
    let callbacks = [
        "t_struct_ops_ssthresh",
        "t_struct_ops_cong_avoid",
        "t_struct_ops_undo_cwnd",
    ];
    let congestion = common::load_object("struct_ops.bpf.o", &callbacks, &["dummy"]);
    let loaded = helper.done(&congestion);
    assert_eq!(loaded["programs"].as_array().unwrap().len(), 3);
}

#[test]
fn struct_ops_without_a_link_load() {
    requires!(kernel_knows("bpf_dummy_ops"));
    let dummy = ["t_struct_ops_dummy"];
    Helper::start().done(&common::load_object(
        "struct_ops.bpf.o",
        &dummy,
        &["congestion"],
    ));
}
