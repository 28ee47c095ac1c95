//! Parse, run, print, exit; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    probe_tuner::cli::main()
}
