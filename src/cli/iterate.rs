//! `iterate`: the convergence loop.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;

use crate::agent::CrashPoint;
use crate::clock::{Clock as _, SystemClock, parse_moment};
use crate::config::{Config, ConfigError, Environment, Span, agent_names, unknown_effort};
use crate::convergence::{Billing, Raise};
use crate::engine::{
    Base, Finish, Halt, Request, Resume, RunSettings, StartError, Started, begin, chain, drive,
    resume,
};
use crate::event::{Summary, Tier};
use crate::judge::DiscoverError;
use crate::process::Cancel;
use crate::report::diagnostics::{from_root, github};
use crate::report::github::{GithubReporter, harmless, step_summary, write_job_files};
use crate::report::run_text::next_lines;
use crate::report::terminal::{TerminalDetail, TerminalReporter, trajectory};
use crate::report::{Outcome, Output, Reporter, RunReport, show_diagnostic};
use crate::scenario::Severity;
use crate::text::plural;

use super::confining;
use super::exit::{Exit, Failure, OrExit as _, explain, find_in_chain};
use super::here::name_product;
use super::leaving::Leaving;
use super::run_scenarios::{passed_over, product_above, product_root};
use super::score::parse_score;

const EXAMPLES: &str = "\
Examples:
  iterate                                the loop, as dark-factory.yaml says
  iterate --agent codex --max-iterations 8 --threshold 0.9
  iterate --workdir packages/x           a product in a directory of a repository; so does `cd packages/x`
  iterate --no-agent                     judge the last commit, and stop
  iterate --no-agent --in-place          judge the working tree, and write the feedback
  iterate --resume                       go on with the newest run that was stopped
  iterate --resume --answer 'use UTC'    ... and answer the agent's question
  iterate --budget 5 --deadline 06:30    stop while the work can still be judged
  iterate --estimate                     how long it may take and what it may cost; starts nothing
  iterate --resume --budget 10           go on with a run that was over its budget
  iterate --once; iterate --resume --once    one turn at a time

Exit codes: 0 converged, 1 not (stalled, exhausted, below the threshold), 2 the request makes no
sense, 3 the factory failed, 4 nothing to judge, 5 stopped and resumable, 6 the required isolation
can't be had, 130 and 143 interrupted.";

/// Judge, tell the agent what is wrong, take what it delivers, and again until it is good.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "iterate", version, after_help = EXAMPLES)]
pub struct Args {
    /// How many agent turns the run may take [default: budget.max_iterations, 5]
    #[arg(long, value_name = "N")]
    pub max_iterations: Option<u32>,
    /// The score that converges, above 0 and at most 1 [default: satisfaction.threshold, 0.8]
    #[arg(long, alias = "satisfaction-threshold", value_name = "SCORE", value_parser = parse_score)]
    pub threshold: Option<f64>,
    /// The backend of the agent.
    #[arg(long, value_name = "BACKEND", help = format!("The agent: {} [default: agent.backend]", agent_names()))]
    pub agent: Option<String>,
    /// The model, as the agent names it [default: agent.model]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Judge and stop; no agent is started
    #[arg(long, conflicts_with_all = ["agent", "model", "once"])]
    pub no_agent: bool,
    /// Judge the working tree as it lies there, and write the feedback into it
    #[arg(long, requires = "no_agent", conflicts_with = "resume")]
    pub in_place: bool,
    /// With --in-place: run those of the product's `prepare` commands first of whose outputs none is there
    #[arg(long, requires = "in_place")]
    pub prepare: bool,
    /// What the run may use up: US dollars (5), tokens (2Mtok) or time at work (2h); with --resume the
    /// new limit of the whole run [default: budget.money, .tokens, .time]
    #[arg(long, value_name = "USD")]
    pub budget: Vec<Raise>,
    /// Be over by then: 06:30 and dates are in UTC, 2h is from now
    #[arg(long, value_name = "WHEN")]
    pub deadline: Option<String>,
    /// Say how long a run is likely to take and what it may cost, and start nothing
    #[arg(long, conflicts_with_all = ["resume", "no_agent", "in_place", "once", "deadline", "report", "bundle"])]
    pub estimate: bool,
    /// Stop before the second turn; `--resume --once` takes the next
    #[arg(long)]
    pub once: bool,
    /// Go on with a run that was stopped: the newest, or the one that is named
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "")]
    pub resume: Option<String>,
    /// The answer to the question that the agent has asked
    #[arg(long, value_name = "TEXT", requires = "resume")]
    pub answer: Option<String>,
    /// What keeps the holdout from the agent, and what is judged in its place: copy or sandbox
    /// [default: sandbox where it can be had]
    #[arg(long, value_name = "TIER", value_parser = parse_tier, conflicts_with = "in_place")]
    pub isolation: Option<Tier>,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// Speak as a step of GitHub Actions: groups, annotations, outputs and a summary; on by itself
    /// in one
    #[arg(long)]
    pub github: bool,
    /// Write what the run came to, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the run's branch as a git bundle, for `factory publish`
    #[arg(long, value_name = "FILE", conflicts_with = "in_place")]
    pub bundle: Option<PathBuf>,
    /// Show decisions and warnings only
    #[arg(long, short)]
    pub quiet: bool,
}

