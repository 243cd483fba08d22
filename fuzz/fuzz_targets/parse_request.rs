//! Any line either is a request of the helper or is refused as a bad request. It is only parsed: carried out,
//! a random request would mount and remove things.

#![no_main]

use bpfman_interpreter::kernel::protocol::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let _ = Request::parse(line);
});
