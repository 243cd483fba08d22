//! What the world refuses, beyond what it refuses by itself.

use std::collections::BTreeSet;

use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramId;

use crate::Errno;

/// The refusals to come. Effects on kernel, files and store are counted alike, from 0, from the moment the faults
/// are given to [`crate::World::inject`].
#[derive(Clone, Debug, Default)]
pub struct Faults {
    effects: BTreeSet<usize>,
    effects_from: Option<usize>,
    errno: Option<Errno>,
    enumeration: Option<usize>,
    programs: BTreeSet<ProgramId>,
    pins: BTreeSet<AbsolutePath>,
    note: Option<usize>,
    crash: Option<Crash>,
    unheard: Option<Crash>,
}

/// When every process is killed, by the number of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// It does not happen any more.
    Before(usize),
    /// It happens, and nobody hears of it.
    After(usize),
}

impl Faults {
    /// Refuses nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Also refuses the effect of this number.
    #[must_use]
    pub fn at(mut self, effect: usize) -> Self {
        self.effects.insert(effect);
        self
    }

    /// Also refuses the effect of this number and all after it.
    #[must_use]
    pub fn from(mut self, effect: usize) -> Self {
        self.effects_from = Some(effect);
        self
    }

    /// Refuses effects with this error; by default with [`Errno::NoSpace`].
    #[must_use]
    pub fn with(mut self, errno: Errno) -> Self {
        self.errno = Some(errno);
        self
    }

    /// Refuses to go on enumerating after so many programs: EPERM, and then nothing more.
    #[must_use]
    pub fn enumerating_after(mut self, programs: usize) -> Self {
        self.enumeration = Some(programs);
        self
    }

    /// Refuses to describe a program that is asked for by id: EPERM.
    #[must_use]
    pub fn reading(mut self, program: ProgramId) -> Self {
        self.programs.insert(program);
        self
    }

    /// Refuses to look at a pin: EPERM.
    #[must_use]
    pub fn looking_at(mut self, pin: AbsolutePath) -> Self {
        self.pins.insert(pin);
        self
    }

    /// Refuses to write the journal for this time, counted from 0: the disk is full.
    #[must_use]
    pub fn at_note(mut self, note: usize) -> Self {
        self.note = Some(note);
        self
    }

    /// Kills every process.
    #[must_use]
    pub fn crashing(mut self, crash: Crash) -> Self {
        self.crash = Some(crash);
        self
    }

    /// Kills the helper of the process at an effect on the kernel.
    #[must_use]
    pub fn losing_the_helper(mut self, crash: Crash) -> Self {
        self.unheard = Some(crash);
        self
    }

    pub(crate) fn ends_the_helper(&self, now: Crash) -> bool {
        self.unheard == Some(now)
    }

    pub(crate) fn kills(&self, now: Crash) -> bool {
        self.crash == Some(now)
    }

    pub(crate) fn note(&self, number: usize) -> Result<(), Errno> {
        match self.note == Some(number) {
            true => Err(Errno::NoSpace),
            false => Ok(()),
        }
    }

    pub(crate) fn effect(&self, number: usize) -> Result<(), Errno> {
        let refused = self.effects.contains(&number)
            || self.effects_from.is_some_and(|first| first <= number);
        if refused {
            return Err(self.errno.unwrap_or(Errno::NoSpace));
        }
        Ok(())
    }

    pub(crate) fn enumeration(&self, programs: usize) -> Result<(), Errno> {
        permitted(self.enumeration.is_none_or(|limit| programs < limit))
    }

    pub(crate) fn program(&self, id: ProgramId) -> Result<(), Errno> {
        permitted(!self.programs.contains(&id))
    }

    pub(crate) fn pin(&self, path: &AbsolutePath) -> Result<(), Errno> {
        permitted(!self.pins.contains(path))
    }
}

fn permitted(yes: bool) -> Result<(), Errno> {
    if yes { Ok(()) } else { Err(Errno::Permission) }
}
