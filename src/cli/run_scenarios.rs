//! `run-scenarios`: judges the working tree in place by its scenarios.

use std::collections::BTreeSet;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use crate::clock::{Clock as _, Instant, SystemClock};
use crate::config::{Config, Environment, Jobs, Span};
use crate::judge::{self, DiscoverError, Place, Progress, Settings};
use crate::process::Cancel;
use crate::report::results::Results;
use crate::report::scenarios::{Detail, Finding, Listed, ScenarioReporter};
use crate::report::{Output, show_diagnostic, write_atomically};
use crate::scenario::{Diagnostic, Entry, ScenarioSet, Selection, Severity};
use crate::text::plural;
use crate::verdict::{Judged, Satisfaction, satisfaction};

use super::exit::{Exit, Failure, OrExit as _};

/// Where the results go, below the root of the product.
const RESULTS: &str = "artifacts/factory/scenario_results.json";
/// The time between TERM and KILL for a scenario.
const GRACE: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  run-scenarios                       judge the product in the current directory
  run-scenarios 01_login 'auth/*'     only these, by id, name or file
  run-scenarios --category pipeline   only this category
  run-scenarios --jobs auto -q        several at a time; show what is not satisfied
  run-scenarios --check               read the scenarios and say what is wrong with them

Exit codes: 0 all satisfied, 1 not all, 2 the request makes no sense, 3 the factory failed,
4 nothing to judge, 130 and 143 interrupted.";

/// Judge the working tree by its scenarios.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "run-scenarios", version, after_help = EXAMPLES)]
pub struct Args {
    /// Scenarios to run, by id, name or file, or a glob of one; all if none is given
    #[arg(value_name = "SCENARIO")]
    pub names: Vec<String>,
    /// Run only this category; can be given several times
    #[arg(long, value_name = "NAME")]
    pub category: Vec<String>,
    /// Time limit of one attempt, whatever the scenario says: 90, 90s, 5m
    #[arg(long, value_name = "SPAN")]
    pub timeout: Option<Span>,
    /// The scenarios' directory [default: `scenarios.dir` of dark-factory.yaml, else scenarios]
    #[arg(long, value_name = "DIR")]
    pub scenarios_dir: Option<PathBuf>,
    /// The file for the results [default: artifacts/factory/scenario_results.json below the root]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The root of the product [default: the top of the git repository, else the current directory]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// How many scenarios run at a time: a number, or `auto`
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<Jobs>,
    /// List the scenarios and run none
    #[arg(long, conflicts_with = "check")]
    pub list: bool,
    /// Read the scenarios, say what is wrong with them, and run none
    #[arg(long)]
    pub check: bool,
    /// What is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Show only what is not satisfied, and the sum
    #[arg(long, short)]
    pub quiet: bool,
}

/// What is written to standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    #[default]
    Human,
    /// The results file's JSON.
    Json,
}

/// Runs the command.
///
/// # Errors
/// The request makes no sense, there is nothing to judge, or the results can't be written.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let root = product_root(args.workdir.as_deref(), env)?;
    let config = crate::config::load(&root).or_exit(Exit::Usage)?;
    let (set, base) = scenarios(args, env, &root, &config)?;
    let set = select(args, set)?;
    if args.list {
        return list(args, env, &set);
    }
    if args.check {
        return check(args, env, &set, &base);
    }
    judge(args, env, &root, &config, &set)
}

/// Returns the root of the product, absolute and without links: `workdir` if it is given, else the
/// nearest directory above the current one that is a git repository's top, else the current one.
///
/// # Errors
/// `workdir` is no directory.
pub fn product_root(workdir: Option<&Path>, env: &Environment) -> anyhow::Result<PathBuf> {
    let here = env.current_dir();
    let root = match workdir {
        Some(dir) => {
            let dir = here.join(dir);
            if !dir.is_dir() {
                let message = format!("`{}` is not a directory", dir.display());
                return Err(Failure::new(Exit::Usage, message));
            }
            dir
        }
        None => here.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(here).to_owned(),
    };
    fs::canonicalize(&root).with_context(|| format!("can't use the directory `{}`", root.display()))
}

