//! Any bytes either have no legacy maps, are refused, or become an object whose maps are read and which has no legacy
//! maps any more: no panic, no endless loop, no memory out of proportion.

#![no_main]

use bpfman_core::object::MAX_LEGACY_MAPS;
use bpfman_core::object::inspect;
use bpfman_core::object::with_btf_maps;
use libfuzzer_sys::fuzz_target;

/// What one map adds at most: its name, its types and its place.
const MAP_BYTES: usize = 2048;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(new)) = with_btf_maps(bytes) {
        assert!(new.len() <= 6 * bytes.len() + MAX_LEGACY_MAPS * MAP_BYTES);
        if inspect(&new).is_ok() {
            assert_eq!(with_btf_maps(&new), Ok(None));
        }
    }
});
