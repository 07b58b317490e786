//! Judges a working tree by its scenarios; see `dark_factory::cli::run_scenarios`.

use std::process::ExitCode;

use dark_factory::cli::{exit, hidden, run_scenarios};

fn main() -> ExitCode {
    match hidden::hidden(std::env::args_os()) {
        Some(code) => ExitCode::from(code),
        None => exit::main(run_scenarios::run),
    }
}
