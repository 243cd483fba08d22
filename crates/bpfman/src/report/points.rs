//! Failures at attach points that several programs share, and of replacements.

use bpfman_core::chain::ChainError;
use bpfman_core::chain::Refusal;
use bpfman_core::compute::MemberName;
use bpfman_core::compute::PointRefusal;
use bpfman_core::compute::PointState;
use bpfman_core::compute::ReplaceRefusal;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_interpreter::executor::ActionError;
use bpfman_manager::ManagerError;

use super::FOREIGN_PROGRAM_PIN;
use super::Failure;
use super::Kind;
use super::permission_hint;

pub(super) fn refusal(message: String, refusal: &PointRefusal) -> Failure {
    use PointRefusal as R;
    let kind = match refusal {
        R::NoCounter | R::OtherMode { .. } => Kind::Input,
        _ => Kind::Failed,
    };
    let hint = match refusal {
        R::Foreign { .. } => {
            "`bpftool net` or `xdp-loader status` shows it; detach it with the tool that attached it"
                .to_owned()
        }
        R::PinLost { .. } => {
            "`bpfman dispatcher list` shows it; `bpfman dispatcher delete` detaches all of it"
                .to_owned()
        }
        R::ProgramGone { link, program, .. } => format!(
            "`bpfman detach {link}`, `bpfman unload {program}`, then load it again"
        ),
        R::NoInstructions { link, program } => format!(
            "they are kept at load: `bpfman detach {link}`, `bpfman unload {program}`, then load it again"
        ),
        R::Chain(error) => chain_hint(error),
        R::Extended { extension, .. } => format!(
            "detach kernel link {}, or attach the program where it is alone",
            extension.link
        ),
        R::NoTypes { program, .. } => format!(
            "build it with -g, then `bpfman program replace {program} OBJECT`"
        ),
        R::NoFreeSlot { .. } => {
            "`bpfman detach` one of them; programs loaded with --engine auto need no slots".to_owned()
        }
        R::NotAttached { link, state: PointState::Detached } => format!(
            "`bpfman reconcile --reattach` attaches it again; or `bpfman detach {link}`"
        ),
        R::NotAttached { link, .. } => {
            format!("`bpfman detach {link}`, then attach its program anew")
        }
        R::AttachedAlready { link, .. } => {
            format!("`bpfman link get {link}` shows it; another --priority makes it run twice")
        }
        R::RecordInTheWay { .. } => {
            "`bpfman doctor` says where they are; `bpfman reconcile` repairs what it can".to_owned()
        }
        R::NoCounter => "leave --stats out; `bpfman get` shows what the kernel counts".to_owned(),
        R::OtherMode { .. } => {
            "--mode auto joins what runs there, as it runs; else detach that first".to_owned()
        }
    };
    Failure::new(kind, message).hint(hint)
}

fn chain_hint(error: &ChainError<MemberName>) -> String {
    let again = |member: &MemberName| {
        format!(
            "detach link {}, then unload and load its program again",
            member.link
        )
    };
    match error {
        ChainError::Damaged { member, .. } => again(member),
        ChainError::Refused {
            member,
            refusal: Refusal::Verdicts { .. },
        } => format!("name fewer verdicts in --proceed-on (link {})", member.link),
        ChainError::Refused { .. } | ChainError::TooLarge { .. } => {
            "attach it where it is alone, or attach fewer programs there".to_owned()
        }
    }
}

/// Why there is no chain decides what kind of failure it is: extensions were only the way out.
pub(super) fn not_joined(message: String, chain: ManagerError, extension: &ActionError) -> Failure {
    let failure = Failure {
        message,
        ..Failure::from(chain)
    };
    match extension {
        ActionError::Kernel(cause) if cause.kind == KernelErrorKind::Permission => failure.hint(
            format!("extensions are no way out here: {}", permission_hint(cause)),
        ),
        _ => failure,
    }
}

