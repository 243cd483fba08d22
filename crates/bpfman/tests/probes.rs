//! Probes see what happens: calls of functions, system calls, time, tasks.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use common::Via;
use common::World;
use common::bpftool;
use common::kernel::Attached;
use common::kernel::Loaded;
use common::probed::Process;
use common::probed::Program;
use common::probed::child_of;
use common::run;
use serde_json::Value;

/// What a system call's function is called, before its name.
const SYSCALL_PREFIX: &str = if cfg!(target_arch = "x86_64") {
    "__x64_sys_"
} else {
    "__arm64_sys_"
};

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

where_the_kernel_can!(
    a_function_is_counted_by_its_name_until_it_is_detached,
    an_instruction_is_counted_by_its_offset_in_the_file,
    an_instruction_is_counted_by_its_offset_in_a_function,
    a_return_is_counted_with_what_is_returned,
    a_library_is_found_by_its_name,
    only_the_process_that_is_named_is_counted,
    a_program_of_a_container_is_counted_and_not_the_hosts,
    a_library_of_a_container_is_counted_and_not_the_hosts,
    the_library_of_a_process_in_a_container_is_found_without_naming_the_container,
    a_link_into_a_container_is_detached_after_the_container_ended,
    several_functions_are_counted_with_one_link,
    several_returns_are_counted_with_one_link,
    the_arguments_of_two_static_probes_are_not_mixed_up,
    a_tracepoint_counts_a_system_call,
    a_raw_tracepoint_counts_a_system_call,
    a_typed_tracepoint_counts_a_system_call,
    a_perf_event_counts_the_time_of_a_processor,
    a_kprobe_counts_a_function_of_the_kernel,
    a_kprobe_finds_a_system_call_by_its_name,
    a_kretprobe_sees_what_a_function_of_the_kernel_returns,
    a_pattern_counts_several_functions_of_the_kernel,
    fentry_counts_a_function_of_the_kernel,
    fexit_sees_what_a_function_of_the_kernel_returns,
    fmod_ret_changes_what_a_function_of_the_kernel_returns,
    a_security_hook_counts_a_system_call,
    reading_the_pin_of_an_iterator_runs_it,
    an_iterator_walks_through_the_map_that_is_named,
);

/// Loads a program of `probes.bpf.c` that counts this command only.
fn load(world: &World, program: &str, counted: &Program) -> Result<Loaded, String> {
    world.try_load("probes.bpf.o", program, &["--global", &counted.only()])
}

fn calls(program: &Loaded) -> u64 {
    program.number("seen", 0)
}

/// The sum of what was returned.
fn returned(program: &Loaded) -> u64 {
    program.number("seen", 1)
}

