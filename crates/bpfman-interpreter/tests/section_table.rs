//! The table of program types against what libbpf makes of the same section names.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::ffi::CString;

use bpfman_core::types::ProgramType;
use libbpf_rs::libbpf_sys;

/// The program type and expected attach type that libbpf reads from a section name.
fn libbpf_reads(section: &str) -> Option<(u32, u32)> {
    let name = CString::new(section).unwrap();
    let mut program_type = 0;
    let mut attach_type = 0;
    // SAFETY: the name ends with a NUL byte, and all three pointers are valid during the call.
    let status = unsafe {
        libbpf_sys::libbpf_prog_type_by_name(name.as_ptr(), &mut program_type, &mut attach_type)
    };
    (status == 0).then_some((program_type, attach_type))
}

/// Types whose attach type is chosen when they are attached, whatever their section says.
fn attaching_decides(kind: ProgramType) -> bool {
    matches!(kind, ProgramType::Tc | ProgramType::Tcx)
}

#[test]
fn libbpf_reads_every_section_as_the_table_does() {
    let mut wrong = Vec::new();
    for &kind in ProgramType::ALL {
        for pattern in kind.sections() {
            let base = pattern.trim_end_matches('+');
            let mut sections = vec![base.to_owned()];
            if base != *pattern {
                sections.push(format!("{base}/x"));
            }
            for section in sections {
                let found = libbpf_reads(&section);
                let of_type = found.map(|(program_type, _)| program_type);
                let attach = found.map(|(_, attach_type)| attach_type);
                let attach_agrees = kind.expected_attach_type().is_none()
                    && attaching_decides(kind)
                    || attach == Some(kind.expected_attach_type().unwrap_or_default());
                if of_type != Some(kind.kernel_type().0) || !attach_agrees {
                    let ours = (kind.kernel_type().0, kind.expected_attach_type());
                    wrong.push(format!("{section}: ours {ours:?}, libbpf's {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
