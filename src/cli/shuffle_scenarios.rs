//! `shuffle-scenarios`: hides the scenarios from an agent that works in the checkout itself.
//!
//! One call hides and another restores; between them the scenarios belong to the process that
//! asked for it, which is the caller's shell unless `--owner` names another.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Environment};
use crate::text::{plural, visible};
use crate::wall::shuffle::{self, Owner, Recovered, Restored, Shuffle, ShuffleError, Status};

use super::exit::Exit;

/// Hides the scenarios while an agent works in the checkout, and puts them back.
///
/// They are copied to a private directory under $XDG_STATE_HOME/dark-factory (else
/// ~/.local/state/dark-factory), verified, and only then removed; a kill at any moment loses
/// nothing. This keeps honest agents honest: git's history still holds the scenarios, and what
/// the same user could find on the disk, it can.
#[derive(Debug, Clone, Parser)]
#[command(name = "shuffle-scenarios", version, after_long_help = IN_A_SCRIPT)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The scenarios' directory, relative to the checkout [default: that of dark-factory.yaml,
    /// else `scenarios`].
    #[arg(long, global = true, value_name = "DIR")]
    scenarios_dir: Option<PathBuf>,
    /// The root of the checkout [default: the current directory].
    #[arg(long, global = true, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Writes the result as one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Hides the scenarios.
    Hide {
        /// The process that they are hidden for: while it runs, `recover` leaves them hidden
        /// [default: the process that called this one].
        #[arg(long, value_name = "PID")]
        owner: Option<u32>,
    },
    /// Puts the scenarios back, whoever hid them; what stands in their place is moved aside.
    Restore,
    /// Tells whether the scenarios are in their place.
    Status,
    /// Puts the scenarios back if whoever hid them is dead; does nothing where nothing is hidden.
    Recover,
}

const IN_A_SCRIPT: &str = "\
In a script, hide and restore belong to the shell that runs it:

    shuffle-scenarios recover || exit          # puts back what a killed run left
    shuffle-scenarios hide || exit
    trap 'shuffle-scenarios restore' EXIT
    agent ...

If the shell is killed, the next `recover` puts the scenarios back. A make recipe has a shell
for each line, and a CI job one for each step. When hiding and restoring stand on different lines,
name a process that lives as long as both with `hide --owner PID` ($PPID in a recipe is make
itself), or a `recover` in between puts them back too early.

Exit codes: 0 done; 2 the request makes no sense (no directory to hide, a link in its place,
nothing hidden to restore); 3 something stands in the way (hidden already, held by a process that
still runs, another call at work, disk full).";

/// What was done, for people and for machines.
struct Done {
    text: String,
    json: Value,
}

