//! Finds targets on the machine at hand. Needs root, gcc, binutils, iproute2 and util-linux.

#![expect(clippy::unwrap_used, reason = "test helpers: a panic is a failed test")]

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::links::ProbedFile;
use bpfman_core::target::ArgumentPlace;
use bpfman_core::target::FunctionError;
use bpfman_core::target::UsdtError;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::InterfaceWord;
use bpfman_core::types::NetnsId;
use bpfman_interpreter::interfaces::KernelReader;
use bpfman_interpreter::kernel::LibbpfKernel;
use bpfman_interpreter::targets::FunctionVerdict;
use bpfman_interpreter::targets::ResolvedFile;
use bpfman_interpreter::targets::SystemTargets;
use bpfman_interpreter::targets::TargetError;
use bpfman_interpreter::targets::Targets;
use tempfile::TempDir;

const TARGETS: SystemTargets = SystemTargets;

fn path(text: impl AsRef<Path>) -> AbsolutePath {
    AbsolutePath::parse(text.as_ref().to_str().unwrap()).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn probed(target: impl Into<String>, pid: Option<u32>, container_pid: Option<u32>) -> ProbedFile {
    ProbedFile {
        target: target.into(),
        pid,
        container_pid,
    }
}

/// A file on this machine.
fn here(file: impl AsRef<Path>) -> ResolvedFile {
    let file = file.as_ref().to_str().unwrap();
    TARGETS.probed_file(&probed(file, None, None)).unwrap()
}

/// The program of `fixtures/probed.c`.
fn build_probed(directory: &Path) -> PathBuf {
    let program = directory.join("probed");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/probed.c");
    run(
        "gcc",
        &[
            "-O2",
            "-Wall",
            "-Werror",
            "-o",
            program.to_str().unwrap(),
            source,
        ],
    );
    program
}

/// A process that waits; it ends with the test.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let waiting = Self(child);
        assert_eq!(line, "ready\n");
        waiting
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace with an interface `bt-blue0`; removed with the test.
struct Netns(String);

impl Netns {
    fn new(name: &str) -> Self {
        let netns = Self(format!("{name}-{}", std::process::id()));
        run("ip", &["netns", "add", &netns.0]);
        run(
            "ip",
            &[
                "-n", &netns.0, "link", "add", "bt-blue0", "type", "veth", "peer", "name",
                "bt-blue1",
            ],
        );
        netns
    }

    fn path(&self) -> AbsolutePath {
        path(format!("/run/netns/{}", self.0))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// The root of a container: the program with its libraries, and a library that only it has.
struct Container {
    root: TempDir,
}

impl Container {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let program = build_probed(root.path());
        let libraries = run("ldd", &[program.to_str().unwrap()]);
        let mut directories = vec!["/opt/lib".to_owned()];
        for library in libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let copy = root.path().join(&library[1..]);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
            let directory = Path::new(library).parent().unwrap();
            directories.push(directory.to_str().unwrap().to_owned());
        }
        let container = Self { root };
        for directory in ["etc", "opt/lib", "lib", "old"] {
            fs::create_dir_all(container.file(directory)).unwrap();
        }
        fs::write(container.file("etc/ld.so.conf"), directories.join("\n")).unwrap();
        let only = container.file("opt/lib/libonlyhere.so.1");
        let name = "-Wl,-soname,libonlyhere.so.1";
        run(
            "gcc",
            &[
                "-shared",
                "-x",
                "c",
                "/dev/null",
                name,
                "-o",
                only.to_str().unwrap(),
            ],
        );
        run(
            "/sbin/ldconfig",
            &["-r", container.root.path().to_str().unwrap()],
        );
        container
    }

    fn file(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside)
    }

    /// In a mount namespace of its own, with the directory as its root.
    fn chrooted(&self) -> Waiting {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--root"]).arg(self.root.path());
        Waiting::start(command.args(["/probed", "wait"]))
    }

    /// The same as container runtimes do it: the directory becomes the root of the namespace itself.
    fn pivoted(&self) -> Waiting {
        let chroot = run("sh", &["-c", "command -v chroot"]);
        let script = format!(
            "mount --bind \"$0\" \"$0\" && cd \"$0\" && pivot_root . old && exec /old{} . /probed wait",
            chroot.trim()
        );
        let mut command = Command::new("unshare");
        Waiting::start(
            command
                .args(["--mount", "sh", "-c", &script])
                .arg(self.root.path()),
        )
    }
}

