//! What is attached to programs themselves: extensions, and programs that observe (fentry, fexit).

use std::io;
use std::os::fd::AsFd;

use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::ProgramHook;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::ProgramId;

use super::errors::refused;
use super::link;
use super::sys;
use super::vanished;

/// `BPF_LINK_TYPE_TRACING` of `linux/bpf.h`, that of extensions, too.
const TRACING: u32 = 2;

/// What is attached to these programs, in the order of the links.
pub(super) fn all(programs: &[ProgramId]) -> Result<Vec<ProgramHook>, KernelError> {
    let mut found = Vec::new();
    let mut last = 0;
    while !programs.is_empty() {
        let next = sys::next_link_id(last);
        let next = next.map_err(|error| refused("listing links", &error))?;
        let Some(id) = next else {
            break;
        };
        last = id;
        match hook(id, programs) {
            Ok(hook) => found.extend(hook),
            // It went while we looked.
            Err(error) if vanished(&error) => {}
            Err(error) => return Err(refused(&format!("link {id}"), &error)),
        }
    }
    Ok(found)
}

fn hook(id: u32, programs: &[ProgramId]) -> io::Result<Option<ProgramHook>> {
    let link = link::info(sys::link_by_id(id)?.as_fd())?;
    let target = ProgramId(link.facts.target_obj_id);
    if link.link_type.0 != TRACING || !programs.contains(&target) {
        return Ok(None);
    }
    let program = sys::program_by_id(link.program.0)?;
    let (program, _) = sys::program_info(program.as_fd())?;
    // The number of a target is that of a program or of the types of kernel or module. Of the latter those are the very
    // types that the program is bound to, which for a program are its own. Before Linux 5.17 the kernel does not say.
    let bound_to = program.attach_btf_obj_id;
    if bound_to != 0 {
        let target = sys::program_by_id(target.0)?;
        let (target, _) = sys::program_info(target.as_fd())?;
        if bound_to != target.btf_id {
            return Ok(None);
        }
    }
    Ok(Some(ProgramHook {
        target,
        link: KernelLinkId(id),
        program: link.program,
        name: sys::kernel_name(&program.name),
        replaces: KernelProgramType(program.type_) == KernelProgramType::EXTENSION,
    }))
}
