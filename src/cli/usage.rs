//! `factory usage`: what the agent's turns have used up, over the runs of the repository.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde_json::json;

use super::exit::Exit;
use super::here::Here;
use crate::clock::{Timestamp, human};
use crate::config::Environment;
use crate::convergence::{Billing, Entry, Ledger, Totals, show_tokens, show_usd};
use crate::engine::ledger_of;
use crate::report::Output;
use crate::report::published::SCHEMA;

const EXAMPLES: &str = "\
Examples:
  factory usage              a line for each run, newest first
  factory usage --by day     for each day, in UTC
  factory usage --by model   for each model
  factory usage --json       the same for machines

The cost is what the agent reported, else its tokens at the prices that the run was begun with. Attempts
that were cut short, or whose price nobody knows, are told apart and never counted as zero.

Exit codes: 0 shown, 3 the runs can't be read.";

/// Show what the agent used, by run, day, model or turn.
#[derive(Debug, Clone, Parser)]
#[command(name = "usage", after_help = EXAMPLES)]
pub struct Args {
    /// What a line is
    #[arg(long, value_enum, default_value_t = By::Run)]
    pub by: By,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// What a line adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The turns of a run
    Run,
    /// What ended on a day in UTC
    Day,
    /// What one model did
    Model,
    /// The attempts at a turn
    Turn,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Day => "day",
            Self::Model => "model",
            Self::Turn => "turn",
        }
    }

    /// Returns the line that an attempt of `run` belongs to.
    fn key(self, run: &str, entry: &Entry) -> String {
        match self {
            Self::Run => run.to_owned(),
            Self::Day => Timestamp::from_unix_millis(entry.at).to_string()[..10].to_owned(),
            Self::Model => entry.model.clone().unwrap_or_else(|| "(agent's default)".to_owned()),
            Self::Turn => format!("{run} turn {:>2}", entry.turn),
        }
    }
}

/// What one line adds up to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sum {
    totals: Totals,
    /// The dollars of runs that a plan pays for.
    notional: f64,
}

impl Sum {
    fn add(&mut self, totals: Totals, billing: Billing) {
        self.totals = self.totals.plus(totals);
        self.notional += match billing {
            Billing::Plan => totals.usd,
            Billing::Metered => 0.0,
        };
    }

    fn cost(&self) -> String {
        let cost = self.totals.show_cost();
        if self.notional <= 0.0 {
            cost
        } else if self.notional >= self.totals.usd {
            format!("{cost}, notional")
        } else {
            format!("{cost}, {} of it notional", show_usd(self.notional))
        }
    }

    fn cells(&self, name: String) -> [String; 6] {
        let Totals { turns, tokens, unknown_tokens, ms, attempts, .. } = self.totals;
        // Of what is not wholly known the rest is more, and of nothing at all there is no number.
        let count = |tokens| match unknown_tokens {
            0 => show_tokens(tokens),
            all if all == attempts => "unknown".to_owned(),
            _ => format!("{}+", show_tokens(tokens)),
        };
        let time = match ms {
            0 => "-".to_owned(),
            _ => human(std::time::Duration::from_millis(ms)),
        };
        [name, turns.to_string(), count(tokens.input), count(tokens.output), time, self.cost()]
    }

    fn json(&self) -> serde_json::Value {
        let Totals { turns, attempts, tokens, usd, priced, .. } = self.totals;
        json!({
            "turns": turns,
            "attempts": attempts,
            "input_tokens": tokens.input,
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
            "output_tokens": tokens.output,
            "cost_usd": usd,
            "priced_usd": priced,
            "notional_usd": self.notional,
            "unknown_cost": self.totals.unknown_cost,
            "unknown_tokens": self.totals.unknown_tokens,
            "seconds": self.totals.ms as f64 / 1000.0,
        })
    }
}

/// Runs the command.
///
/// # Errors
/// The directory of the runs can't be read.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let mut output = Output::stdout(env.no_color());
    for line in usage(args, env)? {
        output.line(line);
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn usage(args: &Args, env: &Environment) -> anyhow::Result<Vec<String>> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let mut rows: BTreeMap<String, Sum> = BTreeMap::new();
    let mut total = Sum::default();
    let mut damaged: Vec<(String, String)> = Vec::new();
    for id in here.runs.list()? {
        // One damaged journal hides no other run, and is not taken for nothing.
        let found = match here.read(Some(id.as_str()), true) {
            Ok(found) => found,
            Err(error) => {
                damaged.push((id.to_string(), error.to_string()));
                continue;
            }
        };
        let billing = found.summary.spent.limits.billing;
        let ledger = ledger_of(&found.dir, &found.summary);
        let mut parts: BTreeMap<String, Ledger> = BTreeMap::new();
        for entry in &ledger.entries {
            let part = parts.entry(args.by.key(id.as_str(), entry)).or_default();
            part.entries.push(entry.clone());
        }
        for (key, part) in parts {
            rows.entry(key).or_default().add(part.totals(), billing);
        }
        total.add(ledger.totals(), billing);
    }
    if args.json {
        let listed = |(key, sum): (&String, &Sum)| {
            let mut row = sum.json();
            row[args.by.name()] = json!(key);
            row
        };
        let rows: Vec<_> = rows.iter().rev().map(listed).collect();
        let damaged: Vec<_> =
            damaged.iter().map(|(run, why)| json!({ "run": run, "reason": why })).collect();
        let all = json!({
            "schema": SCHEMA, "by": args.by.name(), "rows": rows, "total": total.json(),
            "damaged": damaged,
        });
        return Ok(vec![format!("{all:#}")]);
    }
    let mut lines = if rows.is_empty() {
        vec!["no agent has worked here yet; `iterate` lets one".to_owned()]
    } else {
        table(args.by, &rows, &total)
    };
    lines.extend(damaged.iter().map(|(run, why)| format!("{run}: not counted, {why}")));
    Ok(lines)
}

