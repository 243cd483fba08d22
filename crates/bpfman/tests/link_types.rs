//! Every program type is loaded, attached and detached on a kernel that can; README's table says which are.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::cell::OnceCell;
use std::path::Path;
use std::process::Command;

use bpfman_core::links::LinkKind;
use bpfman_core::types::ProgramType;
use common::Via;
use common::World;
use common::assert_gone;
use common::bpftool;
use common::cgroup::Cgroup;
use common::id;
use common::kernel::lacks;
use common::net::Net;
use common::object;
use common::run;
use common::stderr;

/// What a test of one type attaches to; made when it is needed.
#[derive(Default)]
struct Place {
    net: OnceCell<Net>,
    cgroup: OnceCell<Cgroup>,
}

impl Place {
    fn near(&self) -> &str {
        &self.net.get_or_init(Net::new).near
    }

    fn cgroup(&self) -> String {
        self.cgroup.get_or_init(Cgroup::new).text()
    }
}

/// The words after `link attach` for a program of a type; empty for a type that has no link.
fn attach_words(program_type: ProgramType, place: &Place) -> Vec<String> {
    use ProgramType as T;
    // A type of TCX can be a filter of TC, too; asked for is the kind of its own name.
    let kinds = LinkKind::ALL.iter().copied();
    let mut kinds = kinds.filter(|kind| kind.takes(program_type));
    let own = kinds
        .clone()
        .find(|kind| kind.name() == program_type.name());
    let Some(kind) = own.or_else(|| kinds.next()) else {
        return Vec::new();
    };
    let cgroup;
    let words: Vec<&str> = match kind {
        LinkKind::Xdp => vec!["veth0", "-p", "1", "-n", place.near()],
        LinkKind::Tc | LinkKind::Tcx => vec!["veth0", "ingress", "-p", "1", "-n", place.near()],
        LinkKind::Netkit => vec!["primary0", "-n", place.near()],
        LinkKind::Tracepoint => vec!["sched/sched_switch"],
        LinkKind::RawTracepoint if program_type == T::RawTracepointWritable => {
            vec!["bpf_test_finish"]
        }
        LinkKind::RawTracepoint => vec!["sched_switch"],
        LinkKind::Kprobe | LinkKind::Kretprobe
            if matches!(program_type, T::Ksyscall | T::Kretsyscall) =>
        {
            vec!["execve"]
        }
        LinkKind::Kprobe | LinkKind::Kretprobe | LinkKind::KprobeMulti => vec!["vfs_open"],
        LinkKind::Uprobe | LinkKind::Uretprobe | LinkKind::UprobeMulti => {
            vec!["libc", "--fn-name", "getenv"]
        }
        LinkKind::PerfEvent => vec!["cpu-clock", "--frequency", "1", "--cpu", "0"],
        LinkKind::Cgroup if program_type == T::CgroupSkb => {
            cgroup = place.cgroup();
            vec![&cgroup, "--direction", "egress"]
        }
        LinkKind::Cgroup => {
            cgroup = place.cgroup();
            vec![&cgroup]
        }
        LinkKind::SkLookup | LinkKind::FlowDissector => vec!["-n", place.near()],
        LinkKind::Netfilter => vec!["ipv4", "local_in", "-p", "-100", "-n", place.near()],
        LinkKind::TpBtf
        | LinkKind::Fentry
        | LinkKind::Fexit
        | LinkKind::FmodRet
        | LinkKind::Fsession
        | LinkKind::Lsm
        | LinkKind::Freplace
        | LinkKind::Iter => Vec::new(),
        LinkKind::Usdt | LinkKind::StructOps | LinkKind::Sockmap => return Vec::new(),
    };
    // The return kinds are asked for by the names of the others.
    let verb = kind
        .name()
        .replace("kretprobe", "kprobe")
        .replace("uretprobe", "uprobe");
    let words = words.into_iter().map(str::to_owned);
    std::iter::once(verb).chain(words).collect()
}

/// Loads, attaches, detaches and unloads; whatever the kernel lacks skips the test.
fn round_trip(program_type: ProgramType) {
    bpfman_testing::requires!(try_round_trip(program_type));
}

