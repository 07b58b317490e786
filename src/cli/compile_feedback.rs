//! `compile-feedback`: tells the agent what the last judgement found, from the files that gates
//! and `run-scenarios` left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use globset::{GlobBuilder, GlobSetBuilder};
use regex::Regex;

use crate::config::{Config, Environment, redaction_of};
use crate::feedback::{Disclosure, Input, Limits, Mask, Point, compile, read_point};
use crate::id::ScenarioId;
use crate::judge::{self, DiscoverError, makefile};
use crate::report::results::Results;
use crate::report::{Output, write_atomically};
use crate::scenario::ScenarioSet;
use crate::text::plural;
use crate::verdict::{GateResult, GateStatus, Judged, satisfaction};

use super::exit::{Exit, Failure, OrExit as _};
use super::run_scenarios::product_root;

/// The directory of the factory's files, below the root of the product.
const ARTIFACTS: &str = "artifacts/factory";
const RESULTS: &str = "scenario_results.json";
const LOG: &str = "ci_output.log";
const COUNT: &str = "iteration_count.txt";
/// What was satisfied in the last iterations, by iteration; known regressions come from it.
const SATISFIED: &str = "satisfied.json";
/// How many iterations that file remembers.
const REMEMBERED: usize = 10;
/// The largest spec that is read, in bytes.
const LARGEST_SPEC: u64 = 4 * 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  run-scenarios; compile-feedback     judge, then write artifacts/factory/feedback_iter_N.md
  compile-feedback --stdout           show the feedback and write nothing
  compile-feedback --disclosure behaviour

Exit codes: 0 written, 2 the request makes no sense or there are no results, 3 the factory failed,
4 there are no scenarios.";

/// Compile feedback for the agent from the last results.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "compile-feedback", version, after_help = EXAMPLES)]
pub struct Args {
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// The results [default: artifacts/factory/scenario_results.json below the root]
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// What the gates wrote [default: artifacts/factory/ci_output.log below the root, if there]
    #[arg(long, value_name = "FILE")]
    pub ci_log: Option<PathBuf>,
    /// The scenarios' directory [default: `scenarios.dir` of dark-factory.yaml, else scenarios]
    #[arg(long, value_name = "DIR")]
    pub scenarios_dir: Option<PathBuf>,
    /// The iteration's number [default: one more than iteration_count.txt says, else 0]
    #[arg(long, value_name = "N")]
    pub iteration: Option<u32>,
    /// The file for the feedback [default: artifacts/factory/feedback_iter_N.md below the root]
    #[arg(long, value_name = "FILE", conflicts_with = "stdout")]
    pub output: Option<PathBuf>,
    /// How much is said of a failed scenario [default: `feedback.disclosure`, else full]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub disclosure: Option<Level>,
    /// Write the feedback to standard output, and no file
    #[arg(long)]
    pub stdout: bool,
}

/// How much is said of a failed holdout scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Name, category, exit code, duration, error, stdout and stderr.
    Full,
    /// Name, category, expected behaviour, kind of failure.
    Behaviour,
    /// Counts by category.
    Score,
}

