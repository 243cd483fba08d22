//! What must hold at every attach point that several programs share.

use std::collections::BTreeSet;

use bpfman_core::compute::runs_alone;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::Hook;
use bpfman_core::links::SharedHook;
use bpfman_core::managed::Dispatcher;
use bpfman_core::managed::DispatcherForm;
use bpfman_core::managed::Link;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::LinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::RuntimeLayout;
use bpfman_core::types::TC_OK;
use bpfman_core::types::TC_PIPE;
use bpfman_core::types::XDP_PASS;
use bpfman_model::FilterKey;
use bpfman_model::Node;
use bpfman_model::Places;
use bpfman_model::Run;
use bpfman_model::World;

use super::path;

/// A verdict that goes on by default.
pub(crate) fn going_on(hook: SharedHook) -> i32 {
    match hook {
        SharedHook::Xdp { .. } => XDP_PASS,
        SharedHook::Tc { .. } => TC_PIPE,
    }
}

/// A verdict that ends every chain whose members do not go on after it: XDP's and TC's drop.
pub(crate) fn ending(hook: SharedHook) -> i32 {
    match hook {
        SharedHook::Xdp { .. } => 1,
        SharedHook::Tc { .. } => 2,
    }
}

/// The only record of an attach point.
pub(crate) fn only_dispatcher(world: &World) -> Dispatcher {
    let mut dispatchers = world.places().dispatchers();
    assert_eq!(dispatchers.len(), 1, "{dispatchers:?}");
    dispatchers.remove(0)
}

/// What the kernel calls with each packet: the program of the link or the filter.
pub(crate) fn called(places: &Places, dispatcher: &Dispatcher) -> Option<ProgramId> {
    if let Some((id, _)) = dispatcher.link() {
        return Some(places.links.get(&id)?.program);
    }
    let filter = dispatcher.filter()?;
    let key = FilterKey {
        interface: (dispatcher.at.nsid, dispatcher.at.ifindex),
        direction: filter.direction,
        preference: filter.preference,
        handle: filter.handle,
    };
    places.filters.get(&key).copied()
}

/// The programs that run at an attach point when each of them lets the packet go on.
pub(crate) fn runs_at(world: &World, dispatcher: &Dispatcher) -> Vec<ProgramId> {
    let verdict = going_on(dispatcher.hook);
    let program = called(&world.places(), dispatcher).expect("something is attached");
    world.run(program, |_| verdict).programs
}

fn members(places: &Places, dispatcher: &Dispatcher) -> Vec<Link> {
    let records = places.link_records();
    let record = |id: &LinkId| records.iter().find(|link| link.id == *id).cloned();
    let members: Option<Vec<Link>> = dispatcher.members.iter().map(record).collect();
    members.expect("every member has a record")
}

/// What members do that give these verdicts, by what is recorded.
fn expected(dispatcher: &Dispatcher, members: &[Link], verdict: impl Fn(ProgramId) -> i32) -> Run {
    let mut programs = Vec::new();
    for link in members {
        programs.push(link.program);
        let answer = verdict(link.program);
        let membership = link.details.membership().expect("a member shares");
        let direct = dispatcher.form == DispatcherForm::Direct;
        if direct || !membership.proceed_on.contains(&answer) {
            let verdict = answer;
            return Run { programs, verdict };
        }
    }
    let verdict = match dispatcher.hook {
        SharedHook::Xdp { .. } => XDP_PASS,
        SharedHook::Tc { .. } => TC_OK,
    };
    Run { programs, verdict }
}

/// That records, kernel and pins say the same of every attach point.
pub(crate) fn assert_consistent(world: &World) {
    let places = world.places();
    for dispatcher in places.dispatchers() {
        assert_runs_as_recorded(world, &places, &dispatcher);
    }
    assert_every_link_is_a_member(&places);
    assert_nothing_is_left(&places);
}

fn assert_runs_as_recorded(world: &World, places: &Places, dispatcher: &Dispatcher) {
    let members = members(places, dispatcher);
    assert!(!members.is_empty());
    let point = dispatcher.point();
    for link in &members {
        assert_eq!(link.details.attach_point(), Some(point));
    }
    assert!(members.is_sorted_by_key(|link| link.details.priority()));
    let called = called(places, dispatcher);
    assert_eq!(called, Some(dispatcher.program), "{dispatcher:?}");
    assert_eq!(
        dispatcher.form == DispatcherForm::Direct,
        is_direct(places, &members)
    );
    if let Some((id, path)) = dispatcher.link() {
        assert_eq!(pinned_at(places, path), Some(Node::Link(id)));
        let (hook, at) = kernel_hook(point);
        assert!(places.hooks[&AttachPoint { hook, ..at }].contains(&id));
    }
    let (on, end) = (going_on(dispatcher.hook), ending(dispatcher.hook));
    let mut tries: Vec<Option<ProgramId>> = members.iter().map(|link| Some(link.program)).collect();
    tries.push(None);
    for ends_at in tries {
        let verdict = |program| if Some(program) == ends_at { end } else { on };
        let run = world.run(dispatcher.program, verdict);
        assert_eq!(run, expected(dispatcher, &members, verdict));
    }
}

fn kernel_hook(point: AttachPoint) -> (Hook, AttachPoint) {
    let hook = match point.hook {
        Hook::Tc(direction) => Hook::Tcx(direction),
        other => other,
    };
    (hook, point)
}