fn parse_tier(text: &str) -> Result<Tier, String> {
    match text {
        "move" => Ok(Tier::Move),
        other => confining::parse_tier(other),
    }
}

/// Runs the command.
///
/// # Errors
/// The run can't begin or go on, or the factory failed on the way.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let root = product_root(args.workdir.as_deref(), env)?;
    let told = |error| with_doctor(error, args, env, &root);
    let cancel = Cancel::on_signals().context("can't watch for signals")?;
    // A run that goes on has what it began with in its journal.
    let mut base = match args.resume {
        None => match Base::open(&root, env, args.in_place, &cancel) {
            Ok(base) => base,
            // What earlier runs took is told without a commit, too.
            Err(_) if args.estimate => Base::lying(&root),
            Err(error) => return Err(told(start_failure(error))),
        },
        Some(_) => Base::lying(&root),
    };
    let config = base.settings().map_err(start_failure).and_then(|config| settings(args, config));
    let config = config.map_err(told)?;
    let now = SystemClock.now();
    let deadline = match args.deadline.as_deref().map(|text| parse_moment(text, now)) {
        None => None,
        Some(Ok(at)) => Some(at.unix_millis()),
        Some(Err(why)) => {
            return Err(Failure::because(Exit::Usage, format!("--deadline: {why}")));
        }
    };
    if args.estimate {
        return super::estimate::run(&root, &config, env);
    }
    let plain = env.no_color() || env.is_ci();
    let live = !plain && std::io::stdout().is_terminal();
    let in_job = args.github || env.is_github();
    let reporter: Box<dyn Reporter> = if in_job {
        Box::new(GithubReporter::new(Output::stdout(true)))
    } else {
        let detail = TerminalDetail { quiet: args.quiet, live };
        Box::new(TerminalReporter::new(Output::stdout(plain), detail))
    };
    if args.prepare {
        super::setting_up::run(&root, &config, env, &cancel)?;
    }
    let absolute = |path: &PathBuf| env.current_dir().join(path);
    let leaving = Leaving {
        root: root.clone(),
        env: env.clone(),
        report: args.report.as_ref().map(absolute),
        bundle: args.bundle.as_ref().map(absolute),
        in_job,
        is_due: false,
    };
    leaving.make_room()?;
    let mut reporters = vec![reporter];
    if in_job || args.report.is_some() || args.bundle.is_some() {
        reporters.push(Box::new(leaving.clone()));
    }
    let (begins_at, noted) = (root.clone(), config.clone());
    let request = Request {
        root,
        env: env.clone(),
        config,
        no_agent: args.no_agent,
        in_place: args.in_place,
        cancel,
        deadline,
        settings: run_settings(args, env)?,
        reporters,
    };
    let begun = match &args.resume {
        None => begin(base, request),
        Some(run) => resume(
            request,
            &Resume {
                run: Some(run.clone()).filter(|run| !run.is_empty()),
                answer: args.answer.clone(),
                max_iterations: args.max_iterations,
                budget: raise(args),
            },
        ),
    };
    let noted = passed_over(args.workdir.as_deref(), env, &begins_at, &noted);
    let mut started = begun.map_err(|error| match (&error, &args.resume) {
        // What these say is all that there is to it.
        (StartError::Held(_) | StartError::Isolation { .. }, _) | (_, Some(_)) => {
            start_failure(error)
        }
        _ => with_doctor(start_failure(error), args, env, &begins_at),
    })?;
    started.notices.extend(noted);
    if args.in_place && !args.prepare {
        started.notices.extend(started.run.frozen.config.set_up_passed_over());
    }
    warn(&started, env, in_job);
    let finish = drive(&mut started);
    let told = tell(&leaving, &started, &finish);
    match finish.failure {
        None => told.map(|()| exit_of(&finish)),
        Some(failure) => {
            // The failure matters most; what could not be left, perhaps because of it, less.
            if let Err(error) = told {
                let mut output = Output::stderr(env.no_color());
                output.line(explain(&error, false));
                let _ = output.finish();
            }
            Err(failure).or_exit(Exit::Broken)
        }
    }
}

