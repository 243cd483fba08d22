//! Pins and files that no record knows.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use super::Facts;
use super::Finding;
use super::Repair;
use super::Rule;
use super::found_again;
use crate::action::Action;
use crate::action::FileAction;
use crate::action::KernelAction;
use crate::action::Plan;
use crate::compute::pins::remove_pin_directory;
use crate::compute::pins::unpin_link;
use crate::compute::pins::unpin_map;
use crate::compute::pins::unpin_program;
use crate::compute::shared::dispatcher_directory;
use crate::compute::shared::dispatcher_pin;
use crate::kernel;
use crate::kernel::PinState;
use crate::links::TcFilter;
use crate::managed::ManagedMap;
use crate::managed::Program;
use crate::types::AbsolutePath;
use crate::types::MapId;
use crate::types::ProgramId;
use crate::types::RuntimeLayout;

/// The records of programs, also of those that are found again.
fn records(facts: &Facts) -> impl Iterator<Item = &Program> {
    let recorded = facts.programs.iter().map(|program| &program.record);
    recorded.chain(found_again(facts))
}

/// Every pin that a record speaks of.
fn known_pins(facts: &Facts, layout: &RuntimeLayout) -> BTreeSet<AbsolutePath> {
    let mut known = BTreeSet::new();
    for record in records(facts) {
        known.insert(record.pin_path.clone());
        known.extend(record.maps.iter().filter_map(|map| map.pin_path.clone()));
    }
    for link in &facts.links {
        known.extend(link.pin_path.clone());
        let membership = link.details.membership();
        known.extend(membership.and_then(|own| own.counter.cloned()));
    }
    for point in &facts.points {
        let record = point.facts.dispatcher.as_ref();
        known.extend(record.and_then(|record| record.link().map(|(_, path)| path.clone())));
        let directory = record.and_then(|record| record.directory(layout));
        known.extend(directory.map(|directory| dispatcher_pin(&directory)));
    }
    known
}

/// The directory of a revision that a path lies in: `xdp/dispatcher_4026531840_2_3`.
fn revision_of(path: &AbsolutePath, layout: &RuntimeLayout) -> Option<AbsolutePath> {
    let directory = path.parent()?;
    let hooks = ["xdp", "tc-ingress", "tc-egress"];
    let below_hook = hooks
        .iter()
        .any(|hook| directory.parent().as_ref() == Some(&layout.dispatchers(hook)));
    let named = directory.file_name().starts_with("dispatcher_");
    (below_hook && named).then_some(directory)
}

/// Whether a revision is one of an attach point that has a record.
fn has_point(directory: &AbsolutePath, facts: &Facts, layout: &RuntimeLayout) -> bool {
    let records = facts.points.iter();
    let records = records.filter_map(|point| point.facts.dispatcher.as_ref());
    let revision = directory.file_name().rsplit('_').next();
    let Some(revision) = revision.and_then(|number| number.parse().ok()) else {
        return false;
    };
    records
        .map(|one| (one.hook.hook().name(), &one.at))
        .any(|(hook, at)| {
            layout.dispatcher_revision(hook, at.nsid, at.ifindex, revision) == *directory
        })
}

/// Looks at a revision that no attach point has. Where the attach point has no record either, it may be at work.
fn examine_revision(
    directory: &AbsolutePath,
    pins: &[(&AbsolutePath, &PinState)],
    facts: &Facts,
    prune: bool,
    layout: &RuntimeLayout,
) -> Finding {
    let known = has_point(directory, facts, layout);
    let mut plan = Plan::new(format!("removing {directory}"));
    plan.commit_point();
    hide(&mut plan, pins, facts);
    for (path, pin) in pins {
        add_unpin(&mut plan, path, pin);
    }
    remove_pin_directory(&mut plan, directory.clone());
    Finding::new(
        match known {
            true => Rule::RevisionLeft,
            false => Rule::Orphan,
        },
        format!("{directory}"),
        match known || prune {
            true => plan.into(),
            false => not_pruned(),
        },
    )
}