/// Soon, each round adds so much. The kernel takes the id of a link away before it takes its probes out, one after
/// the other: a detach ends a little before they do.
fn settles<const N: usize>(process: &mut Process, each: [u64; N], counts: impl Fn() -> [u64; N]) {
    let start = Instant::now();
    loop {
        let before = counts();
        process.rounds(1);
        let after = counts();
        let more: [u64; N] = std::array::from_fn(|at| after[at] - before[at]);
        if more == each {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{more:?} a round");
    }
    let before = counts();
    process.rounds(3);
    let expected: [u64; N] = std::array::from_fn(|at| before[at] + 3 * each[at]);
    assert_eq!(counts(), expected);
}

/// Each round is counted so many times, and none after the detach.
fn counts(world: &World, program: &Loaded, link: &Attached, process: &mut Process, each: u64) {
    process.rounds(5);
    assert_eq!(calls(program), 5 * each);
    process.rounds(2);
    assert_eq!(calls(program), 7 * each);
    world.detach(link);
    settles(process, [0], || [calls(program)]);
    world.unload(&[program]);
}

fn a_function_is_counted_by_its_name_until_it_is_detached(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let mut process = counted.start();
    process.rounds(1);
    let words = ["uprobe", &counted.text(), "--fn-name", "counted"];
    let link = world.try_attach(&program, &words)?;
    counts(world, &program, &link, &mut process, 1);
    Ok(())
}

fn an_instruction_is_counted_by_its_offset_in_the_file(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let mut process = counted.start();
    let offset = process.file_offset.to_string();
    let words = ["uprobe", &counted.text(), "--offset", &offset];
    let link = world.try_attach(&program, &words)?;
    counts(world, &program, &link, &mut process, 1);
    Ok(())
}

fn an_instruction_is_counted_by_its_offset_in_a_function(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let mut process = counted.start();
    let offset = process.middle.to_string();
    let path = counted.text();
    let words = ["uprobe", &path, "--fn-name", "counted", "--offset", &offset];
    let link = world.try_attach(&program, &words)?;
    // Of 0 to 8, the odd ones.
    process.rounds(9);
    assert_eq!(calls(&program), 4);
    world.detach(&link);
    settles(&mut process, [0], || [calls(&program)]);
    world.unload(&[&program]);
    Ok(())
}

fn a_return_is_counted_with_what_is_returned(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uretprobe:count_uretprobe", &counted)?;
    let mut process = counted.start();
    let words = ["uprobe", &counted.text(), "--fn-name", "counted"];
    let link = world.try_attach(&program, &words)?;
    process.rounds(3);
    assert_eq!(returned(&program), 1000 + 1001 + 1002);
    assert_eq!(calls(&program), 3);
    world.detach(&link);
    settles(&mut process, [0], || [calls(&program)]);
    world.unload(&[&program]);
    Ok(())
}

fn a_library_is_found_by_its_name(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let mut process = counted.start();
    let link = world.try_attach(&program, &["uprobe", "libc", "--fn-name", "getenv"])?;
    counts(world, &program, &link, &mut process, 1);
    Ok(())
}

fn only_the_process_that_is_named_is_counted(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let (mut process, mut other) = (counted.start(), counted.start());
    let pid = process.pid();
    let words = ["uprobe", "libc", "--fn-name", "getenv", "--pid", &pid];
    let link = world.try_attach(&program, &words)?;
    other.rounds(4);
    assert_eq!(calls(&program), 0);
    counts(world, &program, &link, &mut process, 1);
    Ok(())
}

/// Only the container's copy is counted: what its process, which the option names, has.
fn counts_in_a_container(world: &World, target: &str, function: &str, option: &str) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let container = counted.container();
    let mut inside = container.start();
    let mut outside = counted.start();
    let pid = child_of(&inside.pid());
    let target = target.replace("PROGRAM", &counted.name);
    let words = ["uprobe", &target, "--fn-name", function, option, &pid];
    let link = world.try_attach(&program, &words)?;
    outside.rounds(4);
    assert_eq!(calls(&program), 0);
    counts(world, &program, &link, &mut inside, 1);
    Ok(())
}

fn a_program_of_a_container_is_counted_and_not_the_hosts(world: &World) -> Possible {
    counts_in_a_container(world, "/PROGRAM", "counted", "--container-pid")
}

fn a_library_of_a_container_is_counted_and_not_the_hosts(world: &World) -> Possible {
    counts_in_a_container(world, "libc", "getenv", "--container-pid")
}

fn the_library_of_a_process_in_a_container_is_found_without_naming_the_container(
    world: &World,
) -> Possible {
    counts_in_a_container(world, "libc", "getenv", "--pid")
}

fn a_link_into_a_container_is_detached_after_the_container_ended(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let container = counted.container();
    let mut inside = container.start();
    let pid = child_of(&inside.pid());
    let target = format!("/{}", counted.name);
    let words = ["uprobe", &target, "-f", "counted", "--container-pid", &pid];
    let link = world.try_attach(&program, &words)?;
    inside.rounds(2);
    drop(inside);
    // The container's next process has the same file.
    let mut inside = container.start();
    inside.rounds(3);
    assert_eq!(calls(&program), 5);
    world.detach(&link);
    settles(&mut inside, [0], || [calls(&program)]);
    world.unload(&[&program]);
    Ok(())
}

fn several_functions_are_counted_with_one_link(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe_multi:count_uprobe_multi", &counted)?;
    let mut process = counted.start();
    let path = counted.text();
    let words = ["uprobe_multi", &path, "-f", "counted,counted_twice"];
    let link = world.try_attach(&program, &words)?;
    counts(world, &program, &link, &mut process, 3);
    Ok(())
}

