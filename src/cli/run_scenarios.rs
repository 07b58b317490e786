//! `run-scenarios`: judges the working tree in place by its scenarios.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use crate::clock::{self, Clock as _, Instant, SystemClock};
use crate::config::{self, Config, Environment, python_in_place, redaction_of};
use crate::engine::keep_out_of_git;
use crate::event::Tier;
use crate::id::ScenarioId;
use crate::judge::{
    self, Died, DiscoverError, EvidenceDir, Fixtures, JudgementRecord, Place, Progress, Settings,
    Work, remember,
};
use crate::process::{Cancel, Limited, end_strays, is_interrupt_ignored, pause_with_the_terminal};
use crate::report::results::ScenarioResult;
use crate::report::scenarios::Listed;
use crate::report::{Output, diagnostics, show_diagnostic};
use crate::scenario::{Diagnostic, Entry, ScenarioSet, Severity};
use crate::text::{Subtree, listed, one_line, plural};
use crate::verdict::{Satisfaction, show_score};

use super::confining::{Confining, parse_tier};
use super::exit::{Exit, Failure, OrExit as _};
use super::lint::text_of;
use super::past::{STATE, history, take_over};
use super::reports::{Format, ReportArgs, Telling, quoted};
use super::scheduling::SchedulingArgs;
use super::score::parse_score;
use super::selection::{Chosen, SelectionArgs};
use super::setting_up;

/// Where the results go, below the root of the product.
pub(super) const RESULTS: &str = "artifacts/factory/scenario_results.json";
/// How often what is shown of running scenarios is brought up to date.
const TICK: Duration = Duration::from_millis(200);
/// How many critical scenarios that are open are named.
const NAMES: usize = 5;
/// How many characters of a scenario's name are shown.
const NAME: usize = 60;

const EXAMPLES: &str = "\
Examples:
  run-scenarios                       judge the product in the current directory
  run-scenarios 01_login 'auth/*'     only these, by id, name or file
  run-scenarios --category pipeline   only this category
  run-scenarios -E 'category(web) & !tag(gpu, nightly)'
                                      only what an expression selects
  run-scenarios --failed              only what was not satisfied the last time
  run-scenarios --jobs auto -q        several at a time; show what is not satisfied
  run-scenarios --report junit=x.xml  also write a report; --format says what is shown
  run-scenarios --threshold 0.9       end with 0 where the score reaches 0.9 and nothing critical is
                                      open, as a step of a workflow that needs no more
  run-scenarios --isolation sandbox   each in a view of its own, as the loop judges them
  run-scenarios --check               read the scenarios and say what is wrong with them

Exit codes: 0 all satisfied (the threshold reached, with --threshold), 1 not, 2 the request makes no sense, 3 the factory failed,
4 nothing to judge, 130 and 143 interrupted.";

/// Judge the working tree by its scenarios.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "run-scenarios", version, after_help = EXAMPLES)]
pub struct Args {
    /// Which scenarios, and in which order.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// How many at a time, how often, and for how long.
    #[command(flatten)]
    pub scheduling: SchedulingArgs,
    /// The scenarios' directory [default: `scenarios.dir` of dark-factory.yaml, else scenarios]
    #[arg(long, value_name = "DIR", help_heading = "Product")]
    pub scenarios_dir: Option<PathBuf>,
    /// The file for the results [default: artifacts/factory/scenario_results.json below the root]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR", help_heading = "Product")]
    pub workdir: Option<PathBuf>,
    /// The score that is enough, above 0 and at most 1: ends with 0 where it is reached and nothing critical
    /// is open [default: all have to be satisfied]
    #[arg(long, alias = "satisfaction-threshold", value_name = "SCORE", value_parser = parse_score,
          conflicts_with_all = ["list", "check"], help_heading = "Product")]
    pub threshold: Option<f64>,
    /// What keeps evaluations from the rest of the machine: `copy`, nothing, or `sandbox`, as in a run of
    /// the loop
    #[arg(long, value_name = "TIER", value_parser = parse_tier, help_heading = "Product")]
    pub isolation: Option<Tier>,
    /// Run those of the product's `prepare` commands first of whose outputs none is there
    #[arg(long, conflicts_with_all = ["list", "check"], help_heading = "Product")]
    pub prepare: bool,
    /// List the scenarios and run none
    #[arg(long, conflicts_with = "check", help_heading = "Instead of running")]
    pub list: bool,
    /// Read the scenarios, say what is wrong with them, and run none
    #[arg(long, help_heading = "Instead of running")]
    pub check: bool,
    /// What is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Human, help_heading = "Output")]
    pub format: Format,
    /// Show only what is not satisfied, and the sum
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
    /// What else is told, and how.
    #[command(flatten)]
    pub reports: ReportArgs,
}

