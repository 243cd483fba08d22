//! The kernel: in this process ([`LibbpfKernel`]), or through the `bpfman-kernel` helper ([`HelperKernel`]).

mod errors;
mod helper;
mod info;
mod load;
mod pins;
pub mod protocol;
mod sys;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::KernelAction;
use bpfman_core::action::LoadObject;
use bpfman_core::action::MapReference;
use bpfman_core::action::Outcome;
use bpfman_core::action::PathTemplate;
use bpfman_core::action::ProgramReference;
use bpfman_core::kernel;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PinState;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;

pub use helper::HelperKernel;

use crate::interfaces::Detail;
use crate::interfaces::KernelExecutor;
use crate::interfaces::KernelReader;
use crate::interfaces::KernelSource;
use errors::bad_request;
use errors::refused;

/// The kernel as libbpf reaches it from this process.
#[derive(Debug)]
pub struct LibbpfKernel {
    programs: HashMap<ProgramId, OwnedFd>,
    maps: HashMap<MapId, OwnedFd>,
}

impl Default for LibbpfKernel {
    fn default() -> Self {
        Self::new()
    }
}

/// What a descriptor of the kernel's BPF objects is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObjectKind {
    Program,
    Map,
    Other,
}

fn object_kind(fd: BorrowedFd<'_>) -> ObjectKind {
    // The kernel names the kind of a BPF descriptor nowhere else; bpftool looks here too.
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    match link.ok().as_deref().and_then(std::path::Path::to_str) {
        Some("anon_inode:bpf-prog") => ObjectKind::Program,
        Some("anon_inode:bpf-map") => ObjectKind::Map,
        _ => ObjectKind::Other,
    }
}

