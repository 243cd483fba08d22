//! The kernel: in this process ([`LibbpfKernel`]), or through the `bpfman-kernel` helper ([`HelperKernel`]).

mod capabilities;
mod causes;
mod dispatcher;
mod errors;
mod features;
mod filter;
mod helper;
mod info;
mod instructions;
mod link;
mod load;
mod map;
mod map_sizes;
mod mount;
mod namespace;
mod pins;
mod probe;
mod program;
mod program_hooks;
pub mod protocol;
mod qdisc;
mod slots;
mod struct_ops;
mod swap;
mod sys;

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::CreateLink;
use bpfman_core::action::CreatedLink;
use bpfman_core::action::KernelAction;
use bpfman_core::action::LinkReference;
use bpfman_core::action::LoadObject;
use bpfman_core::action::LoadedObject;
use bpfman_core::action::LoadedProgram;
use bpfman_core::action::MakeMap;
use bpfman_core::action::MapReference;
use bpfman_core::action::Outcome;
use bpfman_core::action::PathTemplate;
use bpfman_core::action::PinnedProgram;
use bpfman_core::action::ProgramReference;
use bpfman_core::action::ProgramSource;
use bpfman_core::action::RestoreLink;
use bpfman_core::kernel;
use bpfman_core::kernel::AttachOrder;
use bpfman_core::kernel::BpffsMount;
use bpfman_core::kernel::Counter;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PinState;
use bpfman_core::kernel::ProgramHook;
use bpfman_core::kernel::ProgramIdentity;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;

pub(crate) use capabilities::permission_facts;
pub use features::Feature;
pub(crate) use features::features;
pub use helper::HelperKernel;
pub(crate) use sys::own_network_namespace;
pub(crate) use sys::read_gzip;

use crate::interfaces::Detail;
use crate::interfaces::KernelExecutor;
use crate::interfaces::KernelReader;
use crate::interfaces::KernelSource;
use errors::bad_request;
use errors::refused;
use swap::Swap;

/// The programs that a plan holds.
type HeldPrograms = HashMap<ProgramId, OwnedFd>;

/// The kernel as libbpf reaches it from this process.
#[derive(Debug)]
pub struct LibbpfKernel {
    programs: HeldPrograms,
    maps: HashMap<MapId, OwnedFd>,
    links: HashMap<KernelLinkId, OwnedFd>,
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
    Link,
    Other,
}

/// A program or a link says by itself what it is, since Linux 5.10 and 5.7; `/proc` needs eight times as long.
fn object_kind(fd: BorrowedFd<'_>) -> ObjectKind {
    if sys::is_program(fd) {
        ObjectKind::Program
    } else if sys::is_link(fd) {
        ObjectKind::Link
    } else {
        named_kind(fd)
    }
}