fn several_returns_are_counted_with_one_link(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uretprobe_multi:count_uretprobe_multi", &counted)?;
    let mut process = counted.start();
    let path = counted.text();
    let words = [
        "uprobe_multi",
        &path,
        "-f",
        "counted",
        "-f",
        "counted_twice",
    ];
    let link = world.try_attach(&program, &words)?;
    process.rounds(2);
    assert_eq!(returned(&program), (1000 + 2 * 70000) + (1001 + 2 * 70000));
    assert_eq!(calls(&program), 6);
    world.detach(&link);
    settles(&mut process, [0], || [calls(&program)]);
    world.unload(&[&program]);
    Ok(())
}

/// How often the two static probes were hit with their arguments, and nothing with another.
fn hits(program: &Loaded) -> [u64; 2] {
    let dump = program.map("probe_hits");
    let entries = dump.as_array().unwrap();
    let number = |entry: &Value, name: &str| entry["formatted"][name].as_u64().unwrap();
    let known = |argument| {
        let mut known = entries.iter();
        let known = known.find(|entry| number(entry, "key") == argument);
        known.map_or(0, |entry| number(entry, "value"))
    };
    let hits = [known(7), known(9)];
    let others = entries.iter().map(|entry| number(entry, "value"));
    assert_eq!(others.sum::<u64>(), hits[0] + hits[1], "{dump}");
    hits
}

fn the_arguments_of_two_static_probes_are_not_mixed_up(world: &World) -> Possible {
    let counted = Program::build();
    let program = world.try_load("usdt.bpf.o", "usdt:usdt_args", &[])?;
    let mut process = counted.start();
    let path = counted.text();
    let first = world.try_attach(&program, &["usdt", &path, "counted:first"])?;
    let second = world.try_attach(&program, &["usdt", &path, "counted:second"])?;
    process.rounds(3);
    assert_eq!(hits(&program), [3, 6]);
    world.detach(&first);
    settles(&mut process, [0, 2], || hits(&program));
    let again = world.try_attach(&program, &["usdt", &path, "counted:first"])?;
    settles(&mut process, [1, 2], || hits(&program));
    world.detach(&second);
    settles(&mut process, [1, 0], || hits(&program));
    world.detach(&again);
    settles(&mut process, [0, 0], || hits(&program));
    world.unload(&[&program]);
    Ok(())
}

/// Loads `TYPE:NAME`, attaches, and sees one call of getpgid(2) in each round.
fn counts_getpgid(world: &World, program: &str, words: &[&str]) -> Possible {
    let counted = Program::build();
    let program = load(world, program, &counted)?;
    let mut process = counted.start();
    let link = world.try_attach(&program, words)?;
    counts(world, &program, &link, &mut process, 1);
    Ok(())
}

/// The same with a program that sees what is returned: the process's group.
fn counts_returns_of_getpgid(world: &World, program: &str, words: &[&str]) -> Possible {
    let counted = Program::build();
    let program = load(world, program, &counted)?;
    let mut process = counted.start();
    let link = world.try_attach(&program, words)?;
    process.rounds(3);
    let pid = rustix::process::Pid::from_raw(process.pid().parse().unwrap());
    let group = rustix::process::getpgid(pid).unwrap();
    assert_eq!(
        returned(&program),
        3 * u64::try_from(group.as_raw_nonzero().get()).unwrap()
    );
    assert_eq!(calls(&program), 3);
    world.detach(&link);
    settles(&mut process, [0], || [calls(&program)]);
    world.unload(&[&program]);
    Ok(())
}

fn a_tracepoint_counts_a_system_call(world: &World) -> Possible {
    let words = ["tracepoint", "raw_syscalls/sys_enter"];
    counts_getpgid(world, "tracepoint:count_tracepoint", &words)
}

fn a_raw_tracepoint_counts_a_system_call(world: &World) -> Possible {
    let words = ["raw_tracepoint", "sys_enter"];
    counts_getpgid(world, "raw_tracepoint:count_raw_tracepoint", &words)
}

fn a_typed_tracepoint_counts_a_system_call(world: &World) -> Possible {
    counts_getpgid(world, "tp_btf:count_tp_btf", &["tp_btf"])
}

