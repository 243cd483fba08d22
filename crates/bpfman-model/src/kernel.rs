//! The kernel, as the traits of the interpreter see it.

use bpfman_core::action::KernelAction;
use bpfman_core::action::Outcome;
use bpfman_core::action::PinnedProgram;
use bpfman_core::kernel;
use bpfman_core::kernel::AttachOrder;
use bpfman_core::kernel::BpffsMount;
use bpfman_core::kernel::Counter;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::MapType;
use bpfman_core::kernel::PinState;
use bpfman_core::kernel::ProgramHook;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::links::TcFilter;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::Detail;
use bpfman_interpreter::interfaces::KernelExecutor;
use bpfman_interpreter::interfaces::KernelReader;
use bpfman_interpreter::interfaces::KernelSource;

use crate::Crash;
use crate::Errno;
use crate::attach;
use crate::errno::bad_request;
use crate::filters;
use crate::known::known_map;
use crate::known::known_path;
use crate::known::known_program;
use crate::links;
use crate::load;
use crate::objects::ProcessId;
use crate::pins;
use crate::pins::expect_pin;
use crate::program;
use crate::state::Shared;
use crate::state::State;
use crate::swap;
use crate::swap::Swap;
use crate::tree::Node;

/// `BPF_MAP_TYPE_PERCPU_ARRAY` of `linux/bpf.h`.
const PERCPU_ARRAY: MapType = MapType(6);

/// One process's way to the simulated kernel.
#[derive(Debug)]
pub struct SimulatedKernel {
    state: Shared,
    process: ProcessId,
}

impl SimulatedKernel {
    pub(crate) fn new(state: Shared, process: ProcessId) -> Self {
        Self { state, process }
    }
}

impl Drop for SimulatedKernel {
    fn drop(&mut self) {
        self.finish();
    }
}

fn interpret(
    state: &mut State,
    process: ProcessId,
    action: &KernelAction,
) -> Result<Outcome, KernelError> {
    match action {
        KernelAction::LoadObject(request) => load::load(state, process, request),
        KernelAction::LoadProgram(request) => program::load(state, process, request),
        KernelAction::LoadDispatcher(request) => program::load_dispatcher(state, process, request),
        KernelAction::MakeMap(request) => program::make_map(state, process, request),
        KernelAction::HoldProgram(PinnedProgram { program, path }) => {
            expect_pin(state, path, &Node::Program(*program))?;
            state.objects.held(process).programs.insert(*program);
            Ok(Outcome::Done)
        }
        KernelAction::AdoptProgram { program } => {
            let found = state.objects.programs.get(&program.id);
            let found = found.ok_or_else(|| Errno::NotFound.refusal("the program"))?;
            if found.identity != *program {
                let message = format!("program {} is another one now", program.id);
                return Err(KernelError::new(KernelErrorKind::NotOurs, message));
            }
            state.objects.held(process).programs.insert(program.id);
            Ok(Outcome::Done)
        }
        KernelAction::Release => {
            state.objects.close(process);
            Ok(Outcome::Done)
        }
        KernelAction::CreateLink(create) => attach::create(state, process, create),
        KernelAction::ReleaseLink { .. }
        | KernelAction::PinLink { .. }
        | KernelAction::UnpinLink { .. }
        | KernelAction::MovePin { .. }
        | KernelAction::AdoptLink { .. }
        | KernelAction::DetachLink { .. }
        | KernelAction::AwaitLinkGone { .. }
        | KernelAction::RestoreLink(_) => links::interpret(state, process, action),
        KernelAction::UpdateLink {
            link,
            path,
            from,
            to,
        } => {
            let (link, from) = (links::known(*link)?, known_program(from)?);
            swap::update_link(state, process, &Swap { link, path, from }, to)
        }
        KernelAction::MakeClsact { interface } => filters::make_clsact(state, interface),
        KernelAction::RemoveClsact { interface } => filters::remove_clsact(state, interface),
        KernelAction::AddTcFilter { program, filter } => {
            let program = attach::program_of(state, process, program)?;
            filters::add(state, program, filter)
        }
        KernelAction::ReplaceTcFilter { filter, from, to } => {
            let to = attach::program_of(state, process, to)?;
            filters::replace(state, process, filter, known_program(from)?, to)
        }
        KernelAction::RemoveTcFilter { program, filter } => {
            filters::remove(state, process, known_program(program)?, filter)
        }
        KernelAction::WriteMapElement { map, path, .. } => links::write_element(state, *map, path),
        KernelAction::FillStructOps(fill) => links::fill_struct_ops(state, fill),
        _ => interpret_on_bpffs(state, process, action),
    }
}