/// Takes away what shows a revision to tools of libxdp: the directory of its dispatcher, or of one of its members.
fn hide(plan: &mut Plan, pins: &[(&AbsolutePath, &PinState)], facts: &Facts) {
    let is_dispatcher = |directory: &AbsolutePath| {
        pins.iter().any(|(_, pin)| match pin {
            PinState::Program(program) => {
                let end = dispatcher_directory(program.identity.id);
                directory.file_name().ends_with(&end)
            }
            _ => false,
        })
    };
    let is_member = |shown: &PinState| {
        pins.iter().any(|(_, pin)| match (pin, shown) {
            (PinState::Link(link), PinState::Program(program)) => {
                link.program == program.identity.id
            }
            _ => false,
        })
    };
    let shown = facts.shown.iter();
    let shown = shown.filter_map(|(path, pin)| Some((path.parent()?, path, pin)));
    let directories: BTreeSet<AbsolutePath> = shown
        .clone()
        .filter(|(directory, _, pin)| is_dispatcher(directory) || is_member(pin))
        .map(|(directory, ..)| directory)
        .collect();
    for (_, path, pin) in shown.filter(|(directory, ..)| directories.contains(directory)) {
        add_unpin(plan, path, pin);
    }
    for directory in directories {
        remove_pin_directory(plan, directory);
    }
}

/// The chains that nothing of ours runs or pins and that use a map of ours: one that does was made of our programs.
pub fn kept_chains(
    facts: &Facts,
) -> impl Iterator<Item = (&kernel::Program, &Program, &ManagedMap)> {
    let pinned = facts.pins.iter().filter_map(|(_, pin)| match pin {
        PinState::Program(program) => Some(program.identity.id),
        PinState::Link(link) => Some(link.program),
        _ => None,
    });
    let recorded = facts.points.iter().flat_map(|point| {
        let record = point.facts.dispatcher.as_ref();
        record
            .map(|record| record.program)
            .into_iter()
            .chain(point.facts.runs)
    });
    let at_work: BTreeSet<ProgramId> = pinned.chain(recorded).collect();
    let kept = facts.chains.iter();
    let kept = kept.filter(move |chain| !at_work.contains(&chain.identity.id));
    kept.filter_map(|chain| {
        let mut maps =
            records(facts).flat_map(|record| record.maps.iter().map(move |map| (record, map)));
        let (record, map) = maps.find(|(_, map)| chain.map_ids.contains(&map.id))?;
        Some((chain, record, map))
    })
}

/// Looks at chains that nothing runs any more.
pub(super) fn examine_chains(facts: &Facts) -> impl Iterator<Item = Finding> {
    kept_chains(facts).map(|(chain, record, map)| {
        let subject = format!(
            "program {} ({}), which uses map {} ({}) of program {} ({})",
            chain.identity.id,
            chain.name,
            map.id,
            map.name,
            record.id(),
            record.load.program_name
        );
        let repair = Repair::Nothing("it goes when nothing holds it any more".into());
        Finding::new(Rule::ChainKept, subject, repair)
    })
}

fn not_pruned() -> Repair {
    Repair::Nothing("--prune removes it".into())
}

/// Looks at filters that run a program of our bpffs and that no attach point has: a filter has no pin itself.
pub(super) fn examine_filters(facts: &Facts, prune: bool) -> Vec<Finding> {
    let pinned = facts.pins.iter().filter_map(|(_, pin)| match pin {
        PinState::Program(program) => Some(program.identity.id),
        _ => None,
    });
    let pinned: BTreeSet<ProgramId> = pinned.collect();
    let place = |filter: &TcFilter| {
        let interface = &filter.interface;
        (interface.netns.id, interface.ifindex, filter.direction)
    };
    let records = facts.points.iter();
    let records = records.filter_map(|point| point.facts.dispatcher.as_ref()?.filter());
    let recorded: Vec<_> = records.map(|filter| place(&filter)).collect();
    let orphans = facts
        .filters
        .iter()
        .filter(|(filter, program)| pinned.contains(program) && !recorded.contains(&place(filter)));
    orphans
        .map(|(filter, program)| {
            Finding::new(
                Rule::Orphan,
                format!("{filter}, which runs program {program}"),
                match prune {
                    true => remove_filter(filter, *program).into(),
                    false => not_pruned(),
                },
            )
        })
        .collect()
}

