//! Judges a working tree by its scenarios; see `dark_factory::cli::run_scenarios`.

use std::process::ExitCode;

use dark_factory::cli::{exit, run_scenarios};

fn main() -> ExitCode {
    exit::main(run_scenarios::run)
}