/// The actions on a bpffs.
fn interpret_on_bpffs(
    state: &mut State,
    process: ProcessId,
    action: &KernelAction,
) -> Result<Outcome, KernelError> {
    match action {
        KernelAction::PinProgram { program, path } => {
            let id = known_program(program)?;
            let path = &known_path(path)?;
            if !state.objects.held(process).programs.contains(&id) {
                return match expect_pin(state, path, &Node::Program(id)) {
                    Ok(_) => Ok(Outcome::Unchanged),
                    Err(error) if error.kind != KernelErrorKind::NotFound => Err(error),
                    Err(_) => Err(bad_request(format!("program {id} is not held"))),
                };
            }
            pins::pin(&mut state.tree, Node::Program(id), path)
        }
        KernelAction::UnpinProgram { program, path } => {
            let id = known_program(program)?;
            let outcome = pins::unpin(&mut state.tree, &Node::Program(id), &known_path(path)?)?;
            if outcome == Outcome::Done {
                state.objects.held(process).programs.insert(id);
            }
            Ok(outcome)
        }
        KernelAction::PinMap { map, path } => {
            let id = known_map(map)?;
            if !state.objects.held(process).maps.contains(&id) {
                return Err(bad_request(format!("map {id} is not held")));
            }
            pins::pin(&mut state.tree, Node::Map(id), &known_path(path)?)
        }
        KernelAction::UnpinMap { map, path } => {
            let id = known_map(map)?;
            let outcome = pins::unpin(&mut state.tree, &Node::Map(id), &known_path(path)?)?;
            if outcome == Outcome::Done {
                state.objects.held(process).maps.insert(id);
            }
            Ok(outcome)
        }
        KernelAction::MakePinDirectory { path } => {
            pins::make_directory(&mut state.tree, &known_path(path)?)
        }
        KernelAction::RemoveEmptyPinDirectory { path } => {
            pins::remove_empty_directory(&mut state.tree, &known_path(path)?)
        }
        KernelAction::MountBpffs { path } => pins::mount(&mut state.tree, path),
        KernelAction::UnmountBpffs { path } => pins::unmount(&mut state.tree, path),
        _ => Err(bad_request("no action on a bpffs")),
    }
}

impl SimulatedKernel {
    /// What it held is gone, and nobody heard what it did.
    fn lose_helper(&self, state: &mut State) -> KernelError {
        state.objects.close(self.process);
        state.sweep();
        let message = "the helper gave no whole answer: it ended".to_owned();
        KernelError::new(KernelErrorKind::Helper, message)
    }

    /// Somebody else comes first.
    fn let_others_meddle(&self, action: &KernelAction) {
        let meddler = self.state.borrow_mut().meddler.take();
        if let Some(mut meddler) = meddler {
            (meddler.0)(&self.state, action);
            let again = &mut self.state.borrow_mut().meddler;
            again.get_or_insert(meddler);
        }
    }
}

