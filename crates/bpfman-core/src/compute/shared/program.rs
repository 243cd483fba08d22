//! What the hook is to call: the only member itself, a chain compiled of all, or a dispatcher with a slot for each.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Change;
use super::JoinedAs;
use super::Member;
use super::MemberName;
use super::PointFacts;
use super::PointRefusal;
use super::PointState;
use super::libxdp;
use super::membership;
use super::membership::place_name;
use super::membership::runs_alone;
use super::rebuild::Made;
use super::rebuild::dispatcher_pin;
use super::together;
use crate::action::Action;
use crate::action::AttachTarget;
use crate::action::FunctionInfo;
use crate::action::InstructionMap;
use crate::action::KeptInstructions;
use crate::action::KernelAction;
use crate::action::LinkName;
use crate::action::LinkReference;
use crate::action::LoadDispatcher;
use crate::action::LoadProgram;
use crate::action::MapPlace;
use crate::action::PinnedProgram;
use crate::action::Plan;
use crate::action::ProgramReference;
use crate::action::ProgramSource;
use crate::action::ProgramTypes;
use crate::action::ReplacedFunction;
use crate::chain;
use crate::chain::Chain;
use crate::chain::makes_tail_calls;
use crate::compute::attach::create_link;
use crate::compute::pins::make_pin_directory;
use crate::compute::pins::pin_link;
use crate::compute::pins::pin_program;
use crate::dispatcher::DispatcherConfig;
use crate::dispatcher::MAX_SLOTS;
use crate::dispatcher::SLOT_FUNCTIONS;
use crate::dispatcher::Slot;
use crate::dispatcher::mask;
use crate::kernel;
use crate::links::Membership;
use crate::links::SharedHook;
use crate::managed::DispatcherForm;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::Base64Bytes;
use crate::types::Engine;
use crate::types::F_XDP_HAS_FRAGS;
use crate::types::Family;
use crate::types::KernelProgramType;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;

/// How a compiled chain is named in the kernel.
const CHAIN_NAME: &str = "bpfman_chain";
/// How steps call one begins so.
const CHAIN_PREFIX: &str = "the chain of ";
/// The license of a chain of programs that the kernel takes for GPL compatible.
const GPL: &str = "GPL";

/// What is to run at an attach point.
pub(super) enum Next {
    /// The only member.
    Direct,
    /// A chain.
    Chain(Chain<MapPlace>),
    /// A dispatcher.
    Extension(DispatcherConfig),
}

/// Whether a program of the kernel is a compiled chain, be it ours or that of another bpfman.
#[must_use]
pub fn is_chain(program: &kernel::Program) -> bool {
    let hooks = [KernelProgramType::XDP, KernelProgramType::SCHED_CLS];
    program.name == CHAIN_NAME && hooks.contains(&program.program_type)
}

/// Whether an action loads a chain.
#[must_use]
pub fn loads_chain(action: &Action) -> bool {
    let Action::Kernel(KernelAction::LoadProgram(load)) = action else {
        return false;
    };
    load.name.starts_with(CHAIN_PREFIX)
}

/// Decides what is to run; `None` when nobody is left.
pub(super) fn next(
    facts: &PointFacts,
    members: &[Member],
    joined: JoinedAs,
) -> Result<Option<Next>, PointRefusal> {
    for member in members {
        if !member.at_pin {
            return Err(PointRefusal::ProgramGone {
                link: member.link.id,
                program: member.program.id(),
                path: member.program.pin_path.clone(),
            });
        }
    }
    let extension = |member: &Member| member.program.load.engine == Engine::Extension;
    let alone = match members {
        [] => return Ok(None),
        [one] => runs_alone(&membership(one), one.program.load.engine),
        _ => false,
    };
    if alone {
        return Ok(Some(Next::Direct));
    }
    for member in members {
        if let Some(extension) = &member.facts.extended {
            return Err(PointRefusal::Extended {
                member: MemberName::of(member),
                extension: extension.clone(),
            });
        }
    }
    // Where programs could not be joined once they stay extensions, until one is left.
    let stays = facts.state == PointState::Attached || members.iter().any(|one| facts.has(one));
    let extended = stays
        && facts
            .dispatcher
            .as_ref()
            .is_some_and(|running| matches!(running.form, DispatcherForm::Extension { .. }));
    if joined == JoinedAs::Extensions || extended || members.iter().any(extension) {
        return Ok(Some(Next::Extension(config(facts, members)?)));
    }
    compile(facts, members, joined).map(|chain| Some(Next::Chain(chain)))
}

