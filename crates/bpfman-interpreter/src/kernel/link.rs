//! Attaching and detaching.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use bpfman_core::action::AttachTarget;
use bpfman_core::action::OrderedPlace;
use bpfman_core::kernel::AttachOrder;
use bpfman_core::kernel::AttachedProgram;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::KernelLinkType;
use bpfman_core::kernel::Link;
use bpfman_core::kernel::LinkPlace;
use bpfman_core::links::Hook;
use bpfman_core::links::InterfaceTarget;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::IfIndex;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::MapId;
use bpfman_core::types::NetnsId;
use bpfman_core::types::ProgramId;
use bpfman_core::types::XdpMode;
use libbpf_rs::libbpf_sys;
use rustix::io::Errno;

use super::HeldPrograms;
use super::causes;
use super::errors::bad_request;
use super::errors::refused;
use super::errors::refused_by;
use super::errors::refused_for;
use super::features;
use super::namespace;
use super::pins;
use super::probe;
use super::program::function_type;
use super::sys;
use super::sys::LinkOptions;
use super::sys::Place;

/// How long a detach waits for the kernel to let a link go; tracepoints wait for RCU, tens of milliseconds.
const GONE_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause between two looks, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// What the kernel says about a link.
pub(super) fn info(fd: BorrowedFd<'_>) -> io::Result<Link> {
    let info = sys::link_info(fd)?;
    let place = match info.place {
        Place::Interface(index) => LinkPlace::Interface {
            ifindex: (index != 0).then_some(IfIndex(index)),
        },
        Place::Cgroup(cgroup) => LinkPlace::Cgroup { cgroup },
        Place::Namespace(inode) => LinkPlace::Namespace {
            netns: NetnsId(inode.into()),
        },
        Place::Map(map) => LinkPlace::Map {
            map: (map != 0).then_some(MapId(map)),
        },
        Place::Named(name) => LinkPlace::Named { name },
        Place::Unsaid => LinkPlace::Unsaid,
    };
    Ok(Link {
        id: KernelLinkId(info.id),
        program: ProgramId(info.program),
        link_type: KernelLinkType(info.link_type),
        place,
        facts: info.facts,
    })
}

/// Attaches.
pub(super) fn create(
    program: BorrowedFd<'_>,
    target: &AttachTarget,
    programs: &HeldPrograms,
) -> Result<OwnedFd, KernelError> {
    let made = match target {
        AttachTarget::Xdp { interface, mode } => at_xdp(program, interface, *mode)?,
        AttachTarget::Tcx {
            interface,
            direction,
            place,
        } => at_interface(program, interface, tcx_type(*direction), &ordered(*place))?,
        AttachTarget::Netkit {
            interface,
            peer,
            place,
        } => at_interface(program, interface, netkit_type(*peer), &ordered(*place))?,
        AttachTarget::Bound => sys::open_raw_tracepoint(program, None),
        AttachTarget::RawTracepoint { name } => sys::open_raw_tracepoint(program, Some(name)),
        AttachTarget::Tracepoint { .. }
        | AttachTarget::Kprobe { .. }
        | AttachTarget::Uprobe { .. }
        | AttachTarget::PerfEvent { .. } => return probe::perf_link(program, target),
        AttachTarget::KprobeMulti { functions, when } => {
            probe::kprobe_multi(program, functions, *when)
        }
        AttachTarget::UprobeMulti {
            path,
            sites,
            pid,
            when,
        } => return probe::several_places(program, path, sites, *pid, *when),
        AttachTarget::Cgroup { path, attach_type } => File::open(path.as_str())
            .and_then(|directory| at_descriptor(program, directory.as_fd(), *attach_type)),
        AttachTarget::Namespace { netns, attach_type } => {
            let file = namespace::open(netns)?;
            at_descriptor(program, file.as_fd(), *attach_type)
        }
        AttachTarget::Netfilter {
            netns,
            family,
            hook,
            priority,
            defragment,
        } => {
            let options = LinkOptions::Netfilter {
                family: *family,
                hook: *hook,
                priority: *priority,
                flags: u32::from(*defragment),
            };
            namespace::within(netns, || {
                sys::create_link(program, 0, libbpf_sys::BPF_NETFILTER, &options)
            })?
        }
        AttachTarget::Iter { map } => return iterator(program, map.as_ref()),
        AttachTarget::StructOps { map, path } => {
            let fd = super::open_map(*map, path)?;
            let flags = LinkOptions::Flags(0);
            sys::create_link(fd.as_fd(), 0, libbpf_sys::BPF_STRUCT_OPS, &flags)
        }
        AttachTarget::Sockmap { map, attach_type } => {
            let fd = open_map(map)?;
            at_descriptor(program, fd.as_fd(), *attach_type)
        }
        AttachTarget::Slot {
            dispatcher,
            function,
        } => {
            let dispatcher = super::held(programs, super::known_program(dispatcher)?)?;
            at_slot(program, dispatcher, function)?
        }
    };
    made.map_err(|error| refusal(target, &error))
}