impl KernelExecutor for SimulatedKernel {
    fn execute(&mut self, action: &KernelAction) -> Result<Outcome, KernelError> {
        self.let_others_meddle(action);
        let state = &mut *self.state.borrow_mut();
        let text = action.to_string();
        state
            .admit(self.process, text.clone())
            .map_err(|errno| errno.refusal(text))?;
        let number = state.effects.len() - 1;
        if state.faults.ends_the_helper(Crash::Before(number)) {
            return Err(self.lose_helper(state));
        }
        let outcome = interpret(state, self.process, action)?;
        state.settle(outcome != Outcome::Unchanged);
        if state.faults.ends_the_helper(Crash::After(number)) {
            return Err(self.lose_helper(state));
        }
        Ok(outcome)
    }

    fn finish(&mut self) {
        let state = &mut *self.state.borrow_mut();
        state.objects.close(self.process);
        state.sweep();
    }
}

impl KernelReader for SimulatedKernel {
    fn pin_state(&mut self, path: &AbsolutePath, _: Detail) -> Result<PinState, KernelError> {
        let state = self.state.borrow();
        let refused = |errno: Errno| errno.refusal(path);
        state.faults.pin(path).map_err(refused)?;
        Ok(match state.tree.lookup(path) {
            Err(Errno::NotFound | Errno::NotDirectory) => {
                let ancestor = pins::nearest_directory(&state.tree, path);
                let on_bpffs = state.tree.on_bpffs(&ancestor);
                PinState::Free {
                    on_bpffs: on_bpffs.map_err(refused)?,
                    ancestor,
                }
            }
            Err(errno) => return Err(refused(errno)),
            Ok(Node::Program(id)) => {
                let program = state.objects.programs.get(&id).cloned();
                program.map_or(PinState::Other, PinState::Program)
            }
            Ok(Node::Map(id)) => {
                let map = state.objects.maps.get(&id).cloned();
                map.map_or(PinState::Other, PinState::Map)
            }
            Ok(Node::Link(id)) => {
                let link = state.objects.links.get(&id).cloned();
                link.map_or(PinState::Other, PinState::Link)
            }
            Ok(
                Node::Directory
                | Node::File(_)
                | Node::Instructions(_)
                | Node::Record(_)
                | Node::Database(_),
            ) => PinState::Other,
        })
    }

    fn program(
        &mut self,
        id: ProgramId,
        _: Detail,
    ) -> Result<Option<kernel::Program>, KernelError> {
        let state = self.state.borrow();
        let refused = |errno: Errno| errno.refusal(format_args!("program {id}"));
        state.faults.program(id).map_err(refused)?;
        Ok(state.objects.programs.get(&id).cloned())
    }

    fn map(&mut self, id: MapId) -> Result<Option<kernel::Map>, KernelError> {
        Ok(self.state.borrow().objects.maps.get(&id).cloned())
    }

    /// Programs have no types here.
    fn types(&mut self, _btf_id: u32) -> Result<Option<Vec<u8>>, KernelError> {
        Ok(None)
    }

    fn link(&mut self, id: KernelLinkId) -> Result<Option<kernel::Link>, KernelError> {
        Ok(self.state.borrow().objects.links.get(&id).cloned())
    }

    fn attached(
        &mut self,
        interface: &InterfaceTarget,
        hook: Hook,
    ) -> Result<AttachOrder, KernelError> {
        links::attached(&self.state.borrow(), interface, hook)
    }

    fn tc_filter(&mut self, filter: &TcFilter) -> Result<Option<ProgramId>, KernelError> {
        filters::program_of(&self.state.borrow(), filter)
    }

    /// Nothing counts in this world.
    fn counter(&mut self, path: &AbsolutePath) -> Result<Option<Counter>, KernelError> {
        let state = self.state.borrow();
        let found = match state.tree.lookup(path) {
            Err(Errno::NotFound) => return Ok(None),
            Err(errno) => return Err(errno.refusal(path)),
            Ok(Node::Map(id)) => state.objects.maps.get(&id).cloned(),
            Ok(_) => None,
        };
        let counts = |map: &kernel::Map| map.map_type == PERCPU_ARRAY && map.value_size == 16;
        match found.is_some_and(|map| counts(&map)) {
            true => Ok(Some(Counter::default())),
            false => {
                let message = format!("{path} is not the pin of a counter");
                Err(KernelError::new(KernelErrorKind::NotOurs, message))
            }
        }
    }