fn same_file(left: impl AsRef<Path>, right: impl AsRef<Path>) -> bool {
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.dev(), metadata.ino())
    };
    identity(left.as_ref()) == identity(right.as_ref())
}

#[test]
fn the_own_namespace_and_another_are_told_apart() {
    let own = TARGETS.namespace(None).unwrap();
    assert_eq!(
        own,
        NetnsId(fs::metadata("/proc/self/ns/net").unwrap().ino())
    );
    assert_eq!(
        TARGETS.namespace(Some(&path("/proc/self/ns/net"))).unwrap(),
        own
    );
    let netns = Netns::new("bt-ids");
    let other = TARGETS.namespace(Some(&netns.path())).unwrap();
    assert_ne!(other, own);
    assert_eq!(
        other,
        NetnsId(fs::metadata(netns.path().as_str()).unwrap().ino())
    );
}

#[test]
fn what_is_no_network_namespace_is_refused() {
    for file in ["/etc/passwd", "/dev/null", "/proc/self/ns/mnt", "/"] {
        let error = TARGETS.namespace(Some(&path(file))).unwrap_err();
        assert!(
            matches!(error, TargetError::NotANamespace { .. }),
            "{error}"
        );
    }
    let error = TARGETS
        .namespace(Some(&path("/run/netns/bt-none")))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read namespace /run/netns/bt-none: "),
        "{error}"
    );
}

#[test]
fn an_interface_is_found_in_its_namespace_only() {
    let netns = Netns::new("bt-if");
    let name = InterfaceWord::parse("bt-blue0").unwrap();
    let found = TARGETS.interface(Some(&netns.path()), &name).unwrap();
    assert_eq!(found.nsid, TARGETS.namespace(Some(&netns.path())).unwrap());
    let shown = run("ip", &["-n", &netns.0, "-o", "link", "show", "bt-blue0"]);
    let index = found.ifindex;
    assert!(shown.starts_with(&format!("{index}: ")), "{shown} {index}");

    let own = TARGETS.namespace(None).unwrap();
    let error = TARGETS.interface(None, &name).unwrap_err();
    assert_eq!(error.to_string(), "interface bt-blue0 does not exist");
    assert_eq!(
        TARGETS.namespace(None).unwrap(),
        own,
        "the caller must stay where it was"
    );
    let found = TARGETS
        .interface(None, &InterfaceWord::parse("lo").unwrap())
        .unwrap();
    assert_eq!(
        found.ifindex.0.to_string(),
        fs::read_to_string("/sys/class/net/lo/ifindex")
            .unwrap()
            .trim()
    );
}

#[test]
fn an_interface_is_called_by_every_name_that_ip_link_takes() {
    let netns = Netns::new("bt-alt");
    let long = "bt-uplink-of-the-second-rack";
    for altname in ["bt-wan", long] {
        run(
            "ip",
            &[
                "-n", &netns.0, "link", "property", "add", "dev", "bt-blue0", "altname", altname,
            ],
        );
    }
    let find = |word: &str| {
        let word = InterfaceWord::parse(word).unwrap();
        TARGETS.interface(Some(&netns.path()), &word).unwrap()
    };
    let found = find("bt-blue0");
    for word in ["bt-wan", long, &format!("if{}", found.ifindex)] {
        assert_eq!(find(word), found, "{word}");
    }
    run(
        "ip",
        &["-n", &netns.0, "link", "set", "bt-blue0", "name", "bt-red0"],
    );
    assert_eq!(find(long).interface.as_str(), "bt-red0");
    assert!(find(long).is_at(&found));
}