pub(super) fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

fn at_interface(
    program: BorrowedFd<'_>,
    interface: &InterfaceTarget,
    attach_type: u32,
    options: &LinkOptions<'_>,
) -> Result<io::Result<OwnedFd>, KernelError> {
    namespace::within(&interface.netns, || {
        sys::create_link(program, interface.ifindex.0, attach_type, options)
    })
}

fn at_xdp(
    program: BorrowedFd<'_>,
    interface: &InterfaceTarget,
    mode: XdpMode,
) -> Result<io::Result<OwnedFd>, KernelError> {
    let made = at_interface(program, interface, libbpf_sys::BPF_XDP, &xdp_flags(mode))?;
    match made {
        // The kernel gives the number of many causes to an interface that is gone; who asks for it is told.
        Err(error) if is_invalid(&error) => {
            let asked =
                namespace::within(&interface.netns, || sys::xdp_program(interface.ifindex.0))?;
            let gone =
                |asked: &io::Error| asked.raw_os_error() == Some(Errno::NODEV.raw_os_error());
            Ok(Err(asked.err().filter(gone).unwrap_or(error)))
        }
        made => Ok(made),
    }
}

fn at_descriptor(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let number = target.as_raw_fd().cast_unsigned();
    sys::create_link(program, number, attach_type, &LinkOptions::Flags(0))
}

/// Attaches an extension in place of a function. Its attach type is none: `bpf_tracing_prog_attach` of the kernel.
fn at_slot(
    program: BorrowedFd<'_>,
    dispatcher: BorrowedFd<'_>,
    function: &str,
) -> Result<io::Result<OwnedFd>, KernelError> {
    let options = LinkOptions::Function(function_type(dispatcher, function)?);
    let number = dispatcher.as_raw_fd().cast_unsigned();
    Ok(sys::create_link(program, number, 0, &options))
}

fn xdp_flags(mode: XdpMode) -> LinkOptions<'static> {
    LinkOptions::Flags(match mode {
        XdpMode::Auto => 0,
        XdpMode::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
        XdpMode::Native => libbpf_sys::XDP_FLAGS_DRV_MODE,
        XdpMode::Offload => libbpf_sys::XDP_FLAGS_HW_MODE,
    })
}

fn tcx_type(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => libbpf_sys::BPF_TCX_INGRESS,
        Direction::Egress => libbpf_sys::BPF_TCX_EGRESS,
    }
}

fn netkit_type(peer: bool) -> u32 {
    match peer {
        false => libbpf_sys::BPF_NETKIT_PRIMARY,
        true => libbpf_sys::BPF_NETKIT_PEER,
    }
}

fn ordered(place: OrderedPlace) -> LinkOptions<'static> {
    LinkOptions::Ordered {
        before: place.before.map(|link| link.0),
        revision: place.revision,
    }
}

fn open_map(path: &AbsolutePath) -> Result<OwnedFd, KernelError> {
    pins::open(path)?.ok_or_else(|| {
        let message = format!("{path} is not the pin of a map");
        KernelError::new(KernelErrorKind::NotFound, message)
    })
}

fn iterator(program: BorrowedFd<'_>, map: Option<&AbsolutePath>) -> Result<OwnedFd, KernelError> {
    let map = map.map(open_map).transpose()?;
    let options = match &map {
        Some(fd) => LinkOptions::IterMap(fd.as_fd()),
        None => LinkOptions::Flags(0),
    };
    sys::create_link(program, 0, libbpf_sys::BPF_TRACE_ITER, &options)
        .map_err(|error| refused("attaching to an iterator", &error))
}