fn named_kind(fd: BorrowedFd<'_>) -> ObjectKind {
    // The kernel names the kind of a BPF descriptor nowhere else; bpftool looks here too.
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let Ok(link) = link else {
        // Where no `/proc` is mounted, only a map gets past the first check of a command for maps.
        return match sys::is_map(fd) {
            true => ObjectKind::Map,
            false => ObjectKind::Other,
        };
    };
    match link.to_str() {
        Some("anon_inode:bpf-prog") => ObjectKind::Program,
        Some("anon_inode:bpf-map") => ObjectKind::Map,
        // Newer kernels write `bpf_link`, with an underscore.
        Some("anon_inode:bpf-link" | "anon_inode:bpf_link") => ObjectKind::Link,
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
            links: HashMap::new(),
        }
    }

    fn load(&mut self, request: &LoadObject) -> Result<Outcome, KernelError> {
        let loaded = load::load(request, &self.programs)?;
        let ids = loaded.object.programs.iter().map(|p| p.identity.id);
        self.programs.extend(ids.zip(loaded.programs));
        let ids = loaded.object.maps.iter().map(|map| map.id);
        self.maps.extend(ids.zip(loaded.maps));
        Ok(Outcome::Loaded(loaded.object))
    }

    /// Takes in a program that was loaded by itself.
    fn hold_loaded(
        &mut self,
        loaded: Result<(LoadedProgram, OwnedFd), KernelError>,
    ) -> Result<Outcome, KernelError> {
        let (program, fd) = loaded?;
        self.programs.insert(program.identity.id, fd);
        Ok(Outcome::Loaded(LoadedObject {
            programs: vec![program],
            maps: Vec::new(),
        }))
    }

    fn hold_pinned(&mut self, pinned: &PinnedProgram) -> Result<Outcome, KernelError> {
        let fd = open_program(pinned.program, &pinned.path)?;
        self.programs.insert(pinned.program, fd);
        Ok(Outcome::Done)
    }

    fn adopt_program(&mut self, program: ProgramIdentity) -> Result<Outcome, KernelError> {
        let id = program.id;
        let failed = |error: io::Error| refused(&format!("program {id}"), &error);
        let fd = sys::program_by_id(id.0).map_err(failed)?;
        let found = info::program(fd.as_fd(), Detail::Info).map_err(failed)?;
        if found.identity != program {
            let message = format!("program {id} is another one now");
            return Err(KernelError::new(KernelErrorKind::NotOurs, message));
        }
        self.programs.insert(id, fd);
        Ok(Outcome::Done)
    }

    fn adopt_link(&mut self, id: KernelLinkId, program: ProgramId) -> Result<Outcome, KernelError> {
        let failed = |error: io::Error| refused(&format!("link {id}"), &error);
        let fd = sys::link_by_id(id.0).map_err(failed)?;
        let found = link::info(fd.as_fd()).map_err(failed)?;
        if found.program != program {
            let message = format!("link {id} has program {} now, not {program}", found.program);
            return Err(KernelError::new(KernelErrorKind::NotOurs, message));
        }
        self.links.insert(id, fd);
        Ok(Outcome::Done)
    }

    fn make_map(&mut self, request: &MakeMap) -> Result<Outcome, KernelError> {
        let (map, fd) = map::make(request)?;
        self.maps.insert(map.id, fd);
        Ok(Outcome::Loaded(LoadedObject {
            programs: Vec::new(),
            maps: vec![map],
        }))
    }

    fn pin_program(&self, id: ProgramId, path: &AbsolutePath) -> Result<Outcome, KernelError> {
        match held(&self.programs, id) {
            Ok(fd) => pins::pin(fd, path),
            // Who brings an interrupted plan to its end may find that it is done.
            Err(unheld) => match find_program(id, path)? {
                Some(_) => Ok(Outcome::Unchanged),
                None => Err(unheld),
            },
        }
    }

    fn pin_map(&self, id: MapId, path: &AbsolutePath) -> Result<Outcome, KernelError> {
        let fd = self.maps.get(&id);
        let fd = fd.ok_or_else(|| bad_request(format!("map {id} is not held")))?;
        pins::pin(fd.as_fd(), path)
    }

    fn update_link(&mut self, of: Swap<'_>, to: &ProgramSource) -> Result<Outcome, KernelError> {
        let old = self.with_program(to, |to| swap::swap(of, to))?;
        // The undo must be able to put it back, and the link was perhaps its only holder.
        self.programs.insert(of.from, old);
        Ok(Outcome::Done)
    }

    fn replace_tc_filter(
        &mut self,
        filter: &TcFilter,
        from: ProgramId,
        to: &ProgramSource,
    ) -> Result<Outcome, KernelError> {
        let old = self.with_program(to, |to| filter::replace(filter, from, to))?;
        // As for a link.
        self.programs.insert(from, old);
        Ok(Outcome::Done)
    }

    fn remove_tc_filter(
        &mut self,
        id: ProgramId,
        filter: &TcFilter,
    ) -> Result<Outcome, KernelError> {
        let Some(program) = filter::remove(id, filter)? else {
            return Ok(Outcome::Unchanged);
        };
        // As for a link.
        self.programs.insert(id, program);
        Ok(Outcome::Done)
    }

    fn unpin_program(
        &mut self,
        id: ProgramId,
        path: &AbsolutePath,
    ) -> Result<Outcome, KernelError> {
        let Some(fd) = find_program(id, path)? else {
            return Ok(Outcome::Unchanged);
        };
        pins::unlink(path)?;
        self.programs.insert(id, fd);
        Ok(Outcome::Done)
    }

    fn unpin_map(&mut self, id: MapId, path: &AbsolutePath) -> Result<Outcome, KernelError> {
        let Some(fd) = find_map(id, path)? else {
            return Ok(Outcome::Unchanged);
        };
        pins::unlink(path)?;
        self.maps.insert(id, fd);
        Ok(Outcome::Done)
    }

    fn with_program<T>(
        &self,
        source: &ProgramSource,
        call: impl FnOnce(BorrowedFd<'_>) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        match source {
            ProgramSource::Held { program } => call(held(&self.programs, known_program(program)?)?),
            ProgramSource::Pinned { program, path } => call(open_program(*program, path)?.as_fd()),
        }
    }

    fn create_link(&mut self, create: &CreateLink) -> Result<Outcome, KernelError> {
        let fd = self.with_program(&create.program, |program| {
            link::create(program, &create.target, &self.programs)
        })?;
        let made = link::info(fd.as_fd()).map_err(|error| refused("the new link", &error))?;
        self.links.insert(made.id, fd);
        Ok(Outcome::Linked(CreatedLink {
            link: create.link,
            id: made.id,
        }))
    }

    /// Nothing is held: the pin keeps the link.
    fn restore_link(&mut self, restore: &RestoreLink) -> Result<Outcome, KernelError> {
        let RestoreLink {
            program,
            target,
            path,
        } = restore;
        match self.pin_state(path, Detail::Info)? {
            PinState::Link(found) if found.program == program.program => Ok(Outcome::Unchanged),
            PinState::Free { .. } => {
                let source = open_program(program.program, &program.path)?;
                let fd = link::create(source.as_fd(), target, &self.programs)?;
                pins::pin(fd.as_fd(), path)
            }
            _ => {
                let message = format!("{path} now holds something else");
                Err(KernelError::new(KernelErrorKind::NotOurs, message))
            }
        }
    }

    fn pin_link(&self, id: KernelLinkId, path: &AbsolutePath) -> Result<Outcome, KernelError> {
        let fd = self.links.get(&id).ok_or_else(|| link::unheld(id))?;
        pins::pin(fd.as_fd(), path)
    }

    fn unpin_link(
        &mut self,
        id: KernelLinkId,
        path: &AbsolutePath,
    ) -> Result<Outcome, KernelError> {
        let Some(fd) = find_link(id, path)? else {
            return Ok(Outcome::Unchanged);
        };
        pins::unlink(path)?;
        self.links.insert(id, fd);
        Ok(Outcome::Done)
    }
}