/// Returns the lines of the table, the newest first, the sum last.
fn table(by: By, rows: &BTreeMap<String, Sum>, total: &Sum) -> Vec<String> {
    let head = [by.name(), "turns", "tokens in", "out", "time", "cost"].map(str::to_owned);
    let mut cells = vec![head];
    cells.extend(rows.iter().rev().map(|(name, sum)| sum.cells(name.clone())));
    if rows.len() > 1 {
        cells.push(total.cells("all".to_owned()));
    }
    let width = |column: usize| {
        cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    cells
        .iter()
        .map(|[name, turns, read, written, time, cost]| {
            let [a, b, c, d, e] = widths;
            format!("{name:a$}  {turns:>b$}  {read:>c$}  {written:>d$}  {time:>e$}  {cost}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::convergence::Limits;
    use crate::event::{Label, RunEvent, Usage};
    use crate::report::testing::TestRun;

    fn ask(root: &Path, args: &[&str]) -> String {
        let args = Args::parse_from(["usage"].iter().chain(args));
        let env = Environment::from_parts([].into(), root.to_owned());
        usage(&args, &env).unwrap().join("\n")
    }

    /// Two runs: one of two turns, one whose only attempt was cut.
    fn product() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut run = TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {});
        run.turn("done").turn("done");
        let mut cut = TestRun::begin_at(dir.path(), "20261120-101500-0002", |_| {});
        let prompt = cut.put(Label::Public, "x");
        cut.event(RunEvent::AgentStarted { turn: 1, attempt: 1, prompt, backend: None });
        dir
    }

    #[test]
    fn a_line_for_each_run_and_their_sum() {
        let dir = product();
        insta::assert_snapshot!(ask(dir.path(), &[]), @r"
        run                   turns  tokens in      out  time  cost
        20261120-101500-0002      1    unknown  unknown     -  unknown
        20261120-091500-0001      2    unknown  unknown  24 s  $0.50
        all                       3    unknown  unknown  24 s  at least $0.50 (+ 1 attempt unknown)
        ");
    }

    #[test]
    fn other_lines_have_the_same_sum() {
        let dir = product();
        let total = |by| {
            let json: serde_json::Value =
                serde_json::from_str(&ask(dir.path(), &["--json", "--by", by])).unwrap();
            assert_eq!(json["rows"][0][by].as_str().map(str::is_empty), Some(false), "{by}");
            json["total"].clone()
        };
        let by_run = total("run");
        assert_eq!((&by_run["cost_usd"], &by_run["unknown_cost"]), (&json!(0.5), &json!(1)));
        for by in ["day", "model", "turn"] {
            assert_eq!(total(by), by_run, "{by}");
        }
        assert!(ask(dir.path(), &["--by", "day"]).contains("2026-11-20"));
        assert!(ask(dir.path(), &["--by", "model"]).contains("(agent's default)"));
        assert!(ask(dir.path(), &["--by", "turn"]).contains("20261120-091500-0001 turn  2"));
    }

    #[test]
    fn what_a_plan_pays_is_notional() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { billing: Billing::Plan, ..Limits::default() };
        TestRun::begin_at(dir.path(), "20261120-091500-0001", |run| run.limits = limits)
            .turn("done");
        assert!(ask(dir.path(), &[]).ends_with("$0.25, notional"));
    }

    #[test]
    fn tokens_are_priced_by_the_model_of_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = crate::config::Config::default();
        config.agent.model = Some("gpt-6-sol".to_owned());
        let frozen = json!({
            "config": config, "set": crate::scenario::ScenarioSet::default(), "gates": [], "prompt": "",
            "prompt_name": "", "targets": [], "specs": [], "earlier": [],
        });
        let mut run = TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {});
        let id = "20261120-091500-0002";
        let blob = run.json(Label::Holdout, &frozen);
        let mut priced = TestRun::begin_at(dir.path(), id, |run| run.frozen = blob);
        priced.json(Label::Holdout, &frozen);
        for run in [&mut run, &mut priced] {
            let prompt = run.put(Label::Public, "x");
            run.event(RunEvent::AgentStarted { turn: 1, attempt: 1, prompt, backend: None });
            let usage = Usage { input_tokens: Some(1_000_000), ..Usage::default() };
            run.event(RunEvent::agent_finished(1, 1, 1, usage));
        }
        let shown = ask(dir.path(), &["--by", "model"]);
        assert!(shown.contains("$2.00"), "{shown}");
        assert!(shown.contains("unknown"), "{shown}");
    }

    #[test]
    fn nothing_and_what_is_damaged_are_said() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(dir.path(), &[]), "no agent has worked here yet; `iterate` lets one");
        let run = TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {});
        std::fs::write(run.dir().join("events.jsonl"), "{}\n").unwrap();
        assert!(ask(dir.path(), &[]).contains("20261120-091500-0001: not counted, "));
    }
}