#[test]
fn every_namespace_that_a_file_or_a_process_shows_is_listed() {
    let netns = Netns::new("bt-shown");
    let id = TARGETS.namespace(Some(&netns.path())).unwrap();
    let shown = TARGETS.namespaces().unwrap();
    assert_eq!(shown[&id], netns.path());
    assert!(shown.contains_key(&TARGETS.namespace(None).unwrap()));
}

#[test]
fn an_unknown_interface_is_answered_with_those_of_its_namespace() {
    let netns = Netns::new("bt-similar");
    let name = InterfaceWord::parse("bt-bleu0").unwrap();
    let error = TARGETS.interface(Some(&netns.path()), &name).unwrap_err();
    assert_eq!(error.similar(), ["bt-blue0", "bt-blue1"]);
    let expected = format!(
        "interface bt-bleu0 does not exist in namespace {}",
        netns.path()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn tracepoints_have_the_ids_of_tracefs() {
    for (group, name) in [("sched", "sched_switch"), ("syscalls", "sys_enter_openat")] {
        let file = format!("/sys/kernel/tracing/events/{group}/{name}/id");
        let id = fs::read_to_string(file).unwrap();
        assert_eq!(
            TARGETS.tracepoint(group, name).unwrap().to_string(),
            id.trim()
        );
    }
}

#[test]
fn an_unknown_tracepoint_is_answered_with_close_ones() {
    let similar = |group, name| {
        let error = TARGETS.tracepoint(group, name).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("tracepoint {group}/{name} does not exist")
        );
        error.similar().to_vec()
    };
    assert_eq!(similar("sched", "sched_swich")[0], "sched/sched_switch");
    assert_eq!(
        similar("syscall", "sys_enter_openat")[0],
        "syscalls/sys_enter_openat"
    );
    assert_eq!(
        similar("completely_different", "sched_switch")[0],
        "sched/sched_switch"
    );
    assert_eq!(similar("qqqq", "zzzzzzzzzz"), [""; 0]);
    let error = TARGETS.tracepoint("..", "sched").unwrap_err();
    assert!(
        matches!(error, TargetError::NotATracepoint { .. }),
        "{error}"
    );
}

#[test]
fn an_unknown_raw_tracepoint_is_explained() {
    TARGETS.raw_tracepoint("sched_switch").unwrap();
    let error = TARGETS.raw_tracepoint("sched_swich").unwrap_err();
    assert_eq!(error.similar()[0], "sched_switch");
}

#[test]
fn a_function_of_the_kernel_is_judged() {
    let known = TARGETS.kernel_function("vfs_read").unwrap();
    // A locked-down kernel does not let anyone read which functions can be traced.
    let readable = fs::read("/sys/kernel/tracing/available_filter_functions").is_ok();
    let expected = if readable {
        FunctionVerdict::Traceable
    } else {
        FunctionVerdict::Exists
    };
    assert_eq!(known, expected);
    let FunctionVerdict::Unknown { similar } = TARGETS.kernel_function("vfs_raed").unwrap() else {
        panic!("there is no vfs_raed");
    };
    assert_eq!(similar[0], "vfs_read");
}

#[test]
fn functions_of_the_kernel_match_patterns_where_they_are_listed() {
    let found = TARGETS.kernel_functions("vfs_rea*");
    match fs::read("/sys/kernel/tracing/available_filter_functions") {
        Ok(_) => {
            let found = found.unwrap();
            assert!(found.contains(&"vfs_read".to_owned()), "{found:?}");
            let error = TARGETS.kernel_functions("*").unwrap_err();
            assert!(
                matches!(error, TargetError::TooManyFunctions { .. }),
                "{error}"
            );
        }
        Err(_) => {
            let error = found.unwrap_err().to_string();
            let expected = "cannot read /sys/kernel/tracing/available_filter_functions: ";
            assert!(error.starts_with(expected), "{error}");
        }
    }
}

/// Every default version of every function of libc is where readelf says.
#[test]
fn symbols_of_libc_are_those_of_readelf() {
    let libc = TARGETS.probed_file(&probed("c", None, None)).unwrap();
    assert!(libc.path.as_str().ends_with("/libc.so.6"), "{}", libc.path);
    let segments = run("readelf", &["-lW", libc.path.as_str()]);
    let code = segments
        .lines()
        .find(|line| line.contains("LOAD") && line.contains("R E"));
    let fields = code.unwrap().split_whitespace().collect::<Vec<_>>();
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let (offset, address) = (number(fields[1]), number(fields[2]));
    let table = run("readelf", &["--dyn-syms", "-W", libc.path.as_str()]);
    let symbols = table.lines().filter_map(|line| {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        let [_, value, _, kind, _, _, section, name, ..] = fields[..] else {
            return None;
        };
        let (name, _) = name.split_once("@@")?;
        (section != "UND").then_some((name.to_owned(), kind.to_owned(), number(value)))
    });
    let (functions, others) = symbols
        .filter(|(_, kind, _)| kind == "FUNC" || kind == "IFUNC")
        .partition::<Vec<_>, _>(|(_, kind, _)| kind == "FUNC");
    assert!(functions.len() > 1000, "{}", functions.len());
    let names = functions
        .iter()
        .map(|(name, ..)| name.clone())
        .collect::<Vec<_>>();
    let sites = TARGETS.uprobe_multi(&libc, &names).unwrap();
    for ((name, _, value), site) in functions.iter().zip(sites) {
        assert_eq!(site.offset, value - address + offset, "{name}");
    }
    let (indirect, ..) = &others[0];
    let error = TARGETS.uprobe(&libc, Some(indirect), 0).unwrap_err();
    let source = FunctionError::Indirect;
    assert!(
        matches!(&error, TargetError::Function { source: found, .. } if *found == source),
        "{error}"
    );
}

#[test]
fn a_function_is_found_by_symbol_offset_and_version() {
    let libc = TARGETS
        .probed_file(&probed("libc.so.6", None, None))
        .unwrap();
    let plain = TARGETS.uprobe(&libc, Some("malloc"), 0).unwrap();
    assert_eq!(
        TARGETS.uprobe(&libc, Some("malloc"), 4).unwrap().offset,
        plain.offset + 4
    );
    assert_eq!(TARGETS.uprobe(&libc, None, 0x1234).unwrap().offset, 0x1234);
    let size = fs::metadata(libc.path.as_str()).unwrap().len();
    for (function, offset) in [
        (None, size),
        (Some("malloc"), size),
        (Some("malloc"), u64::MAX),
    ] {
        let error = TARGETS.uprobe(&libc, function, offset).unwrap_err();
        assert!(matches!(error, TargetError::BeyondFile { .. }), "{error}");
    }
    let error = TARGETS.uprobe(&libc, Some("mallok"), 0).unwrap_err();
    assert_eq!(error.similar()[0], "malloc");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot probe `mallok` in {}: there is no such function",
            libc.shown
        )
    );
    let names = ["malloc".to_owned(), "freee".to_owned()];
    let error = TARGETS.uprobe_multi(&libc, &names).unwrap_err();
    assert_eq!(error.similar()[0], "free");
}

