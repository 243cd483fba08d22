//! Plans and refusals, as tables of values: no kernel, no files.

mod links;
mod records;
mod replace;
mod shared;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::kernel;
use crate::kernel::PinState;
use crate::kernel::ProgramIdentity;
use crate::managed::LoadRecord;
use crate::managed::LoadSpec;
use crate::managed::ManagedMap;
use crate::managed::Program;
use crate::managed::ProgramRequest;
use crate::object::GlobalVariable;
use crate::object::ObjectFacts;
use crate::object::ObjectMap;
use crate::object::ObjectMapKind;
use crate::object::ObjectProgram;
use crate::types::*;

pub(super) fn path(text: &str) -> AbsolutePath {
    AbsolutePath::parse(text).unwrap()
}

fn layout() -> RuntimeLayout {
    RuntimeLayout::new(path("/run/bpfman"))
}

fn object(sections: &[(&str, &str)]) -> ObjectFacts {
    let program = |(name, section): &(&str, &str)| ObjectProgram {
        name: (*name).to_owned(),
        section: (*section).to_owned(),
    };
    ObjectFacts {
        programs: sections.iter().map(program).collect(),
        ..ObjectFacts::default()
    }
}

fn spec(programs: &[(&str, Option<ProgramType>, Option<&str>)]) -> LoadSpec {
    let request = |(name, program_type, function): &(&str, Option<ProgramType>, Option<&str>)| {
        ProgramRequest {
            name: (*name).to_owned(),
            program_type: *program_type,
            attach_function: function.map(str::to_owned),
        }
    };
    LoadSpec {
        source: path("/tmp/x.bpf.o").into(),
        programs: programs.iter().map(request).collect(),
        global_data: BTreeMap::new(),
        map_sizes: BTreeMap::new(),
        metadata: BTreeMap::new(),
        map_owner_id: None,
        replaces_owner: false,
        other_maps: Vec::new(),
        engine: Engine::Auto,
        engine_asked: false,
        pin_path: None,
    }
}

fn snapshot(object: ObjectFacts) -> LoadSnapshot {
    LoadSnapshot {
        object,
        object_bytes: 10,
        bpffs_mounted: true,
        pin: None,
        map_owner: None,
        owner_set: Vec::new(),
        shared_maps: Vec::new(),
        now: UnixTime(1),
    }
}

pub(super) fn managed(
    id: u32,
    map_owner: Option<u32>,
    maps: &[(u32, &str, Option<&str>)],
) -> Program {
    let map = |(id, name, pin): &(u32, &str, Option<&str>)| ManagedMap {
        id: MapId(*id),
        name: (*name).to_owned(),
        pin_path: pin.map(path),
    };
    Program {
        identity: ProgramIdentity {
            id: ProgramId(id),
            tag: Tag([1; 8]),
            load_time: KernelTime(5),
        },
        load: LoadRecord {
            object_path: path(&alloc::format!("/run/bpfman/programs/{id}/bytecode.o")),
            source_path: None,
            program_name: "p".to_owned(),
            program_type: ProgramType::Xdp,
            global_data: BTreeMap::new(),
            map_sizes: BTreeMap::new(),
            engine: Engine::Auto,
            attach_function: None,
            map_owner_id: None,
        },
        license: None,
        gpl_compatible: false,
        pin_path: path(&alloc::format!("/run/bpfman/fs/prog_{id}")),
        map_directory: path(&alloc::format!(
            "/run/bpfman/fs/maps/{}",
            map_owner.unwrap_or(id)
        )),
        map_owner: map_owner.map(ProgramId),
        metadata: BTreeMap::new(),
        maps: maps.iter().map(map).collect(),
        created_at: UnixTime(1),
        updated_at: None,
    }
}

pub(super) fn observed(identity: ProgramIdentity) -> kernel::Program {
    kernel::Program {
        identity,
        name: "p".to_owned(),
        program_type: KernelProgramType::XDP,
        uid: 0,
        btf_id: 0,
        map_ids: Vec::new(),
        jited_size: 0,
        xlated_size: 0,
        verified_insns: 0,
        gpl_compatible: true,
        run_time_ns: 0,
        run_count: 0,
        recursion_misses: 0,
        memlock: None,
    }
}

