//! The convergence loop; see `dark_factory::cli::iterate`.

use std::process::ExitCode;

use dark_factory::cli::{exit, hidden, iterate};

fn main() -> ExitCode {
    match hidden::hidden(std::env::args_os()) {
        Some(code) => ExitCode::from(code),
        None => exit::main(iterate::run),
    }
}