    fn program_hooks(&mut self, _: &[ProgramId]) -> Result<Vec<ProgramHook>, KernelError> {
        // Nobody here attaches to programs but our dispatchers, whose slots are no members.
        Ok(Vec::new())
    }

    fn cgroup_programs(&mut self, _: &AbsolutePath, _: u32) -> Result<Vec<ProgramId>, KernelError> {
        // Nobody here attaches to a cgroup without a link.
        Ok(Vec::new())
    }

    fn await_links_gone(
        &mut self,
        links: &[KernelLinkId],
    ) -> Result<Vec<KernelLinkId>, KernelError> {
        let living = &self.state.borrow().objects.links;
        let left = links.iter().filter(|id| living.contains_key(id));
        Ok(left.copied().collect())
    }

    fn pins_below(
        &mut self,
        path: &AbsolutePath,
    ) -> Result<Vec<(AbsolutePath, PinState)>, KernelError> {
        let all: Vec<AbsolutePath> = {
            let state = self.state.borrow();
            let nodes = state.tree.mounts().values().flatten();
            let pins = nodes.filter(|(at, node)| **node != Node::Directory && at.is_below(path));
            pins.map(|(at, _)| at.clone()).collect()
        };
        let mut found = Vec::new();
        for path in all {
            let pin = self.pin_state(&path, Detail::Info)?;
            found.push((path, pin));
        }
        Ok(found)
    }

    fn is_bpffs_root(&mut self, path: &AbsolutePath) -> Result<bool, KernelError> {
        pins::is_root(&self.state.borrow().tree, path)
    }

    /// There is one mount namespace, and it lasts.
    fn bpffs_mount(&mut self, path: &AbsolutePath) -> Result<BpffsMount, KernelError> {
        Ok(match self.is_bpffs_root(path)? {
            true => BpffsMount::Mounted { private: false },
            false => BpffsMount::Absent,
        })
    }
}

impl KernelSource for SimulatedKernel {
    fn programs(&mut self) -> Box<dyn Iterator<Item = Result<kernel::Program, KernelError>> + '_> {
        Box::new(Programs {
            last: Some(ProgramId(0)),
            seen: 0,
            kernel: self,
        })
    }

    fn links(&mut self) -> Result<Vec<kernel::Link>, KernelError> {
        Ok(self
            .state
            .borrow()
            .objects
            .links
            .values()
            .cloned()
            .collect())
    }
}

/// Walks the ids; `last` is `None` when there is no way on.
struct Programs<'kernel> {
    last: Option<ProgramId>,
    seen: usize,
    kernel: &'kernel mut SimulatedKernel,
}

impl Programs<'_> {
    fn next_id(&self, last: ProgramId) -> Result<Option<ProgramId>, Errno> {
        let state = self.kernel.state.borrow();
        state.faults.enumeration(self.seen)?;
        let after = ProgramId(last.0 + 1)..;
        Ok(state
            .objects
            .programs
            .range(after)
            .next()
            .map(|(id, _)| *id))
    }
}

impl Iterator for Programs<'_> {
    type Item = Result<kernel::Program, KernelError>;

    fn next(&mut self) -> Option<Self::Item> {
        let last = self.last.take()?;
        match self.next_id(last) {
            Err(errno) => Some(Err(errno.refusal("listing programs"))),
            Ok(None) => None,
            Ok(Some(id)) => {
                self.last = Some(id);
                self.seen += 1;
                self.kernel.program(id, Detail::Info).transpose()
            }
        }
    }
}
