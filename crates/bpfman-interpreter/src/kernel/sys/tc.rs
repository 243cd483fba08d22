//! Filters of the traffic control.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use libbpf_rs::libbpf_sys;
use libbpf_rs::libbpf_sys::bpf_tc_hook;
use libbpf_rs::libbpf_sys::bpf_tc_opts;

use super::check;

/// One filter: `ingress` or egress of an interface, under a preference and a handle.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Filter {
    pub(in crate::kernel) ifindex: u32,
    pub(in crate::kernel) ingress: bool,
    pub(in crate::kernel) preference: u32,
    pub(in crate::kernel) handle: u32,
}

fn hook(ifindex: u32, attach_point: u32) -> bpf_tc_hook {
    bpf_tc_hook {
        sz: size_of::<bpf_tc_hook>() as libbpf_sys::size_t,
        ifindex: ifindex.cast_signed(),
        attach_point,
        ..bpf_tc_hook::default()
    }
}

impl Filter {
    fn hook(self) -> bpf_tc_hook {
        let point = match self.ingress {
            true => libbpf_sys::BPF_TC_INGRESS,
            false => libbpf_sys::BPF_TC_EGRESS,
        };
        hook(self.ifindex, point)
    }

    fn opts(self) -> bpf_tc_opts {
        bpf_tc_opts {
            sz: size_of::<bpf_tc_opts>() as libbpf_sys::size_t,
            handle: self.handle,
            priority: self.preference,
            ..bpf_tc_opts::default()
        }
    }
}

/// Gives an interface the queueing discipline `clsact`.
pub(in crate::kernel) fn make_clsact(ifindex: u32) -> io::Result<()> {
    let mut hook = hook(ifindex, libbpf_sys::BPF_TC_INGRESS);
    // SAFETY: `hook` is writable and as long as it says.
    check(unsafe { libbpf_sys::bpf_tc_hook_create(&raw mut hook) })
}

/// Takes it away, with all filters.
pub(in crate::kernel) fn remove_clsact(ifindex: u32) -> io::Result<()> {
    let both = libbpf_sys::BPF_TC_INGRESS | libbpf_sys::BPF_TC_EGRESS;
    let mut hook = hook(ifindex, both);
    // SAFETY: `hook` is writable and as long as it says.
    check(unsafe { libbpf_sys::bpf_tc_hook_destroy(&raw mut hook) })
}

/// Attaches a program by a filter that is not there yet.
pub(in crate::kernel) fn add_filter(filter: Filter, program: BorrowedFd<'_>) -> io::Result<()> {
    attach(filter, program, 0)
}

/// Gives a filter another program.
pub(in crate::kernel) fn replace_filter(filter: Filter, program: BorrowedFd<'_>) -> io::Result<()> {
    attach(filter, program, libbpf_sys::BPF_TC_F_REPLACE)
}

fn attach(filter: Filter, program: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    let hook = filter.hook();
    let mut opts = filter.opts();
    opts.prog_fd = program.as_raw_fd();
    opts.flags = flags;
    // SAFETY: both structures are as long as they say.
    check(unsafe { libbpf_sys::bpf_tc_attach(&raw const hook, &raw mut opts) })
}

pub(in crate::kernel) fn remove_filter(filter: Filter) -> io::Result<()> {
    let (hook, opts) = (filter.hook(), filter.opts());
    // SAFETY: both structures are as long as they say.
    check(unsafe { libbpf_sys::bpf_tc_detach(&raw const hook, &raw const opts) })
}

/// The id of a filter's program.
pub(in crate::kernel) fn filter_program(filter: Filter) -> io::Result<u32> {
    let hook = filter.hook();
    let mut opts = filter.opts();
    // SAFETY: both structures are as long as they say.
    check(unsafe { libbpf_sys::bpf_tc_query(&raw const hook, &raw mut opts) })?;
    Ok(opts.prog_id)
}
