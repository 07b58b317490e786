//! `factory doctor --deep`: one real turn of the agent, against a model server of our own.

use crate::cli::exit::{Exit, Failure};
use crate::config::{Config, Environment};
use crate::engine::Walls;

/// What is wrong, and what to do.
pub(super) struct Trouble {
    pub(super) found: String,
    pub(super) next: String,
}

/// Checks that this program was built with what it takes.
pub(super) fn is_possible() -> anyhow::Result<()> {
    let why = "this program has no model server, which `--deep` needs; build it with \
               `cargo install dark-factory --features model-server`";
    Err(Failure::because(Exit::Usage, why))
}

pub(super) fn turn(_: &Config, _: &Walls, _: &Environment) -> Result<String, Trouble> {
    Err(Trouble { found: String::new(), next: String::new() })
}