/// The program that is held under an id.
fn held(programs: &HeldPrograms, id: ProgramId) -> Result<BorrowedFd<'_>, KernelError> {
    let fd = programs.get(&id).map(AsFd::as_fd);
    fd.ok_or_else(|| bad_request(format!("program {id} is not held")))
}

/// Refuses a name that the kernel would cut, or call invalid.
fn check_name(name: &str) -> Result<(), KernelError> {
    /// `BPF_OBJ_NAME_LEN` of `linux/bpf.h` without the NUL.
    const LONGEST: usize = 15;
    // As `bpf_obj_name_cpy` of the kernel has it.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    if (1..=LONGEST).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(bad_request(format!(
        "`{}` cannot be a name in the kernel: 1 to {LONGEST} letters, digits, dots and underscores can",
        name.escape_debug()
    )))
}

/// Opens the pin of a link, after checking which it is; `None` when nothing is there.
fn find_link(id: KernelLinkId, path: &AbsolutePath) -> Result<Option<OwnedFd>, KernelError> {
    find(path, ObjectKind::Link, "link", id, |fd| {
        Ok(link::info(fd)?.id)
    })
}

/// The same for a program.
fn find_program(id: ProgramId, path: &AbsolutePath) -> Result<Option<OwnedFd>, KernelError> {
    find(path, ObjectKind::Program, "program", id, |fd| {
        Ok(info::program(fd, Detail::Info)?.identity.id)
    })
}

/// The same for a map.
fn find_map(id: MapId, path: &AbsolutePath) -> Result<Option<OwnedFd>, KernelError> {
    find(path, ObjectKind::Map, "map", id, |fd| {
        Ok(info::map(fd, Detail::Info)?.id)
    })
}

