//! The kernel through a `bpfman-kernel` process.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use bpfman_core::action::KernelAction;
use bpfman_core::action::Outcome;
use bpfman_core::kernel;
use bpfman_core::kernel::AttachOrder;
use bpfman_core::kernel::BpffsMount;
use bpfman_core::kernel::Counter;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PinState;
use bpfman_core::kernel::ProgramHook;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Base64Bytes;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use command_fds::CommandFdExt;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::protocol::Query;
use crate::interfaces::Detail;
use crate::interfaces::KernelExecutor;
use crate::interfaces::KernelReader;
use crate::interfaces::KernelSource;

/// The longest answer: a full verifier log, every byte of it escaped, fits.
const MAX_ANSWER_BYTES: u64 = 128 << 20;

/// The way to a helper, which is started when it is first asked something and again when it has died. What a plan holds,
/// it holds; dropping this ends it.
///
/// It inherits the writer's lock: who is the writer next finds everything done that it began.
#[derive(Debug)]
pub struct HelperKernel {
    path: PathBuf,
    running: Option<Running>,
    lock: Option<OwnedFd>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

fn failed(message: String) -> KernelError {
    KernelError::new(KernelErrorKind::Helper, message)
}

impl Running {
    fn start(path: &Path, lock: Option<&OwnedFd>) -> Result<Self, KernelError> {
        let cannot =
            |why: &str| failed(format!("the helper {} cannot start: {why}", path.display()));
        let inherited = lock.map(OwnedFd::try_clone).transpose();
        let inherited = inherited.map_err(|error| cannot(&error.to_string()))?;
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .preserved_fds(inherited.into_iter().collect())
            .spawn()
            .map_err(|error| cannot(&error.to_string()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(cannot("it has no input and output"));
        };
        Ok(Self {
            child,
            requests,
            answers: BufReader::new(answers),
        })
    }

    fn exchange(&mut self, mut line: Vec<u8>) -> Result<Vec<u8>, KernelError> {
        let lost = |what: &str, why: String| failed(format!("the helper {what}: {why}"));
        line.push(b'\n');
        self.requests
            .write_all(&line)
            .and_then(|()| self.requests.flush())
            .map_err(|error| lost("takes no requests", error.to_string()))?;
        line.clear();
        let mut limited = self.answers.by_ref().take(MAX_ANSWER_BYTES);
        limited
            .read_until(b'\n', &mut line)
            .map_err(|error| lost("does not answer", error.to_string()))?;
        if line.pop() == Some(b'\n') {
            return Ok(line);
        }
        let why = match self.child.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            _ => "it closed its output or answered too much".to_owned(),
        };
        Err(lost("gave no whole answer", why))
    }

    /// The end of its input ends it, when it has done what it is at.
    fn end(self) {
        let Self {
            mut child,
            requests,
            answers,
        } = self;
        drop((requests, answers));
        let _ = child.wait();
    }
}

impl HelperKernel {
    /// A helper at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            running: None,
            lock: None,
        }
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }

    /// Sends a request and reads the fields of its answer.
    fn ask<T: DeserializeOwned>(&mut self, request: &impl Serialize) -> Result<T, KernelError> {
        let wrong = |error: serde_json::Error| failed(format!("the helper's answer: {error}"));
        let line = self.exchange(request)?;
        let value: Value = serde_json::from_slice(&line).map_err(wrong)?;
        if value.get("ok").and_then(Value::as_bool) == Some(true) {
            return T::deserialize(value).map_err(wrong);
        }
        let refusal = Refusal::deserialize(value).map_err(wrong)?;
        Err(refusal.error)
    }

    fn exchange(&mut self, request: &impl Serialize) -> Result<Vec<u8>, KernelError> {
        let line = serde_json::to_vec(request)
            .map_err(|error| failed(format!("the helper cannot be asked: {error}")))?;
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running::start(&self.path, self.lock.as_ref())?,
        };
        match running.exchange(line) {
            Ok(answer) => {
                self.running = Some(running);
                Ok(answer)
            }
            Err(error) => {
                // Whatever it is at, it comes to an end before somebody else begins.
                running.end();
                Err(error)
            }
        }
    }
}

impl Drop for HelperKernel {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: KernelError,
}

#[derive(Deserialize)]
struct Programs {
    programs: Vec<kernel::Program>,
    errors: Vec<KernelError>,
}

#[derive(Deserialize)]
struct State {
    state: PinState,
}

#[derive(Deserialize)]
struct Program {
    program: Option<kernel::Program>,
}

#[derive(Deserialize)]
struct Map {
    map: Option<kernel::Map>,
}

#[derive(Deserialize)]
struct Types {
    types: Option<Base64Bytes>,
}

#[derive(Deserialize)]
struct Links {
    links: Vec<kernel::Link>,
}

#[derive(Deserialize)]
struct Link {
    link: Option<kernel::Link>,
}

#[derive(Deserialize)]
struct Attached {
    attached: AttachOrder,
}

#[derive(Deserialize)]
struct FilterProgram {
    program: Option<ProgramId>,
}

#[derive(Deserialize)]
struct Counted {
    counter: Option<Counter>,
}

#[derive(Deserialize)]
struct ProgramIds {
    programs: Vec<ProgramId>,
}

