//! Any bytes either are an object that we can describe or are refused: no panic, no endless loop, no
//! memory out of proportion.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = bpfman_core::object::inspect(bytes);
});