/// Runs the command.
///
/// # Errors
/// The request makes no sense, there is nothing to judge, or the results can't be written.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let plain = env.no_color() || (env.is_ci() && !env.is_github());
    if !args.list && !args.check {
        pause_with_the_terminal().context("can't watch for signals")?;
    }
    run_to(Output::stdout(plain), Cancel::on_signals, args, env)
}

fn run_to(
    mut output: Output,
    cancel: fn() -> std::io::Result<Cancel>,
    args: &Args,
    env: &Environment,
) -> anyhow::Result<Exit> {
    let root = product_root(args.workdir.as_deref(), env)?;
    let mut config = config::load(&root).or_exit(Exit::Usage)?;
    // Slow scenarios wait for it, too.
    config.satisfaction.threshold = args.threshold.unwrap_or(config.satisfaction.threshold);
    let (set, base) = scenarios(args, env, &root, &config)?;
    let mut stderr = Output::stderr(env.no_color());
    take_over(&root, &mut stderr);
    if let Some(note) = passed_over(args.workdir.as_deref(), env, &root, &config) {
        stderr.line(format_args!("note: {note}"));
    }
    let chosen = args.selection.choose(set, &root, &mut stderr)?;
    let set = &chosen.set;
    let exit = if args.list {
        list(args, &mut output, set, &root)?
    } else if args.check {
        check(args, &mut output, set, &base)
    } else {
        let cancel = cancel().context("can't watch for signals")?;
        if is_interrupt_ignored() {
            stderr.line("note: INT is ignored here, as in the background of a script; TERM ends the judgement");
        }
        judge(
            args,
            env,
            &mut output,
            &cancel,
            &Product { at: config::subtree_of(&base), root, config },
            &chosen,
        )?
    };
    output.finish().context("can't write to standard output")?;
    // The process is about to end: the system takes back at once what would go piece by piece here.
    std::mem::forget(chosen);
    Ok(exit)
}

/// What is judged.
struct Product {
    root: PathBuf,
    config: Config,
    /// Where in the repository the files of its scenarios lie.
    at: Subtree,
}

/// Returns the root of the product, absolute and without links: `workdir` if it is given, else, in a git repository, the
/// first directory from the current one up that has settings or is the top, else the current one.
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
                return Err(Failure::because(Exit::Usage, message));
            }
            dir
        }
        None => {
            let has = |dir: &Path, names: &[&str]| names.iter().any(|one| dir.join(one).exists());
            let is_product = |dir: &&Path| has(dir, &[config::FILE, "dark-factory.yml", ".git"]);
            // What lies above a directory without a repository is no business of it.
            let product = here.ancestors().find(is_product);
            let in_repository = here.ancestors().any(|dir| has(dir, &[".git"]));
            product.filter(|_| in_repository).unwrap_or(here).to_owned()
        }
    };
    fs::canonicalize(&root).with_context(|| format!("can't use the directory `{}`", root.display()))
}

/// Says that a directory which looks like a product is not the one that is judged; none where nobody was likely to
/// mean it.
pub(super) fn passed_over(
    workdir: Option<&Path>,
    env: &Environment,
    root: &Path,
    config: &Config,
) -> Option<String> {
    let here = fs::canonicalize(env.current_dir()).ok().filter(|_| workdir.is_none())?;
    let own = here.join(&Config::default().scenarios.dir);
    let is_meant = here != root && own.is_dir() && own != root.join(&config.scenarios.dir);
    is_meant.then(|| {
        format!(
            "the product at {} is judged; that of this directory, which has scenarios and no {}, by `--workdir .`",
            root.display(),
            config::FILE
        )
    })
}

