//! Attaching what the kernel at hand may lack. Its lack is an `Err` with what bpfman says, which skips the test;
//! any other refusal fails it.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::World;
use super::assert_gone;
use super::bpftool;
use super::id;
use super::map_id;
use super::object;
use super::stderr;

/// What bpfman says of a kernel that lacks something, and not of one that was asked wrongly.
const LACKS: [&str; 6] = [
    "this kernel does not know this program type",
    "this kernel has no",
    "this kernel does not support",
    "not permitted, though no capability is missing",
    "is not known to this kernel",
    "the interface does not support",
];

pub fn lacks(message: &str) -> bool {
    LACKS.iter().any(|lack| message.contains(lack))
}

/// A program that was loaded.
pub struct Loaded {
    pub id: String,
    shown: Value,
}

/// A link that was made.
pub struct Attached {
    pub id: String,
    pub kernel: u64,
    pub pin: String,
}

impl World {
    /// Loads a program, `TYPE:NAME` or `TYPE:NAME:FUNCTION`, with more options of the load.
    pub fn try_load(&self, name: &str, program: &str, more: &[&str]) -> Result<Loaded, String> {
        let loaded = self.try_load_all(name, program, more)?;
        Ok(loaded.into_iter().next().unwrap())
    }

    /// Loads several, with commas between them; they share their maps.
    pub fn try_load_all(
        &self,
        name: &str,
        programs: &str,
        more: &[&str],
    ) -> Result<Vec<Loaded>, String> {
        let path = object(name);
        let head = ["program", "load", &path, "--programs", programs];
        let args = [&head, more, &["-o", "json"]].concat();
        let answer = answer(&self.bpfman(&args), programs)?;
        let loaded = answer["programs"].as_array().unwrap().iter();
        Ok(loaded.map(Loaded::from).collect())
    }

    /// Attaches: the kind, then what it takes after the program. A kernel that lacks it is left as it was.
    pub fn try_attach(&self, program: &Loaded, words: &[&str]) -> Result<Attached, String> {
        let before = self.places();
        let head = ["link", "attach", words[0], &program.id];
        let args = [&head, &words[1..], &["-o", "json"]].concat();
        let link = answer(&self.bpfman(&args), &args.join(" ")).inspect_err(|_| {
            assert_eq!(before, self.places(), "{args:?} left something");
        })?;
        let record = &link["record"];
        let attached = Attached {
            id: record["id"].to_string(),
            kernel: record["kernel_link_id"].as_u64().unwrap(),
            pin: record["pin_path"].as_str().unwrap().to_owned(),
        };
        let seen = bpftool(&["link", "show", "pinned", &attached.pin]).unwrap();
        assert_eq!(seen["id"], attached.kernel);
        assert_eq!(seen["prog_id"].to_string(), program.id);
        Ok(attached)
    }

    /// Detaches, and looks whether nothing is left of the link.
    pub fn detach(&self, link: &Attached) {
        self.ok(&["link", "detach", &link.id]);
        assert_gone("link", link.kernel);
        assert!(!Path::new(&link.pin).exists(), "{} is left", link.pin);
    }

    /// Unloads programs, and looks whether the bpffs holds no pin any more.
    pub fn unload(&self, programs: &[&Loaded]) {
        for program in programs {
            self.ok(&["unload", &program.id]);
            assert_gone("prog", program.id.parse().unwrap());
        }
        let pins = self.places().bpffs;
        assert!(pins.iter().all(|path| path.is_dir()), "{pins:?}");
    }
}

impl From<&Value> for Loaded {
    fn from(shown: &Value) -> Self {
        Self {
            id: id(shown).to_string(),
            shown: shown.clone(),
        }
    }
}

impl Loaded {
    /// A map of the program, as bpftool prints it.
    pub fn map(&self, name: &str) -> Value {
        let number = map_id(&self.shown, name).to_string();
        bpftool(&["map", "dump", "id", &number]).unwrap()
    }

    /// The number at an index of an array.
    pub fn number(&self, map: &str, index: usize) -> u64 {
        let dump = self.map(map);
        dump[index]["formatted"]["value"].as_u64().unwrap()
    }

    /// The pin of a map.
    pub fn map_pin(&self, name: &str) -> String {
        let directory = &self.shown["record"]["handles"]["map_pin_path"];
        format!("{}/{name}", directory.as_str().unwrap())
    }
}

fn answer(output: &Output, asked: &str) -> Result<Value, String> {
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    let message = stderr(output);
    assert!(lacks(&message), "{asked}: {message}");
    let first = message.lines().next().unwrap_or_default();
    Err(format!("{asked}: {first}"))
}

/// Makes of each function a test in process and one through the helper; what the kernel lacks skips it.
#[macro_export]
macro_rules! where_the_kernel_can {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(#[test] fn $name() {
                bpfman_testing::requires!(super::$name(&$crate::common::World::new($crate::common::Via::InProcess)));
            })*
        }
        mod through_the_helper {
            $(#[test] fn $name() {
                bpfman_testing::requires!(super::$name(&$crate::common::World::new($crate::common::Via::Helper)));
            })*
        }
    };
}
