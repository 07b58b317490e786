//! Judging in place in the tier `sandbox`: to see before a run of the loop what scenarios come to there.

use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::config::{Config, Environment, python_in_place, python_start_of};
use crate::event::Tier;
use crate::judge::{Judging, Place};
use crate::scenario::ScenarioSet;
use crate::wall::confine::{Closed, View, Wanted, strongest};

use super::exit::{Exit, OrExit as _};

/// A place whose commands are confined.
pub(super) struct Confining {
    pub(super) place: Place,
    /// What is needed for that; gone when dropped.
    _dir: TempDir,
}

impl Confining {
    /// Confines what is judged in the product at `root`: it sees that, the scenarios in it included, and
    /// what is installed.
    ///
    /// # Errors
    /// The machine has no kind of confinement that holds ([`Exit::Isolation`]).
    pub(super) fn begin(
        env: &Environment,
        config: &Config,
        set: &ScenarioSet,
        root: &Path,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("dark-factory-judging-")
            .tempdir_in(env.temp_dir())
            .context("there is no place for private homes")?;
        let launcher = env.executable().context("can't find this program's own file")?;
        let chosen = strongest(dir.path(), &launcher, &env.for_tools(), &env.done_without())
            .or_exit(Exit::Isolation)?;
        let homes = ["home", "tmp"].map(|name| dir.path().join(name));
        for home in &homes {
            std::fs::create_dir(home).context("there is no place for private homes")?;
        }
        let python = python_in_place(env, root);
        let variables = env.for_product(&config.env, python, Some(&homes[0]), Some(&homes[1]));
        let home = env.home();
        let python: Vec<_> =
            env.state_dir().iter().filter_map(|state| python_start_of(&variables, state)).collect();
        let secret: Vec<_> = env.state_dir().into_iter().chain([dir.path().to_owned()]).collect();
        let named = |paths: &[String]| paths.iter().filter_map(|path| env.expand(path)).collect();
        let (read, devices): (Vec<_>, Vec<_>) =
            (named(&config.isolation.read), named(&config.isolation.devices));
        let view = View::of(&Wanted {
            env: &variables,
            home: home.as_deref(),
            secret: &secret,
            read: &read,
            stores: &[],
            handed: &python,
            tree: None,
            write: &[root.to_owned()],
            devices: &devices,
        });
        let closed = Closed::of(root, root, &config.scenarios.dir);
        let view = View { closed: closed.into_iter().collect(), ..view };
        let is_open = config.opens_fixtures(set);
        let homes = [homes[0].as_path(), homes[1].as_path()];
        // The tree is this user's, and so is what runs in it.
        let judging = Judging::begin(
            &dir.path().join("judging"),
            &launcher,
            &chosen,
            (view, &variables),
            homes,
            None,
            is_open,
        )
        .context("can't confine what is judged")?;
        let place = Place { confined: Some(judging.into()), ..Place::open(root, variables) };
        Ok(Self { place, _dir: dir })
    }
}

/// Reads a tier that what is judged can have.
pub(super) fn parse_tier(text: &str) -> Result<Tier, String> {
    match text {
        "copy" => Ok(Tier::Copy),
        "sandbox" => Ok(Tier::Sandbox),
        _ => Err(format!("`{text}` is no tier; use copy or sandbox")),
    }
}