#[test]
fn local_functions_are_found_until_the_file_is_stripped() {
    let directory = TempDir::new().unwrap();
    let program = build_probed(directory.path());
    let symbols = run("nm", &[program.to_str().unwrap()]);
    let line = symbols
        .lines()
        .find(|line| line.ends_with(" t hidden_helper"))
        .unwrap();
    let address = u64::from_str_radix(line.split_once(' ').unwrap().0, 16).unwrap();
    let file = here(&program);
    assert_eq!(
        TARGETS
            .uprobe(&file, Some("hidden_helper"), 0)
            .unwrap()
            .offset,
        address
    );
    let error = TARGETS
        .uprobe(&file, Some("puts"), 0)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("the function is imported from a library"),
        "{error}"
    );
    run("strip", &[program.to_str().unwrap()]);
    let error = TARGETS
        .uprobe(&file, Some("hidden_helper"), 0)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("the file has no symbols: it was stripped"),
        "{error}"
    );
}

#[test]
fn usdt_probes_have_the_sites_of_readelf() {
    let directory = TempDir::new().unwrap();
    let program = build_probed(directory.path());
    let notes = run("readelf", &["-nW", program.to_str().unwrap()]);
    let locations = notes
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Location: 0x"));
    let locations = locations.map(|rest| u64::from_str_radix(&rest[..16], 16).unwrap());
    let mut expected = locations.collect::<Vec<_>>();
    let file = here(&program);
    let start = TARGETS.usdt(&file, "probed", "start").unwrap();
    let stop = TARGETS.usdt(&file, "probed", "stop").unwrap();
    let mut found = [start.sites.as_slice(), &stop.sites].concat();
    // The code of the program has the same offsets as addresses.
    found.sort_by_key(|site| site.offset);
    expected.sort_unstable();
    assert_eq!(
        found.iter().map(|site| site.offset).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(start.sites.len(), 3);
    assert_eq!(start.specs.len(), 2, "two sites pass the same arguments");
    assert!(start.sites.iter().all(|site| site.counter_offset != 0));
    assert_eq!(stop.sites[0].counter_offset, 0);
    let constant = start
        .specs
        .iter()
        .find(|spec| spec.arguments.len() == 1)
        .unwrap();
    assert_eq!(constant.arguments[0].place, ArgumentPlace::Constant(7));

    let code = fs::read(&program).unwrap();
    if cfg!(target_arch = "x86_64") {
        for site in found {
            let at = usize::try_from(site.offset).unwrap();
            assert_eq!(code[at], 0x90, "there is a nop at {at:#x}");
        }
    }
}

#[test]
fn an_unknown_probe_is_answered_with_close_ones() {
    let directory = TempDir::new().unwrap();
    let file = here(build_probed(directory.path()));
    let error = TARGETS.usdt(&file, "probed", "strat").unwrap_err();
    assert_eq!(error.similar()[0], "probed:start");
    let error = TARGETS
        .usdt(&here("/bin/sh"), "probed", "start")
        .unwrap_err();
    let none = UsdtError::NoProbes;
    assert!(
        matches!(&error, TargetError::Probe { source, .. } if *source == none),
        "{error}"
    );
}

#[test]
fn what_is_no_program_is_refused() {
    let error = TARGETS
        .uprobe(&here("/etc/passwd"), Some("f"), 0)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot probe /etc/passwd: not an ELF file"
    );
    let refused = |target: &str| {
        let found = TARGETS.probed_file(&probed(target, None, None));
        found.unwrap_err().to_string()
    };
    assert_eq!(refused("/etc"), "/etc is not a regular file");
    assert_eq!(refused("/dev/null"), "/dev/null is not a regular file");
    assert_eq!(refused("/bt/none"), "`/bt/none` does not exist");
    assert_eq!(
        refused("a/b"),
        "`a/b` is neither an absolute path nor the name of a library"
    );
    assert_eq!(refused("nolibrary"), "library `nolibrary` was not found");
    assert!(refused("/a/../b").contains("cannot be used"));
}

