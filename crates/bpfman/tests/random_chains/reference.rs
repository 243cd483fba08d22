//! What members do one after the other, each run alone by the kernel.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use bpfman_testing::TestRun;
use bpfman_testing::test_run;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use libbpf_rs::Program;

use crate::common::kernel::Loaded;
use crate::generator::Family;

/// The size of `struct __sk_buff`.
const SKB_BYTES: usize = 192;
/// What of it goes on from one run to the next: mark, priority and cb.
const SKB_KEPT: [std::ops::Range<usize>; 3] = [8..12, 32..36, 48..68];

/// A member at its place.
#[derive(Debug)]
pub struct Hooked {
    pub member: usize,
    pub link: u64,
    pub priority: usize,
    pub proceed_on: Vec<i32>,
}

/// What a run left.
#[derive(Debug, PartialEq, Eq)]
pub struct After {
    run: TestRun,
    state: Vec<u8>,
    locks: Vec<Vec<u8>>,
}

/// The programs and maps of one object.
pub struct Kernel {
    members: Vec<OwnedFd>,
    state: MapHandle,
    /// Only where a member uses it: a load makes no other maps.
    locks: Option<MapHandle>,
}

fn program(id: u32) -> OwnedFd {
    Program::fd_from_id(id).unwrap()
}

impl Kernel {
    /// Opens them, and fills the array of tails.
    pub fn new(members: &[Loaded], tails: &[Loaded]) -> Self {
        let map = |name: &str| {
            let mut pins = members.iter().map(|member| member.map_pin(name));
            pins.find_map(|pin| MapHandle::from_pinned_path(pin).ok())
        };
        if let Some(array) = map("tails") {
            for (place, tail) in (0_u32..).zip(tails) {
                let tail = program(tail.id.parse().unwrap());
                let value = tail.as_raw_fd().to_ne_bytes();
                let key = place.to_ne_bytes();
                array.update(&key, &value, MapFlags::ANY).unwrap();
            }
        }
        let fds = members
            .iter()
            .map(|member| program(member.id.parse().unwrap()));
        Self {
            members: fds.collect(),
            state: map("state").expect("every member uses it"),
            locks: map("locks"),
        }
    }

    /// Gives the maps the same contents before every run.
    pub fn reset(&self, state: &[u8]) {
        let zero = 0_u32.to_ne_bytes();
        self.state.update(&zero, state, MapFlags::ANY).unwrap();
        for (locks, key) in self.locks() {
            let value = vec![0; locks.value_size() as usize];
            locks.update(&key, &value, MapFlags::ANY).unwrap();
        }
    }

    /// The values with a lock, each by its map and key.
    fn locks(&self) -> impl Iterator<Item = (&MapHandle, [u8; 4])> {
        self.locks.iter().flat_map(|map| {
            let keys = 0..map.max_entries();
            keys.map(move |key| (map, key.to_ne_bytes()))
        })
    }

    /// Runs what is attached.
    pub fn whole(&self, family: Family, id: u64, packet: &[u8]) -> After {
        let running = program(u32::try_from(id).unwrap());
        self.after(Self::run(&running, packet, &context(family)))
    }

    /// Runs members until one stops the others. `direct` says that the kernel is told the verdict of the only one.
    pub fn one_by_one(
        &self,
        family: Family,
        hooked: &[Hooked],
        direct: bool,
        packet: &[u8],
    ) -> After {
        let mut run = TestRun {
            verdict: 0,
            packet: packet.to_vec(),
            context: context(family),
        };
        for one in hooked {
            let context = kept(&run.context);
            run = Self::run(&self.members[one.member], &run.packet, &context);
            if direct || !one.proceed_on.contains(&run.verdict) {
                return self.after(run);
            }
        }
        run.verdict = match family {
            Family::Xdp => 2,
            Family::Tc => 0,
        };
        self.after(run)
    }

    fn run(program: &OwnedFd, packet: &[u8], context: &[u8]) -> TestRun {
        test_run(program.as_fd(), packet, context).unwrap()
    }

    fn after(&self, run: TestRun) -> After {
        let value = |map: &MapHandle, key: &[u8]| {
            let found = map.lookup(key, MapFlags::ANY).unwrap();
            found.expect("an array has all of its elements")
        };
        After {
            run: TestRun {
                context: kept(&run.context),
                ..run
            },
            state: value(&self.state, &[0; 4]),
            locks: self.locks().map(|(map, key)| value(map, &key)).collect(),
        }
    }
}

fn context(family: Family) -> Vec<u8> {
    match family {
        Family::Xdp => Vec::new(),
        Family::Tc => vec![0; SKB_BYTES],
    }
}

/// Of a context, what the kernel lets another run begin with.
fn kept(context: &[u8]) -> Vec<u8> {
    let mut kept = vec![0; context.len()];
    for range in SKB_KEPT
        .into_iter()
        .filter(|range| range.end <= context.len())
    {
        kept[range.clone()].copy_from_slice(&context[range]);
    }
    kept
}