fn lines(plan: &crate::action::Plan) -> Vec<String> {
    plan.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn an_extension_without_its_target_is_told_what_to_name() {
    let object = object(&[("ext", "freplace"), ("named", "freplace/function")]);
    let declared = Some(ProgramType::Freplace);
    let table = [
        ("ext", None, None),
        ("ext", declared, None),
        ("named", None, None),
        ("named", declared, None),
        ("ext", declared, Some("function")),
        ("ext", declared, Some("x/function")),
        ("ext", declared, Some("7/")),
    ];
    for (name, program_type, function) in table {
        let refusal = check_load(&spec(&[(name, program_type, function)]), &object).unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.contains("PROGRAM_ID/FUNCTION"),
            "{name} {function:?}: {text}"
        );
        assert!(
            text.contains("attach function"),
            "{name} {function:?}: {text}"
        );
    }
    let checked = check_load(&spec(&[("ext", None, Some("7/function"))]), &object).unwrap();
    let load = &checked.programs[0].load;
    assert_eq!(load.target_program, Some(ProgramId(7).into()));
    assert_eq!(load.attach_function.as_deref(), Some("function"));
}

#[test]
fn a_load_writes_loads_publishes_pins_and_records_in_this_order() {
    let mut object = object(&[("p", "xdp")]);
    object.maps.push(ObjectMap {
        name: "m".to_owned(),
        kind: ObjectMapKind::Plain,
        shape: None,
        inner: None,
    });
    let spec = spec(&[("p", None, None)]);
    let checked = check_load(&spec, &object).unwrap();
    let mut snapshot = snapshot(object);
    snapshot.bpffs_mounted = false;
    let plan = plan_load(&spec, &checked, &snapshot, &layout()).unwrap();
    let expected = [
        "files   make directory /run/bpfman/programs",
        "files   write the object (10 bytes) to /run/bpfman/programs/staged.o",
        "kernel  load p (xdp) from /run/bpfman/programs/staged.o",
        "files   make directory /run/bpfman/programs/<id of p>",
        "files   link /run/bpfman/programs/staged.o as /run/bpfman/programs/<id of p>/bytecode.o",
        "files   keep the instructions of <id of p> in /run/bpfman/programs/<id of p>/instructions.json",
        "files   keep the record of <id of p> in /run/bpfman/programs/<id of p>/record.json",
        "files   remove /run/bpfman/programs/staged.o",
        "files   make directory /run/bpfman/fs",
        "bpffs   mount at /run/bpfman/fs",
        "bpffs   make directory /run/bpfman/fs/maps",
        "bpffs   make directory /run/bpfman/fs/maps/<id of p>",
        "bpffs   pin map m at /run/bpfman/fs/maps/<id of p>/m",
        "bpffs   pin program <id of p> at /run/bpfman/fs/prog_<id of p>",
        "store   record program <id of p>",
    ];
    assert_eq!(lines(&plan), expected);
}

#[test]
fn a_plan_reads_back_from_json() {
    let object = object(&[("p", "xdp")]);
    let spec = spec(&[("p", None, None)]);
    let checked = check_load(&spec, &object).unwrap();
    let plan = plan_load(&spec, &checked, &snapshot(object), &layout()).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(
        serde_json::from_str::<crate::action::Plan>(&text).unwrap(),
        plan
    );
}

#[test]
fn a_pin_path_gets_its_missing_directories_and_nothing_else() {
    let object = object(&[("p", "xdp")]);
    let mut spec = spec(&[("p", None, None)]);
    spec.pin_path = Some(path("/sys/fs/bpf/a/b/p"));
    let checked = check_load(&spec, &object).unwrap();
    let mut snapshot = snapshot(object);
    snapshot.bpffs_mounted = false;
    snapshot.pin = Some(PinState::Free {
        ancestor: path("/sys/fs/bpf"),
        on_bpffs: true,
    });
    let plan = plan_load(&spec, &checked, &snapshot, &layout()).unwrap();
    let bpffs: Vec<String> = lines(&plan)
        .into_iter()
        .filter(|line| line.starts_with("bpffs"))
        .collect();
    let expected = [
        "bpffs   make directory /sys/fs/bpf/a",
        "bpffs   make directory /sys/fs/bpf/a/b",
        "bpffs   pin program <id of p> at /sys/fs/bpf/a/b/p",
    ];
    assert_eq!(bpffs, expected);
}

