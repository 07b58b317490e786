//! `shuffle-scenarios`: hides the scenarios from an agent that works in the checkout itself.
//!
//! One call hides and another restores; between them the scenarios belong to the process that
//! asked for it, which is the caller's shell unless `--owner` names another.

#[cfg(debug_assertions)]
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Config, Environment};
use crate::report::Output;
use crate::text::{plural, visible};
use crate::wall::shuffle::{self, Owner, Recovered, Restored, Shuffle, ShuffleError, Status, Step};

use super::exit::{Exit, Failure, OrExit as _};
use super::run_scenarios::product_root;

/// Hide the scenarios while an agent works in the checkout, and put them back.
///
/// They are copied to a private directory under $XDG_STATE_HOME/dark-factory (else
/// ~/.local/state/dark-factory), verified, and only then removed; a kill at any moment loses
/// nothing. This keeps honest agents honest: git's history still holds the scenarios, and what
/// the same user could find on the disk, it can.
#[derive(Debug, Clone, Parser)]
#[command(name = "shuffle-scenarios", version, after_help = IN_A_SCRIPT)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The scenarios' directory [default: `scenarios.dir` of dark-factory.yaml, else scenarios]
    #[arg(long, global = true, value_name = "DIR")]
    scenarios_dir: Option<PathBuf>,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, global = true, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Write the result as one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Hide the scenarios
    Hide {
        /// The process that they are hidden for: while it runs, `recover` leaves them hidden
        /// [default: the process that called this one]
        #[arg(long, value_name = "PID")]
        owner: Option<u32>,
    },
    /// Put the scenarios back, whoever hid them; what stands in their place is moved aside
    Restore,
    /// Tell whether the scenarios are in their place
    Status,
    /// Put the scenarios back if whoever hid them is dead; do nothing where nothing is hidden
    Recover,
}

const IN_A_SCRIPT: &str = "\
Examples:
  shuffle-scenarios status                 in their place, hidden, or left behind?
  shuffle-scenarios hide --owner $PPID     hidden as long as the process that called the script runs
  shuffle-scenarios restore --json         put back; the result as JSON

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
still runs, another call at work, disk full, a hidden copy or journal that was changed).";

/// What was done, for people and for machines.
struct Done {
    text: String,
    json: Value,
}

/// Runs the command.
///
/// # Errors
/// The request makes no sense, something stands in the way, or the result can't be written.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let done = act(args, env)?;
    let mut output = Output::stdout(env.no_color());
    if args.json {
        output.line(&done.json);
    } else {
        output.line(visible(&done.text));
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn act(args: &Args, env: &Environment) -> anyhow::Result<Done> {
    let checkout = product_root(args.workdir.as_deref(), env)?;
    let vault = shuffle::vault(&env.state_dir()?, &checkout)
        .with_context(|| format!("can't reach `{}`", checkout.display()))?;
    let directory = scenarios_dir(args, env, &checkout)?;
    let dies = dies(env);
    let shuffle = Shuffle::open(&vault, &checkout, &directory).map_err(failure)?.observed(&dies);
    match args.action {
        Action::Hide { owner } => {
            let owner = match owner {
                None => Owner::parent(),
                Some(pid) => Owner::of(pid).ok_or_else(|| {
                    Failure::because(Exit::Usage, format!("no process {pid} is running"))
                })?,
            };
            hide(&shuffle, &owner)
        }
        Action::Restore => Ok(restored(&shuffle.restore().map_err(failure)?)),
        Action::Status => Ok(told(&shuffle.status().map_err(failure)?)),
        Action::Recover => Ok(match shuffle.recover().map_err(failure)? {
            Recovered::Restored(back) => restored(&back),
            Recovered::Nothing => {
                let Done { text, mut json } = told(&shuffle.status().map_err(failure)?);
                json["recovered"] = false.into();
                Done { text: format!("nothing to recover; {text}"), json }
            }
        }),
    }
}

/// Returns what kills this very process after the step whose number a test of crashes asks for. A
/// release build ignores it.
#[cfg(debug_assertions)]
fn dies(env: &Environment) -> impl Fn(Step) -> io::Result<()> {
    let asked = env.get("DARK_FACTORY_TEST_SHUFFLE_DIES_AFTER").and_then(|value| value.to_str());
    let step = asked.and_then(|number| number.parse::<u32>().ok());
    let steps = Cell::new(0);
    move |_| {
        steps.set(steps.get() + 1);
        if step == Some(steps.get()) {
            rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            )?;
        }
        Ok(())
    }
}

#[cfg(not(debug_assertions))]
fn dies(_: &Environment) -> impl Fn(Step) -> io::Result<()> {
    |_| Ok(())
}