impl From<Level> for Disclosure {
    fn from(level: Level) -> Self {
        match level {
            Level::Full => Self::Full,
            Level::Behaviour => Self::Behaviour,
            Level::Score => Self::Score,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// There are no results or no scenarios, they don't belong together, or the feedback can't be
/// written.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let root = product_root(args.workdir.as_deref(), env)?;
    let config = crate::config::load(&root).or_exit(Exit::Usage)?;
    let artifacts = root.join(ARTIFACTS);
    let named = |path: &Option<PathBuf>, name: &str| match path {
        Some(path) => env.current_dir().join(path),
        None => artifacts.join(name),
    };
    let results = Results::read(&named(&args.results, RESULTS))
        .or_exit(Exit::Usage)
        .context("nothing to compile feedback from; run `run-scenarios` first")?;
    let set = scenarios(args, env, &root, &config)?;
    let judged = belonging(&results, &set)?;
    let log = read_log(&named(&args.ci_log, LOG), args.ci_log.is_some())?;
    let (gates, quality) = gates(log.as_deref(), results.gate1_failed, &config);
    let gate_count = gate_count(&root, &config, &gates);
    let iteration = match args.iteration {
        Some(iteration) => iteration,
        None => next_iteration(&artifacts.join(COUNT))?,
    };

    let specs = specs(&root, &config.specs)?;
    let specs: Vec<_> = specs.iter().map(String::as_str).collect();
    let mask = Mask::new(&set, &specs);
    let sum = (!results.gate1_failed).then(|| satisfaction(&judged));
    let mut trajectory = earlier_points(&artifacts, iteration)?;
    trajectory.push(Point {
        iteration,
        score: sum.and_then(|sum| sum.score()),
        passed: sum.map_or(0, |sum| sum.passed),
        total: sum.map_or(set.entries.len(), |sum| sum.total),
        gates_passed: gates.iter().all(GateResult::passed),
        gates: gate_count,
        note: String::new(),
    });
    let mut satisfied = read_satisfied(&artifacts.join(SATISFIED));
    let passed_before =
        satisfied.range(..iteration).next_back().map(|(_, ids)| ids.clone()).unwrap_or_default();
    let root_text = root.to_string_lossy();
    let roots = [root_text.as_ref()];
    let input = |mask| Input {
        iteration,
        turns_left: None,
        threshold: config.satisfaction.threshold,
        disclosure: args.disclosure.map_or(config.feedback.disclosure, Disclosure::from),
        gates: &gates,
        gate_count,
        quality: &quality,
        gates_changed: &[],
        set: &set,
        judged: if sum.is_some() { &judged } else { &[] },
        satisfaction: sum,
        trajectory: &trajectory,
        passed_before: &passed_before,
        last_turn: None,
        answer: None,
        tree_roots: &roots,
        mask,
        limits: Limits::default(),
    };
    let mut feedback = compile(&input(&mask));
    // The agent's tree is read only where it can make a difference.
    if feedback.masked > 0 {
        let dir = match &args.scenarios_dir {
            Some(dir) => env.current_dir().join(dir),
            None => root.join(&config.scenarios.dir),
        };
        let own = judge::own_files(&root, &dir, &set, env.for_tools());
        feedback = compile(&input(&mask.clone().knowing(&own)));
    }

    // Results and log are those of whoever judged, and of any version.
    let markdown = redaction_of(env, &config.env).apply_to(&feedback.markdown);
    let mut output = Output::stdout(env.no_color());
    if args.stdout {
        // Failures are remembered, and told by `finish`.
        let _ = output.write_all(markdown.as_bytes());
        output.finish().context("can't write to standard output")?;
        return Ok(Exit::Satisfied);
    }
    let path = named(&args.output, &format!("feedback_iter_{iteration}.md"));
    write_atomically(&path, markdown.as_bytes())?;
    if sum.is_some() {
        let ids = judged.iter().filter(|one| one.is_satisfied()).map(|one| one.id.clone());
        satisfied.insert(iteration, ids.collect());
        write_satisfied(&artifacts.join(SATISFIED), satisfied)?;
    }
    // Last: the number says that everything of this iteration is there.
    write_atomically(&artifacts.join(COUNT), format!("{iteration}\n").as_bytes())?;
    output.line(format_args!("feedback: {}", path.display()));
    for (count, what) in
        [(feedback.masked, "run of holdout text masked"), (feedback.cut.len(), "cut")]
    {
        if count > 0 {
            output.line(format_args!("  {}", said(count, what)));
        }
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn said(count: usize, what: &str) -> String {
    match what.split_once(' ') {
        Some((noun, rest)) => format!("{} {rest}", plural(count, noun)),
        None => plural(count, what),
    }
}

/// Returns the scenarios; without them the holdout's text could not be masked.
fn scenarios(
    args: &Args,
    env: &Environment,
    root: &Path,
    config: &Config,
) -> anyhow::Result<ScenarioSet> {
    let set = match &args.scenarios_dir {
        None => match judge::discover(root, &config.scenarios.dir) {
            Err(error @ DiscoverError::Missing { .. }) => Err(error).or_exit(Exit::Nothing),
            Err(error @ (DiscoverError::NoDirectory { .. } | DiscoverError::SameId { .. })) => {
                Err(error).or_exit(Exit::Usage)
            }
            other => other.or_exit(Exit::Broken),
        },
        Some(dir) => {
            let dir = env.current_dir().join(dir);
            match (dir.parent(), dir.file_name().and_then(|name| name.to_str())) {
                (Some(above), Some(name)) => judge::discover(above, name),
                _ => judge::discover(&dir, "."),
            }
            .or_exit(Exit::Usage)
        }
    }
    .context("the holdout's text can't be masked without the scenarios")?;
    if set.entries.is_empty() {
        return Err(Failure::because(
            Exit::Nothing,
            "there are no scenarios: no file in the directory ends in `.md`",
        ));
    }
    Ok(set)
}

/// Returns what was judged, each with the id and visibility of its scenario.
///
/// # Errors
/// A scenario is not there: its text could not be masked.
fn belonging(results: &Results, set: &ScenarioSet) -> anyhow::Result<Vec<Judged>> {
    let mut judged = results.judged();
    for one in &mut judged {
        let entry = set
            .entries
            .iter()
            .find(|entry| entry.id == one.id)
            .or_else(|| set.entries.iter().find(|entry| entry.file == one.file));
        let Some(entry) = entry else {
            return Err(Failure::because(
                Exit::Usage,
                format!(
                    "the results tell of `{}`, which is not among the scenarios; run \
                     `run-scenarios` again, or name their directory with --scenarios-dir",
                    one.id
                ),
            ));
        };
        one.id = entry.id.clone();
        one.visibility = entry.visibility();
    }
    Ok(judged)
}

/// Returns the log of the gates; none where there is none and nobody asked for one.
fn read_log(path: &Path, asked: bool) -> anyhow::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !asked => Ok(None),
        Err(error) => Err(error)
            .with_context(|| format!("can't read the gates' log `{}`", path.display()))
            .or_exit(if asked { Exit::Usage } else { Exit::Broken }),
    }
}

/// Returns the gates and the quality checks that the log tells of. If the results say that a gate
/// failed and the log tells of none, the whole log is that gate's output.
fn gates(log: Option<&str>, failed: bool, config: &Config) -> (Vec<GateResult>, Vec<GateResult>) {
    let log = log.unwrap_or_default();
    let quality: BTreeSet<_> = config.quality.iter().map(|check| check.name.as_str()).collect();
    let (quality, mut gates): (Vec<_>, Vec<_>) =
        parse_log(log).into_iter().partition(|gate| quality.contains(gate.name.as_str()));
    if failed && gates.iter().all(GateResult::passed) {
        gates.push(GateResult {
            name: "gates".to_owned(),
            status: GateStatus::Failed { code: 1 },
            duration: Duration::ZERO,
            output: log.to_owned(),
            output_bytes: log.len() as u64,
        });
    }
    (gates, quality)
}

/// Returns how many gates the product has: those that the log tells of, else none if it has none;
/// not known where it has some and nobody ran them.
fn gate_count(root: &Path, config: &Config, gates: &[GateResult]) -> Option<usize> {
    if !gates.is_empty() {
        return Some(gates.len());
    }
    let has_none = match &config.gates {
        Some(gates) => gates.is_empty(),
        None => {
            makefile::default_gates(&makefile::makefile_in(root).unwrap_or_default()).is_empty()
        }
    };
    has_none.then_some(0)
}

/// Reads the log that the judge writes: a line that names the gate, its output, a line that says
/// what came of it. Other text is passed over.
fn parse_log(log: &str) -> Vec<GateResult> {
    let begins = pattern(r"^=== gate ([^:\n]+): ");
    let ends = pattern(
        r"^=== gate (.+?) (?:passed in (?<passed>.+)|failed with exit code (?<code>-?\d+) after (?<failed>.+)|was ended by signal (?<signal>\d+) after (?<ended>.+)|was ended at its limit of (?<limit>.+)|failed: the Makefile has no target `(?<target>.+)` any more|could not start: (?<why>.*)|was (?<interrupted>interrupted))$",
    );
    let mut gates = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in log.lines() {
        if let Some(end) = ends.captures(line)
            && open.as_ref().is_none_or(|(name, _)| *name == end[1])
        {
            let output = open.take().map(|(_, output)| output).unwrap_or_default();
            let group = |name| end.name(name).map(|found| found.as_str());
            let number = |name| group(name).and_then(|text| text.parse().ok());
            let time = |name| group(name).map(seconds_of);
            let status = if let Some(code) = number("code") {
                GateStatus::Failed { code }
            } else if let Some(signal) = number("signal") {
                GateStatus::Signalled { signal }
            } else if let Some(limit) = time("limit") {
                GateStatus::TimedOut { limit }
            } else if let Some(target) = group("target") {
                GateStatus::TargetGone { target: target.to_owned() }
            } else if let Some(why) = group("why") {
                GateStatus::CouldNotStart { why: why.to_owned() }
            } else if group("passed").is_some() {
                GateStatus::Passed
            } else {
                GateStatus::Interrupted
            };
            let duration = ["passed", "failed", "ended", "limit"].into_iter().find_map(time);
            gates.push(result(end[1].to_owned(), status, duration.unwrap_or_default(), output));
        } else if let Some(begin) = begins.captures(line)
            && open.is_none()
        {
            open = Some((begin[1].to_owned(), String::new()));
        } else if let Some((_, output)) = &mut open {
            output.push_str(line);
            output.push('\n');
        }
    }
    if let Some((name, output)) = open {
        gates.push(result(name, GateStatus::Interrupted, Duration::ZERO, output));
    }
    gates
}

fn result(name: String, status: GateStatus, duration: Duration, output: String) -> GateResult {
    GateResult { name, status, duration, output_bytes: output.len() as u64, output }
}

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("a pattern written here is valid")
}

/// Reads what [`crate::clock::human`] writes; zero where it is something else.
fn seconds_of(text: &str) -> Duration {
    let words: Vec<_> = text.split_whitespace().collect();
    let seconds = words.chunks(2).map(|pair| match pair {
        [number, unit] => {
            let scale = match *unit {
                "s" => 1.0,
                "min" => 60.0,
                "h" => 3_600.0,
                _ => 0.0,
            };
            number.parse::<f64>().unwrap_or(0.0) * scale
        }
        _ => 0.0,
    });
    Duration::try_from_secs_f64(seconds.sum()).unwrap_or_default()
}

/// Returns one more than the count in the file, and 0 where there is no file.
fn next_iteration(path: &Path) -> anyhow::Result<u32> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("can't read `{}`", path.display()))
                .or_exit(Exit::Broken);
        }
    };
    text.trim().parse::<u32>().ok().and_then(|count| count.checked_add(1)).ok_or_else(|| {
        let shown = crate::text::one_line(&text, 40);
        Failure::because(
            Exit::Usage,
            format!(
                "`{}` holds {shown:?}, which is no number; correct it, or use --iteration",
                path.display()
            ),
        )
    })
}