#[test]
fn what_the_object_contradicts_is_refused_before_any_effect() {
    let mut object = object(&[
        ("x", "xdp"),
        ("f", "fentry"),
        ("u", "my_prog"),
        ("k", "kprobe"),
    ]);
    object.globals.push(GlobalVariable {
        name: "g".to_owned(),
        section: ".data".to_owned(),
        offset: 0,
        size: 4,
    });
    let mut global = spec(&[("x", None, None)]);
    global.global_data.insert("g".to_owned(), vec![1]);
    let mut no_global = spec(&[("x", None, None)]);
    no_global.global_data.insert("h".to_owned(), vec![1]);
    let table = [
        (spec(&[]), "no program was named"),
        (spec(&[("y", None, None)]), "the object has no program `y`"),
        (
            spec(&[("x", None, None), ("x", None, None)]),
            "program `x` is named twice",
        ),
        (
            spec(&[("x", Some(ProgramType::Tc), None)]),
            "program type mismatch: `x` is in section `xdp`, a xdp program, not tc",
        ),
        (
            spec(&[("u", None, None)]),
            "program `u` is in section `my_prog`, which names no program type",
        ),
        (
            spec(&[("f", Some(ProgramType::Fentry), None)]),
            "fentry program `f` needs the function or hook it attaches to",
        ),
        (
            spec(&[("k", Some(ProgramType::Kprobe), Some("fn"))]),
            "kprobe program `k` takes no attach function",
        ),
        (global, "global variable `g` has 4 byte(s), the value 1"),
        (no_global, "the object has no global variable `h`"),
    ];
    for (spec, message) in table {
        assert_eq!(check_load(&spec, &object).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_map_name_that_would_leave_its_directory_is_refused() {
    for name in ["../../evil", "..", "a/b", "."] {
        let mut object = object(&[("p", "xdp")]);
        object.maps.push(ObjectMap {
            name: name.to_owned(),
            kind: ObjectMapKind::Plain,
            shape: None,
            inner: None,
        });
        let spec = spec(&[("p", None, None)]);
        let checked = check_load(&spec, &object).unwrap();
        let refusal = plan_load(&spec, &checked, &snapshot(object), &layout()).unwrap_err();
        assert!(
            matches!(refusal, LoadRefusal::UnsafeMapName(_)),
            "{name}: {refusal}"
        );
    }
}

#[test]
fn struct_ops_programs_are_loaded_together_or_not_at_all() {
    let mut object = object(&[
        ("a", "struct_ops/a"),
        ("b", "struct_ops/b"),
        ("c", "struct_ops/c"),
    ]);
    let members = |names: &[&str]| ObjectMapKind::StructOps {
        programs: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    for (name, kind) in [("one", members(&["a", "b"])), ("two", members(&["c"]))] {
        object.maps.push(ObjectMap {
            name: name.to_owned(),
            kind,
            shape: None,
            inner: None,
        });
    }
    let half = check_load(&spec(&[("a", None, None)]), &object).unwrap_err();
    assert_eq!(
        half.to_string(),
        "struct_ops map `one` also needs program b"
    );
    let whole = check_load(&spec(&[("a", None, None), ("b", None, None)]), &object).unwrap();
    assert_eq!(whole.skip_maps, ["two"]);
}

#[test]
fn the_maps_of_an_unloaded_program_stay_while_another_uses_them() {
    let pin = "/run/bpfman/fs/maps/1/m";
    let program = managed(1, None, &[(7, "m", Some(pin))]);
    let free = UnloadSnapshot {
        links: Vec::new(),
        points: Vec::new(),
        pin: PinState::Program(observed(program.identity)),
        pin_root: path("/run/bpfman/fs"),
        sharing: Vec::new(),
        program,
    };
    let alone = lines(&plan_unload(&free, Joining::All(JoinedAs::Inlined), &layout()).unwrap());
    assert!(
        alone.contains(&alloc::format!("bpffs   unpin map 7 from {pin}")),
        "{alone:?}"
    );
    let shared = UnloadSnapshot {
        links: Vec::new(),
        sharing: vec![Sharer::living(managed(2, Some(1), &[(7, "m", Some(pin))]))],
        ..free
    };
    let kept = lines(&plan_unload(&shared, Joining::All(JoinedAs::Inlined), &layout()).unwrap());
    assert!(!kept.iter().any(|line| line.contains("map")), "{kept:?}");
}

#[test]
fn who_is_gone_or_uses_other_maps_keeps_no_map_pinned() {
    let pin = "/run/bpfman/fs/maps/1/m";
    let program = managed(1, None, &[(7, "m", Some(pin))]);
    let user = |map: u32, name: &str, pin: Option<&str>| {
        Sharer::living(managed(2, Some(1), &[(map, name, pin)]))
    };
    let mut gone = user(7, "m", Some(pin));
    gone.observed = None;
    let mut recycled = user(7, "m", Some(pin));
    recycled.observed = Some(ProgramIdentity {
        load_time: KernelTime(6),
        ..recycled.record.identity
    });
    let table = [
        ("its program is gone", gone),
        ("its id is another program's", recycled),
        ("its set had the same id", user(8, "m", Some(pin))),
        ("it uses another map of the set", user(8, "n", None)),
    ];
    for (case, sharer) in table {
        assert_eq!(map_users(&program, core::slice::from_ref(&sharer)), []);
        let snapshot = UnloadSnapshot {
            links: Vec::new(),
            points: Vec::new(),
            pin: PinState::Program(observed(program.identity)),
            pin_root: path("/run/bpfman/fs"),
            sharing: vec![sharer],
            program: program.clone(),
        };
        let plan =
            lines(&plan_unload(&snapshot, Joining::All(JoinedAs::Inlined), &layout()).unwrap());
        let unpin = alloc::format!("bpffs   unpin map 7 from {pin}");
        assert!(plan.contains(&unpin), "{case}: {plan:?}");
    }
    let user = user(7, "m", Some(pin));
    assert_eq!(map_users(&program, &[user]), [ProgramId(2)]);
}

#[test]
fn another_program_at_the_pin_is_left_alone() {
    let program = managed(1, None, &[]);
    let mut recycled = program.identity;
    recycled.load_time = KernelTime(6);
    let snapshot = UnloadSnapshot {
        links: Vec::new(),
        points: Vec::new(),
        pin: PinState::Program(observed(recycled)),
        pin_root: path("/run/bpfman/fs"),
        sharing: Vec::new(),
        program,
    };
    assert!(matches!(
        plan_unload(&snapshot, Joining::All(JoinedAs::Inlined), &layout()),
        Err(UnloadRefusal::PinIsNotOurs { .. })
    ));
}

#[test]
fn a_program_is_the_one_of_its_record_when_id_tag_and_load_time_agree() {
    let record = managed(1, None, &[]);
    let ours = || observed(record.identity);
    let mut other_tag = ours();
    other_tag.identity.tag = Tag([9; 8]);
    let mut loaded_later = ours();
    loaded_later.identity.load_time = KernelTime(6);
    let free = PinState::Free {
        ancestor: path("/run/bpfman/fs"),
        on_bpffs: true,
    };
    let taken = || PinState::Program(loaded_later.clone());
    let table = [
        (PinState::Program(ours()), None, ProgramState::Pinned),
        (free.clone(), Some(ours()), ProgramState::Unpinned),
        (taken(), Some(ours()), ProgramState::PinTaken),
        (PinState::Other, Some(ours()), ProgramState::PinTaken),
        (free.clone(), None, ProgramState::Missing),
        (free.clone(), Some(other_tag), ProgramState::Missing),
        (free, Some(loaded_later.clone()), ProgramState::Missing),
        (taken(), None, ProgramState::Missing),
    ];
    for (pin, by_id, state) in table {
        let program = ObservedProgram {
            record: record.clone(),
            pin,
            by_id,
            object_present: true,
        };
        assert_eq!(program.state(), state, "{program:?}");
    }
}

#[test]
fn every_rule_has_one_name_and_says_what_it_means() {
    let names: Vec<&str> = Rule::all().map(Rule::name).collect();
    for rule in Rule::all() {
        assert_eq!(Rule::of_name(rule.name()), Some(rule));
        assert!(rule.meaning().len() > 20 && !rule.repair().is_empty());
        let same = names.iter().filter(|name| **name == rule.name());
        assert_eq!(same.count(), 1);
    }
}
