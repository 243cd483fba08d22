//! Links, and what is attached where.

use std::ffi::CString;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_ulong;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::ptr;

use bpfman_core::kernel::LinkFacts;
use libbpf_rs::libbpf_sys;
use libbpf_rs::libbpf_sys::bpf_iter_link_info;
use libbpf_rs::libbpf_sys::bpf_link_create_opts;
use libbpf_rs::libbpf_sys::bpf_link_info;
use libbpf_rs::libbpf_sys::bpf_link_update_opts;
use libbpf_rs::libbpf_sys::bpf_prog_query_opts;
use libbpf_rs::libbpf_sys::perf_event_attr;

use super::c_string;
use super::check;
use super::owned;

/// The longest name of a raw tracepoint we read, in bytes; the kernel cuts longer ones (`KSYM_NAME_LEN`).
const NAME_BYTES: usize = 512;
/// How many programs we ask for at one hook; `BPF_MPROG_MAX` of the kernel is 64.
const MAX_ATTACHED: usize = 64;

/// The first link id after `start`; `None` at the end.
pub(in crate::kernel) fn next_link_id(start: u32) -> io::Result<Option<u32>> {
    let mut next = 0;
    // SAFETY: `next` is a writable u32 for the time of the call.
    let answer = unsafe { libbpf_sys::bpf_link_get_next_id(start, &raw mut next) };
    match check(answer) {
        Ok(()) => Ok(Some(next)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a link by id.
pub(in crate::kernel) fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes a number only.
    owned(unsafe { libbpf_sys::bpf_link_get_fd_by_id(id) })
}

/// Where a link is attached, as far as we ask.
pub(in crate::kernel) enum Place {
    Interface(u32),
    Cgroup(u64),
    Namespace(u32),
    Map(u32),
    Named(String),
    Unsaid,
}

/// What the kernel says about a link.
pub(in crate::kernel) struct LinkInfo {
    pub(in crate::kernel) id: u32,
    pub(in crate::kernel) program: u32,
    pub(in crate::kernel) link_type: u32,
    pub(in crate::kernel) place: Place,
    pub(in crate::kernel) facts: LinkFacts,
}

/// What the kernel says about a link.
pub(in crate::kernel) fn link_info(fd: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = bpf_link_info::default();
    link_info_into(fd, &mut info)?;
    let about = &info.__bindgen_anon_1;
    // SAFETY: the kernel fills the member that the type names; all are plain numbers, zero before the call.
    let place = unsafe {
        match info.type_ {
            libbpf_sys::BPF_LINK_TYPE_XDP => Place::Interface(about.xdp.ifindex),
            libbpf_sys::BPF_LINK_TYPE_TCX => Place::Interface(about.tcx.ifindex),
            libbpf_sys::BPF_LINK_TYPE_NETKIT => Place::Interface(about.netkit.ifindex),
            libbpf_sys::BPF_LINK_TYPE_CGROUP => Place::Cgroup(about.cgroup.cgroup_id),
            libbpf_sys::BPF_LINK_TYPE_NETNS => Place::Namespace(about.netns.netns_ino),
            libbpf_sys::BPF_LINK_TYPE_STRUCT_OPS => Place::Map(about.struct_ops.map_id),
            libbpf_sys::BPF_LINK_TYPE_SOCKMAP => Place::Map(about.sockmap.map_id),
            libbpf_sys::BPF_LINK_TYPE_RAW_TRACEPOINT => Place::Named(tracepoint_name(fd)?),
            _ => Place::Unsaid,
        }
    };
    Ok(LinkInfo {
        id: info.id,
        program: info.prog_id,
        link_type: info.type_,
        place,
        facts: link_facts(&info),
    })
}

/// What belongs to the link's type besides its place.
fn link_facts(info: &bpf_link_info) -> LinkFacts {
    let about = &info.__bindgen_anon_1;
    let none = LinkFacts::default();
    let typed = |attach_type| LinkFacts {
        attach_type: Some(attach_type),
        ..none
    };
    // SAFETY: the kernel has filled the member that the type names; all are plain numbers, zero before the call.
    unsafe {
        match info.type_ {
            libbpf_sys::BPF_LINK_TYPE_TRACING => LinkFacts {
                target_obj_id: about.tracing.target_obj_id,
                target_btf_id: about.tracing.target_btf_id,
                ..typed(about.tracing.attach_type)
            },
            libbpf_sys::BPF_LINK_TYPE_CGROUP => typed(about.cgroup.attach_type),
            libbpf_sys::BPF_LINK_TYPE_NETNS => typed(about.netns.attach_type),
            libbpf_sys::BPF_LINK_TYPE_TCX => typed(about.tcx.attach_type),
            libbpf_sys::BPF_LINK_TYPE_NETKIT => typed(about.netkit.attach_type),
            libbpf_sys::BPF_LINK_TYPE_SOCKMAP => typed(about.sockmap.attach_type),
            libbpf_sys::BPF_LINK_TYPE_NETFILTER => LinkFacts {
                netfilter_pf: about.netfilter.pf,
                netfilter_hooknum: about.netfilter.hooknum,
                netfilter_priority: about.netfilter.priority,
                netfilter_flags: about.netfilter.flags,
                ..none
            },
            libbpf_sys::BPF_LINK_TYPE_KPROBE_MULTI => LinkFacts {
                kprobe_multi_count: about.kprobe_multi.count,
                kprobe_multi_flags: about.kprobe_multi.flags,
                kprobe_multi_missed: about.kprobe_multi.missed,
                ..none
            },
            libbpf_sys::BPF_LINK_TYPE_PERF_EVENT => {
                let event = &about.perf_event;
                match event.type_ {
                    libbpf_sys::BPF_PERF_EVENT_KPROBE | libbpf_sys::BPF_PERF_EVENT_KRETPROBE => {
                        let probe = &event.__bindgen_anon_1.kprobe;
                        LinkFacts {
                            kprobe_address: probe.addr,
                            kprobe_missed: probe.missed,
                            ..none
                        }
                    }
                    _ => none,
                }
            }
            _ => none,
        }
    }
}

fn tracepoint_name(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut name = vec![0_u8; NAME_BYTES];
    let mut info = bpf_link_info::default();
    info.__bindgen_anon_1.raw_tracepoint.tp_name = name.as_mut_ptr().expose_provenance() as u64;
    info.__bindgen_anon_1.raw_tracepoint.tp_name_len = NAME_BYTES as u32;
    // The kernel writes at most `tp_name_len` bytes to `tp_name`: `name` holds that many.
    link_info_into(fd, &mut info)?;
    let text = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn link_info_into(fd: BorrowedFd<'_>, info: &mut bpf_link_info) -> io::Result<()> {
    let mut length = size_of::<bpf_link_info>() as u32;
    // SAFETY: `info` is writable for `length` bytes; the buffer it points to is as long as it says (the only
    // caller that sets one is `tracepoint_name`).
    check(unsafe { libbpf_sys::bpf_link_get_info_by_fd(fd.as_raw_fd(), info, &raw mut length) })
}

/// What a link is made with, beyond program, target and attach type.
pub(in crate::kernel) enum LinkOptions<'a> {
    /// Flags only.
    Flags(u32),
    /// A perf event link.
    PerfEvent { cookie: u64 },
    /// A place in an order: before a link, or last.
    Ordered { before: Option<u32>, revision: u64 },
    /// Several functions of the kernel.
    KprobeMulti {
        functions: &'a [CString],
        flags: u32,
    },
    /// Several offsets of a file.
    UprobeMulti {
        path: &'a str,
        offsets: &'a [c_ulong],
        counters: &'a [c_ulong],
        cookies: &'a [u64],
        pid: u32,
        flags: u32,
    },
    /// A netfilter hook.
    Netfilter {
        family: u32,
        hook: u32,
        priority: i32,
        flags: u32,
    },
    /// An iterator over the elements of a map.
    IterMap(BorrowedFd<'a>),
    /// A function of the target's BTF.
    Function(u32),
}

/// What the pointers in a link's options point to.
#[derive(Default)]
struct Pointees {
    names: Vec<*const c_char>,
    path: CString,
    map: bpf_iter_link_info,
}

/// Makes a link; `program` is a map for a struct_ops link, and `target` is a descriptor or an interface index, as the attach type has it.
pub(in crate::kernel) fn create_link(
    program: BorrowedFd<'_>,
    target: u32,
    attach_type: u32,
    options: &LinkOptions<'_>,
) -> io::Result<OwnedFd> {
    let mut opts = bpf_link_create_opts {
        sz: size_of::<bpf_link_create_opts>() as libbpf_sys::size_t,
        ..bpf_link_create_opts::default()
    };
    let mut pointees = Pointees::default();
    fill(&mut opts, options, &mut pointees)?;
    // SAFETY: every pointer in `opts` is to memory of `options` or `pointees`, which outlive the call, and is as
    // long as its count says.
    owned(unsafe {
        libbpf_sys::bpf_link_create(
            program.as_raw_fd(),
            target.cast_signed(),
            attach_type,
            &raw const opts,
        )
    })
}

fn fill(
    opts: &mut bpf_link_create_opts,
    options: &LinkOptions<'_>,
    pointees: &mut Pointees,
) -> io::Result<()> {
    let about = &mut opts.__bindgen_anon_1;
    match *options {
        LinkOptions::Flags(flags) => opts.flags = flags,
        LinkOptions::PerfEvent { cookie } => about.perf_event.bpf_cookie = cookie,
        LinkOptions::Ordered { before, revision } => {
            about.tcx.relative_id = before.unwrap_or(0);
            about.tcx.expected_revision = revision;
            opts.flags = match before {
                Some(_) => libbpf_sys::BPF_F_BEFORE | libbpf_sys::BPF_F_ID | libbpf_sys::BPF_F_LINK,
                None => libbpf_sys::BPF_F_AFTER,
            };
        }
        LinkOptions::KprobeMulti { functions, flags } => {
            pointees.names = functions.iter().map(|name| name.as_ptr()).collect();
            about.kprobe_multi.flags = flags;
            about.kprobe_multi.cnt = pointees.names.len() as u32;
            about.kprobe_multi.syms = pointees.names.as_mut_ptr();
        }
        LinkOptions::UprobeMulti {
            path,
            offsets,
            counters,
            cookies,
            pid,
            flags,
        } => {
            assert!(
                offsets.len() == counters.len() && offsets.len() == cookies.len(),
                "every probed place has an offset, a counter and a cookie"
            );
            pointees.path = c_string(path)?;
            about.uprobe_multi.flags = flags;
            about.uprobe_multi.cnt = offsets.len() as u32;
            about.uprobe_multi.path = pointees.path.as_ptr();
            about.uprobe_multi.offsets = offsets.as_ptr();
            about.uprobe_multi.ref_ctr_offsets = counters.as_ptr();
            about.uprobe_multi.cookies = cookies.as_ptr();
            about.uprobe_multi.pid = pid;
        }
        LinkOptions::Netfilter {
            family,
            hook,
            priority,
            flags,
        } => {
            about.netfilter.pf = family;
            about.netfilter.hooknum = hook;
            about.netfilter.priority = priority;
            about.netfilter.flags = flags;
        }
        LinkOptions::IterMap(fd) => {
            pointees.map.map.map_fd = fd.as_raw_fd().cast_unsigned();
            opts.iter_info = &raw mut pointees.map;
            opts.iter_info_len = size_of::<bpf_iter_link_info>() as u32;
        }
        LinkOptions::Function(id) => opts.target_btf_id = id,
    }
    Ok(())
}

/// Attaches to a raw tracepoint; without a name, to what the program was bound to when it was loaded.
pub(in crate::kernel) fn open_raw_tracepoint(
    program: BorrowedFd<'_>,
    name: Option<&str>,
) -> io::Result<OwnedFd> {
    let name = name.map(c_string).transpose()?;
    let name = name.as_ref().map_or(ptr::null(), |name| name.as_ptr());
    // SAFETY: the name is NULL or a string that outlives the call.
    owned(unsafe { libbpf_sys::bpf_raw_tracepoint_open(name, program.as_raw_fd()) })
}

/// Gives a link another program, provided that it has `from` now.
pub(in crate::kernel) fn update_link(
    link: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
) -> io::Result<()> {
    let opts = bpf_link_update_opts {
        sz: size_of::<bpf_link_update_opts>() as libbpf_sys::size_t,
        flags: libbpf_sys::BPF_F_REPLACE,
        old_prog_fd: from.as_raw_fd().cast_unsigned(),
        ..bpf_link_update_opts::default()
    };
    // SAFETY: `opts` is as long as it says, and outlives the call.
    check(unsafe { libbpf_sys::bpf_link_update(link.as_raw_fd(), to.as_raw_fd(), &raw const opts) })
}

/// Detaches a link whose type knows how to; the others go with their last descriptor.
pub(in crate::kernel) fn detach_link(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `fd` is open for the time of the call.
    check(unsafe { libbpf_sys::bpf_link_detach(fd.as_raw_fd()) })
}

/// The revision of a hook, and its (program, link) pairs; a link of 0 is none.
pub(in crate::kernel) fn attached(
    target: u32,
    attach_type: u32,
) -> io::Result<(u64, Vec<(u32, u32)>)> {
    let mut programs = [0_u32; MAX_ATTACHED];
    let mut links = [0_u32; MAX_ATTACHED];
    let mut opts = bpf_prog_query_opts {
        sz: size_of::<bpf_prog_query_opts>() as libbpf_sys::size_t,
        prog_ids: programs.as_mut_ptr(),
        link_ids: links.as_mut_ptr(),
        ..bpf_prog_query_opts::default()
    };
    opts.__bindgen_anon_1.count = MAX_ATTACHED as u32;
    // SAFETY: both arrays hold as many numbers as `count` says.
    check(unsafe {
        libbpf_sys::bpf_prog_query_opts(target.cast_signed(), attach_type, &raw mut opts)
    })?;
    // SAFETY: the kernel wrote the member that we set.
    let count = unsafe { opts.__bindgen_anon_1.count } as usize;
    let pairs = programs.into_iter().zip(links).take(count);
    Ok((opts.revision, pairs.collect()))
}

/// How the programs of a cgroup were attached (`attach_flags` of `BPF_PROG_QUERY`), and their ids.
pub(in crate::kernel) fn cgroup_programs(
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<(u32, Vec<u32>)> {
    let mut programs = [0_u32; MAX_ATTACHED];
    let mut opts = bpf_prog_query_opts {
        sz: size_of::<bpf_prog_query_opts>() as libbpf_sys::size_t,
        prog_ids: programs.as_mut_ptr(),
        ..bpf_prog_query_opts::default()
    };
    opts.__bindgen_anon_1.count = MAX_ATTACHED as u32;
    // SAFETY: the array holds as many numbers as `count` says.
    check(unsafe {
        libbpf_sys::bpf_prog_query_opts(cgroup.as_raw_fd(), attach_type, &raw mut opts)
    })?;
    // SAFETY: the kernel wrote the member that we set.
    let count = unsafe { opts.__bindgen_anon_1.count } as usize;
    let programs = programs.into_iter().take(count);
    Ok((opts.attach_flags, programs.collect()))
}

/// The XDP program of an interface; 0 for none.
pub(in crate::kernel) fn xdp_program(ifindex: u32) -> io::Result<u32> {
    let mut id = 0;
    // SAFETY: `id` is a writable u32 for the time of the call.
    check(unsafe { libbpf_sys::bpf_xdp_query_id(ifindex.cast_signed(), 0, &raw mut id) })?;
    Ok(id)
}

/// What a perf event is opened with.
pub(in crate::kernel) struct PerfEventRequest<'a> {
    pub(in crate::kernel) event_type: u32,
    pub(in crate::kernel) config: u64,
    /// `config1`: the name of a function or of a file, for a kprobe or uprobe.
    pub(in crate::kernel) name: Option<&'a str>,
    /// `config2`: the offset in it.
    pub(in crate::kernel) offset: u64,
    pub(in crate::kernel) sample: u64,
    /// Whether `sample` is a frequency.
    pub(in crate::kernel) frequency: bool,
    pub(in crate::kernel) pid: i32,
    pub(in crate::kernel) cpu: i32,
}

pub(in crate::kernel) fn open_perf_event(request: &PerfEventRequest<'_>) -> io::Result<OwnedFd> {
    /// `PERF_FLAG_FD_CLOEXEC` of `linux/perf_event.h`.
    const CLOSE_ON_EXEC: c_ulong = 1 << 3;
    let name = request.name.map(c_string).transpose()?;
    let mut attr = perf_event_attr {
        type_: request.event_type,
        size: size_of::<perf_event_attr>() as u32,
        config: request.config,
        ..perf_event_attr::default()
    };
    attr.__bindgen_anon_1.sample_period = request.sample;
    attr.set_freq(request.frequency.into());
    if let Some(name) = &name {
        attr.__bindgen_anon_3.config1 = name.as_ptr().expose_provenance() as u64;
    }
    attr.__bindgen_anon_4.config2 = request.offset;
    // SAFETY: `attr` is as long as it says, and the name it may point to outlives the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            request.pid,
            request.cpu,
            -1 as c_int,
            CLOSE_ON_EXEC,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    owned(answer as c_int)
}

/// Makes a perf event count.
pub(in crate::kernel) fn enable_perf_event(fd: BorrowedFd<'_>) -> io::Result<()> {
    /// `PERF_EVENT_IOC_ENABLE` of `linux/perf_event.h`.
    const ENABLE: c_ulong = 0x2400;
    // SAFETY: the request takes a number only.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), ENABLE as _, 0) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