fn a_perf_event_counts_the_time_of_a_processor(world: &World) -> Possible {
    let program = world.try_load("probes.bpf.o", "perf_event:count_perf_event", &[])?;
    let words = [
        "perf_event",
        "cpu-clock",
        "--period",
        "1000000",
        "--cpu",
        "0",
    ];
    let link = world.try_attach(&program, &words)?;
    let start = Instant::now();
    while calls(&program) < 10 {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not run");
        // A processor that sleeps may have no ticks.
        let mut busy = Command::new("taskset");
        run(busy.args([
            "-c",
            "0",
            "sh",
            "-c",
            "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done",
        ]));
    }
    world.detach(&link);
    sleep(Duration::from_millis(50));
    let after = calls(&program);
    sleep(Duration::from_millis(50));
    assert_eq!(calls(&program), after);
    world.unload(&[&program]);
    Ok(())
}

fn a_kprobe_counts_a_function_of_the_kernel(world: &World) -> Possible {
    let function = format!("{SYSCALL_PREFIX}getpgid");
    counts_getpgid(world, "kprobe:count_kprobe", &["kprobe", &function])
}

fn a_kprobe_finds_a_system_call_by_its_name(world: &World) -> Possible {
    counts_getpgid(world, "ksyscall:count_ksyscall", &["kprobe", "getpgid"])
}

fn a_kretprobe_sees_what_a_function_of_the_kernel_returns(world: &World) -> Possible {
    let function = format!("{SYSCALL_PREFIX}getpgid");
    counts_returns_of_getpgid(world, "kretprobe:count_kretprobe", &["kprobe", &function])
}

/// The kernel tells which of its functions can be traced.
fn function_list() -> bpfman_testing::Required {
    let list = "/sys/kernel/tracing/available_filter_functions";
    let read = fs::File::open(list).map(drop);
    read.map_err(|error| format!("{list} cannot be read: {error}"))
}

fn a_pattern_counts_several_functions_of_the_kernel(world: &World) -> Possible {
    function_list()?;
    let counted = Program::build();
    let program = load(world, "kprobe_multi:count_kprobe_multi", &counted)?;
    let mut process = counted.start();
    // getpgid and getpriority, which each round calls; getppid may be listed too.
    let pattern = format!("{SYSCALL_PREFIX}getp?i*");
    let link = world.try_attach(&program, &["kprobe_multi", &pattern])?;
    counts(world, &program, &link, &mut process, 2);
    Ok(())
}

fn fentry_counts_a_function_of_the_kernel(world: &World) -> Possible {
    let program = format!("fentry:count_fentry:{SYSCALL_PREFIX}getpgid");
    counts_getpgid(world, &program, &["fentry"])
}

fn fexit_sees_what_a_function_of_the_kernel_returns(world: &World) -> Possible {
    let program = format!("fexit:count_fexit:{SYSCALL_PREFIX}getpgid");
    counts_returns_of_getpgid(world, &program, &["fexit"])
}

fn fmod_ret_changes_what_a_function_of_the_kernel_returns(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "fmod_ret:refuse_fmod_ret", &counted)?;
    let mut process = counted.start();
    assert_eq!(process.rounds(2), 0);
    let link = world.try_attach(&program, &["fmod_ret"])?;
    assert_eq!(process.rounds(5), 5);
    assert_eq!(calls(&program), 5);
    world.detach(&link);
    settles(&mut process, [0], || [calls(&program)]);
    assert_eq!(process.rounds(2), 0);
    world.unload(&[&program]);
    Ok(())
}

fn a_security_hook_counts_a_system_call(world: &World) -> Possible {
    // Without it, programs load and attach, and the kernel never runs them.
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if !modules.split(',').any(|module| module.trim() == "bpf") {
        return Err(format!("bpf is not among the security modules: {modules}"));
    }
    counts_getpgid(world, "lsm:count_lsm:task_getpgid", &["lsm"])
}

fn reading_the_pin_of_an_iterator_runs_it(world: &World) -> Possible {
    let counted = Program::build();
    let program = world.try_load("probes.bpf.o", "iter:print_tasks", &[])?;
    let link = world.try_attach(&program, &["iter"])?;
    let wanted = format!("walked past {}\n", counted.name);
    assert!(!fs::read_to_string(&link.pin).unwrap().contains(&wanted));
    let process = counted.start();
    assert!(fs::read_to_string(&link.pin).unwrap().contains(&wanted));
    drop(process);
    world.detach(&link);
    world.unload(&[&program]);
    Ok(())
}