/// A member is a link of a kind that shares its attach point.
fn membership(member: &Member) -> Membership<'_> {
    let membership = member.link.details.membership();
    membership.expect("only links of xdp and tc are members of an attach point")
}

fn kept(member: &Member) -> Result<&KeptInstructions, PointRefusal> {
    member.kept.as_deref().ok_or(PointRefusal::NoInstructions {
        link: member.link.id,
        program: member.program.id(),
    })
}

/// The maps in a member's instructions, by their ids.
fn maps(member: &Member) -> Result<Vec<chain::MapReference<MapPlace>>, PointRefusal> {
    let kept = kept(member)?;
    let place = |name: &str| {
        let map = member.program.maps.iter().find(|map| map.name == name);
        map.map(|map| MapPlace::InUse(map.id))
    };
    let references = kept.references.iter().map(|reference| {
        Some(chain::MapReference {
            instruction: reference.instruction,
            map: place(&reference.map)?,
        })
    });
    let references: Option<Vec<_>> = references.collect();
    references.ok_or(PointRefusal::NoInstructions {
        link: member.link.id,
        program: member.program.id(),
    })
}

fn compile(
    facts: &PointFacts,
    members: &[Member],
    joined: JoinedAs,
) -> Result<Chain<MapPlace>, PointRefusal> {
    let family = facts.hook.family();
    together::check(members, flags(members)).map_err(PointRefusal::Chain)?;
    let references: Result<Vec<_>, _> = members.iter().map(maps).collect();
    let references = references?;
    let verdicts = |member: &Member| {
        let mut verdicts = membership(member).proceed_on.to_vec();
        // As in a dispatcher, whose empty slots never end a chain.
        if !verdicts.contains(&family.empty_slot()) {
            verdicts.push(family.empty_slot());
        }
        verdicts
    };
    let verdicts: Vec<Vec<i32>> = members.iter().map(verdicts).collect();
    let told = references.iter().zip(&verdicts);
    let parts = members
        .iter()
        .zip(told)
        .map(|(member, (references, verdicts))| {
            let kept = kept(member)?;
            let membership = membership(member);
            Ok(chain::Member {
                id: MemberName::of(member),
                instructions: &kept.instructions.0,
                references,
                stack_depths: &kept.stack_depths,
                called: joined == JoinedAs::Called,
                kernel_functions: &member.facts.kernel_functions,
                types: chain::MemberTypes {
                    btf: &member.facts.types,
                    functions: &kept.functions,
                },
                proceed_on: verdicts,
                counter: membership.counter.map(|path| chain::Counter {
                    map: MapPlace::Pinned(path.clone()),
                    key: 0,
                }),
            })
        });
    let parts: Result<Vec<chain::Member<'_, MemberName, MapPlace>>, PointRefusal> = parts.collect();
    chain::compile(family, facts.frames, &parts?).map_err(PointRefusal::Chain)
}

/// The configuration of a dispatcher of these members.
fn config(facts: &PointFacts, members: &[Member]) -> Result<DispatcherConfig, PointRefusal> {
    let family = facts.hook.family();
    let mut slots = Vec::new();
    for member in members {
        let kept = kept(member)?;
        let membership = membership(member);
        slots.push(Slot {
            proceed_on: mask(family, membership.proceed_on),
            priority: membership.priority.get(),
            flags: kept.flags & F_XDP_HAS_FRAGS,
        });
        maps(member)?;
        if membership.counter.is_some() {
            return Err(PointRefusal::NoCounter);
        }
        if member.program.load.engine != Engine::Extension && kept.functions.is_empty() {
            return Err(PointRefusal::NoTypes {
                link: member.link.id,
                program: member.program.id(),
            });
        }
    }
    DispatcherConfig::new(family, slots).map_err(|_| PointRefusal::NoFreeSlot {
        place: place_name(facts),
        limit: MAX_SLOTS,
    })
}

