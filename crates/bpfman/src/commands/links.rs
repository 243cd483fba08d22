//! The commands on links.

use bpfman_core::links::AttachSpec;
use bpfman_core::managed::Link;
use bpfman_core::managed::METADATA_APPLICATION;
use bpfman_core::managed::Program;
use bpfman_core::types::LinkId;
use bpfman_core::types::ProgramId;
use bpfman_manager::LinkListing;
use bpfman_manager::LinkUpdate;
use bpfman_manager::ListedLink;
use bpfman_manager::Manager;
use bpfman_manager::ManagerError;

use super::each_once;
use super::plans;
use super::removed;
use crate::args;
use crate::args::AttachArgs;
use crate::args::DetachArgs;
use crate::args::Format;
use crate::args::GetLinkArgs;
use crate::args::Global;
use crate::args::LinkDeleteArgs;
use crate::args::LinkListArgs;
use crate::args::LinkUpdateArgs;
use crate::args::pairs;
use crate::config::Config;
use crate::output;
use crate::report::Failure;
use crate::world::with_manager;

pub(crate) fn attach(global: &Global, config: &Config, args: &AttachArgs) -> Result<(), Failure> {
    let (program, options) = args.kind.common();
    let spec = AttachSpec {
        program: ProgramId(program),
        request: args.kind.request(config)?,
        metadata: args::each_once(
            "metadata",
            &pairs(&options.metadata).cloned().collect::<Vec<_>>(),
        )?,
    };
    let format = options.output.output;
    with_manager(global, config, |manager| {
        if options.dry_run {
            return output::plan(format, &manager.plan_attach(&spec)?);
        }
        let link = manager.attach(&spec)?;
        warn_of_company(manager, &link)?;
        show(manager, format, link.id)
    })
}

/// What a chain cannot keep apart is said when it begins, and what it leaves behind.
pub(super) fn warn_of_company(manager: &mut Manager<'_>, link: &Link) -> Result<(), Failure> {
    let shares = link.details.membership().is_some();
    let Some(point) = link.details.attach_point().filter(|_| shares) else {
        return Ok(());
    };
    let status = manager.dispatcher(point)?;
    if status.share_tail_calls.contains(&link.id) {
        eprintln!(
            "bpfman: warning: {}: what one uses up the next ones lack",
            output::dispatchers::shared_tail_calls(&status)
        );
    }
    for hook in manager.unseen(&status)? {
        eprintln!(
            "bpfman: warning: program {} (`{}`, kernel link {}) is attached to program {} and does not see it run any \
             more: program {} runs here, with its instructions",
            hook.program, hook.name, hook.link, hook.target, status.dispatcher.program
        );
    }
    Ok(())
}

fn show(manager: &mut Manager<'_>, format: Format, id: LinkId) -> Result<(), Failure> {
    let status = manager.get_link(id)?;
    output::links::link(format, &status)
}

pub(crate) fn detach(global: &Global, config: &Config, args: &DetachArgs) -> Result<(), Failure> {
    let ids: Vec<LinkId> = each_once(&args.ids);
    with_manager(global, config, |manager| {
        if args.dry_run {
            let format = args.output.output;
            return plans(format, &ids, |id| match manager.plan_detach(id) {
                Err(ManagerError::NoSuchLink(_)) if args.ignore_missing => Ok(None),
                plan => plan.map(Some),
            });
        }
        detach_each(manager, args.output.output, &ids, args.ignore_missing)
    })
}

fn detach_each(
    manager: &mut Manager<'_>,
    format: Format,
    ids: &[LinkId],
    ignore_missing: bool,
) -> Result<(), Failure> {
    let results = manager
        .detach(ids)?
        .into_iter()
        .map(|(id, result)| match result {
            Err(ManagerError::NoSuchLink(_)) if ignore_missing => (id, Ok(Vec::new())),
            result => (id, result),
        });
    removed(format, "detached", results.collect())
}

pub(crate) fn get(global: &Global, config: &Config, args: &GetLinkArgs) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        show(manager, args.output.output, LinkId(args.id))
    })
}

pub(crate) fn update(
    global: &Global,
    config: &Config,
    args: &LinkUpdateArgs,
) -> Result<(), Failure> {
    let format = args.output.output;
    let link = LinkId(args.id);
    with_manager(global, config, |manager| {
        let proceed_on = match args.names_verdicts() {
            true => args.proceed_on(manager.get_link(link)?.record.kind())?,
            false => None,
        };
        let update = LinkUpdate {
            link,
            priority: args.priority,
            proceed_on,
        };
        if args.dry_run {
            return output::plan(format, &manager.plan_update_link(&update)?);
        }
        manager.update_link(&update)?;
        show(manager, format, link)
    })
}

pub(crate) fn list(global: &Global, config: &Config, args: &LinkListArgs) -> Result<(), Failure> {
    with_manager(global, config, |manager| {
        let mut listing = manager.list_links()?;
        let programs = &listing.programs;
        let of_program = |link: &ListedLink| {
            let owner = programs.get(&link.record.program);
            !selects_programs(args) || owner.is_some_and(|owner| wanted_program(args, owner))
        };
        listing
            .links
            .retain(|link| wanted(args, link) && of_program(link));
        if args.quiet {
            return output::print_text(&ids(&listing));
        }
        output::links::listing(args.output.output, &listing)
    })
}