fn an_iterator_walks_through_the_map_that_is_named(world: &World) -> Possible {
    let program = world.try_load("probes.bpf.o", "iter:print_elements", &[])?;
    // Of the object, only what the program refers to is made: a map to walk through is somebody else's.
    let map = world.pin("walked_counter");
    let shape = ["type", "hash", "key", "4", "value", "8", "entries", "4"];
    run(Command::new("bpftool")
        .args(["map", "create", &map])
        .args(shape)
        .args(["name", "walked"]));
    let link = world.try_attach(&program, &["iter", "--map", &map])?;
    assert_eq!(fs::read_to_string(&link.pin).unwrap(), "");
    let key = ["key", "3", "0", "0", "0"];
    let value = ["value", "44", "0", "0", "0", "0", "0", "0", "0"];
    run(Command::new("bpftool")
        .args(["map", "update", "pinned", &map])
        .args(key)
        .args(value));
    assert_eq!(fs::read_to_string(&link.pin).unwrap(), "3 is 44\n");
    world.detach(&link);
    fs::remove_file(&map).unwrap();
    world.unload(&[&program]);
    Ok(())
}

/// A name is refused with this code, and these are the words.
fn misses(program_type: &str, words: &[&str], code: i32, expected: &[&str]) -> Possible {
    let world = World::new(Via::InProcess);
    let name = format!("{program_type}:count_{program_type}");
    let program = world.try_load("probes.bpf.o", &name, &[])?;
    let head = ["link", "attach", words[0], &program.id];
    world.refused(&[&head, &words[1..]].concat(), code, expected);
    world.unload(&[&program]);
    Ok(())
}

macro_rules! misses {
    ($($name:ident $program_type:literal $words:expr, $code:literal $expected:expr;)*) => {
        mod a_wrong_name_is_answered_with_the_right_one {
            use super::misses;
            $(#[test] fn $name() {
                bpfman_testing::requires!(misses($program_type, &$words, $code, &$expected));
            })*
        }
    };
}

misses! {
    for_a_function "uprobe" ["uprobe", "libc", "-f", "getenvv"], 3
        ["cannot probe `getenvv`", "did you mean getenv"];
    for_a_library "uprobe" ["uprobe", "libcc", "-f", "getenv"], 3
        ["library `libcc` was not found", "did you mean", "libc"];
    for_a_function_of_several "uprobe_multi" ["uprobe_multi", "libc", "-f", "getenv,setenvv"], 3
        ["cannot probe `setenvv`", "did you mean setenv"];
    for_a_tracepoint "tracepoint" ["tracepoint", "sched/sched_swich"], 3
        ["tracepoint sched/sched_swich does not exist", "did you mean sched/sched_switch"];
    for_the_group_of_a_tracepoint "tracepoint" ["tracepoint", "shced/sched_switch"], 3
        ["tracepoint shced/sched_switch does not exist", "did you mean sched/sched_switch"];
    for_a_raw_tracepoint "raw_tracepoint" ["raw_tracepoint", "sched_swich"], 3
        ["raw tracepoint `sched_swich`", "did you mean sched_switch"];
}

#[test]
fn a_wrong_static_probe_is_answered_with_the_right_one() {
    let world = World::new(Via::InProcess);
    let counted = Program::build();
    let program = world.load("usdt.bpf.o", "usdt:usdt_args", &[]);
    let (number, path) = (common::id(&program[0]).to_string(), counted.text());
    let attach = |probe: &str, words: &[&str]| {
        let args = ["link", "attach", "usdt", &number, &path, probe];
        world.refused(&args, 3, words);
    };
    attach(
        "counted:frist",
        &["`counted:frist`", "did you mean counted:first"],
    );
    attach(
        "count:second",
        &["`count:second`", "did you mean counted:second"],
    );
    let args = ["link", "attach", "usdt", &number, "libcc", "libc:setjmp"];
    world.refused(&args, 3, &["library `libcc` was not found", "did you mean"]);
}

/// The kernel has probes of its own functions.
fn kprobes() -> bpfman_testing::Required {
    match fs::exists("/sys/bus/event_source/devices/kprobe") {
        Ok(true) => Ok(()),
        _ => Err("this kernel has no kprobes".to_owned()),
    }
}