fn find<Id: Copy + Display + PartialEq>(
    path: &AbsolutePath,
    kind: ObjectKind,
    noun: &str,
    id: Id,
    id_of: impl FnOnce(BorrowedFd<'_>) -> io::Result<Id>,
) -> Result<Option<OwnedFd>, KernelError> {
    let Some(fd) = open_expected(path, kind)? else {
        return Ok(None);
    };
    let found = id_of(fd.as_fd()).map_err(|error| refused(path.as_str(), &error))?;
    if found != id {
        let message = format!("{path} pins {noun} {found}, not {id}");
        return Err(KernelError::new(KernelErrorKind::NotOurs, message));
    }
    Ok(Some(fd))
}

fn move_pin(
    id: KernelLinkId,
    from: &AbsolutePath,
    to: &AbsolutePath,
) -> Result<Outcome, KernelError> {
    match find_link(id, from)? {
        Some(_) => pins::rename(from, to),
        None => Ok(Outcome::Unchanged),
    }
}

/// What has to be at its pin and is not.
fn lost(noun: &str, id: impl Display, path: &AbsolutePath) -> KernelError {
    let message = format!("{noun} {id} has lost its pin {path}");
    KernelError::new(KernelErrorKind::NotFound, message)
}

/// Detaches a link and removes its pin.
fn detach_link(id: KernelLinkId, pin: Option<&AbsolutePath>) -> Result<Outcome, KernelError> {
    let opened = match pin {
        Some(path) => find_link(id, path)?,
        None => match sys::link_by_id(id.0) {
            Ok(opened) => Some(opened),
            Err(error) if vanished(&error) => None,
            Err(error) => return Err(refused(&format!("link {id}"), &error)),
        },
    };
    let Some(fd) = opened else {
        return Ok(Outcome::Unchanged);
    };
    let kind = link::info(fd.as_fd())
        .map_err(|error| refused(&format!("link {id}"), &error))?
        .link_type;
    let detached = link::detach(fd.as_fd())?;
    // Who lets go last sees the link's end through, which tells us that its program no longer runs. For a perf event it
    // takes an RCU grace period, tens of milliseconds for each: there the kernel shall be the last. Its program is off
    // at once, and only the rest of the event is in the way.
    let ours = (!kind.ends_slowly()).then_some(fd);
    if let Some(path) = pin {
        pins::unlink(path)?;
    }
    drop(ours);
    Ok(match detached {
        true => Outcome::Done,
        false => Outcome::LetGo { link: id },
    })
}

/// Opens the pin of a program, which must be there.
fn open_program(id: ProgramId, path: &AbsolutePath) -> Result<OwnedFd, KernelError> {
    find_program(id, path)?.ok_or_else(|| lost("program", id, path))
}

/// Opens the pin of a map, which must be there.
fn open_map(id: MapId, path: &AbsolutePath) -> Result<OwnedFd, KernelError> {
    find_map(id, path)?.ok_or_else(|| lost("map", id, path))
}

fn write_element(
    id: MapId,
    path: &AbsolutePath,
    key: &[u8],
    value: &[u8],
) -> Result<Outcome, KernelError> {
    let fd = open_map(id, path)?;
    sys::write_element(fd.as_fd(), key, value).map_err(|error| refused(path.as_str(), &error))?;
    Ok(Outcome::Done)
}

fn known_link(reference: LinkReference) -> Result<KernelLinkId, KernelError> {
    match reference {
        LinkReference::Known(id) => Ok(id),
        LinkReference::Made { .. } => Err(bad_request("a link without a kernel id")),
    }
}

/// Opens the pin of a program, map or link; `None` when nothing is there.
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
            KernelAction::LoadProgram(request) => {
                self.hold_loaded(program::load(request, &self.programs))
            }
            KernelAction::LoadDispatcher(request) => self.hold_loaded(slots::load(request)),
            KernelAction::AdoptProgram { program } => self.adopt_program(*program),
            KernelAction::AdoptLink { link, program } => self.adopt_link(*link, *program),
            KernelAction::MakeMap(request) => self.make_map(request),
            KernelAction::HoldProgram(pinned) => self.hold_pinned(pinned),
            KernelAction::Release => {
                self.finish();
                Ok(Outcome::Done)
            }
            KernelAction::PinProgram { program, path } => {
                self.pin_program(known_program(program)?, literal(path)?)
            }
            KernelAction::UnpinProgram { program, path } => {
                self.unpin_program(known_program(program)?, literal(path)?)
            }
            KernelAction::PinMap { map, path } => self.pin_map(known_map(map)?, literal(path)?),
            KernelAction::UnpinMap { map, path } => self.unpin_map(known_map(map)?, literal(path)?),
            KernelAction::WriteMapElement {
                map,
                path,
                key,
                value,
            } => write_element(*map, path, &key.0, &value.0),
            KernelAction::FillStructOps(fill) => struct_ops::fill(fill),
            KernelAction::CreateLink(create) => self.create_link(create),
            KernelAction::ReleaseLink { link } => {
                self.links.remove(&known_link(*link)?);
                Ok(Outcome::Done)
            }
            KernelAction::PinLink { link, path } => self.pin_link(known_link(*link)?, path),
            KernelAction::UnpinLink { link, path } => self.unpin_link(known_link(*link)?, path),
            KernelAction::MovePin { link, from, to } => move_pin(*link, from, to),
            KernelAction::DetachLink { link, pin } => detach_link(*link, pin.as_ref()),
            KernelAction::AwaitLinkGone { link } => {
                link::await_gone(&[*link]).map(|_| Outcome::Unchanged)
            }
            KernelAction::RestoreLink(restore) => self.restore_link(restore),
            KernelAction::UpdateLink {
                link,
                path,
                from,
                to,
            } => {
                let (link, from) = (known_link(*link)?, known_program(from)?);
                self.update_link(Swap { link, path, from }, to)
            }
            KernelAction::MakeClsact { interface } => filter::make_clsact(interface),
            KernelAction::RemoveClsact { interface } => filter::remove_clsact(interface),
            KernelAction::AddTcFilter { program, filter } => {
                self.with_program(program, |program| filter::add(program, filter))
            }
            KernelAction::ReplaceTcFilter { filter, from, to } => {
                self.replace_tc_filter(filter, known_program(from)?, to)
            }
            KernelAction::RemoveTcFilter { program, filter } => {
                self.remove_tc_filter(known_program(program)?, filter)
            }
            KernelAction::MakePinDirectory { path } => pins::make_directory(literal(path)?),
            KernelAction::RemoveEmptyPinDirectory { path } => {
                pins::remove_empty_directory(literal(path)?)
            }
            KernelAction::MountBpffs { path } => mount::mount(path),
            KernelAction::UnmountBpffs { path } => mount::unmount(path),
        }
    }

    fn finish(&mut self) {
        self.programs.clear();
        self.maps.clear();
        self.links.clear();
    }
}

