//! The one way in which what runs at an attach point is made anew.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::LostPin;
use super::Member;
use super::PointFacts;
use super::PointState;
use super::choice::Chosen;
use super::libxdp;
use super::running_pin;
use crate::action::Action;
use crate::action::AttachTarget;
use crate::action::KernelAction;
use crate::action::LinkName;
use crate::action::LinkReference;
use crate::action::MakeMap;
use crate::action::MapReference;
use crate::action::OrderedPlace;
use crate::action::Plan;
use crate::action::ProgramReference;
use crate::action::ProgramSource;
use crate::action::StoreAction;
use crate::compute::attach::Occupants;
use crate::compute::attach::TC_FILTER;
use crate::compute::attach::create_link;
use crate::compute::ending::Ending;
use crate::compute::load::mount_bpffs;
use crate::compute::pins::make_pin_directory;
use crate::compute::pins::move_pin;
use crate::compute::pins::on_fresh_bpffs;
use crate::compute::pins::pin_link;
use crate::compute::pins::pin_map;
use crate::compute::pins::pin_program_again;
use crate::compute::pins::remove_pin_directory;
use crate::compute::pins::unpin_link;
use crate::compute::pins::unpin_map;
use crate::compute::pins::unpin_program;
use crate::compute::records::Records;
use crate::kernel::PinState;
use crate::links::SharedHook;
use crate::links::TcFilter;
use crate::managed::Dispatcher;
use crate::managed::DispatcherDraft;
use crate::managed::DispatcherForm;
use crate::managed::Holder;
use crate::managed::LeftOut;
use crate::managed::Link;
use crate::managed::LinkDraft;
use crate::types::AbsolutePath;
use crate::types::KernelLinkId;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;

/// `BPF_MAP_TYPE_PERCPU_ARRAY` of `linux/bpf.h`.
const PERCPU_ARRAY: u32 = 6;
/// The value of a counter: runs and nanoseconds, 8 bytes each.
const COUNTER_BYTES: u32 = 16;

/// A change of what runs at an attach point.
pub(super) struct Rebuild<'a> {
    facts: &'a PointFacts,
    layout: &'a RuntimeLayout,
    leaving: &'a [Member],
    /// The record of what runs now.
    running: Option<&'a Dispatcher>,
    /// Who and what is to run.
    chosen: Chosen,
}

impl<'a> Rebuild<'a> {
    pub(super) fn new(
        facts: &'a PointFacts,
        chosen: Chosen,
        leaving: &'a [Member],
        layout: &'a RuntimeLayout,
    ) -> Self {
        let runs = |_: &&Dispatcher| facts.state == PointState::Attached;
        Self {
            facts,
            layout,
            leaving,
            running: facts.dispatcher.as_ref().filter(runs),
            chosen,
        }
    }

    /// Appends the steps up to the end, and answers that.
    pub(super) fn add(&self, plan: &mut Plan) -> Ending {
        let mut ending = Ending::default();
        plan.left_out.extend(self.newly_left_out());
        match (&self.chosen.next, self.running) {
            (None, None) => {}
            (None, Some(running)) => self.stop(&mut ending, running),
            (Some(next), running) => {
                self.clear_way(plan, &mut ending);
                self.make_counters(plan);
                let revision = self.facts.dispatcher.as_ref().map_or(0, |old| old.revision);
                let made = next.make(
                    plan,
                    self.facts,
                    self.layout,
                    &self.chosen.members,
                    revision + 1,
                );
                let draft = match running {
                    Some(running) => self.swap(plan, running, &made),
                    None => self.start(plan, &made),
                };
                self.record_members(&mut ending.records, &made.slots);
                self.record_others(&mut ending.records);
                delete_left(&mut ending, self.leaving);
                self.record(&mut ending.records, draft, made, revision + 1);
                if let Some(running) = running {
                    unpin_revision(&mut ending.after, self.facts, self.layout, running);
                }
            }
        }
        ending
    }

    /// Those whose programs run now and will not any more.
    fn newly_left_out(&self) -> Vec<LeftOut> {
        let record = self.facts.dispatcher.as_ref();
        let known = |link| record.is_some_and(|record| record.left_out(link).is_some());
        let left_out = self.chosen.left_out.iter();
        left_out.filter(|one| !known(one.link)).cloned().collect()
    }

