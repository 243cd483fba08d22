//! What is left behind.

use crate::common::differences;
use crate::refused::printed;
use crate::scenes::Scene;
use bpfman_core::managed::Dispatcher;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_model::EffectResult;
use bpfman_model::Node;
use bpfman_model::Places;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// That nothing is reported undone that is not: each difference is named by an undo that failed, or lies around
/// what it names.
pub(crate) fn assert_all_left_is_named(
    name: &str,
    before: &Places,
    scene: &Scene,
    error: &ExecutionError,
) {
    let after = scene.places();
    let failed = printed(&error.failed_undos);
    let named = paths_of_refused_undos(scene, &failed);
    for path in differences(before, &after) {
        assert!(
            named
                .iter()
                .any(|named| *named == path || named.is_below(&path)),
            "{name}: {}: {path} is not as it was, but only these are reported: {failed:?}",
            error.action
        );
    }
    for record in before.records() {
        let change = format!("record program {}", record.id());
        assert!(after.records().contains(&record) || names_change(&failed, &change));
    }
    for record in after.records() {
        assert!(before.records().contains(&record), "{name}: a new record");
    }
    assert_links_left_are_named(name, before, &after, &failed);
    for id in before.programs.keys() {
        let lines = [
            format!("pin program {id} "),
            format!("attach program {id} as filter "),
        ];
        let swap = format!(" for {id}");
        let named = failed.iter().any(|failed| {
            lines.iter().any(|line| failed.contains(line)) || failed.ends_with(&swap)
        }) || goes_with_its_link(before, &failed, *id);
        assert!(after.programs.contains_key(id) || named, "{name}: {id}");
    }
    // What is not pinned is gone with the process, whatever else failed.
    for id in after.programs.keys() {
        let mut attached = after.links.values().map(|link| link.program);
        let mut filters = after.filters.values();
        let extended = after.slots.keys().any(|(dispatcher, _)| dispatcher == id);
        let attached =
            extended || attached.any(|found| found == *id) || filters.any(|found| found == id);
        assert!(
            attached || pinned(&after, &Node::Program(*id)),
            "{name}: {id} is held"
        );
    }
}

/// Whether an undo that failed was to make this change of the records, alone or together with others.
fn names_change(failed: &[String], change: &str) -> bool {
    let changes = failed
        .iter()
        .filter_map(|line| line.strip_prefix("store   "));
    changes
        .flat_map(|line| line.split(", "))
        .any(|named| named == change)
}

/// Whether a program that only a link held went with the link, which is named.
fn goes_with_its_link(before: &Places, failed: &[String], program: ProgramId) -> bool {
    let links = before.links.values();
    let mut links = links.filter(|link| link.program == program);
    links.any(|link| {
        let line = format!("pin link {} at ", link.id);
        failed.iter().any(|failed| failed.contains(&line))
    })
}

fn pinned(places: &Places, pin: &Node) -> bool {
    let mut pins = places.bpffs.values().flat_map(BTreeMap::values);
    pins.any(|node| node == pin)
}

fn assert_links_left_are_named(name: &str, before: &Places, after: &Places, failed: &[String]) {
    for record in before.link_records() {
        let change = format!("record link {}", record.id);
        assert!(after.link_records().contains(&record) || names_change(failed, &change));
    }
    for record in after.link_records() {
        let mut verbs = ["record", "delete"].into_iter();
        let named = verbs.any(|verb| names_change(failed, &format!("{verb} link {}", record.id)));
        let known = before.link_records().contains(&record);
        assert!(known || named, "{name}: a new record");
    }
    assert_dispatchers_left_are_named(name, before, after, failed);
    for (id, link) in &before.links {
        let line = format!("link {id} ");
        let named = failed
            .iter()
            .any(|failed| format!("{failed} ").contains(&line));
        assert!(after.links.get(id) == Some(link) || named, "{name}: {id}");
    }
    for id in after.links.keys() {
        let held = before.links.contains_key(id) || pinned(after, &Node::Link(*id));
        assert!(held, "{name}: link {id} is held");
    }
}

fn assert_dispatchers_left_are_named(
    name: &str,
    before: &Places,
    after: &Places,
    failed: &[String],
) {
    let (old, new) = (before.dispatchers(), after.dispatchers());
    let differ = |one: &[Dispatcher], other: &[Dispatcher]| -> Vec<Dispatcher> {
        let gone = one.iter().filter(|record| !other.contains(record));
        gone.cloned().collect()
    };
    for record in [differ(&old, &new), differ(&new, &old)].concat() {
        let changes = ["record", "delete"];
        let changes = changes.map(|verb| format!("{verb} attach point {}", record.point()));
        assert!(
            changes.iter().any(|change| names_change(failed, change)),
            "{name}: {}: {failed:?}",
            record.point()
        );
    }
    if before.filters != after.filters {
        let mut lines = failed.iter();
        assert!(lines.any(|line| line.contains(" filter ")), "{name}");
    }
}

/// The paths that the undos which failed were about: the report has templates, the world knows what became of them.
fn paths_of_refused_undos(scene: &Scene, failed: &[String]) -> BTreeSet<AbsolutePath> {
    let effects = scene.machine.world.effects();
    let refused: Vec<_> = effects
        .iter()
        .filter(|effect| effect.result == EffectResult::Refused)
        // The first is the step that failed.
        .skip(1)
        .collect();
    let lost = failed
        .iter()
        .filter(|failed| failed.contains("detach link"));
    let lost: Vec<&String> = lost.collect();
    assert_eq!(
        refused.len() + lost.len(),
        failed.len(),
        "{refused:?}: {failed:?}"
    );
    let refused = refused.iter().map(|effect| &effect.action);
    let words = refused.chain(lost).flat_map(|action| action.split(' '));
    words
        .filter_map(|word| AbsolutePath::parse(word).ok())
        .collect()
}
