//! Records of links that stand alone against the kernel.

use alloc::format;
use alloc::string::String;

use super::Finding;
use super::Ground;
use super::Mend;
use super::Rule;
use crate::action::Action;
use crate::action::KernelAction;
use crate::action::LinkReference;
use crate::action::Plan;
use crate::compute::DetachSnapshot;
use crate::compute::is_ours;
use crate::compute::pins::make_parents;
use crate::compute::pins::pin_link;
use crate::compute::plan_detach;
use crate::kernel;
use crate::kernel::LinkPlace;
use crate::kernel::PinState;
use crate::managed::Link;
use crate::types::AbsolutePath;
use crate::types::NetnsId;

/// Looks at one record.
pub(super) fn examine(snapshot: &DetachSnapshot, ground: Ground<'_>) -> Option<Finding> {
    let link = &snapshot.link;
    let at_pin = match &snapshot.pin {
        Some(PinState::Link(found)) if is_ours(link, found) => Some(found),
        _ => None,
    };
    let alone = snapshot.unpinned.as_ref();
    let alone = alone.filter(|found| is_ours(link, found));
    let taken = !matches!(&snapshot.pin, None | Some(PinState::Free { .. }));
    let (rule, mend) = match (at_pin, alone, &link.pin_path, &snapshot.pin) {
        (Some(found), ..) if !is_dead(found) => return None,
        (Some(_), ..) => (Rule::LinkDead, detach(snapshot)),
        (None, Some(_), Some(path), _) if taken => {
            let why = format!("something else is at {path}");
            (Rule::LinkPinTaken, Mend::Nothing(why))
        }
        (None, Some(found), _, _) if is_dead(found) => (Rule::LinkDead, detach(snapshot)),
        (None, Some(found), Some(path), Some(pin)) => {
            let plan = pin_again(&subject(link), found, path, pin, ground);
            (Rule::LinkUnpinned, plan.into())
        }
        // Whatever is at the pin is not ours.
        _ => {
            let gone = DetachSnapshot {
                pin: None,
                unpinned: None,
                link: link.clone(),
            };
            (Rule::LinkGone, detach(&gone))
        }
    };
    Some(Finding {
        rule,
        subject: subject(link),
        mend,
    })
}

pub(super) fn subject(link: &Link) -> String {
    format!(
        "link {} ({} of program {})",
        link.id,
        link.kind(),
        link.program
    )
}

/// Whether a link has outlived what it was attached to.
fn is_dead(found: &kernel::Link) -> bool {
    match &found.place {
        LinkPlace::Interface { ifindex } => ifindex.is_none(),
        LinkPlace::Cgroup { cgroup } => *cgroup == 0,
        LinkPlace::Namespace { netns } => *netns == NetnsId(0),
        LinkPlace::Map { map } => map.is_none(),
        LinkPlace::Named { .. } | LinkPlace::Unsaid => false,
    }
}

fn detach(snapshot: &DetachSnapshot) -> Mend {
    Mend::of(plan_detach(snapshot))
}

/// Takes hold of a link by its id and pins it.
pub(super) fn pin_again(
    subject: &str,
    found: &kernel::Link,
    path: &AbsolutePath,
    pin: &PinState,
    ground: Ground<'_>,
) -> Plan {
    let mut plan = Plan::new(format!("pinning {subject} again"));
    let pin = ground.mount(&mut plan, path, pin);
    plan.push_final(
        Action::Kernel(KernelAction::AdoptLink {
            link: found.id,
            program: found.program,
        }),
        "the plan lets go of it when it ends",
    );
    make_parents(&mut plan, path, &pin);
    pin_link(&mut plan, LinkReference::Known(found.id), path);
    plan
}