/// What is attached at a hook.
pub(super) fn attached(
    interface: &InterfaceTarget,
    hook: Hook,
) -> Result<AttachOrder, KernelError> {
    let attach_type = match hook {
        Hook::Xdp => return xdp_attached(interface),
        Hook::Tc(direction) | Hook::Tcx(direction) => tcx_type(direction),
        Hook::Netkit { peer } => netkit_type(peer),
    };
    let found = namespace::within(&interface.netns, || {
        sys::attached(interface.ifindex.0, attach_type)
    })?;
    let (revision, members) = found.map_err(|error| {
        let mut refusal = refused(&format!("querying the programs on {interface}"), &error);
        if let Some(why) = not_ordered(interface, hook, &error) {
            refusal.kind = KernelErrorKind::Unsupported;
            refusal.message = why;
        }
        refusal
    })?;
    let member = |(program, link): (u32, u32)| AttachedProgram {
        program: ProgramId(program),
        link: (link != 0).then_some(KernelLinkId(link)),
    };
    Ok(AttachOrder {
        revision,
        members: members.into_iter().map(member).collect(),
    })
}

/// Why a hook has no order of programs (`netkit_dev_fetch` of `drivers/net/netkit.c`); `None` when it is not that.
fn not_ordered(interface: &InterfaceTarget, hook: Hook, error: &io::Error) -> Option<String> {
    let errno = Errno::from_io_error(error)?;
    match (errno, hook) {
        (Errno::INVAL, Hook::Netkit { .. }) => {
            Some("this kernel has no netkit devices (Linux 6.7 has)".to_owned())
        }
        (Errno::INVAL, _) => Some("this kernel has no TCX hooks (Linux 6.6 has)".to_owned()),
        (Errno::NXIO, Hook::Netkit { .. }) => Some(format!("{interface} is no netkit device")),
        (Errno::ACCESS, Hook::Netkit { .. }) => Some(format!(
            "{interface} is the peer of a netkit device: the programs of both ends are those of the other one"
        )),
        _ => None,
    }
}

fn xdp_attached(interface: &InterfaceTarget) -> Result<AttachOrder, KernelError> {
    let found = namespace::within(&interface.netns, || sys::xdp_program(interface.ifindex.0))?;
    let program =
        found.map_err(|error| refused(&format!("querying the programs on {interface}"), &error))?;
    let only = AttachedProgram {
        program: ProgramId(program),
        link: None,
    };
    Ok(AttachOrder {
        revision: 0,
        members: (program != 0).then_some(only).into_iter().collect(),
    })
}

/// Detaches what is held; false where the type cannot, and the link ends with its last holder.
pub(super) fn detach(link: BorrowedFd<'_>) -> Result<bool, KernelError> {
    match sys::detach_link(link) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            // Its interface, cgroup or namespace has gone before it.
            Some(Errno::NOLINK | Errno::INVAL) => Ok(true),
            Some(Errno::OPNOTSUPP) => Ok(false),
            _ => Err(refused("detaching a link", &error)),
        },
    }
}

