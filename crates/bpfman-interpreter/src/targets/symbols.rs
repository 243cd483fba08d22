//! Whether the kernel has the symbols that an object leaves to it.
//!
//! Only what is certain: a name that no table of the kernel holds is missing. One that is there may still be something
//! else, which the load finds out.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use bpfman_core::object::Extern;
use bpfman_core::object::ExternKind;

use super::layouts::read;
use crate::kernel::read_gzip;
use crate::vmlinux;

/// The types of the kernel and of its modules, a file each.
const TYPES: &str = "/sys/kernel/btf";
const ADDRESSES: &str = "/proc/kallsyms";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// That of Linux 6.18 takes 300 KB.
const MAX_CONFIGURATION_BYTES: usize = 16 << 20;
/// What libbpf itself knows of a kernel (`bpf_object__resolve_externs`).
const FROM_LIBBPF: [&str; 3] = [
    "LINUX_KERNEL_VERSION",
    "LINUX_HAS_BPF_COOKIE",
    "LINUX_HAS_SYSCALL_WRAPPER",
];

pub(super) fn missing(symbols: &[Extern]) -> Vec<Extern> {
    let of = |kinds: fn(ExternKind) -> bool| {
        let wanted = symbols.iter().filter(|symbol| kinds(symbol.kind));
        wanted
            .map(|symbol| name_in_kernel(symbol).to_owned())
            .collect::<BTreeSet<String>>()
    };
    let mut names = without_types(of(|kind| {
        matches!(kind, ExternKind::Function | ExternKind::Variable)
    }));
    names.extend(without_address(of(|kind| kind == ExternKind::Address)));
    names.extend(without_value(of(|kind| {
        matches!(kind, ExternKind::Configuration(_))
    })));
    let missing = symbols
        .iter()
        .filter(|symbol| names.contains(name_in_kernel(symbol)));
    missing.cloned().collect()
}

/// The name without its flavour, `___` and more (`bpf_core_essential_name_len` of libbpf), which only functions have.
fn name_in_kernel(symbol: &Extern) -> &str {
    match symbol.kind {
        ExternKind::Function => match symbol.name.rsplit_once("___") {
            Some((name, flavour)) if !name.is_empty() && !flavour.is_empty() => name,
            _ => &symbol.name,
        },
        _ => &symbol.name,
    }
}

/// The names that neither the types of the kernel nor those of a module hold. Modules are read only for what is left.
fn without_types(mut names: BTreeSet<String>) -> BTreeSet<String> {
    let modules = || {
        let entries = fs::read_dir(TYPES).ok()?;
        let paths = entries.map(|entry| Some(entry.ok()?.path().to_str()?.to_owned()));
        paths.collect::<Option<Vec<String>>>()
    };
    let mut files = vec![vmlinux::PATH.to_owned()];
    let mut all = false;
    while let (Some(file), false) = (files.pop(), names.is_empty()) {
        let Ok(bytes) = read(&file, vmlinux::MAX_BYTES) else {
            return BTreeSet::new();
        };
        for word in bytes.split(|byte| *byte == 0) {
            if let Ok(word) = str::from_utf8(word) {
                names.remove(word);
            }
        }
        if !all && !names.is_empty() {
            let Some(paths) = modules() else {
                return BTreeSet::new();
            };
            files.extend(paths.into_iter().filter(|path| path != vmlinux::PATH));
            all = true;
        }
    }
    names
}

/// The names that have no address in the kernel. A compiler may have added `.llvm.` and a number.
fn without_address(mut names: BTreeSet<String>) -> BTreeSet<String> {
    if names.is_empty() {
        return names;
    }
    let Ok(table) = fs::read_to_string(ADDRESSES) else {
        return BTreeSet::new();
    };
    for line in table.lines() {
        let name = line.split_whitespace().nth(2).unwrap_or_default();
        let name = name.split_once(".llvm.").map_or(name, |(name, _)| name);
        names.remove(name);
    }
    names
}

/// The names that the kernel's configuration does not set. Where libbpf finds none, it sets nothing.
fn without_value(names: BTreeSet<String>) -> BTreeSet<String> {
    let (mut asked, known): (BTreeSet<String>, BTreeSet<String>) = names
        .into_iter()
        .partition(|name| name.starts_with("CONFIG_"));
    let known = known.into_iter();
    let mut missing: BTreeSet<String> = known
        .filter(|name| !FROM_LIBBPF.contains(&name.as_str()))
        .collect();
    if !asked.is_empty() {
        match configuration() {
            Ok(text) => {
                for (name, _) in text.lines().filter_map(|line| line.split_once('=')) {
                    asked.remove(name);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => asked.clear(),
        }
    }
    missing.extend(asked);
    missing
}

/// The kernel's configuration, where libbpf looks for it (`bpf_object__read_kconfig_file`).
fn configuration() -> io::Result<String> {
    let release = fs::read_to_string(RELEASE).unwrap_or_default();
    let boot = format!("/boot/config-{}", release.trim_end());
    let read = |file: &str| read_gzip(file, MAX_CONFIGURATION_BYTES);
    let bytes = match read(&boot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => read("/proc/config.gz"),
        other => other,
    }?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
