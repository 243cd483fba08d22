//! What the kernel holds: links, programs and maps, alive while a pin, a process or the next larger thing holds them:
//! a link its program, a program its maps.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bpfman_core::kernel;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::KernelTime;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::Tag;

use crate::code::Code;
use crate::tree::Node;

/// A process by its number in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId(pub(crate) u32);

impl ProcessId {
    /// Whoever else uses this kernel.
    pub(crate) const FOREIGN: Self = Self(0);
}

/// The descriptors of one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) programs: BTreeSet<ProgramId>,
    pub(crate) maps: BTreeSet<MapId>,
    pub(crate) links: BTreeSet<KernelLinkId>,
}

/// The objects of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) programs: BTreeMap<ProgramId, kernel::Program>,
    pub(crate) maps: BTreeMap<MapId, kernel::Map>,
    pub(crate) links: BTreeMap<KernelLinkId, kernel::Link>,
    /// What each program does. Those of others do what they like, and are not in here.
    pub(crate) codes: BTreeMap<ProgramId, Code>,
    /// The links of extensions, by the dispatcher and the function that they are in place of.
    pub(crate) slots: BTreeMap<(ProgramId, String), KernelLinkId>,
    pub(crate) next_program: u32,
    pub(crate) next_map: u32,
    pub(crate) next_link: u32,
    held: BTreeMap<ProcessId, Held>,
    clock: u64,
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            programs: BTreeMap::new(),
            maps: BTreeMap::new(),
            links: BTreeMap::new(),
            codes: BTreeMap::new(),
            slots: BTreeMap::new(),
            next_program: 1,
            next_map: 1,
            next_link: 1,
            held: BTreeMap::new(),
            clock: 0,
        }
    }
}

impl Objects {
    /// The id of the program that comes next.
    pub(crate) fn new_program_id(&mut self) -> ProgramId {
        let taken = |id| self.programs.contains_key(&ProgramId(id));
        ProgramId(take_id(&mut self.next_program, taken))
    }

    /// Takes in a program that somebody loads and holds.
    pub(crate) fn add_program(&mut self, process: ProcessId, program: kernel::Program, code: Code) {
        let id = program.identity.id;
        self.programs.insert(id, program);
        self.codes.insert(id, code);
        self.held(process).programs.insert(id);
    }

    /// The id of the map that comes next.
    pub(crate) fn new_map_id(&mut self) -> MapId {
        let taken = |id| self.maps.contains_key(&MapId(id));
        MapId(take_id(&mut self.next_map, taken))
    }

    /// The id of the link that comes next.
    pub(crate) fn new_link_id(&mut self) -> KernelLinkId {
        let taken = |id| self.links.contains_key(&KernelLinkId(id));
        KernelLinkId(take_id(&mut self.next_link, taken))
    }

    /// The time, which passes whenever it is asked for.
    pub(crate) fn now(&mut self) -> KernelTime {
        self.clock += 1;
        KernelTime(self.clock)
    }

    pub(crate) fn held(&mut self, process: ProcessId) -> &mut Held {
        self.held.entry(process).or_default()
    }

    /// Closes every descriptor of a process.
    pub(crate) fn close(&mut self, process: ProcessId) {
        self.held.remove(&process);
    }

    /// Closes every descriptor of the processes that satisfy `dead`.
    pub(crate) fn close_all(&mut self, dead: impl Fn(ProcessId) -> bool) {
        self.held.retain(|&process, _| !dead(process));
    }

    /// Drops what nobody holds any more.
    pub(crate) fn sweep<'node>(
        &mut self,
        pins: impl Iterator<Item = &'node Node>,
        filters: impl Iterator<Item = ProgramId>,
    ) {
        let mut living = Held::default();
        living.programs.extend(filters);
        for held in self.held.values() {
            living.programs.extend(&held.programs);
            living.maps.extend(&held.maps);
            living.links.extend(&held.links);
        }
        for pin in pins {
            match pin {
                Node::Program(id) => drop(living.programs.insert(*id)),
                Node::Map(id) => drop(living.maps.insert(*id)),
                Node::Link(id) => drop(living.links.insert(*id)),
                Node::Directory
                | Node::File(_)
                | Node::Instructions(_)
                | Node::Record(_)
                | Node::Database(_) => {}
            }
        }
        self.links.retain(|id, _| living.links.contains(id));
        self.slots.retain(|_, link| living.links.contains(link));
        let extended = self.slots.keys().map(|(dispatcher, _)| *dispatcher);
        living.programs.extend(extended);
        let attached = self.links.values().map(|link| link.program);
        living.programs.extend(attached);
        self.programs.retain(|id, _| living.programs.contains(id));
        self.codes.retain(|id, _| living.programs.contains(id));
        let used = self.programs.values().flat_map(|program| &program.map_ids);
        living.maps.extend(used);
        self.maps.retain(|id, _| living.maps.contains(id));
    }
}

/// Hands out the next free id, as the kernel does: upwards, and never one that is in use.
fn take_id(next: &mut u32, taken: impl Fn(u32) -> bool) -> u32 {
    while taken(*next) {
        *next += 1;
    }
    *next += 1;
    *next - 1
}

/// What the kernel says of a program that has run for no time and uses no maps.
pub(crate) fn program_facts(
    identity: ProgramIdentity,
    name: &str,
    program_type: KernelProgramType,
) -> kernel::Program {
    kernel::Program {
        identity,
        name: kernel_name(name),
        program_type,
        uid: 0,
        btf_id: 0,
        map_ids: Vec::new(),
        jited_size: 0,
        xlated_size: 0,
        verified_insns: 0,
        gpl_compatible: false,
        run_time_ns: 0,
        run_count: 0,
        recursion_misses: 0,
        memlock: None,
    }
}

/// The longest name the kernel keeps, in bytes: BPF_OBJ_NAME_LEN of `linux/bpf.h` less its final NUL.
const MAX_KERNEL_NAME_BYTES: usize = 15;

/// A name as the kernel keeps it.
pub(crate) fn kernel_name(name: &str) -> String {
    let characters = name.char_indices();
    let short = characters.take_while(|(at, c)| at + c.len_utf8() <= MAX_KERNEL_NAME_BYTES);
    short.map(|(_, c)| c).collect()
}

/// The digest of a program: the same for the same program of the same object, FNV-1a with 64 bits.
pub(crate) fn tag_of(object: &[u8], program: &str) -> Tag {
    let bytes = object.iter().copied().chain(program.bytes());
    let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    Tag(bytes.fold(0xcbf2_9ce4_8422_2325, mix).to_be_bytes())
}