    /// Makes the directories, and sets aside what is left at our pins of an interface that is gone.
    fn clear_way(&self, plan: &mut Plan, ending: &mut Ending) {
        if !self.facts.bpffs_mounted {
            mount_bpffs(plan, self.layout);
        }
        // A program alone in a filter has no pin in this directory.
        let has_pin = |running: &Dispatcher| {
            running.link().is_some() || running.directory(self.layout).is_some()
        };
        if !self.running.is_some_and(has_pin) {
            let hook = self.facts.hook.hook().name();
            make_pin_directory(plan, self.layout.dispatchers(hook));
        }
        if self.running.is_some() {
            return;
        }
        let Some(stale) = &self.facts.dispatcher else {
            return;
        };
        unpin_revision(&mut ending.after, self.facts, self.layout, stale);
        forget_own_links(&mut ending.records, &self.facts.members);
        let at_pin = matches!(self.facts.state, PointState::Detached | PointState::Defunct);
        if let Some((link, path)) = stale.link().filter(|_| at_pin) {
            let (hook, at) = (self.facts.hook.hook().name(), &stale.at);
            let aside = self.layout.dispatcher_link_aside(hook, at.nsid, at.ifindex);
            move_pin(plan, link, path, &aside);
            unpin_link(&mut ending.after, link, &aside);
        }
    }

    fn make_counters(&self, plan: &mut Plan) {
        for member in self
            .chosen
            .members
            .iter()
            .filter(|member| member.counter.is_none())
        {
            let membership = member.link.details.membership();
            let Some(path) = membership.and_then(|membership| membership.counter) else {
                continue;
            };
            let name = format!("counter of link {}", member.link.id);
            plan.push_final(
                Action::Kernel(KernelAction::MakeMap(MakeMap {
                    name: name.clone(),
                    kernel_name: "bpfman_counter".to_owned(),
                    map_type: PERCPU_ARRAY,
                    key_size: 4,
                    value_size: COUNTER_BYTES,
                    max_entries: 1,
                })),
                "a map that is not pinned is gone when the plan ends",
            );
            make_pin_directory(plan, self.layout.links());
            pin_map(plan, MapReference::Loaded { map: name }, path.clone());
        }
    }

    /// Puts the first program at the hook.
    fn start(&self, plan: &mut Plan, made: &Made) -> Holding {
        let interface = self.facts.at.target();
        let target = match (self.facts.hook, &self.facts.occupants) {
            (SharedHook::Tc { direction }, Some(Occupants::Filter(_)) | None) => {
                let filter = TC_FILTER.at(interface, direction);
                add_filter(plan, made.source.clone(), made.program.clone(), filter);
                return Holding {
                    holder: Holder::Filter(TC_FILTER),
                    link: None,
                };
            }
            (SharedHook::Tc { direction }, Some(Occupants::Order(order))) => AttachTarget::Tcx {
                interface,
                direction,
                place: OrderedPlace {
                    before: None,
                    revision: order.revision,
                },
            },
            (SharedHook::Xdp { mode }, _) => AttachTarget::Xdp { interface, mode },
        };
        let at = &self.facts.at;
        let hook = self.facts.hook.hook().name();
        let path = self.layout.dispatcher_link(hook, at.nsid, at.ifindex);
        let link = create_link(plan, LinkName::AttachPoint, made.source.clone(), target);
        pin_link(plan, link, &path);
        Holding {
            holder: Holder::Link {
                id: KernelLinkId(0),
                pin_path: path,
            },
            link: Some(link),
        }
    }

    /// Puts a program in the place of the one that runs.
    fn swap(&self, plan: &mut Plan, running: &Dispatcher, made: &Made) -> Holding {
        let holder = self.follow(plan, running);
        let pin = match &holder {
            Holder::Link { pin_path, .. } => Some(pin_path.clone()),
            Holder::Filter(_) => None,
        };
        let holding = Holding {
            holder,
            link: running.link().map(|(id, _)| LinkReference::Known(id)),
        };
        let old = ProgramReference::Known(self.facts.runs.unwrap_or(running.program));
        if made.program == old {
            return holding;
        }
        self.secure_way_back(plan);
        let back = self.way_back(running);
        let step = |from: &ProgramReference, to: &ProgramSource| {
            let (from, to) = (from.clone(), to.clone());
            Action::Kernel(match (running.link(), &pin, running.filter()) {
                (_, _, Some(filter)) => KernelAction::ReplaceTcFilter { filter, from, to },
                (Some((link, _)), Some(path), None) => KernelAction::UpdateLink {
                    link: LinkReference::Known(link),
                    path: path.clone(),
                    from,
                    to,
                },
                _ => unreachable!("a holder is a link or a filter"),
            })
        };
        plan.push(step(&old, &made.source), step(&made.program, &back));
        holding
    }

