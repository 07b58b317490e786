//! The front door; see `dark_factory::cli::factory`.

use std::process::ExitCode;

use dark_factory::cli::{exit, factory, hidden};

fn main() -> ExitCode {
    match hidden::hidden(std::env::args_os()) {
        Some(code) => ExitCode::from(code),
        None => exit::main(factory::run),
    }
}