/// Returns the budgets that the flags name, the last of each kind.
fn raise(args: &Args) -> Raise {
    args.budget.iter().fold(Raise::default(), |all, one| all.and(*one))
}

/// Returns the settings with the flags over them.
fn settings(args: &Args, mut config: Config) -> anyhow::Result<Config> {
    if let Some(threshold) = args.threshold {
        config.satisfaction.threshold = threshold;
    }
    if let Some(turns) = args.max_iterations {
        config.budget.max_iterations = turns;
    }
    let raise = raise(args);
    if raise.money.is_some() && config.budget.billing == Billing::Plan {
        let why = "--budget: dollars limit nothing with `billing: plan`; write tokens as 2Mtok, or time as 2h";
        return Err(Failure::because(Exit::Usage, why));
    }
    config.budget.money = raise.money.or(config.budget.money);
    config.budget.tokens = raise.tokens.or(config.budget.tokens);
    let time = raise.time_ms.map(|ms| Span(std::time::Duration::from_millis(ms)));
    config.budget.time = time.or(config.budget.time);
    if let Some(agent) = &args.agent {
        // The file's effort was meant for the file's agent.
        let effort = config.agent.effort.as_deref();
        let wrong = effort.and_then(|effort| unknown_effort(agent, effort, true));
        if let Some((message, help)) = wrong {
            let why = format!("--agent: {message}; {help} in `agent.effort`");
            return Err(Failure::because(Exit::Usage, why));
        }
        config.agent.backend = Some(agent.clone());
    }
    if let Some(model) = &args.model {
        config.agent.model = Some(model.clone());
    }
    if let Some(tier) = args.isolation {
        config.isolation.agent = Some(tier);
        config.isolation.judge = Some(tier.max(Tier::Copy));
        config.isolation.require = Some(tier);
    }
    Ok(config)
}

/// Reads what only tests of crashes set, and finds the program that supervises the agent.
fn run_settings(args: &Args, env: &Environment) -> anyhow::Result<RunSettings> {
    let factory = env.executable().context("can't find this program's own file")?;
    let text = |name: &str| env.get(name).and_then(|value| value.to_str()).map(str::to_owned);
    let die_after = match text("DARK_FACTORY_TEST_DIE_AFTER") {
        Some(seq) => Some(seq.parse().context("DARK_FACTORY_TEST_DIE_AFTER is no number")?),
        None => None,
    };
    let crash = match text("DARK_FACTORY_TEST_SUPERVISOR_DIES") {
        Some(point) => {
            Some(point.parse::<CrashPoint>().map_err(|why| Failure::because(Exit::Usage, why))?)
        }
        None => None,
    };
    let haste = match text("DARK_FACTORY_TEST_HASTE") {
        Some(haste) => haste.parse().context("DARK_FACTORY_TEST_HASTE is no number")?,
        None => 1,
    };
    Ok(RunSettings { factory, once: args.once, die_after, crash, haste })
}

/// Returns what kept a run from beginning with all else that would, so that nobody learns of it one at a time.
fn with_doctor(error: anyhow::Error, args: &Args, env: &Environment, root: &Path) -> anyhow::Error {
    let exit = Failure::exit_of(&error);
    let is_styled = Output::stderr(env.no_color()).is_styled();
    let agent = (!args.no_agent, args.agent.as_deref());
    let mut below = match args.in_place {
        // It needs no repository, and less of everything else.
        true => Vec::new(),
        false => super::doctor::what_fails(env, root, agent, is_styled),
    };
    let committed = find_in_chain::<ConfigError>(&error).and_then(ConfigError::text);
    let here = std::fs::read_to_string(root.join(crate::config::FILE)).ok();
    if !args.in_place && committed.is_some() && here.as_deref() != committed {
        let name = crate::config::FILE;
        below.insert(
            0,
            format!("{name} is read as the commit has it, and differs in the checkout; commit it to use that"),
        );
    }
    if exit == Exit::Nothing {
        below.extend(product_above(root));
    }
    Failure { below, ..Failure::of(exit, error) }.into()
}

