//! Any bytes either are a program, a loader cache or a process's maps that can be searched, or are refused: no panic,
//! no endless loop, no memory out of proportion.

#![no_main]

use bpfman_core::target::Executable;
use bpfman_core::target::loader_cache;
use bpfman_core::target::loader_cache::LoaderFlags;
use bpfman_core::target::process_maps;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(executable) = Executable::parse(bytes) {
        let _ = executable.functions(&["main", "memcpy@GLIBC_2.14"]);
        let _ = executable.for_each_function(|_| {});
        let mut probes = Vec::new();
        let _ = executable.for_each_probe(|provider, name| {
            probes.push((provider.to_owned(), name.to_owned()));
        });
        for (provider, name) in probes.iter().take(4) {
            let _ = executable.usdt(provider, name);
        }
    }
    let _ = loader_cache::find(bytes, "c", LoaderFlags::here());
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = process_maps::find_library(text, "c");
    }
});