/// Says that the top of the repository is another product, where the one at `root` has no scenarios; none where there
/// is no other.
pub(super) fn product_above(root: &Path) -> Option<String> {
    let top = root.ancestors().nth(config::subtree_of(root).depth()).filter(|top| *top != root)?;
    let has =
        |root: &Path| root.join(config::load(root).unwrap_or_default().scenarios.dir).is_dir();
    (has(top) && !has(root)).then(|| {
        format!(
            "{} is another product than {}, and has scenarios: `--workdir {}` judges it",
            top.display(),
            root.display(),
            top.display()
        )
    })
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
            Ok(mut set) => {
                judge::check_needs(&mut set, root, &config.fixtures);
                Ok((set, root.to_owned()))
            }
            Err(error @ DiscoverError::Missing { .. }) => {
                let below = product_above(root).into_iter().collect();
                Err(Failure { below, ..Failure::of(Exit::Nothing, error) }.into())
            }
            Err(error @ (DiscoverError::NoDirectory { .. } | DiscoverError::SameId { .. })) => {
                Err(error).or_exit(Exit::Usage)
            }
            Err(error @ DiscoverError::Unreadable { .. }) => Err(error).or_exit(Exit::Broken),
        };
    };
    // Below the root, scenarios are called by their path in it; elsewhere by the directory's name.
    let named = env.current_dir().join(named);
    let found = fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
    let below = |dir: &Path| {
        let dir = dir.strip_prefix(root).ok()?;
        dir.components().all(|part| matches!(part, Component::Normal(_))).then(|| dir.to_owned())
    };
    let (base, dir) = match below(&named).or_else(|| below(&found)) {
        Some(dir) => (root.to_owned(), dir),
        None => match (found.parent(), found.file_name()) {
            (Some(above), Some(name)) => (above.to_owned(), PathBuf::from(name)),
            _ => (found.clone(), PathBuf::new()),
        },
    };
    let dir = dir.to_str().ok_or_else(|| {
        let message = format!("the directory's name `{}` is not UTF-8; rename it", dir.display());
        Failure::because(Exit::Usage, message)
    })?;
    let mut set = judge::discover(&base, dir).or_exit(Exit::Usage)?;
    judge::check_needs(&mut set, &base, &config.fixtures);
    Ok((set, base))
}

fn list(args: &Args, output: &mut Output, set: &ScenarioSet, root: &Path) -> anyhow::Result<Exit> {
    match args.format {
        Format::Json => output.line(Listed::json(&set.entries, &history(root, &set.entries)?)),
        _ => Listed::lines(&set.entries).iter().for_each(|line| output.line(line)),
    }
    Ok(Exit::Satisfied)
}

fn check(args: &Args, output: &mut Output, set: &ScenarioSet, base: &Path) -> Exit {
    let invalid = set.entries.iter().filter_map(|entry| entry.scenario.as_ref().err()).flatten();
    let mut found: Vec<Diagnostic> = invalid.chain(&set.diagnostics).cloned().collect();
    found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let errors = found.iter().filter(|one| one.severity == Severity::Error).count();
    match args.format {
        Format::Json => output.line(diagnostics::json(&found, &set.entries)),
        _ => {
            for one in &found {
                let place = one.span.as_ref().map(|_| base.join(&one.file));
                let source = place.and_then(|place| text_of(&place));
                let shown = show_diagnostic(one, source.as_deref(), output.is_styled());
                output.line(format_args!("{shown}\n"));
            }
            output.line(format_args!(
                "{}: {}, {}",
                plural(set.entries.len(), "scenario"),
                plural(errors, "error"),
                plural(found.len() - errors, "warning"),
            ));
            if let Some(sum) = diagnostics::criteria_sum(&set.entries) {
                output.line(format_args!("{sum}; `factory lint --criteria` shows which"));
            }
        }
    }
    if errors > 0 { Exit::Usage } else { Exit::Satisfied }
}

