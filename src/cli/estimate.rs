//! `iterate --estimate`: what a run is likely to take, from the runs before it. Starts nothing.

use std::path::Path;

use anyhow::Context as _;

use super::exit::Exit;
use crate::config::{Config, Environment};
use crate::convergence::{Billing, Totals, estimate};
use crate::engine::{ledger_of, model_of};
use crate::journal::{RunsDir, read_summary};
use crate::report::Output;

/// How many of the newest runs are gone by: older ones say little of the product as it is.
const RUNS: usize = 10;

/// Runs the command for the product at `root`.
///
/// # Errors
/// The directory of the runs can't be read.
pub(super) fn run(root: &Path, config: &Config, env: &Environment) -> anyhow::Result<Exit> {
    let mut output = Output::stdout(env.no_color());
    for line in lines(root, config)? {
        output.line(line);
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn lines(root: &Path, config: &Config) -> anyhow::Result<Vec<String>> {
    let runs = RunsDir::of(root);
    let mut judgements: Vec<f64> = Vec::new();
    let mut turns: Vec<Totals> = Vec::new();
    for id in runs.list()?.into_iter().rev().take(RUNS) {
        let dir = runs.run(&id);
        // One damaged journal does not hide what the others tell.
        let Ok((summary, _)) = read_summary(&dir, true) else { continue };
        judgements.extend(&summary.spent.judgements_ms);
        // A turn of another agent or model says little of this one's.
        let is_alike =
            config.agent.backend.is_none() || summary.started.agent == config.agent.backend;
        if is_alike && model_of(&dir, &summary) == config.agent.model {
            turns.extend(ledger_of(&dir, &summary).by_turn().into_iter().map(|(_, turn)| turn));
        }
    }
    let budget = &config.budget;
    let found = estimate(budget.max_iterations, budget.money, &judgements, &turns);
    Ok(found.lines(budget.billing == Billing::Plan))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::TestRun;

    fn check(root: &Path, config: &Config, expected: &[&str]) {
        let said = lines(root, config).unwrap().join("\n");
        expected.iter().for_each(|text| assert!(said.contains(text), "{text}: {said}"));
    }

    #[test]
    fn earlier_runs_tell_what_the_next_may_take() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        check(dir.path(), &config, &["cost         not known", "There is no earlier run"]);
        let mut run = TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {});
        run.judged("aa", &[("a", "unsatisfied")]).turn("done");
        let expected = ["a turn       12 s", "cost         $0.25 to $1.25", "From 1 turn of"];
        check(dir.path(), &config, &expected);
        config.budget.money = Some(1.0);
        check(dir.path(), &config, &["cost         $0.25 to $1.00"]);
        config.agent.backend = Some("codex".to_owned());
        check(dir.path(), &config, &["a turn       not known", "No agent has worked here yet"]);
    }
}
