//! Programs of a chain to which somebody has attached others: these stay with the program itself, which a chain does
//! not run. It runs its instructions.

use bpfman_core::compute::Member;
use bpfman_core::compute::PointFacts;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::ProgramHook;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::types::Engine;
use bpfman_core::types::ProgramId;

use crate::DispatcherStatus;
use crate::Manager;
use crate::ManagerError;

impl Manager<'_> {
    /// What is attached to the members' own programs, and does not run at this attach point.
    ///
    /// # Errors
    /// When the kernel cannot be read.
    pub fn unseen(&mut self, status: &DispatcherStatus) -> Result<Vec<ProgramHook>, ManagerError> {
        if status.dispatcher.form == DispatcherForm::Direct {
            return Ok(Vec::new());
        }
        let members = status.members.iter();
        // What was loaded as an extension runs itself in a dispatcher.
        let members = members.filter(|(_, program)| program.load.engine == Engine::Auto);
        let programs: Vec<ProgramId> = members.map(|(_, program)| program.id()).collect();
        self.hooks_on(&programs)
    }

    /// Notes the extensions of the programs that run themselves: of the only one that is there, and of the one that joins.
    pub(crate) fn note_extensions(
        &mut self,
        facts: &mut PointFacts,
        joins: Option<&mut Member>,
    ) -> Result<(), ManagerError> {
        let form = facts.dispatcher.as_ref().map(|running| &running.form);
        let alone = form == Some(&DispatcherForm::Direct);
        let there = facts.members.iter_mut().filter(|_| alone);
        let mut themselves: Vec<&mut Member> = there.chain(joins).collect();
        let programs: Vec<ProgramId> = themselves.iter().map(|one| one.program.id()).collect();
        let hooks = self.hooks_on(&programs)?;
        for hook in hooks.into_iter().filter(|hook| hook.replaces) {
            let extended = themselves.iter_mut();
            for member in extended.filter(|member| member.program.id() == hook.target) {
                member.facts.extended = Some(hook.clone());
            }
        }
        Ok(())
    }

    /// Whoever is not allowed to list links knows of none.
    fn hooks_on(&mut self, programs: &[ProgramId]) -> Result<Vec<ProgramHook>, ManagerError> {
        match self.kernel.program_hooks(programs) {
            Err(error) if error.kind == KernelErrorKind::Permission => Ok(Vec::new()),
            found => Ok(found?),
        }
    }
}
