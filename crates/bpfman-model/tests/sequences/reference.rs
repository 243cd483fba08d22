//! What must be there, told by the simplest of means.

use bpfman_core::managed::Link;
use bpfman_core::types::LinkId;
use bpfman_core::types::Priority;

/// A member as the reference knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) link: LinkId,
    pub(crate) program: usize,
    pub(crate) priority: u32,
    pub(crate) proceed_on: Vec<i32>,
}

impl Member {
    pub(crate) fn of(link: &Link, program: usize) -> Self {
        let membership = link.details.membership().unwrap();
        Self {
            link: link.id,
            program,
            priority: Priority::get(membership.priority),
            proceed_on: membership.proceed_on.to_vec(),
        }
    }
}

/// Who is where, in which order, and which links stand alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) points: [Vec<Member>; 2],
    /// With the programs that they run.
    pub(crate) alone: Vec<(LinkId, usize)>,
}

impl Reference {
    pub(crate) fn all(&self) -> Vec<LinkId> {
        let members = self.points.iter().flatten().map(|member| member.link);
        let alone = self.alone.iter().map(|(link, _)| *link);
        members.chain(alone).collect()
    }

    pub(crate) fn nth(&self, nth: usize) -> Option<LinkId> {
        let all = self.all();
        all.get(nth.checked_rem(all.len())?).copied()
    }

    pub(crate) fn nth_alone(&self, nth: usize) -> Option<LinkId> {
        let which = nth.checked_rem(self.alone.len())?;
        Some(self.alone[which].0)
    }

    pub(crate) fn nth_member(&self, nth: usize) -> Option<LinkId> {
        let members: Vec<&Member> = self.points.iter().flatten().collect();
        Some(members[nth.checked_rem(members.len())?].link)
    }

    /// New ones stand before their equals; a moved one is sorted by name, and all here have the same at a point.
    pub(crate) fn join(&mut self, point: usize, member: Member) {
        let members = &mut self.points[point];
        let before = members
            .iter()
            .position(|other| other.priority >= member.priority);
        members.insert(before.unwrap_or(members.len()), member);
    }

    /// Takes away the links that somebody knows to be gone, by number and program.
    pub(crate) fn leave(&mut self, gone: impl Fn(LinkId, usize) -> bool) {
        for members in &mut self.points {
            members.retain(|member| !gone(member.link, member.program));
        }
        self.alone.retain(|(link, program)| !gone(*link, *program));
    }

    pub(crate) fn alter(
        &mut self,
        link: LinkId,
        priority: Option<u32>,
        proceed_on: Option<&[i32]>,
    ) {
        for members in &mut self.points {
            if let Some(member) = members.iter_mut().find(|member| member.link == link) {
                member.priority = priority.unwrap_or(member.priority);
                if let Some(verdicts) = proceed_on {
                    member.proceed_on = verdicts.to_vec();
                }
            }
            // Stable: equals stay as they stood.
            members.sort_by_key(|member| member.priority);
        }
    }
}