/// Returns a run that could not begin as an error with its exit code.
pub(super) fn start_failure(error: StartError) -> anyhow::Error {
    if let StartError::Settings(error) = error {
        // By itself, so that the places in the file are shown.
        return Failure::of(Exit::Usage, error).into();
    }
    let exit = match &error {
        StartError::NoScenarios { .. }
        | StartError::ScenariosNotCommitted { .. }
        | StartError::Discover(DiscoverError::Missing { .. }) => Exit::Nothing,
        StartError::Discover(DiscoverError::NoDirectory { .. } | DiscoverError::SameId { .. }) => {
            Exit::Usage
        }
        StartError::Discover(DiscoverError::Unreadable { .. }) => Exit::Broken,
        StartError::Isolation { .. } | StartError::Keys { .. } => Exit::Isolation,
        StartError::Halt(Halt::Interrupted(signal)) => Exit::Interrupted(*signal),
        StartError::Agent(agent) if !agent.is_request() => Exit::Broken,
        StartError::Git(git) if !git.is_request() => Exit::Broken,
        StartError::Git(_)
        | StartError::NoCommit
        | StartError::NoDirectory { .. }
        | StartError::Settings(_)
        | StartError::NoSpecs { .. }
        | StartError::Agent(_)
        | StartError::Prompt(_)
        | StartError::Frozen(_)
        | StartError::Move
        | StartError::Allow(_)
        | StartError::NotThere { .. }
        | StartError::Over { .. }
        | StartError::InPlace { .. }
        | StartError::NoAnswer { .. }
        | StartError::NoQuestion { .. }
        | StartError::UnknownGraph { .. } => Exit::Usage,
        StartError::Store(store) if store.is_request() => Exit::Usage,
        StartError::Held(_)
        | StartError::Login(_)
        | StartError::Lock(_)
        | StartError::Environment(_)
        | StartError::Store(_)
        | StartError::Tree(_)
        | StartError::Disk { .. }
        | StartError::NoTemporary { .. }
        | StartError::NoExec { .. }
        | StartError::Halt(_) => Exit::Broken,
    };
    Failure::of(exit, error).into()
}

/// Says what the person should know before the run goes on.
fn warn(started: &Started, env: &Environment, in_job: bool) {
    let mut output = Output::stderr(env.no_color());
    let styled = output.is_styled();
    for notice in &started.notices {
        output.line(harmless(&format!("note: {notice}")));
    }
    let set = &started.run.frozen.set;
    let invalid: Vec<_> = set.entries.iter().filter_map(|e| e.scenario.as_ref().err()).collect();
    for found in invalid.iter().flat_map(|found| found.iter()) {
        if found.severity == Severity::Error {
            let shown = match in_job {
                true => github(&from_root(found, &started.run.frozen.at)),
                false => show_diagnostic(found, None, styled),
            };
            output.line(shown);
        }
    }
    if !invalid.is_empty() {
        output.line(format_args!(
            "note: {} can't be judged and will count as unsatisfied; `factory lint` tells more",
            plural(invalid.len(), "scenario")
        ));
    }
    // There is nobody left to tell.
    let _ = output.finish();
}

/// Says what the run came to, and leaves what machines read.
fn tell(leaving: &Leaving, started: &Started, finish: &Finish) -> anyhow::Result<()> {
    let summary = started.run.summary();
    let mut report = leaving.report(summary, false)?;
    if report.outcome.is_none() {
        let outcome = match finish.signal {
            Some(_) => Outcome::Interrupted,
            None => Outcome::Failed,
        };
        let failure = finish.failure.as_ref().map(|failure| chain(failure));
        report.set_end(outcome, Some(finish.exit), failure.as_deref());
    }
    name_product(&mut report, &leaving.root, &leaving.env);
    // In a step of GitHub Actions the reporter has said it.
    if !leaving.in_job {
        say(summary, &report, &leaving.env)?;
    }
    let detailed = leaving.add_details(&mut report, summary);
    let written = leaving.write(summary, &report);
    let shown = match leaving.in_job {
        true => {
            write_job_files(&leaving.env, &[], Some(&step_summary(&report))).or_exit(Exit::Broken)
        }
        false => Ok(()),
    };
    written.and(shown).and(detailed)
}

/// Says what the run came to, and what comes next.
fn say(summary: &Summary, report: &RunReport, env: &Environment) -> anyhow::Result<()> {
    let mut output = Output::stdout(env.no_color() || env.is_ci());
    output.line("");
    if !summary.steps.is_empty() && !summary.started.in_place {
        output.line(trajectory(summary));
    }
    if let (Some(outcome), Some(reason)) = (report.outcome, &report.reason) {
        output.line(format_args!("{}: {reason}", outcome.words()));
    }
    if summary.started.in_place {
        let iteration = summary.started.first_iteration;
        output.line(format_args!("feedback: artifacts/factory/feedback_iter_{iteration}.md"));
        output.line("results: artifacts/factory/scenario_results.json");
    }
    for line in next_lines(&report.next) {
        output.line(line);
    }
    output.finish().context("can't write to standard output")
}

fn exit_of(finish: &Finish) -> Exit {
    if let Some(signal) = finish.signal {
        return Exit::Interrupted(signal);
    }
    match finish.exit {
        0 => Exit::Satisfied,
        1 => Exit::NotSatisfied,
        4 => Exit::Nothing,
        5 => Exit::Resumable,
        _ => Exit::Broken,
    }
}
