use bpfman_core::kernel::KernelErrorKind as Kind;
use bpfman_core::kernel::PermissionFacts;

use super::classify;
use super::unresolved;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const E2BIG: i32 = 7;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ENOTSUPP: i32 = 524;
const RELOCATION: i32 = 4005;

const STATISTICS: &str = "processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n";
const SLEEPABLE: &str =
    "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable\n";
const BAD_ACCESS: &str = "\
0: R1=ctx() R10=fp0
; return *value; @ verifier.bpf.c:24
7: (61) r0 = *(u32 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";
const FAILED: &str = "libbpf: prog 'x': failed to load: -22\nlibbpf: failed to load object 'x'\n";
const PROBE: &str = "libbpf: Error in bpf_object__probe_loading(): -EPERM. Couldn't load trivial BPF program. \
     Make sure your kernel supports BPF (CONFIG_BPF_SYSCALL=y) and/or that RLIMIT_MEMLOCK is set to big enough value.\n";

/// Each with whether the log is kept as a verifier's.
#[test]
fn a_refused_load_has_the_kind_that_its_log_and_errno_say() {
    let only_statistics = STATISTICS.to_owned();
    let sleepable = format!("{SLEEPABLE}{STATISTICS}");
    let hook = format!("vfs_open() is not modifiable\n{STATISTICS}");
    let unreachable = format!("unreachable insn 2\n{STATISTICS}");
    let cut = BAD_ACCESS.split("processed").next().unwrap();
    let too_many = "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns (limit 1000000)\n";
    let satisfied = "Validating f() func#1...\nFunc#1 ('f') is safe for any args that match its prototype\n\
        processed 20 insns (limit 1000000)\n";
    let table: [(i32, &str, &str, Kind); 20] = [
        (EINVAL, satisfied, "", Kind::Unsupported),
        (EINVAL, "", FAILED, Kind::Unsupported),
        (EINVAL, &sleepable, FAILED, Kind::Unsupported),
        (EINVAL, &hook, FAILED, Kind::Unsupported),
        (EINVAL, &only_statistics, FAILED, Kind::Unsupported),
        (
            EINVAL,
            "attach_btf_id 7 is invalid\n",
            "",
            Kind::Unsupported,
        ),
        (ENOTSUPP, &sleepable, FAILED, Kind::Unsupported),
        (ENOENT, "", FAILED, Kind::Unsupported),
        (ESRCH, "", FAILED, Kind::Unsupported),
        (EINVAL, &unreachable, FAILED, Kind::Verifier),
        (EACCES, BAD_ACCESS, FAILED, Kind::Verifier),
        (EINVAL, BAD_ACCESS, FAILED, Kind::Verifier),
        (EPERM, BAD_ACCESS, FAILED, Kind::Verifier),
        (ENOSPC, cut, FAILED, Kind::Verifier),
        (E2BIG, too_many, FAILED, Kind::Verifier),
        (EPERM, "", PROBE, Kind::Permission),
        (EACCES, &sleepable, FAILED, Kind::Permission),
        (EPERM, &only_statistics, FAILED, Kind::Permission),
        (ENOMEM, "", FAILED, Kind::NoSpace),
        (RELOCATION, "", FAILED, Kind::InvalidObject),
    ];
    for (errno, log, warnings, kind) in table {
        let warnings = [warnings.to_owned()];
        let refusal = classify(errno, log, &warnings, PermissionFacts::default);
        assert_eq!(refusal.kind, kind, "{errno} {log:?}: {refusal}");
        assert_eq!(refusal.errno, Some(errno));
        let kept = refusal.verifier_log.as_deref();
        assert_eq!(
            kept,
            (kind == Kind::Verifier).then_some(log),
            "{errno} {log:?}"
        );
        let facts = refusal.permission.is_some();
        assert_eq!(facts, kind == Kind::Permission, "{errno} {log:?}");
        assert!(!refusal.message.contains('\n'), "{refusal}");
    }
}

#[test]
fn a_kernel_that_lacks_a_type_is_said_to_and_its_reason_kept() {
    let log = format!("{SLEEPABLE}{STATISTICS}");
    let warnings = [FAILED.to_owned()];
    let refusal = classify(EINVAL, &log, &warnings, PermissionFacts::default);
    let expected = format!("program `x`: {}", SLEEPABLE.trim_end());
    assert_eq!(refusal.message, expected);
    let refusal = classify(EINVAL, "", &warnings, PermissionFacts::default);
    let expected = "program `x`: this kernel does not know this program type, hook or kind of map";
    assert_eq!(refusal.message, expected);
}

#[test]
fn the_verifier_is_quoted_without_its_statistics() {
    let refusal = classify(
        EACCES,
        BAD_ACCESS,
        &[FAILED.to_owned()],
        PermissionFacts::default,
    );
    let expected = "program `x`: R0 invalid mem access 'map_value_or_null'";
    assert_eq!(refusal.message, expected);
}

#[test]
fn a_refused_permission_is_not_explained_by_guesses() {
    let facts = |missing: &[&str], lockdown: &str| PermissionFacts {
        missing_capabilities: missing.iter().map(|&name| name.to_owned()).collect(),
        lockdown: Some(lockdown.to_owned()),
        ..PermissionFacts::default()
    };
    let warnings = [PROBE.to_owned()];
    let refused = |facts| classify(EPERM, "", &warnings, || facts).message;
    let missing = refused(facts(&["CAP_BPF"], "[none] integrity"));
    assert_eq!(missing, "not permitted: this process lacks CAP_BPF");
    for state in ["[none] integrity", "none [integrity]"] {
        let unknown = refused(facts(&[], state));
        assert_eq!(unknown, "not permitted, though no capability is missing");
    }
}

#[test]
fn an_endless_loop_is_told_with_its_place() {
    let log = "\
0: R1=ctx() R10=fp0
; while (i) i = bpf_get_prandom_u32(); @ loop.bpf.c:4
0: (85) call bpf_get_prandom_u32#7    ; R0=scalar()
1: (67) r0 <<= 32                     ; R0=scalar()
; return XDP_PASS; @ loop.bpf.c:5
2: (95) exit
infinite loop detected at insn 1
cur state: R0=scalar() R10=fp0
old state: R0=scalar() R10=fp0
processed 14 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
";
    let warnings = [FAILED.to_owned()];
    let refusal = classify(EINVAL, log, &warnings, PermissionFacts::default);
    let expected = "program `x`: infinite loop detected at insn 1 (loop.bpf.c:4)";
    assert_eq!(
        (refusal.kind, refusal.message.as_str()),
        (Kind::Verifier, expected)
    );
    let without = log.replace(" @ loop.bpf.c:4", "");
    let refusal = classify(EINVAL, &without, &warnings, PermissionFacts::default);
    let expected = "program `x`: infinite loop detected at insn 1";
    assert_eq!(refusal.message, expected);
}

#[test]
fn statistics_on_the_line_of_the_reason_are_cut_off() {
    let log =
        format!("0: (85) call bpf_tail_call#12\nexpected prog array map for tail call{STATISTICS}");
    let refusal = classify(EINVAL, &log, &[FAILED.to_owned()], PermissionFacts::default);
    let expected = "program `x`: expected prog array map for tail call";
    assert_eq!(refusal.message, expected);
}

#[test]
fn what_libbpf_does_not_resolve_is_named() {
    let table = [
        (
            "libbpf: extern (func ksym) 'f': not found in kernel or module BTFs\n",
            "neither this kernel nor its modules have `f`",
        ),
        (
            "libbpf: extern 'f' (strong): not resolved\n",
            "this kernel has no `f`, or its configuration does not set it",
        ),
        (
            "libbpf: extern (ksym) 'f': resolution is ambiguous: 0x1 or 0x2\n",
            "the kernel has more than one symbol `f`",
        ),
    ];
    for (warning, expected) in table {
        let warnings = [warning.to_owned(), FAILED.to_owned()];
        let found = unresolved(&warnings);
        assert_eq!(found, Some((Some("f"), expected.to_owned())));
    }
}