#[test]
fn a_library_is_found_by_its_name_and_a_close_one_is_suggested() {
    let loaded = run("/sbin/ldconfig", &["-p"]);
    for name in ["c", "libc", "libc.so.6", "libm", "pthread"] {
        let found = TARGETS.probed_file(&probed(name, None, None)).unwrap();
        assert!(
            loaded.contains(&format!("=> {}", found.path)),
            "{name}: {}",
            found.path
        );
    }
    let similar = |name: &str| {
        let error = TARGETS.probed_file(&probed(name, None, None)).unwrap_err();
        assert!(
            matches!(error, TargetError::UnknownLibrary { .. }),
            "{error}"
        );
        error.similar().to_vec()
    };
    assert!(
        similar("libpthred").contains(&"libpthread".to_owned()),
        "{:?}",
        similar("libpthred")
    );
    assert!(
        similar("pthred").contains(&"pthread".to_owned()),
        "{:?}",
        similar("pthred")
    );
    assert!(similar("libpthread.so.1").contains(&"libpthread.so.0".to_owned()));
}

#[test]
fn a_process_tells_its_libraries() {
    let directory = TempDir::new().unwrap();
    let program = build_probed(directory.path());
    let process = Waiting::start(Command::new(&program).arg("wait"));
    let found = TARGETS
        .probed_file(&probed("c", Some(process.pid()), None))
        .unwrap();
    let expected = TARGETS.probed_file(&probed("c", None, None)).unwrap();
    assert!(same_file(found.path.as_str(), expected.path.as_str()));
    // What it has not mapped comes from the loader's cache.
    TARGETS
        .probed_file(&probed("m", Some(process.pid()), None))
        .unwrap();
}