fn wanted(args: &LinkListArgs, listed: &ListedLink) -> bool {
    let link = &listed.record;
    let metadata = |key: &str| link.metadata.get(key);
    args.program_id
        .is_none_or(|id| link.program == ProgramId(id))
        && (args.kinds.is_empty() || args.kinds.contains(&link.kind()))
        && pairs(&args.metadata).all(|(key, value)| metadata(key) == Some(value))
}

fn selects_programs(args: &LinkListArgs) -> bool {
    !args.program_types.is_empty()
        || args.application.is_some()
        || !args.metadata_selector.is_empty()
}

fn wanted_program(args: &LinkListArgs, owner: &Program) -> bool {
    let metadata = |key: &str| owner.metadata.get(key);
    (args.program_types.is_empty() || args.program_types.contains(&owner.load.program_type))
        && (args.application.is_none()
            || metadata(METADATA_APPLICATION) == args.application.as_ref())
        && pairs(&args.metadata_selector).all(|(key, value)| metadata(key) == Some(value))
}

fn ids(listing: &LinkListing) -> String {
    let line = |link: &ListedLink| format!("{}\n", link.record.id);
    listing.links.iter().map(line).collect()
}

pub(crate) fn delete(
    global: &Global,
    config: &Config,
    args: &LinkDeleteArgs,
) -> Result<(), Failure> {
    let ids: Vec<LinkId> = each_once(&args.ids);
    with_manager(global, config, |manager| {
        let programs = match args.recursive {
            true => programs_of(manager, &ids)?,
            false => Vec::new(),
        };
        detach_each(manager, Format::Text, &ids, false)?;
        let left = manager.list_links()?;
        let linked = |program: &ProgramId| {
            let mut links = left.links.iter();
            links.any(|link| link.record.program == *program)
        };
        let unlinked: Vec<ProgramId> = programs.into_iter().filter(|id| !linked(id)).collect();
        let unload = manager.with_dependants(&unlinked)?.into_iter();
        let results = unload.map(|program| (program, manager.unload(program)));
        removed(Format::Text, "unloaded", results.collect())
    })
}