    /// Gives the pin of the link that holds an attach point the name of where its interface is now: another interface may
    /// come to have the numbers of its old name.
    fn follow(&self, plan: &mut Plan, running: &Dispatcher) -> Holder {
        let (Holder::Link { id, pin_path }, true) = (&running.holder, self.facts.has_moved())
        else {
            return running.holder.clone();
        };
        let (hook, at) = (self.facts.hook.hook().name(), &self.facts.at);
        let now = self.layout.dispatcher_link(hook, at.nsid, at.ifindex);
        move_pin(plan, *id, pin_path, &now);
        Holder::Link {
            id: *id,
            pin_path: now,
        }
    }

    /// Pins the program that runs now, if somebody took its pin away: it would end with the swap.
    fn secure_way_back(&self, plan: &mut Plan) {
        let Some(LostPin {
            path,
            state: state @ PinState::Free { .. },
            program: Some(program),
        }) = &self.facts.lost_pin
        else {
            return;
        };
        let fresh = !self.facts.bpffs_mounted && path.is_below(&self.layout.bpffs());
        match fresh {
            true => pin_program_again(plan, *program, path, &on_fresh_bpffs(self.layout)),
            false => pin_program_again(plan, *program, path, state),
        }
    }

    /// Where the program that runs now is found when it is to run again.
    fn way_back(&self, running: &Dispatcher) -> ProgramSource {
        let pin = running_pin(running, &self.facts.members, self.layout);
        match (pin, self.facts.runs) {
            (Some(path), runs) if runs.is_none_or(|runs| runs == running.program) => {
                ProgramSource::Pinned {
                    program: running.program,
                    path,
                }
            }
            // Somebody else has swapped our link: nothing pins what it runs.
            (_, runs) => ProgramSource::Held {
                program: runs.unwrap_or(running.program).into(),
            },
        }
    }

    /// Takes the last program away.
    fn stop(&self, ending: &mut Ending, running: &Dispatcher) {
        self.record_others(&mut ending.records);
        delete_left(ending, self.leaving);
        delete_record(&mut ending.records, running);
        if let Some(filter) = running.filter() {
            let program = ProgramReference::Known(running.program);
            ending.after.push(
                Action::Kernel(KernelAction::RemoveTcFilter {
                    program: program.clone(),
                    filter: filter.clone(),
                }),
                Action::Kernel(KernelAction::AddTcFilter {
                    program: ProgramSource::Held { program },
                    filter,
                }),
            );
        }
        unpin_revision(&mut ending.after, self.facts, self.layout, running);
        ending.links.extend(super::holder(self.facts, running));
    }

    /// Records the members whose records change: those that join, and those whose own links do.
    fn record_members(
        &self,
        records: &mut Records,
        slots: &[Option<(LinkReference, AbsolutePath)>],
    ) {
        for (member, slot) in self.chosen.members.iter().zip(slots) {
            let link = Link {
                kernel: None,
                pin_path: slot.as_ref().map(|(_, path)| path.clone()),
                ..member.link.clone()
            };
            let before = self
                .facts
                .links()
                .find(|before| before.link.id == link.id)
                .map(|before| &before.link);
            if slot.is_none() && before == Some(&link) {
                continue;
            }
            let undo = match before {
                Some(before) => StoreAction::SaveLink {
                    link: Box::new(before.clone()),
                },
                None => StoreAction::DeleteLink { id: link.id },
            };
            records.push(
                StoreAction::RecordLink {
                    link: Box::new(LinkDraft {
                        link,
                        kernel: slot.as_ref().map(|(made, _)| *made),
                    }),
                },
                undo,
            );
        }
    }

    /// Records the links that do not run: they have none of their own, and go along with their interface.
    fn record_others(&self, records: &mut Records) {
        for Member { link, .. } in &self.chosen.others {
            let now = Link {
                kernel: None,
                pin_path: None,
                ..link.clone()
            };
            let mut before = self.facts.links().map(|before| &before.link);
            let before = before.find(|before| before.id == link.id);
            if let Some(before) = before.filter(|before| **before != now) {
                records.push(
                    StoreAction::SaveLink {
                        link: Box::new(now),
                    },
                    StoreAction::SaveLink {
                        link: Box::new(before.clone()),
                    },
                );
            }
        }
    }

    fn record(&self, records: &mut Records, holding: Holding, made: Made, revision: u32) {
        let running = self.running.map(|running| running.hook);
        let members = self.chosen.members.iter();
        let dispatcher = Dispatcher {
            hook: running.unwrap_or(self.facts.hook),
            at: self.facts.at.clone(),
            revision,
            form: made.form,
            program: ProgramId(0),
            holder: holding.holder,
            members: members.map(|member| member.link.id).collect(),
            left_out: self.chosen.left_out.clone(),
        };
        push_record(
            records,
            self.facts,
            DispatcherDraft {
                dispatcher,
                program: made.program,
                link: holding.link,
            },
        );
    }
}

