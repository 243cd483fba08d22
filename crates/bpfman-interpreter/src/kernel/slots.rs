//! Loading a dispatcher, whose slots extensions take the place of.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use bpfman_core::action::LoadDispatcher;
use bpfman_core::action::LoadedProgram;
use bpfman_core::kernel::KernelError;
use bpfman_core::types::Family;
use libbpf_rs::libbpf_sys::BPF_F_XDP_HAS_FRAGS;

use super::dispatcher::TC_DISPATCHER;
use super::dispatcher::XDP_DISPATCHER;
use super::errors;
use super::errors::bad_request;
use super::errors::refused;
use super::info;
use super::load;
use super::sys;
use super::sys::Loading;
use crate::interfaces::Detail;

/// The end of the name that libbpf gives to the map of constants.
const CONSTANTS: &str = ".rodata";

/// Loads; answers the program with its descriptor. Its only map, of its constants, it holds itself.
pub(super) fn load(request: &LoadDispatcher) -> Result<(LoadedProgram, OwnedFd), KernelError> {
    errors::take_warnings();
    let name = &request.name;
    let object_name = request.family.dispatcher();
    let object = match request.family {
        Family::Xdp => XDP_DISPATCHER,
        Family::Tc => TC_DISPATCHER,
    };
    let mut loading = Loading::open_bytes(object_name, object, "")
        .map_err(|error| errors::open_refused(object_name, &error))?;
    set_config(&mut loading, request)?;
    set_frags(&mut loading, request)?;
    let loaded = load::load_open(loading, |_| None)?;
    let program = loaded.object.progs().next();
    let fd = program.as_ref().and_then(sys::loaded_program);
    let fd = fd.ok_or_else(|| bad_request(format!("dispatcher `{name}` has no program")))?;
    let failed = |error| refused(&format!("dispatcher `{name}`"), &error);
    let facts = info::program(fd, Detail::Info).map_err(failed)?;
    let loaded = LoadedProgram {
        name: name.clone(),
        identity: facts.identity,
        instructions: None,
    };
    Ok((loaded, load::duplicate(fd.as_fd()).map_err(failed)?))
}

/// The configuration is all that a dispatcher's constants are.
fn set_config(loading: &mut Loading, request: &LoadDispatcher) -> Result<(), KernelError> {
    let config = &request.config.0;
    let mut maps = loading.object_mut().maps_mut();
    let mut constants = maps.find(|map| map.name().to_string_lossy().ends_with(CONSTANTS));
    let place = constants.as_mut().and_then(|map| map.initial_value_mut());
    let place = place.ok_or_else(|| bad_request("the dispatcher takes no configuration"))?;
    if place.len() != config.len() {
        return Err(bad_request(format!(
            "the configuration of dispatcher `{}` has {} bytes, not {}",
            request.name,
            config.len(),
            place.len()
        )));
    }
    place.copy_from_slice(config);
    Ok(())
}

fn set_frags(loading: &mut Loading, request: &LoadDispatcher) -> Result<(), KernelError> {
    if !request.frags {
        return Ok(());
    }
    if request.family != Family::Xdp {
        return Err(bad_request("only XDP programs take packets in fragments"));
    }
    for mut program in loading.object_mut().progs_mut() {
        let flags = sys::flags(&program) | BPF_F_XDP_HAS_FRAGS;
        sys::set_flags(&mut program, flags)
            .map_err(|error| refused("setting a load flag", &error))?;
    }
    Ok(())
}
