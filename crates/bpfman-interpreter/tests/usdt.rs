//! What is found about a USDT probe, given to the kernel: the sites fire, and libbpf's programs read the arguments.
//! Needs root, gcc and a kernel with BPF cookies for uprobes (5.15).

#![expect(clippy::unwrap_used, reason = "test helpers: a panic is a failed test")]

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use bpfman_core::links::ProbeSite;
use bpfman_core::links::ProbedFile;
use bpfman_core::target::SpecLayout;
use bpfman_core::target::UsdtProbe;
use bpfman_interpreter::targets::SystemTargets;
use bpfman_interpreter::targets::Targets;
use libbpf_rs::Link;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::Object;
use libbpf_rs::ObjectBuilder;
use libbpf_rs::ProgramMut;
use libbpf_rs::UprobeMultiOpts;
use libbpf_rs::UprobeOpts;
use tempfile::TempDir;

/// Where the probe's specs start: not at 0, so that a forgotten shift shows.
const FIRST_SPEC: u32 = 3;

fn object() -> Object {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bpf");
    let directory = env::var_os("BPFMAN_TEST_OBJECTS").map_or_else(built, PathBuf::from);
    let path = directory.join("usdt.bpf.o");
    assert!(path.is_file(), "{} is not built", path.display());
    let opened = ObjectBuilder::default().open_file(path).unwrap();
    opened.load().unwrap()
}

fn write_specs(object: &Object, probe: &UsdtProbe) {
    let map = object
        .maps()
        .find(|map| map.name() == "__bpf_usdt_specs")
        .unwrap();
    let layout = SpecLayout::of_value_size(map.value_size()).unwrap();
    for (spec, key) in probe.specs.iter().zip(FIRST_SPEC..) {
        let value = spec.to_bytes(layout, 0).unwrap();
        map.update(&key.to_ne_bytes(), &value, MapFlags::ANY)
            .unwrap();
    }
}

/// As one link where the kernel has `uprobe.multi` (6.6), else one for each site.
fn attach(program: &ProgramMut<'_>, file: &str, probe: &UsdtProbe) -> Vec<Link> {
    let number = |number: u64| usize::try_from(number).unwrap();
    let options = UprobeMultiOpts {
        offsets: probe.sites.iter().map(|site| number(site.offset)).collect(),
        ref_ctr_offsets: probe
            .sites
            .iter()
            .map(|site| number(site.counter_offset))
            .collect(),
        cookies: probe.sites.iter().map(|site| site.cookie).collect(),
        ..UprobeMultiOpts::default()
    };
    if let Ok(link) = program.attach_uprobe_multi_with_opts(-1, file, "", options) {
        return vec![link];
    }
    let attach = |site: &ProbeSite| {
        let options = UprobeOpts {
            ref_ctr_offset: number(site.counter_offset),
            cookie: site.cookie,
            ..UprobeOpts::default()
        };
        let offset = number(site.offset);
        program
            .attach_uprobe_with_opts(-1, file, offset, options)
            .unwrap()
    };
    probe.sites.iter().map(attach).collect()
}

#[test]
fn programs_read_the_arguments_of_every_site() {
    // Older kernels cannot tell a program which site it is at.
    bpfman_testing::requires!(bpfman_testing::kernel_knows("BPF_LINK_TYPE_PERF_EVENT"));
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("probed");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/probed.c");
    let built = Command::new("gcc")
        .args(["-O2", source, "-o"])
        .arg(&program)
        .status();
    assert!(built.unwrap().success());
    let file = ProbedFile {
        target: program.to_str().unwrap().to_owned(),
        pid: None,
        container_pid: None,
    };
    let file = SystemTargets.probed_file(&file).unwrap();
    let probe = SystemTargets.usdt(&file, "probed", "start").unwrap();
    let probe = probe.with_first_spec(FIRST_SPEC);

    let object = object();
    write_specs(&object, &probe);
    let links = {
        let attached = object.progs_mut().next().unwrap();
        attach(&attached, file.path.as_str(), &probe)
    };
    for _ in 0..2 {
        assert!(Command::new(&program).status().unwrap().success());
    }
    drop(links);
    assert!(Command::new(&program).status().unwrap().success());

    let hits = object
        .maps()
        .find(|map| map.name() == "probe_hits")
        .unwrap();
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
    let hits = hits.keys().map(|key| {
        let value = hits.lookup(&key, MapFlags::ANY).unwrap().unwrap();
        (number(&key), number(&value))
    });
    let hits = hits.collect::<BTreeMap<_, _>>();
    assert_eq!(
        hits,
        BTreeMap::from([(1, 2), (7, 4)]),
        "two runs: argc once, the constant 7 twice"
    );
}