fn remove_filter(filter: &TcFilter, program: ProgramId) -> Plan {
    let mut plan = Plan::new(format!("removing {filter}"));
    plan.push_final(
        Action::Kernel(KernelAction::RemoveTcFilter {
            program: program.into(),
            filter: filter.clone(),
        }),
        "nobody knows what it was for",
    );
    plan
}

/// Looks at what is on our bpffs. With `prune`, what may be at work goes, too.
pub(super) fn examine_pins(facts: &Facts, prune: bool, layout: &RuntimeLayout) -> Vec<Finding> {
    let known = known_pins(facts, layout);
    let used: BTreeSet<MapId> = records(facts)
        .flat_map(|record| record.maps.iter().map(|map| map.id))
        .collect();
    let mut revisions: BTreeMap<AbsolutePath, Vec<(&AbsolutePath, &PinState)>> = BTreeMap::new();
    let mut findings = Vec::new();
    for (path, pin) in facts.pins.iter().filter(|(path, _)| !known.contains(path)) {
        if let Some(directory) = revision_of(path, layout) {
            revisions.entry(directory).or_default().push((path, pin));
            continue;
        }
        match pin {
            PinState::Map(map) if !used.contains(&map.id) => {
                findings.push(Finding::new(
                    Rule::MapsLeft,
                    format!("map {} ({}) at {path}", map.id, map.name),
                    unpin(path, pin, layout).into(),
                ));
            }
            PinState::Map(_) | PinState::Free { .. } => {}
            PinState::Program(_) | PinState::Link(_) | PinState::Other => {
                findings.push(Finding::new(
                    Rule::Orphan,
                    format!("{path}"),
                    match (prune, pin) {
                        (true, PinState::Program(_) | PinState::Link(_)) => {
                            unpin(path, pin, layout).into()
                        }
                        (true, _) => Repair::Nothing("it is no pin".into()),
                        (false, _) => not_pruned(),
                    },
                ))
            }
        }
    }
    for (directory, pins) in revisions {
        findings.push(examine_revision(&directory, &pins, facts, prune, layout));
    }
    findings
}

fn unpin(path: &AbsolutePath, pin: &PinState, layout: &RuntimeLayout) -> Plan {
    let mut plan = Plan::new(format!("unpinning {path}"));
    plan.commit_point();
    add_unpin(&mut plan, path, pin);
    let directory = path.parent();
    let own = directory.filter(|directory| directory.is_below(&layout.map_sets()));
    if let Some(directory) = own {
        remove_pin_directory(&mut plan, directory);
    }
    plan
}

fn add_unpin(plan: &mut Plan, path: &AbsolutePath, pin: &PinState) {
    match pin {
        PinState::Program(program) => unpin_program(plan, program.identity.id, path.clone()),
        PinState::Map(map) => unpin_map(plan, map.id, path),
        PinState::Link(link) => unpin_link(plan, link.id, path),
        PinState::Free { .. } | PinState::Other => {}
    }
}

/// Looks at the directory of objects.
pub(super) fn examine_files(facts: &Facts, layout: &RuntimeLayout) -> Vec<Finding> {
    let known: BTreeSet<AbsolutePath> = records(facts)
        .filter_map(|record| record.load.object_path.parent())
        .collect();
    let orphans = facts.files.iter().filter(|path| !known.contains(path));
    orphans
        .map(|path| {
            let mut plan = Plan::new(format!("removing {path}"));
            let file = *path == layout.staged_object();
            let action = match file {
                true => FileAction::RemoveFile {
                    path: path.clone().into(),
                },
                false => FileAction::RemoveTree {
                    path: path.clone().into(),
                },
            };
            plan.push_final(Action::Files(action), "files do not come back");
            Finding::new(Rule::FilesLeft, format!("{path}"), plan.into())
        })
        .collect()
}
