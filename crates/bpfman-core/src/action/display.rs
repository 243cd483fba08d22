//! The printed form: one line an action, `subsystem  what it does`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Action;
use super::FileAction;
use super::KernelAction;
use super::Plan;
use super::ProgramSource;
use super::StoreAction;

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(action) => action.fmt(f),
            Self::Files(action) => write!(f, "files   {action}"),
            Self::Store(action) => write!(f, "store   {action}"),
        }
    }
}

impl fmt::Display for KernelAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadObject(load) => {
                let named =
                    |p: &super::ProgramToLoad| alloc::format!("{} ({})", p.name, p.kernel_type);
                let programs: Vec<String> = load.programs.iter().map(named).collect();
                write!(
                    f,
                    "kernel  load {} from {}",
                    programs.join(", "),
                    load.object
                )?;
                for map in &load.reuse_maps {
                    write!(f, ", map {} from {}", map.name, map.path)?;
                }
                match load.globals.len() {
                    0 => Ok(()),
                    count => write!(f, ", {count} global(s) set"),
                }
            }
            Self::Release => write!(f, "kernel  let go of what was loaded"),
            Self::PinProgram { program, path } => {
                write!(f, "bpffs   pin program {program} at {path}")
            }
            Self::UnpinProgram { program, path } => {
                write!(f, "bpffs   unpin program {program} from {path}")
            }
            Self::PinMap { map, path } => write!(f, "bpffs   pin map {map} at {path}"),
            Self::UnpinMap { map, path } => write!(f, "bpffs   unpin map {map} from {path}"),
            Self::WriteMapElement { map, path, .. } => {
                write!(f, "kernel  write an element of map {map} ({path})")
            }
            Self::FillStructOps(fill) => write!(
                f,
                "kernel  fill struct_ops map {} ({}) with {} program(s)",
                fill.map,
                fill.path,
                fill.programs.len()
            ),
            Self::CreateLink(create) => {
                write!(
                    f,
                    "kernel  attach program {} to {}",
                    create.program, create.target
                )
            }
            Self::ReleaseLink { link } => write!(f, "kernel  let go of link {link}"),
            Self::PinLink { link, path } => write!(f, "bpffs   pin link {link} at {path}"),
            Self::UnpinLink { link, path } => write!(f, "bpffs   unpin link {link} from {path}"),
            Self::DetachLink { link, pin: None } => write!(f, "kernel  detach link {link}"),
            Self::DetachLink {
                link,
                pin: Some(path),
            } => write!(f, "kernel  detach link {link} and unpin it from {path}"),
            Self::MakeClsact { interface } => write!(f, "kernel  make clsact of {interface}"),
            Self::RemoveClsact { interface } => write!(f, "kernel  remove clsact of {interface}"),
            Self::AddTcFilter { program, filter } => {
                write!(f, "kernel  attach program {program} as {filter}")
            }
            Self::RemoveTcFilter { program, filter } => {
                write!(f, "kernel  detach program {program} as {filter}")
            }
            Self::MakePinDirectory { path } => write!(f, "bpffs   make directory {path}"),
            Self::RemoveEmptyPinDirectory { path } => {
                write!(f, "bpffs   remove directory {path} if empty")
            }
            Self::MountBpffs { path } => write!(f, "bpffs   mount at {path}"),
            Self::UnmountBpffs { path } => write!(f, "bpffs   unmount {path}"),
        }
    }
}

impl fmt::Display for ProgramSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { program } => program.fmt(f),
            Self::Pinned { program, path } => write!(f, "{program} ({path})"),
        }
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { path } => write!(f, "make directory {path}"),
            Self::RemoveEmptyDirectory { path } => write!(f, "remove directory {path} if empty"),
            Self::WriteObject { path, bytes } => {
                write!(f, "write the object ({bytes} bytes) to {path}")
            }
            Self::Link { from, to } => write!(f, "link {from} as {to}"),
            Self::KeepInstructions { program, path } => {
                write!(f, "keep the instructions of {program} in {path}")
            }
            Self::RemoveFile { path } => write!(f, "remove {path}"),
            Self::RemoveTree { path } => write!(f, "remove directory {path} and its files"),
        }
    }
}

impl fmt::Display for StoreAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordPrograms { programs } => {
                let ids: Vec<String> = programs
                    .iter()
                    .map(|p| alloc::format!("{}", p.program))
                    .collect();
                write!(f, "record program {}", ids.join(", "))
            }
            Self::SaveProgram { program } => write!(f, "record program {}", program.id()),
            Self::DeleteProgram { id } => write!(f, "delete program {id}"),
            Self::RecordLink { link } => write!(f, "record link {}", link.link.id),
            Self::SaveLink { link } => write!(f, "record link {}", link.id),
            Self::DeleteLink { id } => write!(f, "delete link {id}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{}", step.action)?;
        }
        Ok(())
    }
}
