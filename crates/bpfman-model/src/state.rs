//! The state that all handles of one world share, and the one door that effects go through.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use bpfman_core::action::KernelAction;
use bpfman_core::kernel::KernelLinkType;
use bpfman_core::types::KernelLinkId;

use crate::Crash;
use crate::Errno;
use crate::Faults;
use crate::catalogue::Catalogue;
use crate::network::Network;
use crate::objects::Objects;
use crate::objects::ProcessId;
use crate::tree::Tree;

/// The state, as the handles share it.
pub(crate) type Shared = Rc<RefCell<State>>;

/// How an effect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectResult {
    /// It changed something.
    Changed,
    /// The world was already so.
    Unchanged,
    /// It was refused.
    Refused,
}

/// One effect that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What was asked for, on one line.
    pub action: String,
    /// How it ended.
    pub result: EffectResult,
}

/// What somebody does before an action of ours on the kernel.
pub(crate) type Meddling = dyn FnMut(&Shared, &KernelAction);

/// Somebody who acts before each action of ours on the kernel.
pub(crate) struct Meddler(pub(crate) Box<Meddling>);

impl fmt::Debug for Meddler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a meddler")
    }
}

/// Everything there is.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) objects: Objects,
    pub(crate) network: Network,
    pub(crate) catalogue: Catalogue,
    /// The tracepoint of each link to one; those of links that are gone say nothing.
    pub(crate) tracepoints: BTreeMap<KernelLinkId, u64>,
    /// The types of links that this kernel does not have.
    pub(crate) lacking: Vec<KernelLinkType>,
    /// Whether extensions are refused.
    pub(crate) locked_down: bool,
    /// How many instructions the verifier takes of a program out of instructions.
    pub(crate) most_instructions: Option<usize>,
    pub(crate) meddler: Option<Meddler>,
    pub(crate) faults: Faults,
    pub(crate) effects: Vec<Effect>,
    /// How often the journal was written since the last faults.
    pub(crate) notes: usize,
    last_process: u32,
    last_dead: u32,
}

impl State {
    pub(crate) fn start_process(&mut self) -> ProcessId {
        self.last_process += 1;
        ProcessId(self.last_process)
    }

    /// Every process of ours dies at once.
    pub(crate) fn crash(&mut self) {
        self.last_dead = self.last_process;
        self.objects
            .close_all(|process| process != ProcessId::FOREIGN);
        self.sweep();
    }

    /// That a process may do what it is about to do. The effect counts as refused until [`Self::settle`] hears
    /// otherwise.
    pub(crate) fn admit(&mut self, process: ProcessId, action: String) -> Result<(), Errno> {
        // The dead do nothing; that their code still runs is a matter of the test around it.
        if process.0 <= self.last_dead {
            return Err(Errno::InputOutput);
        }
        let number = self.effects.len();
        self.effects.push(Effect {
            action,
            result: EffectResult::Refused,
        });
        if self.faults.kills(Crash::Before(number)) {
            self.crash();
            return Err(Errno::InputOutput);
        }
        self.faults.effect(number)
    }

    /// As [`Self::admit`], for what a process writes down about its effects.
    pub(crate) fn admit_note(&mut self, process: ProcessId) -> Result<(), Errno> {
        if process.0 <= self.last_dead {
            return Err(Errno::InputOutput);
        }
        let number = self.notes;
        self.notes += 1;
        self.faults.note(number)
    }

    /// Notes how the admitted effect ended, and drops what nobody holds any more.
    pub(crate) fn settle(&mut self, changed: bool) {
        if let Some(effect) = self.effects.last_mut() {
            effect.result = if changed {
                EffectResult::Changed
            } else {
                EffectResult::Unchanged
            };
        }
        self.sweep();
        if self.faults.kills(Crash::After(self.effects.len() - 1)) {
            self.crash();
        }
    }

    pub(crate) fn sweep(&mut self) {
        let filters = self.network.filters.values().copied();
        self.objects.sweep(self.tree.pins(), filters);
        for link in self.network.links() {
            if !self.objects.links.contains_key(&link) {
                self.network.remove(link);
            }
        }
    }
}
