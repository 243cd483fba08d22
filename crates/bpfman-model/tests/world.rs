//! What the world does by itself: processes that die, ids that come round.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod common;

use bpfman_core::action::KernelAction;
use bpfman_core::action::LoadObject;
use bpfman_core::action::Outcome;
use bpfman_core::action::ProgramReference;
use bpfman_core::action::ProgramToLoad;
use bpfman_core::kernel::KernelError;
use bpfman_core::types::KernelProgramType;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::interfaces::Files;
use bpfman_interpreter::interfaces::KernelExecutor;
use bpfman_interpreter::runtime::Runtime;
use bpfman_model::Process;

use self::common::Machine;
use self::common::PROGRAMS;
use self::common::path;

fn load(process: &mut Process) -> Result<ProgramId, KernelError> {
    let program = ProgramToLoad {
        name: "pass".to_owned(),
        kernel_type: KernelProgramType::XDP,
        attach_type: None,
        flags: 0,
        attach_function: None,
        target_program: None,
        keep_instructions: false,
    };
    let request = LoadObject {
        object: path("/run/programs.o"),
        object_name: "programs".to_owned(),
        programs: vec![program],
        globals: Vec::new(),
        reuse_maps: Vec::new(),
        skip_maps: Vec::new(),
        unneeded_symbols: Vec::new(),
        held_programs: Vec::new(),
        map_sizes: Vec::new(),
    };
    match process.kernel.execute(&KernelAction::LoadObject(request))? {
        Outcome::Loaded(loaded) => Ok(loaded.programs[0].identity.id),
        other => panic!("{other:?}"),
    }
}

fn machine() -> Machine {
    let machine = Machine::new();
    let world = &machine.world;
    world.put_file(&path("/run/programs.o"), PROGRAMS).unwrap();
    machine
}

fn pin(program: ProgramId) -> KernelAction {
    KernelAction::PinProgram {
        program: ProgramReference::Known(program),
        path: path("/sys/fs/bpf/pinned").into(),
    }
}

#[test]
fn a_process_that_dies_leaves_what_is_pinned_and_does_nothing_more() {
    let machine = machine();
    let mut process = machine.world.process(&machine.layout);
    let (mut store, _) = process.runtime.writer().unwrap();
    let pinned = load(&mut process).unwrap();
    process.kernel.execute(&pin(pinned)).unwrap();
    load(&mut process).unwrap();

    machine.world.crash();
    let after = machine.world.places();
    assert_eq!(after.programs.keys().collect::<Vec<_>>(), [&pinned]);
    assert_eq!(after.maps.len(), after.programs[&pinned].map_ids.len());

    assert!(load(&mut process).is_err());
    assert!(process.files.write(&path("/run/file"), b"").is_err());
    assert!(store.delete(pinned).is_err());
    drop(process);
    assert_eq!(machine.world.places(), after);
    load(&mut machine.world.process(&machine.layout)).unwrap();
}

#[test]
fn what_one_process_holds_is_not_let_go_of_by_another() {
    let machine = machine();
    let mut first = machine.world.process(&machine.layout);
    let mut second = machine.world.process(&machine.layout);
    let of_first = load(&mut first).unwrap();
    load(&mut second).unwrap();
    assert!(second.kernel.execute(&pin(of_first)).is_err());
    second.kernel.finish();
    let left = machine.world.places();
    assert_eq!(left.programs.keys().collect::<Vec<_>>(), [&of_first]);
}

#[test]
fn an_id_is_recycled_only_once_it_is_free() {
    let machine = machine();
    let world = &machine.world;
    let mut process = world.process(&machine.layout);
    let first = load(&mut process).unwrap();
    world.set_next_program_id(first.0);
    let second = load(&mut process).unwrap();
    assert_eq!(second.0, first.0 + 1);
    process.kernel.finish();
    world.set_next_program_id(first.0);
    assert_eq!(load(&mut process).unwrap(), first);
}

#[test]
fn the_same_program_has_the_same_tag_and_another_time() {
    let machine = machine();
    let mut process = machine.world.process(&machine.layout);
    let ids = [load(&mut process).unwrap(), load(&mut process).unwrap()];
    let programs = machine.world.places().programs;
    let [first, second] = ids.map(|id| programs[&id].identity);
    assert_eq!(first.tag, second.tag);
    assert!(first.load_time < second.load_time);
    let foreign = machine.world.load_foreign("pass");
    assert_ne!(foreign.tag, first.tag);
}