/// Does what `args` say, and writes what came of it to stdout, errors to stderr.
pub fn run(args: &Args, environment: &Environment) -> Exit {
    let result = act(args, environment).and_then(|done| {
        let mut out = io::stdout().lock();
        let text = if args.json { done.json.to_string() } else { visible(&done.text) };
        writeln!(out, "{text}").and_then(|()| out.flush()).context("can't write to stdout")
    });
    match result {
        Ok(()) => Exit::Satisfied,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", visible(&format!("{error:#}")));
            exit_of(&error)
        }
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    let request = match error.downcast_ref::<ShuffleError>() {
        Some(error) => error.is_request(),
        None => error.is::<Request>() || error.is::<config::ConfigError>(),
    };
    if request { Exit::Request } else { Exit::Factory }
}

/// A request that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Request(String);

fn act(args: &Args, environment: &Environment) -> anyhow::Result<Done> {
    let here = environment.current_dir();
    let checkout = args.workdir.as_ref().map_or_else(|| here.to_owned(), |dir| here.join(dir));
    if !checkout.is_dir() {
        let message = format!("there is no checkout `{}`", checkout.display());
        return Err(Request(message).into());
    }
    let vault = shuffle::vault(&environment.state_dir()?, &checkout)
        .with_context(|| format!("can't reach `{}`", checkout.display()))?;
    let directory = scenarios_dir(args, &checkout)?;
    let shuffle = Shuffle::open(&vault, &checkout, &directory)?;
    match args.action {
        Action::Hide { owner } => {
            let owner = match owner {
                None => Owner::parent(),
                Some(pid) => {
                    Owner::of(pid).ok_or_else(|| Request(format!("no process {pid} is running")))?
                }
            };
            hide(&shuffle, &owner)
        }
        Action::Restore => shuffle.restore().map(|back| restored(&back)).map_err(Into::into),
        Action::Status => shuffle.status().map(|status| told(&status)).map_err(Into::into),
        Action::Recover => Ok(match shuffle.recover()? {
            Recovered::Restored(back) => restored(&back),
            Recovered::Nothing => Done {
                text: "nothing to recover".into(),
                json: json!({ "schema": 1, "state": "visible", "recovered": false }),
            },
        }),
    }
}

/// Returns the directory that the person named, else that of the settings. Settings that make no
/// sense keep nobody from getting hidden scenarios back: the vault knows where they belong.
fn scenarios_dir(args: &Args, checkout: &Path) -> anyhow::Result<PathBuf> {
    if let Some(directory) = &args.scenarios_dir {
        return Ok(directory.clone());
    }
    match config::load(checkout) {
        Ok(config) => Ok(config.scenarios.dir.into()),
        Err(error) if matches!(args.action, Action::Hide { .. }) => Err(error.into()),
        Err(_) => Ok(config::ScenarioSettings::default().dir.into()),
    }
}

fn hide(shuffle: &Shuffle<'_>, owner: &Owner) -> anyhow::Result<Done> {
    let now = SystemClock.now();
    let hidden = shuffle.hide(owner, now)?;
    let count = usize::try_from(hidden.files).unwrap_or(usize::MAX);
    Ok(Done {
        text: format!(
            "hid `{}` ({}, {} bytes) for process {}; `shuffle-scenarios restore` puts it back",
            hidden.scenarios.display(),
            plural(count, "file"),
            hidden.bytes,
            owner.pid()
        ),
        json: json!({
            "schema": 1,
            "state": "hidden",
            "scenarios": shown(&hidden.scenarios),
            "files": hidden.files,
            "bytes": hidden.bytes,
            "owner": owner.pid(),
            "since": now,
        }),
    })
}

fn restored(back: &Restored) -> Done {
    let mut text = format!("restored `{}`", back.scenarios.display());
    if let Some(displaced) = &back.displaced {
        text.push_str(&format!("; what stood in its place is now `{}`", displaced.display()));
    }
    Done {
        text,
        json: json!({
            "schema": 1,
            "state": "visible",
            "scenarios": shown(&back.scenarios),
            "recovered": true,
            "displaced": back.displaced.as_deref().map(shown),
        }),
    }
}

fn told(status: &Status) -> Done {
    match status {
        Status::Visible { scenarios } => Done {
            text: format!("visible: `{}` is in its place", scenarios.display()),
            json: json!({ "schema": 1, "state": "visible", "scenarios": shown(scenarios) }),
        },
        Status::Missing { scenarios } => Done {
            text: format!("missing: there is no `{}`, and nothing is hidden", scenarios.display()),
            json: json!({ "schema": 1, "state": "missing", "scenarios": shown(scenarios) }),
        },
        Status::Hidden { scenarios, owner, since, alive } => {
            let (place, pid) = (scenarios.display(), owner.pid());
            let text = if *alive {
                format!("hidden: `{place}`, by process {pid} since {since}")
            } else {
                format!(
                    "needs recovery: `{place}` was hidden at {since} by process {pid}, which is \
                     dead; run `shuffle-scenarios recover`"
                )
            };
            Done {
                text,
                json: json!({
                    "schema": 1,
                    "state": if *alive { "hidden" } else { "needs_recovery" },
                    "scenarios": shown(scenarios),
                    "owner": pid,
                    "since": since,
                }),
            }
        }
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