/// Loads, attaches, detaches and unloads, or says what the kernel lacks.
fn try_round_trip(program_type: ProgramType) -> bpfman_testing::Required {
    let world = World::new(Via::InProcess);
    let place = Place::default();
    if matches!(
        program_type,
        ProgramType::NetkitPrimary | ProgramType::NetkitPeer
    ) {
        make_netkit(place.near())?;
    }
    let program = format!(
        "{program_type}:t_{program_type}{}",
        bound_to(program_type, &world)
    );
    let path = object("types.bpf.o");
    let load = [
        "program",
        "load",
        &path,
        "--programs",
        &program,
        "-o",
        "json",
    ];
    let output = world.bpfman(&load);
    if !output.status.success() {
        assert!(
            lacks(&stderr(&output)),
            "{program_type}: {}",
            stderr(&output)
        );
        return Err(stderr(&output).lines().next().unwrap().to_owned());
    }
    let loaded: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = id(&loaded["programs"][0]).to_string();
    let words = attach_words(program_type, &place);
    let mut attach = vec!["link", "attach", &words[0], &number];
    attach.extend(words[1..].iter().map(String::as_str));
    attach.extend(["-o", "json"]);
    let output = world.bpfman(&attach);
    if !output.status.success() {
        let message = stderr(&output);
        assert!(lacks(&message), "{attach:?}: {message}");
        let places = world.places();
        assert!(
            !places.bpffs.iter().any(|path| path.ends_with("links/1")),
            "{places:?}"
        );
        return Err(message.lines().next().unwrap().to_owned());
    }
    let link: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    check_attached(&link, &number);
    let number_of_link = link["record"]["id"].as_u64().unwrap().to_string();
    world.ok(&["link", "detach", &number_of_link]);
    if let Some(kernel) = link["record"]["kernel_link_id"].as_u64() {
        assert_gone("link", kernel);
    }
    world.ok(&["unload", &number]);
    assert_gone("prog", number.parse().unwrap());
    Ok(())
}

/// What `doctor` says of a feature is what a round trip that needs it meets.
fn agrees(name: &str, program_type: ProgramType) {
    let world = World::new(Via::InProcess);
    let shown = world.bpfman(&["doctor", "-o", "json"]).stdout;
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    let mut features = shown["environment"]["features"].as_array().unwrap().iter();
    let feature = features.find(|feature| feature["name"] == name);
    let said = feature.unwrap()["there"].as_bool().unwrap();
    let met = try_round_trip(program_type);
    assert_eq!(said, met.is_ok(), "{name}: {met:?}");
}

mod doctor_tries_what_a_load_and_an_attach_meet {
    use super::*;

    #[test]
    fn links_of_xdp() {
        agrees("links of xdp", ProgramType::Xdp);
    }

    #[test]
    fn links_of_tracepoints() {
        agrees("links of tracepoints and probes", ProgramType::Tracepoint);
    }

    #[test]
    fn fentry() {
        agrees("fentry and fexit", ProgramType::Fentry);
    }

    #[test]
    fn fsession() {
        agrees("fsession", ProgramType::Fsession);
    }

    #[test]
    fn extensions() {
        agrees("extension programs", ProgramType::Freplace);
    }

    #[test]
    fn kprobe_multi() {
        agrees("kprobe.multi", ProgramType::KprobeMulti);
    }

    #[test]
    fn tcx() {
        agrees("tcx", ProgramType::Tcx);
    }

    #[test]
    fn netkit() {
        agrees("netkit", ProgramType::NetkitPrimary);
    }

    #[test]
    fn netfilter() {
        agrees("netfilter", ProgramType::Netfilter);
    }
}

fn check_attached(link: &serde_json::Value, program: &str) {
    assert_eq!(link["status"]["kernel_seen"], true, "{link}");
    let Some(pin) = link["record"]["pin_path"].as_str() else {
        assert_eq!(link["record"]["kind"], "tc", "only a filter has no pin");
        return;
    };
    let seen = bpftool(&["link", "show", "pinned", pin]).unwrap();
    assert_eq!(seen["id"], link["record"]["kernel_link_id"]);
    assert_eq!(seen["prog_id"].to_string(), program);
}

