//! `factory doctor --deep`: one real turn of the agent in a product that is made for it, against a model
//! server of our own, offline and for nothing.
//!
//! The turn goes the way of every other: by a run of the loop, with the settings for the agent, its isolation
//! and its limits, whose one scenario is satisfied by what a command of the agent's has left. Neither the
//! person's product nor the login is touched.

#[cfg(not(feature = "model-server"))]
mod without {
    use crate::cli::exit::{Exit, Failure};
    use crate::config::{Config, Environment};
    use crate::engine::Walls;

    /// Says that this program was built without what it takes.
    pub(in crate::cli) fn is_possible() -> anyhow::Result<()> {
        let why = "this program has no model server, which `--deep` needs; build one that has with \
                   `cargo install dark-factory --features model-server`";
        Err(Failure::because(Exit::Usage, why))
    }

    /// See [`is_possible`].
    pub(in crate::cli) fn turn(
        _: &Config,
        _: &Walls,
        _: &Environment,
    ) -> Result<String, super::Trouble> {
        Err(super::Trouble::of("there is no model server in this program", ""))
    }
}

#[cfg(feature = "model-server")]
mod with;

#[cfg(feature = "model-server")]
pub(super) use with::{is_possible, turn};
#[cfg(not(feature = "model-server"))]
pub(super) use without::{is_possible, turn};

/// What is wrong, and what to do.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) found: String,
    pub(super) next: String,
}

impl Trouble {
    fn of(found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { found: found.into(), next: next.into() }
    }
}