/// What a file holds; `NotFound` when it has gone.
fn pinned(path: &AbsolutePath, detail: Detail) -> Result<PinState, KernelError> {
    let failed = |error: io::Error| refused(path.as_str(), &error);
    let fd = match pins::open(path) {
        Ok(Some(fd)) => fd,
        // Only what is on a bpffs can be opened as a pin.
        Err(error) if pins::on_bpffs(path)? => return Err(error),
        Ok(None) | Err(_) => {
            return match fs::symlink_metadata(path.as_str()) {
                Err(error) if vanished(&error) => free(path),
                _ => Ok(PinState::Other),
            };
        }
    };
    Ok(match object_kind(fd.as_fd()) {
        ObjectKind::Program => {
            PinState::Program(info::program(fd.as_fd(), detail).map_err(failed)?)
        }
        ObjectKind::Map => PinState::Map(info::map(fd.as_fd(), detail).map_err(failed)?),
        ObjectKind::Link => PinState::Link(link::info(fd.as_fd()).map_err(failed)?),
        ObjectKind::Other => PinState::Other,
    })
}

/// A path at which nothing is.
fn free(path: &AbsolutePath) -> Result<PinState, KernelError> {
    let ancestor = pins::nearest_directory(path);
    let on_bpffs = pins::on_bpffs(&ancestor)?;
    Ok(PinState::Free { ancestor, on_bpffs })
}