/// Returns the scenarios, and the directory that their `file`s are relative to.
fn scenarios(
    args: &Args,
    env: &Environment,
    root: &Path,
    config: &Config,
) -> anyhow::Result<(ScenarioSet, PathBuf)> {
    let Some(named) = &args.scenarios_dir else {
        return match judge::discover(root, &config.scenarios.dir) {
            Ok(set) => Ok((set, root.to_owned())),
            Err(error @ DiscoverError::Missing { .. }) => Err(error).or_exit(Exit::Nothing),
            Err(error @ DiscoverError::NoDirectory { .. }) => Err(error).or_exit(Exit::Usage),
            Err(error @ DiscoverError::Unreadable { .. }) => Err(error).or_exit(Exit::Broken),
        };
    };
    // Below the root, scenarios are called by their path in it; elsewhere by the directory's name.
    let named = env.current_dir().join(named);
    let found = fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
    let (base, dir) = match [&named, &found].into_iter().find_map(|dir| dir.strip_prefix(root).ok())
    {
        Some(dir) => (root.to_owned(), dir.to_owned()),
        None => match (found.parent(), found.file_name()) {
            (Some(above), Some(name)) => (above.to_owned(), PathBuf::from(name)),
            _ => (found.clone(), PathBuf::new()),
        },
    };
    let dir = dir.to_str().ok_or_else(|| {
        let message = format!("the directory's name `{}` is not UTF-8; rename it", dir.display());
        Failure::new(Exit::Usage, message)
    })?;
    let set = judge::discover(&base, dir).or_exit(Exit::Usage)?;
    Ok((set, base))
}

/// Returns the scenarios that the arguments ask for; never none.
fn select(args: &Args, set: ScenarioSet) -> anyhow::Result<ScenarioSet> {
    let nothing = |message: String| Err(Failure::new(Exit::Nothing, message));
    if set.entries.is_empty() {
        return nothing("there are no scenarios: no file in the directory ends in `.md`".into());
    }
    let selection = Selection::new(&args.category, &args.names);
    if let Some(first) = selection.unmatched(&set).first() {
        let message = format!(
            "`{first}` matches none of {}; `run-scenarios --list` shows them",
            plural(set.entries.len(), "scenario")
        );
        return nothing(message);
    }
    let chosen = selection.of(&set);
    if chosen.entries.is_empty() {
        return nothing("no scenario has both that name and that category".into());
    }
    Ok(chosen)
}

