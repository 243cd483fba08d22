//! The helper process: answers kernel requests, one JSON object a line, until its input ends.

use std::env;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use bpfman_interpreter::kernel::LibbpfKernel;
use bpfman_interpreter::kernel::protocol;
use bpfman_interpreter::stack::on_known_stack;

const HELP: &str = "\
Usage: bpfman-kernel [--help | --version]

Reads requests from standard input, one JSON object a line, and writes one answer
a line to standard output. What it holds is let go when the input ends.
";

fn main() -> ExitCode {
    on_known_stack(answer).unwrap_or_else(|error| {
        eprintln!("bpfman-kernel: cannot start a thread: {error}");
        ExitCode::FAILURE
    })
}

fn answer() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let done = match arguments.as_slice() {
        [] => serve(),
        [one] if one == "--help" || one == "-h" => print(HELP),
        [one] if one == "--version" || one == "-V" => {
            print(concat!("bpfman-kernel ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bpfman-kernel: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut kernel = LibbpfKernel::new();
    protocol::serve(&mut kernel, io::stdin().lock(), io::stdout().lock())
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}