fn judge(
    args: &Args,
    env: &Environment,
    output: &mut Output,
    cancel: &Cancel,
    Product { root, config, at }: &Product,
    chosen: &Chosen,
) -> anyhow::Result<Exit> {
    let set = &chosen.set;
    let confining = match args.isolation {
        Some(Tier::Sandbox) => Some(Confining::begin(env, config, set, root)?),
        _ => None,
    };
    let place = confining.as_ref().map_or_else(
        || {
            let env = env.for_product(&config.env, python_in_place(env, root), None, None);
            Place::open(root.clone(), env)
        },
        |confining| confining.place.clone(),
    );
    if args.prepare {
        setting_up::run(root, config, env, cancel)?;
    }
    let place = place.redacting(redaction_of(env, &config.env));
    let entries: Vec<&Entry> = set.entries.iter().collect();
    let reports = args.reports.plan(args.format, args.quiet, at.clone(), env)?;
    let path = match &args.output {
        Some(path) => env.current_dir().join(path),
        None => root.join(RESULTS),
    };
    let rerun = |id: &str| rerun(args, id);
    let mut telling = Telling::begin(&reports, env, output, path, &rerun)?;
    let ids: Vec<ScenarioId> = entries.iter().map(|entry| entry.id.clone()).collect();
    let record = begin_record(args, env, root, &ids)?;
    let settings = settings(args, config, root, &record);
    // Only an order and an estimate hang on it.
    let past = history(root, &set.entries).unwrap_or_default();
    let logs = record.dir().join("fixtures");
    let fixtures = Fixtures::new(&config.fixtures, &place, &logs, cancel).or_exit(Exit::Usage)?;
    let work = Work {
        fixtures: &fixtures,
        entries: &entries,
        phases: &chosen.phases(&past, settings.jobs),
        place: &place,
        judged_before: &BTreeSet::new(),
        sum_before: Satisfaction::default(),
    };
    let limit = args.scheduling.total_timeout;
    let limited = limit
        .map(|limit| Limited::begin(cancel, limit.0))
        .transpose()
        .context("can't watch the time")?;
    let token = limited.as_ref().map_or(cancel, Limited::cancel);
    let begun = Instant::now();
    telling.begun(&entries, settings.jobs, chosen.seed, &past);
    let (mut pasts, mut kept, mut open) = (Vec::new(), Ok(()), Vec::new());
    let sum = judge::judge_scenarios(work, &settings, token, &mut |progress| {
        if let Progress::Judged(judged) = &progress {
            let line = ScenarioResult::of(judged).to_line();
            // First of all: what is told may have to wait for who reads it.
            if kept.is_ok() {
                kept = record.add(&line);
            }
            telling.results.add(&judged.id, &line);
            pasts.push((judged.id.clone(), judged.past()));
            if judged.is_critical_missing() {
                open.push(one_line(&judged.name, NAME));
            }
        }
        telling.progress(&progress);
    });
    let died = fixtures.died();
    fixtures.stop_all();
    // Nothing runs any more: whatever there still is came from an evaluation.
    end_strays();
    let mut notes: Vec<String> = died
        .iter()
        .map(|Died { name, why, log }| {
            format!("fixture `{name}` was started again: {why}; its log is `{}`", log.display())
        })
        .collect();
    let invalid = set.entries.iter().filter(|entry| entry.scenario.is_err()).count();
    if invalid > 0 {
        let count = plural(invalid, "scenario");
        notes.push(format!("{count} can't be judged; `run-scenarios --check` tells more"));
    }
    notes.extend(config.set_up_passed_over().filter(|_| !args.prepare));
    notes.extend(args.threshold.map(|threshold| threshold_said(&sum, threshold, &open)));
    let cut_short = cut_short(&sum, cancel, limited.as_ref(), &args.scheduling);
    telling.finish(&sum, begun.elapsed(), cut_short.as_deref(), &notes)?;
    kept.with_context(|| format!("can't keep results in `{}`", record.dir().display()))?;
    if record.dir().starts_with(root) {
        remember(&root.join(STATE), pasts).or_exit(Exit::Broken)?;
    }
    record.finish();
    Ok(match cancel.tripped() {
        Some(signal) => Exit::Interrupted(signal),
        None => exit_of(&sum, args.threshold),
    })
}

/// Returns why not everything was judged; none where everything was, or the reader knows.
fn cut_short(
    sum: &Satisfaction,
    cancel: &Cancel,
    limited: Option<&Limited>,
    args: &SchedulingArgs,
) -> Option<String> {
    if !sum.is_partial() {
        None
    } else if cancel.tripped().is_some() {
        Some("interrupted".to_owned())
    } else if let (true, Some(limit)) =
        (limited.is_some_and(Limited::is_reached), args.total_timeout)
    {
        Some(format!("the limit of {} in all was reached", clock::human(limit.0)))
    } else {
        (args.fail_fast && sum.failed > 0).then(|| "--fail-fast".to_owned())
    }
}

