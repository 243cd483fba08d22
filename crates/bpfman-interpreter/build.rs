//! Compiles the dispatchers, which this crate carries in it.

use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

/// Where their sources are, as seen from this crate.
const SOURCES: &str = "../../bpf/dispatcher";
const DISPATCHERS: [&str; 2] = ["xdp_dispatcher", "tc_dispatcher"];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SOURCES}");
    println!("cargo::rerun-if-env-changed=CLANG");
    for dispatcher in DISPATCHERS {
        if let Err(problem) = compile(dispatcher) {
            println!("cargo::error={problem}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Names no directory of this machine and looks at no profile, so that every build makes the same bytes.
fn compile(name: &str) -> Result<(), String> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let big_endian = cargo("CARGO_CFG_TARGET_ENDIAN")? == "big";
    let source = format!("{name}.bpf.c");
    let object = PathBuf::from(cargo("OUT_DIR")?).join(format!("{name}.bpf.o"));
    let status = Command::new(&clang)
        .current_dir(Path::new(&cargo("CARGO_MANIFEST_DIR")?).join(SOURCES))
        .args(["-target", if big_endian { "bpfeb" } else { "bpfel" }])
        .args(["-O2", "-g", "-Wall"])
        .arg("-ffile-compilation-dir=.")
        .arg(format!("-I/usr/include/{}", multiarch(big_endian)?))
        .args(["-c", &source, "-o"])
        .arg(&object)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "`{clang}` cannot compile {source} ({status}); are the headers of libbpf there? Try `make setup`"
        )),
        Err(error) => Err(format!(
            "`{clang}` compiles the dispatchers, but does not start: {error}; try `make setup`, or set CLANG"
        )),
    }
}

/// Debian's directory of the headers that differ between machines, where clang does not look for BPF.
fn multiarch(big_endian: bool) -> Result<String, String> {
    let machine = cargo("CARGO_CFG_TARGET_ARCH")?;
    Ok(match machine.as_str() {
        "powerpc64" if !big_endian => "powerpc64le-linux-gnu".to_owned(),
        _ => format!("{machine}-linux-gnu"),
    })
}

fn cargo(variable: &str) -> Result<String, String> {
    env::var(variable).map_err(|error| format!("cargo sets {variable}: {error}"))
}