#[derive(Deserialize)]
struct Hooks {
    hooks: Vec<ProgramHook>,
}

#[derive(Deserialize)]
struct Left {
    left: Vec<KernelLinkId>,
}

#[derive(Deserialize)]
struct Pins {
    pins: Vec<(AbsolutePath, PinState)>,
}

#[derive(Deserialize)]
struct Root {
    is_bpffs_root: bool,
}

#[derive(Deserialize)]
struct Mount {
    mount: BpffsMount,
}

impl KernelSource for HelperKernel {
    fn programs(&mut self) -> Box<dyn Iterator<Item = Result<kernel::Program, KernelError>> + '_> {
        match self.ask::<Programs>(&Query::Programs) {
            Ok(all) => {
                let errors = all.errors.into_iter().map(Err);
                Box::new(all.programs.into_iter().map(Ok).chain(errors))
            }
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn links(&mut self) -> Result<Vec<kernel::Link>, KernelError> {
        Ok(self.ask::<Links>(&Query::Links)?.links)
    }
}

impl KernelReader for HelperKernel {
    fn pin_state(&mut self, path: &AbsolutePath, detail: Detail) -> Result<PinState, KernelError> {
        let path = path.clone();
        let answer: State = self.ask(&Query::PinState { path, detail })?;
        Ok(answer.state)
    }

    fn program(
        &mut self,
        id: ProgramId,
        detail: Detail,
    ) -> Result<Option<kernel::Program>, KernelError> {
        let answer: Program = self.ask(&Query::Program { id, detail })?;
        Ok(answer.program)
    }

    fn map(&mut self, id: MapId) -> Result<Option<kernel::Map>, KernelError> {
        let answer: Map = self.ask(&Query::Map { id })?;
        Ok(answer.map)
    }

    fn types(&mut self, btf_id: u32) -> Result<Option<Vec<u8>>, KernelError> {
        let answer: Types = self.ask(&Query::Types { btf_id })?;
        Ok(answer.types.map(|types| types.0))
    }

    fn link(&mut self, id: KernelLinkId) -> Result<Option<kernel::Link>, KernelError> {
        Ok(self.ask::<Link>(&Query::Link { id })?.link)
    }

    fn program_hooks(&mut self, programs: &[ProgramId]) -> Result<Vec<ProgramHook>, KernelError> {
        let programs = programs.to_vec();
        Ok(self.ask::<Hooks>(&Query::ProgramHooks { programs })?.hooks)
    }

    fn cgroup_programs(
        &mut self,
        cgroup: &AbsolutePath,
        attach_type: u32,
    ) -> Result<Vec<ProgramId>, KernelError> {
        let cgroup = cgroup.clone();
        let query = Query::CgroupPrograms {
            cgroup,
            attach_type,
        };
        Ok(self.ask::<ProgramIds>(&query)?.programs)
    }

    fn attached(
        &mut self,
        interface: &InterfaceTarget,
        hook: Hook,
    ) -> Result<AttachOrder, KernelError> {
        let interface = interface.clone();
        let query = Query::Attached { interface, hook };
        Ok(self.ask::<Attached>(&query)?.attached)
    }

    fn tc_filter(&mut self, filter: &TcFilter) -> Result<Option<ProgramId>, KernelError> {
        let filter = filter.clone();
        Ok(self
            .ask::<FilterProgram>(&Query::TcFilter { filter })?
            .program)
    }

    fn counter(&mut self, path: &AbsolutePath) -> Result<Option<Counter>, KernelError> {
        let path = path.clone();
        Ok(self.ask::<Counted>(&Query::Counter { path })?.counter)
    }

    fn await_links_gone(
        &mut self,
        links: &[KernelLinkId],
    ) -> Result<Vec<KernelLinkId>, KernelError> {
        let links = links.to_vec();
        Ok(self.ask::<Left>(&Query::AwaitLinksGone { links })?.left)
    }

    fn pins_below(
        &mut self,
        path: &AbsolutePath,
    ) -> Result<Vec<(AbsolutePath, PinState)>, KernelError> {
        let path = path.clone();
        Ok(self.ask::<Pins>(&Query::PinsBelow { path })?.pins)
    }

    fn is_bpffs_root(&mut self, path: &AbsolutePath) -> Result<bool, KernelError> {
        let answer: Root = self.ask(&Query::IsBpffsRoot { path: path.clone() })?;
        Ok(answer.is_bpffs_root)
    }

    fn bpffs_mount(&mut self, path: &AbsolutePath) -> Result<BpffsMount, KernelError> {
        // It shares our mount namespace, and cannot know that we are its first process.
        if rustix::process::getpid().is_init() {
            return super::mount::state(path);
        }
        let path = path.clone();
        Ok(self.ask::<Mount>(&Query::BpffsMount { path })?.mount)
    }
}

impl KernelExecutor for HelperKernel {
    fn execute(&mut self, action: &KernelAction) -> Result<Outcome, KernelError> {
        self.ask(action)
    }

    fn finish(&mut self) {
        // One that was not started or cannot be asked holds nothing.
        if self.running.is_some() {
            let _ = self.exchange(&Query::Finish);
        }
    }

    fn hold_lock(&mut self, lock: Option<OwnedFd>) {
        self.end();
        self.lock = lock;
    }
}