/// Returns what a judgement comes to that nobody interrupted: with a `threshold` it is enough to reach
/// that, by the same rule as in the loop.
fn exit_of(sum: &Satisfaction, threshold: Option<f64>) -> Exit {
    if sum.is_partial() {
        Exit::NotSatisfied
    } else if sum.passed == sum.total || threshold.is_some_and(|wanted| sum.reaches(wanted)) {
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

/// Returns whether the score reaches `threshold`, in a line; `open` are the critical scenarios that are
/// neither satisfied nor skipped.
fn threshold_said(sum: &Satisfaction, threshold: f64, open: &[String]) -> String {
    let wanted = show_score(threshold);
    let Some(score) = sum.score() else {
        return format!("threshold {wanted}: not reached; nothing was judged");
    };
    let score = show_score(score);
    if sum.is_partial() {
        format!(
            "threshold {wanted}: not reached; the judgement is partial, so its score is not final"
        )
    } else if sum.reaches(threshold) {
        format!("threshold {wanted}: reached by the score {score}")
    } else if open.is_empty() {
        format!("threshold {wanted}: not reached by the score {score}")
    } else {
        let open = listed(open, NAMES);
        format!("threshold {wanted}: not reached by the score {score}; critical and open: {open}")
    }
}

/// Begins the record of the judgement: in the product, or, where nothing can be written there and
/// the results go elsewhere, among the temporary files.
fn begin_record(
    args: &Args,
    env: &Environment,
    root: &Path,
    ids: &[ScenarioId],
) -> anyhow::Result<JudgementRecord> {
    let begin = |state: &Path| {
        JudgementRecord::begin(state, SystemClock.now(), ids).with_context(|| {
            format!("can't begin a record of the judgement in `{}`", state.display())
        })
    };
    let is_versioned = root.ancestors().any(|dir| dir.join(".git").exists());
    let ignored = if is_versioned { keep_out_of_git(root) } else { Ok(()) };
    match ignored.map_err(anyhow::Error::from).and_then(|()| begin(&root.join(STATE))) {
        Err(_) if args.output.is_some() => begin(&env.temp_dir().join("dark-factory")),
        begun => begun,
    }
}

fn settings(args: &Args, config: &Config, root: &Path, record: &JudgementRecord) -> Settings {
    let evidence = record.dir().join("evidence");
    let shown = evidence.strip_prefix(root).unwrap_or(&evidence).display().to_string();
    Settings {
        tick: Some(TICK),
        evidence: Some(EvidenceDir { path: evidence, shown }),
        ..args.scheduling.settings(config)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Signal;
    use serde_json::Value;

    /// A product in a directory of its own, with what the last command wrote.
    struct Bench {
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new(scenarios: &[(&str, &str)]) -> Self {
            let bench = Self { dir: tempfile::tempdir().unwrap() };
            fs::create_dir_all(bench.path("product/scenarios")).unwrap();
            for (name, text) in scenarios {
                fs::write(bench.path("product/scenarios").join(name), text).unwrap();
            }
            bench
        }

        fn path(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }

        /// Runs the command in the product; returns what it came to and what it wrote.
        fn run(&self, args: &[&str]) -> (Exit, String) {
            self.run_in("product", Cancel::new, args)
        }

        fn run_in(
            &self,
            dir: &str,
            cancel: fn() -> std::io::Result<Cancel>,
            args: &[&str],
        ) -> (Exit, String) {
            let args = Args::parse_from(["run-scenarios"].iter().chain(args));
            let variables = [("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())].into();
            let env = Environment::from_parts(variables, self.path(dir));
            let written = self.path("stdout");
            let stdout = Output::new(Box::new(fs::File::create(&written).unwrap()), false);
            match run_to(stdout, cancel, &args, &env) {
                Ok(exit) => (exit, fs::read_to_string(written).unwrap()),
                Err(error) => {
                    (Failure::exit_of(&error), super::super::exit::explain(&error, false))
                }
            }
        }

        fn results(&self) -> Value {
            let path = self.path("product").join(RESULTS);
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
        }
    }

    fn scenario(name: &str, category: &str, script: &str) -> String {
        format!(
            "# Scenario: {name}\n\n## Category\n{category}\n\n## Behavioral Expectation\nIt \
             works.\n\n## Evaluation Method\n```bash\n{script}\n```\n\n## Pass Criteria\nExit 0.\n"
        )
    }

    fn two() -> Bench {
        Bench::new(&[
            ("01_good.md", &scenario("Good", "web", "test -d scenarios")),
            ("02_bad.md", &scenario("Bad", "cli", "echo why >&2; exit 3")),
        ])
    }

    #[test]
    fn a_judgement_is_shown_written_and_told_by_its_code() {
        let bench = two();
        let (exit, said) = bench.run(&[]);
        let said = regex::Regex::new(r"\d\.\d ?s").unwrap().replace_all(&said, "T");
        let results = fs::canonicalize(bench.path("product")).unwrap().join(RESULTS);
        assert_eq!(
            said,
            format!(
                "PASS  T  Good\nFAIL  T  Bad\n      exit code 3: why\n      | why\n\
                 \u{20}     rerun: run-scenarios 02_bad\n\n\
                 1 of 2 satisfied, 1 failed; score 0.50; T\nresults: {}\n",
                results.display()
            )
        );
        assert_eq!(exit, Exit::NotSatisfied);
        assert_eq!(bench.results()["results"][1]["file_path"], "scenarios/02_bad.md");
    }

    #[test]
    fn what_is_asked_for_is_run() {
        let bench = two();
        for args in [&["--category", "WEB"][..], &["good"], &["01_*"], &["scenarios/01_good.md"]] {
            assert_eq!(bench.run(args).0, Exit::Satisfied, "{args:?}");
            assert_eq!(bench.results()["total"], 1, "{args:?}");
        }
        assert_eq!(bench.run(&["--category", "web", "--category", "cli"]).0, Exit::NotSatisfied);
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        let bench = two();
        for args in [&["nope"][..], &["--category", "nope"], &["good", "--category", "cli"]] {
            let (exit, said) = bench.run(args);
            assert_eq!(exit, Exit::Nothing, "{said}");
        }
        assert_eq!(Bench::new(&[]).run(&[]).0, Exit::Nothing);
        assert_eq!(bench.run_in("", Cancel::new, &[]).0, Exit::Nothing);
        let skipped = scenario("S", "x", "true")
            .replace("## Behavioral", "## Preconditions\n- check: `false`\n\n## Behavioral");
        assert_eq!(Bench::new(&[("s.md", &skipped)]).run(&[]).0, Exit::Nothing);
    }

    #[test]
    fn a_request_that_makes_no_sense_is_told_from_a_failure() {
        let bench = two();
        for args in [&["--workdir", "/no/such"][..], &["--scenarios-dir", "/no/such"]] {
            assert_eq!(bench.run(args).0, Exit::Usage, "{args:?}");
        }
        fs::write(bench.path("product/dark-factory.yaml"), "scenarios: {jobs: none}").unwrap();
        assert_eq!(bench.run(&[]).0, Exit::Usage);
        for args in [["--timeout", "soon"], ["--jobs", "0"], ["--list", "--check"]] {
            assert!(Args::try_parse_from(["run-scenarios"].iter().chain(&args)).is_err());
        }
    }

    /// Checks the exit and the line of a judgement of ten, all of them of weight 1.
    #[track_caller]
    fn check_threshold(
        (passed, undecided, skipped): (usize, usize, usize),
        change: impl FnOnce(&mut Satisfaction),
        threshold: f64,
        exit: Exit,
        said: &str,
    ) {
        let failed = 10 - passed - undecided - skipped;
        let weight_judged = (10 - skipped) as f64;
        let mut sum = Satisfaction {
            total: 10,
            passed,
            failed,
            skipped,
            undecided,
            weight_satisfied: passed as f64,
            weight_judged,
            ..Satisfaction::default()
        };
        change(&mut sum);
        let open = vec!["Login".to_owned(); sum.critical_missing];
        assert_eq!(exit_of(&sum, Some(threshold)), exit);
        assert_eq!(threshold_said(&sum, threshold, &open), format!("threshold {said}"));
    }

    #[test]
    fn a_threshold_is_enough_where_it_is_reached_and_nothing_critical_is_open() {
        let (yes, no) = (Exit::Satisfied, Exit::NotSatisfied);
        let same = |_: &mut Satisfaction| {};
        check_threshold((8, 0, 0), same, 0.8, yes, "0.80: reached by the score 0.80");
        check_threshold((7, 0, 0), same, 0.8, no, "0.80: not reached by the score 0.70");
        check_threshold((10, 0, 0), same, 1.0, yes, "1.00: reached by the score 1.00");
        // What is undecided keeps the score down, as in the loop; what is skipped does not count.
        check_threshold((8, 2, 0), same, 0.8, yes, "0.80: reached by the score 0.80");
        check_threshold((7, 3, 0), same, 0.8, no, "0.80: not reached by the score 0.70");
        check_threshold((4, 0, 5), same, 0.8, yes, "0.80: reached by the score 0.80");
        let open = "0.80: not reached by the score 0.90; critical and open: Login";
        check_threshold((9, 0, 0), |sum| sum.critical_missing = 1, 0.8, no, open);
        check_threshold((9, 1, 0), |sum| sum.critical_missing = 1, 0.8, no, open);
        let partial = "0.80: not reached; the judgement is partial, so its score is not final";
        check_threshold((9, 1, 0), |sum| sum.not_run = 1, 0.8, no, partial);
        // Nothing judged is no success, whoever it is due to.
        let none = "0.01: not reached; nothing was judged";
        check_threshold((0, 0, 10), same, 0.01, Exit::Nothing, none);
        check_threshold((0, 10, 0), same, 0.01, Exit::Broken, none);
    }

    #[test]
    fn a_threshold_is_told_in_the_last_line() {
        let bench = two();
        let last = |args: &[&str]| {
            let (exit, said) = bench.run(args);
            (exit, said.lines().last().unwrap_or_default().to_owned())
        };
        let said = |text: &str| format!("threshold {text}");
        assert_eq!(
            last(&["--threshold", "0.5"]),
            (Exit::Satisfied, said("0.50: reached by the score 0.50"))
        );
        assert_eq!(
            last(&["--threshold", "0.51", "-q"]),
            (Exit::NotSatisfied, said("0.51: not reached by the score 0.50"))
        );
        let bad = scenario("Bad", "cli", "exit 3");
        fs::write(
            bench.path("product/scenarios/02_bad.md"),
            format!("---\ncritical: true\n---\n{bad}"),
        )
        .unwrap();
        assert_eq!(
            last(&["--threshold", "0.5"]),
            (
                Exit::NotSatisfied,
                said("0.50: not reached by the score 0.50; critical and open: Bad")
            )
        );
        assert_eq!(bench.run(&["nope", "--threshold", "0.5"]).0, Exit::Nothing);
        for args in
            [&["--threshold", "7"][..], &["--threshold", "0"], &["--list", "--threshold", "1"]]
        {
            assert!(
                Args::try_parse_from(["run-scenarios"].iter().chain(args)).is_err(),
                "{args:?}"
            );
        }
    }

    #[test]
    fn slow_scenarios_wait_for_the_threshold_that_is_asked_for() {
        let bench = two();
        let slow = format!("---\nslow: true\n---\n{}", scenario("Slow", "x", "echo slow"));
        fs::write(bench.path("product/scenarios/03_slow.md"), slow).unwrap();
        let (exit, said) = bench.run(&["--threshold", "0.5"]);
        assert_eq!(exit, Exit::Satisfied, "{said}");
        let (exit, said) = bench.run(&["--threshold", "0.6"]);
        assert_eq!(exit, Exit::NotSatisfied, "{said}");
        assert!(said.ends_with("the judgement is partial, so its score is not final\n"), "{said}");
        let (exit, said) = bench.run(&["--threshold", "0.6", "--run-slow"]);
        assert_eq!(exit, Exit::Satisfied, "{said}");
        fs::write(bench.path("product/scenarios/01_good.md"), scenario("Good", "web", "exit 1"))
            .unwrap();
        let (exit, said) = bench.run(&["--threshold", "0.1", "--fail-fast", "--run-slow"]);
        assert_eq!(exit, Exit::NotSatisfied, "{said}");
    }

    #[test]
    fn results_that_cannot_be_written_are_a_failure_of_their_own() {
        let (exit, said) = two().run(&["good", "--output", "/dev/full"]);
        assert_eq!(exit, Exit::Broken);
        assert!(said.starts_with("error: can't write `/dev/full`\n  caused by: "), "{said}");
    }

    #[test]
    fn without_bash_the_factory_has_failed() {
        let bench = two();
        let env = Environment::from_parts(
            [("PATH".into(), "/nowhere".into())].into(),
            bench.path("product"),
        );
        let output = Output::new(Box::new(std::io::sink()), false);
        let exit = run_to(output, Cancel::new, &Args::default(), &env).unwrap();
        assert_eq!(exit, Exit::Broken);
        assert_eq!(bench.results()["undecided"], 2);
    }

    #[test]
    fn an_interrupt_leaves_a_file_that_says_so() {
        let bench = two();
        let tripped = || {
            let cancel = Cancel::new()?;
            cancel.trip(Signal::Terminate);
            Ok(cancel)
        };
        let (exit, said) = bench.run_in("product", tripped, &[]);
        assert_eq!(exit, Exit::Interrupted(Signal::Terminate));
        let partial = "PARTIAL RESULT: 2 scenarios not judged to an end: interrupted";
        assert!(said.contains(partial), "{said}");
        let results = bench.results();
        assert_eq!(results["satisfaction_score"], Value::Null);
        assert_eq!(results["results"][0]["verdict"], "undecided");
    }

    #[test]
    fn a_fixture_that_died_is_told() {
        let needs =
            |name, script| format!("---\nneeds: [app]\n---\n{}", scenario(name, "x", script));
        let bench = Bench::new(&[
            ("a.md", &needs("A", "sleep 0.6; true")),
            ("b.md", &needs("B", "test \"$(wc -l <starts)\" = 2")),
        ]);
        let fixture = "{name: app, start: 'echo >>starts; sleep 0.2; exit 7', \
                       ready: {command: 'test -e starts'}}";
        fs::write(bench.path("product/dark-factory.yaml"), format!("fixtures: [{fixture}]"))
            .unwrap();
        let (exit, said) = bench.run(&[]);
        assert_eq!(exit, Exit::Satisfied, "{said}");
        let told =
            "fixture `app` was started again: it exited with 7 after it was ready; its log is";
        assert!(said.contains(told), "{said}");
    }

    #[test]
    fn settings_of_the_product_hold_unless_a_flag_says_otherwise() {
        let slow = scenario("Slow", "x", "sleep 60; true");
        let bench = Bench::new(&[("slow.md", &slow)]);
        fs::write(bench.path("product/dark-factory.yaml"), "scenarios: {timeout: 0.2s}").unwrap();
        assert_eq!(bench.run(&[]).0, Exit::NotSatisfied);
        assert_eq!(bench.results()["results"][0]["exit_code"], -1);
        let begun = Instant::now();
        bench.run(&["--timeout", "0.1"]);
        assert_eq!(bench.results()["results"][0]["error_summary"], "timed out after 0.1 s");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_directory_elsewhere_judges_this_product() {
        let bench = two();
        fs::rename(bench.path("product/scenarios"), bench.path("exam")).unwrap();
        fs::create_dir(bench.path("product/scenarios")).unwrap();
        let (exit, _) = bench.run(&["--scenarios-dir", "../exam", "good"]);
        assert_eq!(exit, Exit::Satisfied);
        assert_eq!(bench.results()["results"][0]["file_path"], "exam/01_good.md");
        let product = bench.path("product");
        let args = ["--workdir", product.to_str().unwrap(), "--scenarios-dir", "exam", "bad"];
        let (exit, said) = bench.run_in("", Cancel::new, &args);
        assert_eq!(exit, Exit::NotSatisfied);
        assert!(said.contains("--scenarios-dir exam 02_bad"), "{said}");
    }

    #[test]
    fn the_top_of_the_repository_is_the_root() {
        let bench = two();
        fs::create_dir_all(bench.path("product/.git")).unwrap();
        fs::create_dir_all(bench.path("product/deep/er")).unwrap();
        assert_eq!(bench.run_in("product/deep/er", Cancel::new, &["good"]).0, Exit::Satisfied);
    }

    #[test]
    fn a_list_runs_nothing() {
        let bench = two();
        let (exit, said) = bench.run(&["--list"]);
        assert_eq!(
            (exit, said.as_str()),
            (Exit::Satisfied, "01_good  web  Good\n02_bad   cli  Bad\n")
        );
        let (_, json) = bench.run(&["--list", "--format", "json", "bad"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["scenarios"][0]["id"], "02_bad");
        assert!(!bench.path("product/artifacts").exists());
    }

    #[test]
    fn a_check_shows_what_is_wrong_and_runs_nothing() {
        let bench = two();
        assert_eq!(bench.run(&["--check", "good"]).0, Exit::Satisfied);
        fs::write(bench.path("product/scenarios/03_empty.md"), "").unwrap();
        let (exit, said) = bench.run(&["--check"]);
        assert_eq!(exit, Exit::Usage);
        assert!(said.contains("scenarios/03_empty.md") && said.contains("3 scenarios: 1 error"));
        assert!(!bench.path("product/artifacts").exists());
    }

    #[test]
    fn json_on_standard_output_is_the_file() {
        let bench = two();
        let (_, said) = bench.run(&["--format", "json"]);
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), bench.results());
    }

    #[test]
    fn a_quiet_run_shows_what_is_not_satisfied() {
        let (_, said) = two().run(&["-q"]);
        assert!(said.starts_with("FAIL") && !said.contains("Good"), "{said}");
    }
}