pub(super) fn replace_refusal(message: String, refusal: &ReplaceRefusal) -> Failure {
    let failure = |kind| Failure::new(kind, message.clone());
    match refusal {
        ReplaceRefusal::NotSwappable(_) => failure(Kind::Input)
            .hint(
                "--allow-overlap attaches the new program, then detaches the old one: for a moment both run",
            )
            .hint(
                "--allow-gap detaches the old program, then attaches the new one: for a moment neither runs",
            ),
        ReplaceRefusal::NotReplaceable(link, ..) => failure(Kind::Failed).hint(format!(
            "`bpfman detach {link}`, replace, then attach the new program"
        )),
        ReplaceRefusal::Attach(cause) => super::attach_refusal(message, cause),
        ReplaceRefusal::LinkGone(link) => {
            failure(Kind::Failed).hint(format!("`bpfman detach {link}`, then replace again"))
        }
        ReplaceRefusal::Unload(_) => failure(Kind::Failed).hint(FOREIGN_PROGRAM_PIN),
        ReplaceRefusal::Point(cause) => self::refusal(message, cause),
    }
}

#[cfg(test)]
mod tests {
    use bpfman_core::kernel::KernelError;
    use bpfman_core::kernel::PermissionFacts;
    use bpfman_core::types::LinkId;

    use super::*;

    fn deep() -> ManagerError {
        let refusal = Refusal::Stack {
            needed: 512,
            left: 480,
        };
        let member = MemberName {
            link: LinkId(3),
            program: "deep".to_owned(),
        };
        PointRefusal::Chain(ChainError::Refused { member, refusal }).into()
    }

    fn not_joined(permission: PermissionFacts) -> Failure {
        let mut refused = KernelError::new(KernelErrorKind::Permission, "not permitted".into());
        refused.permission = Some(permission);
        Failure::from(ManagerError::NotJoined {
            chain: Box::new(deep()),
            extension: ActionError::Kernel(refused),
        })
    }

    #[test]
    fn without_chain_and_extensions_both_reasons_and_what_is_known_are_told() {
        let failure = not_joined(PermissionFacts {
            missing_capabilities: Vec::new(),
            lockdown: Some("none [integrity] confidentiality".to_owned()),
            ..PermissionFacts::default()
        });
        assert_eq!(
            failure.message,
            "link 3 (program deep) needs 512 bytes of stack, of which a chain leaves 480; \
             as extensions of a dispatcher: not permitted"
        );
        assert_eq!(failure.kind, Kind::Failed);
        let [chain, extensions] = failure.hints.as_slice() else {
            panic!("{:?}", failure.hints);
        };
        assert!(chain.contains("where it is alone"), "{chain}");
        // Lockdown is a fact, not the reason: it refuses no program type.
        assert!(extensions.contains("gives no reason"), "{extensions}");
        assert!(extensions.ends_with("confidentiality"), "{extensions}");
    }

    #[test]
    fn without_lockdown_the_missing_capability_is_told() {
        let failure = not_joined(PermissionFacts {
            missing_capabilities: ["CAP_BPF".to_owned()].into(),
            ..PermissionFacts::default()
        });
        let hint = failure.hints.last().unwrap();
        assert!(hint.contains("CAP_BPF"), "{hint}");
    }

    #[test]
    fn the_way_out_names_both_options_or_the_link_that_is_in_the_way() {
        use bpfman_core::links::LinkKind;
        let links = [
            (LinkId(3), LinkKind::Kprobe),
            (LinkId(5), LinkKind::Tracepoint),
        ];
        let refusal = ReplaceRefusal::NotSwappable(links.into());
        let failure = Failure::from(ManagerError::ReplaceRefused(refusal));
        assert!(failure.message.contains("link 3 is of kind kprobe, link 5"));
        assert!(failure.hints[0].starts_with("--allow-overlap"));
        assert!(failure.hints[1].starts_with("--allow-gap"));
        let wrapped = ReplaceRefusal::Point(PointRefusal::NotAttached {
            link: LinkId(7),
            state: PointState::Missing,
        });
        let failure = Failure::from(ManagerError::ReplaceRefused(wrapped));
        assert!(failure.hints[0].starts_with("`bpfman detach 7`"));
    }
}