fn list(args: &Args, env: &Environment, set: &ScenarioSet) -> anyhow::Result<Exit> {
    let mut output = Output::stdout(env.no_color());
    match args.format {
        Format::Json => output.line(Listed::json(&set.entries)),
        Format::Human => Listed::lines(&set.entries).iter().for_each(|line| output.line(line)),
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn check(
    args: &Args,
    env: &Environment,
    set: &ScenarioSet,
    base: &Path,
) -> anyhow::Result<Exit> {
    let invalid = set.entries.iter().filter_map(|entry| entry.scenario.as_ref().err()).flatten();
    let mut found: Vec<&Diagnostic> = invalid.chain(&set.diagnostics).collect();
    found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let errors = found.iter().filter(|one| one.severity == Severity::Error).count();
    let mut output = Output::stdout(env.no_color());
    match args.format {
        Format::Json => output.line(Finding::json(&found)),
        Format::Human => {
            for one in &found {
                let source = one.span.as_ref().and_then(|_| fs::read_to_string(base.join(&one.file)).ok());
                let shown = show_diagnostic(one, source.as_deref(), output.is_styled());
                output.line(format_args!("{shown}\n"));
            }
            output.line(format_args!(
                "{}: {}, {}",
                plural(set.entries.len(), "scenario"),
                plural(errors, "error"),
                plural(found.len() - errors, "warning"),
            ));
        }
    }
    output.finish().context("can't write to standard output")?;
    Ok(if errors > 0 { Exit::Usage } else { Exit::Satisfied })
}

fn judge(
    args: &Args,
    env: &Environment,
    root: &Path,
    config: &Config,
    set: &ScenarioSet,
) -> anyhow::Result<Exit> {
    let cancel = Cancel::on_signals().context("can't watch for signals")?;
    let place = Place {
        root: root.to_owned(),
        env: env.for_product(&config.env, root, None, None),
    };
    let settings = Settings {
        timeout: config.scenarios.timeout.0,
        timeout_override: args.timeout.map(|span| span.0),
        jobs: jobs(args.jobs.unwrap_or(config.scenarios.jobs)),
        grace: GRACE,
    };
    let human = args.format == Format::Human;
    let plain = env.no_color() || env.is_ci();
    let detail = Detail {
        quiet: args.quiet,
        silent: !human,
        live: human && !plain && std::io::stderr().is_terminal(),
    };
    let output = Output::stdout(plain && !env.is_github());
    let mut reporter = ScenarioReporter::new(output, detail, set.entries.len());
    let begun = Instant::now();
    let entries: Vec<&Entry> = set.entries.iter().collect();
    let judged = judge::judge_scenarios(
        &entries,
        &place,
        &settings,
        &BTreeSet::new(),
        &cancel,
        &mut |progress| match progress {
            Progress::Started(entry) => reporter.started(entry),
            Progress::Judged(judged) => reporter.judged(judged),
        },
    );
    let sum = satisfaction(&judged);
    let results = Results::new(SystemClock.now(), &judged, &sum, false);
    let json = results.to_json();
    let path = match &args.output {
        Some(path) => env.current_dir().join(path),
        None => root.join(RESULTS),
    };
    // Written before anything more is said: whoever reads the sum may read the file.
    let written = write_atomically(&path, &json);
    reporter.finished(&judged, &sum, begun.elapsed(), &|id| rerun(args, id));
    if written.is_ok() {
        reporter.note(&format!("results: {}", path.display()));
    }
    if let Some(signal) = cancel.tripped() {
        reporter.note(&format!("interrupted: {} not judged", plural(sum.undecided, "scenario")));
        written.or_exit(Exit::Broken)?;
        return Ok(Exit::Interrupted(signal));
    }
    let mut output = reporter.into_output();
    if !human {
        // Failures are remembered, and told by `finish`.
        let _ = output.write_all(&json);
    }
    written.or_exit(Exit::Broken)?;
    output.finish().context("can't write to standard output")?;
    Ok(exit_of(&judged, &sum))
}

fn jobs(jobs: Jobs) -> usize {
    match jobs {
        Jobs::Count(count) => count,
        Jobs::Auto => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// Returns what a whole judgement comes to.
fn exit_of(judged: &[Judged], sum: &Satisfaction) -> Exit {
    if judged.iter().all(Judged::is_satisfied) {
        Exit::Satisfied
    } else if sum.failed > 0 || (sum.undecided > 0 && sum.passed > 0) {
        Exit::NotSatisfied
    } else if sum.undecided > 0 {
        Exit::Broken
    } else if sum.passed > 0 {
        // The rest was skipped, and counts neither for nor against.
        Exit::Satisfied
    } else {
        Exit::Nothing
    }
}

/// Returns the command that runs one scenario again.
fn rerun(args: &Args, id: &str) -> String {
    let mut command = "run-scenarios".to_owned();
    for (flag, value) in [("--workdir", &args.workdir), ("--scenarios-dir", &args.scenarios_dir)] {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} {}", quoted(&value.display().to_string())));
        }
    }
    format!("{command} {id}")
}

/// Returns `word` as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
