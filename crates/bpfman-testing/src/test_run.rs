//! Runs a program on a packet without any wire (`BPF_PROG_TEST_RUN`).

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use libbpf_rs::libbpf_sys;

/// Room for a packet that grows.
const LONGEST_PACKET: usize = 4096;

/// What a run answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// What the program returned.
    pub verdict: i32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// The context afterwards; empty where none was given.
    pub context: Vec<u8>,
}

/// Runs a program once. A context goes in only where it is not empty: `struct __sk_buff` for programs of TC.
///
/// # Errors
/// What the kernel answers.
pub fn test_run(program: BorrowedFd<'_>, packet: &[u8], context: &[u8]) -> io::Result<TestRun> {
    let mut data = vec![0_u8; LONGEST_PACKET];
    let mut after = vec![0_u8; context.len()];
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
        data_in: packet.as_ptr().cast(),
        data_size_in: size(packet),
        data_out: data.as_mut_ptr().cast(),
        data_size_out: size(&data),
        repeat: 1,
        ..Default::default()
    };
    if !context.is_empty() {
        options.ctx_in = context.as_ptr().cast();
        options.ctx_size_in = size(context);
        options.ctx_out = after.as_mut_ptr().cast();
        options.ctx_size_out = size(&after);
    }
    // SAFETY: every pointer is to a buffer of the size that stands beside it, and all of them outlive the call.
    let answer =
        unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
    if answer < 0 {
        return Err(io::Error::from_raw_os_error(-answer));
    }
    data.truncate(options.data_size_out as usize);
    after.truncate(options.ctx_size_out as usize);
    Ok(TestRun {
        verdict: options.retval.cast_signed(),
        packet: data,
        context: after,
    })
}