fn failure(error: ShuffleError) -> anyhow::Error {
    let exit = if error.is_request() { Exit::Usage } else { Exit::Broken };
    Failure::of(exit, error).into()
}

/// Returns the directory that the person named, else that of the settings. Settings that make no
/// sense keep nobody from getting hidden scenarios back: the vault knows where they belong.
fn scenarios_dir(args: &Args, env: &Environment, checkout: &Path) -> anyhow::Result<PathBuf> {
    if let Some(directory) = &args.scenarios_dir {
        return Ok(env.current_dir().join(directory));
    }
    match config::load(checkout) {
        Ok(config) => Ok(config.scenarios.dir.into()),
        Err(error) if matches!(args.action, Action::Hide { .. }) => Err(error).or_exit(Exit::Usage),
        Err(_) => Ok(Config::default().scenarios.dir.into()),
    }
}

fn hide(shuffle: &Shuffle<'_>, owner: &Owner) -> anyhow::Result<Done> {
    let now = SystemClock.now();
    let hidden = shuffle.hide(owner, now).map_err(failure)?;
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
        Status::Unfinished { scenarios, left, owner, since } => Done {
            text: format!(
                "needs recovery: hiding `{}` was cut short, and `{}` still holds it; run \
                 `shuffle-scenarios restore`",
                scenarios.display(),
                left.display()
            ),
            json: json!({
                "schema": 1,
                "state": "needs_recovery",
                "scenarios": shown(scenarios),
                "left": shown(left),
                "owner": owner.pid(),
                "since": since,
            }),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Variables;

    /// A checkout with scenarios, and a state directory beside it.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("checkout/scenarios")).unwrap();
            fs::write(root.path().join("checkout/scenarios/a.md"), "exam").unwrap();
            Self(root)
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn call(&self, line: &str) -> anyhow::Result<Done> {
            let words = line.split_whitespace();
            let args = Args::try_parse_from(std::iter::once("shuffle-scenarios").chain(words))?;
            let state = self.path("state").into_os_string();
            let variables = Variables::from([("XDG_STATE_HOME".into(), state)]);
            act(&args, &Environment::from_parts(variables, self.path("checkout")))
        }

        fn state(&self, line: &str) -> String {
            self.call(line).unwrap().json["state"].as_str().unwrap().to_owned()
        }

        fn check_fails(&self, line: &str, exit: Exit, part: &str) {
            let error = self.call(line).err().unwrap();
            assert_eq!(Failure::exit_of(&error), exit, "{error:#}");
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }

    #[test]
    fn scenarios_go_and_come_back() {
        let place = Place::new();
        assert_eq!(place.state("status"), "visible");
        assert_eq!(place.state("hide"), "hidden");
        assert!(!place.path("checkout/scenarios").exists());
        assert_eq!(place.state("status --json"), "hidden");
        assert_eq!(place.state("restore"), "visible");
        assert_eq!(fs::read(place.path("checkout/scenarios/a.md")).unwrap(), b"exam");
        let recovered = place.call("recover").unwrap();
        assert!(recovered.text.starts_with("nothing to recover; visible:"), "{}", recovered.text);
    }

    #[test]
    fn each_wrong_request_has_its_code_and_message() {
        let place = Place::new();
        place.check_fails("restore", Exit::Usage, "nothing is hidden");
        place.check_fails("hide --scenarios-dir exam", Exit::Usage, "no scenarios directory");
        place.check_fails("hide --workdir gone", Exit::Usage, "is not a directory");
        place.check_fails("hide --owner 4000000000", Exit::Usage, "no process 4000000000");
        place.call("hide").unwrap();
        place.check_fails("hide", Exit::Broken, "already hidden by process");
        place.check_fails("recover", Exit::Broken, "still runs");
    }

    #[test]
    fn the_settings_name_the_directory() {
        let place = Place::new();
        fs::rename(place.path("checkout/scenarios"), place.path("checkout/exam")).unwrap();
        fs::write(place.path("checkout/dark-factory.yaml"), "scenarios:\n  dir: exam\n").unwrap();
        place.call("hide").unwrap();
        assert!(!place.path("checkout/exam").exists());
    }

    #[test]
    fn broken_settings_keep_nobody_from_getting_the_scenarios_back() {
        let place = Place::new();
        place.call("hide").unwrap();
        fs::write(place.path("checkout/dark-factory.yaml"), "scenario: [").unwrap();
        place.call("restore").unwrap();
        assert!(place.path("checkout/scenarios/a.md").exists());
        let error = place.call("hide").err().unwrap();
        assert_eq!(Failure::exit_of(&error), Exit::Usage, "{error:#}");
    }
}
