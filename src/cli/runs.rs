//! `factory runs`: every run of the repository, newest first.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;

use super::exit::Exit;
use super::here::Here;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Environment;
use crate::event::Label;
use crate::report::Output;
use crate::report::published::SCHEMA;
use crate::report::run_text::{self, Row};

const EXAMPLES: &str = "\
Examples:
  factory runs               a table, newest first
  factory runs --json        the same for machines

Exit codes: 0 shown, 3 the runs can't be read.";

/// List the runs of this product, newest first.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "runs", after_help = EXAMPLES)]
pub struct Args {
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
/// The directory of the runs can't be read.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let mut output = Output::stdout(env.no_color());
    for line in runs(args, env, SystemClock.now())? {
        output.line(line);
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn runs(args: &Args, env: &Environment, now: Timestamp) -> anyhow::Result<Vec<String>> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let holder = here.holder()?;
    let rows: Vec<Row> = here
        .runs
        .list()?
        .into_iter()
        .rev()
        .map(|id| {
            let report = here
                .read(Some(id.as_str()), true)
                .and_then(|found| here.report(&found, holder.as_ref(), Label::Holdout));
            // One damaged journal hides no other run.
            match report {
                Ok(report) => Row::Known(Box::new(report)),
                Err(error) => Row::Damaged { run: id.to_string(), why: error.to_string() },
            }
        })
        .collect();
    if !args.json {
        return Ok(run_text::runs(&rows, now));
    }
    let listed: Vec<_> = rows
        .iter()
        .map(|row| match row {
            Row::Known(report) => json!({
                "run": report.run,
                "state": report.state,
                "outcome": report.outcome,
                "started_at": report.started_at,
                "last_event_at": report.last_event_at,
                "base": report.base,
                "base_branch": report.base_branch,
                "branch": report.branch,
                "iterations": report.iterations.len(),
                "turns_taken": report.turns_taken,
                "max_iterations": report.max_iterations,
                "best_score": report.best.as_ref().and_then(|best| best.score),
            }),
            Row::Damaged { run, why } => json!({ "run": run, "state": "damaged", "reason": why }),
        })
        .collect();
    Ok(vec![format!("{:#}", json!({ "schema": SCHEMA, "runs": listed }))])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::testing::{BEGAN, TestRun, eventful};

    fn ask(root: &Path, args: &[&str]) -> String {
        let args = Args::parse_from(["runs"].iter().chain(args));
        let env = Environment::from_parts([].into(), root.to_owned());
        runs(&args, &env, Timestamp::from_unix_millis(BEGAN + 7_200_000)).unwrap().join("\n")
    }

    #[test]
    fn the_newest_run_comes_first_and_a_damaged_one_hides_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(dir.path(), &[]), "no runs yet; `iterate` begins one");
        eventful(&mut TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {}));
        TestRun::begin_at(dir.path(), "20261120-101500-0002", |run| run.base_branch = None);
        let bad = TestRun::begin_at(dir.path(), "20261120-111500-0003", |_| {});
        std::fs::write(bad.dir().join("events.jsonl"), "{}\n").unwrap();
        let shown = ask(dir.path(), &[]).replace(dir.path().to_str().unwrap(), "ROOT");
        insta::assert_snapshot!(shown);
        let json: serde_json::Value = serde_json::from_str(&ask(dir.path(), &["--json"])).unwrap();
        assert_eq!(json["runs"][0]["state"], "damaged");
        assert_eq!(json["runs"][2]["best_score"], 1.0);
    }
}
