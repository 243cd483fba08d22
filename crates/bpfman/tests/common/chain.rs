//! Members of chains (`chain.bpf.o`), and a reference that predicts what a chain of them does.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use serde_json::Value;

use super::World;
use super::bpftool;
use super::kernel::Loaded;
use super::net::Net;
use super::object;
use super::run;

/// Long enough for every program to look at.
const PACKET_BYTES: usize = 128;

/// A hook that chains run at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Ingress,
    Egress,
}

impl Hook {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Ingress | Self::Egress => "tc",
        }
    }

    /// The name of its attach points.
    pub fn point(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Ingress => "tc-ingress",
            Self::Egress => "tc-egress",
        }
    }

    /// Every verdict that has a name, and its code.
    pub fn verdicts(self) -> &'static [(&'static str, i32)] {
        match self {
            Self::Xdp => &[
                ("aborted", 0),
                ("drop", 1),
                ("pass", 2),
                ("tx", 3),
                ("redirect", 4),
            ],
            Self::Ingress | Self::Egress => &[
                ("unspec", -1),
                ("ok", 0),
                ("reclassify", 1),
                ("shot", 2),
                ("pipe", 3),
                ("stolen", 4),
                ("queued", 5),
                ("repeat", 6),
                ("redirect", 7),
                ("trap", 8),
            ],
        }
    }

    pub fn default_proceed_on(self) -> Vec<i32> {
        match self {
            Self::Xdp => vec![2],
            Self::Ingress | Self::Egress => vec![3],
        }
    }

    /// What a chain answers when its last member lets the packet go on.
    pub fn end(self) -> i32 {
        match self {
            Self::Xdp => 2,
            Self::Ingress | Self::Egress => 0,
        }
    }

    /// What a member answers that was not told otherwise.
    pub fn default_verdict(self) -> i32 {
        match self {
            Self::Xdp => 2,
            Self::Ingress | Self::Egress => 3,
        }
    }
}

/// One member, as the reference knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub number: u32,
    pub link: u64,
    pub priority: u32,
    pub proceed_on: Vec<i32>,
}

/// An attach point of a private network, and what should run there.
pub struct Chain<'a> {
    pub world: &'a World,
    pub net: &'a Net,
    pub hook: Hook,
    pub members: Vec<Member>,
    /// Namespace and interface.
    key: (String, String),
    programs: BTreeMap<u32, Loaded>,
    verdicts: BTreeMap<u32, i32>,
}

impl<'a> Chain<'a> {
    /// Loads members by their numbers. `Err` is what the kernel lacks.
    pub fn load(
        world: &'a World,
        net: &'a Net,
        hook: Hook,
        engine: &str,
        numbers: &[u32],
    ) -> Result<Self, String> {
        // The packets of a network itself would be seen, too.
        for (namespace, interface) in [(&net.near, "veth0"), (&net.far, "veth1")] {
            run(Command::new("ip").args(["-n", namespace, "link", "set", interface, "down"]));
        }
        Self::load_without_packets(world, net, hook, engine, numbers)
    }

    /// The same without touching the network.
    pub fn load_without_packets(
        world: &'a World,
        net: &'a Net,
        hook: Hook,
        engine: &str,
        numbers: &[u32],
    ) -> Result<Self, String> {
        let kind = hook.kind();
        let names: Vec<String> = numbers
            .iter()
            .map(|number| format!("{kind}:{kind}_{number}"))
            .collect();
        let loaded = world.try_load_all("chain.bpf.o", &names.join(","), &["--engine", engine])?;
        Ok(Self {
            world,
            net,
            hook,
            members: Vec::new(),
            key: (net.nsid().to_string(), net.ifindex().to_string()),
            programs: numbers.iter().copied().zip(loaded).collect(),
            verdicts: BTreeMap::new(),
        })
    }

    pub fn program(&self, number: u32) -> &Loaded {
        &self.programs[&number]
    }

