//! A fake provider of models; see `dark_factory::cli::fake_model`.

use std::process::ExitCode;

use dark_factory::cli::{exit, fake_model};

fn main() -> ExitCode {
    exit::main(fake_model::run)
}
