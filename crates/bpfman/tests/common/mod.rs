//! A private world for one test: a runtime directory and a bpffs of its own, gone when the test ends.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

pub mod cgroup;
pub mod chain;
pub mod kernel;
pub mod net;
pub mod probed;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

/// How the kernel is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    InProcess,
    Helper,
}

/// What the places hold that an operation may change.
#[derive(Debug, PartialEq, Eq)]
pub struct Places {
    /// Kernel programs and links our pins hold: pin -> id, and tag or program.
    pub kernel: BTreeMap<PathBuf, (u64, String)>,
    pub bpffs: BTreeSet<PathBuf>,
    pub files: BTreeMap<PathBuf, u64>,
    pub rows: Option<[Vec<String>; 4]>,
}

pub struct World {
    pub via: Via,
    root: tempfile::TempDir,
}

impl World {
    pub fn new(via: Via) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test loads BPF programs: run it as root"
        );
        let root = tempfile::Builder::new()
            .prefix("bpfman-e2e.")
            .tempdir_in("/tmp")
            .unwrap();
        let world = Self { via, root };
        std::fs::create_dir(world.pins()).unwrap();
        bpfman_testing::mount("bpf", &world.pins());
        if via == Via::Helper {
            assert!(helper().exists(), "build the workspace first");
        }
        world
    }

    /// Whether anything is pinned at the layout's places; the kernel puts two iterators into every bpffs.
    fn holds_pins(&self) -> bool {
        let entries = self.runtime().join("fs").read_dir();
        entries.is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.path().extension() != Some("debug".as_ref()))
            })
        })
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn runtime(&self) -> PathBuf {
        self.root().join("run")
    }

    pub fn pins(&self) -> PathBuf {
        self.root().join("pins")
    }

    pub fn pin(&self, name: &str) -> String {
        self.pins().join(name).to_str().unwrap().to_owned()
    }

    pub fn database(&self) -> PathBuf {
        self.runtime().join("db/store.db")
    }

    /// The command, not yet run; `wrap` runs it inside another program.
    pub fn command(&self, wrap: &[&str], args: &[&str]) -> Command {
        let bpfman = env!("CARGO_BIN_EXE_bpfman");
        let mut command = match wrap {
            [] => Command::new(bpfman),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(bpfman);
                command
            }
        };
        for variable in [
            "CONFIG",
            "LOG",
            "RUNTIME_DIR",
            "LOCK_TIMEOUT",
            "KERNEL_HELPER",
        ] {
            command.env_remove(format!("BPFMAN_{variable}"));
        }
        command.arg("--runtime-dir").arg(self.runtime());
        if self.via == Via::Helper {
            command.arg("--kernel-helper").arg(helper());
        }
        command.args(args);
        command
    }

    pub fn bpfman(&self, args: &[&str]) -> Output {
        self.command(&[], args).output().unwrap()
    }

    /// Runs a command and kills bpfman, or its helper, before its system call of this name and number.
    pub fn killed_at(&self, call: &str, number: usize, args: &[&str]) -> Output {
        self.signalled_at("SIGKILL", call, number, args)
            .output()
            .unwrap()
    }

    /// A command that meets a signal before its system call of this name and number.
    pub fn signalled_at(&self, signal: &str, call: &str, number: usize, args: &[&str]) -> Command {
        let (trace, inject) = (
            format!("trace={call}"),
            format!("inject={call}:signal={signal}:when={number}"),
        );
        let strace = ["strace", "-f", "-qqq", "-o", "/dev/null"];
        let wrap = [&strace[..], &["-e", &trace, "-e", &inject]].concat();
        self.command(&wrap, args)
    }

    /// Runs a command that must succeed; its stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.bpfman(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// Loads programs; what the load printed of each.
    pub fn load(&self, object_name: &str, programs: &str, more: &[&str]) -> Vec<Value> {
        let path = object(object_name);
        let args = [&["program", "load", &path, "--programs", programs], more].concat();
        self.json(&args)["programs"].as_array().unwrap().clone()
    }

    /// The ids `list -q` prints with these filters.
    pub fn ids(&self, filters: &[&str]) -> Vec<u64> {
        let text = self.ok(&[&["list", "-q"], filters].concat());
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Runs a command that must be refused with this code, words and a hint, and change nothing.
    pub fn refused(&self, args: &[&str], code: i32, words: &[&str]) -> Output {
        self.refused_in(&[], args, code, words)
    }

    pub fn refused_in(&self, wrap: &[&str], args: &[&str], code: i32, words: &[&str]) -> Output {
        let before = self.places();
        let output = self.command(wrap, args).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
        assert!(message.starts_with("bpfman: error: "), "{message}");
        assert!(message.contains("\n  hint: "), "no hint: {message}");
        for word in words {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
        assert_eq!(before, self.places(), "{args:?} changed something");
        output
    }

    pub fn places(&self) -> Places {
        let bpffs: BTreeSet<PathBuf> = [self.pins(), self.runtime().join("fs")]
            .iter()
            .flat_map(|root| below(root))
            .filter(|path| path.extension().is_none_or(|end| end != "debug"))
            .collect();
        let kernel = bpffs
            .iter()
            .filter(|path| path.is_file())
            .filter_map(|path| Some((path, self.kind_of_pin(path)?)))
            .map(|(path, (kind, detail))| {
                let shown = bpftool(&[kind, "show", "pinned", path.to_str().unwrap()]).unwrap();
                (
                    path.clone(),
                    (shown["id"].as_u64().unwrap(), shown[detail].to_string()),
                )
            })
            .collect();
        let files = below(&self.runtime())
            .into_iter()
            .filter(|path| !path.starts_with(self.runtime().join("fs")))
            // SQLite's own, there while the database is open.
            .filter(|path| !path.to_str().unwrap().contains("/store.db"))
            .map(|path| {
                let data = path.metadata().unwrap();
                (path, if data.is_file() { data.len() } else { 0 })
            })
            .collect();
        Places {
            kernel,
            bpffs,
            files,
            rows: self.rows(),
        }
    }

    /// What a pin of ours holds, and what of it is compared; `None` for maps.
    fn kind_of_pin(&self, path: &Path) -> Option<(&'static str, &'static str)> {
        let fs = self.runtime().join("fs");
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_map = path.starts_with(fs.join("maps"))
            || path.starts_with(fs.join("shared"))
            || name.ends_with("_counter");
        let is_link = path.starts_with(fs.join("links"))
            || path.starts_with(&fs) && (name.ends_with("_link") || name.starts_with("link_"));
        match (is_map, is_link) {
            (true, _) => None,
            (false, true) => Some(("link", "prog_id")),
            (false, false) => Some(("prog", "tag")),
        }
    }

    fn rows(&self) -> Option<[Vec<String>; 4]> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let store = rusqlite::Connection::open_with_flags(self.database(), flags).ok()?;
        let read = |sql: &str| -> Option<Vec<String>> {
            let mut statement = store.prepare(sql).ok()?;
            let rows = statement.query_map([], |row| row.get(0)).ok()?;
            rows.collect::<Result<_, _>>().ok()
        };
        Some([
            read("SELECT kernel_id || ' ' || tag || ' ' || pinned_path FROM programs ORDER BY 1")?,
            read("SELECT kernel_id || ' ' || name FROM maps ORDER BY 1")?,
            read(
                "SELECT id || ' ' || ifnull(kernel_id, '-') || ' ' || details FROM links ORDER BY 1",
            )?,
            read(
                "SELECT attach_point || ' ' || revision || ' ' || form || ' ' || kernel_program_id \
                 || ' ' || members FROM dispatchers ORDER BY 1",
            )?,
        ])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Also after a panic, and whatever state the test left: nothing here may panic.
        if self.holds_pins() {
            let _ = self.command(&[], &["program", "delete", "--all"]).output();
        }
        for mount in [self.runtime().join("fs"), self.pins(), self.runtime()] {
            bpfman_testing::unmount(&mount);
        }
    }
}

