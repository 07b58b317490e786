//! Hides the scenarios from an agent in the checkout; see `dark_factory::cli::shuffle_scenarios`.

use std::process::ExitCode;

use dark_factory::cli::{exit, shuffle_scenarios};

fn main() -> ExitCode {
    exit::main(shuffle_scenarios::run)
}
