//! Compiles feedback for the agent; see `dark_factory::cli::compile_feedback`.

use std::process::ExitCode;

use dark_factory::cli::{compile_feedback, exit};

fn main() -> ExitCode {
    exit::main(compile_feedback::run)
}