/// Returns the points that the feedback files of earlier iterations keep, oldest first.
fn earlier_points(artifacts: &Path, iteration: u32) -> anyhow::Result<Vec<Point>> {
    let mut points = BTreeMap::new();
    for path in entries(artifacts)? {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let number = name
            .strip_prefix("feedback_iter_")
            .and_then(|rest| rest.strip_suffix(".md"))
            .and_then(|number| number.parse::<u32>().ok());
        if number.is_some_and(|number| number < iteration) {
            let text = fs::read(&path)
                .with_context(|| format!("can't read earlier feedback `{}`", path.display()))?;
            if let Some(point) = read_point(&String::from_utf8_lossy(&text)) {
                points.insert(point.iteration, point);
            }
        }
    }
    Ok(points.into_values().filter(|point| point.iteration < iteration).collect())
}

/// Returns the paths in a directory, sorted; none where there is no such directory.
fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("can't list `{}`", dir.display()));
        }
    };
    let mut paths = listed
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("can't list `{}`", dir.display()))?;
    paths.sort();
    Ok(paths)
}

/// Returns the specs' texts, which the agent may read and which are therefore not masked.
///
/// Links are not followed; what is too large is left out, and what it has in common with the
/// holdout is masked.
fn specs(root: &Path, globs: &[String]) -> anyhow::Result<Vec<String>> {
    let mut set = GlobSetBuilder::new();
    let mut starts = BTreeSet::new();
    for glob in globs {
        let built = GlobBuilder::new(glob).literal_separator(true).build();
        set.add(built.with_context(|| format!("`specs` has `{glob}`")).or_exit(Exit::Usage)?);
        let fixed = glob.split('/').take_while(|part| !part.contains(['*', '?', '[', '{']));
        starts.insert(fixed.collect::<PathBuf>());
    }
    let set = set.build().context("`specs` can't be searched for").or_exit(Exit::Usage)?;
    let mut texts = BTreeMap::new();
    for start in starts {
        let walk = ignore::WalkBuilder::new(root.join(&start))
            .standard_filters(false)
            .follow_links(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        for entry in walk.flatten() {
            let path = entry.path();
            let Ok(relative) = path.strip_prefix(root) else { continue };
            let fits = entry.metadata().is_ok_and(|m| m.is_file() && m.len() <= LARGEST_SPEC);
            if fits && set.is_match(relative) {
                let bytes = fs::read(path)
                    .with_context(|| format!("can't read the spec `{}`", path.display()))?;
                texts.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
    Ok(texts.into_values().collect())
}

/// Returns what was satisfied, by iteration; nothing where the file can't be read, since only the
/// naming of regressions depends on it.
fn read_satisfied(path: &Path) -> BTreeMap<u32, BTreeSet<ScenarioId>> {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn write_satisfied(
    path: &Path,
    mut satisfied: BTreeMap<u32, BTreeSet<ScenarioId>>,
) -> anyhow::Result<()> {
    while satisfied.len() > REMEMBERED {
        satisfied.pop_first();
    }
    let mut json = serde_json::to_vec(&satisfied)?;
    json.push(b'\n');
    Ok(write_atomically(path, &json)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::verdict::{Attempt, Ending, of_ending};

    const SCENARIO: &str = "# Scenario: Adds a task\n\n## Category\ncli\n\n## Behavioral \
        Expectation\nA task is added.\n\n## Evaluation Method\n```bash\ntaskli add \
        'CANARY-7f3a9b milk'\n```\n";

    /// A product with one scenario, and a place to run the command in.
    struct Product(tempfile::TempDir);

    impl Product {
        fn new() -> Self {
            let product = Self(tempfile::tempdir().unwrap());
            product.write("scenarios/01_add.md", SCENARIO);
            product.write("specs/tasks/add.md", "`taskli add TEXT` adds a task.\n");
            product
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.path(&format!("{ARTIFACTS}/{name}"))).unwrap()
        }

        /// Leaves the results of an evaluation that exited with `code`.
        fn judge(&self, code: i32) {
            let ending = Ending::Exited { code };
            let stderr = "KeyError: \"no CANARY-7f3a9b milk\"\n".to_owned();
            let set = judge::discover(self.0.path(), "scenarios").unwrap();
            let entry = &set.entries[0];
            let attempt = Attempt::new(ending.clone(), "", &stderr, Duration::from_millis(40));
            let judged = Judged {
                weight: 1.0,
                critical: false,
                ..Judged::of(entry, of_ending(&ending), vec![attempt])
            };
            let judged = [judged];
            let results = Results::new(
                Timestamp::from_unix_millis(0),
                &judged,
                &satisfaction(&judged),
                false,
            );
            let json = String::from_utf8(results.to_json()).unwrap();
            self.write("artifacts/factory/scenario_results.json", &json);
        }

        fn run(&self, args: &Args) -> Result<Exit, (Exit, String)> {
            let env = Environment::from_parts(BTreeMap::new(), self.0.path().to_owned());
            let args = Args { workdir: Some(PathBuf::from(".")), ..args.clone() };
            run(&args, &env).map_err(|error| (Failure::exit_of(&error), format!("{error:#}")))
        }

        #[track_caller]
        fn check_refused(&self, exit: Exit, said: &str) {
            let (found, message) = self.run(&Args::default()).unwrap_err();
            assert_eq!(found, exit, "{message}");
            assert!(message.contains(said), "{message}");
            assert!(!self.path("artifacts/factory/feedback_iter_0.md").exists());
        }
    }

    #[test]
    fn iterations_are_numbered_and_remember_what_was_before() {
        let product = Product::new();
        for code in [1, 0, 1] {
            product.judge(code);
            assert_eq!(product.run(&Args::default()), Ok(Exit::Satisfied));
        }
        assert_eq!(product.read(COUNT), "2\n");
        assert!(!product.read("feedback_iter_1.md").contains("## Regressions"));
        let last = product.read("feedback_iter_2.md");
        assert!(last.contains("## Regressions\n\n1 scenario was satisfied before"), "{last}");
        for row in ["| 0 | 0.000 |", "| 1 | 1.000 | +1.000 |", "| 2 | 0.000 | -1.000 |"] {
            assert!(last.contains(row), "{last}");
        }
        assert!(!last.contains("7f3a9b"), "{last}");
        assert!(last.contains("[masked]"), "{last}");
        assert!(!last.contains(&*product.0.path().to_string_lossy()), "{last}");
    }

    #[test]
    fn an_iteration_can_be_compiled_again() {
        let product = Product::new();
        product.judge(0);
        product.run(&Args::default()).unwrap();
        product.judge(1);
        product.run(&Args::default()).unwrap();
        let first = product.read("feedback_iter_1.md");
        product.run(&Args { iteration: Some(1), ..Args::default() }).unwrap();
        assert_eq!(product.read("feedback_iter_1.md"), first);
        assert_eq!(product.read(COUNT), "1\n");
    }

    #[test]
    fn gates_that_do_not_exist_are_told_from_gates_that_nobody_ran() {
        let product = Product::new();
        product.judge(0);
        let told = |settings: &str, makefile: &str| {
            product.write("dark-factory.yaml", settings);
            product.write("Makefile", makefile);
            product.run(&Args { iteration: Some(0), ..Args::default() }).unwrap();
            let told = product.read("feedback_iter_0.md");
            (told.contains("- Gates: the product has none; "), told.contains("| none |"))
        };
        assert_eq!(told("", ""), (true, true));
        assert_eq!(told("gates: []\n", "test:\n"), (true, true));
        assert_eq!(told("", "test:\n"), (false, false));
        assert_eq!(told("gates: [{name: a, run: 'true'}]\n", ""), (false, false));
    }

    #[test]
    fn a_failed_gate_is_told_with_its_output() {
        let product = Product::new();
        product.judge(0);
        let results =
            product.read(RESULTS).replace("\"gate1_failed\": false", "\"gate1_failed\": true");
        product.write("artifacts/factory/scenario_results.json", &results);
        product.write("artifacts/factory/ci_output.log", "ruff check\nF401 unused\n");
        product.run(&Args::default()).unwrap();
        let told = product.read("feedback_iter_0.md");
        assert!(told.contains("not judged, because a gate failed"), "{told}");
        assert!(told.contains("F401 unused"), "{told}");
        assert!(told.contains("\"gates_passed\":false"), "{told}");
    }

    #[test]
    fn the_judges_log_is_read_gate_by_gate() {
        let gates = parse_log(
            "=== gate lint: make lint\na: b\n=== gate lint failed with exit code 2 after 1.5 s\n\
             === gate a b: x\n=== gate a b passed in 3 min 20 s\n\
             === gate test failed: the Makefile has no target `test` any more\n\
             === gate slow: sleep 9\n=== gate lint passed in 1 s\n",
        );
        let told: Vec<_> = gates.iter().map(|g| (g.name.as_str(), &g.status)).collect();
        assert_eq!(
            told,
            [
                ("lint", &GateStatus::Failed { code: 2 }),
                ("a b", &GateStatus::Passed),
                ("test", &GateStatus::TargetGone { target: "test".into() }),
                ("slow", &GateStatus::Interrupted),
            ]
        );
        assert_eq!(gates[0].output, "a: b\n");
        assert_eq!(gates[0].duration, Duration::from_millis(1_500));
        assert_eq!(gates[1].duration, Duration::from_secs(200));
        // A gate's own output can't pass for another gate's end.
        assert_eq!(gates[3].output, "=== gate lint passed in 1 s\n");
    }

    #[test]
    fn disclosure_comes_from_the_flag_before_the_settings() {
        let product = Product::new();
        product.judge(1);
        product.write("dark-factory.yaml", "feedback:\n  disclosure: behaviour\n");
        product.run(&Args::default()).unwrap();
        assert!(product.read("feedback_iter_0.md").contains("A task is added."));
        product.run(&Args { disclosure: Some(Level::Score), ..Args::default() }).unwrap();
        assert!(!product.read("feedback_iter_1.md").contains("Adds a task"));
    }

    #[test]
    fn without_results_the_next_move_is_named() {
        let product = Product::new();
        product.check_refused(Exit::Usage, "run `run-scenarios` first");
        product.write("artifacts/factory/scenario_results.json", "{");
        product.check_refused(Exit::Usage, "run `run-scenarios` first");
    }

    #[test]
    fn without_the_scenarios_nothing_is_told() {
        let product = Product::new();
        product.judge(1);
        fs::rename(product.path("scenarios"), product.path("elsewhere")).unwrap();
        product.check_refused(Exit::Nothing, "can't be masked without the scenarios");
        let args = Args { scenarios_dir: Some("elsewhere".into()), ..Args::default() };
        assert_eq!(product.run(&args), Ok(Exit::Satisfied));
    }

    #[test]
    fn results_of_a_scenario_that_is_gone_are_not_told() {
        let product = Product::new();
        product.judge(1);
        let from = product.path("scenarios/01_add.md");
        fs::rename(from, product.path("scenarios/02_new.md")).unwrap();
        product.check_refused(Exit::Usage, "which is not among the scenarios");
    }

    #[test]
    fn a_count_that_is_no_number_is_shown() {
        let product = Product::new();
        product.judge(1);
        product.write("artifacts/factory/iteration_count.txt", "three\n");
        product.check_refused(Exit::Usage, "holds \"three\", which is no number");
    }

    #[test]
    fn a_log_that_was_named_must_be_there() {
        let product = Product::new();
        product.judge(1);
        let args = Args { ci_log: Some("no.log".into()), ..Args::default() };
        assert_eq!(product.run(&args).unwrap_err().0, Exit::Usage);
    }
}
