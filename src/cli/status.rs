//! `factory status`: where the newest run stands, on one screen, at once.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde_json::{Value, json};

use super::exit::Exit;
use super::here::Here;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Environment;
use crate::event::Label;
use crate::report::published::SCHEMA;
use crate::report::results::{Results, ResultsError};
use crate::report::{Output, run_text};

/// Where a judgement of the working tree lies, below the root of the product.
const RESULTS: &str = "artifacts/factory/scenario_results.json";

const EXAMPLES: &str = "\
Examples:
  factory status              the newest run: where it stands, its score, what comes next
  factory status 0915         the run whose id holds 0915
  factory status --json       the same for machines

Exit codes: 0 whatever the run came to, 2 there is no such run, 3 the journal can't be read.";

/// Show where the newest run stands, and what comes next.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "status", after_help = EXAMPLES)]
pub struct Args {
    /// The run, by its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// There is no such run, or its journal can't be read.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let mut output = Output::stdout(env.no_color());
    for line in status(args, env, SystemClock.now())? {
        output.line(line);
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn status(args: &Args, env: &Environment, now: Timestamp) -> anyhow::Result<Vec<String>> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let holder = here.holder()?;
    let active = holder.as_ref().map(|held| json!({ "run": held.run, "process": held.pid }));
    if args.run.is_none() && here.runs.newest()?.is_none() {
        let results = results(&here)?;
        return Ok(if args.json {
            let judged = results.as_ref().map(|results| {
                json!({
                    "timestamp": results.timestamp,
                    "total": results.total,
                    "passed": results.passed,
                    "failed": results.failed,
                    "skipped": results.skipped,
                    "undecided": results.undecided,
                    "satisfaction_score": results.satisfaction_score,
                    "gate1_failed": results.gate1_failed,
                })
            });
            vec![object(&active, &Value::Null, &judged)]
        } else {
            run_text::without_runs(results.as_ref(), now)
        });
    }
    let found = here.read(args.run.as_deref(), true)?;
    let report = here.report(&found, holder.as_ref(), Label::Holdout)?;
    if args.json {
        return Ok(vec![object(&active, &serde_json::to_value(&report)?, &None)]);
    }
    let process = holder.as_ref().filter(|held| held.run == found.id.as_str());
    let mut lines = run_text::status(&report, process.map(|held| held.pid.as_str()), now);
    if let Some(held) = holder.as_ref().filter(|held| held.run != found.id.as_str()) {
        lines.push(String::new());
        lines.push(format!("active at present: run {} (process {})", held.run, held.pid));
    }
    Ok(lines)
}

fn object(active: &Option<Value>, run: &Value, judged: &Option<Value>) -> String {
    format!(
        "{:#}",
        json!({ "schema": SCHEMA, "active": active, "run": run, "working_tree": judged })
    )
}

/// Returns the judgement of the working tree; none where there is none.
fn results(here: &Here<'_>) -> anyhow::Result<Option<Results>> {
    match Results::read(&here.root.join(RESULTS)) {
        Ok(results) => Ok(Some(results)),
        Err(ResultsError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::exit::Failure;
    use crate::engine::RepoState;
    use crate::report::testing::{BEGAN, TestRun, eventful};

    fn ask(root: &Path, args: &[&str]) -> anyhow::Result<String> {
        let args = Args::parse_from(["status"].iter().chain(args));
        let env = Environment::from_parts([].into(), root.to_owned());
        let now = Timestamp::from_unix_millis(BEGAN + 20 * 60_000);
        status(&args, &env, now).map(|lines| lines.join("\n"))
    }

    fn product() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        dir
    }

    #[test]
    fn a_finished_run_says_what_comes_next() {
        let dir = product();
        eventful(&mut TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {}));
        insta::assert_snapshot!(ask(dir.path(), &[]).unwrap());
    }

    #[test]
    fn an_active_run_says_where_it_stands() {
        let dir = product();
        let mut run = TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {});
        run.judged("c0ffee", &[("a", "satisfied"), ("b", "unsatisfied")]).at("agent").turn("done");
        let state = RepoState::of(
            dir.path(),
            dir.path(),
            &dir.path().join(".git"),
            &crate::text::Subtree::default(),
        );
        let lock = state.lock(run.id()).unwrap().unwrap();
        let shown = ask(dir.path(), &[]).unwrap();
        let process = regex::Regex::new(r"process \d+").unwrap();
        insta::assert_snapshot!(process.replace(&shown, "process PID"));
        drop(lock);
        assert!(ask(dir.path(), &[]).unwrap().contains("cut short: its process was killed"));
    }

    #[test]
    fn without_a_run_it_says_what_to_do() {
        let dir = product();
        insta::assert_snapshot!(ask(dir.path(), &[]).unwrap());
    }

    #[test]
    fn without_a_run_a_judgement_of_the_working_tree_is_shown() {
        let dir = product();
        let path = dir.path().join(RESULTS);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let results = json!({
            "timestamp": "2026-11-20T09:25:00Z", "total": 4, "passed": 3, "failed": 1,
            "satisfaction_score": 0.75, "results": []
        });
        std::fs::write(&path, results.to_string()).unwrap();
        insta::assert_snapshot!(ask(dir.path(), &[]).unwrap());
        let json: Value = serde_json::from_str(&ask(dir.path(), &["--json"]).unwrap()).unwrap();
        assert_eq!(json["working_tree"]["passed"], 3);
        assert_eq!(json["run"], Value::Null);
    }

    #[test]
    fn machines_get_the_published_form() {
        let dir = product();
        eventful(&mut TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {}));
        let json: Value =
            serde_json::from_str(&ask(dir.path(), &["--json", "0915"]).unwrap()).unwrap();
        assert_eq!(json["run"]["state"], "finished");
        assert_eq!(json["run"]["outcome"], "converged");
        assert_eq!(json["active"], Value::Null);
    }

    #[test]
    fn a_run_that_is_not_there_was_asked_for_in_vain() {
        let error = ask(product().path(), &["nope"]).unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Usage);
    }
}