/// Whether all of them take packets in fragments: only then does what calls them.
fn frags(members: &[Member]) -> bool {
    let takes = |kept: &KeptInstructions| kept.flags & F_XDP_HAS_FRAGS != 0;
    members
        .iter()
        .all(|member| member.kept.as_deref().is_some_and(takes))
}

/// The program that keeps fragments from all others, when a change brings the first one.
#[must_use]
pub fn without_fragments(facts: &PointFacts, change: &Change) -> Option<ProgramId> {
    let after = membership::after(facts, change).ok()?;
    let mut without = after
        .iter()
        .filter(|member| !frags(core::slice::from_ref(member)));
    let first = without.next()?;
    (!facts.members.is_empty() && frags(&facts.members)).then_some(first.program.id())
}

fn flags(members: &[Member]) -> u32 {
    if frags(members) { F_XDP_HAS_FRAGS } else { 0 }
}

/// What a chain is loaded for: an XDP link takes only programs of the same expected attach type, and since Linux 6.18 so
/// does a map of programs.
pub(super) fn attach_type(hook: SharedHook, members: &[Member]) -> u32 {
    let mut kept = members.iter().filter_map(|member| member.kept.as_deref());
    let decides = match hook {
        SharedHook::Xdp { .. } => kept.next(),
        SharedHook::Tc { .. } => kept.find(|kept| makes_tail_calls(&kept.instructions.0)),
    };
    decides.map_or(0, |kept| kept.attach_type)
}

fn pinned(program: &Program) -> PinnedProgram {
    PinnedProgram {
        program: program.id(),
        path: program.pin_path.clone(),
    }
}

impl Next {
    /// Appends the steps that make it.
    pub(super) fn make(
        &self,
        plan: &mut Plan,
        facts: &PointFacts,
        layout: &RuntimeLayout,
        members: &[Member],
        revision: u32,
    ) -> Made {
        let (hook, at) = (facts.hook.hook().name(), &facts.at);
        let directory = layout.dispatcher_revision(hook, at.nsid, at.ifindex, revision);
        match (self, members) {
            (Self::Chain(chain), _) => make_chain(plan, facts, chain, &directory, members),
            (Self::Extension(config), _) => {
                make_dispatcher(plan, facts, config, directory, members)
            }
            (Self::Direct, members) => {
                let PinnedProgram { program, path } = pinned(&members[0].program);
                Made {
                    source: ProgramSource::Pinned { program, path },
                    program: program.into(),
                    form: DispatcherForm::Direct,
                    slots: [None].to_vec(),
                }
            }
        }
    }
}

/// Appends a load out of instructions; answers what later steps call the program.
fn load(plan: &mut Plan, load: LoadProgram) -> ProgramReference {
    let program = load.name.clone();
    plan.push_final(
        Action::Kernel(KernelAction::LoadProgram(load)),
        "a program that nothing refers to is gone when the plan ends",
    );
    ProgramReference::Loaded { program }
}

fn make_chain(
    plan: &mut Plan,
    facts: &PointFacts,
    chain: &Chain<MapPlace>,
    directory: &AbsolutePath,
    members: &[Member],
) -> Made {
    let types = chain.types.as_ref().map(|types| ProgramTypes {
        btf: Some(Base64Bytes(types.btf.clone())),
        functions: types.functions.clone(),
    });
    let strict = members
        .iter()
        .find(|member| !member.program.gpl_compatible)
        .map(|member| member.program.license.clone().unwrap_or_default());
    let maps = chain.references.iter().map(|reference| InstructionMap {
        instruction: reference.instruction,
        map: reference.map.clone(),
    });
    let program = load(
        plan,
        LoadProgram {
            name: format!("{CHAIN_PREFIX}{}", place_name(facts)),
            kernel_name: CHAIN_NAME.to_owned(),
            kernel_type: kernel_type(facts),
            attach_type: attach_type(facts.hook, members),
            flags: flags(members),
            license: strict.unwrap_or_else(|| GPL.to_owned()),
            instructions: Base64Bytes(chain.instructions.clone()),
            maps: maps.collect(),
            programs: members
                .iter()
                .map(|member| pinned(&member.program))
                .collect(),
            types,
            replaces: None,
        },
    );
    // A swap can be undone by another process while what ran before is pinned, and this runs before the next.
    make_pin_directory(plan, directory.clone());
    pin_program(plan, program.clone(), dispatcher_pin(directory));
    Made {
        source: ProgramSource::Held {
            program: program.clone(),
        },
        program,
        form: DispatcherForm::Chain,
        slots: members.iter().map(|_| None).collect(),
    }
}