pub fn helper() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_bpfman")).with_file_name("bpfman-kernel")
}

pub fn object(name: &str) -> String {
    let directory = std::env::var_os("BPFMAN_TEST_OBJECTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bpf"),
        PathBuf::from,
    );
    let path = directory.canonicalize().unwrap().join(name);
    assert!(path.exists(), "{} is not built", path.display());
    path.to_str().unwrap().to_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What an operation logged about its executor: each line behind time, level, operation and component.
pub fn executor_lines(log: &str) -> Vec<&str> {
    let lines = log.lines();
    lines
        .filter_map(|line| Some(line.split_once("}: executor: ")?.1))
        .collect()
}

/// The steps that `--log executor=debug` printed, without undos.
pub fn steps(log: &str) -> Vec<String> {
    let is_step = |line: &&str| {
        let subsystems = ["kernel ", "bpffs ", "files ", "store "];
        subsystems
            .iter()
            .any(|subsystem| line.starts_with(subsystem))
    };
    let lines = executor_lines(log).into_iter();
    lines.filter(is_step).map(str::to_owned).collect()
}

/// What bpftool prints as JSON; `None` when it fails.
pub fn bpftool(args: &[&str]) -> Option<Value> {
    let output = Command::new("bpftool").arg("-j").args(args).output();
    let output = output.expect("bpftool is installed");
    let value = serde_json::from_slice(&output.stdout).ok();
    value.filter(|_| output.status.success())
}

/// The kernel frees a program a moment after its last user went.
pub fn assert_gone(kind: &str, id: u64) {
    let start = Instant::now();
    while bpftool(&[kind, "show", "id", &id.to_string()]).is_some() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{kind} {id} lives"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn id(program: &Value) -> u64 {
    program["record"]["program_id"].as_u64().unwrap()
}

/// The kernel id of a program's map, by its name in the object.
pub fn map_id(program: &Value, name: &str) -> u64 {
    let maps = program["status"]["maps"].as_array().unwrap();
    let map = maps.iter().find(|map| map["object_name"] == name);
    map.unwrap()["id"].as_u64().unwrap()
}

pub fn below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
}

/// Where a program is that a shell finds by its name.
pub fn find_program(name: &str) -> String {
    let mut find = Command::new("sh");
    let output = find.args(["-c", "command -v \"$0\"", name]).output();
    let path = String::from_utf8(output.unwrap().stdout).unwrap();
    path.trim_end().to_owned()
}

/// Makes of each function a test in process and one through the helper.
#[macro_export]
macro_rules! both_ways {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(#[test] fn $name() { super::$name(&$crate::common::World::new($crate::common::Via::InProcess)); })*
        }
        mod through_the_helper {
            $(#[test] fn $name() { super::$name(&$crate::common::World::new($crate::common::Via::Helper)); })*
        }
    };
}