#[test]
fn a_process_that_is_gone_is_named() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    for file in [
        probed("c", Some(pid), None),
        probed("c", None, Some(pid)),
        probed("/bin/sh", None, Some(pid)),
    ] {
        let error = TARGETS.probed_file(&file).unwrap_err().to_string();
        assert_eq!(error, format!("process {pid} does not exist"));
    }
}

#[test]
fn files_of_a_container_are_found_in_its_root() {
    let container = Container::new();
    symlink("/probed", container.file("absolute-link")).unwrap();
    symlink("../../../../../probed", container.file("etc/climbing-link")).unwrap();
    symlink("/etc/passwd", container.file("escape")).unwrap();
    symlink(
        "../../../../../../../../etc/passwd",
        container.file("climb"),
    )
    .unwrap();
    symlink("/proc/self/exe", container.file("magic")).unwrap();
    for process in [container.chrooted(), container.pivoted()] {
        let pid = Some(process.pid());
        let find = |target: &str| TARGETS.probed_file(&probed(target, None, pid));
        for target in ["/probed", "/absolute-link", "/etc/climbing-link"] {
            let found = find(target).unwrap();
            assert_eq!(found.shown.as_str(), "/probed", "{target}");
            assert_eq!(
                found.path.as_str(),
                format!("/proc/{}/root/probed", process.pid())
            );
            assert!(same_file(found.path.as_str(), container.file("probed")));
        }
        for target in ["/escape", "/climb", "/magic", "/etc/shadow"] {
            let error = find(target).unwrap_err().to_string();
            let expected = format!(
                "`{target}` does not exist in the container of process {}",
                process.pid()
            );
            assert_eq!(error, expected);
        }
        let file = find("/probed").unwrap();
        assert_eq!(
            TARGETS.usdt(&file, "probed", "start").unwrap().sites.len(),
            3
        );
    }
}