#[test]
fn a_function_that_the_kernel_does_not_have_is_answered_with_one_that_it_has() {
    bpfman_testing::requires!(kprobes());
    let words = ["kprobe", "vfs_opne"];
    let expected = ["this kernel has no such function", "did you mean vfs_open"];
    bpfman_testing::requires!(misses("kprobe", &words, 3, &expected));
}

#[test]
fn a_pattern_that_describes_nothing_is_refused() {
    bpfman_testing::requires!(function_list());
    let words = ["kprobe_multi", "no_such_function_*"];
    let expected = ["no traceable function of the kernel matches"];
    bpfman_testing::requires!(misses("kprobe_multi", &words, 3, &expected));
}

#[test]
fn a_function_that_must_not_be_probed_is_refused_with_the_reason() {
    bpfman_testing::requires!(kprobes());
    let list = "/sys/kernel/debug/kprobes/blacklist";
    let Ok(list) = fs::read_to_string(list) else {
        return bpfman_testing::skip(&format!("{list} cannot be read"));
    };
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let plain = |name: &&str| !name.contains('.');
    let Some(function) = names.clone().find(plain) else {
        return bpfman_testing::skip("this kernel forbids no function");
    };
    let expected = ["probing it is forbidden (NOKPROBE_SYMBOL)"];
    bpfman_testing::requires!(misses("kprobe", &["kprobe", function], 3, &expected));
}

#[test]
fn an_offset_beyond_the_file_is_refused() {
    let counted = Program::build();
    let path = counted.text();
    let size = fs::metadata(&path).unwrap().len().to_string();
    let words = ["uprobe", &path, "--offset", &size];
    let expected = ["is beyond the end of", &path];
    bpfman_testing::requires!(misses("uprobe", &words, 2, &expected));
}

#[test]
fn a_file_that_is_no_program_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let words = ["uprobe", path, "-f", "main"];
    bpfman_testing::requires!(misses("uprobe", &words, 2, &["cannot probe", path]));
    let words = ["uprobe", "/no/such/file", "-f", "main"];
    let expected = ["`/no/such/file` does not exist"];
    bpfman_testing::requires!(misses("uprobe", &words, 3, &expected));
    let words = ["uprobe", "bin/sh", "-f", "main"];
    let expected = ["neither an absolute path nor the name of a library"];
    bpfman_testing::requires!(misses("uprobe", &words, 2, &expected));
}

#[test]
fn a_process_that_has_ended_is_named() {
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let pid = ended.id().to_string();
    let gone = format!("process {pid} does not exist");
    for option in ["--pid", "--container-pid"] {
        let words = ["uprobe", "libc", "-f", "getenv", option, &pid];
        bpfman_testing::requires!(misses("uprobe", &words, 3, &[&gone]));
    }
    // A path needs no look at the process: the kernel says that there is none.
    let counted = Program::build();
    let words = ["uprobe", &counted.text(), "-f", "counted", "--pid", &pid];
    bpfman_testing::requires!(misses("uprobe", &words, 3, &["no such process"]));
    let words = [
        "perf_event",
        "cpu-clock",
        "--period",
        "1000000",
        "--pid",
        &pid,
    ];
    bpfman_testing::requires!(misses("perf_event", &words, 3, &["no such process"]));
}

#[test]
fn two_probes_of_one_function_are_two_links() {
    let world = World::new(Via::InProcess);
    bpfman_testing::requires!(two_probes(&world));
}

fn two_probes(world: &World) -> Possible {
    let counted = Program::build();
    let program = load(world, "uprobe:count_uprobe", &counted)?;
    let mut process = counted.start();
    let words = ["uprobe", &counted.text(), "-f", "counted"];
    let first = world.try_attach(&program, &words)?;
    let second = world.try_attach(&program, &words)?;
    process.rounds(3);
    assert_eq!(calls(&program), 6);
    world.detach(&first);
    settles(&mut process, [1], || [calls(&program)]);
    // Unloading detaches what is left.
    world.unload(&[&program]);
    assert!(bpftool(&["link", "show", "id", &second.kernel.to_string()]).is_none());
    Ok(())
}