fn kernel_type(facts: &PointFacts) -> KernelProgramType {
    match facts.hook.family() {
        Family::Xdp => KernelProgramType::XDP,
        Family::Tc => KernelProgramType::SCHED_CLS,
    }
}

fn make_dispatcher(
    plan: &mut Plan,
    facts: &PointFacts,
    config: &DispatcherConfig,
    directory: AbsolutePath,
    members: &[Member],
) -> Made {
    let name = format!("the dispatcher of {}", place_name(facts));
    plan.push_final(
        Action::Kernel(KernelAction::LoadDispatcher(LoadDispatcher {
            name: name.clone(),
            family: facts.hook.family(),
            config: Base64Bytes(config.encode()),
            frags: config.frags(),
        })),
        "a program that nothing refers to is gone when the plan ends",
    );
    let program = ProgramReference::Loaded { program: name };
    make_pin_directory(plan, directory.clone());
    pin_program(plan, program.clone(), dispatcher_pin(&directory));
    libxdp::make_directory(plan, facts, &program);
    let slots = members.iter().enumerate().map(|(number, member)| {
        let path = directory.join(&format!("link_{number}"));
        let function = SLOT_FUNCTIONS[number];
        let held = extension(plan, member, &program, function, flags(members));
        libxdp::show(plan, facts, &program, number, &held);
        let source = ProgramSource::Held { program: held };
        let target = AttachTarget::Slot {
            dispatcher: program.clone(),
            function: function.to_owned(),
        };
        let link = create_link(plan, LinkName::Of(member.link.id), source, target);
        pin_link(plan, link, &path);
        Some((link, path))
    });
    let slots: Vec<Option<(LinkReference, AbsolutePath)>> = slots.collect();
    Made {
        source: ProgramSource::Held {
            program: program.clone(),
        },
        program,
        form: DispatcherForm::Extension { directory },
        slots,
    }
}

/// Takes hold of a member as an extension: itself where it was loaded as one, else one that is made of its
/// instructions.
fn extension(
    plan: &mut Plan,
    member: &Member,
    dispatcher: &ProgramReference,
    function: &str,
    flags: u32,
) -> ProgramReference {
    let (Some(kept), Engine::Auto) = (&member.kept, member.program.load.engine) else {
        plan.push_final(
            Action::Kernel(KernelAction::HoldProgram(pinned(&member.program))),
            "the plan lets go of it when it ends",
        );
        return member.program.id().into();
    };
    let functions: Vec<FunctionInfo> = kept.functions.clone();
    let references = maps(member).unwrap_or_default();
    let name: String = member.program.load.program_name.clone();
    load(
        plan,
        LoadProgram {
            name: format!("the extension of link {}", member.link.id),
            kernel_name: name.chars().take(15).collect(),
            kernel_type: KernelProgramType::EXTENSION,
            attach_type: 0,
            flags,
            license: member.program.license.clone().unwrap_or_default(),
            instructions: kept.instructions.clone(),
            maps: references
                .into_iter()
                .map(|reference| InstructionMap {
                    instruction: reference.instruction,
                    map: reference.map,
                })
                .collect(),
            programs: [pinned(&member.program)].to_vec(),
            types: Some(ProgramTypes {
                btf: None,
                functions,
            }),
            replaces: Some(ReplacedFunction {
                program: dispatcher.clone(),
                function: function.to_owned(),
            }),
        },
    )
}
