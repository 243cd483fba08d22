//! Reading back what was kept of a program's load, whatever the file holds.

#![expect(clippy::unwrap_used, reason = "test helpers: a panic is a failed test")]

use std::fs;

use bpfman_core::action::FunctionInfo;
use bpfman_core::action::InstructionReference;
use bpfman_core::action::KeptInstructions;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Base64Bytes;
use bpfman_interpreter::files::SystemFiles;
use bpfman_interpreter::interfaces::Files;
use bpfman_interpreter::targets::SystemTargets;
use bpfman_interpreter::targets::TargetError;
use bpfman_interpreter::targets::Targets;
use tempfile::TempDir;

fn kept() -> KeptInstructions {
    KeptInstructions {
        version: KeptInstructions::VERSION,
        program: "p".to_owned(),
        instructions: Base64Bytes(vec![0x95, 0, 0, 0, 0, 0, 0, 0]),
        references: vec![InstructionReference {
            instruction: 0,
            map: "m".to_owned(),
        }],
        attach_type: 37,
        flags: 32,
        stack_depths: vec![8],
        functions: vec![FunctionInfo {
            instruction: 0,
            type_id: 5,
        }],
    }
}

fn file(directory: &TempDir) -> AbsolutePath {
    let path = directory.path().join("instructions.json");
    AbsolutePath::parse(path.to_str().unwrap()).unwrap()
}

fn read(content: &[u8]) -> Result<KeptInstructions, TargetError> {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    fs::write(path.as_str(), content).unwrap();
    SystemTargets.kept_instructions(&path)
}

#[test]
fn what_was_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    SystemFiles.write_instructions(&path, &kept()).unwrap();
    assert_eq!(SystemTargets.kept_instructions(&path).unwrap(), kept());
}

#[test]
fn another_version_is_refused_by_its_number() {
    for version in [0, 1, 3, u32::MAX] {
        let error = read(format!("{{\"version\":{version},\"other\":[]}}").as_bytes()).unwrap_err();
        let text = error.to_string();
        let number = format!("version {version},");
        assert!(
            text.contains(&number) && text.contains("instructions.json"),
            "{text}"
        );
    }
}

#[test]
fn a_file_of_anything_else_is_an_error() {
    let whole = serde_json::to_string(&kept()).unwrap();
    let cut = &whole[..whole.len() - 1];
    let digits = whole.replace("lQAA", "l?AA");
    let negative = whole.replace("\"stack_depths\":[8]", "\"stack_depths\":[-8]");
    let huge = whole.replace("\"instruction\":0", "\"instruction\":4294967296");
    let deep = "[".repeat(100_000);
    let contents = [
        "",
        "{}",
        "null",
        "{\"version\":2}",
        cut,
        &digits,
        &negative,
        &huge,
        &deep,
    ];
    for content in contents {
        assert_ne!(content, whole);
        let error = read(content.as_bytes()).unwrap_err();
        let start = &content[..content.len().min(40)];
        assert!(
            matches!(error, TargetError::KeptInstructions { .. }),
            "{start}: {error}"
        );
    }
    assert!(read(b"\xff\xfe").is_err());
}

#[test]
fn a_file_that_is_missing_or_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let system = |path: &AbsolutePath| {
        let error = SystemTargets.kept_instructions(path).unwrap_err();
        assert!(matches!(error, TargetError::System { .. }), "{error}");
    };
    system(&path);
    let large = fs::File::create(path.as_str()).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    system(&path);
}