fn is_direct(places: &Places, members: &[Link]) -> bool {
    let [one] = members else {
        return false;
    };
    let records = places.records();
    let program = records.iter().find(|record| record.id() == one.program);
    let membership = one.details.membership();
    let (program, membership) = program.zip(membership).expect("a member has a program");
    runs_alone(&membership, program.load.engine)
}

fn pinned_at(places: &Places, path: &AbsolutePath) -> Option<Node> {
    let mut below = places.bpffs.values();
    below.find_map(|nodes| nodes.get(path).cloned())
}

fn assert_every_link_is_a_member(places: &Places) {
    let dispatchers = places.dispatchers();
    let mut members: Vec<LinkId> = dispatchers
        .iter()
        .flat_map(|dispatcher| {
            let left_out = dispatcher.left_out.iter().map(|left_out| left_out.link);
            dispatcher.members.iter().copied().chain(left_out)
        })
        .collect();
    members.sort_unstable();
    let records = places.link_records().into_iter();
    let shared = records.filter(|link| link.details.membership().is_some());
    let shared: Vec<LinkId> = shared.map(|link| link.id).collect();
    assert_eq!(members, shared);
}

/// That each object of ours in the kernel, and each pin on our bpffs, is named by a record.
fn assert_nothing_is_left(places: &Places) {
    let dispatchers = places.dispatchers();
    let links = places.link_records();
    let records = places.records();
    let mut known_links: BTreeSet<KernelLinkId> =
        links.iter().filter_map(|link| link.kernel).collect();
    known_links.extend(dispatchers.iter().filter_map(|one| Some(one.link()?.0)));
    for id in places.links.keys() {
        assert!(known_links.contains(id), "link {id} has no record");
    }
    let mut known: BTreeSet<ProgramId> = records.iter().map(|record| record.id()).collect();
    known.extend(dispatchers.iter().map(|one| one.program));
    known.extend(places.links.values().map(|link| link.program));
    for id in places.programs.keys() {
        assert!(known.contains(id), "program {id} has no record");
    }
    let mut maps: BTreeSet<MapId> = records
        .iter()
        .flat_map(|record| record.maps.iter().map(|map| map.id))
        .collect();
    let used = places.programs.values().flat_map(|one| one.map_ids.clone());
    maps.extend(used);
    let counters = links
        .iter()
        .filter_map(|link| link.details.membership()?.counter);
    let counters: Vec<AbsolutePath> = counters.cloned().collect();
    maps.extend(
        counters
            .iter()
            .filter_map(|path| match pinned_at(places, path) {
                Some(Node::Map(id)) => Some(id),
                _ => None,
            }),
    );
    for id in places.maps.keys() {
        assert!(maps.contains(id), "map {id} has no record");
    }
    let mut paths: BTreeSet<AbsolutePath> = links
        .iter()
        .filter_map(|link| link.pin_path.clone())
        .collect();
    paths.extend(counters);
    for dispatcher in &dispatchers {
        paths.extend(dispatcher.link().map(|(_, path)| path.clone()));
        let layout = RuntimeLayout::new(path("/run/bpfman"));
        if let Some(directory) = dispatcher.directory(&layout) {
            let pin = directory.join("dispatcher");
            let pinned = pinned_at(places, &pin);
            assert_eq!(pinned, Some(Node::Program(dispatcher.program)), "{pin}");
            paths.insert(pin);
        }
    }
    paths.extend(records.iter().map(|record| record.pin_path.clone()));
    let maps = records.iter().flat_map(|record| record.maps.clone());
    paths.extend(maps.filter_map(|map| map.pin_path));
    let shown = |path: &AbsolutePath| path.as_str().starts_with("/sys/fs/bpf/xdp/");
    for (path, node) in places.bpffs.values().flatten() {
        if *node != Node::Directory && !shown(path) {
            assert!(paths.contains(path), "{path} has no record");
        }
    }
    assert_shown_to_libxdp(places);
}

/// That tools of libxdp are shown the members of each dispatcher of XDP, and nothing else.
fn assert_shown_to_libxdp(places: &Places) {
    let mut expected = BTreeSet::new();
    for dispatcher in places.dispatchers() {
        let extended = matches!(dispatcher.form, DispatcherForm::Extension { .. });
        if !extended || !matches!(dispatcher.hook, SharedHook::Xdp { .. }) {
            continue;
        }
        for (slot, link) in members(places, &dispatcher).iter().enumerate() {
            let runs = link.kernel.map(|id| places.links[&id].program);
            let runs = runs.expect("an extension has a link of its own");
            let directory = format!("dispatch-{}-{}", dispatcher.at.ifindex, dispatcher.program);
            expected.insert((format!("/sys/fs/bpf/xdp/{directory}/prog{slot}-prog"), runs));
        }
    }
    let mut found = BTreeSet::new();
    for (path, node) in places.bpffs.values().flatten() {
        match node {
            Node::Program(id) if path.as_str().starts_with("/sys/fs/bpf/xdp/") => {
                found.insert((path.to_string(), *id));
            }
            Node::Directory if path.as_str().starts_with("/sys/fs/bpf/xdp/dispatch-") => {
                let prefix = format!("{path}/");
                let named = expected.iter().any(|(pin, _)| pin.starts_with(&prefix));
                assert!(named, "{path} is left");
            }
            _ => {}
        }
    }
    assert_eq!(found, expected);
}
