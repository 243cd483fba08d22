//! The objects of the dispatchers, compiled by the build script from `bpf/dispatcher`.

/// Bytes where libelf and libbpf can read them in place: an ELF64 file is made of words of eight bytes.
/// bpftool aligns the objects in its skeletons alike.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static XDP: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(
    env!("OUT_DIR"),
    "/xdp_dispatcher.bpf.o"
)));
static TC: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(
    env!("OUT_DIR"),
    "/tc_dispatcher.bpf.o"
)));

/// The dispatcher of XDP programs.
pub(super) const XDP_DISPATCHER: &[u8] = &XDP.0;
/// The dispatcher of TC programs.
pub(super) const TC_DISPATCHER: &[u8] = &TC.0;

#[cfg(test)]
mod tests {
    use std::fs;

    use bpfman_core::dispatcher::CONFIG_SECTION;
    use bpfman_core::dispatcher::CONFIG_VARIABLE;
    use bpfman_core::dispatcher::DispatcherConfig;
    use bpfman_core::dispatcher::MAX_SLOTS;
    use bpfman_core::dispatcher::SLOT_FUNCTIONS;
    use bpfman_core::dispatcher::Slot;
    use bpfman_core::object::GlobalVariable;
    use bpfman_core::object::inspect;
    use bpfman_core::types::F_XDP_HAS_FRAGS;
    use bpfman_core::types::Family;
    use libbpf_rs::ReferencesType;
    use libbpf_rs::btf::Btf;
    use libbpf_rs::btf::types::Array;
    use libbpf_rs::btf::types::Func;
    use libbpf_rs::btf::types::Linkage;
    use libbpf_rs::btf::types::MemberAttr;
    use libbpf_rs::btf::types::Ptr;
    use libbpf_rs::btf::types::Struct;
    use libbpf_rs::btf::types::Var;

    use super::*;

    const BOTH: [(Family, &[u8]); 2] = [(Family::Xdp, XDP_DISPATCHER), (Family::Tc, TC_DISPATCHER)];

    fn types(object: &[u8]) -> Btf<'static> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), object).unwrap();
        Btf::from_path(file.path()).unwrap()
    }

    /// Every slot differs from the others in all it says.
    fn full(family: Family) -> DispatcherConfig {
        let slot = |number| Slot {
            proceed_on: 1_u32 << number,
            priority: 100 + number,
            flags: F_XDP_HAS_FRAGS | number << 8,
        };
        let slots = (0..MAX_SLOTS as u32).map(slot).collect();
        DispatcherConfig::new(family, slots).unwrap()
    }

    #[test]
    fn libelf_can_read_the_objects_in_place() {
        for (family, object) in BOTH {
            assert_eq!(object.as_ptr().addr() % 8, 0, "{family:?}");
        }
    }

    #[test]
    fn a_dispatcher_is_one_program_and_nothing_but_its_configuration() {
        for (family, object) in BOTH {
            let facts = inspect(object).unwrap();
            let programs: Vec<&str> = facts.programs.iter().map(|p| p.name.as_str()).collect();
            assert_eq!(programs, [family.dispatcher()]);
            assert_eq!(facts.maps, []);
            assert_eq!(facts.data_sections, [CONFIG_SECTION]);
            let variable = GlobalVariable {
                name: CONFIG_VARIABLE.to_owned(),
                section: CONFIG_SECTION.to_owned(),
                offset: 0,
                size: full(family).encode().len() as u64,
            };
            assert_eq!(facts.globals, [variable]);
        }
    }

    #[test]
    fn the_configuration_is_written_where_the_program_reads_it() {
        for (family, object) in BOTH {
            let types = types(object);
            let name = format!("{}_config", family.dispatcher());
            let layout: Struct<'_> = types.type_by_name(&name).unwrap();
            let config = full(family);
            let bytes = config.encode();
            let start = |field: &str| {
                let mut members = layout.iter();
                let member = members.find(|m| m.name.is_some_and(|name| name == field));
                match member.map(|member| member.attr) {
                    Some(MemberAttr::Normal { offset }) => offset as usize / 8,
                    other => panic!("{name}.{field}: {other:?}"),
                }
            };
            let lane = |field| {
                let words = bytes[start(field)..].chunks_exact(4).take(MAX_SLOTS);
                words
                    .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
                    .collect::<Vec<u32>>()
            };
            let expected = |value: fn(&Slot) -> u32| config.slots().iter().map(value).collect();
            let masks: Vec<u32> = expected(|slot| slot.proceed_on);
            let priorities: Vec<u32> = expected(|slot| slot.priority);
            assert_eq!(usize::from(bytes[start("num_progs_enabled")]), MAX_SLOTS);
            assert_eq!(lane("chain_call_actions"), masks);
            assert_eq!(lane("run_prios"), priorities);
            if family == Family::Xdp {
                let flags: Vec<u32> = expected(|slot| slot.flags);
                assert_eq!(bytes[start("magic")], 236);
                assert_eq!(bytes[start("dispatcher_version")], 2);
                assert_eq!(bytes[start("is_xdp_frags")], 1);
                assert_eq!(lane("program_flags"), flags);
            }
        }
    }

    #[test]
    fn every_slot_is_a_function_that_an_extension_can_replace() {
        for (_, object) in BOTH {
            let types = types(object);
            for name in SLOT_FUNCTIONS.iter().chain(&["compat_test"]) {
                let function: Func<'_> = types.type_by_name(name).unwrap();
                assert_eq!(function.linkage(), Linkage::Global, "{name}");
            }
        }
    }

    #[test]
    fn libxdp_finds_the_version_in_the_types() {
        let types = types(XDP_DISPATCHER);
        let variable: Var<'_> = types.type_by_name("dispatcher_version").unwrap();
        let pointer: Ptr<'_> = variable.referenced_type().try_into().unwrap();
        let array: Array<'_> = pointer.referenced_type().try_into().unwrap();
        assert_eq!(array.capacity(), 2);
    }
}