#[test]
fn libraries_of_a_container_are_its_own() {
    let container = Container::new();
    let chrooted = container.chrooted();
    let pivoted = container.pivoted();
    let mut cached_libc = String::new();
    for process in [&chrooted, &pivoted] {
        let pid = process.pid();
        let find =
            |name: &str, pid, container_pid| TARGETS.probed_file(&probed(name, pid, container_pid));
        let only = find("onlyhere", None, Some(pid)).unwrap();
        assert!(same_file(
            only.path.as_str(),
            container.file("opt/lib/libonlyhere.so.1")
        ));
        let libc = find("c", None, Some(pid)).unwrap();
        cached_libc = libc.shown.to_string();
        // By its maps: with the container named, and found out by its mount namespace.
        for container_pid in [Some(pid), None] {
            let mapped = find("c", Some(pid), container_pid).unwrap();
            assert!(
                same_file(mapped.path.as_str(), libc.path.as_str()),
                "{}",
                mapped.path
            );
            assert!(
                mapped
                    .path
                    .as_str()
                    .starts_with(&format!("/proc/{pid}/root/"))
            );
        }
        let error = find("onlyhare", None, Some(pid)).unwrap_err();
        assert_eq!(error.similar(), ["onlyhere"]);
    }
    assert!(
        TARGETS
            .probed_file(&probed("onlyhere", None, None))
            .is_err()
    );
    // Without a cache, as in a container with musl, the loader's directories are looked through.
    fs::remove_file(container.file("etc/ld.so.cache")).unwrap();
    let musl = container.file("lib/libmuslish.so.1");
    fs::copy(container.file("opt/lib/libonlyhere.so.1"), &musl).unwrap();
    let found = TARGETS
        .probed_file(&probed("muslish", None, Some(chrooted.pid())))
        .unwrap();
    assert!(same_file(found.path.as_str(), musl));
    // Those of Debian are among them.
    let find = |name| TARGETS.probed_file(&probed(name, None, Some(chrooted.pid())));
    let libc = find("c").unwrap();
    assert_eq!(libc.shown.as_str(), cached_libc);
}

#[test]
fn a_library_that_was_replaced_is_not_mistaken_for_the_new_one() {
    let container = Container::new();
    let process = container.chrooted();
    let libc = TARGETS
        .probed_file(&probed("c", Some(process.pid()), None))
        .unwrap();
    fs::remove_file(container.file(&libc.shown.as_str()[1..])).unwrap();
    let error = TARGETS
        .probed_file(&probed("c", Some(process.pid()), None))
        .unwrap_err();
    assert!(
        matches!(error, TargetError::ReplacedLibrary { .. }),
        "{error}"
    );
}

/// A cgroup2 mount of our own, because where the machine has its, if any, differs.
struct CgroupMount(TempDir);

impl Drop for CgroupMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_cgroup_has_the_id_of_its_directory() {
    let mount = CgroupMount(TempDir::new().unwrap());
    let root = mount.0.path().to_str().unwrap();
    run("mount", &["-t", "cgroup2", "none", root]);
    let id = TARGETS.cgroup(&path(root)).unwrap();
    assert_eq!(id, fs::metadata(root).unwrap().ino());
    let error = TARGETS.cgroup(&path("/tmp")).unwrap_err().to_string();
    assert_eq!(error, "/tmp is not a cgroup");
    let error = TARGETS
        .cgroup(&path(format!("{root}/cgroup.procs")))
        .unwrap_err();
    assert!(matches!(error, TargetError::NotACgroup { .. }), "{error}");
    let error = TARGETS
        .cgroup(&path("/tmp/bt-none"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot read cgroup /tmp/bt-none: "),
        "{error}"
    );
}

/// An older kernel lacks some: the programs at the others are still found.
#[test]
fn an_attach_type_that_the_kernel_lacks_is_unsupported_at_a_cgroup() {
    const NO_ATTACH_TYPE: u32 = 60_000;
    let mount = CgroupMount(TempDir::new().unwrap());
    let root = mount.0.path().to_str().unwrap();
    run("mount", &["-t", "cgroup2", "none", root]);
    let mut kernel = LibbpfKernel::new();
    let error = kernel.cgroup_programs(&path(root), NO_ATTACH_TYPE);
    assert_eq!(error.unwrap_err().kind, KernelErrorKind::Unsupported);
    let error = kernel.cgroup_programs(&path("/tmp/bt-none"), 0);
    assert_eq!(error.unwrap_err().kind, KernelErrorKind::NotFound);
}
