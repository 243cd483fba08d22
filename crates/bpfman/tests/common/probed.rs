//! A small C program that is probed, here or in a container, and makes calls when it is told to.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use super::run;

const SOURCE: &str = include_str!("../fixtures/counted.c");

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The built program, with a name that no other process has.
pub struct Program {
    directory: tempfile::TempDir,
    pub name: String,
}

impl Program {
    pub fn build() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("bpfman-probed.")
            .tempdir_in("/tmp")
            .unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let program = Self {
            directory,
            name: format!("b{}-{number}", std::process::id()),
        };
        let source = program.directory.path().join("counted.c");
        fs::write(&source, SOURCE).unwrap();
        run(Command::new("cc")
            .args(["-O2", "-Wall", "-Werror", "-o"])
            .arg(program.path())
            .arg(source));
        program
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    pub fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    pub fn start(&self) -> Process {
        Process::start(Command::new(self.path()))
    }

    /// The option of a load that lets only this program's calls count.
    pub fn only(&self) -> String {
        let mut name = self.name.clone().into_bytes();
        assert!(name.len() < 16, "a longer name is cut");
        name.resize(16, 0);
        let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("only={hex}")
    }

    /// Copies of the program and its libraries in a directory that becomes a root.
    pub fn container(&self) -> Container {
        let root = tempfile::tempdir_in("/tmp").unwrap();
        let listed = Command::new("ldd").arg(self.path()).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        for library in listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let copy = root.path().join(&library[1..]);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
        }
        for directory in ["proc", "old"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::copy(self.path(), root.path().join(&self.name)).unwrap();
        Container {
            root,
            name: self.name.clone(),
        }
    }
}

/// A running program; it ends with its input.
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Where `counted` is in its file.
    pub file_offset: u64,
    /// Where its middle is in `counted`.
    pub middle: u64,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self {
            child,
            output,
            file_offset: 0,
            middle: 0,
        };
        let line = process.line();
        let (file_offset, middle) = line.split_once(' ').unwrap();
        process.file_offset = file_offset.parse().unwrap();
        process.middle = middle.parse().unwrap();
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Makes the calls so many times; how often getpgid(2) was refused.
    pub fn rounds(&mut self, count: u64) -> u64 {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{count}").unwrap();
        self.line().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

pub struct Container {
    root: tempfile::TempDir,
    name: String,
}

impl Container {
    /// Starts its program with mounts, processes and a root of its own.
    pub fn start(&self) -> Process {
        let chroot = super::find_program("chroot");
        let script = format!(
            "mount --bind \"$0\" \"$0\" && cd \"$0\" && mount -t proc proc proc && pivot_root . old && \
             exec /old{chroot} . /{}",
            self.name
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "sh", "-c", &script]);
        command.arg(self.root.path());
        Process::start(command)
    }
}

/// The process that a process made, as this namespace numbers it.
pub fn child_of(pid: &str) -> String {
    let parent = |directory: &Path| {
        let status = fs::read_to_string(directory.join("stat")).ok()?;
        let (_, rest) = status.rsplit_once(')')?;
        rest.split_whitespace().nth(1).map(str::to_owned)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut children = processes.filter(|process| parent(&process.path()).as_deref() == Some(pid));
    let child = children.next().expect("it has a child");
    child.file_name().into_string().unwrap()
}