fn vanished(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

impl LibbpfKernel {
    /// Takes libbpf's warnings over; touches the kernel only when asked to do something.
    #[must_use]
    pub fn new() -> Self {
        errors::capture_warnings();
        Self {
            programs: HashMap::new(),
            maps: HashMap::new(),
        }
    }

    fn load(&mut self, request: &LoadObject) -> Result<Outcome, KernelError> {
        let loaded = load::load(request)?;
        let ids = loaded.object.programs.iter().map(|p| p.identity.id);
        self.programs.extend(ids.zip(loaded.programs));
        let ids = loaded.object.maps.iter().map(|map| map.id);
        self.maps.extend(ids.zip(loaded.maps));
        Ok(Outcome::Loaded(loaded.object))
    }

    fn unpin_program(
        &mut self,
        id: ProgramId,
        path: &AbsolutePath,
    ) -> Result<Outcome, KernelError> {
        let Some(fd) = open_expected(path, ObjectKind::Program)? else {
            return Ok(Outcome::Unchanged);
        };
        let found = info::program(fd.as_fd(), Detail::Info)
            .map_err(|error| refused(path.as_str(), &error))?;
        if found.identity.id != id {
            let message = format!("{path} pins program {}, not {id}", found.identity.id);
            return Err(KernelError::new(KernelErrorKind::NotOurs, message));
        }
        pins::unlink(path)?;
        self.programs.insert(id, fd);
        Ok(Outcome::Done)
    }

    fn unpin_map(&mut self, id: MapId, path: &AbsolutePath) -> Result<Outcome, KernelError> {
        let Some(fd) = open_expected(path, ObjectKind::Map)? else {
            return Ok(Outcome::Unchanged);
        };
        let found =
            info::map(fd.as_fd(), Detail::Info).map_err(|error| refused(path.as_str(), &error))?;
        if found.id != id {
            let message = format!("{path} pins map {}, not {id}", found.id);
            return Err(KernelError::new(KernelErrorKind::NotOurs, message));
        }
        pins::unlink(path)?;
        self.maps.insert(id, fd);
        Ok(Outcome::Done)
    }
}

/// Opens the pin of a program or map; `None` when nothing is there.
fn open_expected(path: &AbsolutePath, kind: ObjectKind) -> Result<Option<OwnedFd>, KernelError> {
    match fs::symlink_metadata(path.as_str()) {
        Ok(_) => {}
        Err(error) if vanished(&error) => return Ok(None),
        Err(error) => return Err(refused(path.as_str(), &error)),
    }
    match pins::open(path)?.filter(|fd| object_kind(fd.as_fd()) == kind) {
        Some(fd) => Ok(Some(fd)),
        None => {
            let message = format!("{path} is not the pin that was expected there");
            Err(KernelError::new(KernelErrorKind::NotOurs, message))
        }
    }
}

fn known_program(reference: &ProgramReference) -> Result<ProgramId, KernelError> {
    match reference {
        ProgramReference::Known(id) => Ok(*id),
        ProgramReference::Loaded { .. } => Err(bad_request("a program without an id")),
    }
}

fn known_map(reference: &MapReference) -> Result<MapId, KernelError> {
    match reference {
        MapReference::Known(id) => Ok(*id),
        MapReference::Loaded { .. } => Err(bad_request("a map without an id")),
    }
}

fn literal(template: &PathTemplate) -> Result<&AbsolutePath, KernelError> {
    match template {
        PathTemplate::Literal(path) => Ok(path),
        PathTemplate::WithId { .. } => Err(bad_request("a path that is not finished")),
    }
}

impl KernelExecutor for LibbpfKernel {
    fn execute(&mut self, action: &KernelAction) -> Result<Outcome, KernelError> {
        match action {
            KernelAction::LoadObject(request) => self.load(request),
            KernelAction::Release => {
                self.finish();
                Ok(Outcome::Done)
            }
            KernelAction::PinProgram { program, path } => {
                let id = known_program(program)?;
                let held = self.programs.get(&id);
                let fd = held.ok_or_else(|| bad_request(format!("program {id} is not held")))?;
                pins::pin(fd.as_fd(), literal(path)?)
            }
            KernelAction::UnpinProgram { program, path } => {
                self.unpin_program(known_program(program)?, literal(path)?)
            }
            KernelAction::PinMap { map, path } => {
                let id = known_map(map)?;
                let held = self.maps.get(&id);
                let fd = held.ok_or_else(|| bad_request(format!("map {id} is not held")))?;
                pins::pin(fd.as_fd(), literal(path)?)
            }
            KernelAction::UnpinMap { map, path } => self.unpin_map(known_map(map)?, literal(path)?),
            KernelAction::MakePinDirectory { path } => pins::make_directory(literal(path)?),
            KernelAction::RemoveEmptyPinDirectory { path } => {
                pins::remove_empty_directory(literal(path)?)
            }
            KernelAction::MountBpffs { path } => pins::mount(path),
            KernelAction::UnmountBpffs { path } => pins::unmount(path),
        }
    }

    fn finish(&mut self) {
        self.programs.clear();
        self.maps.clear();
    }
}

impl KernelReader for LibbpfKernel {
    fn pin_state(&mut self, path: &AbsolutePath, detail: Detail) -> Result<PinState, KernelError> {
        let failed = |error: io::Error| refused(path.as_str(), &error);
        let here = match fs::symlink_metadata(path.as_str()) {
            Ok(here) => here,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                let ancestor = pins::nearest_directory(path);
                let on_bpffs = pins::on_bpffs(&ancestor)?;
                return Ok(PinState::Free { ancestor, on_bpffs });
            }
            Err(error) => return Err(failed(error)),
        };
        if !here.is_file() || !pins::on_bpffs(path)? {
            return Ok(PinState::Other);
        }
        let Some(fd) = pins::open(path)? else {
            return Ok(PinState::Other);
        };
        Ok(match object_kind(fd.as_fd()) {
            ObjectKind::Program => {
                PinState::Program(info::program(fd.as_fd(), detail).map_err(failed)?)
            }
            ObjectKind::Map => PinState::Map(info::map(fd.as_fd(), detail).map_err(failed)?),
            ObjectKind::Other => PinState::Other,
        })
    }

    fn program(
        &mut self,
        id: ProgramId,
        detail: Detail,
    ) -> Result<Option<kernel::Program>, KernelError> {
        let opened = sys::program_by_id(id.0);
        match opened.and_then(|fd| info::program(fd.as_fd(), detail)) {
            Ok(program) => Ok(Some(program)),
            Err(error) if vanished(&error) => Ok(None),
            Err(error) => Err(refused(&format!("program {id}"), &error)),
        }
    }

    fn map(&mut self, id: MapId) -> Result<Option<kernel::Map>, KernelError> {
        let opened = sys::map_by_id(id.0);
        match opened.and_then(|fd| info::map(fd.as_fd(), Detail::Full)) {
            Ok(map) => Ok(Some(map)),
            Err(error) if vanished(&error) => Ok(None),
            Err(error) => Err(refused(&format!("map {id}"), &error)),
        }
    }

    fn is_bpffs_root(&mut self, path: &AbsolutePath) -> Result<bool, KernelError> {
        pins::is_root(path)
    }
}

impl KernelSource for LibbpfKernel {
    fn programs(&mut self) -> Box<dyn Iterator<Item = Result<kernel::Program, KernelError>> + '_> {
        Box::new(Programs {
            last: Some(0),
            kernel: self,
        })
    }
}

/// Walks the ids; `last` is `None` when there is no way on.
struct Programs<'kernel> {
    last: Option<u32>,
    kernel: &'kernel mut LibbpfKernel,
}

impl Iterator for Programs<'_> {
    type Item = Result<kernel::Program, KernelError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match sys::next_program_id(self.last.take()?) {
                Ok(None) => return None,
                Err(error) => return Some(Err(refused("listing programs", &error))),
                Ok(Some(id)) => {
                    self.last = Some(id);
                    // A program may go between the two calls: that is no error.
                    let found = self.kernel.program(ProgramId(id), Detail::Info).transpose();
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
    }
}