impl KernelReader for LibbpfKernel {
    fn pin_state(&mut self, path: &AbsolutePath, detail: Detail) -> Result<PinState, KernelError> {
        match fs::symlink_metadata(path.as_str()) {
            Ok(here) if here.is_file() => match pinned(path, detail) {
                // Another process may unpin it while we look.
                Err(error) if error.kind == KernelErrorKind::NotFound => free(path),
                state => state,
            },
            Ok(_) => Ok(PinState::Other),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                free(path)
            }
            Err(error) => Err(refused(path.as_str(), &error)),
        }
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

    fn types(&mut self, btf_id: u32) -> Result<Option<Vec<u8>>, KernelError> {
        match sys::types_bytes(btf_id) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if vanished(&error) => Ok(None),
            Err(error) => Err(refused(&format!("BTF {btf_id}"), &error)),
        }
    }

    fn link(&mut self, id: KernelLinkId) -> Result<Option<kernel::Link>, KernelError> {
        match sys::link_by_id(id.0).and_then(|fd| link::info(fd.as_fd())) {
            Ok(link) => Ok(Some(link)),
            Err(error) if vanished(&error) => Ok(None),
            Err(error) => Err(refused(&format!("link {id}"), &error)),
        }
    }

    fn program_hooks(&mut self, programs: &[ProgramId]) -> Result<Vec<ProgramHook>, KernelError> {
        program_hooks::all(programs)
    }

    fn cgroup_programs(
        &mut self,
        cgroup: &AbsolutePath,
        attach_type: u32,
    ) -> Result<Vec<ProgramId>, KernelError> {
        let found = fs::File::open(cgroup.as_str())
            .and_then(|directory| sys::cgroup_programs(directory.as_fd(), attach_type));
        let (_, programs) = found.map_err(|error| {
            let mut refusal = refused(&format!("querying the programs of cgroup {cgroup}"), &error);
            if link::is_invalid(&error) {
                refusal.kind = KernelErrorKind::Unsupported;
            }
            refusal
        })?;
        Ok(programs.into_iter().map(ProgramId).collect())
    }

    fn attached(
        &mut self,
        interface: &InterfaceTarget,
        hook: Hook,
    ) -> Result<AttachOrder, KernelError> {
        link::attached(interface, hook)
    }

    fn tc_filter(&mut self, filter: &TcFilter) -> Result<Option<ProgramId>, KernelError> {
        filter::program_of(filter)
    }

    fn await_links_gone(
        &mut self,
        links: &[KernelLinkId],
    ) -> Result<Vec<KernelLinkId>, KernelError> {
        link::await_gone(links)
    }

    fn counter(&mut self, path: &AbsolutePath) -> Result<Option<Counter>, KernelError> {
        map::counter(path)
    }

    fn pins_below(
        &mut self,
        path: &AbsolutePath,
    ) -> Result<Vec<(AbsolutePath, PinState)>, KernelError> {
        let mut found = Vec::new();
        for path in pins::below(path)? {
            match self.pin_state(&path, Detail::Info)? {
                // Somebody took it away while we looked.
                PinState::Free { .. } => {}
                state => found.push((path, state)),
            }
        }
        Ok(found)
    }

    fn is_bpffs_root(&mut self, path: &AbsolutePath) -> Result<bool, KernelError> {
        pins::is_root(path)
    }

    fn bpffs_mount(&mut self, path: &AbsolutePath) -> Result<BpffsMount, KernelError> {
        mount::state(path)
    }
}

impl KernelSource for LibbpfKernel {
    fn programs(&mut self) -> Box<dyn Iterator<Item = Result<kernel::Program, KernelError>> + '_> {
        Box::new(Programs {
            last: Some(0),
            kernel: self,
        })
    }

    fn links(&mut self) -> Result<Vec<kernel::Link>, KernelError> {
        let mut found = Vec::new();
        let mut last = 0;
        let next = |last| sys::next_link_id(last).map_err(|error| refused("listing links", &error));
        while let Some(id) = next(last)? {
            last = id;
            // As for a program.
            found.extend(self.link(KernelLinkId(id))?);
        }
        Ok(found)
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