/// Takes the links that members had for themselves out of their records: those of the next revisions may be at the same
/// pins.
fn forget_own_links(records: &mut Records, members: &[Member]) {
    for Member { link, .. } in members.iter().filter(|member| member.link.kernel.is_some()) {
        let alone = Link {
            kernel: None,
            pin_path: None,
            ..link.clone()
        };
        records.push(
            StoreAction::SaveLink {
                link: Box::new(alone),
            },
            StoreAction::SaveLink {
                link: Box::new(link.clone()),
            },
        );
    }
}

/// What a rebuild has made for the hook to call.
pub(super) struct Made {
    pub(super) source: ProgramSource,
    pub(super) program: ProgramReference,
    pub(super) form: DispatcherForm,
    /// The own link of each member, where it has one.
    pub(super) slots: Vec<Option<(LinkReference, AbsolutePath)>>,
}

/// What holds the program at the hook.
struct Holding {
    holder: Holder,
    link: Option<LinkReference>,
}

fn add_filter(plan: &mut Plan, source: ProgramSource, program: ProgramReference, filter: TcFilter) {
    let interface = filter.interface.clone();
    plan.push(
        Action::Kernel(KernelAction::MakeClsact {
            interface: interface.clone(),
        }),
        Action::Kernel(KernelAction::RemoveClsact { interface }),
    );
    plan.push(
        Action::Kernel(KernelAction::AddTcFilter {
            program: source,
            filter: filter.clone(),
        }),
        Action::Kernel(KernelAction::RemoveTcFilter { program, filter }),
    );
}

/// Takes the pins of a revision away. The plan holds what was pinned until it ends, and lets it go then.
pub(super) fn unpin_revision(
    plan: &mut Plan,
    facts: &PointFacts,
    layout: &RuntimeLayout,
    old: &Dispatcher,
) {
    let Some(directory) = old.directory(layout) else {
        return;
    };
    if let DispatcherForm::Extension { .. } = &old.form {
        unpin_members(plan, facts, old, &facts.members);
        libxdp::remove_directory(plan, facts, old);
    }
    unpin_program(plan, old.program, dispatcher_pin(&directory));
    remove_pin_directory(plan, directory);
}

/// Takes the pins away that members of an extension dispatcher have.
pub(super) fn unpin_members(
    plan: &mut Plan,
    facts: &PointFacts,
    old: &Dispatcher,
    members: &[Member],
) {
    for member in members {
        if let (Some(link), Some(path)) = (member.link.kernel, &member.link.pin_path) {
            unpin_link(plan, link, path);
            libxdp::hide(plan, facts, old, member);
        }
    }
}

/// The pin of a dispatcher's program in the directory of its revision (contract: section 2).
pub(in crate::compute) fn dispatcher_pin(directory: &AbsolutePath) -> AbsolutePath {
    directory.join("dispatcher")
}

/// Deletes the records of the members that leave, and their counters.
pub(super) fn delete_left(ending: &mut Ending, leaving: &[Member]) {
    for member in leaving {
        ending.records.delete_link(&member.link);
        let pin = member.link.details.membership();
        if let (Some(id), Some(path)) = (member.counter, pin.and_then(|pin| pin.counter)) {
            unpin_map(&mut ending.after, id, path);
        }
    }
}

pub(super) fn delete_record(records: &mut Records, dispatcher: &Dispatcher) {
    records.push(
        StoreAction::DeleteDispatcher {
            point: dispatcher.point(),
        },
        StoreAction::SaveDispatcher {
            dispatcher: Box::new(dispatcher.clone()),
        },
    );
}

/// Records what runs at an attach point, in place of what ran there.
pub(super) fn push_record(records: &mut Records, facts: &PointFacts, draft: DispatcherDraft) {
    let point = draft.dispatcher.point();
    let undo = match &facts.dispatcher {
        Some(old) if old.point() == point => StoreAction::SaveDispatcher {
            dispatcher: Box::new(old.clone()),
        },
        old => {
            // It is the record of where the interface was.
            old.iter().for_each(|old| delete_record(records, old));
            StoreAction::DeleteDispatcher { point }
        }
    };
    records.push(
        StoreAction::RecordDispatcher {
            dispatcher: Box::new(draft),
        },
        undo,
    );
}