/// The programs of links, each once.
fn programs_of(manager: &mut Manager<'_>, ids: &[LinkId]) -> Result<Vec<ProgramId>, Failure> {
    let listing = manager.list_links()?;
    let of_links = listing
        .links
        .iter()
        .filter(|link| ids.contains(&link.record.id));
    let mut programs: Vec<ProgramId> = of_links.map(|link| link.record.program).collect();
    programs.sort_unstable();
    programs.dedup();
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bpfman_core::links;
    use bpfman_core::links::AttachRequest;
    use bpfman_core::links::LinkDetails as D;
    use bpfman_core::links::LinkInterface;
    use bpfman_core::links::NetfilterFamily;
    use bpfman_core::links::NetfilterHook;
    use bpfman_core::links::ProbeWhen;
    use bpfman_core::links::Sampling;
    use bpfman_core::managed::Link;
    use bpfman_core::types::AbsolutePath;
    use bpfman_core::types::Direction;
    use bpfman_core::types::IfIndex;
    use bpfman_core::types::InterfaceName;
    use bpfman_core::types::MapId;
    use bpfman_core::types::NetnsId;
    use bpfman_core::types::Priority;
    use bpfman_core::types::ProgramType;
    use bpfman_core::types::TC_DEFAULT;
    use bpfman_core::types::UnixTime;
    use bpfman_core::types::XdpMode;
    use clap::Parser;

    use super::*;
    use crate::args::Cli;
    use crate::args::Command;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::parse(text).unwrap()
    }

    fn at() -> LinkInterface {
        LinkInterface {
            interface: InterfaceName::parse("eth0").unwrap(),
            ifindex: IfIndex(2),
            netns: Some(path("/run/netns/blue")),
            nsid: NetnsId(7),
        }
    }

    fn priority() -> Priority {
        Priority::new(10).unwrap()
    }

    fn of_interfaces() -> Vec<D> {
        let counter = Some(path("/run/bpfman/fs/links/1_counter"));
        vec![
            D::Xdp(links::Xdp {
                at: at(),
                priority: priority(),
                proceed_on: vec![0, 2],
                mode: XdpMode::Generic,
                counter,
            }),
            D::Tc(links::Tc {
                at: at(),
                direction: Direction::Egress,
                priority: priority(),
                proceed_on: TC_DEFAULT.to_vec(),
                counter: None,
            }),
            D::Tcx(links::Tcx {
                at: at(),
                direction: Direction::Ingress,
                priority: priority(),
            }),
            D::Netkit(links::Netkit {
                at: at(),
                peer: false,
                priority: priority(),
            }),
        ]
    }

    fn probes() -> Vec<D> {
        let probe = |offset| links::Uprobe {
            target: "/usr/bin/my program".to_owned(),
            fn_name: Some("main".to_owned()),
            offset,
            pid: Some(7),
            retprobe: false,
            container_pid: None,
        };
        let name = || "do_exit".to_owned();
        vec![
            D::Tracepoint(links::Tracepoint {
                group: "sched".to_owned(),
                name: "sched_switch".to_owned(),
            }),
            D::RawTracepoint(links::RawTracepoint { name: name() }),
            D::Kprobe(links::Kprobe {
                fn_name: name(),
                offset: 8,
                retprobe: false,
            }),
            D::Kretprobe(links::Kprobe {
                fn_name: name(),
                offset: 0,
                retprobe: true,
            }),
            D::KprobeMulti(links::KprobeMulti {
                functions: vec![name(), "vfs_read".to_owned()],
                when: ProbeWhen::Entry,
            }),
            D::Uprobe(probe(16)),
            D::Uretprobe(probe(0)),
            D::UprobeMulti(links::UprobeMulti {
                target: "libc".to_owned(),
                functions: vec!["malloc".to_owned(), "free".to_owned()],
                pid: None,
                container_pid: Some(9),
                when: ProbeWhen::Return,
            }),
            D::Usdt(links::Usdt {
                target: "/usr/bin/it's".to_owned(),
                provider: "lib".to_owned(),
                name: "entry".to_owned(),
                pid: None,
                container_pid: None,
                first_spec: 0,
                specs: 1,
            }),
            D::PerfEvent(links::SampledEvent {
                event: "cpu-clock".to_owned(),
                sampling: Sampling::Frequency(99),
                cpu: Some(0),
                pid: None,
            }),
        ]
    }

    fn others() -> Vec<D> {
        vec![
            D::Cgroup(links::Cgroup {
                path: path("/sys/fs/cgroup/a b"),
                cgroup_id: 3,
                attach_type: 1,
            }),
            D::SkLookup(links::WholeNamespace {
                netns: Some(path("/run/netns/blue")),
                nsid: NetnsId(7),
            }),
            D::FlowDissector(links::WholeNamespace {
                netns: None,
                nsid: NetnsId(7),
            }),
            D::Netfilter(links::Netfilter {
                family: NetfilterFamily::Ipv6,
                hook: NetfilterHook::LocalIn,
                priority: -5,
                defragment: true,
                netns: None,
                nsid: NetnsId(7),
            }),
            D::Iter(links::Iter {
                target: "bpf_map_elem".to_owned(),
                map: Some(path("/sys/fs/bpf/m")),
            }),
            D::StructOps(links::StructOps {
                map: "mine".to_owned(),
                map_id: MapId(3),
                struct_name: "tcp_congestion_ops".to_owned(),
            }),
            D::Sockmap(links::Sockmap {
                map: path("/sys/fs/bpf/m"),
                attach_type: 5,
            }),
            D::Fentry(links::BoundFunction {
                fn_name: "do_exit".to_owned(),
            }),
            D::Lsm(links::BoundHook {
                hook_name: "file_open".to_owned(),
            }),
        ]
    }

    #[test]
    fn the_command_that_attaches_a_link_again_asks_for_what_was_asked_for() {
        for details in [of_interfaces(), probes(), others()].concat() {
            let link = Link {
                id: LinkId(1),
                program: ProgramId(5),
                kernel: None,
                pin_path: None,
                metadata: BTreeMap::from([("owner".to_owned(), "team b".to_owned())]),
                created_at: UnixTime(0),
                details,
            };
            let words = link.attach_words(None, Some(ProgramType::CgroupSkb));
            let parsed = Cli::try_parse_from(&words);
            let parsed = parsed.unwrap_or_else(|error| panic!("{words:?}: {error}"));
            let Command::Attach(args) = parsed.command else {
                panic!("{words:?}");
            };
            assert_eq!(args.kind.common().0, 5);
            assert_eq!(args.kind.common().1.metadata.len(), 1);
            let asked = args.kind.request(&Config::default()).unwrap();
            let expected = link.details.request(None).unwrap();
            let expected = match expected {
                // A default is not spelled out.
                AttachRequest::Tc(links::TcRequest {
                    interface,
                    direction,
                    priority,
                    count,
                    ..
                }) => AttachRequest::Tc(links::TcRequest {
                    interface,
                    direction,
                    priority,
                    count,
                    proceed_on: None,
                }),
                other => other,
            };
            assert_eq!(asked, expected, "{words:?}");
        }
    }

    #[test]
    fn a_shell_reads_the_command_word_by_word() {
        let [_, .., usdt, _] = &probes()[..] else {
            panic!("there are probes");
        };
        let link = Link {
            id: LinkId(1),
            program: ProgramId(5),
            kernel: None,
            pin_path: None,
            metadata: BTreeMap::new(),
            created_at: UnixTime(0),
            details: usdt.clone(),
        };
        assert_eq!(
            link.attach_command(None, None),
            "bpfman attach usdt 5 '/usr/bin/it'\\''s' lib:entry"
        );
    }
}
