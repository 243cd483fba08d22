//! The printed form: one line an action, `subsystem  what it does`.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::Action;
use super::CreateLink;
use super::FileAction;
use super::FillStructOps;
use super::KernelAction;
use super::LoadObject;
use super::LoadProgram;
use super::MapEntries;
use super::MapSize;
use super::PinnedProgram;
use super::Plan;
use super::ProgramSource;
use super::ProgramToLoad;
use super::RestoreLink;
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
            Self::LoadObject(load) => load.fmt(f),
            Self::LoadProgram(load) => load.fmt(f),
            Self::LoadDispatcher(load) => write!(f, "kernel  load the {} dispatcher", load.family),
            Self::HoldProgram(PinnedProgram { program, path }) => {
                write!(f, "kernel  hold program {program} ({path})")
            }
            Self::AdoptProgram { program } => write!(f, "kernel  hold program {}", program.id),
            Self::AdoptLink { link, .. } => write!(f, "kernel  hold link {link}"),
            Self::MakeMap(map) => write!(f, "kernel  make map {}", map.name),
            Self::Release => write!(f, "kernel  close loaded objects"),
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
            Self::FillStructOps(fill) => fill.fmt(f),
            Self::CreateLink(CreateLink {
                program, target, ..
            }) => write!(f, "kernel  attach program {program} to {target}"),
            Self::ReleaseLink { link } => write!(f, "kernel  let go of link {link}"),
            Self::PinLink { link, path } => write!(f, "bpffs   pin link {link} at {path}"),
            Self::UnpinLink { link, path } => write!(f, "bpffs   unpin link {link} from {path}"),
            Self::MovePin { link, from, to } => {
                write!(f, "bpffs   move the pin of link {link} from {from} to {to}")
            }
            Self::DetachLink { link, pin: None } => write!(f, "kernel  detach link {link}"),
            Self::DetachLink {
                link,
                pin: Some(path),
            } => write!(f, "kernel  detach link {link} and unpin it from {path}"),
            Self::AwaitLinkGone { link } => write!(f, "kernel  wait until link {link} is gone"),
            Self::RestoreLink(restore) => restore.fmt(f),
            Self::UpdateLink {
                link,
                path,
                from,
                to,
            } => write!(
                f,
                "kernel  swap program {from} of link {link} ({path}) for {to}"
            ),
            Self::ReplaceTcFilter { filter, from, to } => {
                write!(f, "kernel  swap program {from} of {filter} for {to}")
            }
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

impl fmt::Display for FillStructOps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (map, path, count) = (self.map, &self.path, self.programs.len());
        write!(
            f,
            "kernel  fill struct_ops map {map} ({path}) with {count} program(s)"
        )
    }
}

impl fmt::Display for RestoreLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, target, path) = (self.program.program, &self.target, &self.path);
        write!(
            f,
            "kernel  attach program {program} to {target} again, pinned at {path}"
        )
    }
}

impl fmt::Display for LoadObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |p: &ProgramToLoad| format!("{} ({})", p.name, p.kernel_type);
        let programs: Vec<String> = self.programs.iter().map(named).collect();
        let programs = programs.join(", ");
        write!(f, "kernel  load {programs} from {}", self.object)?;
        for program in &self.held_programs {
            write!(f, ", with {} in a program array", program.name)?;
        }
        for map in &self.reuse_maps {
            write!(f, ", map {} from {}", map.name, map.path)?;
        }
        for size in &self.map_sizes {
            size.fmt(f)?;
        }
        match self.globals.len() {
            0 => Ok(()),
            count => write!(f, ", {count} global(s) set"),
        }
    }
}

impl fmt::Display for MapSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", map {} with", self.name)?;
        if let Some(bytes) = self.key_size {
            write!(f, " keys of {bytes} bytes")?;
        }
        if let Some(bytes) = self.value_size {
            write!(f, " values of {bytes} bytes")?;
        }
        match self.max_entries {
            None => Ok(()),
            Some(MapEntries::Number(entries)) => write!(f, " {entries} entries"),
            Some(MapEntries::PossibleProcessors) => write!(f, " an entry for each processor"),
        }
    }
}

impl fmt::Display for LoadProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, programs) = (self.instructions.0.len() / 8, self.programs.len());
        write!(f, "kernel  load {} ({}): ", self.name, self.kernel_type)?;
        write!(f, "{count} instructions of {programs} program(s)")?;
        match &self.replaces {
            Some(slot) => write!(f, ", for {} of {}", slot.function, slot.program),
            None => Ok(()),
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
            Self::KeepRecord { program, path } => {
                write!(f, "keep the record of {} in {path}", program.program)
            }
            Self::SaveRecord { program, path } => {
                write!(f, "keep the record of {} in {path}", program.id())
            }
            Self::RemoveFile { path } => write!(f, "remove {path}"),
            Self::RemoveTree { path } => write!(f, "remove directory {path} and its files"),
        }
    }
}

impl fmt::Display for StoreAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { actions } if actions.is_empty() => {
                f.write_str("commit point: what follows is finished")
            }
            Self::Batch { actions } => {
                let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
                f.write_str(&actions.join(", "))
            }
            Self::RecordPrograms { programs } => {
                let ids: Vec<String> = programs.iter().map(|p| format!("{}", p.program)).collect();
                write!(f, "record program {}", ids.join(", "))
            }
            Self::SaveProgram { program } => write!(f, "record program {}", program.id()),
            Self::DeleteProgram { program } => write!(f, "delete program {program}"),
            Self::RecordLink { link } => write!(f, "record link {}", link.link.id),
            Self::SaveLink { link } => write!(f, "record link {}", link.id),
            Self::DeleteLink { id } => write!(f, "delete link {id}"),
            Self::RecordDispatcher { dispatcher } => {
                write!(f, "record attach point {}", dispatcher.dispatcher.point())
            }
            Self::SaveDispatcher { dispatcher } => {
                write!(f, "record attach point {}", dispatcher.point())
            }
            Self::DeleteDispatcher { point } => write!(f, "delete attach point {point}"),
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