    /// The words that attach a member.
    pub fn words(&self, number: u32, priority: u32) -> Vec<String> {
        let program = self.programs[&number].id.clone();
        let mut words = vec!["link", "attach", self.hook.kind(), &program, "veth0"];
        match self.hook {
            Hook::Xdp => {}
            Hook::Ingress => words.push("ingress"),
            Hook::Egress => words.push("egress"),
        }
        let priority = priority.to_string();
        words.extend(["-p", &priority, "-n", &self.net.near]);
        words.into_iter().map(str::to_owned).collect()
    }

    pub fn attach(&mut self, number: u32, priority: u32, proceed_on: &[i32]) -> Value {
        let mut words = self.words(number, priority);
        if !proceed_on.is_empty() {
            words.extend(["--proceed-on".to_owned(), self.names(proceed_on)]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let link = self.world.json(&words);
        let proceed_on = match proceed_on {
            [] => self.hook.default_proceed_on(),
            told => told.to_vec(),
        };
        let joining = Member {
            number,
            link: link["record"]["id"].as_u64().unwrap(),
            priority,
            proceed_on,
        };
        self.members.push(joining);
        self.sort(Some(number));
        link
    }

    pub fn detach(&mut self, at: usize) {
        let member = self.members.remove(at);
        self.world.ok(&["link", "detach", &member.link.to_string()]);
        self.sort(None);
    }

    pub fn update(&mut self, at: usize, priority: u32, proceed_on: &[i32]) {
        let names = self.names(proceed_on);
        let member = &mut self.members[at];
        member.priority = priority;
        member.proceed_on = proceed_on.to_vec();
        let (link, priority) = (member.link.to_string(), priority.to_string());
        let words = ["link", "update", &link, "--priority", &priority];
        self.world
            .ok(&[&words[..], &["--proceed-on", &names]].concat());
        self.sort(None);
    }

    /// By priority, then new before existing, then name (which for these is the number).
    fn sort(&mut self, new: Option<u32>) {
        self.members
            .sort_by_key(|member| (member.priority, new != Some(member.number), member.number));
    }

    fn names(&self, codes: &[i32]) -> String {
        let name = |code: &i32| {
            let found = self.hook.verdicts().iter().find(|(_, own)| own == code);
            found.unwrap().0
        };
        codes.iter().map(name).collect::<Vec<_>>().join(",")
    }

    /// Tells a member what to answer from now on.
    pub fn tell(&mut self, number: u32, verdict: i32) {
        self.verdicts.insert(number, verdict);
        let map = self.map("verdicts");
        map.update(
            &number.to_ne_bytes(),
            &(verdict + 2).to_ne_bytes(),
            MapFlags::ANY,
        )
        .unwrap();
    }

    fn map(&self, name: &str) -> MapHandle {
        let any = self.programs.values().next().unwrap();
        MapHandle::from_pinned_path(any.map_pin(name)).unwrap()
    }

    /// The attach point, as bpfman shows it.
    pub fn shown(&self) -> Value {
        let (nsid, ifindex) = &self.key;
        self.world
            .json(&["dispatcher", "get", self.hook.point(), nsid, ifindex])
    }

    /// What the kernel calls with each packet, as others see it.
    pub fn running(&self) -> Option<u64> {
        match self.hook {
            Hook::Xdp => self.xdp(),
            Hook::Ingress | Hook::Egress => self.traffic_control(&self.shown()),
        }
    }

    fn xdp(&self) -> Option<u64> {
        let namespace = self.net.near.as_str();
        let seen = json_of(&["ip", "-j", "-n", namespace, "link", "show", "veth0"]);
        seen[0]["xdp"]["prog"]["id"].as_u64()
    }

    fn traffic_control(&self, shown: &Value) -> Option<u64> {
        match shown["runtime"]["kernel_link_id"].as_u64() {
            Some(link) => {
                let seen = bpftool(&["link", "show", "id", &link.to_string()])?;
                seen["prog_id"].as_u64()
            }
            None => self.filter(),
        }
    }

    fn filter(&self) -> Option<u64> {
        let way = match self.hook {
            Hook::Egress => "egress",
            _ => "ingress",
        };
        let words = [
            "tc",
            "-j",
            "-n",
            &self.net.near,
            "filter",
            "show",
            "dev",
            "veth0",
            way,
        ];
        let seen = json_of(&words);
        let filters = seen.as_array()?;
        filters
            .iter()
            .find_map(|filter| filter["options"]["prog"]["id"].as_u64())
    }

    /// Runs what is attached once, without a packet on any wire: its verdict, and the members that ran.
    pub fn run(&self) -> (i32, Vec<u32>) {
        self.run_program(self.running().expect("something is attached"))
    }

    /// The same with a program whose id is at hand.
    pub fn run_program(&self, running: u64) -> (i32, Vec<u32>) {
        let seen = self.map("seen");
        let zero = 0_u32.to_ne_bytes();
        let size = seen.value_size() as usize;
        seen.update(&zero, &vec![0; size], MapFlags::ANY).unwrap();
        let packet = self.world.root().join("packet");
        fs::write(&packet, [0; PACKET_BYTES]).unwrap();
        let running = running.to_string();
        let answer = bpftool(&[
            "prog",
            "run",
            "id",
            &running,
            "data_in",
            packet.to_str().unwrap(),
            "repeat",
            "1",
        ]);
        let retval = answer.unwrap()["retval"].as_u64().unwrap();
        let value = seen.lookup(&zero, MapFlags::ANY).unwrap().unwrap();
        let words: Vec<u32> = value
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        let count = words[0] as usize;
        (retval as u32 as i32, words[1..=count].to_vec())
    }

    /// What the reference says that [`Self::run`] answers. `direct` says that a member alone is attached itself, and
    /// the kernel is told its own verdict.
    pub fn predicted(&self, direct: bool) -> (i32, Vec<u32>) {
        let mut ran = Vec::new();
        for member in &self.members {
            ran.push(member.number);
            let told = self.verdicts.get(&member.number);
            let verdict = told.copied().unwrap_or(self.hook.default_verdict());
            if direct || !member.proceed_on.contains(&verdict) {
                return (verdict, ran);
            }
        }
        (self.hook.end(), ran)
    }

    /// Compares the kernel, bpfman and the reference.
    pub fn check(&self) {
        let (running, direct) = self.check_records();
        let ran = self.run_program(running);
        assert_eq!(ran, self.predicted(direct), "{:?}", self.members);
    }

    /// The same, and again after each of some changes of what the members answer.
    pub fn check_told(&mut self, told: &[(u32, i32)]) {
        let (running, direct) = self.check_records();
        for (number, verdict) in told {
            self.tell(*number, *verdict);
            assert_eq!(
                self.run_program(running),
                self.predicted(direct),
                "{:?}",
                self.members
            );
        }
    }

    /// Compares what bpfman says with the kernel and the reference; what runs, and whether it is a member itself.
    fn check_records(&self) -> (u64, bool) {
        let shown = self.shown();
        let running = match self.hook {
            Hook::Xdp => self.xdp(),
            Hook::Ingress | Hook::Egress => self.traffic_control(&shown),
        };
        assert_eq!(shown["runtime"]["program_id"].as_u64(), running, "{shown}");
        let order: Vec<u64> = shown["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["link_id"].as_u64().unwrap())
            .collect();
        let expected: Vec<u64> = self.members.iter().map(|member| member.link).collect();
        assert_eq!(order, expected, "{shown}");
        let running = running.expect("something is attached");
        (running, shown["engine"] == "direct")
    }

    /// Gives every link of a member a new version of its program, which does the same.
    pub fn replace(&mut self, number: u32) {
        let id = self.programs[&number].id.clone();
        let path = object("chain.bpf.o");
        let new = self.world.json(&["program", "replace", &id, &path]);
        self.programs.insert(number, Loaded::from(&new));
        self.sort(None);
    }
}

fn json_of(words: &[&str]) -> Value {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