/// Waits until the kernel has none of these links any more; answers which are left.
pub(super) fn await_gone(links: &[KernelLinkId]) -> Result<Vec<KernelLinkId>, KernelError> {
    let start = Instant::now();
    let mut left = links.to_vec();
    let mut pause = FIRST_PAUSE;
    loop {
        let mut still = Vec::new();
        for link in left {
            if exists(link)? {
                still.push(link);
            }
        }
        if still.is_empty() || start.elapsed() > GONE_TIMEOUT {
            return Ok(still);
        }
        left = still;
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks without opening it: whoever opens a link keeps it alive, and may be the one who has to wait for its end.
fn exists(link: KernelLinkId) -> Result<bool, KernelError> {
    let next = sys::next_link_id(link.0.saturating_sub(1));
    let next = next.map_err(|error| refused("listing links", &error))?;
    Ok(next == Some(link.0))
}

/// Why an attach was refused.
pub(super) fn refusal(target: &AttachTarget, error: &io::Error) -> KernelError {
    let what = format!("attaching to {target}");
    if let Some(cause) = causes::of_attach(target, error) {
        return refused_by(&what, error, cause);
    }
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let reason = errno.and_then(|errno| reason(target, errno));
    let Some((kind, why)) = reason else {
        return refused_for(&what, error, needs(target));
    };
    let mut refusal = KernelError::new(kind, format!("{what}: {why}"));
    refusal.errno = error.raw_os_error();
    refusal
}

/// What an error number means for one kind of target; `None` where it may mean several things.
fn reason(target: &AttachTarget, errno: Errno) -> Option<(KernelErrorKind, String)> {
    use AttachTarget as T;
    let (kind, why) = match (errno, target) {
        (Errno::STALE, _) => (
            KernelErrorKind::Stale,
            "the order of its programs changed meanwhile",
        ),
        (Errno::EXIST, T::Tcx { .. } | T::Netkit { .. } | T::Tracepoint { .. }) => (
            KernelErrorKind::Taken,
            "this program is attached there already",
        ),
        (Errno::BUSY | Errno::EXIST, T::StructOps { .. }) => (
            KernelErrorKind::Taken,
            "something of its name is registered already",
        ),
        (Errno::BUSY | Errno::EXIST, _) => {
            (KernelErrorKind::Taken, "another program is attached there")
        }
        (Errno::NODEV, T::Xdp { .. } | T::Tcx { .. } | T::Netkit { .. }) => {
            (KernelErrorKind::NotFound, "the interface is gone")
        }
        (Errno::NOENT | Errno::ADDRNOTAVAIL | Errno::INVAL, T::Kprobe { .. })
        | (Errno::NOENT | Errno::SRCH, T::KprobeMulti { .. }) => (
            KernelErrorKind::NotFound,
            "this kernel cannot probe such a function",
        ),
        (Errno::SRCH, T::Uprobe { .. } | T::UprobeMulti { .. } | T::PerfEvent { .. }) => {
            (KernelErrorKind::NotFound, "there is no such process")
        }
        (Errno::NOENT, T::RawTracepoint { .. }) => (
            KernelErrorKind::NotFound,
            "this kernel has no such tracepoint",
        ),
        (Errno::OPNOTSUPP, T::Xdp { .. }) => (
            KernelErrorKind::Unsupported,
            "the interface does not support this XDP mode",
        ),
        (Errno::INVAL, T::Slot { .. }) => (
            KernelErrorKind::Unsupported,
            "the program is no extension, or one of a function that differs",
        ),
        (Errno::INVAL | Errno::OPNOTSUPP, _) => {
            let lacking = features::lacking(target)?;
            let why = format!("this kernel has no {lacking}");
            return Some((KernelErrorKind::Unsupported, why));
        }
        _ => return None,
    };
    Some((kind, why.to_owned()))
}

/// The link that is held under an id.
pub(super) fn unheld(link: KernelLinkId) -> KernelError {
    bad_request(format!("link {link} is not held"))
}

/// A program type whose capabilities an attach needs too.
fn needs(target: &AttachTarget) -> &'static [KernelProgramType] {
    match target {
        AttachTarget::Tracepoint { .. }
        | AttachTarget::RawTracepoint { .. }
        | AttachTarget::Kprobe { .. }
        | AttachTarget::KprobeMulti { .. }
        | AttachTarget::Uprobe { .. }
        | AttachTarget::UprobeMulti { .. }
        | AttachTarget::PerfEvent { .. } => &[KernelProgramType::KPROBE],
        AttachTarget::Xdp { .. }
        | AttachTarget::Tcx { .. }
        | AttachTarget::Netkit { .. }
        | AttachTarget::Namespace { .. }
        | AttachTarget::Netfilter { .. }
        | AttachTarget::Cgroup { .. } => &[KernelProgramType::XDP],
        AttachTarget::Slot { .. } => &[KernelProgramType::EXTENSION],
        AttachTarget::Bound
        | AttachTarget::Iter { .. }
        | AttachTarget::StructOps { .. }
        | AttachTarget::Sockmap { .. } => &[],
    }
}