/// The attach function of a type that must name it.
fn bound_to(program_type: ProgramType, world: &World) -> String {
    match program_type {
        ProgramType::Fentry | ProgramType::Fexit => ":vfs_open".to_owned(),
        ProgramType::Lsm => ":file_open".to_owned(),
        ProgramType::Freplace => {
            let target = world.load("freplace_target.bpf.o", "xdp:freplace_target", &[]);
            format!(":{}/target_func", id(&target[0]))
        }
        _ => String::new(),
    }
}

fn make_netkit(namespace: &str) -> bpfman_testing::Required {
    let made = Command::new("ip")
        .args(["-n", namespace, "link", "add", "primary0", "type", "netkit"])
        .output()
        .unwrap();
    if !made.status.success() {
        return Err(format!("no netkit devices: {}", stderr(&made).trim()));
    }
    run(Command::new("ip").args(["-n", namespace, "link", "set", "primary0", "up"]));
    Ok(())
}

macro_rules! round_trips {
    ($($name:ident $variant:ident)*) => {
        mod a_program_is_loaded_attached_detached_and_unloaded {
            use super::*;
            $(#[test] fn $name() { round_trip(ProgramType::$variant); })*
        }

        /// The types that a round trip is made with.
        const TRIED: &[ProgramType] = &[$(ProgramType::$variant,)*];
    };
}

round_trips! {
    xdp Xdp tc Tc tcx Tcx netkit_primary NetkitPrimary netkit_peer NetkitPeer
    tracepoint Tracepoint raw_tracepoint RawTracepoint raw_tracepoint_writable RawTracepointWritable
    kprobe Kprobe kretprobe Kretprobe kprobe_multi KprobeMulti kretprobe_multi KretprobeMulti
    kprobe_session KprobeSession ksyscall Ksyscall kretsyscall Kretsyscall
    uprobe Uprobe uretprobe Uretprobe uprobe_multi UprobeMulti uretprobe_multi UretprobeMulti
    uprobe_session UprobeSession
    fentry Fentry fexit Fexit fmod_ret FmodRet fsession Fsession tp_btf TpBtf iter Iter
    lsm Lsm lsm_cgroup LsmCgroup freplace Freplace
    perf_event PerfEvent sk_lookup SkLookup flow_dissector FlowDissector netfilter Netfilter
    sockops SockOps
    cgroup_skb CgroupSkb cgroup_skb_ingress CgroupSkbIngress cgroup_skb_egress CgroupSkbEgress
    cgroup_sock_create CgroupSockCreate cgroup_sock_release CgroupSockRelease
    cgroup_post_bind4 CgroupPostBind4 cgroup_post_bind6 CgroupPostBind6
    cgroup_bind4 CgroupBind4 cgroup_bind6 CgroupBind6
    cgroup_connect4 CgroupConnect4 cgroup_connect6 CgroupConnect6 cgroup_connect_unix CgroupConnectUnix
    cgroup_sendmsg4 CgroupSendmsg4 cgroup_sendmsg6 CgroupSendmsg6 cgroup_sendmsg_unix CgroupSendmsgUnix
    cgroup_recvmsg4 CgroupRecvmsg4 cgroup_recvmsg6 CgroupRecvmsg6 cgroup_recvmsg_unix CgroupRecvmsgUnix
    cgroup_getpeername4 CgroupGetpeername4 cgroup_getpeername6 CgroupGetpeername6
    cgroup_getpeername_unix CgroupGetpeernameUnix
    cgroup_getsockname4 CgroupGetsockname4 cgroup_getsockname6 CgroupGetsockname6
    cgroup_getsockname_unix CgroupGetsocknameUnix
    cgroup_sysctl CgroupSysctl cgroup_getsockopt CgroupGetsockopt cgroup_setsockopt CgroupSetsockopt
    cgroup_device CgroupDevice
}

/// Types whose round trip is a test of its own (`sockmap.rs`, `probes.rs`, `struct_ops.rs`).
const ELSEWHERE: &[ProgramType] = &[
    ProgramType::Usdt,
    ProgramType::SkMsg,
    ProgramType::SkSkb,
    ProgramType::SkSkbStreamParser,
    ProgramType::SkSkbStreamVerdict,
    ProgramType::SkSkbVerdict,
    ProgramType::StructOps,
];

/// None: a type that cannot be attached yet is named here, and README's table says so.
const NOT_ATTACHED: &[ProgramType] = &[];

#[test]
fn every_type_with_a_link_is_tried_or_named_as_not_done() {
    for program_type in ProgramType::ALL {
        let has_link = LinkKind::ALL.iter().any(|kind| kind.takes(*program_type));
        let lists = [TRIED, ELSEWHERE, NOT_ATTACHED];
        let named = lists
            .iter()
            .filter(|list| list.contains(program_type))
            .count();
        assert_eq!(
            named,
            usize::from(has_link),
            "{program_type} is named in {named} lists"
        );
    }
}

/// What follows `bpfman attach KIND PROGRAM`, and the first Linux whose link can be pinned.
const HOW: &[(LinkKind, &str, &str)] = &[
    (LinkKind::Xdp, "INTERFACE -p N", "5.9"),
    (
        LinkKind::Tc,
        "INTERFACE DIRECTION -p N",
        "5.10 (a filter), 6.6",
    ),
    (LinkKind::Tcx, "INTERFACE DIRECTION -p N", "6.6"),
    (LinkKind::Netkit, "DEVICE", "6.7"),
    (LinkKind::Tracepoint, "GROUP/NAME", "5.15"),
    (LinkKind::RawTracepoint, "NAME", "5.7"),
    (LinkKind::TpBtf, "", "5.7"),
    (LinkKind::Kprobe, "FUNCTION", "5.15"),
    (LinkKind::Kretprobe, "FUNCTION (as kprobe)", "5.15"),
    (LinkKind::KprobeMulti, "FUNCTION...", "5.18"),
    (LinkKind::Uprobe, "TARGET -f FUNCTION", "5.15"),
    (
        LinkKind::Uretprobe,
        "TARGET -f FUNCTION (as uprobe)",
        "5.15",
    ),
    (LinkKind::UprobeMulti, "TARGET -f FUNCTION,...", "6.6"),
    (LinkKind::Usdt, "TARGET PROVIDER:NAME", "5.15"),
    (LinkKind::Fentry, "", "5.7"),
    (LinkKind::Fexit, "", "5.7"),
    (LinkKind::FmodRet, "", "5.7"),
    (LinkKind::Fsession, "", "7.0"),
    (LinkKind::Lsm, "", "5.7"),
    (LinkKind::Freplace, "", "5.7"),
    (LinkKind::PerfEvent, "EVENT --frequency N --cpu N", "5.15"),
    (LinkKind::Cgroup, "PATH", "5.7"),
    (LinkKind::SkLookup, "", "5.9"),
    (LinkKind::FlowDissector, "", "5.8"),
    (LinkKind::Netfilter, "FAMILY HOOK", "6.4"),
    (LinkKind::Iter, "", "5.8"),
    (LinkKind::StructOps, "[--map NAME]", "6.4"),
    (LinkKind::Sockmap, "PIN", "6.10"),
];

#[test]
fn the_readme_shows_the_table_of_kinds() {
    let mut table = String::from(
        "| Kind | Program types | After `bpfman attach KIND PROGRAM` | Since Linux |\n|---|---|---|---|\n",
    );
    for kind in LinkKind::ALL {
        let (_, words, since) = HOW.iter().find(|(named, ..)| named == kind).unwrap();
        let types = ProgramType::ALL
            .iter()
            .filter(|program_type| kind.takes(**program_type));
        let types: Vec<&str> = types.map(|program_type| program_type.name()).collect();
        let types = match kind {
            LinkKind::Cgroup => "cgroup_*, lsm_cgroup, sockops".to_owned(),
            _ => types.join(", "),
        };
        table.push_str(&format!("| {kind} | {types} | {words} | {since} |\n"));
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    assert!(
        readme.contains(&table),
        "README.md lacks this table:\n{table}"
    );
}
