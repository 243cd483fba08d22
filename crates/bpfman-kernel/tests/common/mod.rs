//! What the tests of the helper share: its process, a bpffs of their own and the test objects.

#![allow(dead_code, reason = "no test file uses all of it")]

pub(crate) mod net;

use std::env;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

/// The helper that these tests run.
pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_bpfman-kernel");

/// The path of a test object.
pub(crate) fn object(name: &str) -> String {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bpf");
    let directory = env::var_os("BPFMAN_TEST_OBJECTS").map_or_else(built, PathBuf::from);
    let path = directory.canonicalize().unwrap().join(name);
    assert!(path.is_file(), "{} is not built", path.display());
    path.to_str().unwrap().to_owned()
}

/// A bpffs in a directory of its own; both are gone when it is dropped, also by a panic.
pub(crate) struct Bpffs(TempDir);

impl Bpffs {
    pub(crate) fn mount() -> Self {
        let bpffs = Self(tempfile::tempdir().unwrap());
        bpfman_testing::mount("bpf", bpffs.0.path());
        bpffs
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The names of what is in its root, without what the kernel itself puts into every bpffs.
    pub(crate) fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .0
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "maps.debug" && name != "progs.debug")
            .collect();
        names.sort();
        names
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        bpfman_testing::unmount(self.0.path());
    }
}

/// A running helper; dropping it ends it.
pub(crate) struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(HELPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// Sends one line as it is and reads the answer to it.
    pub(crate) fn line(&mut self, line: &[u8]) -> Value {
        let input = self.input.as_mut().unwrap();
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
        input.flush().unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "no whole answer: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        self.line(request.to_string().as_bytes())
    }

    /// Asks for what must be done.
    pub(crate) fn done(&mut self, request: &Value) -> Value {
        let answer = self.ask(request);
        assert_eq!(answer["ok"], true, "{request}: {answer}");
        answer
    }

    /// Asks for what must be refused, and answers the error.
    pub(crate) fn refused(&mut self, request: &Value, kind: &str) -> Value {
        let answer = self.ask(request);
        assert_refused(&answer, kind);
        answer["error"].clone()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// That an answer is a refusal of this kind, with a message of one line.
pub(crate) fn assert_refused(answer: &Value, kind: &str) {
    assert_eq!(answer["ok"], false, "{answer}");
    assert_eq!(answer["error"]["kind"], kind, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(!message.is_empty() && !message.contains('\n'), "{answer}");
}

/// A `load` request.
pub(crate) fn load(object_name: &str, program: &str, pin_path: &str) -> Value {
    let object = object(object_name);
    json!({"op": "load", "object": object, "program": program, "pin_path": pin_path})
}

/// A `load_object` request for programs whose sections say their types.
pub(crate) fn load_object(object_name: &str, programs: &[&str], skip_maps: &[&str]) -> Value {
    let program = |name: &&str| {
        json!({
            "name": name, "kernel_type": 0, "attach_type": null, "flags": 0,
            "attach_function": null, "target_program": null, "keep_instructions": false,
        })
    };
    let programs: Vec<Value> = programs.iter().map(program).collect();
    let stem = object_name.split('.').next().unwrap();
    json!({
        "op": "load_object", "object": object(object_name), "object_name": stem,
        "programs": programs, "skip_maps": skip_maps,
    })
}

/// A `load_object` request for one program whose instructions are kept.
pub(crate) fn load_kept(object_name: &str, program: &str) -> Value {
    let mut request = load_object(object_name, &[program], &[]);
    request["programs"][0]["keep_instructions"] = true.into();
    request
}

/// A `load_program` request for the instructions that a load kept, with the maps and the types of that program at its
/// pin.
pub(crate) fn load_program(name: &str, kernel_type: u32, loaded: &Value, pin: &str) -> Value {
    let program = &loaded["programs"][0];
    let kept = &program["instructions"];
    let maps = loaded["maps"].as_array().unwrap();
    let references = kept["references"].as_array().unwrap().iter();
    let places: Vec<Value> = references
        .map(|reference| {
            let map = maps.iter().find(|map| map["name"] == reference["map"]);
            let id = &map.unwrap()["id"];
            json!({"instruction": reference["instruction"], "map": {"in_use": id}})
        })
        .collect();
    json!({
        "op": "load_program", "name": name, "kernel_name": name, "kernel_type": kernel_type,
        "attach_type": kept["attach_type"], "flags": kept["flags"], "license": "GPL",
        "instructions": kept["instructions"], "maps": places,
        "programs": [{"program": program["id"], "path": pin}],
        "types": {"btf": null, "functions": kept["functions"]},
        "replaces": null,
    })
}

/// What bpftool says of a pinned program, or `None` when it finds none.
pub(crate) fn bpftool_pinned(path: &str) -> Option<Value> {
    bpftool(&["prog", "show", "pinned", path])
}

/// What bpftool answers, or `None` when it fails.
pub(crate) fn bpftool(arguments: &[&str]) -> Option<Value> {
    let run = Command::new("bpftool").arg("-j").args(arguments).output();
    let run = run.unwrap();
    run.status
        .success()
        .then(|| serde_json::from_slice(&run.stdout).unwrap_or_default())
}
